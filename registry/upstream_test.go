package registry

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"
)

func FuzzOpenUpstream(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	u := Upstream{RootSHA256: strings.Repeat("a", 64), Source: strings.Repeat("b", 64), Known: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	good, err := SignUpstream(u, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"upstream":null,"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := OpenUpstream(data, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err == nil && *got != u {
			t.Errorf("%+v came out, which nobody signed", got)
		}
	})
}

func TestOpenUpstream(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	data, err := SignUpstream(Upstream{Known: time.Unix(1, 0).UTC()}, key)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := OpenUpstream(data, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}); err != nil || u.Known.Unix() != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := OpenUpstream(data, []ed25519.PublicKey{other.Public().(ed25519.PublicKey)}); err == nil {
		t.Error("a stranger's signature passed")
	}
	changed := []byte(strings.Replace(string(data), "1970", "1971", 1))
	if _, err := OpenUpstream(changed, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}); err == nil {
		t.Error("a changed date passed")
	}
}
