package registrytest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
)

// pair is a node with a public registry, the first one, and a private one that its owner put beside it.
type pair struct {
	public, private *Registry
	publicURL       string
	privateURL      string
	down            atomic.Bool // the private one does not answer
	dir             string
	beside          policy.Registry
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{public: New(t), private: New(t), dir: filepath.Join(t.TempDir(), "node")}
	p.public.Truth(t)
	p.private.Truth(t)
	p.publicURL = p.public.Serve(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if p.down.Load() {
			panic(http.ErrAbortHandler)
		}
		p.private.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	p.privateURL = s.URL
	p.beside = policy.Registry{Name: "corp", URL: p.privateURL, Root: "sha256:" + p.private.RootSHA256(t)}
	return p
}

// publishes confirms a namespace in a registry and uploads plugins of it.
func publishes(t *testing.T, r *Registry, ns string, plugins ...Plugin) *Author {
	t.Helper()
	a := r.Claim(t, ns)
	r.Confirm(t, ns)
	for _, plugin := range plugins {
		r.Upload(t, a, plugin)
	}
	return a
}

func (p *pair) node(t *testing.T, change ...func(*policy.Registry)) *client.Multi {
	t.Helper()
	beside := p.beside
	for _, f := range change {
		f(&beside)
	}
	m, err := client.OpenMulti(p.first(), []policy.Registry{beside})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func (p *pair) first() client.Config {
	return client.Config{Dir: p.dir, Base: p.publicURL, RootFile: p.public.RootFile(), AllowDevelopment: true, Now: p.public.Now}
}

func pinned(patterns ...string) func(*policy.Registry) {
	return func(r *policy.Registry) { r.Namespaces = patterns }
}

func last(r *policy.Registry) { r.Priority = new(int); *r.Priority = -1 }

func resolves(t *testing.T, m *client.Multi, id, want string) {
	t.Helper()
	v, err := m.Resolve(t.Context(), id, "")
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	if v.Version != want {
		t.Errorf("%s is %s, want %s", id, v.Version, want)
	}
}

func refuses(t *testing.T, m *client.Multi, id string, reason registry.Reason) {
	t.Helper()
	_, err := m.Install(t.Context(), id, "", registry.RuntimeProcess)
	var no *registry.Refusal
	if !errors.As(err, &no) || no.Reason != reason {
		t.Errorf("%s: got %v, want %s", id, err, reason)
	}
	if _, there := m.Installed(id); there {
		t.Errorf("%s is installed all the same", id)
	}
}

// Somebody claims the private registry's namespace in the public one and offers a far higher version.
func TestAttackDependencyConfusionByAHigherVersion(t *testing.T) {
	for name, change := range map[string]func(*policy.Registry){"pinned by policy": pinned("acme"), "asked first": func(*policy.Registry) {}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
			publishes(t, p.public, "acme", Plugin{ID: "acme/agent", Version: "99.0.0"}, Plugin{ID: "acme/extra"})
			m := p.node(t, change)
			resolves(t, m, "acme/agent", "1.0.0")
			refuses(t, m, "acme/extra", registry.NotVouched)
			in, err := m.Install(t.Context(), "acme/agent", "", registry.RuntimeProcess)
			if err != nil || in.Version != "1.0.0" || in.Registry != "corp" {
				t.Fatalf("%+v, %v", in, err)
			}
			list, err := m.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				if strings.HasPrefix(r.ID, "picket/") {
					continue
				}
				bad := r.Version == "99.0.0" || r.ID == "acme/extra"
				if bad != (r.Refused != nil && r.Refused.Reason == registry.Confusion) {
					t.Errorf("listed %s %s with %v", r.ID, r.Version, r.Refused)
				}
			}
		})
	}
}

// The private registry is kept from answering while the public one offers its namespace.
func TestAttackDependencyConfusionWhileThePrivateRegistryIsSilent(t *testing.T) {
	for name, taken := range map[string]bool{"before the node took anything": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
			publishes(t, p.public, "acme", Plugin{ID: "acme/agent", Version: "99.0.0"})
			if taken {
				resolves(t, p.node(t), "acme/agent", "1.0.0")
			}
			p.down.Store(true)
			refuses(t, p.node(t), "acme/agent", registry.Unreachable)
			resolves(t, p.node(t, pinned("corp")), Victim, "1.0.0") // what is not the private one's business goes on
		})
	}
}

