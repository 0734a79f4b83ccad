package pluginhost

import (
	"testing"
	"time"
)

func TestStarved(t *testing.T) {
	began := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for reason, want := range map[string]bool{
		"it used 131 MiB of" + beyondMemory + "128 MiB":                true,
		"it used all of its" + beyondMemory + "128 MiB":                true,
		"it exited with status 2: fatal error: runtime: out of memory": true,
		"it exited with status 2: panic: index out of range":           false,
		"it did not answer a health check within 5s":                   false,
		"": false,
	} {
		s := Status{History: []Transition{{Time: began, State: Backoff, Reason: reason}}}
		if got := s.Starved(began); got != want {
			t.Errorf("%q: %v", reason, got)
		}
		if s.Starved(began.Add(time.Second)) {
			t.Errorf("%q: what was before counts", reason)
		}
	}
}
