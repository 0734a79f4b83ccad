package publish_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// signUpload makes an upload on top of what the registry has, as its author would.
func signUpload(t *testing.T, r *registrytest.Registry, ns string, key ed25519.PrivateKey, subs ...publish.Submission) publish.Upload {
	t.Helper()
	var up publish.Upload
	r.Change(t, func(p *publish.Publisher) error {
		current, _, err := p.NamespaceFile(ns)
		if err != nil {
			return err
		}
		up, err = publish.SignUpload(ns, current, []ed25519.PrivateKey{key}, r.Now(), subs...)
		return err
	})
	return up
}

func accept(t *testing.T, r *registrytest.Registry, up publish.Upload) error {
	t.Helper()
	p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Accept(t.Context(), up)
}

// edit changes the signed file of an upload and signs it again.
func edit(t *testing.T, up *publish.Upload, keys []ed25519.PrivateKey, change func(*metadata.TargetsType)) {
	t.Helper()
	m, err := metadata.Targets().FromBytes(up.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	change(&m.Signed)
	up.Metadata = registrytest.SignTargets(t, m, keys...)
}

func TestAcceptRefuses(t *testing.T) {
	r := registrytest.NewRelease(t)
	author, other := r.Claim(t, "acme"), r.Claim(t, "zebra")
	r.Upload(t, author, registrytest.Plugin{ID: "acme/agent"})
	key := []ed25519.PrivateKey{author.Key}
	sub := registrytest.Plugin{ID: "acme/agent", Version: "1.1.0"}.Submission(t)
	const here = "plugins/acme/agent/1.0.0/release.json"
	for name, c := range map[string]struct {
		change func(up *publish.Upload)
		want   string
	}{
		"another's key": {func(up *publish.Upload) {
			edit(t, up, []ed25519.PrivateKey{other.Key}, func(*metadata.TargetsType) {})
		}, "did not sign"},
		"no signature":                    {func(up *publish.Upload) { edit(t, up, nil, func(*metadata.TargetsType) {}) }, "signature"},
		"a namespace that does not exist": {func(up *publish.Upload) { up.Namespace = "nobody" }, "claim it first"},
		"another's namespace":             {func(up *publish.Upload) { up.Namespace = "zebra" }, "did not sign"},
		"the project's namespace":         {func(up *publish.Upload) { up.Namespace = "picket" }, "claim it first"},
		"an older version": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) { s.Version-- })
		}, "does not follow"},
		"a version far ahead": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) { s.Version += 1000 })
		}, "does not follow"},
		"a release that is gone": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) { delete(s.Targets, here) })
		}, "is gone"},
		"a release that changed": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) {
				f, err := metadata.TargetFile().FromBytes(here, []byte("other"), "sha256")
				if err != nil {
					t.Fatal(err)
				}
				s.Targets[here] = f
			})
		}, "other content"},
		"a path outside": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) {
				s.Targets["plugins/zebra/x/1.0.0/release.json"] = s.Targets[here]
			})
		}, "outside of the namespace"},
		"a release that was not handed in": {func(up *publish.Upload) { up.Releases = nil }, "not handed in"},
		"a release that was not signed": {func(up *publish.Upload) {
			up.Releases = append(up.Releases, registrytest.Plugin{ID: "acme/agent", Version: "9.0.0"}.Submission(t))
		}, "not what is signed"},
		"a delegation": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) {
				s.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{{Name: "x", KeyIDs: []string{}, Paths: []string{"*"}}}}
			})
		}, "delegat"},
		"a signature that has ended": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) { s.Expires = r.Now().Add(-time.Hour) })
		}, "clock"},
		"a signature for ever": {func(up *publish.Upload) {
			edit(t, up, key, func(s *metadata.TargetsType) { s.Expires = r.Now().AddDate(90, 0, 0) })
		}, "clock"},
		"an artifact that is missing": {func(up *publish.Upload) { clear(up.Releases[0].Artifacts) }, "missing"},
		"no JSON":                     {func(up *publish.Upload) { up.Metadata = []byte("{") }, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := sub
			fresh.Artifacts = map[string]string{}
			for digest, path := range sub.Artifacts {
				fresh.Artifacts[digest] = path
			}
			up := signUpload(t, r, "acme", author.Key, fresh)
			c.change(&up)
			if err := accept(t, r, up); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want something about %q", err, c.want)
			}
		})
	}
	if report := verify(t, r); len(report.Releases) != 1 || !report.OK() {
		t.Errorf("something was published: %+v", report.Releases)
	}
	up := signUpload(t, r, "acme", author.Key, sub)
	if err := accept(t, r, up); err != nil {
		t.Fatal(err)
	}
	if err := accept(t, r, up); err == nil {
		t.Error("the same upload comes in twice")
	}
	if report := verify(t, r); len(report.Releases) != 2 || !report.OK() {
		t.Errorf("%+v", report)
	}
}

