package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/services/metricrule"
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

// A wrong clock is a series while it is wrong, by the agent's own account, and the shipped rule tells people of it and that it is over.
func TestAWrongClockIsToldAndEnds(t *testing.T) {
	clock := &movable{}
	r := start(t, Config{Settings: settings(t.TempDir()), Programs: programs(t, nil), Now: clock.Now})
	s := r.sender(&movable{}, &movable{})
	began := clock.Now()
	for range 40 { // twenty minutes, of which the clock is wrong for eight
		offset := 0.0
		if gone := clock.Now().Sub(began); gone > 2*time.Minute && gone < 10*time.Minute {
			offset = -47.5
		}
		check(t, r.agents.Report(t.Context(), s.id, "0.1.0", []byte(fmt.Sprintf(`{"clock_offset_seconds":%g}`, offset))))
		check(t, r.own.measure(t.Context()))
		clock.ahead.Add(int64(30 * time.Second))
	}
	for _, shipped := range metricrule.Shipped() {
		if shipped.Name != "clock-skew" {
			continue
		}
		shipped.Tenant = r.tenant
		p, err := r.metricRules.Preview(t.Context(), shipped, began, clock.Now())
		check(t, err)
		if p.Alerts != 1 || len(p.Longest) != 1 || len(p.Longest[0].Times) != 1 || p.Longest[0].Times[0].To.IsZero() {
			t.Fatalf("%+v", p)
		}
		const want = "clock: the clock is 47.5 s away from the server's"
		if got := p.Longest[0]; got.Summary != want || got.Labels["agent_id"] != s.id {
			t.Errorf("%+v", got)
		}
	}
}
