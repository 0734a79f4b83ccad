package kit

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/records"
)

// keeper emits what it sees, and at the end what it kept.
type keeper struct {
	copies bool
	kept   []string
}

func (*keeper) Config() any { return nil }

func (k *keeper) Observe(_ context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	for i := range b.Messages {
		m := &b.Messages[i]
		text := m.Fields["name"]
		if err := sink.Sighting(sdk.Sighting{Time: m.Time, MAC: "00:11:22:33:44:55", Hostname: text, Facts: maps.Clone(m.Fields), Confidence: 1}); err != nil {
			return err
		}
		if k.copies {
			text = strings.Clone(text)
		}
		k.kept = append(k.kept, text)
	}
	return nil
}

func (k *keeper) EndCapture(_ context.Context, sink sdk.SightingSink) error {
	for _, text := range k.kept {
		if err := sink.Sighting(sdk.Sighting{Time: time.Unix(1, 0), MAC: "00:11:22:33:44:55", Hostname: text, Confidence: 1}); err != nil {
			return err
		}
	}
	return nil
}

func TestWhoBorrowsMustCopy(t *testing.T) {
	frame := records.AppendFacts(nil, []sdk.Message{{Seen: sdk.Seen{Time: time.Unix(1, 0)}, Fields: map[string]string{"name": "printer"}}})
	for _, c := range []struct {
		borrows, copies bool
		last            string
	}{{false, false, "printer"}, {true, false, "!!!!!!!"}, {true, true, "printer"}} {
		p := sdk.Plugin{ID: "test/keeper", Kind: sdk.KindDiscovery, Borrows: c.borrows, Subscription: sdk.Subscription{Facts: []string{sdk.FactsMessages}},
			New: func() sdk.Instance { return &keeper{copies: c.copies} }}
		s, err := InProcess(p, nil).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got emitted
		if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: p.ID}); err != nil {
			t.Fatal(err)
		}
		if err := s.Inspect(t.Context(), "i", "c", frame, &got); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context(), "i", &got); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, v := range got.Sightings {
			names = append(names, v.Hostname)
		}
		if !slices.Equal(names, []string{"printer", c.last}) || got.Sightings[0].Facts["name"] != "printer" {
			t.Errorf("borrows %v, copies %v: %q, %v", c.borrows, c.copies, names, got.Sightings[0].Facts)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// changer writes into what it is shown.
type changer struct{ change func(*sdk.Message) }

func (changer) Config() any { return nil }

func (c changer) Observe(_ context.Context, b sdk.Batch, _ sdk.SightingSink) error {
	for i := range b.Messages {
		c.change(&b.Messages[i])
	}
	return nil
}

func (changer) EndCapture(context.Context, sdk.SightingSink) error { return nil }

func TestWhoBorrowsMustNotChange(t *testing.T) {
	frame := records.AppendFacts(nil, []sdk.Message{{Name: "a", Fields: map[string]string{"name": "printer"}}})
	for name, c := range map[string]struct {
		change func(*sdk.Message)
		bad    bool
	}{
		"reads":        {func(m *sdk.Message) { _ = m.Fields["name"] }, false},
		"a field":      {func(m *sdk.Message) { m.Name = "b" }, true},
		"a map's text": {func(m *sdk.Message) { m.Fields["name"] = "b" }, true},
	} {
		p := sdk.Plugin{ID: "test/changer", Kind: sdk.KindDiscovery, Borrows: true, Subscription: sdk.Subscription{Facts: []string{sdk.FactsMessages}},
			New: func() sdk.Instance { return changer{c.change} }}
		s, err := InProcess(p, nil).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: p.ID}); err != nil {
			t.Fatal(err)
		}
		if err := s.Inspect(t.Context(), "i", "c", frame, new(emitted)); (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
