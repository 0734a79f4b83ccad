package registry

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodCard() Card {
	return Card{
		Schema: CardSchema, RootSHA256: strings.Repeat("a", 64), ID: "acme/hello", Version: "1.0.0", Descriptor: strings.Repeat("b", 64),
		Time: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Tier: TierSilver,
		Gates: []Gate{
			{Name: GateArchive, State: GatePassed, Summary: "2 artifacts are what they say"},
			{Name: GateLicence, State: GateWarning, Summary: "no SPDX name", Details: []string{"Foo"}},
		},
		Resources: &Resources{StartMillis: 12.5, MemoryBytes: 8 << 20, NanosPerRecord: 310, Machine: "2 cores"},
		Quality:   []QualityFigure{{Dataset: "ctu-13", Precision: 0.9, Recall: 0.8, Captures: 3, Source: "https://example.org"}},
	}
}

func cardKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

func TestCard(t *testing.T) {
	key, other := cardKey('a'), cardKey('b')
	data, err := SignCard(goodCard(), key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCard(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goodCard(), got.Card); diff != "" {
		t.Error(diff)
	}
	public := func(k ed25519.PrivateKey) []ed25519.PublicKey {
		return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
	}
	if err := got.Verify(strings.Repeat("a", 64), public(key)); err != nil {
		t.Error(err)
	}
	if err := got.Verify(strings.Repeat("a", 64), public(other)); err == nil {
		t.Error("a card signed by somebody else passes")
	}
	if err := got.Verify(strings.Repeat("c", 64), public(key)); err == nil {
		t.Error("a card of another registry passes")
	}
	got.Card.Tier, got.Card.Gates[1].State = TierGold, GatePassed
	if err := got.Verify(strings.Repeat("a", 64), public(key)); err == nil {
		t.Error("a changed card passes")
	}
}

func TestCardRefuses(t *testing.T) {
	for name, change := range map[string]func(*Card){
		"a tier that the gates did not earn": func(c *Card) { c.Tier = TierGold },
		"gold without any gate":              func(c *Card) { c.Gates, c.Tier = nil, TierGold },
		"an unknown gate":                    func(c *Card) { c.Gates[0].Name = "taste" },
		"a gate twice":                       func(c *Card) { c.Gates[1].Name = c.Gates[0].Name },
		"an unknown state":                   func(c *Card) { c.Gates[0].State = "fine" },
		"no summary":                         func(c *Card) { c.Gates[0].Summary = "" },
		"a line feed in a detail":            func(c *Card) { c.Gates[1].Details[0] = "a\x1b[2J" },
		"a share beyond one":                 func(c *Card) { c.Quality[0].Recall = 1.1 },
		"no time":                            func(c *Card) { c.Time = time.Time{} },
		"another schema":                     func(c *Card) { c.Schema = 9 },
		"an id with a path":                  func(c *Card) { c.ID = "acme/../x" },
	} {
		c := goodCard()
		change(&c)
		if _, err := SignCard(c, cardKey('a')); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestTierOf(t *testing.T) {
	gate := func(states ...string) []Gate {
		var gates []Gate
		for _, s := range states {
			gates = append(gates, Gate{State: s})
		}
		return gates
	}
	for _, c := range []struct {
		gates []Gate
		want  string
	}{
		{gate(), TierNone},
		{gate(GatePassed, GatePassed), TierGold},
		{gate(GatePassed, GateWarning), TierSilver},
		{gate(GateWarning, GateNotChecked), TierBronze},
		{gate(GateNotChecked), TierBronze},
		{gate(GatePassed, GateNotChecked, GateFailed), TierNone},
	} {
		if got := TierOf(c.gates); got != c.want {
			t.Errorf("%v: %s, want %s", c.gates, got, c.want)
		}
	}
}

func FuzzParseCard(f *testing.F) {
	data, err := SignCard(goodCard(), cardKey('a'))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"card":{},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseCard(data)
		if err != nil {
			return
		}
		if s.Card.Tier != TierOf(s.Card.Gates) {
			t.Errorf("a card with tier %q and gates that earn %q passed", s.Card.Tier, TierOf(s.Card.Gates))
		}
	})
}
