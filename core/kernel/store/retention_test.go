package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Lines of the audit log go from the front of the chain; what is left is verified as before, and a start that somebody made up is
// told.
func TestRetentionOfTheAuditLog(t *testing.T) {
	c, _ := openControl(t)
	for i := range 1200 {
		must(t, c.AppendAudit(t.Context(), AuditEntry{ID: fmt.Sprintf("%06d", i), Tenant: "default", Time: start.Add(time.Duration(i) * time.Hour), Actor: "a", Action: "b", Outcome: "ok"}))
	}
	for _, hours := range []int{1100, 1100, 5000} {
		before := start.Add(time.Duration(hours) * time.Hour)
		removed, err := c.RemoveBefore(t.Context(), KeepAudit, before)
		must(t, err)
		want := map[int]int{1100: 1100, 5000: 99}[hours] // the last line stays: it says that there is a log
		if _, _, err := c.ListAudit(t.Context(), "default", AuditFilter{}, Page{}); err != nil {
			t.Fatal(err)
		}
		if removed != want && removed != 0 {
			t.Errorf("before %d: %d removed, want %d", hours, removed, want)
		}
		r, err := c.VerifyAudit(t.Context(), "default", AuditHead{})
		if must(t, err); r.Problem != "" || r.Head.Seq != 1200 {
			t.Errorf("before %d: %+v", hours, r)
		}
	}
	begins, _, err := c.auditStart(t.Context(), c.reader, "default")
	must(t, err)
	if r, err := c.VerifyAudit(t.Context(), "default", begins); err != nil || r.Problem != "" {
		t.Errorf("noted where it begins: %+v, %v", r, err)
	}
	if r, err := c.VerifyAudit(t.Context(), "default", AuditHead{Seq: begins.Seq, Hash: []byte{1}}); err != nil || r.Broken != begins.Seq {
		t.Errorf("another line noted where it begins: %+v, %v", r, err)
	}
	var cannot *QueryError
	if _, err := c.VerifyAudit(t.Context(), "default", AuditHead{Seq: begins.Seq - 1, Hash: []byte{1}}); !errors.As(err, &cannot) {
		t.Errorf("noted before it begins: %v", err)
	}
	_, err = c.writer.ExecContext(t.Context(), "UPDATE audit_starts SET seq = seq - 1")
	must(t, err)
	if r, err := c.VerifyAudit(t.Context(), "default", AuditHead{}); err != nil || r.Problem == "" {
		t.Errorf("a start that was made up passes: %+v, %v", r, err)
	}
}

// Rows go by when they were last touched, in steps, and the file becomes smaller.
func TestRetentionOfControlState(t *testing.T) {
	c, _ := openControl(t)
	text := strings.Repeat("x", 20_000)
	for i := range 1300 {
		at := micros(start.Add(time.Duration(i) * time.Hour))
		_, err := c.writer.ExecContext(t.Context(), `INSERT INTO devices (id, tenant, ips, macs, hostnames, vendor, first_seen, last_seen, sources, facts)
			VALUES (?, 'default', '[]', '[]', '[]', '', ?, ?, '[]', ?)`, fmt.Sprint(i), at, at, text)
		must(t, err)
	}
	size := func() int64 {
		_, err := c.writer.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
		must(t, err)
		info, err := os.Stat(c.path)
		must(t, err)
		return info.Size()
	}
	before := size()
	removed, err := c.RemoveBefore(t.Context(), KeepDevices, start.Add(1200*time.Hour))
	if must(t, err); removed != 1200 {
		t.Errorf("%d removed, want 1200", removed)
	}
	must(t, c.Shrink(t.Context()))
	if after := size(); after > before/4 {
		t.Errorf("the file has %d bytes of %d", after, before)
	}
	for _, kind := range []string{KeepAlerts, KeepIncidents, KeepSessions} {
		if n, err := c.RemoveBefore(t.Context(), kind, start); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", kind, n, err)
		}
	}
	if _, err := c.RemoveBefore(t.Context(), "users", start); err == nil {
		t.Error("users are removed by age")
	}
}