// What was taken from one registry stays with it, also when the order of the registries changes or it has it no more.
func TestAttackDependencyConfusionAfterFirstUse(t *testing.T) {
	p := newPair(t)
	publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
	resolves(t, p.node(t), "acme/agent", "1.0.0")
	publishes(t, p.public, "acme", Plugin{ID: "acme/agent", Version: "99.0.0"}, Plugin{ID: "acme/extra"})
	m := p.node(t, last)
	resolves(t, m, "acme/agent", "1.0.0")
	refuses(t, m, "acme/extra", registry.NotVouched)

	// The owner of the node takes the registry away: nobody inherits its namespace.
	for _, beside := range [][]policy.Registry{nil, {{Name: "other", URL: p.privateURL, Root: p.beside.Root, Namespaces: []string{"other"}}}} {
		without, err := client.OpenMulti(p.first(), beside)
		if err != nil {
			t.Fatal(err)
		}
		defer without.Close()
		refuses(t, without, "acme/agent", registry.Confusion)
	}
}

// A node that had one registry until now gets a second one, which is asked first and offers what is installed.
func TestAttackDependencyConfusionByANewRegistry(t *testing.T) {
	p := newPair(t)
	publishes(t, p.public, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
	publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "99.0.0"}, Plugin{ID: "acme/extra"})
	one, err := client.Open(p.first())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Install(t.Context(), "acme/agent", "", registry.RuntimeProcess); err != nil {
		t.Fatal(err)
	}
	one.Close()
	m := p.node(t)
	resolves(t, m, "acme/agent", "1.0.0")
	refuses(t, m, "acme/extra", registry.NotVouched)
}

// Another registry is put under the name of one that the node knows.
func TestAttackRegistryReplacedUnderItsName(t *testing.T) {
	p := newPair(t)
	publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
	resolves(t, p.node(t), "acme/agent", "1.0.0")
	thief := New(t)
	thief.Truth(t)
	publishes(t, thief, "acme", Plugin{ID: "acme/agent", Version: "99.0.0"})
	_, err := client.OpenMulti(p.first(), []policy.Registry{{Name: "corp", URL: thief.Serve(t), Root: "sha256:" + thief.RootSHA256(t)}})
	var no *registry.Refusal
	if !errors.As(err, &no) || no.Reason != registry.RootMismatch {
		t.Errorf("got %v", err)
	}
}

// A name in the public registry that is taken for one of the private registry.
func TestAttackLookAlikeAcrossRegistries(t *testing.T) {
	for name, change := range map[string]func(*policy.Registry){"of a pinned namespace": pinned("corporate"), "of one asked before": func(*policy.Registry) {}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			publishes(t, p.private, "corporate", Plugin{ID: "corporate/agent"})
			publishes(t, p.public, "corp0rate", Plugin{ID: "corp0rate/agent"})
			publishes(t, p.public, "acme", Plugin{ID: "acme/agent"})
			m := p.node(t, change)
			refuses(t, m, "corp0rate/agent", registry.Confusion)
			resolves(t, m, "corporate/agent", "1.0.0")
			resolves(t, m, "acme/agent", "1.0.0")
		})
	}
}

// A private registry that is asked first offers the project's own plugins.
func TestAttackPrivateRegistryOffersTheProjectsPlugins(t *testing.T) {
	p := newPair(t)
	p.private.Publish(t, Plugin{ID: Victim, Version: "99.0.0"})
	resolves(t, p.node(t), Victim, "1.0.0")
	resolves(t, p.node(t, pinned("picket")), Victim, "99.0.0") // if the node's owner wants it so
}

// A private registry that was broken into offers more than its owner was trusted with.
func TestAttackPrivateRegistryOffersMoreThanItsNamespaces(t *testing.T) {
	p := newPair(t)
	publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "99.0.0"})
	p.private.Publish(t, Plugin{ID: Victim, Version: "99.0.0"})
	publishes(t, p.public, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
	m := p.node(t, pinned("corp"))
	resolves(t, m, "acme/agent", "1.0.0")
	resolves(t, m, Victim, "1.0.0")
}

// One registry's revocations say nothing about another's plugins.
func TestAttackRevocationByAnotherRegistry(t *testing.T) {
	p := newPair(t)
	publishes(t, p.private, "acme", Plugin{ID: "acme/agent"})
	publishes(t, p.public, "acme", Plugin{ID: "acme/agent"})
	m := p.node(t)
	if _, err := m.Install(t.Context(), "acme/agent", "", registry.RuntimeProcess); err != nil {
		t.Fatal(err)
	}
	p.public.Revoke(t, "acme/*", "*", "the thief does not like it")
	if err := m.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := m.OpenVerified(t.Context(), "acme/agent", registry.RuntimeProcess)
	if err != nil {
		t.Fatalf("stopped by a stranger: %v", err)
	}
	a.Close()
	p.private.Revoke(t, "acme/*", "*", "it mines coins")
	if err := m.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var no *registry.Refusal
	if _, err := m.OpenVerified(t.Context(), "acme/agent", registry.RuntimeProcess); !errors.As(err, &no) || no.Reason != registry.Revoked {
		t.Errorf("its own registry's revocation: %v", err)
	}
}

