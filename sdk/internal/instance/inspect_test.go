package instance

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/records"
)

// watchful is an observer that sees the client of every DNS message; emit changes what it says.
type watchful struct {
	emit  func(*sdk.Sighting)
	shown []string
}

func (w *watchful) Config() any { return nil }

func (w *watchful) Observe(_ context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	w.shown = append(w.shown, fmt.Sprintf("%s: %d messages, %d flows", b.Capture, len(b.DNS), len(b.Flows)))
	for i := range b.DNS {
		v := sdk.Sighting{Time: b.DNS[i].Time, IP: b.DNS[i].Client, Hostname: b.DNS[i].Query, Source: "dns", Capture: b.Capture, Packet: b.DNS[i].Packet, Confidence: 0.5}
		if w.emit != nil {
			w.emit(&v)
		}
		if err := sink.Sighting(v); err != nil {
			return err
		}
	}
	return nil
}

func (w *watchful) EndCapture(_ context.Context, sink sdk.SightingSink) error {
	return sink.Sighting(sdk.Sighting{Time: time.Unix(9, 0), MAC: "00:11:22:33:44:55", Confidence: 1})
}

// seeing gathers sightings.
type seeing struct {
	discard
	list []sdk.Sighting
}

func (s *seeing) Sighting(v sdk.Sighting) error {
	s.list = append(s.list, v)
	return nil
}

func observing(t *testing.T, w *watchful) *Set {
	t.Helper()
	s := New(Config{Plugins: []sdk.Plugin{{ID: "test/watchful", Kind: sdk.KindDiscovery, Subscription: sdk.Subscription{Facts: []string{sdk.FactsDNS}},
		New: func() sdk.Instance { return w }}}})
	if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/watchful"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func asked(names ...string) []byte {
	var facts []sdk.DNS
	for i, name := range names {
		facts = append(facts, sdk.DNS{Seen: sdk.Seen{Time: time.Unix(int64(i), 0).UTC(), Packet: uint64(i + 1), Client: netip.MustParseAddr("192.168.1.7")}, Query: name})
	}
	return records.AppendFacts(nil, facts)
}

func TestAnObserverIsShownFacts(t *testing.T) {
	w := &watchful{}
	s := observing(t, w)
	var got seeing
	if err := s.Inspect(t.Context(), "i", "c.pcap", asked("a.example", "b.example"), &got); err != nil {
		t.Fatal(err)
	}
	if err := s.Inspect(t.Context(), "i", "c.pcap", records.AppendFlows(nil, make([]sdk.Flow, 70)), &got); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context(), "i", &got); err != nil {
		t.Fatal(err)
	}
	// Whoever shows it the records says which capture they are of.
	want := []sdk.Sighting{
		{Time: time.Unix(0, 0).UTC(), IP: netip.MustParseAddr("192.168.1.7"), Hostname: "a.example", Source: "dns", Packet: 1, Confidence: 0.5},
		{Time: time.Unix(1, 0).UTC(), IP: netip.MustParseAddr("192.168.1.7"), Hostname: "b.example", Source: "dns", Packet: 2, Confidence: 0.5},
		{Time: time.Unix(9, 0), MAC: "00:11:22:33:44:55", Confidence: 1},
	}
	if !reflect.DeepEqual(got.list, want) {
		t.Errorf("got %+v", got.list)
	}
	shown := []string{"c.pcap: 2 messages, 0 flows", "c.pcap: 0 messages, 64 flows", "c.pcap: 0 messages, 6 flows"}
	if !slices.Equal(w.shown, shown) {
		t.Errorf("it was shown %q", w.shown)
	}
	if _, busy := s.Progress("i"); busy != 0 {
		t.Errorf("%d calls at work", busy)
	}
}

func TestSightingsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*sdk.Sighting){
		"of no device": func(v *sdk.Sighting) { v.IP = netip.Addr{} },
		"of many":      func(v *sdk.Sighting) { v.IP = netip.MustParseAddr("224.0.0.251") },
		"of everybody": func(v *sdk.Sighting) { v.IP = netip.MustParseAddr("255.255.255.255") },
		"of nobody":    func(v *sdk.Sighting) { v.IP = netip.IPv6Unspecified() },
		"MAC":          func(v *sdk.Sighting) { v.MAC = "00-11-22-33-44-55" },
		"confidence":   func(v *sdk.Sighting) { v.Confidence = 1.1 },
		"without time": func(v *sdk.Sighting) { v.Time = time.Time{} },
		"too many facts": func(v *sdk.Sighting) {
			v.Facts = map[string]string{}
			for i := range 65 {
				v.Facts[fmt.Sprint(i)] = "x"
			}
		},
	} {
		s := observing(t, &watchful{emit: change})
		var got seeing
		err := s.Inspect(t.Context(), "i", "c", asked("a"), &got)
		if err == nil || !strings.Contains(err.Error(), "1 sightings were refused") || len(got.list) != 0 {
			t.Errorf("%s: %d passed, %v", name, len(got.list), err)
		}
	}
	long := &watchful{emit: func(v *sdk.Sighting) { v.Source, v.Hostname = strings.Repeat("x", 1000), strings.Repeat("y", 1000) }}
	var got seeing
	if err := observing(t, long).Inspect(t.Context(), "i", "c", asked("a"), &got); err != nil || len(got.list[0].Source) != 255 || len(got.list[0].Hostname) != 255 {
		t.Errorf("%v, %+v", err, got.list)
	}
}

