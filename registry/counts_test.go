package registry

import (
	"bytes"
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"
	"time"
)

func someCounts() Counts {
	return Counts{
		Schema: CountsSchema, RootSHA256: strings.Repeat("a", 64), Source: "journal", Time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Plugins: []PluginCounts{{ID: "acme/agent", Installs: 3, Reviews: 2, Stars: 9}, {ID: "acme/snmp"}},
	}
}

func TestCounts(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	keys := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	c := someCounts()
	data, err := SignCounts(c, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenCounts(data, c.RootSHA256, keys); err != nil || !reflect.DeepEqual(*got, c) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := OpenCounts(data, strings.Repeat("b", 64), keys); err == nil {
		t.Error("those of another registry passed")
	}
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("x"), ed25519.SeedSize))
	if _, err := OpenCounts(data, c.RootSHA256, []ed25519.PublicKey{stranger.Public().(ed25519.PublicKey)}); err == nil {
		t.Error("a stranger's signature passed")
	}
	if _, err := OpenCounts(bytes.Replace(data, []byte(`"installs":3`), []byte(`"installs":4`), 1), c.RootSHA256, keys); err == nil {
		t.Error("a changed number passed")
	}
	for name, change := range map[string]func(*Counts){
		"another schema":          func(c *Counts) { c.Schema++ },
		"no registry":             func(c *Counts) { c.RootSHA256 = "" },
		"no source":               func(c *Counts) { c.Source = "" },
		"no time":                 func(c *Counts) { c.Time = time.Time{} },
		"an id that is none":      func(c *Counts) { c.Plugins[0].ID = "Acme" },
		"twice the same":          func(c *Counts) { c.Plugins[1] = c.Plugins[0] },
		"fewer than nobody":       func(c *Counts) { c.Plugins[0].Installs = -1 },
		"more than there are":     func(c *Counts) { c.Plugins[0].Installs = 1 << 40 },
		"stars without a review":  func(c *Counts) { c.Plugins[1].Stars = 1 },
		"six stars":               func(c *Counts) { c.Plugins[0].Stars = 11 },
		"reviews without a star":  func(c *Counts) { c.Plugins[0].Stars = 1 },
		"fewer reviews than none": func(c *Counts) { c.Plugins[0].Reviews, c.Plugins[0].Stars = -1, -1 },
	} {
		bad := someCounts()
		change(&bad)
		if _, err := SignCounts(bad, key); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func FuzzOpenCounts(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	want := someCounts()
	good, err := SignCounts(want, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"counts":{"plugins":[]},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := OpenCounts(data, want.RootSHA256, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err == nil && !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v came out, which nobody signed", got)
		}
	})
}