// A plugin of one registry may need one of another, and all of it is installed at once.
func TestPlanAcrossRegistries(t *testing.T) {
	p := newPair(t)
	p.public.Publish(t, Plugin{ID: "picket/lib", Version: "1.2.0"})
	publishes(t, p.private, "corp", Plugin{ID: "corp/agent", Requires: []registry.Requirement{{Plugin: "picket/lib", Version: "^1"}}})
	m := p.node(t, pinned("corp", "corp-*"))
	plan, err := m.Plan(t.Context(), []client.Want{{ID: "corp/agent"}}, client.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.InstallAll(t.Context(), plan, nil)
	if err != nil || len(in) != 2 {
		t.Fatal(in, err)
	}
	lock, err := m.Lock()
	if err != nil {
		t.Fatal(err)
	}
	var from []string
	for _, e := range lock.Plugins {
		from = append(from, e.ID+" from "+e.Registry)
	}
	if got := strings.Join(from, ", "); got != "corp/agent from corp, picket/lib from " {
		t.Errorf("got %s", got)
	}
	// A node that knows only the first registry does not start what it cannot judge.
	c, err := client.Open(p.first())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var no *registry.Refusal
	if _, err := c.OpenVerified(t.Context(), "corp/agent", registry.RuntimeProcess); !errors.As(err, &no) || no.Reason != registry.Confusion {
		t.Errorf("got %v", err)
	}
}

// A private registry that does not answer hides nothing of the others, and the page can say so.
func TestListWhileOneRegistryIsSilent(t *testing.T) {
	p := newPair(t)
	publishes(t, p.private, "corp", Plugin{ID: "corp/agent"})
	m := p.node(t, pinned("corp"))
	x, err := m.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(x.Plugins); n != 3 {
		t.Errorf("%d plugins instead of 3", n)
	}
	if m.From("corp/agent") != "corp" || m.From(Victim) != "" {
		t.Error("where they are from is wrong")
	}
	p.down.Store(true)
	p.public.Advance(48 * time.Hour) // so that both are asked again
	p.private.Advance(48 * time.Hour)
	p.public.Renew(t)
	x, err = m.Index(t.Context())
	if err != nil || len(x.Plugins) != 2 {
		t.Errorf("%+v, %v", x, err)
	}
	list, err := m.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	problems := 0
	for _, s := range m.Statuses() {
		if s.Problem != "" {
			problems++
			if s.Name != "corp" {
				t.Errorf("the wrong one: %+v", s)
			}
		}
	}
	if problems != 1 {
		t.Errorf("%d registries with a problem", problems)
	}
}

// A namespace moves on purpose when the node's owner pins it, and what is installed follows.
func TestNamespaceMovesWhenPinned(t *testing.T) {
	p := newPair(t)
	publishes(t, p.public, "acme", Plugin{ID: "acme/agent", Version: "1.0.0"})
	publishes(t, p.private, "acme", Plugin{ID: "acme/agent", Version: "2.0.0"})
	if in, err := p.node(t, last).Install(t.Context(), "acme/agent", "", registry.RuntimeProcess); err != nil || in.Registry != "" {
		t.Fatalf("%+v, %v", in, err)
	}
	m := p.node(t, pinned("acme"))
	starts := func() {
		t.Helper()
		a, err := m.OpenVerified(t.Context(), "acme/agent", registry.RuntimeProcess)
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
	}
	starts() // what is there goes on under the registry that it came from
	in, err := m.Install(t.Context(), "acme/agent", "", registry.RuntimeProcess)
	if err != nil || in.Version != "2.0.0" || in.Registry != "corp" {
		t.Fatalf("%+v, %v", in, err)
	}
	p.down.Store(true)
	m = p.node(t, pinned("acme"))
	starts()                                             // its registry is silent
	for _, version := range []string{"1.0.0", "2.0.0"} { // each under the registry that it came from
		a, err := m.OpenRelease(t.Context(), "acme/agent", version, registry.RuntimeProcess)
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
	}
	if err := m.Prefer(t.Context(), "acme/agent", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	starts() // the release of before
}
