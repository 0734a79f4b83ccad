package kit

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func repeatable(ctx context.Context, b *bench, r *result) {
	sameFindings(r, "a second instance", b.findings(ctx, r, records.BatchGuest), b.findings(ctx, r, records.BatchGuest))
}

// batches checks that the cut of the batches does not show: processes and guests get different ones.
func batches(ctx context.Context, b *bench, r *result) {
	want := b.findings(ctx, r, records.BatchProcess)
	for _, size := range []int{1, 7, records.BatchGuest} {
		sameFindings(r, fmt.Sprintf("with batches of %d", size), want, b.findings(ctx, r, size))
	}
}

func flushForgets(ctx context.Context, b *bench, r *result) {
	b.configured(ctx, r, func(s Session) {
		var first, second emitted
		for _, e := range []*emitted{&first, &second} {
			if err := b.inspect(ctx, s, b.frames(records.BatchGuest), true, e); err != nil {
				r.failf("inspect: %v", err)
				return
			}
		}
		sameFindings(r, "after Flush, which forgets what was seen", sorted(first.Findings), sorted(second.Findings))
	})
	b.configured(ctx, r, func(s Session) {
		var e emitted
		if err := b.inspect(ctx, s, nil, true, &e); err != nil || len(e.Findings) > 0 {
			r.failf("Flush of nothing gave %d findings, %v", len(e.Findings), err)
		}
	})
}

// halfway lets an instance inspect the first half of the records and returns its state, with what it found so far and
// what is left. Without a state the check is skipped.
func (b *bench) halfway(ctx context.Context, r *result) (state []byte, found emitted, rest [][]byte, ok bool) {
	frames := b.frames(records.BatchGuest)
	half := len(frames) / 2
	b.configured(ctx, r, func(s Session) {
		if b.about.Kind == sdk.KindDetector {
			if err := b.inspect(ctx, s, frames[:half], false, &found); err != nil {
				r.failf("inspect: %v", err)
				return
			}
		}
		call, cancel := b.call(ctx)
		defer cancel()
		var err error
		if state, err = s.Snapshot(call, theInstance); err != nil {
			if sdk.ClassOf(err) == sdk.Unsupported {
				r.skipf("it keeps no state")
				return
			}
			r.failf("Snapshot: %v", err)
			return
		}
		ok = true
	})
	return state, found, frames[half:], ok
}

// snapshot checks that an instance goes on where another one was.
func snapshot(ctx context.Context, b *bench, r *result) {
	state, e, rest, ok := b.halfway(ctx, r)
	if !ok {
		return
	}
	b.configured(ctx, r, func(s Session) {
		call, cancel := b.call(ctx)
		defer cancel()
		if err := s.Restore(call, theInstance, state); err != nil {
			r.failf("Restore: %v", err)
			return
		}
		if err := b.inspect(ctx, s, rest, true, &e); err != nil {
			r.failf("inspect: %v", err)
		}
	})
	if len(r.fails) > 0 {
		return
	}
	sameFindings(r, "over a snapshot", b.findings(ctx, r, records.BatchGuest), sorted(e.Findings))
	for _, junk := range [][]byte{[]byte("junk"), state[:len(state)/2]} {
		b.configured(ctx, r, func(s Session) {
			call, cancel := b.call(ctx)
			defer cancel()
			if err := s.Restore(call, theInstance, junk); err == nil && len(state) > 0 {
				r.notef("a broken snapshot of %d bytes was accepted", len(junk))
			}
			if err := s.Health(call, theInstance); err != nil && sdk.ClassOf(err) == sdk.Internal {
				r.failf("a broken snapshot of %d bytes ended it: %v", len(junk), err)
			}
		})
	}
}

