package registry

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var indexTime = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func testKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func testIndex() *Index {
	release := func(version string) IndexRelease {
		return IndexRelease{Version: version, Descriptor: Digest([]byte(version)), Length: 100, Role: "ns-acme",
			KeyIDs: []string{KeyID(publicOf(testKey(7)))}, Published: indexTime, Channel: ChannelOf(version)}
	}
	return &Index{Schema: IndexSchema, RootSHA256: Digest([]byte("root")), Snapshot: 3, Time: indexTime, Plugins: []IndexPlugin{
		{ID: "acme/ping", Kind: "collector", Title: "Ping", Summary: "Pings <hosts> & more.", License: "MIT", Via: ViaClaimed, Tags: []string{"icmp"},
			Releases: []IndexRelease{release("2.0.0-rc.1"), release("1.1.0"), release("1.0.0")}},
		{ID: "picket/snmp", Kind: "collector", Title: "SNMP", Summary: "Asks.", License: "Apache-2.0", Via: ViaOfficial,
			Releases: []IndexRelease{release("1.0.0")}},
	}}
}

func sealed(tb testing.TB, x *Index, keys ...ed25519.PrivateKey) []byte {
	tb.Helper()
	data, err := EncodeIndex(x)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := SealIndex(data, keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

func TestIndexRoundTrip(t *testing.T) {
	key := testKey(1)
	x, err := ParseIndex(sealed(t, testIndex(), key), []ed25519.PublicKey{publicOf(key)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := x.Find("acme/ping")
	if !ok || p.Newest().Version != "1.1.0" || x.Snapshot != 3 || !x.Time.Equal(indexTime) {
		t.Errorf("read back %+v", x)
	}
	if _, ok := x.Find("acme/pong"); ok {
		t.Error("found a plugin that is not there")
	}
	if r, ok := p.Release("2.0.0-rc.1"); !ok || r.Channel != ChannelBeta {
		t.Errorf("the prerelease is %+v", r)
	}
}

func TestIndexSplitAndJoin(t *testing.T) {
	for n, x := range []*Index{testIndex(), {Schema: IndexSchema, RootSHA256: Digest(nil), Snapshot: 1, Time: indexTime}} {
		data, err := EncodeIndex(x)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := SplitIndex(data)
		if err != nil || len(lines) != len(x.Plugins) {
			t.Fatalf("%d: %d lines, %v", n, len(lines), err)
		}
		again, err := JoinIndex(x, lines)
		if err != nil || string(again) != string(data) || !json.Valid(again) {
			t.Errorf("%d: joined\n%s\nwant\n%s (%v)", n, again, data, err)
		}
	}
	for _, bad := range []string{"", "{}", "{\n", "{\nx", "{\"plugins\":[\n{}]}"} {
		if lines, err := SplitIndex([]byte(bad)); err == nil {
			t.Errorf("%q: %q", bad, lines)
		}
	}
}

func TestIndexNewest(t *testing.T) {
	p := testIndex().Plugins[0]
	for _, step := range []struct{ withdraw, want string }{{"", "1.1.0"}, {"1.1.0", "1.0.0"}, {"1.0.0", "2.0.0-rc.1"}, {"2.0.0-rc.1", "2.0.0-rc.1"}} {
		for i := range p.Releases {
			if p.Releases[i].Version == step.withdraw {
				p.Releases[i].Yanked = "broken"
			}
		}
		if got := p.Newest().Version; got != step.want {
			t.Errorf("without %q the newest is %s, want %s", step.withdraw, got, step.want)
		}
	}
}

func TestIndexRefused(t *testing.T) {
	key, stranger := testKey(1), testKey(2)
	keys := []ed25519.PublicKey{publicOf(key)}
	good := string(sealed(t, testIndex(), key))
	for name, data := range map[string]string{
		"a stranger's signature": string(sealed(t, testIndex(), stranger)),
		"no signature":           string(sealed(t, testIndex())),
		"one byte changed":       strings.Replace(good, "Pings", "Kings", 1),
		"white space added":      strings.Replace(good, `{"index":{`, `{"index":{ `, 1),
		"a member twice":         strings.Replace(good, `"signatures":[`, `"index":{},"signatures":[`, 1),
		"cut off":                good[:len(good)-5],
		"empty":                  "",
	} {
		if _, err := ParseIndex([]byte(data), keys, 1); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ParseIndex([]byte(good), keys, 2); err == nil {
		t.Error("a threshold of two was met by one key")
	}
	for name, change := range map[string]func(x *Index){
		"another schema":       func(x *Index) { x.Schema = 2 },
		"no root":              func(x *Index) { x.RootSHA256 = "" },
		"no snapshot":          func(x *Index) { x.Snapshot = 0 },
		"plugins out of order": func(x *Index) { x.Plugins[0], x.Plugins[1] = x.Plugins[1], x.Plugins[0] },
		"a plugin twice":       func(x *Index) { x.Plugins[1] = x.Plugins[0] },
	} {
		x := testIndex()
		change(x)
		if _, err := ParseIndex(sealed(t, x, key), keys, 1); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, change := range map[string]func(p *IndexPlugin){
		"an id with capitals":    func(p *IndexPlugin) { p.ID = "Acme/ping" },
		"text right to left":     func(p *IndexPlugin) { p.Title = "a\u202eb" },
		"a control character":    func(p *IndexPlugin) { p.Summary = "a\x1b[2J" },
		"a homepage of scripts":  func(p *IndexPlugin) { p.Homepage = "javascript:alert(1)" },
		"an unknown via":         func(p *IndexPlugin) { p.Via = "me" },
		"no release":             func(p *IndexPlugin) { p.Releases = nil },
		"releases out of order":  func(p *IndexPlugin) { p.Releases[0], p.Releases[1] = p.Releases[1], p.Releases[0] },
		"a release twice":        func(p *IndexPlugin) { p.Releases[1] = p.Releases[0] },
		"a descriptor that is x": func(p *IndexPlugin) { p.Releases[0].Descriptor = "x" },
		"a huge descriptor":      func(p *IndexPlugin) { p.Releases[0].Length = MaxDescriptor + 1 },
		"the wrong channel":      func(p *IndexPlugin) { p.Releases[0].Channel = ChannelStable },
		"a card that is a path":  func(p *IndexPlugin) { p.Releases[0].Card = "../../etc/passwd" },
	} {
		p := testIndex().Plugins[0]
		change(&p)
		if _, err := EncodeIndexPlugin(&p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whatever the bytes are, nothing falls over, and what is accepted survives being written again.
func FuzzParseIndex(f *testing.F) {
	key := testKey(1)
	index, err := EncodeIndex(testIndex())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index)
	f.Add([]byte(`{"schema":1}`))
	f.Add([]byte("{\n]}"))
	f.Fuzz(func(t *testing.T, index []byte) {
		lines, err := SplitIndex(index)
		if err == nil {
			if _, err := JoinIndex(testIndex(), lines); err != nil {
				t.Errorf("what was split could not be joined: %v", err)
			}
		}
		file, err := SealIndex(index, key)
		if err != nil {
			t.Fatal(err)
		}
		x, err := ParseIndex(file, []ed25519.PublicKey{publicOf(key)}, 1)
		if err != nil {
			return
		}
		if _, err := ParseIndex(sealed(t, x, key), []ed25519.PublicKey{publicOf(key)}, 1); err != nil {
			t.Errorf("what was read could not be read again: %v", err)
		}
	})
}