// A namespace whose owner wants two signatures gets nothing with one.
func TestAcceptWantsTheThreshold(t *testing.T) {
	r := registrytest.NewRelease(t)
	keys := []ed25519.PrivateKey{registrytest.NewKey(t), registrytest.NewKey(t)}
	claim, err := publish.NewClaim(publish.ClaimRequest{RootSHA256: r.RootSHA256(t), Namespace: "acme", Contact: "dev@acme.example",
		Keys: keys, Threshold: 2, Now: r.Now()})
	if err != nil {
		t.Fatal(err)
	}
	r.Change(t, func(p *publish.Publisher) error { return p.Admit(claim, false) })
	up := signUpload(t, r, "acme", keys[0], registrytest.Plugin{ID: "acme/agent"}.Submission(t))
	if err := accept(t, r, up); err == nil || !strings.Contains(err.Error(), "did not sign") {
		t.Errorf("one signature of two: %v", err)
	}
	edit(t, &up, []ed25519.PrivateKey{keys[1], registrytest.NewKey(t)}, func(*metadata.TargetsType) {})
	if err := accept(t, r, up); err == nil {
		t.Error("a stranger's signature counts as the second")
	}
	edit(t, &up, keys, func(*metadata.TargetsType) {})
	if err := accept(t, r, up); err != nil {
		t.Errorf("both signatures: %v", err)
	}
}

// Death at any step on the disk leaves a registry that is in order, with the upload wholly there or not at all, and the
// author can send it again.
func TestAcceptDiesAnywhere(t *testing.T) {
	died := errors.New("died here")
	steps := 1
	for at := 0; at < steps; at++ {
		r := registrytest.NewRelease(t)
		author := r.Claim(t, "acme")
		sub := withCard(registrytest.Plugin{ID: "acme/agent", Readme: []byte("hello")}.Submission(t), registry.GatePassed)
		up := signUpload(t, r, "acme", author.Key, sub)
		p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		restore := durable.Intercept(func(durable.Op, string) error {
			if n++; n > at {
				return died // and from then on nothing more is done, as after a kill
			}
			return nil
		})
		err = p.Accept(t.Context(), up)
		restore()
		p.Close()
		if err == nil {
			t.Logf("%d steps", at)
			return
		}
		if !errors.Is(err, died) {
			t.Fatalf("step %d: %v", at, err)
		}
		steps = at + 2
		label := fmt.Sprintf("dead at step %d", at)
		report := verify(t, r)
		if !report.OK() || len(report.Releases) > 1 {
			t.Fatalf("%s: %+v", label, report)
		}
		if len(report.Releases) == 0 {
			if err := accept(t, r, up); err != nil {
				t.Fatalf("%s: the upload does not come in again: %v", label, err)
			}
		}
		r.Upload(t, author, registrytest.Plugin{ID: "acme/agent", Version: "1.0.1"})
		if report := verify(t, r); !report.OK() || len(report.Releases) != 2 {
			t.Fatalf("%s: %+v", label, report)
		}
	}
}
