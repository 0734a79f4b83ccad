package audit

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/core/kernel/store"
)

type lines []store.AuditEntry

func (l *lines) AppendAudit(ctx context.Context, e store.AuditEntry) error {
	*l = append(*l, e)
	return ctx.Err()
}

func TestRecord(t *testing.T) {
	now := time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
	var got lines
	log := New(&got, func() time.Time { return now })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := log.Record(ctx, Entry{Actor: "agent:7", Action: "agent.request", Outcome: Refused,
		Detail: "line\nbreak Bearer abc.def pkt_AAAAAAAAAAAA picket_0123456789 " + strings.Repeat("é", 900)})
	if err != nil {
		t.Fatalf("a cancelled request must still be recorded: %v", err)
	}
	e := got[0]
	if e.Tenant != store.DefaultTenant || !e.Time.Equal(now) || e.ID == "" || e.Outcome != Refused {
		t.Errorf("entry %+v", e)
	}
	for _, secret := range []string{"abc.def", "AAAA", "0123456789", "\n"} {
		if strings.Contains(e.Detail, secret) {
			t.Errorf("detail holds %q", secret)
		}
	}
	if len(e.Detail) > maxDetail+len("…") || !utf8.ValidString(e.Detail) {
		t.Errorf("detail has %d bytes, valid %t", len(e.Detail), utf8.ValidString(e.Detail))
	}
}
