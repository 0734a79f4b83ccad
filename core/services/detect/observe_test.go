package detect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// watcher is an observer that sees one device in each frame, and one more at the end.
type watcher struct {
	fake
	many int // sightings of each frame, 1 when zero
	fail error
}

func (w *watcher) InspectAll(_ context.Context, _ string, batches <-chan *batch.Batch, sink sdk.SightingSink) error {
	for b := range batches {
		w.frames = append(w.frames, string(b.Frame))
		b.Release()
		for range max(1, w.many) {
			if err := sink.Sighting(sdk.Sighting{Hostname: fmt.Sprint("host-", len(w.frames)), Packet: 7, Confidence: 3}); err != nil {
				return err
			}
		}
		if w.fail != nil {
			return w.fail
		}
	}
	return nil
}

func (w *watcher) Flush(_ context.Context, sink sdk.SightingSink) error {
	w.flushes++
	return sink.Sighting(sdk.Sighting{IP: netip.MustParseAddr("10.0.0.9")})
}

// Facts go to those who want their kind, in the order of the capture among the flows.
func TestFactsGoToThoseThatWantThem(t *testing.T) {
	ctx := context.Background()
	flows := &fake{name: "flows"}
	names := &fake{name: "names", wants: sdk.Subscription{Facts: []string{sdk.FactsDNS, sdk.FactsTLS}}}
	both := &fake{name: "both", wants: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsDNS}}}
	r := Start(ctx, "c", []Detector{flows, names, both}, 4, nil)
	seen := &watcher{fake: fake{name: "seen", wants: sdk.Subscription{Facts: []string{sdk.FactsARP}}}}
	r.Observe(ctx, seen, func(context.Context, string, []sdk.Sighting) error { return nil })
	if facts, first, features := r.Wanted(); !slices.Equal(facts, []string{"dns", "tls"}) || !slices.Equal(first, []string{"arp"}) || features {
		t.Errorf("wanted are all of %q, the first of %q, features %v", facts, first, features)
	}
	err := errors.Join(r.Facts(ctx, "dns", records.Parcel{Frame: []byte("dns")}), r.Facts(ctx, "tls", records.Parcel{Frame: []byte("tls")}), r.Frame(ctx, records.Parcel{Frame: []byte("flow")}),
		r.Facts(ctx, "http", records.Parcel{Frame: []byte("http")}), r.Facts(ctx, "arp", records.Parcel{Frame: []byte("arp")}), r.Facts(ctx, "dns", records.Parcel{Frame: []byte("dns 2")}))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	for _, c := range []struct {
		frames []string
		want   string
	}{{flows.frames, "flow"}, {names.frames, "dns tls dns 2"}, {both.frames, "dns flow dns 2"}, {seen.frames, "arp"}} {
		if have := strings.Join(c.frames, " "); have != c.want {
			t.Errorf("saw %q, want %q", have, c.want)
		}
	}
}

// A part of facts is left out when nobody looks at it, but for observers who are content with the first facts of a flow.
func TestPartsThatNobodyLooksAt(t *testing.T) {
	machines := sdk.Subscription{Facts: []string{sdk.FactsOT}}
	brief, sent := machines, sdk.Subscription{Facts: []string{sdk.FactsFiles}, Without: []string{sdk.PartReceived}}
	brief.Without = []string{sdk.PartDetails}
	files := sdk.Subscription{Facts: []string{sdk.FactsFiles}}
	for _, c := range []struct {
		detectors []sdk.Subscription
		observer  sdk.Subscription
		want      []string
	}{
		{[]sdk.Subscription{brief, sent}, machines, []string{sdk.PartReceived, sdk.PartDetails}},
		{[]sdk.Subscription{brief, sent, files}, machines, []string{sdk.PartDetails}},
		{[]sdk.Subscription{brief, machines}, machines, []string{sdk.PartReceived}},
		{[]sdk.Subscription{brief, sent}, files, []string{sdk.PartDetails}},
	} {
		live := LiveConfig{Observers: []Observer{&watcher{fake: fake{wants: c.observer}}}}
		for _, s := range c.detectors {
			live.Detectors = append(live.Detectors, &fake{wants: s})
		}
		if have := live.Without(); !slices.Equal(have, c.want) {
			t.Errorf("%+v and %+v do without %q, not %q", c.detectors, c.observer, have, c.want)
		}
	}
}

