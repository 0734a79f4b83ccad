package detect

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// told gathers what live detectors find.
type told struct {
	mu   sync.Mutex
	list []sdk.Finding
}

func (t *told) finding(f sdk.Finding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, f)
	return nil
}

func (t *told) all() []sdk.Finding {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]sdk.Finding(nil), t.list...)
}

func anew(f sdk.Finding) sdk.Finding {
	f.ID = ""
	return f
}

func flowFrame(n int) []byte { return records.AppendFlows(nil, make([]sdk.Flow, n)) }

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// A finding is told while the run goes on, and once.
func TestLiveFindingsComeAtOnce(t *testing.T) {
	d := &fake{name: "a"}
	d.inspect = func(_ int, sink sdk.FindingSink) error { return sink.Finding(scan("10.0.0.1", 100)) }
	d.flush = func(sink sdk.FindingSink) error { return sink.Finding(scan("10.0.0.9", 50)) }
	var out told
	r := StartLive(t.Context(), LiveConfig{Capture: "run", Detectors: []Detector{d}, Found: out.finding})
	for range 2 {
		if err := r.Frame(t.Context(), records.Parcel{Frame: flowFrame(3)}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the finding", func() bool { return len(out.all()) == 1 })
	res := r.Close()
	list := out.all()
	if len(list) != 2 || len(res.Findings) != 0 || list[0].Detector != "test/a" || list[0].ID != FindingID("run", anew(list[0])) {
		t.Errorf("%+v, %+v", list, res)
	}
	if f := r.Figures()[0]; f.Shown != 6 || f.Missed != 0 || f.Findings != 2 || f.Failures != 0 {
		t.Errorf("%+v", f)
	}
}

// keeps is a detector whose host keeps what its findings rest on.
type keeps struct {
	*fake
	told
}

func (k *keeps) Keep(f sdk.Finding) { _ = k.finding(f) }

// What a finding rests on is kept under the id that the server will know it by, and nothing where nobody says how.
func TestWhatALiveFindingRestsOnIsKept(t *testing.T) {
	for _, keptAs := range []func(sdk.Finding) string{nil, func(f sdk.Finding) string { return LiveFindingID("agent", "run", f) }} {
		d := &keeps{fake: &fake{name: "a"}}
		d.inspect = func(_ int, sink sdk.FindingSink) error { return sink.Finding(scan("10.0.0.1", 100)) }
		var out told
		r := StartLive(t.Context(), LiveConfig{Capture: "run", Detectors: []Detector{d}, Found: out.finding, KeptAs: keptAs})
		if err := r.Frame(t.Context(), records.Parcel{Frame: flowFrame(3)}); err != nil {
			t.Fatal(err)
		}
		until(t, "the finding", func() bool { return len(out.all()) == 1 })
		r.Close()
		switch kept := d.all(); {
		case keptAs == nil && len(kept) != 0:
			t.Errorf("kept %+v", kept)
		case keptAs != nil && (len(kept) != 1 || kept[0].ID != LiveFindingID("agent", "run", out.all()[0])):
			t.Errorf("kept %+v of %+v", kept, out.all())
		}
	}
}

// A detector that stands still holds up nobody, and what it misses is counted and said.
func TestALiveDetectorThatIsBehind(t *testing.T) {
	block, entered := make(chan struct{}), make(chan struct{}, 1000)
	d := &fake{name: "slow"}
	d.inspect = func(n int, sink sdk.FindingSink) error {
		entered <- struct{}{}
		<-block
		return sink.Finding(scan("10.0.0.1", int64(n)))
	}
	var out told
	good := &fake{name: "good"}
	r := StartLive(t.Context(), LiveConfig{Capture: "run", Detectors: []Detector{d, good}, Found: out.finding, Queue: 4})
	send := func(n int) {
		for range n {
			if err := r.Frame(t.Context(), records.Parcel{Frame: flowFrame(10)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(1)
	<-entered
	send(100) // and comes back, which is what is tested
	missed := r.Figures()[0]
	if missed.Shown != 50 || missed.Missed != 960 {
		t.Errorf("%+v", missed)
	}
	close(block)
	r.Close()
	list := out.all()
	if len(list) != 5 || !strings.Contains(list[4].Summary, "960 records were not shown") {
		t.Errorf("%+v", list)
	}
}

// One that fails says what it holds and is shown what comes next.
func TestALiveDetectorThatFails(t *testing.T) {
	d := &fake{name: "broken"}
	d.inspect = func(n int, sink sdk.FindingSink) error {
		if n == 1 {
			return errors.New("no")
		}
		return sink.Finding(scan("10.0.0.1", int64(n)))
	}
	d.flush = func(sink sdk.FindingSink) error { return sink.Finding(scan("10.0.0.9", 50)) }
	var out told
	r := StartLive(t.Context(), LiveConfig{Capture: "run", Detectors: []Detector{d}, Found: out.finding})
	for len(out.all()) < 2 {
		if err := r.Frame(t.Context(), records.Parcel{Frame: flowFrame(1)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if f := r.Figures()[0]; f.Failures != 1 || f.Problem != "no" || d.flushes != 2 {
		t.Errorf("%+v, %d flushes", f, d.flushes)
	}
}

// The next run shows nothing to anybody before the one before it is over.
func TestALiveRunWaitsForTheOneBefore(t *testing.T) {
	d := &fake{name: "a"}
	after := make(chan struct{})
	r := StartLive(t.Context(), LiveConfig{Capture: "run", Detectors: []Detector{d}, After: after, Found: new(told).finding})
	if err := r.Frame(t.Context(), records.Parcel{Frame: flowFrame(1)}); err != nil || len(d.frames) != 0 {
		t.Fatal(err, d.frames)
	}
	close(after)
	r.Close()
	if len(d.frames) != 1 || d.flushes != 1 {
		t.Errorf("%d frames, %d flushes", len(d.frames), d.flushes)
	}
	// One that is ended from outside leaves at once, whatever it waits for.
	ctx, cancel := context.WithCancel(t.Context())
	r = StartLive(ctx, LiveConfig{Capture: "run", Detectors: []Detector{d}, After: make(chan struct{}), Found: new(told).finding})
	cancel()
	r.Close()
}

// Sightings are handed on after a while, though there are few.
func TestLiveSightings(t *testing.T) {
	var mu sync.Mutex
	var got []sdk.Sighting
	s := &sightings{lane: &lane{}, wait: time.Millisecond, most: liveSightingBatch, ctx: t.Context(), to: func(_ context.Context, _ string, list []sdk.Sighting) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, list...)
		return errors.New("full")
	}}
	if err := s.Sighting(sdk.Sighting{Hostname: "a"}); err != nil {
		t.Fatal(err)
	}
	until(t, "the sighting", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 1 })
	if err := s.hand(); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("an error of the timer was lost: %v", err)
	}
	if err := s.hand(); err != nil {
		t.Errorf("it came twice: %v", err)
	}
}
