package traffic

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// upload makes a job without running it.
func (b *bench) upload(t *testing.T, content string) Capture {
	t.Helper()
	c, err := b.Receive(t.Context(), "acme", "some.pcap", "user:ada", strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// work runs the jobs until the test ends.
func (b *bench) work(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// until waits for a capture to fit.
func (b *bench) until(t *testing.T, id, what string, fits func(Capture) bool) Capture {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if c := b.store.get(id); fits(c) {
			return c
		} else if time.Now().After(end) {
			t.Fatalf("waited for %s: %+v", what, c)
		}
	}
}

func (b *bench) untilState(t *testing.T, id string, want State) Capture {
	t.Helper()
	return b.until(t, id, string(want), func(c Capture) bool { return c.State == want })
}

// A job that is stopped keeps what was found, says how far it came, and resumed it ends like one that nobody disturbed.
func TestStopAndResume(t *testing.T) {
	b := newBench(t, "half")
	b.work(t)
	c := b.upload(t, "x")
	b.until(t, c.ID, "progress", func(c Capture) bool { return c.Packets > 0 })
	if err := b.Cancel(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	got := b.store.get(c.ID)
	if got.State != Stopped || got.Packets != 17 || got.Progress != 0.5 || got.Findings != 1 || b.delivered != 1 || got.Error != "" || got.Finished.IsZero() {
		t.Fatalf("stopped: %+v, %d findings delivered", got, b.delivered)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "stopped after packet 17, at 50 % of the file") {
		t.Errorf("it says %q", got.Notes)
	}
	if err := b.Cancel(t.Context(), c.ID); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("cancelled twice: %v", err)
	}
	b.how = "honest"
	if err := b.Resume(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	got = b.untilState(t, c.ID, Done)
	if got.Packets != 40 || got.Progress != 1 || len(got.Notes) != 0 || got.Findings != 1 {
		t.Errorf("resumed: %+v", got)
	}
	if err := b.Resume(t.Context(), got); !errors.Is(err, ErrNotStopped) {
		t.Errorf("resumed when it was done: %v", err)
	}
}

// A worker that says nothing is ended at once, too.
func TestASilentJobIsStopped(t *testing.T) {
	b := newBench(t, "hangs")
	b.cfg.Stall = time.Hour
	b.work(t)
	c := b.upload(t, "x")
	b.untilState(t, c.ID, Running)
	if err := b.Cancel(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.store.get(c.ID); got.State != Stopped {
		t.Errorf("%+v", got)
	}
}

func TestStopWhatWaits(t *testing.T) {
	b := newBench(t, "honest")
	a, c := b.upload(t, "a"), b.upload(t, "b")
	if err := b.Cancel(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.store.get(a.ID); got.State != Stopped || !strings.Contains(got.Notes[0], "before the first packet") {
		t.Errorf("%+v", got)
	}
	if q := b.Queue(); !slices.Equal(q, []string{c.ID}) {
		t.Errorf("the queue is %v", q)
	}
	if err := b.Resume(t.Context(), b.store.get(a.ID)); err != nil {
		t.Fatal(err)
	}
	if q := b.Queue(); !slices.Equal(q, []string{c.ID, a.ID}) {
		t.Errorf("the queue is %v", q)
	}
	if err := b.Resume(t.Context(), b.store.get(a.ID)); !errors.Is(err, ErrAnalysing) {
		t.Errorf("resumed twice: %v", err)
	}
	stale := b.store.get(a.ID) // as two people see it who press the button at once
	stale.State = Stopped
	if err := b.Resume(t.Context(), stale); !errors.Is(err, ErrAnalysing) {
		t.Errorf("resumed twice: %v", err)
	}
}

// A capture may be deleted after it was looked up, while another one has the same bytes.
func TestResumeWhatWasDeleted(t *testing.T) {
	b := newBench(t, "honest")
	a, _ := b.upload(t, "a"), b.upload(t, "a")
	if err := b.Cancel(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	stale := b.store.get(a.ID)
	if err := b.Delete(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(t.Context(), stale); err == nil || slices.Contains(b.Queue(), a.ID) {
		t.Errorf("%v, the queue is %v", err, b.Queue())
	}
}

func TestFirst(t *testing.T) {
	b := newBench(t, "honest")
	var ids []string
	for _, content := range []string{"a", "b", "c"} {
		ids = append(ids, b.upload(t, content).ID)
	}
	for _, id := range []string{ids[2], ids[1], ids[1]} {
		if err := b.First(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{ids[1], ids[2], ids[0]}
	if q := b.Queue(); !slices.Equal(q, want) {
		t.Errorf("the queue is %v, not %v", q, want)
	}
	// The order is in the rows too, for the program's next run.
	slices.SortFunc(ids, func(x, y string) int { return int(b.store.get(x).Order - b.store.get(y).Order) })
	if !slices.Equal(ids, want) {
		t.Errorf("the rows are in order %v, not %v", ids, want)
	}
	if err := b.First(t.Context(), "another"); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("first of what does not wait: %v", err)
	}
}

func TestAgain(t *testing.T) {
	b := newBench(t, "honest")
	c := b.finish(t, "x")
	if err := b.Again(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := b.store.get(c.ID); got.State != Queued || got.Packets != 40 {
		t.Errorf("while it waits it shows %+v", got)
	}
	if err := b.Again(t.Context(), b.store.get(c.ID)); !errors.Is(err, ErrAnalysing) {
		t.Errorf("again while it waits: %v", err)
	}
	b.work(t)
	if got := b.untilState(t, c.ID, Done); got.Findings != 1 || b.analyses != 2 {
		t.Errorf("%+v after %d analyses", got, b.analyses)
	}
	if err := b.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := b.Again(t.Context(), c); err == nil {
		t.Error("analysed again after it was deleted")
	}
}

// A job that the end of the program interrupts is no stopped one: the next run takes it up.
func TestTheEndOfTheProgramStopsNoJob(t *testing.T) {
	b := newBench(t, "half")
	c := b.upload(t, "x")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	b.until(t, c.ID, "progress", func(c Capture) bool { return c.Packets > 0 })
	cancel()
	<-done
	if got := b.store.get(c.ID); got.State != Running {
		t.Errorf("%+v", got)
	}
}