// Who did not ask for the further features is not sent them.
func TestFeaturesGoToThoseThatWantThem(t *testing.T) {
	ctx := context.Background()
	plain, rich := &fake{name: "plain"}, &fake{name: "rich", wants: sdk.Subscription{Flows: true, Features: true}}
	r := Start(ctx, "c", []Detector{plain, rich}, 4, nil)
	if _, _, features := r.Wanted(); !features {
		t.Error("nobody wants features")
	}
	flows := []sdk.Flow{{ID: 1, Features: &sdk.Features{FwdTTLMin: 64}}, {ID: 2, Features: &sdk.Features{}}}
	long := records.Parcel{Frame: records.AppendShortFlows(nil, flows), Features: records.PackFeatures(nil, flows)}
	short := records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{{ID: 3}})}
	if err := errors.Join(r.Frame(ctx, long), r.Frame(ctx, short)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	for _, d := range []*fake{plain, rich} {
		var ids []uint64
		for i, frame := range d.frames {
			rows, err := records.DecodeVerifiedFlowFeatures([]byte(frame), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range rows {
				ids = append(ids, f.ID)
			}
			if has := rows[0].Features != nil; has != (d == rich && i == 0) {
				t.Errorf("%s: features in frame %d: %v", d.name, i, has)
			}
		}
		if !slices.Equal(ids, []uint64{1, 2, 3}) {
			t.Errorf("%s: flows %v", d.name, ids)
		}
	}
}

// What an observer sees comes with its capture, all of it, in its order.
func TestObserve(t *testing.T) {
	ctx := context.Background()
	r := Start(ctx, "capture-1", nil, 4, nil)
	w := &watcher{fake: fake{name: "w", wants: sdk.Subscription{Facts: []string{"arp"}}}, many: 100}
	var saw []sdk.Sighting
	r.Observe(ctx, w, func(_ context.Context, plugin string, list []sdk.Sighting) error {
		if plugin != "test/w" || len(list) > sightingBatch {
			t.Errorf("%d sightings of %s", len(list), plugin)
		}
		saw = append(saw, list...)
		return nil
	})
	for range 7 {
		if err := r.Facts(ctx, "arp", records.Parcel{Frame: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	res := r.Close()
	if len(saw) != 701 || len(res.Failed) != 0 || w.flushes != 1 {
		t.Fatalf("%d sightings, %v", len(saw), res.Failed)
	}
	if s := saw[0]; s.Capture != "capture-1" || s.Packet != 7 || s.Confidence != 1 || s.Hostname != "host-1" || saw[699].Hostname != "host-7" {
		t.Errorf("%+v, %+v", s, saw[699])
	}
}

func TestObserversThatFail(t *testing.T) {
	ctx := context.Background()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		many  int
		fail  error
		store error
		drops bool
		want  error
	}{
		"breaks":                 {fail: boom, want: boom},
		"cannot be kept":         {many: sightingBatch, store: boom, want: boom},
		"sees more than it may":  {many: maxSightings, drops: true},
		"cannot be kept at last": {store: boom, want: boom},
	} {
		r := Start(ctx, "c", nil, 4, nil)
		w := &watcher{fake: fake{name: "w", wants: sdk.Subscription{Facts: []string{"arp"}}}, many: c.many, fail: c.fail}
		r.Observe(ctx, w, func(context.Context, string, []sdk.Sighting) error { return c.store })
		for range 3 {
			if err := r.Facts(ctx, "arp", records.Parcel{Frame: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		res := r.Close()
		if !errors.Is(res.Failed["w"], c.want) || (res.Dropped["w"] > 0) != c.drops || w.flushes != 1 {
			t.Errorf("%s: %v, %v dropped, %d flushes", name, res.Failed, res.Dropped, w.flushes)
		}
	}
}

// Frames are held until there are enough of them, and none is lost or kept when the capture is given up.
func TestBunches(t *testing.T) {
	freed := 0
	one := func() *batch.Batch { return batch.New([]byte("x"), 1, nil, func() { freed++ }) }
	l := &lane{frames: make(chan *batch.Batch, 3), bunch: 3}
	for i, want := range []int{0, 0, 3} {
		if err := l.pass(t.Context(), one()); err != nil || len(l.frames) != want {
			t.Fatalf("after %d: %d frames, %v", i+1, len(l.frames), err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for range 2 {
		if err := l.pass(ended, one()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.pass(ended, one()); !errors.Is(err, context.Canceled) || freed != 3 || len(l.held) != 0 {
		t.Errorf("%v, %d frames were let go", err, freed)
	}
}

// TestDone gives a parcel's memory back once nobody reads it, which is at once where nobody wants it.
func TestDone(t *testing.T) {
	ctx := t.Context()
	slow := &watcher{fake: fake{name: "slow", wants: sdk.Subscription{Facts: []string{"arp"}}}}
	r := Start(ctx, "0198c0de-0000-7000-8000-000000000001", nil, 0, nil)
	r.Observe(ctx, slow, func(context.Context, string, []sdk.Sighting) error { return nil })
	done := map[string]int{}
	var mu sync.Mutex
	facts := func(kind string) {
		p := records.Parcel{Frame: []byte(kind), Done: func() { mu.Lock(); defer mu.Unlock(); done[kind]++ }}
		if err := r.Facts(ctx, kind, p); err != nil {
			t.Fatal(err)
		}
	}
	facts("dns")
	facts("arp") // waits for others that are passed on with it
	mu.Lock()
	if done["dns"] != 1 || done["arp"] != 0 {
		t.Errorf("before the end of the capture these are done with: %v", done)
	}
	mu.Unlock()
	r.Close()
	if done["dns"] != 1 || done["arp"] != 1 {
		t.Errorf("at the end of the capture these are done with: %v", done)
	}
}
