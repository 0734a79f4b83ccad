package mirror

import (
	"runtime"
	"testing"
)

// Who comes while a second one waits for a file must wait behind it, not fetch it beside it.
func TestOneFetchAtATime(t *testing.T) {
	m := &Mirror{busy: map[string]*fetching{}}
	asked := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.busy["f"] == nil {
			return 0
		}
		return m.busy["f"].asked
	}
	first := m.lockFile("f")
	second := make(chan func())
	go func() { second <- m.lockFile("f") }()
	for asked() < 2 {
		runtime.Gosched()
	}
	one := m.busy["f"]
	first()
	done := <-second
	if m.busy["f"] != one || one.TryLock() {
		t.Error("a third one would fetch it too")
	}
	done()
	if asked() != 0 {
		t.Error("it is remembered for good")
	}
}
