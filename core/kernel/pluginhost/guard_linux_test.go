package pluginhost

import (
	"io"
	"os/exec"
	"testing"
	"time"
)

// echo is a process that does nothing until it is asked to.
func echo(t *testing.T) (pid int, work func()) {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	work = func() {
		t.Helper()
		for range 1000 {
			if _, err := in.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	work()
	untilAsleep(t, cmd.Process.Pid)
	return cmd.Process.Pid, work
}

// untilAsleep waits until a process has not run for a while.
func untilAsleep(t *testing.T, pid int) {
	t.Helper()
	last := time.Duration(-1)
	for still, end := 0, time.Now().Add(patience); still < 20; time.Sleep(time.Millisecond) {
		spent, err := spentBy(pid)
		switch {
		case err != nil:
			t.Fatal(err)
		case time.Now().After(end):
			t.Fatalf("process %d never sleeps", pid)
		case spent == last:
			still++
		default:
			still, last = 0, spent
		}
	}
}

func TestAGuardIsToldWhoHasRun(t *testing.T) {
	pid, work := echo(t)
	const busy, idle = time.Second, 5 * time.Second
	s := &activity{pid: pid, busy: busy, idle: idle, worked: make(chan struct{}, 1)}
	seen := func() bool {
		select {
		case <-s.worked:
			return true
		default:
			return false
		}
	}
	if next := s.look(); next != busy || !seen() {
		t.Errorf("the first look: next after %s", next)
	}
	if next := s.look(); next != idle || seen() {
		t.Errorf("a process that sleeps: next after %s", next)
	}
	work()
	if next := s.look(); next != busy || !seen() {
		t.Errorf("a process that works: next after %s", next)
	}
	work()
	s.look()
	work()
	if s.look(); !seen() || seen() {
		t.Error("a guard that is busy is told once")
	}
	s.least = time.Hour
	work()
	if next := s.look(); next != idle || seen() {
		t.Error("little work is told")
	}
	s.pid = 1 << 27
	if s.look(); !seen() {
		t.Error("the guard of a process that nobody knows is not told")
	}
}

func TestLookoutLooksUntilItHasNobody(t *testing.T) {
	l := lookout{began: time.Now()}
	for range 2 { // it begins again after its end
		looks := make(chan struct{})
		far := l.watch(time.Hour, func() time.Duration { return time.Hour })
		near := l.watch(time.Millisecond, func() time.Duration {
			poke(looks)
			return time.Millisecond
		})
		for range 3 {
			select {
			case <-looks:
			case <-time.After(patience):
				t.Fatal("it does not look")
			}
		}
		l.leave(near)
		l.leave(far)
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			l.mu.Lock()
			gone := l.nearer == nil
			l.mu.Unlock()
			if gone {
				break
			}
			if time.Now().After(end) {
				t.Fatal("it looks on at nobody")
			}
		}
	}
}

// However long the looks of one round take, the next round is one for all of them, and not before its beat.
func TestBeatsAreTheSameForAll(t *testing.T) {
	began := time.Now()
	l := lookout{began: began, nearer: make(chan struct{}, 1)} // the rounds are made here
	looks := 0
	for _, every := range []time.Duration{time.Second, 5 * time.Second} {
		for range 3 {
			l.watch(time.Hour, func() time.Duration {
				looks++
				time.Sleep(time.Millisecond)
				return every
			})
		}
	}
	for s := range l.seen {
		if at := s.due.Sub(began); at != time.Hour {
			t.Errorf("the first look is at %s", at)
		}
	}
	first := began.Add(time.Hour + time.Microsecond)
	wait, ok := l.round(first)
	if next := first.Add(wait).Sub(began); !ok || looks != 6 || next != time.Hour+time.Second {
		t.Errorf("%d looks, the next at %s", looks, next)
	}
	for s := range l.seen {
		if at := s.due.Sub(began); at != time.Hour+time.Second && at != time.Hour+5*time.Second {
			t.Errorf("one is due at %s", at)
		}
	}
}

// An idle instance is asked for its health now and then, any other at every beat.
func TestWhenHealthIsAskedFor(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.HealthEvery = time.Hour })
	f.apply(moodyAssignment("m", ""))
	f.untilState("m", Ready)
	s, err := f.supervisor("m")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.callable()
	if err != nil {
		t.Fatal(err)
	}
	untilAsleep(t, r.proc.PID())
	p := &pulse{s: s, r: r, pid: r.proc.PID()}
	asked := func(what string) {
		t.Helper()
		if !p.due() {
			t.Errorf("%s: not asked", what)
		}
	}
	rests := func(beats int) {
		t.Helper()
		for i := range beats - 1 {
			if p.due() {
				t.Fatalf("an idle instance was asked at beat %d", i+1)
			}
		}
	}
	asked("the first time")
	p.answered()
	rests(stillBeats)
	asked("asleep for so many beats")
	p.answered()
	rests(2)
	p.seen -= quietWork / 2 // it ran, and did next to nothing
	rests(quietBeats - 1)
	asked("idle for so many beats")
	p.answered()
	r.calls.Add(1)
	asked("a call is under way")
	r.calls.Add(-1)
	p.answered()
	rests(stillBeats)
	asked("after that")
	s.mu.Lock()
	s.state.State = Degraded
	s.mu.Unlock()
	asked("it said that it is not well")
	s.mu.Lock()
	s.state.State, s.probation = Ready, &probation{}
	s.mu.Unlock()
	asked("it is on probation")
	s.mu.Lock()
	s.probation = nil
	s.mu.Unlock()
	p.answered()
	p.spent -= 2 * quietWork
	asked("it worked by itself")
}
