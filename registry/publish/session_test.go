package publish_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// people is a registry whose root is held by three people on machines of their own.
type people struct {
	dir, online, offline string
	keys                 []string // the folders of alice, bob and carol
}

func found(t *testing.T) *people {
	t.Helper()
	base := t.TempDir()
	p := &people{dir: filepath.Join(base, "registry"), online: filepath.Join(base, "online"), offline: filepath.Join(base, "offline")}
	opt := publish.Options{OfflineKeys: p.offline, Public: map[string][]ed25519.PublicKey{}}
	for _, name := range []string{"alice", "bob", "carol"} {
		folder := filepath.Join(base, name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		key, err := publish.NewKey(filepath.Join(folder, name+".pem"), nil)
		if err != nil {
			t.Fatal(err)
		}
		opt.Public["root"] = append(opt.Public["root"], key)
		p.keys = append(p.keys, folder)
	}
	var pending *publish.PendingError
	if err := publish.Init(p.dir, p.online, opt); !errors.As(err, &pending) || strings.Join(pending.Roles, " ") != "root" {
		t.Fatalf("founding does not wait for the root's keys: %v", err)
	}
	p.sign(t, p.online, 0, 2)
	return p
}

func (p *people) open(t *testing.T, keys string) *publish.Publisher {
	t.Helper()
	pub, err := publish.Open(t.Context(), p.dir, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pub.Close)
	return pub
}

// export is the draft as the file that travels.
func (p *people) export(t *testing.T, keys string) []byte {
	t.Helper()
	pub := p.open(t, keys)
	defer pub.Close()
	d, err := pub.Export()
	if err != nil || d == nil {
		t.Fatalf("nothing to export: %v", err)
	}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// signAs signs a draft on the machine of one of the people, who sees nothing of the registry.
func (p *people) signAs(t *testing.T, who int, data []byte) *publish.Draft {
	t.Helper()
	d, err := publish.ParseDraft(data)
	if err != nil {
		t.Fatal(err)
	}
	var root []byte
	if !d.Founding {
		if root, err = os.ReadFile(filepath.Join(p.online, "root.json")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := publish.OpenDraft(d, root, p.keys[who], nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Signs() || len(r.Changes) == 0 {
		t.Fatalf("it does not ask %d to sign: %+v", who, r)
	}
	signed, err := r.Sign()
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (p *people) importAll(t *testing.T, keys string, drafts ...*publish.Draft) error {
	t.Helper()
	pub := p.open(t, keys)
	defer pub.Close()
	return pub.Import(drafts...)
}

func (p *people) sign(t *testing.T, keys string, who ...int) {
	t.Helper()
	data := p.export(t, keys)
	var back []*publish.Draft
	for _, n := range who {
		back = append(back, p.signAs(t, n, data))
	}
	if err := p.importAll(t, keys, back...); err != nil {
		t.Fatal(err)
	}
}

func (p *people) verify(t *testing.T) *publish.Report {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(p.online, "root.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := publish.Verify(p.dir, root, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Three people found a registry and change its root, each on their own machine; no offline key comes near the server.
func TestPeopleSignOnTheirOwnMachines(t *testing.T) {
	p := found(t)
	if r := p.verify(t); !r.OK() || r.RootVersion != 1 {
		t.Fatalf("%+v", r)
	}
	names, err := filepath.Glob(filepath.Join(p.online, "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		role, _, _ := strings.Cut(filepath.Base(name), "-")
		if !publish.IsOnline(role) {
			t.Errorf("%s lies on the server", filepath.Base(name))
		}
	}

	pub := p.open(t, p.online)
	c, err := pub.ReplaceKeys("timestamp")
	if err != nil {
		t.Fatal(err)
	}
	var pending *publish.PendingError
	if err := pub.Rotate("timestamp", c); !errors.As(err, &pending) {
		t.Fatalf("the root changed without its keys: %v", err)
	}
	pub.Close()
	if r := p.verify(t); r.RootVersion != 1 || !r.OK() {
		t.Errorf("a change that waits changed the registry: %+v", r)
	}
	// One signature of two is not enough, and stays.
	data := p.export(t, p.online)
	if err := p.importAll(t, p.online, p.signAs(t, 1, data)); !errors.As(err, &pending) {
		t.Fatalf("after one signature: %v", err)
	}
	if err := p.importAll(t, p.online, p.signAs(t, 1, data)); !errors.As(err, &pending) {
		t.Fatalf("the same signature again counted: %v", err)
	}
	if err := p.importAll(t, p.online, p.signAs(t, 2, data)); err != nil {
		t.Fatal(err)
	}
	if r := p.verify(t); r.RootVersion != 2 || !r.OK() {
		t.Errorf("%+v", r)
	}
}

// What changes is worked out where it is signed, from the registry's own signed state.
func TestReviewSaysWhatChanges(t *testing.T) {
	p := found(t)
	pub := p.open(t, p.online)
	stranger, err := publish.NewKey(filepath.Join(t.TempDir(), "x.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = pub.Rotate("root", publish.KeyChange{Add: []ed25519.PublicKey{stranger}, Threshold: 1})
	pub.Close()
	d, err := publish.ParseDraft(p.export(t, p.online))
	if err != nil {
		t.Fatal(err)
	}
	r, err := publish.OpenDraft(d, nil, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, c := range r.Changes {
		text = append(text, c.Text)
	}
	all := strings.Join(text, "\n")
	for _, want := range []string{registry.KeyID(stranger), "root needs 1 signatures instead of 2"} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not say %q:\n%s", want, all)
		}
	}
	if _, err := publish.OpenDraft(d, []byte(`{"another":"root"}`), "", nil); err == nil {
		t.Error("took a draft of another registry than the trusted one")
	}
}

// Somebody on the way changes a draft, or sends back another one.
func TestDraftThatWasTamperedWith(t *testing.T) {
	p := found(t)
	pub := p.open(t, p.online)
	if _, err := pub.RenewOffline("root"); err == nil {
		t.Fatal("signed without keys")
	}
	pub.Close()
	data := p.export(t, p.online)
	d, err := publish.ParseDraft(data)
	if err != nil {
		t.Fatal(err)
	}
	d.Files[0].Metadata = []byte(strings.Replace(string(d.Files[0].Metadata), `"threshold":2`, `"threshold":1`, 1))
	forged, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back := p.signAs(t, 0, forged) // alice was not attentive
	if err := p.importAll(t, p.online, back); err == nil || !strings.Contains(err.Error(), "says something else") {
		t.Errorf("took another change than the one that waits: %v", err)
	}
	for _, harm := range []func(*publish.Draft){
		func(d *publish.Draft) { d.Roots = nil },
		func(d *publish.Draft) { d.Base = nil },
		func(d *publish.Draft) { // a base that hides what changes
			for i := range d.Base {
				if d.Base[i].Role == "targets" {
					d.Base[i].Metadata = []byte(strings.Replace(string(d.Base[i].Metadata), `"version":1`, `"version":2`, 1))
				}
			}
		},
	} {
		d, err := publish.ParseDraft(data)
		if err != nil {
			t.Fatal(err)
		}
		harm(d)
		if _, err := publish.OpenDraft(d, nil, p.keys[0], nil); err == nil {
			t.Error("a draft without a sound base was shown as if it had one")
		}
	}
}

// A draft that was overtaken says so, and can be dropped.
func TestStaleDraft(t *testing.T) {
	r := registrytest.NewRelease(t)
	p := publisher(t, r)
	lonely := filepath.Join(t.TempDir(), "lonely")
	if err := os.Mkdir(lonely, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root.json", "ceremony.json", "snapshot-1.pem", "timestamp-1.pem", "security-1.pem"} {
		data, err := os.ReadFile(filepath.Join(r.Keys, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(lonely, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	poor, err := publish.Open(t.Context(), r.Dir, lonely, r.Now)
	if err != nil {
		t.Fatal(err)
	}
	var pending *publish.PendingError
	if _, err := poor.RenewOffline("official"); !errors.As(err, &pending) {
		t.Fatalf("%v", err)
	}
	poor.Close()
	r.Publish(t, registrytest.Plugin{ID: "picket/a"})
	p = publisher(t, r)
	if err := p.Sign(); err == nil || !strings.Contains(err.Error(), "--discard") {
		t.Errorf("signed what was overtaken: %v", err)
	}
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	if d, err := p.Pending(); d != nil || err != nil {
		t.Errorf("%+v, %v", d, err)
	}
	if report := verify(t, r); !report.OK() {
		t.Errorf("%+v", report)
	}
}

// A crash between the new root and the timestamp that goes with it is made good.
func TestCrashBetweenRootAndTimestamp(t *testing.T) {
	r := registrytest.New(t)
	before := map[string][]byte{}
	names := []string{"root.json", "timestamp.json"}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(r.Dir, "metadata", name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = data
	}
	r.Rotate(t, "timestamp")
	var journal []string
	for _, name := range []string{"2.root.json", "root.json", "timestamp.json"} {
		data, err := os.ReadFile(filepath.Join(r.Dir, "metadata", name))
		if err != nil {
			t.Fatal(err)
		}
		journal = append(journal, `{"name":"`+name+`","data":`+string(data)+`}`)
	}
	for name, data := range before { // as if the machine had stopped after the first of three files
		if err := os.WriteFile(filepath.Join(r.Dir, "metadata", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.Dir, ".journal.json"), []byte("["+strings.Join(journal, ",")+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	publisher(t, r).Close()
	if report := verify(t, r); !report.OK() || report.RootVersion != 2 {
		t.Errorf("%+v", report)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, ".journal.json"), []byte(`[{"name":"../../x","data":{}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now); err == nil {
		p.Close()
		t.Error("a journal wrote outside of the metadata")
	}
}

func TestKeysUnderAPassphrase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pem")
	public, err := publish.NewKey(path, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	say := func(text string) publish.Unlock { return func(string) ([]byte, error) { return []byte(text), nil } }
	key, err := publish.LoadKey(path, say("correct horse"))
	if err != nil || !key.Public().(ed25519.PublicKey).Equal(public) {
		t.Fatalf("another key: %v", err)
	}
	if half, err := publish.LoadPublicKey(filepath.Join(dir, "a.pub")); err != nil || !half.Equal(public) {
		t.Errorf("public half: %v", err)
	}
	if _, err := publish.LoadKey(path, say("battery staple")); err == nil || !strings.Contains(err.Error(), "passphrase is wrong") {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := publish.LoadKey(path, nil); err == nil {
		t.Error("loaded without a passphrase")
	}
	if _, err := publish.NewKey(path, nil); err == nil {
		t.Error("a key was overwritten")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, harm := range []func(string) string{
		func(s string) string { return strings.Replace(s, "131072", "999999999", 1) },
		func(s string) string { return strings.Replace(s, "Salt: ", "Salt: 00", 1) },
		func(string) string { return "not a key" },
	} {
		if err := os.WriteFile(path, []byte(harm(string(data))), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := publish.LoadKey(path, say("correct horse")); err == nil {
			t.Error("loaded a key file that was changed")
		}
	}
}

// Who keeps the registry sees what waits; a namespace can be refused.
func TestNewcomersWaitForMaintainers(t *testing.T) {
	r := registrytest.NewRelease(t)
	acme := r.Claim(t, "acme")
	r.Claim(t, "zebra")
	r.Upload(t, acme, registrytest.Plugin{ID: "acme/agent"})
	p := publisher(t, r)
	s, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Recent) != 2 || s.Recent[0].Namespace != "acme" || s.Recent[0].Contact != "dev@acme.example" || s.Recent[0].Releases != 1 {
		t.Errorf("newcomers %+v", s.Recent)
	}
	if err := p.Confirm("acme"); err != nil {
		t.Fatal(err)
	}
	if err := p.Drop("zebra"); err != nil {
		t.Fatal(err)
	}
	if s, err = p.Status(); err != nil || len(s.Recent) != 0 || strings.Join(s.Claimed, " ") != "acme" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := p.Confirm("zebra"); err == nil {
		t.Error("confirmed what is not there")
	}
	if err := p.Drop("acme"); err == nil {
		t.Error("dropped what was confirmed")
	}
	if report := verify(t, r); !report.OK() || len(report.Releases) != 1 || report.Releases[0].Role != "ns-acme" {
		t.Errorf("%+v", report)
	}
}

// The names of keys are those of the metadata, so that a statement and a role speak of the same key.
func TestKeyIDsAreThoseOfTheMetadata(t *testing.T) {
	r := registrytest.New(t)
	want := registry.KeyID(r.KeyOf(t, "timestamp").Public().(ed25519.PublicKey))
	ids, _, err := publisher(t, r).RoleKeys("timestamp")
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 1 || ids[0] != want {
		t.Errorf("%v, want %s", ids, want)
	}
}

func TestRotateRefuses(t *testing.T) {
	r := registrytest.New(t)
	mine := r.KeyOf(t, "targets").Public().(ed25519.PublicKey)
	p := publisher(t, r)
	ids, _, err := p.RoleKeys("targets")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		role   string
		change publish.KeyChange
	}{
		"no such role":              {"janitor", publish.KeyChange{Threshold: 1}},
		"a namespace":               {"ns-acme", publish.KeyChange{Threshold: 1}},
		"nothing":                   {"targets", publish.KeyChange{}},
		"a key that is not there":   {"targets", publish.KeyChange{Remove: []string{"0123456789"}}},
		"too short an id":           {"targets", publish.KeyChange{Remove: []string{ids[0][:4]}}},
		"the last key":              {"targets", publish.KeyChange{Remove: ids}},
		"a threshold beyond reach":  {"targets", publish.KeyChange{Threshold: 2}},
		"a key that is there twice": {"targets", publish.KeyChange{Add: []ed25519.PublicKey{mine}}},
	} {
		if err := p.Rotate(c.role, c.change); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	if report := verify(t, r); !report.OK() || report.RootVersion != 1 {
		t.Errorf("%+v", report)
	}
}

// FuzzOpenDraft: a draft from anybody is an error or a review, never a panic.
func FuzzOpenDraft(f *testing.F) {
	f.Add([]byte(`{"schema":1,"founding":true,"made":"2026-01-01T00:00:00Z","files":[]}`))
	f.Add([]byte(`{"schema":1,"made":"2026-01-01T00:00:00Z","files":[{"role":"root","metadata":{}}],"roots":[{}],"base":[{"role":"targets","metadata":{}}]}`))
	f.Add([]byte(`{"schema":1,"founding":true,"made":"2026-01-01T00:00:00Z","files":[{"role":"../x","metadata":null}],"revocations":{"schema":1,"revoked":[]}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if d, err := publish.ParseDraft(data); err == nil {
			_, _ = publish.OpenDraft(d, nil, "", nil)
		}
	})
}
