package detect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// fake is a detector that reports what it is told to and remembers what it was given.
type fake struct {
	name    string
	inspect func(n int, sink sdk.FindingSink) error
	flush   func(sink sdk.FindingSink) error
	frames  []string
	flushes int
	starts  uint64
	wants   sdk.Subscription // flows when empty
}

func (f *fake) Instance() string { return f.name }
func (f *fake) Plugin() string   { return "test/" + f.name }

func (f *fake) Generation() uint64 { return f.starts }

func (f *fake) Subscription() sdk.Subscription {
	if f.wants.Empty() {
		return sdk.Subscription{Flows: true}
	}
	return f.wants
}

func (f *fake) InspectAll(_ context.Context, _ string, batches <-chan *batch.Batch, sink sdk.FindingSink) error {
	for b := range batches {
		f.frames = append(f.frames, string(b.Frame))
		b.Release()
		if f.inspect == nil {
			continue
		}
		if err := f.inspect(len(f.frames), sink); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) Flush(_ context.Context, sink sdk.FindingSink) error {
	f.flushes++
	if f.flush == nil {
		return nil
	}
	return f.flush(sink)
}

func scan(src string, at int64) sdk.Finding {
	return sdk.Finding{Rule: "vertical", Severity: sdk.SeverityHigh, Src: src, Dst: "10.0.0.2", Start: time.Unix(at, 0), End: time.Unix(at+9, 0)}
}

func analyse(t *testing.T, frames int, ds ...Detector) Result {
	t.Helper()
	r := Start(context.Background(), "sha256:aa", ds, 2, nil)
	for i := range frames {
		if err := r.Frame(context.Background(), records.Parcel{Frame: fmt.Appendf(nil, "frame %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return r.Close()
}

func TestEveryDetectorSeesEveryFrameInOrder(t *testing.T) {
	a, b := &fake{name: "a"}, &fake{name: "b"}
	analyse(t, 50, a, b)
	for _, d := range []*fake{a, b} {
		if len(d.frames) != 50 || d.flushes != 1 {
			t.Fatalf("%s: %d frames, %d flushes", d.name, len(d.frames), d.flushes)
		}
		for i, f := range d.frames {
			if f != fmt.Sprintf("frame %d", i) {
				t.Fatalf("%s: frame %d is %q", d.name, i, f)
			}
		}
	}
}

func TestPacketsGoToThoseThatWantThem(t *testing.T) {
	arp := &sdk.PacketSubscription{Layers: []string{"arp"}}
	flows, one, two := &fake{name: "flows"}, &fake{name: "one", wants: sdk.Subscription{Packets: arp}},
		&fake{name: "two", wants: sdk.Subscription{Flows: true, Packets: &sdk.PacketSubscription{Layers: []string{"arp"}}}}
	dns := &fake{name: "dns", wants: sdk.Subscription{Packets: &sdk.PacketSubscription{Layers: []string{"dns"}, SnapLen: 512}}}
	r := Start(context.Background(), "c", []Detector{flows, one, two, dns}, 4, nil)
	if n := len(r.PacketSubscriptions()); n != 2 {
		t.Fatalf("%d subscriptions", n)
	}
	ctx := context.Background()
	if err := errors.Join(r.Frame(ctx, records.Parcel{Frame: []byte("flow")}), r.Packets(ctx, 0, []byte("arp")), r.Packets(ctx, 1, []byte("dns"))); err != nil {
		t.Fatal(err)
	}
	r.Close()
	for _, c := range []struct {
		d    *fake
		want []string
	}{{flows, []string{"flow"}}, {one, []string{"arp"}}, {two, []string{"flow", "arp"}}, {dns, []string{"dns"}}} {
		if !slices.Equal(c.d.frames, c.want) {
			t.Errorf("%s saw %q, want %q", c.d.name, c.d.frames, c.want)
		}
	}
}

// A frame is shared once for all who see it, and let go when the last of them is done, also with one that failed.
func TestAFrameIsSharedOnce(t *testing.T) {
	broken := &fake{name: "broken", inspect: func(int, sdk.FindingSink) error { return errors.New("no") }}
	packets := &fake{name: "packets", wants: sdk.Subscription{Packets: &sdk.PacketSubscription{Layers: []string{"arp"}}}}
	var made, freed atomic.Int32
	share := func(frame []byte, readers int) *batch.Batch {
		if made.Add(1); readers != map[string]int{"flow": 2, "arp": 1}[string(frame)] {
			t.Errorf("%s is for %d readers", frame, readers)
		}
		return batch.New(frame, readers, nil, func() { freed.Add(1) })
	}
	r := Start(t.Context(), "c", []Detector{&fake{name: "good"}, broken, packets}, 2, share)
	for range 20 {
		if err := errors.Join(r.Frame(t.Context(), records.Parcel{Frame: []byte("flow")}), r.Packets(t.Context(), 0, []byte("arp"))); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if made.Load() != 40 || freed.Load() != 40 || len(packets.frames) != 20 {
		t.Errorf("%d batches were made and %d let go; %d frames of packets", made.Load(), freed.Load(), len(packets.frames))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	stuck := make(chan struct{})
	r = Start(t.Context(), "c", []Detector{&fake{name: "a"}, &fake{name: "b", inspect: func(int, sdk.FindingSink) error { <-stuck; return nil }}}, 1, share)
	var err error
	for err == nil { // one is being inspected, one waits, the next finds no room
		err = r.Frame(gone, records.Parcel{Frame: []byte("flow")})
	}
	close(stuck)
	r.Close()
	if made.Load() != freed.Load() {
		t.Errorf("%d batches were made, %d let go", made.Load(), freed.Load())
	}
}

func TestAFindingCountsOnce(t *testing.T) {
	d := &fake{name: "a"}
	d.inspect = func(_ int, sink sdk.FindingSink) error { return sink.Finding(scan("10.0.0.1", 100)) }
	d.flush = func(sink sdk.FindingSink) error {
		if err := sink.Finding(scan("10.0.0.9", 50)); err != nil {
			return err
		}
		return sink.Finding(scan("10.0.0.1", 100))
	}
	res := analyse(t, 3, d)
	if len(res.Findings) != 2 {
		t.Fatalf("want 2 findings, got %d", len(res.Findings))
	}
	if res.Findings[0].Src != "10.0.0.9" {
		t.Error("findings are not in order of time")
	}
	again := analyse(t, 3, d)
	if again.Findings[1].ID != res.Findings[1].ID {
		t.Error("the same capture gave another id")
	}
	if res.Findings[0].ID == res.Findings[1].ID {
		t.Error("two findings share an id")
	}
}

// A detector tells of the same thing again when it knows more: that takes the place of what it said before.
// What it says again after a crash does not.
func TestAFindingGrows(t *testing.T) {
	say := func(sink sdk.FindingSink, tried string, minutes time.Duration) error {
		f := scan("10.0.0.1", 100)
		f.Summary, f.End = tried, f.End.Add(minutes*time.Minute)
		return sink.Finding(f)
	}
	d := &fake{name: "a", flush: func(sink sdk.FindingSink) error {
		return errors.Join(say(sink, "8 passwords", 0), say(sink, "60 passwords", 9), say(sink, "8 passwords", 0))
	}}
	res := analyse(t, 0, d)
	if len(res.Findings) != 1 || res.Findings[0].Summary != "60 passwords" {
		t.Errorf("%+v", res.Findings)
	}
}

func TestADetectorSpeaksOnlyForItself(t *testing.T) {
	d := &fake{name: "a"}
	d.flush = func(sink sdk.FindingSink) error {
		return sink.Finding(sdk.Finding{ID: "mine", Detector: "picket/portscan", Severity: "loud", Risk: 900, Confidence: math.NaN()})
	}
	f := analyse(t, 0, d).Findings[0]
	if f.Detector != "test/a" || f.ID == "mine" || f.Severity != sdk.SeverityInfo || f.Risk != 100 || f.Confidence != 0 {
		t.Fatalf("hostile fields survived: %+v", f)
	}
}

func TestOneFailingDetectorDoesNotStopTheOthers(t *testing.T) {
	broken := &fake{name: "broken"}
	broken.inspect = func(n int, _ sdk.FindingSink) error {
		if n == 2 {
			return sdk.Errorf(sdk.Temporary, "instance is restarting")
		}
		return nil
	}
	good := &fake{name: "good"}
	res := analyse(t, 40, broken, good)
	if len(good.frames) != 40 {
		t.Errorf("the good one saw %d frames", len(good.frames))
	}
	if len(broken.frames) != 2 || broken.flushes != 1 {
		t.Errorf("the broken one saw %d frames, %d flushes", len(broken.frames), broken.flushes)
	}
	if sdk.ClassOf(res.Failed["broken"]) != sdk.Temporary || res.Failed["good"] != nil {
		t.Errorf("failed: %v", res.Failed)
	}
}

func TestADetectorThatForgotIsNoticed(t *testing.T) {
	d := &fake{name: "crashed between two frames"}
	d.inspect = func(n int, _ sdk.FindingSink) error {
		if n == 2 {
			d.starts++
		}
		return nil
	}
	res := analyse(t, 5, d)
	if sdk.ClassOf(res.Failed[d.name]) != sdk.Temporary {
		t.Fatalf("failed: %v", res.Failed)
	}
}

func TestFrameGivesUpWithItsContext(t *testing.T) {
	block := make(chan struct{})
	d := &fake{name: "slow"}
	d.inspect = func(int, sdk.FindingSink) error { <-block; return nil }
	r := Start(context.Background(), "c", []Detector{d}, 1, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var err error
	for i := 0; i < 4 && err == nil; i++ { // one in work, one queued, then it must wait
		err = r.Frame(ctx, records.Parcel{Frame: []byte("x")})
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	close(block)
	r.Close()
}

func TestFloodOfFindingsIsBoundedAndCounted(t *testing.T) {
	d := &fake{name: "noisy"}
	d.flush = func(sink sdk.FindingSink) error {
		for i := range maxFindings + 7 {
			if err := sink.Finding(scan("10.0.0.1", int64(i))); err != nil {
				return err
			}
		}
		return nil
	}
	res := analyse(t, 0, d)
	if len(res.Findings) != maxFindings || res.Dropped["noisy"] != 7 {
		t.Fatalf("%d kept, %d dropped", len(res.Findings), res.Dropped["noisy"])
	}
}
