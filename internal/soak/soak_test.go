//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/sdk"
)

// A short soak of one plugin of each sort. `make soak` is the long one.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	r, err := soak(t.Context(), options{Plugins: 6, Duration: 5 * time.Second, Measure: time.Second, KillEvery: 250 * time.Millisecond, Share: 0.6})
	if r != nil {
		var text strings.Builder
		r.print(&text)
		t.Log(text.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	// Whether a kill falls between a batch and its snapshot, so that batches are replayed, is luck; the
	// tests of the plugin host see to that one.
	if r.Soak.Refused == 0 || r.Soak.Lives < 3 {
		t.Errorf("%d rounds and captures were done again, %d lives of two collectors: no kill met a plugin at work", r.Soak.Refused, r.Soak.Lives)
	}
}

// What the verdict is for: each thing that a soak must not show.
func TestVerdict(t *testing.T) {
	good := func() *report {
		o := outcome{Kills: 9, Acknowledged: 100}
		c := census{Heap: 1 << 20, Descriptors: 30, Goroutines: 40, Processes: 1}
		return &report{Options: options{Plugins: 1}, Level: confine.LevelA, Soak: o, Defaults: o, Before: c, After: c, Resting: map[string]int{"a": 3}}
	}
	if err := good().verdict(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*report){
		"lost":              func(r *report) { r.Soak.Lost = 1 },
		"doubled":           func(r *report) { r.Defaults.Doubled = 1 },
		"nothing done":      func(r *report) { r.Soak.Acknowledged = 0 },
		"nobody was killed": func(r *report) { r.Soak.Kills = 0 },
		"memory":            func(r *report) { r.After.Heap += slackHeap + 1 },
		"descriptors":       func(r *report) { r.After.Descriptors += slackHandle + 1 },
		"goroutines":        func(r *report) { r.After.Goroutines += slackHandle + 1 },
		"a process too few": func(r *report) { r.After.Processes = 0 },
		"a zombie":          func(r *report) { r.After.Zombies = 1 },
		"an orphan":         func(r *report) { r.End.Processes = 1 },
		"a folder":          func(r *report) { r.End.Folders = 1 },
		"rests too early":   func(r *report) { r.Resting["a"] = 2 },
		"one does not rest": func(r *report) { r.Resting = nil },
	} {
		r := good()
		spoil(r)
		if r.verdict() == nil {
			t.Errorf("%s: the verdict is good", name)
		}
	}
}

// A census says which goroutines there are more of.
func TestACensusNamesGoroutines(t *testing.T) {
	before := take(t.TempDir())
	end, began := make(chan struct{}), make(chan struct{})
	defer close(end)
	for range 3 {
		go func() {
			began <- struct{}{}
			<-end
		}()
		<-began
	}
	after := take(t.TempDir())
	more := after.more(&before)
	if after.Goroutines < before.Goroutines+3 || !slices.ContainsFunc(more, func(line string) bool {
		return strings.HasPrefix(line, "3 more of ") && strings.Contains(line, "TestACensusNamesGoroutines")
	}) {
		t.Errorf("%d goroutines, then %d: %q", before.Goroutines, after.Goroutines, more)
	}
}

// The far end notices what is missing and what came twice.
func TestTheFarEndCounts(t *testing.T) {
	tl := &tally{}
	d := &detecting{t: tl, name: "d"}
	d.check(nil)
	if tl.lost == 0 || len(tl.faults) != 1 {
		t.Errorf("an empty verdict counts as %+v", tl)
	}

	tl = &tally{}
	c := &collecting{t: tl, name: "c", last: map[string]uint64{}, acked: map[string]uint64{"a": 9}}
	store := func(numbers ...float64) {
		t.Helper()
		b := collect.Batch{}
		for _, n := range numbers {
			b.Samples = append(b.Samples, sdk.Sample{Metric: "soak.number", Labels: map[string]string{"life": "a"}, Value: n})
		}
		if err := c.store(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	store(1, 2, 3)
	if len(tl.faults) != 0 || c.stored.Load() != 3 {
		t.Fatalf("%+v", tl)
	}
	store(2, 6) // 2 again, 4 and 5 never
	c.settle()  // 7 to 9 were acknowledged
	if tl.doubled != 1 || tl.lost != 2+3 || tl.lives != 1 {
		t.Errorf("%+v", tl)
	}
}
