package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// bySource is the simplest of rules.
type bySource struct{}

func (bySource) Reach() time.Duration { return time.Hour }

func (bySource) Marks(a IncidentAlert) []IncidentMark {
	return []IncidentMark{{Key: a.Src, Role: MarkBy, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen}}
}

func (bySource) Joins(_, near []IncidentMark) (ids []string) {
	for _, n := range near {
		ids = append(ids, n.IncidentID)
	}
	return ids
}

func (bySource) Describe(alerts []IncidentAlert) Incident {
	return Incident{Title: alerts[0].Src, Severity: alerts[0].Severity, Risk: len(alerts)}
}

func putAlertOf(t *testing.T, c *Control, id, src string, at time.Time) {
	t.Helper()
	_, err := c.RecordFinding(t.Context(), Finding{Tenant: DefaultTenant, Finding: sdk.Finding{ID: id + at.String()}}, id, func(open *Alert) (Alert, []Notice) {
		if open != nil {
			again := *open
			again.Count++
			return again, nil
		}
		return Alert{ID: id, Severity: sdk.SeverityLow, Src: src, Techniques: []string{}, FirstSeen: at, LastSeen: at, Count: 1}, nil
	})
	must(t, err)
}

func group(t *testing.T, c *Control, limit int) (changed []Incident, looked int) {
	t.Helper()
	changed, looked, err := c.GroupAlerts(t.Context(), limit, bySource{})
	must(t, err)
	return changed, looked
}

func TestAlertsThatChangedAreLookedAtOnce(t *testing.T) {
	c, _ := openControl(t)
	at := time.Unix(1_700_000_000, 0)
	if _, looked := group(t, c, 10); looked != 0 {
		t.Errorf("%d looked at in an empty store", looked)
	}
	putAlertOf(t, c, "a1", "a", at)
	putAlertOf(t, c, "a2", "a", at.Add(time.Minute))
	putAlertOf(t, c, "b1", "b", at)
	putAlertOf(t, c, "a1", "a", at.Add(time.Hour)) // again, while it waits
	if _, looked := group(t, c, 2); looked != 2 {
		t.Errorf("%d looked at, want 2", looked)
	}
	if changed, looked := group(t, c, 2); looked != 1 || len(changed) != 1 || changed[0].Title != "b" {
		t.Errorf("%d looked at, changed %+v", looked, changed)
	}
	if _, looked := group(t, c, 2); looked != 0 {
		t.Errorf("%d looked at again", looked)
	}
	putAlertOf(t, c, "a1", "a", at.Add(2*time.Hour))
	if changed, looked := group(t, c, 2); looked != 1 || len(changed) != 1 || changed[0].Alerts != 2 {
		t.Errorf("%d looked at, changed %+v", looked, changed)
	}
	list, next, err := c.ListIncidents(t.Context(), DefaultTenant, IncidentFilter{}, Page{Limit: 1})
	must(t, err)
	if len(list) != 1 || next == "" {
		t.Fatalf("%+v, next %q", list, next)
	}
	if _, err := c.IncidentByID(t.Context(), "another", list[0].ID); err == nil {
		t.Error("another tenant sees it")
	}
	if others, _, err := c.ListIncidents(t.Context(), "another", IncidentFilter{}, Page{}); err != nil || len(others) != 0 {
		t.Errorf("another tenant sees %+v: %v", others, err)
	}
}

// A page is read along an index, whatever the order: nothing is sorted to show the first of many.
func TestIncidentsAreNotSorted(t *testing.T) {
	c, _ := openControl(t)
	for _, by := range []string{"id", "last_seen", "risk"} {
		q := listIncidents(by)
		plan, err := collect(t.Context(), c.reader, func(r row) (step string, err error) {
			var ignored int
			err = r.Scan(&ignored, &ignored, &ignored, &step)
			return step, err
		}, "EXPLAIN QUERY PLAN "+q, slices.Repeat([]any{""}, strings.Count(q, "?"))...)
		must(t, err)
		if text := strings.Join(plan, "; "); len(plan) == 0 || strings.Contains(text, "TEMP B-TREE FOR ORDER BY") {
			t.Errorf("by %s: %s", by, text)
		}
	}
}

