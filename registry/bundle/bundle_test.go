package bundle_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/bundle"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// gap is a registry outside, a site that cannot reach it, and what carries bundles between them.
type gap struct {
	outside, inside *registrytest.Registry
	acme            *registrytest.Author
	exporter        *client.Client
	dir             string
}

func newGap(t *testing.T) *gap {
	t.Helper()
	g := &gap{outside: registrytest.New(t), inside: registrytest.New(t), dir: t.TempDir()}
	g.outside.Truth(t)
	g.acme = g.outside.Claim(t, "acme")
	g.outside.Confirm(t, "acme")
	g.outside.Upload(t, g.acme, registrytest.Plugin{ID: "acme/agent", Version: "1.0.0", Readme: []byte("# It measures\n"),
		Requires: []registry.Requirement{{Plugin: registrytest.Victim, Version: "^1"}}})
	g.exporter = g.open(t, client.Config{Dir: filepath.Join(g.dir, "exporter"), Base: g.outside.Serve(t), RootFile: g.outside.RootFile(), Now: g.outside.Now})
	return g
}

func (g *gap) open(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	cfg.AllowDevelopment = true
	c, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (g *gap) node(t *testing.T) *client.Client {
	t.Helper()
	return g.open(t, client.Config{Dir: filepath.Join(g.dir, "node"), Base: g.inside.Dir, RootFile: g.inside.RootFile(), Now: g.inside.Now,
		Staleness: policy.Default().Staleness()})
}

func (g *gap) export(t *testing.T, name string, since []string, wants ...client.Want) string {
	t.Helper()
	path := filepath.Join(g.dir, name)
	if _, err := bundle.Export(t.Context(), g.exporter, wants, since, path, g.outside.Now()); err != nil {
		t.Fatal(err)
	}
	return path
}

func (g *gap) config(file string) bundle.Config {
	return bundle.Config{File: file, RootFile: g.outside.RootFile(), AllowDevelopment: true, Now: g.inside.Now}
}

func (g *gap) try(ctx context.Context, file string) (*bundle.Report, error) {
	return bundle.Import(ctx, g.config(file), bundle.Site{Dir: g.inside.Dir, Keys: g.inside.Keys})
}

func (g *gap) carry(t *testing.T, file string) *bundle.Report {
	t.Helper()
	r, err := g.try(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// later moves both clocks; outside somebody renews what runs out.
func (g *gap) later(t *testing.T, d time.Duration) {
	t.Helper()
	g.outside.Advance(d)
	g.inside.Advance(d)
	g.outside.Renew(t)
	g.inside.Renew(t)
}

func reason(t *testing.T, err error, want registry.Reason) {
	t.Helper()
	var no *registry.Refusal
	if !errors.As(err, &no) || no.Reason != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func installs(t *testing.T, c *client.Client, id string) {
	t.Helper()
	p, err := c.Plan(t.Context(), []client.Want{{ID: id}}, client.PlanOptions{})
	if err == nil {
		_, err = c.InstallAll(t.Context(), p, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.OpenVerified(t.Context(), id, registry.RuntimeProcess)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
}

// From the registry outside over a bundle to a node inside, where the author's signature is still there to check.
func TestAcrossTheGap(t *testing.T) {
	g := newGap(t)
	file := g.export(t, "first.tar", nil, client.Want{ID: "acme/agent"})
	b, err := bundle.Verify(t.Context(), g.config(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Releases) != 2 || b.Root != g.outside.RootSHA256(t) {
		t.Errorf("what is in it: %+v", b)
	}
	b.Close()
	r := g.carry(t, file)
	if want := []string{"acme/agent 1.0.0", registrytest.Victim + " 1.0.0"}; !slices.Equal(r.New, want) {
		t.Errorf("new are %v", r.New)
	}
	if again := g.carry(t, file); len(again.New) != 0 || len(again.Unchanged) != 2 {
		t.Errorf("a second time: %+v", again)
	}
	c := g.node(t)
	installs(t, c, "acme/agent")
	in, _ := c.Installed("acme/agent")
	for _, id := range []string{"acme/agent", registrytest.Victim} {
		in, _ := c.Installed(id)
		a, err := c.Author(t.Context(), g.outside.RootSHA256(t), id, in.Version, in.Locked.Descriptor)
		if err != nil {
			t.Fatal(err)
		}
		if id == "acme/agent" && (a.Role != "ns-acme" || a.Via != registry.ViaClaimed || len(a.KeyIDs) != 1) {
			t.Errorf("its author: %+v", a)
		}
	}
	if readme, err := c.Readme(t.Context(), in.Descriptor); err != nil || string(readme) != "# It measures\n" {
		t.Errorf("README: %q, %v", readme, err)
	}
	if leftovers, _ := filepath.Glob(filepath.Join(g.inside.Dir, bundle.BorderDir, "unpacked-*")); len(leftovers) > 0 {
		t.Errorf("left behind: %v", leftovers)
	}
}

// However many authors a bundle has releases of, the site's registry goes from the state before to the state after in one
// step, with what is off the shelf off it from the beginning.
func TestOneStepForAllAuthors(t *testing.T) {
	g := newGap(t)
	for _, ns := range []string{"globex", "initech"} {
		author := g.outside.Claim(t, ns)
		g.outside.Confirm(t, ns)
		g.outside.Upload(t, author, registrytest.Plugin{ID: ns + "/agent"})
	}
	file := g.export(t, "first.tar", nil)
	version := func() (v int64) {
		g.inside.Change(t, func(p *publish.Publisher) error {
			s, err := p.Status()
			if err == nil {
				i := slices.IndexFunc(s.Roles, func(r publish.RoleStatus) bool { return r.Name == "timestamp" })
				v = s.Roles[i].Version
			}
			return err
		})
		return v
	}
	before := version()
	r := g.carry(t, file)
	if len(r.New) != 5 || version() != before+1 {
		t.Errorf("%d new releases in %d steps", len(r.New), version()-before)
	}
	again := g.carry(t, file)
	if len(again.New) != 0 || version() != before+1 {
		t.Errorf("a second time: %d new releases, %d steps in all", len(again.New), version()-before)
	}
	g.outside.Change(t, func(p *publish.Publisher) error { return p.Yank("picket/other", "1.0.0", "It does not work.") })
	if err := g.exporter.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := g.carry(t, g.export(t, "second.tar", nil)); !slices.Equal(r.Yanked, []string{"picket/other 1.0.0"}) || version() != before+2 {
		t.Errorf("yanked %v, %d steps in all", r.Yanked, version()-before)
	}
	for _, id := range []string{"acme/agent", "globex/agent", "initech/agent"} {
		installs(t, g.node(t), id)
	}
}

// The site cannot put words into an author's mouth.
func TestAttackSiteForgesAnAuthor(t *testing.T) {
	g := newGap(t)
	g.carry(t, g.export(t, "first.tar", nil))
	c := g.node(t)
	installs(t, c, "acme/agent")
	in, _ := c.Installed("acme/agent")
	root := g.outside.RootSHA256(t)
	_, err := c.Author(t.Context(), g.inside.RootSHA256(t), "acme/agent", in.Version, in.Locked.Descriptor)
	reason(t, err, registry.NotVouched)
	_, err = c.Author(t.Context(), root, "acme/agent", in.Version, strings.Repeat("a", 64))
	reason(t, err, registry.NotVouched)
	_, err = c.Author(t.Context(), root, "acme/agent", "9.9.9", in.Locked.Descriptor)
	reason(t, err, registry.NotVouched)

	dir := filepath.Join(g.inside.Dir, "evidence", root)
	names, err := os.ReadDir(dir)
	if err != nil || len(names) < 6 {
		t.Fatal(names, err)
	}
	for _, e := range names {
		path := filepath.Join(dir, e.Name())
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(bytes.Replace(whole, []byte("202"), []byte("203"), 1), []byte(`"version":`), []byte(`"version":9`), 1)
		if bytes.Equal(changed, whole) || strings.Contains(e.Name(), "official") || strings.Contains(e.Name(), "recent") {
			continue
		}
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Author(t.Context(), root, "acme/agent", in.Version, in.Locked.Descriptor); err == nil {
			t.Errorf("%s was changed and nobody saw it", e.Name())
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Author(t.Context(), root, "acme/agent", in.Version, in.Locked.Descriptor); err != nil {
		t.Error(err)
	}
}

// A second bundle brings what is new, and what was withdrawn.
func TestBundleThatContinuesAnEarlierOne(t *testing.T) {
	g := newGap(t)
	first := g.export(t, "first.tar", nil)
	g.carry(t, first)
	c := g.node(t)
	installs(t, c, "acme/agent")

	g.later(t, time.Hour)
	g.outside.Upload(t, g.acme, registrytest.Plugin{ID: "acme/agent", Version: "1.1.0"})
	g.outside.Revoke(t, "acme/agent", "1.0.0", "it leaks memory")
	second := g.export(t, "second.tar", []string{first})
	if a, b := size(t, first), size(t, second); b >= a {
		t.Errorf("the second has %d bytes, the first %d", b, a)
	}
	_, err := bundle.Verify(t.Context(), g.config(second))
	if err == nil || !strings.Contains(err.Error(), "--since") {
		t.Errorf("verified without the first: %v", err)
	}
	r := g.carry(t, second)
	if r.Revoked != 1 || !slices.Equal(r.New, []string{"acme/agent 1.1.0"}) {
		t.Errorf("the second brought %+v", r)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.OpenVerified(t.Context(), "acme/agent", registry.RuntimeProcess)
	reason(t, err, registry.Revoked)
	installs(t, c, "acme/agent")
	if in, _ := c.Installed("acme/agent"); in.Version != "1.1.0" {
		t.Errorf("now %s", in.Version)
	}
	_, err = g.try(t.Context(), first)
	reason(t, err, registry.Rollback)
}

// What is withdrawn comes along each time, also when the earlier bundle brought the same list.
func TestBundleThatContinuesWithoutNewWithdrawals(t *testing.T) {
	g := newGap(t)
	g.outside.Revoke(t, "acme/agent", "0.9.0", "it leaks memory")
	first := g.export(t, "first.tar", nil)
	g.carry(t, first)
	g.later(t, time.Hour)
	g.outside.Upload(t, g.acme, registrytest.Plugin{ID: "acme/agent", Version: "1.1.0"})
	r := g.carry(t, g.export(t, "second.tar", []string{first}))
	if r.Revoked != 0 || !slices.Equal(r.New, []string{"acme/agent 1.1.0"}) {
		t.Errorf("the second brought %+v", r)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A revocation by key withdraws here what is no longer good there.
func TestStolenAuthorKeyReachesTheSite(t *testing.T) {
	g := newGap(t)
	g.carry(t, g.export(t, "first.tar", nil))
	c := g.node(t)
	installs(t, c, "acme/agent")
	g.later(t, time.Hour)
	stolen := registry.KeyID(g.acme.Key.Public().(ed25519.PublicKey))
	g.outside.Change(t, func(p *publish.Publisher) error {
		return p.Revoke(registry.Revocation{Plugin: "acme/*", Versions: "*", KeyIDs: []string{stolen}, Reason: "the key was stolen", Time: g.outside.Now()})
	})
	g.carry(t, g.export(t, "second.tar", nil))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.OpenVerified(t.Context(), "acme/agent", registry.RuntimeProcess)
	reason(t, err, registry.Revoked)
}

// How old a bundle may be at the border, and how old knowledge may become on a node.
func TestStaleness(t *testing.T) {
	g := newGap(t)
	file := g.export(t, "first.tar", nil)
	g.inside.Advance(20 * 24 * time.Hour)
	g.inside.Renew(t)
	r := g.carry(t, file)
	if age := g.inside.Now().Sub(r.Known); age < 18*24*time.Hour {
		t.Errorf("its knowledge looks %s old", age)
	}
	c := g.node(t)
	installs(t, c, "acme/agent")
	if f := c.Freshness(); f.State != client.FreshnessWarn {
		t.Errorf("after 20 days: %+v", f)
	}
	g.inside.Advance(15 * 24 * time.Hour)
	g.inside.Renew(t)
	_, err := g.node(t).Install(t.Context(), "picket/other", "", registry.RuntimeProcess)
	reason(t, err, registry.Stale)
	p, err := c.Plan(t.Context(), []client.Want{{ID: "picket/other"}}, client.PlanOptions{})
	if err == nil {
		_, err = c.InstallAll(t.Context(), p, nil)
	}
	reason(t, err, registry.Stale)
	if f := c.Freshness(); f.State != client.FreshnessRefuse {
		t.Errorf("after 35 days: %+v", f)
	}
	if _, err = g.try(t.Context(), file); err == nil {
		t.Error("a bundle of 35 days ago was taken")
	}
	reason(t, err, registry.Stale)
	a, err := c.OpenVerified(t.Context(), "acme/agent", registry.RuntimeProcess)
	if err != nil {
		t.Fatalf("what is installed does not start: %v", err)
	}
	a.Close()
}

// A namespace of the site's own is not mixed with one from outside.
func TestAttackBundleInANamespaceOfTheSite(t *testing.T) {
	g := newGap(t)
	own := g.inside.Claim(t, "acme")
	g.inside.Confirm(t, "acme")
	g.inside.Upload(t, own, registrytest.Plugin{ID: "acme/agent", Version: "0.5.0"})
	if _, err := g.try(t.Context(), g.export(t, "first.tar", nil)); err == nil || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("got %v", err)
	}
}

// Bundles of other registries, or under another root than the site's people trust.
func TestAttackBundleOfAnotherRegistry(t *testing.T) {
	g := newGap(t)
	file := g.export(t, "first.tar", nil)
	stranger := registrytest.New(t)
	cfg := g.config(file)
	cfg.RootFile = stranger.RootFile()
	_, err := bundle.Verify(t.Context(), cfg)
	reason(t, err, registry.RootMismatch)
	cfg.RootFile = ""
	if _, err := bundle.Verify(t.Context(), cfg); err == nil {
		t.Error("verified without a root")
	}
	same := g.config(file)
	if _, err := bundle.Import(t.Context(), same, bundle.Site{Dir: g.outside.Dir, Keys: g.outside.Keys}); err == nil {
		t.Error("imported into the registry that it is from")
	}
}

// Somebody between a site's registry and its machines makes what they know look newer than it is.
func TestAttackKnowledgeMadeToLookNew(t *testing.T) {
	g := newGap(t)
	g.carry(t, g.export(t, "first.tar", nil))
	c := g.node(t)
	installs(t, c, "acme/agent")
	g.inside.Advance(35 * 24 * time.Hour)
	path := filepath.Join(g.inside.Dir, registry.UpstreamPath)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := registry.Upstream{RootSHA256: g.inside.RootSHA256(t), Source: g.outside.RootSHA256(t), Known: g.inside.Now()}
	forged, err := registry.SignUpstream(now, stranger)
	if err != nil {
		t.Fatal(err)
	}
	now.RootSHA256 = g.outside.RootSHA256(t)
	elsewhere, err := registry.SignUpstream(now, g.inside.KeyOf(t, "snapshot")) // as if for another registry
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"gone": nil, "no JSON": []byte("{"), "changed": bytes.Replace(whole, []byte("2026-11"), []byte("2026-12"), 1),
		"signed by a stranger": forged, "of another registry": elsewhere,
	} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if data != nil {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		g.inside.Renew(t)
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := c.Freshness(); f.State != client.FreshnessRefuse {
			t.Errorf("%s: %+v", name, f)
		}
		g.inside.Advance(time.Hour)
	}
	g.later(t, 0)
	g.carry(t, g.exportLater(t))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := c.Freshness(); f.State != client.FreshnessFine {
		t.Errorf("with a new bundle: %+v", f)
	}
}

// exportLater lets the registry outside catch up with the time inside.
func (g *gap) exportLater(t *testing.T) string {
	t.Helper()
	g.outside.Advance(g.inside.Now().Sub(g.outside.Now()))
	g.outside.Change(t, func(p *publish.Publisher) error {
		_, err := p.Renew()
		return err
	})
	return g.export(t, "later.tar", nil)
}

// What the gates found outside travels along, with its evidence, and the site's registry repeats it.
func TestCardsTravel(t *testing.T) {
	g := newGap(t)
	sub := registrytest.Plugin{ID: "picket/carded", Version: "1.0.0"}.Submission(t)
	sbom := []byte(`{"bomFormat": "CycloneDX"}`)
	sub.Evidence = [][]byte{sbom}
	sub.Card = &registry.Card{SBOM: registry.Digest(sbom), Gates: []registry.Gate{{Name: "size", State: "passed", Summary: "small"}}}
	g.outside.Change(t, func(p *publish.Publisher) error {
		_, err := p.Add(t.Context(), []publish.Submission{sub})
		return err
	})
	g.carry(t, g.export(t, "first.tar", nil, client.Want{ID: "picket/carded"}))
	c := g.node(t)
	installs(t, c, "picket/carded")
	in, _ := c.Installed("picket/carded")
	digest, err := c.CardDigest(t.Context(), in.ID, in.Version, in.Locked.Descriptor)
	if err != nil || digest == "" {
		t.Fatal(digest, err)
	}
	card, err := c.Card(t.Context(), in.ID, in.Version, in.Locked.Descriptor, digest)
	if err != nil {
		t.Fatal(err)
	}
	if card.RootSHA256 != g.inside.RootSHA256(t) || len(card.Gates) == 0 || card.Gates[0].Summary != "small" {
		t.Errorf("the card inside: %+v", card)
	}
	if data, err := c.Evidence(t.Context(), card.SBOM); err != nil || !bytes.Equal(data, sbom) {
		t.Errorf("its evidence: %q, %v", data, err)
	}
	if _, err := c.Card(t.Context(), "picket/other", in.Version, in.Locked.Descriptor, digest); err == nil {
		t.Error("a card passed for another plugin")
	}
}
