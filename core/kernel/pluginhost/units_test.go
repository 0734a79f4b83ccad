package pluginhost

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoffs{First: 300 * time.Millisecond, Base: time.Second, Max: 2 * time.Minute}
	for failures, want := range map[int]time.Duration{
		1: 300 * time.Millisecond, 2: time.Second, 3: 2 * time.Second, 4: 4 * time.Second, 8: 64 * time.Second, 9: 2 * time.Minute, 1000: 2 * time.Minute,
	} {
		if got := b.delay(failures, 0.5); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
	if lo, hi := b.delay(2, 0), b.delay(2, 1); lo != 750*time.Millisecond || hi != 1250*time.Millisecond {
		t.Errorf("jitter spreads over %s to %s", lo, hi)
	}
}

func TestCrashWindow(t *testing.T) {
	c := crashes{window: 10 * time.Minute}
	start := time.Unix(0, 0)
	for i, want := range []int{1, 2, 2, 2} { // one every six minutes
		if got := c.add(start.Add(time.Duration(i) * 6 * time.Minute)); got != want {
			t.Errorf("crash %d: %d in the window, want %d", i, got, want)
		}
	}
}

func TestAccount(t *testing.T) {
	var a account
	a.open(7)
	a.use(7, usage{2 * time.Second, 100})
	if l := a.read(); l.CPUSeconds != 2 || l.MemoryBytes != 100 {
		t.Errorf("running: %+v", l)
	}
	a.settle(7, 3*time.Second)
	a.use(7, usage{9 * time.Second, 100}) // a late look at a process that has ended
	if l := a.read(); l.CPUSeconds != 3 || l.MemoryBytes != 0 {
		t.Errorf("ended: %+v", l)
	}
	for i := range 1000 {
		a.call(time.Duration(i)*time.Millisecond, i%2 == 0)
	}
	l := a.read()
	if l.Calls != 1000 || l.Errors != 500 {
		t.Errorf("calls: %+v", l)
	}
	if l.LatencyP50ms < 860 || l.LatencyP50ms > 880 || l.LatencyP95ms < 980 || l.LatencyP95ms > 990 {
		t.Errorf("quantiles of the last %d calls: p50 %v, p95 %v", recentCalls, l.LatencyP50ms, l.LatencyP95ms)
	}
}

func TestLogRing(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newLogRing(func() time.Time { return now }, slog.New(slog.DiscardHandler))
	for range logBurst + 50 {
		r.add(slog.LevelInfo, "again")
	}
	lines, dropped := r.tail(1000)
	if len(lines) != logBurst || dropped != 50 {
		t.Errorf("%d lines, %d dropped", len(lines), dropped)
	}
	for i := range 300 { // at a bearable rate
		now = now.Add(time.Second)
		r.add(slog.LevelInfo, strings.Repeat("x", i*10)+"\xff")
	}
	lines, _ = r.tail(1000)
	if len(lines) != logLines {
		t.Errorf("%d lines kept, want %d", len(lines), logLines)
	}
	if last := lines[logLines-1].Text; len(last) > logText+len("…") || !strings.HasSuffix(last, "…") {
		t.Errorf("a long line was kept with %d bytes", len(last))
	}
}

func TestLastWords(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newLogRing(func() time.Time { return now }, slog.New(slog.DiscardHandler))
	say := func(text string) { r.add(slog.LevelInfo, text) }
	say("old trouble")
	now = now.Add(time.Minute)
	started := now
	if got := r.lastWords(started); got != "" {
		t.Errorf("got %q from before the start", got)
	}
	say("warming up")
	if got := r.lastWords(started); got != "warming up" {
		t.Errorf("got %q", got)
	}
	r.add(slog.LevelError, "no sensor")
	say("bye")
	if got := r.lastWords(started); got != "no sensor" {
		t.Errorf("got %q", got)
	}
	say("panic: boom")
	say("goroutine 1 [running]:")
	if got := r.lastWords(started); got != "panic: boom" {
		t.Errorf("got %q", got)
	}
}