// An alert of a rule that still holds is as old as what it tells of: it goes when it is over.
func TestOpenAlertsOfRulesStay(t *testing.T) {
	c, _ := openControl(t)
	must(t, c.write(t.Context(), func(tx *sql.Tx) error {
		for id, a := range map[string]Alert{
			"open":     {Detector: MetricRules, State: AlertFiring},
			"seen":     {Detector: MetricRules, State: AlertAcknowledged},
			"over":     {Detector: MetricRules, State: AlertResolved},
			"detected": {Detector: "picket/portscan", State: AlertFiring},
		} {
			a.ID, a.Tenant, a.Fingerprint, a.Severity, a.FirstSeen, a.LastSeen = id, DefaultTenant, id, sdk.SeverityHigh, start, start
			if err := putAlert(t.Context(), tx, a); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, c.EnqueueNotices(t.Context(), Notice{Tenant: DefaultTenant, AlertID: "open", Notifier: "n"}, Notice{Tenant: DefaultTenant, AlertID: "over", Notifier: "n"}))
	later := start.Add(time.Hour)
	if n, err := c.CountBefore(t.Context(), KeepAlerts, later); err != nil || n.Count != 2 {
		t.Errorf("%d would go, want 2: %v", n.Count, err)
	}
	if n, err := c.RemoveBefore(t.Context(), KeepAlerts, later); err != nil || n != 2 {
		t.Errorf("%d removed, want 2: %v", n, err)
	}
	for id, want := range map[string]int{"open": 1, "over": 0} {
		if told, err := c.AlertNotices(t.Context(), DefaultTenant, id); err != nil || len(told) != want {
			t.Errorf("%d notices of the alert %s are left, want %d: %v", len(told), id, want, err)
		}
	}
	for _, id := range []string{"open", "seen"} {
		if _, err := c.AlertByID(t.Context(), DefaultTenant, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// Each keeps what its machine printed, and an order may be for ten thousand.
func TestEndedCommandsGo(t *testing.T) {
	c, _ := openControl(t)
	enrol(t, c, "a1")
	old, later := start.Add(-40*24*time.Hour), start.Add(-time.Hour)
	for i, x := range []struct {
		state    string
		finished time.Time
	}{{CommandDone, old}, {CommandExpired, old}, {CommandSent, time.Time{}}, {CommandWaiting, time.Time{}}, {CommandDone, later}} {
		order := fmt.Sprintf("o%d", i)
		must(t, c.InsertOrder(t.Context(), Order{ID: order, Tenant: DefaultTenant, Type: "ping", State: OrderGiven, Created: old, Expires: old, Machines: 1},
			[]Command{{ID: fmt.Sprintf("c%d", i), Tenant: DefaultTenant, AgentID: "a1", Type: "ping", Issued: old, Expires: old, Signature: []byte{}, State: x.state,
				Finished: x.finished, OrderID: order}}))
	}
	if n, err := c.CountWaitingCommands(t.Context(), "a1", old.Add(-time.Minute)); err != nil || n != 1 {
		t.Errorf("%d wait, want the one for which nobody has decided (%v)", n, err)
	}
	if a, err := c.CountBefore(t.Context(), KeepCommands, start.Add(-30*24*time.Hour)); err != nil || a.Count != 2 {
		t.Errorf("%+v would go, want 2 commands (%v)", a, err)
	}
	removed, err := c.RemoveBefore(t.Context(), KeepCommands, start.Add(-30*24*time.Hour))
	must(t, err)
	left, _, err := c.ListCommands(t.Context(), DefaultTenant, "a1", Page{})
	if must(t, err); removed != 2 || len(left) != 3 {
		t.Errorf("%d removed and %d left, want 2 and 3", removed, len(left))
	}
}
