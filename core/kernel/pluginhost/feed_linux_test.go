package pluginhost

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
)

// counted gathers findings and counts those that come twice.
type counted struct {
	mu    sync.Mutex
	texts map[string]int // by summary
	again int
}

func (c *counted) Finding(f sdk.Finding) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.texts == nil {
		c.texts = map[string]int{}
	}
	if c.texts[f.Summary]++; c.texts[f.Summary] > 1 {
		c.again++
	}
	return nil
}

func (c *counted) says() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text := range c.texts {
		if strings.HasPrefix(text, "count=") {
			return text
		}
	}
	return ""
}

// reading is an assignment of a detector that may read flows, and so what the host shares.
func (f *fixture) reading(instance, plugin, version string) Assignment {
	f.shelf.perms = []sdk.Permission{{Cap: sdk.CapFlowsRead}}
	a := versionedAssignment(instance, plugin, version)
	a.Grants = f.shelf.perms
	return a
}

// stream feeds detectors with one capture, all of them the same batches, and ends it.
func (f *fixture) stream(detectors []Detector, batches int, each func(i int)) []counted {
	f.t.Helper()
	found := make([]counted, len(detectors))
	feeds := make([]chan *batch.Batch, len(detectors))
	var work sync.WaitGroup
	for i, d := range detectors {
		feeds[i] = make(chan *batch.Batch, 8)
		work.Go(func() {
			err := d.InspectAll(f.t.Context(), "capture", feeds[i], &found[i])
			for b := range feeds[i] {
				b.Release()
			}
			if err = errors.Join(err, d.Flush(f.t.Context(), &found[i])); err != nil {
				f.t.Errorf("%s: %v", d.Instance(), err)
			}
		})
	}
	for n := range batches {
		if each != nil {
			each(n)
		}
		b := f.Share(framed(1+50*n, 51+50*n), len(detectors))
		for _, c := range feeds {
			c <- b
		}
	}
	for _, c := range feeds {
		close(c)
	}
	work.Wait()
	return found
}

// exact checks that a detector saw everything once and that each of its findings came once.
func (f *fixture) exact(found []counted, batches int) {
	f.t.Helper()
	n := 50 * batches
	want := fmt.Sprintf("count=%d sum=%d twice=0", n, n*(n+1)/2)
	for i := range found {
		if says := found[i].says(); !strings.HasPrefix(says, want) || found[i].again > 0 || len(found[i].texts) != n/10+1 {
			f.t.Errorf("detector %d says %q, want %q; %d findings, want %d, %d came twice", i, says, want, len(found[i].texts), n/10+1, found[i].again)
		}
	}
}

// nothingShared checks that all shared memory is free again.
func (f *fixture) nothingShared() (puts uint64) {
	f.t.Helper()
	f.mu.Lock()
	ring := f.ring
	f.mu.Unlock()
	if ring == nil {
		f.t.Fatal("nothing was ever shared")
	}
	st := ring.Stats()
	if st.Blocks != 0 || st.Used != 0 {
		f.t.Errorf("left in the ring: %+v", st)
	}
	return st.Puts
}

// Several batches are on their way to several detectors, from one memory, while they are killed, upgraded and rolled back.
func TestAStreamLosesAndDoublesNothing(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, func(c *Config) {
		c.MaxCrashes = 1000
		c.Probation.LatencyFloor = time.Hour // how fast this machine is decides nothing here
	})
	names := []string{"d1", "d2", "d3"}
	var list []Assignment
	for _, n := range names {
		list = append(list, f.reading(n, "stateful/detector", "1.0.0"))
	}
	f.apply(list...)
	for _, n := range names {
		f.untilState(n, Ready)
	}
	var upgrades sync.WaitGroup
	const batches = 400 // the journal is full several times
	found := f.stream(f.Detectors(), batches, func(i int) {
		switch {
		case i%70 == 20:
			if st, _ := f.Instance("d1"); st.PID > 0 {
				_ = syscall.Kill(st.PID, syscall.SIGKILL)
			}
		case i == 150:
			upgrades.Go(func() {
				if err := f.Upgrade(t.Context(), "d2", "2.0.0"); err != nil {
					t.Error(err)
				}
			})
		case i == 300:
			upgrades.Wait()
			if err := f.Rollback(t.Context(), "d2", "somebody wants it back"); err != nil {
				t.Error(err)
			}
		}
	})
	f.exact(found, batches)
	if st, _ := f.Instance("d1"); st.Ledger.Crashes == 0 || st.Ledger.Replayed == 0 {
		t.Errorf("nothing was killed: %+v", st.Ledger)
	}
	if st, _ := f.Instance("d3"); st.Ledger.Records != 50*batches || st.Ledger.InFlight != 0 || st.Ledger.Calls != batches+1 {
		t.Errorf("the ledger of one that was left alone: %+v", st.Ledger)
	}
	if puts := f.nothingShared(); puts != batches {
		t.Errorf("%d batches were shared, not %d", puts, batches)
	}
}