// One page after the other has all incidents, in the order asked for.
func TestIncidentsInOrder(t *testing.T) {
	c, _ := openControl(t)
	at := time.Unix(1_700_000_000, 0)
	for i, src := range []string{"c", "a", "b", "a", "b", "b"} { // as many alerts as risk
		putAlertOf(t, c, fmt.Sprint("alert", i), src, at.Add(time.Duration(6-i)*time.Minute))
		group(t, c, 1)
	}
	for by, want := range map[IncidentSort]string{"": "b a c", IncidentsRisk: "b a c", IncidentsLatest: "c a b"} {
		var got []string
		for p := (Page{Limit: 1}); ; {
			list, next, err := c.ListIncidents(t.Context(), DefaultTenant, IncidentFilter{Sort: by}, p)
			must(t, err)
			got = append(got, list[0].Title)
			if p.Cursor = next; next == "" {
				break
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("by %q: %s, want %s", by, s, want)
		}
	}
	late, _, err := c.ListIncidents(t.Context(), DefaultTenant, IncidentFilter{From: at.Add(6 * time.Minute)}, Page{})
	must(t, err)
	if len(late) != 1 || late[0].Title != "c" {
		t.Errorf("seen then or later: %+v", late)
	}
	for _, bad := range []struct {
		by     IncidentSort
		cursor string
	}{{"title", ""}, {"", "no cursor"}} {
		var wrong *QueryError
		if _, _, err := c.ListIncidents(t.Context(), DefaultTenant, IncidentFilter{Sort: bad.by}, Page{Cursor: bad.cursor}); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Notes and their number go with the incident; an owner goes with nobody closing it.
func TestAnIncidentIsLookedAfter(t *testing.T) {
	c, _ := openControl(t)
	at := time.Unix(1_700_000_000, 0)
	putAlertOf(t, c, "a1", "a", at)
	changed, _ := group(t, c, 1)
	id := changed[0].ID
	for owner, state := range map[string]string{"user:ada": IncidentAcknowledged, "": IncidentOpen} {
		if i, err := c.AssignIncident(t.Context(), DefaultTenant, id, owner); err != nil || i.Owner != owner || i.State != state {
			t.Errorf("to %q: %+v, %v", owner, i, err)
		}
	}
	if _, err := c.AssignIncident(t.Context(), "another", id, "user:eve"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another tenant: %v", err)
	}
	_, err := c.SetIncidentState(t.Context(), DefaultTenant, id, IncidentClosed, "user:ada")
	must(t, err)
	if _, err := c.AssignIncident(t.Context(), DefaultTenant, id, "user:ada"); !errors.Is(err, ErrState) {
		t.Errorf("a closed one: %v", err)
	}
	for i := range maxNotes {
		_, err := c.AddIncidentNote(t.Context(), IncidentNote{Tenant: DefaultTenant, IncidentID: id, Text: fmt.Sprint("note ", i), By: "user:ada"})
		must(t, err)
	}
	var full *QueryError
	if _, err := c.AddIncidentNote(t.Context(), IncidentNote{Tenant: DefaultTenant, IncidentID: id, Text: "one more"}); !errors.As(err, &full) {
		t.Errorf("a note too many: %v", err)
	}
	notes, err := c.IncidentNotes(t.Context(), DefaultTenant, id)
	must(t, err)
	if others, err := c.IncidentNotes(t.Context(), "another", id); err != nil || len(others) > 0 || len(notes) != maxNotes || notes[0].Text != fmt.Sprint("note ", maxNotes-1) {
		t.Errorf("%d notes, %d of another tenant: %v", len(notes), len(others), err)
	}
}

// Alerts of before there were incidents wait to be looked at.
func TestAlertsOfBefore(t *testing.T) {
	p := testPlace(t)
	must(t, os.MkdirAll(filepath.Dir(p.path), 0o700))
	db, err := sql.Open("sqlite3", dsn(p.path))
	must(t, err)
	steps, err := migrations()
	must(t, err)
	before := slices.IndexFunc(steps, func(s string) bool { return strings.Contains(s, "CREATE TABLE incidents") })
	must(t, migrate(t.Context(), db, steps[:before]))
	_, err = db.ExecContext(t.Context(), `INSERT INTO alerts (id, tenant, fingerprint, state, severity, risk, confidence, title, detector, rule, techniques, src, dst,
		first_seen, last_seen, count, capture_id, acknowledged_by, created, updated) VALUES ('old', 'default', 'f', 'firing', 'low', 1, 1, '', '', '', '[]', 'a', '', 1, 1, 1, '', '', 1, 1)`)
	must(t, err)
	must(t, db.Close())
	c := openAt(t, p, nil)
	if changed, looked := group(t, c, 9); looked != 1 || len(changed) != 1 || changed[0].Title != "a" {
		t.Errorf("%d looked at, changed %+v", looked, changed)
	}
}

func TestSuppressedFindingsAreBounded(t *testing.T) {
	c, clock := openControl(t)
	s, err := c.AddSuppression(t.Context(), Suppression{Tenant: DefaultTenant, Rule: "r", Reason: "because", Expires: clock.Now().Add(time.Hour)})
	must(t, err)
	other, err := c.AddSuppression(t.Context(), Suppression{Tenant: DefaultTenant, Rule: "r", Reason: "because", Expires: clock.Now().Add(time.Hour)})
	must(t, err)
	_, err = c.exec(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO suppressed SELECT ?, 'old' || i, ?, '', '', '{}', i FROM n`, maxSuppressed, DefaultTenant, s.ID)
	must(t, err)
	for i := range 3 {
		must(t, c.SuppressFinding(t.Context(), Finding{Tenant: DefaultTenant, Finding: sdk.Finding{ID: fmt.Sprint("new", i)}}, s.ID))
	}
	must(t, c.SuppressFinding(t.Context(), Finding{Tenant: DefaultTenant, Finding: sdk.Finding{ID: "new1"}}, other.ID)) // known
	list, err := c.SuppressedFindings(t.Context(), DefaultTenant, s.ID, 2*maxSuppressed)
	must(t, err)
	if len(list) != maxSuppressed || list[0].ID != "new2" {
		t.Errorf("%d kept, the newest is %q", len(list), list[0].ID)
	}
	all, err := c.ListSuppressions(t.Context(), DefaultTenant)
	must(t, err)
	if all[1].Hits != 3 || all[0].Hits != 0 {
		t.Errorf("%+v", all)
	}
	putAlertOf(t, c, "a", "a", time.Unix(1, 0)) // its finding is part of an alert
	must(t, c.SuppressFinding(t.Context(), Finding{Tenant: DefaultTenant, Finding: sdk.Finding{ID: "a" + time.Unix(1, 0).String()}}, other.ID))
	if all, err = c.ListSuppressions(t.Context(), DefaultTenant); err != nil || all[0].Hits != 0 {
		t.Errorf("what is an alert was counted as kept back: %+v, %v", all, err)
	}
}
