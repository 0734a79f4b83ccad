package discover

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picketwatch/picket/sdk"
)

type fakeDiscoverer struct {
	found []sdk.Sighting
	err   error
	scope sdk.Scope
}

func (f *fakeDiscoverer) Instance() string        { return "fake-1" }
func (f *fakeDiscoverer) Plugin() string          { return "picket/fake" }
func (f *fakeDiscoverer) Interval() time.Duration { return time.Minute }
func (f *fakeDiscoverer) Discover(_ context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	f.scope = scope
	for _, s := range f.found {
		if err := sink.Sighting(s); err != nil {
			return err
		}
	}
	return f.err
}

var lab = sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}

// discovered runs for d and returns the batches and what the last round ended with.
func discovered(t *testing.T, f *fakeDiscoverer, scope sdk.Scope, d time.Duration) (batches []Batch, rounds uint64, problem string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{
			Discoverers: func() []Discoverer { return []Discoverer{f} },
			Scope:       func(string) (sdk.Scope, error) { return scope, nil },
			Store: func(_ context.Context, b Batch) error {
				batches = append(batches, b)
				return nil
			},
			Jitter: func() float64 { return 0 },
		})
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		s.Run(ctx)
		st := s.Stats()[0]
		rounds, problem = st.Rounds, st.Error
	})
	return batches, rounds, problem
}

func TestSightingsAreHandedOn(t *testing.T) {
	f := &fakeDiscoverer{found: []sdk.Sighting{
		{IP: netip.MustParseAddr("192.0.2.7"), Confidence: 7},
		{}, // names nothing
		{Hostname: "printer", Confidence: -1},
	}}
	got, rounds, problem := discovered(t, f, lab, 150*time.Second)
	if rounds != 3 || problem != "" || len(got) != 3 {
		t.Fatalf("%d rounds, %d batches, problem %q", rounds, len(got), problem)
	}
	b := got[0]
	if b.Instance != "fake-1" || b.Plugin != "picket/fake" || len(b.Sightings) != 2 {
		t.Fatalf("got %+v", b)
	}
	if s := b.Sightings[0]; s.Confidence != 1 || s.Time.IsZero() {
		t.Errorf("got %+v", s)
	}
	if s := b.Sightings[1]; s.Confidence != 0 {
		t.Errorf("got %+v", s)
	}
	if f.scope.Prefixes[0] != lab.Prefixes[0] {
		t.Errorf("the plugin got the scope %v", f.scope)
	}
}

func TestALargeSweepIsSeenAsItGoes(t *testing.T) {
	f := &fakeDiscoverer{}
	for range 2*batchSize + 1 {
		f.found = append(f.found, sdk.Sighting{MAC: "02:00:00:00:00:01"})
	}
	got, _, _ := discovered(t, f, lab, time.Millisecond)
	if len(got) != 3 || len(got[2].Sightings) != 1 {
		t.Fatalf("%d batches", len(got))
	}
}

// Switches with many ports come in batches that the server takes.
func TestManyPortsFillABatch(t *testing.T) {
	f := &fakeDiscoverer{}
	for range 3 {
		f.found = append(f.found, sdk.Sighting{MAC: "02:00:00:00:00:01", Ports: make([]sdk.Port, batchParts/2), Links: make([]sdk.Link, batchParts/4)})
	}
	if got, _, _ := discovered(t, f, lab, time.Millisecond); len(got) != 2 || len(got[0].Sightings) != 2 {
		t.Fatalf("%d batches", len(got))
	}
}

func TestWhatWasSeenBeforeAFailureIsKept(t *testing.T) {
	f := &fakeDiscoverer{found: []sdk.Sighting{{Hostname: "a"}}, err: errors.New("no route")}
	got, _, problem := discovered(t, f, lab, time.Millisecond)
	if len(got) != 1 || problem != "no route" {
		t.Fatalf("%d batches, problem %q", len(got), problem)
	}
}

func TestAnEmptyScopeIsAnError(t *testing.T) {
	got, _, problem := discovered(t, &fakeDiscoverer{found: []sdk.Sighting{{Hostname: "a"}}}, sdk.Scope{}, time.Millisecond)
	if len(got) != 0 || !strings.Contains(problem, "scope is empty") {
		t.Fatalf("%d batches, problem %q", len(got), problem)
	}
}
