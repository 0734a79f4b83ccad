package core

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
)

type entries []audit.Entry

func (l *entries) Record(_ context.Context, e audit.Entry) error { *l = append(*l, e); return nil }

func TestRefusalsDoNotFillTheAuditLog(t *testing.T) {
	var log entries
	clock := time.Now()
	r := &refusals{log: &log, now: func() time.Time { return clock }, seen: map[string]*refused{}}
	guess := func(address, outcome string) {
		check(t, r.Record(t.Context(), audit.Entry{Action: "agent.request", Outcome: outcome, Address: address, Detail: "unsigned"}))
	}
	for range refusalBurst + 50 {
		guess("203.0.113.1", audit.Refused)
	}
	if len(log) != refusalBurst {
		t.Fatalf("%d lines, want %d", len(log), refusalBurst)
	}
	guess("203.0.113.2", audit.Refused)
	guess("203.0.113.1", audit.OK)
	if len(log) != refusalBurst+2 {
		t.Fatalf("others were held up: %d lines", len(log))
	}
	clock = clock.Add(time.Minute)
	guess("203.0.113.1", audit.Refused)
	if last := log[len(log)-1]; !strings.Contains(last.Detail, "50 refusals") {
		t.Errorf("the next line says %q", last.Detail)
	}
	for i := range 2 * maxRefused {
		guess(fmt.Sprint(i), audit.Refused)
	}
	if len(r.seen) > maxRefused {
		t.Errorf("%d addresses are kept", len(r.seen))
	}
}
