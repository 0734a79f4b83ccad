package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

func TestIndexOfANewRegistryIsEmpty(t *testing.T) {
	for name, found := range map[string]func(testing.TB) *registrytest.Registry{"development": registrytest.New, "release": registrytest.NewRelease} {
		r := found(t)
		if x := r.Index(t); len(x.Plugins) != 0 || x.RootSHA256 != r.RootSHA256(t) {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

// Whatever happens in a registry, the index that was changed step by step says what one would that is made from nothing.
func TestIndexFollows(t *testing.T) {
	r := registrytest.New(t)
	acme := r.Claim(t, "acme")
	var other *registrytest.Author
	find := func(x *registry.Index, id string) registry.IndexPlugin {
		t.Helper()
		p, ok := x.Find(id)
		if !ok {
			t.Fatalf("the index has no %s", id)
		}
		return *p
	}
	for _, step := range []struct {
		name  string
		do    func()
		check func(x *registry.Index) bool
	}{
		{"the first release", func() { r.Publish(t, registrytest.Plugin{ID: "picket/ping"}) },
			func(x *registry.Index) bool {
				p := find(x, "picket/ping")
				return p.Via == registry.ViaOfficial && p.Title == "Test plugin" && p.Kind == "collector" && len(p.Releases) == 1
			}},
		{"a prerelease", func() { r.Publish(t, registrytest.Plugin{ID: "picket/ping", Version: "2.0.0-rc.1"}) },
			func(x *registry.Index) bool {
				p := find(x, "picket/ping")
				return p.Releases[0].Channel == registry.ChannelBeta && p.Newest().Version == "1.0.0"
			}},
		{"an author's", func() {
			r.Upload(t, acme, registrytest.Plugin{ID: "acme/snmp"}, registrytest.Plugin{ID: "acme/snmp", Version: "1.1.0"}, registrytest.Plugin{ID: "acme/dns"})
		}, func(x *registry.Index) bool {
			p := find(x, "acme/snmp")
			return p.Via == registry.ViaRecent && p.Contact == "dev@acme.example" && len(p.Releases) == 2 && len(x.Plugins) == 3
		}},
		{"a yank", func() {
			r.Change(t, func(p *publish.Publisher) error { return p.Yank("picket/ping", "1.0.0", "It hangs.") })
		},
			func(x *registry.Index) bool {
				old, _ := new(registry.IndexPlugin), 0
				*old = find(x, "picket/ping")
				rel, _ := old.Release("1.0.0")
				return rel.Yanked == "It hangs." && old.Newest().Version == "2.0.0-rc.1"
			}},
		{"a confirmation", func() { r.Confirm(t, "acme") },
			func(x *registry.Index) bool { return find(x, "acme/dns").Via == registry.ViaClaimed }},
		{"a revocation", func() { r.Revoke(t, "acme/snmp", "1.1.0", "It leaks.") },
			func(x *registry.Index) bool {
				p := find(x, "acme/snmp")
				return p.Releases[0].Revoked == "It leaks." && p.Releases[1].Revoked == "" && p.Newest().Version == "1.0.0"
			}},
		{"a revocation of a namespace", func() {
			other = r.Claim(t, "umbrella")
			r.Upload(t, other, registrytest.Plugin{ID: "umbrella/t"})
			r.Revoke(t, "umbrella/*", "*", "All bad.")
		}, func(x *registry.Index) bool { return find(x, "umbrella/t").Releases[0].Revoked == "All bad." }},
		{"new keys", func() { r.NewKeys(t, acme, false, func(id, _, _ string) bool { return id != "acme/dns" }) },
			func(x *registry.Index) bool {
				_, still := x.Find("acme/dns")
				return !still && find(x, "acme/snmp").Releases[0].KeyIDs[0] == r.AuthorKeyID(t, "acme")
			}},
		{"a namespace that is dropped", func() { r.Change(t, func(p *publish.Publisher) error { return p.Drop("umbrella") }) },
			func(x *registry.Index) bool { _, still := x.Find("umbrella/t"); return !still }},
		{"a new key of the snapshot", func() { r.Rotate(t, metadata.SNAPSHOT) }, func(x *registry.Index) bool { return len(x.Plugins) == 2 }},
		{"time", func() { r.Advance(20 * 24 * time.Hour); r.Renew(t) }, func(x *registry.Index) bool { return len(x.Plugins) == 2 }},
	} {
		step.do()
		x := r.Index(t)
		if !step.check(x) {
			t.Fatalf("after %s the index says %+v", step.name, x.Plugins)
		}
		r.Advance(time.Hour)
		if err := os.Remove(filepath.Join(r.Dir, registry.IndexPath)); err != nil {
			t.Fatal(err)
		}
		r.Renew(t)
		anew := r.Index(t)
		if !slices.EqualFunc(x.Plugins, anew.Plugins, samePlugin) {
			t.Fatalf("after %s the index says\n%+v\nand made from nothing\n%+v", step.name, x.Plugins, anew.Plugins)
		}
	}
}

func samePlugin(a, b registry.IndexPlugin) bool {
	x, errX := registry.EncodeIndexPlugin(&a)
	y, errY := registry.EncodeIndexPlugin(&b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// Lines of namespaces that a change is not about are kept byte for byte, even those that could not be made again.
func TestIndexKeepsOtherLines(t *testing.T) {
	r := registrytest.New(t)
	author := r.Crowd(t, 20, 3)
	r.Upload(t, author, registrytest.Plugin{ID: author.Namespace + "/agent", Version: "2.0.0"})
	x := r.Index(t)
	if len(x.Plugins) != 20 {
		t.Fatalf("%d plugins are left", len(x.Plugins))
	}
	if p, _ := x.Find(author.Namespace + "/agent"); len(p.Releases) != 4 || p.Releases[0].Version != "2.0.0" {
		t.Errorf("the author's plugin: %+v", p)
	}
}

// An index that somebody changed is not built on.
func TestIndexOfStrangersIsNotKept(t *testing.T) {
	for name, harm := range map[string]func(data string) string{
		"changed":        func(data string) string { return strings.Replace(data, "It stands in", "I stand in", 1) },
		"cut off":        func(data string) string { return data[:len(data)/2] },
		"empty":          func(string) string { return "" },
		"of no snapshot": func(data string) string { return strings.Replace(data, `"snapshot":`, `"snapshot":9`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t)
			r.Publish(t, registrytest.Plugin{ID: "picket/a"}, registrytest.Plugin{ID: "picket/b"})
			file := filepath.Join(r.Dir, registry.IndexPath)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(harm(string(data))), 0o644); err != nil {
				t.Fatal(err)
			}
			report, err := publish.Verify(r.Dir, nil, r.Now())
			if err != nil || report.Index == "" {
				t.Errorf("verify found nothing wrong: %+v, %v", report, err)
			}
			author := r.Claim(t, "acme") // a change that is about none of them
			r.Upload(t, author, registrytest.Plugin{ID: "acme/c"})
			x := r.Index(t)
			if len(x.Plugins) != 3 || x.Plugins[1].Summary != "It stands in for a plugin." {
				t.Errorf("the index says %+v", x.Plugins)
			}
		})
	}
}

// A release whose descriptor is gone does not keep others from being listed.
func TestIndexWithADescriptorMissing(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/a"}, registrytest.Plugin{ID: "picket/b"}, registrytest.Plugin{ID: "picket/b", Version: "1.1.0"})
	for _, pattern := range []string{"a/1.0.0", "b/1.1.0"} {
		files, err := filepath.Glob(filepath.Join(r.Dir, "targets", "plugins", "picket", pattern, "*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
	}
	r.Publish(t, registrytest.Plugin{ID: "picket/c"})
	x := r.Index(t)
	if len(x.Plugins) != 2 || x.Plugins[0].ID != "picket/b" || x.Plugins[0].Title != "Test plugin" {
		t.Errorf("the index says %+v", x.Plugins)
	}
}

// Whichever step on the disk fails, the registry is as before or as after, and so is the index once it is opened again.
func TestIndexSurvivesEveryStep(t *testing.T) {
	errFull := errors.New("no space left on device")
	outcomes := map[string]int{}
	for fail := 0; ; fail++ {
		r := registrytest.New(t)
		r.Publish(t, registrytest.Plugin{ID: "picket/a"})
		p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
		if err != nil {
			t.Fatal(err)
		}
		sub := registrytest.Plugin{ID: "picket/b"}.Submission(t)
		steps := 0
		restore := durable.Intercept(func(durable.Op, string) error {
			steps++
			if steps > fail {
				return errFull // and nothing works from here on: as dead as can be
			}
			return nil
		})
		_, err = p.Add(t.Context(), []publish.Submission{sub})
		restore()
		p.Close()
		reopened, openErr := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
		if openErr != nil {
			t.Fatalf("step %d: %v", fail, openErr)
		}
		reopened.Close()
		report, verifyErr := publish.Verify(r.Dir, nil, r.Now())
		if verifyErr != nil || !report.OK() {
			t.Fatalf("step %d: %+v, %v", fail, report, verifyErr)
		}
		x := r.Index(t)
		if len(x.Plugins) != len(report.Releases) {
			t.Errorf("step %d: the index lists %d plugins, the registry has %d", fail, len(x.Plugins), len(report.Releases))
		}
		switch len(report.Releases) {
		case 1:
			outcomes["before"]++
		case 2:
			outcomes["after"]++
		}
		if err == nil {
			break
		}
	}
	if outcomes["before"] < 5 || outcomes["after"] < 2 {
		t.Errorf("the steps that failed led to %v", outcomes)
	}
}

// What only helps people to choose must not keep a registry from withdrawing a release or from staying fresh.
func TestADamagedCardStopsNoRevocation(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/ping"}, registrytest.Plugin{ID: "picket/snmp"})
	x := r.Index(t)
	for _, p := range x.Plugins {
		dir := filepath.Join(r.Dir, ".cards")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, p.Releases[0].Descriptor), []byte("{"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	r.Revoke(t, "picket/ping", "1.0.0", "It leaks.")
	p, ok := r.Index(t).Find("picket/ping")
	if !ok || p.Releases[0].Revoked == "" || p.Releases[0].Card != "" {
		t.Errorf("%+v", p)
	}
}
