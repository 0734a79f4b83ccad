package core

import (
	"testing"
	"time"
)

// The time in which the server was away is not an agent's silence, but what it was silent for before is: or a start would end the
// alert of it, and raise it again.
func TestSilenceOutlastsAServerThatWasAway(t *testing.T) {
	began := time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC)
	s := &self{began: began, heard: began.Add(-time.Hour)}
	at := began.Add(time.Minute)
	for name, c := range map[string]struct {
		seen time.Time
		want time.Duration
	}{
		"heard until the server went": {began.Add(-time.Hour), time.Minute},
		"silent before":               {began.Add(-3 * time.Hour), 2*time.Hour + time.Minute},
		"heard since":                 {began.Add(20 * time.Second), 40 * time.Second},
	} {
		if got := s.silence(c.seen, at); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}
