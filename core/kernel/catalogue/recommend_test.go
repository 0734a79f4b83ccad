package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// tagged is a shop that has what a test says under each tag, and counts the questions.
type tagged struct {
	Shop
	under map[string][]Hit
	asked int
}

func (s *tagged) Search(_ context.Context, q MarketQuery) (MarketPage, error) {
	s.asked++
	return MarketPage{Items: s.under[q.Tag]}, nil
}

func TestRecommendWhatFitsAndIsNotThere(t *testing.T) {
	shop := &tagged{under: map[string][]Hit{
		"snmp":   {{ID: "acme/have"}, {ID: "acme/gone", Revoked: "it leaks"}, {ID: "acme/old", Yanked: "broken"}, {ID: "acme/snmp", Kind: "collector"}, {ID: "acme/tell", Kind: "notifier"}},
		"modbus": {{ID: "acme/snmp", Kind: "collector"}, {ID: "acme/m1"}, {ID: "acme/m2"}, {ID: "acme/m3"}},
	}}
	needs := []Need{
		{Because: "2 devices answer SNMP", Query: MarketQuery{Tag: "snmp"}, Kinds: []string{"collector"}},
		{Because: "nobody offers anything for that", Query: MarketQuery{Tag: "none"}},
		{Because: "1 device answers Modbus", Query: MarketQuery{Tag: "modbus"}},
	}
	c := New(Config{Tenant: "t", Needs: func(context.Context) ([]Need, error) { return needs, nil }})
	got, err := c.recommend(t.Context(), shop, map[string]*Presence{"acme/have": {}})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, r := range got {
		said = append(said, r.Plugin.ID+": "+r.Because)
	}
	want := []string{"acme/snmp: 2 devices answer SNMP", "acme/m1: 1 device answers Modbus", "acme/m2: 1 device answers Modbus"}
	if !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}

	needs = nil
	if got, err = c.recommend(t.Context(), shop, nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("nothing is known: %v %v", got, err)
	}
	for n := range 100 {
		needs = append(needs, Need{Query: MarketQuery{Tag: fmt.Sprint(n)}})
	}
	shop.asked = 0
	if _, err = c.recommend(t.Context(), shop, nil); err != nil || shop.asked != maxNeedsAsked {
		t.Errorf("asked %d times, %v", shop.asked, err)
	}
	c.cfg.Needs = func(context.Context) ([]Need, error) { return nil, errors.New("the store is gone") }
	if _, err = c.recommend(t.Context(), shop, nil); err == nil {
		t.Error("the needs could not be read, and nobody says so")
	}
}
