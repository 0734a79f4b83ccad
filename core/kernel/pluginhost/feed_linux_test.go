package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
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
		if n%2 == 0 { // as a worker's come; the journal keeps this form
			b.Packed = s2.Encode(nil, b.Frame)
		}
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
func TestAStreamLosesAndDoublesNothing(t *testing.T) { losesAndDoublesNothing(t, "") }

func losesAndDoublesNothing(t *testing.T, mood string) {
	t.Helper()
	f := upgradable(t, map[string]string{"1.0.0": mood, "2.0.0": mood}, func(c *Config) {
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
func TestAStreamEndsWithAnError(t *testing.T) { endsWithAnError(t, "error") }

func endsWithAnError(t *testing.T, mood string) {
	t.Helper()
	f := upgradable(t, map[string]string{"1.0.0": mood}, nil)
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
func TestAStreamThatHangs(t *testing.T) { hangs(t, "hang") }

func hangs(t *testing.T, mood string) {
	t.Helper()
	f := upgradable(t, map[string]string{"1.0.0": mood}, func(c *Config) {
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
	}{{sdk.KindDetector, nil, false}, {sdk.KindDetector, packets, false}, {sdk.KindCollector, flows, false}, {sdk.KindDetector, flows, true},
		{sdk.KindDiscovery, flows, true}, {sdk.KindDiscovery, nil, false}} {
		if got := f.ringFor(c.kind, c.grants) != nil; got != c.want {
			t.Errorf("%s with %v: %v", c.kind, c.grants, got)
		}
	}
	var held []*batch.Batch
	flow := sdk.Flow{CommunityID: strings.Repeat("x", 1<<20-records.FlowsSize(make([]sdk.Flow, 1)))}
	frame := records.AppendFlows(nil, []sdk.Flow{flow})
	const room = ringSize >> 20
	inRing := func(want int, why string) {
		t.Helper()
		if n := f.ring.Stats().Blocks; n != want {
			t.Errorf("%s: %d frames lie in the ring, want %d", why, n, want)
		}
	}
	facts := records.AppendFacts(nil, []sdk.DNS{{Query: "a.example"}})
	f.Share(facts, 2)
	inRing(0, "not everybody who may read flows may read facts")
	for n := range room {
		held = append(held, f.Share(frame, 2))
		inRing(n+1, "there was room")
	}
	b := f.Share(frame, 2)
	if inRing(room, "there was no room"); b.Shared == nil || len(b.Frame) != len(frame) {
		t.Error("what finds no room is not sent once")
	}
	for _, b := range held {
		b.Release()
	}
	f.Share(frame, 2)
	inRing(room, "one of two readers let go")
	for _, b := range held {
		b.Release()
	}
	f.nothingShared()
	f.Share(frame, 0)
	inRing(0, "it is shared with nobody")
	if b := f.Share(facts, 1); b.Shared != nil {
		t.Error("one reader shares with himself")
	}
}

// narrow puts itself between this plugin and the record plane: what it says in HELLO leaves no room for two batches. A slow one
// leaves room, but takes what the host sends a little at a time, and nothing of it arrives.
func narrow(slow bool) {
	fd, err := strconv.Atoi(os.Getenv(host.RecordsEnv))
	if err != nil {
		panic(err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err = errors.Join(err, unix.Dup3(ends[1], fd, unix.O_CLOEXEC)); err != nil {
		panic(err)
	}
	outer, inner := os.NewFile(uintptr(own), "host"), os.NewFile(uintptr(ends[0]), "plugin")
	const helloSize = 24 + 20 // the plugin's and the host's; what it says instead keeps no frames
	room := "\x00\x00\x00\x00"
	if slow {
		room = "\x00\x00\x80\x00"
	}
	_, err = outer.WriteString("PKPL\x0c\x00\x00\x00\x01" + strings.Repeat("\x00", 15) + "\x01\x00\x00\x00\x04\x00\x00\x00" + room)
	if err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.CopyN(io.Discard, inner, helloSize)
		_, _ = io.Copy(outer, inner)
	}()
	go func() {
		_, _ = io.CopyN(inner, outer, helloSize)
		for slow {
			if _, err := io.CopyN(io.Discard, outer, 64<<10); err != nil {
				os.Exit(0)
			}
			time.Sleep(30 * time.Millisecond)
		}
		_, _ = io.Copy(inner, outer)
		os.Exit(0)
	}()
}

// A plugin may leave room for one batch alone, and is then given one after the other.
func TestAStreamThroughASmallWindow(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": "narrow"}, func(c *Config) {
		c.Deadlines.Inspect, c.MaxCrashes = 2*time.Second, 1
	})
	f.noRing = true // what narrow puts between passes no descriptor on
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	f.exact(f.stream(f.Detectors(), 20, nil), 20)
	if st, _ := f.Instance("d"); st.Ledger.Crashes > 0 || st.Ledger.Calls != 21 {
		t.Errorf("the ledger: %+v", st.Ledger)
	}
}

// A plugin that takes what it is sent only slowly has no more time for its answer by that.
func TestAStreamThatIsTakenSlowly(t *testing.T) {
	const deadline = 2 * time.Second
	f := upgradable(t, map[string]string{"1.0.0": "narrow and slow"}, func(c *Config) {
		c.Deadlines.Inspect, c.MaxCrashes = deadline, 1
	})
	f.noRing = true // what narrow puts between passes no descriptor on
	f.apply(versionedAssignment("d", "forgetful/detector", "1.0.0"))
	f.untilState("d", Ready)
	frame := framed(1, 5_400)
	if len(frame) < 3<<19 || len(frame) > 2<<20-1000 {
		t.Fatalf("a frame of %d bytes, four of which are to fill the window", len(frame))
	}
	in := make(chan *batch.Batch, 8)
	for range 8 {
		in <- f.Share(frame, 1)
	}
	close(in)
	began := time.Now()
	err := f.Detectors()[0].InspectAll(t.Context(), "capture", in, &counted{})
	if took := time.Since(began); err == nil || took > 3*deadline/2 {
		t.Errorf("after %s: %v", took, err)
	}
	for b := range in {
		b.Release()
	}
	if st := f.untilState("d", Quarantined); !strings.Contains(st.Reason, "did not answer Inspect within 2s") {
		t.Error(st.Reason)
	}
}

// What a detector gets by gRPC is not read from the shared memory, which may be used again before gRPC is done with it.
func TestAStreamByGRPC(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": "grpc"}, nil)
	f.apply(f.reading("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	d := f.Detectors()[0]
	in := make(chan *batch.Batch, 8)
	for n := range 8 {
		b := f.Share(framed(1+50*n, 51+50*n), 1)
		clear(b.Shared.(*host.Block).Bytes())
		in <- b
	}
	close(in)
	found := make([]counted, 1)
	if err := errors.Join(d.InspectAll(t.Context(), "capture", in, &found[0]), d.Flush(t.Context(), &found[0])); err != nil {
		t.Fatal(err)
	}
	f.exact(found, 8)
	f.nothingShared()
}

// waiting is a sink that ends the call with the first finding, once everything is answered.
type waiting struct {
	counted
	cancel   func()
	answered func() bool
}

func (w *waiting) Finding(f sdk.Finding) error {
	for deadline := time.Now().Add(patience); !w.answered() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	err := w.counted.Finding(f)
	w.cancel()
	return err
}

// What is answered after the caller gave up is nobody's: it would come again with the batch.
func TestAStreamThatIsGivenUp(t *testing.T) { isGivenUp(t, "") }

func isGivenUp(t *testing.T, mood string) {
	t.Helper()
	f := upgradable(t, map[string]string{"1.0.0": mood}, nil)
	f.apply(f.reading("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := f.Detectors()[0]
	sink := &waiting{cancel: cancel, answered: func() bool {
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		n, _ := d.s.cur.inst.InFlight()
		return n == 0
	}}
	in := make(chan *batch.Batch, 8)
	for n := range 4 {
		in <- f.Share(framed(1+50*n, 51+50*n), 1)
	}
	if err := d.InspectAll(ctx, "capture", in, sink); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(sink.texts) != 1 {
		t.Errorf("%d findings", len(sink.texts))
	}
}