// After an error nothing more of the detector counts, though it may have been shown more.
func TestAStreamEndsWithAnError(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": "error"}, nil)
	f.apply(f.reading("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	in := make(chan *batch.Batch, 8)
	for n := range 8 {
		in <- f.Share(framed(1+50*n, 51+50*n), 1)
	}
	close(in)
	var found counted
	err := f.Detectors()[0].InspectAll(t.Context(), "capture", in, &found)
	if err == nil || !strings.Contains(err.Error(), "confused") {
		t.Fatalf("got %v", err)
	}
	for b := range in {
		b.Release()
	}
	if len(found.texts) != 10 { // of the two batches before
		t.Errorf("%d findings", len(found.texts))
	}
	f.nothingShared()
}

// A detector that hangs with several batches on their way is found by the deadline of one.
func TestAStreamThatHangs(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": "hang"}, func(c *Config) {
		c.Deadlines.Inspect, c.MaxCrashes = 500*time.Millisecond, 1
	})
	f.apply(f.reading("d", "stateful/detector", "1.0.0"), f.reading("e", "forgetful/detector", "1.0.0"))
	for _, name := range []string{"d", "e"} {
		f.untilState(name, Ready)
	}
	for _, d := range f.Detectors() {
		in := make(chan *batch.Batch, 8)
		for n := range 8 {
			in <- f.Share(framed(1+50*n, 51+50*n), 1)
		}
		close(in)
		if err := d.InspectAll(t.Context(), "capture", in, &counted{}); err == nil {
			t.Errorf("%s: a detector that hangs has answered", d.Instance())
		}
		for b := range in {
			b.Release()
		}
		st := f.untilState(d.Instance(), Quarantined)
		if !strings.Contains(st.Reason, "did not answer Inspect within 500ms") {
			t.Errorf("%s: %s", d.Instance(), st.Reason)
		}
	}
	f.nothingShared()
}

// Memory is shared with those alone who may read all that is in it, and what finds no room in it is sent.
func TestWhoSharesMemory(t *testing.T) {
	f := newFixture(t, nil)
	flows, packets := []sdk.Permission{{Cap: sdk.CapFlowsRead}}, []sdk.Permission{{Cap: sdk.CapPacketsRead}}
	for _, c := range []struct {
		kind   sdk.Kind
		grants []sdk.Permission
		want   bool
	}{{sdk.KindDetector, nil, false}, {sdk.KindDetector, packets, false}, {sdk.KindCollector, flows, false}, {sdk.KindDetector, flows, true}} {
		if got := f.ringFor(c.kind, c.grants) != nil; got != c.want {
			t.Errorf("%s with %v: %v", c.kind, c.grants, got)
		}
	}
	var held []*batch.Batch
	frame := make([]byte, 1<<20)
	for range ringSize >> 20 {
		held = append(held, f.Share(frame, 2))
	}
	for _, b := range held {
		if b.Shared == nil {
			t.Fatal("there was room")
		}
	}
	if b := f.Share(frame, 2); b.Shared != nil || len(b.Frame) != len(frame) {
		t.Error("there was no room")
	}
	for _, b := range held {
		b.Release()
	}
	if b := f.Share(frame, 2); b.Shared != nil {
		t.Error("one of two readers let go, and there is room")
	}
	for _, b := range held {
		b.Release()
	}
	f.nothingShared()
	if b := f.Share(frame, 0); b.Shared != nil {
		t.Error("shared with nobody")
	}
}