func TestSightingsNeedSomebodyWhoTakesThem(t *testing.T) {
	s := observing(t, &watchful{})
	if err := s.Inspect(t.Context(), "i", "c", asked("a"), discard{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("got %v", err)
	}
	if err := s.Discover(t.Context(), "i", sdk.Scope{}, &seeing{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("it discovers: %v", err)
	}
	p := &probe{}
	other, _ := newSet(p)
	configure(t, other, "{}")
	if err := other.Inspect(t.Context(), "i", "c", asked("a"), &seeing{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a collector was shown facts: %v", err)
	}
}

// seeker looks for devices and observes besides.
type seeker struct{ watchful }

func (s *seeker) Discover(context.Context, sdk.Scope, sdk.SightingSink) error { return nil }

func TestDescribeSaysWhoObserves(t *testing.T) {
	for name, c := range map[string]struct {
		inst              sdk.Instance
		kind              sdk.Kind
		observes, passive bool
	}{
		"observes alone": {&watchful{}, sdk.KindDiscovery, true, true},
		"does both":      {&seeker{}, sdk.KindDiscovery, true, false},
		"another kind":   {&watchful{}, sdk.KindCollector, false, false},
	} {
		d, err := Describe(sdk.Plugin{ID: "test/x", Kind: c.kind, New: func() sdk.Instance { return c.inst }})
		if err != nil || d.Observes != c.observes || d.Passive != c.passive {
			t.Errorf("%s: %v, %+v", name, err, d)
		}
	}
}

// curious is a detector that tells what of the flows it was shown.
type curious struct{ features, flows int }

func (c *curious) Config() any { return nil }

func (c *curious) Inspect(_ context.Context, b sdk.Batch, _ sdk.FindingSink) error {
	for i := range b.Flows {
		c.flows++
		if b.Flows[i].Features != nil {
			c.features++
		}
	}
	return nil
}

func (c *curious) Flush(context.Context, sdk.FindingSink) error { return nil }

func TestFeaturesAreForThoseWhoAsk(t *testing.T) {
	flows := make([]sdk.Flow, 3)
	for i := range flows {
		flows[i].Features = &sdk.Features{}
	}
	frame := records.AppendFlows(nil, flows)
	for asks, want := range map[bool]int{true: 3, false: 0} {
		c := &curious{}
		s := New(Config{Plugins: []sdk.Plugin{{ID: "test/c", Kind: sdk.KindDetector, Subscription: sdk.Subscription{Flows: true, Features: asks},
			New: func() sdk.Instance { return c }}}})
		if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/c"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Inspect(t.Context(), "i", "c", frame, discard{}); err != nil || c.features != want || c.flows != 3 {
			t.Errorf("asks %v: %d of %d flows have features, %v", asks, c.features, c.flows, err)
		}
	}
}

// pointing finds something in each flow and shows its packets.
type pointing struct{}

func (pointing) Config() any { return nil }

func (pointing) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Flows {
		v := sdk.Finding{Rule: "r", Severity: sdk.SeverityLow, Summary: "x", Packets: b.Flows[i].Packets, Start: time.Unix(1, 0), End: time.Unix(1, 0), Confidence: 1}
		if err := sink.Finding(v); err != nil {
			return err
		}
	}
	return nil
}

func (pointing) Flush(context.Context, sdk.FindingSink) error { return nil }

// finding gathers findings, as answers do until the whole frame was shown.
type finding struct{ list []sdk.Finding }

func (f *finding) Finding(v sdk.Finding) error {
	f.list = append(f.list, v)
	return nil
}

// Flows are shown in pieces that share memory; what was found in one piece stays as it was.
func TestFindingsMayHoldSlicesOfFlows(t *testing.T) {
	s := New(Config{Plugins: []sdk.Plugin{{ID: "test/pointing", Kind: sdk.KindDetector, Rules: []sdk.Rule{{ID: "r"}}, Subscription: sdk.Subscription{Flows: true},
		New: func() sdk.Instance { return pointing{} }}}})
	if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/pointing"}); err != nil {
		t.Fatal(err)
	}
	flows := make([]sdk.Flow, 3*records.Chunk)
	for i := range flows {
		flows[i].Packets = []uint64{uint64(i + 1)}
	}
	var got finding
	if err := s.Inspect(t.Context(), "i", "c", records.AppendFlows(nil, flows), &got); err != nil {
		t.Fatal(err)
	}
	for i, f := range got.list {
		if !slices.Equal(f.Packets, flows[i].Packets) {
			t.Fatalf("the finding in flow %d shows packets %v", i+1, f.Packets)
		}
	}
	if len(got.list) != len(flows) {
		t.Errorf("%d findings", len(got.list))
	}
}

// named finds under whatever name its rule has.
type named string

func (named) Config() any { return nil }
func (n named) Inspect(_ context.Context, _ sdk.Batch, sink sdk.FindingSink) error {
	return sink.Finding(sdk.Finding{Rule: string(n), Severity: sdk.SeverityLow, Start: time.Unix(1, 0), End: time.Unix(1, 0)})
}
func (named) Flush(context.Context, sdk.FindingSink) error { return nil }

// A rule is declared, or the operator's own under one that is.
func TestRulesOfTheOperator(t *testing.T) {
	for rule, taken := range map[string]bool{"r": true, "r/theirs": true, "s": false, "s/r": false, "/r": false, "rr": false} {
		s := New(Config{Plugins: []sdk.Plugin{{ID: "test/named", Kind: sdk.KindDetector, Rules: []sdk.Rule{{ID: "r"}}, Subscription: sdk.Subscription{Flows: true},
			New: func() sdk.Instance { return named(rule) }}}})
		if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/named"}); err != nil {
			t.Fatal(err)
		}
		var got finding
		err := s.Inspect(t.Context(), "i", "c", records.AppendFlows(nil, make([]sdk.Flow, 1)), &got)
		if (err == nil) != taken || (len(got.list) == 1) != taken {
			t.Errorf("%s: %v, %d findings", rule, err, len(got.list))
		}
	}
}
