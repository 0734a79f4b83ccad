package pluginhost

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk/reach"
)

// What a version stores before it is in charge is the instance's once it is, and is gone when it never comes to be.
func TestWhatACandidateStores(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "exit at start", "2.1.0": "store", "2.2.0": "store"}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	s, err := f.supervisor("c")
	if err != nil {
		t.Fatal(err)
	}
	live := reach.State(s.stateDir(inCharge))
	if err := live.Put("by", []byte("the old one")); err != nil {
		t.Fatal(err)
	}
	is := func(when, want string) {
		t.Helper()
		if got, err := live.Get("by"); err != nil || string(got) != want {
			t.Errorf("%s: the state is by %q, %v; want %q", when, got, err, want)
		}
	}
	gone := func(as role) {
		t.Helper()
		if _, err := os.Stat(s.stateDir(as)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", s.stateDir(as), err)
		}
	}
	if err := f.Upgrade(t.Context(), "c", "2.0.0"); err == nil {
		t.Fatal("a version that exits at its start took over")
	}
	is("after an upgrade that failed", "the old one")
	gone(candidate)
	if err := f.Shadow(t.Context(), "c", "2.2.0"); err != nil {
		t.Fatal(err)
	}
	if own, err := reach.State(s.stateDir(shadowing)).Get("by"); err != nil || string(own) != "2.2.0" {
		t.Errorf("the shadow's own: %q, %v", own, err)
	}
	is("with a shadow", "the old one")
	if err := f.DropShadow(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	is("after the shadow", "the old one")
	gone(shadowing)
	if err := f.Upgrade(t.Context(), "c", "2.1.0"); err != nil {
		t.Fatal(err)
	}
	is("after the upgrade", "2.1.0")
	gone(candidate)
}

// What the old version stores while the new one starts is not lost, and it stores nothing once the new one is in charge.
func TestACandidateThatWasOvertaken(t *testing.T) {
	f := upgradable(t, map[string]string{"2.1.0": "store"}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	s, err := f.supervisor("c")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	old := s.cur
	s.mu.Unlock()
	done := make(chan error, 1)
	<-s.turn // the new version starts, and waits for this
	go func() { done <- f.Upgrade(t.Context(), "c", "2.1.0") }()
	own := reach.State(s.stateDir(candidate))
	f.until("c", "what the candidate stores", func(Status) bool {
		by, err := own.Get("by")
		return err == nil && string(by) == "2.1.0"
	})
	if err := old.state.Put("by", []byte("the old one, later")); err != nil {
		t.Fatal(err)
	}
	s.turn <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	again := func(l Transition) bool { return strings.Contains(l.Reason, "2.1.0 starts again") }
	if st := f.untilState("c", Ready); !slices.ContainsFunc(st.History, again) {
		t.Errorf("it took over with what was older: %+v", st.History)
	}
	if err := old.state.Put("by", []byte("too late")); err == nil {
		t.Error("the old version stores")
	}
	if got, err := s.store.Get("by"); err != nil || string(got) != "2.1.0" {
		t.Errorf("the state is by %q, %v", got, err)
	}
}

// The start of a shadow holds up nothing: the instance crashes and comes back, restarts, and the start can be called off.
func TestAShadowThatDoesNotComeUp(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "hang at start"}, func(c *Config) { c.Deadlines.Configure = time.Hour })
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	old := f.untilState("c", Ready)
	s, err := f.supervisor("c")
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan error, 1)
	start := func() {
		go func() { began <- f.Shadow(t.Context(), "c", "2.0.0") }()
		f.until("c", "the start of the shadow", func(Status) bool { return starting(s) })
	}
	start()
	_ = syscall.Kill(old.PID, syscall.SIGKILL)
	f.until("c", "the next process", func(st Status) bool { return st.State == Ready && st.PID != 0 && st.PID != old.PID })
	if err := f.Restart(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.collect("c"); err != nil {
		t.Fatal(err)
	}
	if err := f.Shadow(t.Context(), "c", "2.0.0"); err == nil || !strings.Contains(err.Error(), "just being started") {
		t.Errorf("a second shadow: %v", err)
	}
	select {
	case err := <-began:
		t.Fatalf("the shadow does not start any more: %v", err)
	default:
	}
	if err := f.DropShadow(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if err := <-began; err == nil || !strings.Contains(err.Error(), "called off") {
		t.Errorf("called off: %v", err)
	}
	start() // and with its instance
	f.apply()
	if err := <-began; err == nil {
		t.Error("a shadow without its instance")
	}
}

func starting(s *supervisor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.callOff != nil
}