// stateRestore hands over the states that earlier versions left, and saves today's when asked to.
func stateRestore(ctx context.Context, b *bench, r *result) {
	state, _, _, ok := b.halfway(ctx, r)
	if !ok {
		return
	}
	if b.o.StateDir == "" {
		r.lackf("it keeps state, but no state of an earlier version is at hand: save one with each release (--save-state) in testdata/state")
		return
	}
	if b.o.SaveState != "" {
		file := filepath.Join(b.o.StateDir, b.o.SaveState+".bin")
		if err := os.MkdirAll(b.o.StateDir, 0o755); err != nil {
			r.failf("%v", err)
		} else if err := os.WriteFile(file, state, 0o644); err != nil {
			r.failf("%v", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(b.o.StateDir, "*.bin"))
	if err != nil || len(files) == 0 {
		r.lackf("no state of an earlier version in %s: save one with each release (--save-state)", filepath.Base(b.o.StateDir))
		return
	}
	for _, file := range files {
		b.restores(ctx, r, file)
	}
}

func (b *bench) restores(ctx context.Context, r *result, file string) {
	state, err := os.ReadFile(file)
	if err != nil {
		r.failf("%v", err)
		return
	}
	version := strings.TrimSuffix(filepath.Base(file), ".bin")
	b.configured(ctx, r, func(s Session) {
		call, cancel := b.call(ctx)
		defer cancel()
		if err := s.Restore(call, theInstance, state); err != nil {
			r.failf("the state of version %s: %v", version, err)
			return
		}
		r.expected("work on the state of version "+version, b.work(call, r, s, &emitted{}))
		r.notef("restored %s", version)
	})
}

// cases compares what a detector finds in captures of its own, or an observer sees, with what it must.
func cases(ctx context.Context, b *bench, r *result) {
	if b.about.Kind == sdk.KindDiscovery && !b.about.Observes {
		r.skipf("it is shown no records")
		return
	}
	if len(b.o.Cases) == 0 {
		r.lackf("no case: make testdata/NAME with a capture (input.pcap) and what must be found in it (want.json)")
		return
	}
	for _, c := range b.o.Cases {
		switch diff, err := c.differs(ctx, b); {
		case err != nil:
			r.failf("%s: %v", c.Name, err)
		case diff != "":
			r.failf("%s: %s", c.Name, diff)
		}
	}
	r.notef("%d cases", len(b.o.Cases))
}

// measure lets the plugin work and says what it cost. What it holds in memory counts whether its work succeeds or not:
// a notifier that reaches nobody has done all but the last step.
func (b *bench) measure(ctx context.Context) (Card, emitted) {
	card, e := Card{Runtime: b.subject.Runtime()}, emitted{}
	begin := time.Now()
	b.session(ctx, &result{}, func(s Session) {
		call, cancel := b.call(ctx)
		defer cancel()
		if _, err := s.Describe(call); err != nil {
			return
		}
		card.StartMillis = float64(time.Since(begin).Microseconds()) / 1000
		if b.configure(call, s, theInstance) != nil {
			return
		}
		card.NanosPerRecord = b.timed(call, s, &e)
		if s.PID() != 0 {
			card.MemoryBytes = peakMemory(s.PID())
		}
	})
	return card, e
}

// timed lets the instance work once and returns what one record took. Work that fails took no time worth telling: it is 0.
func (b *bench) timed(ctx context.Context, s Session, e *emitted) float64 {
	begin := time.Now()
	if err, stuck := b.bounded(ctx, func() error { return b.workOnce(ctx, s, e) }); err != nil || stuck {
		return 0
	}
	took, n := time.Since(begin), 1
	switch b.about.Kind {
	case sdk.KindCollector:
		n = len(e.Samples)
	case sdk.KindDetector:
		n = 0
		for _, frame := range b.frames(records.BatchGuest) {
			n += records.Count(frame)
		}
	}
	return float64(took.Nanoseconds()) / float64(max(1, n))
}

// sameInBoth compares what a plugin did as a process with what it did as a guest.
func sameInBoth(kind sdk.Kind, outputs map[string]emitted, one string) Check {
	c := Check{ID: "runtimes", Title: "process and guest do the same, or the manifest says why there is one", Tier: Gold, Outcome: Pass}
	process, guest := outputs["process"], outputs["wasm"]
	_, hasProcess := outputs["process"]
	_, hasGuest := outputs["wasm"]
	switch {
	case !hasProcess && !hasGuest:
		c.Outcome, c.Detail = Skip, "neither was run"
		return c
	case !hasProcess || !hasGuest:
		if c.Detail = one; one == "" {
			c.Outcome, c.Lacking, c.Detail = Skip, true, `it has one runtime: offer both, or say why not in testdata/kit.json, as "one_runtime"`
		}
		return c
	}
	r := &result{}
	switch kind {
	case sdk.KindDetector:
		sameFindings(r, "as a guest", sorted(process.Findings), sorted(guest.Findings))
	case sdk.KindCollector:
		sameSets(r, "metrics", metrics(process), metrics(guest))
	case sdk.KindDiscovery:
		sameSets(r, "addresses", addresses(process), addresses(guest))
	case sdk.KindNotifier:
		if len(process.Receipts) != len(guest.Receipts) {
			r.failf("as a process it delivered %d notices, as a guest %d", len(process.Receipts), len(guest.Receipts))
		}
	}
	if len(r.fails) > 0 {
		c.Outcome, c.Detail = Fail, strings.Join(r.fails, "\n")
	}
	return c
}

func metrics(e emitted) []string {
	set := map[string]bool{}
	for _, s := range e.Samples {
		set[s.Metric] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func addresses(e emitted) []string {
	set := map[string]bool{}
	for _, s := range e.Sightings {
		set[s.IP.String()] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func sameSets(r *result, what string, want, got []string) {
	if !slices.Equal(want, got) {
		r.failf("as a process it gave the %s %q, as a guest %q", what, want, got)
	}
}

func sameFindings(r *result, what string, want, got []sdk.Finding) {
	if diff := diffFindings(want, got); diff != "" {
		r.failf("%s: %s", what, diff)
	}
}
