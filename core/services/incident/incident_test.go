package incident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func openStore(t *testing.T) *store.Control {
	t.Helper()
	dir := t.TempDir()
	c, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "keys", "k")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

type world struct {
	*Service
	control *store.Control
	changed []store.Incident
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{control: openStore(t)}
	w.Service = New(Config{Store: w.control, Log: slog.New(slog.DiscardHandler),
		Changed: func(i store.Incident) { w.changed = append(w.changed, i) }})
	return w
}

// record stores an alert as findings make it: one of the same rule and hosts is the same.
func record(ctx context.Context, c *store.Control, a store.IncidentAlert) (string, error) {
	f := store.Finding{Tenant: a.Tenant, Finding: sdk.Finding{ID: fmt.Sprintf("%s %s %s %s %d %s", a.Tenant, a.Rule, a.Src, a.Dst, a.FirstSeen.UnixNano(), a.Severity)}}
	rec, err := c.RecordFinding(ctx, f, strings.Join([]string{a.Rule, a.Src, a.Dst}, " "), func(open *store.Alert) (store.Alert, []store.Notice) {
		if open == nil {
			a.ID = ""
			return a.Alert, nil
		}
		now := *open
		now.Count++
		now.Risk = max(now.Risk, a.Risk)
		if a.FirstSeen.Before(now.FirstSeen) {
			now.FirstSeen = a.FirstSeen
		}
		if a.LastSeen.After(now.LastSeen) {
			now.LastSeen = a.LastSeen
		}
		return now, nil
	})
	return rec.Alert.ID, err
}

// settle records alerts one after the other, each looked at before the next.
func (w *world) settle(t *testing.T, alerts ...store.IncidentAlert) (ids []string) {
	t.Helper()
	for _, a := range alerts {
		id, err := record(t.Context(), w.control, a)
		if err == nil {
			err = w.Settle(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func (w *world) list(t *testing.T) []store.Incident {
	t.Helper()
	list, _, err := w.control.ListIncidents(t.Context(), store.DefaultTenant, store.IncidentFilter{}, store.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (w *world) one(t *testing.T) store.Incident {
	t.Helper()
	list := w.list(t)
	if len(list) != 1 {
		t.Fatalf("%d incidents, want one: %+v", len(list), list)
	}
	return list[0]
}

func TestWhatBelongsTogether(t *testing.T) {
	const hour = 60
	for _, c := range []struct {
		name   string
		alerts []store.IncidentAlert
		want   int
	}{
		{"a scan of many hosts", slices.Collect(func(yield func(store.IncidentAlert) bool) {
			for i := range 50 {
				if !yield(said(i, "scan", "10.0.0.66", fmt.Sprintf("10.0.0.%d", i+100), 50, 0.6, "T1046")) {
					return
				}
			}
		}), 1},
		{"a scanner and a beacon elsewhere", []store.IncidentAlert{said(0, "scan", "10.0.0.66", "10.0.0.20", 50, 1, "T1046"), said(1, "beacon", "10.0.0.7", "203.0.113.9:443", 70, 1, "T1071")}, 2},
		{"a beacon of a host that was merely scanned", []store.IncidentAlert{said(0, "scan", "10.0.0.66", "10.0.0.20", 50, 1, "T1046"), said(1, "beacon", "10.0.0.20", "203.0.113.9", 70, 1, "T1071")}, 2},
		{"a beacon of a host whose password was guessed", []store.IncidentAlert{said(0, "guess", "10.0.0.66", "10.0.0.20:22", 50, 1, "T1110"), said(1, "beacon", "10.0.0.20", "203.0.113.9", 70, 1, "T1071")}, 1},
		{"a beacon that ended before the attack", []store.IncidentAlert{said(60, "guess", "10.0.0.66", "10.0.0.20:22", 50, 1, "T1110"), said(1, "beacon", "10.0.0.20", "203.0.113.9", 70, 1, "T1071")}, 2},
		{"three hosts in a row", []store.IncidentAlert{said(0, "guess", "a", "b", 50, 1, "T1110"), said(20, "exec", "b", "c", 70, 1, "T1569"), said(40, "beacon", "c", "x", 70, 1, "T1071")}, 1},
		{"two hosts that call the same place", []store.IncidentAlert{said(0, "beacon", "a", "x", 50, 1, "T1071"), said(0, "beacon", "b", "x", 50, 1, "T1071")}, 2},
		{"two that attack the same host", []store.IncidentAlert{said(0, "guess", "a", "x", 50, 1, "T1110"), said(0, "guess", "b", "x", 50, 1, "T1110")}, 2},
		{"the same host within a day", []store.IncidentAlert{said(0, "scan", "a", "x", 50, 1), said(24*hour, "guess", "a", "y", 50, 1)}, 1},
		{"the same host a day later", []store.IncidentAlert{said(0, "scan", "a", "x", 50, 1), said(24*hour+2, "guess", "a", "y", 50, 1)}, 2},
		{"many against one", []store.IncidentAlert{said(0, "dos", "", "10.0.0.5", 50, 1, "T1498"), said(0, "ddos", "", "10.0.0.5:80", 50, 1, "T1498"), said(0, "dos", "", "y", 50, 1, "T1498")}, 2},
		{"nobody named", []store.IncidentAlert{said(0, "storm", "0.0.0.0", "255.255.255.255", 50, 1), said(9, "storm", "", "224.0.0.1", 50, 1), said(9, "other", "", "", 50, 1)}, 2},
		{"another spelling of the address", []store.IncidentAlert{said(0, "scan", "::ffff:10.0.0.1", "x", 50, 1), said(0, "guess", "10.0.0.1:4444", "x", 50, 1)}, 1},
		{"a gateway that everybody attacks", slices.Collect(func(yield func(store.IncidentAlert) bool) {
			if !yield(said(0, "tunnel", "gateway", "x", 50, 1, "T1572")) {
				return
			}
			for i := range maxAttackers + 1 {
				if !yield(said(-100, "guess", fmt.Sprint("host", i), "gateway", 50, 1, "T1110")) {
					return
				}
			}
		}), maxAttackers + 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for _, a := range c.alerts {
				if _, err := record(t.Context(), w.control, a); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if list := w.list(t); len(list) != c.want {
				t.Errorf("%d incidents, want %d: %+v", len(list), c.want, list)
			}
		})
	}
}

func TestInformationBeginsNoIncident(t *testing.T) {
	w := newWorld(t)
	a, remark := said(0, "note", "a", "b", 5, 1), said(0, "note", "", "b", 5, 1)
	a.Severity, remark.Severity = sdk.SeverityInfo, sdk.SeverityLow
	w.settle(t, a, remark)
	if list := w.list(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestTwoIncidentsThatTurnOutToBeOne(t *testing.T) {
	w := newWorld(t)
	w.settle(t, said(30, "guess", "a", "b", 50, 1, "T1110"), said(50, "beacon", "c", "x", 70, 1, "T1071"))
	two := w.list(t)
	if len(two) != 2 {
		t.Fatalf("%d incidents", len(two))
	}
	young, old := two[0], two[1]
	for id, state := range map[string]string{old.ID: store.IncidentClosed, young.ID: store.IncidentAcknowledged} {
		if _, err := w.Move(t.Context(), store.DefaultTenant, id, state, "user:ada"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Judge(t.Context(), store.Feedback{Tenant: store.DefaultTenant, IncidentID: young.ID, Verdict: store.VerdictTrue, By: "user:ada"}); err != nil {
		t.Fatal(err)
	}
	w.changed = nil
	w.settle(t, said(40, "exec", "b", "c", 60, 1, "T1569")) // late: what joins them
	is := w.one(t)
	if is.ID != old.ID || is.Alerts != 3 || is.State != store.IncidentAcknowledged {
		t.Errorf("%+v", is)
	}
	if got, err := w.control.IncidentByID(t.Context(), store.DefaultTenant, young.ID); err != nil || got.ID != old.ID {
		t.Errorf("the younger leads to %q: %v", got.ID, err)
	}
	if list, err := w.control.ListFeedback(t.Context(), store.DefaultTenant, old.ID, ""); err != nil || len(list) != 1 {
		t.Errorf("feedback %+v: %v", list, err)
	}
	if !slices.ContainsFunc(w.changed, func(i store.Incident) bool { return i.ID == young.ID && i.MergedInto == old.ID }) {
		t.Error("nobody was told that the younger went into the older")
	}
	if is.Title != "b ran a program, against c; then c called home, against x; 1 host more" {
		t.Errorf("title %q", is.Title)
	}
	if _, err := w.Move(t.Context(), store.DefaultTenant, young.ID, store.IncidentClosed, "user:ada"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the younger could be moved: %v", err)
	}
}

func TestAClosedIncidentOpensWhenItGoesOn(t *testing.T) {
	w := newWorld(t)
	w.settle(t, said(0, "scan", "a", "x", 50, 1, "T1046"))
	id := w.one(t).ID
	if _, err := w.Move(t.Context(), store.DefaultTenant, id, store.IncidentClosed, "user:ada"); err != nil {
		t.Fatal(err)
	}
	w.settle(t, said(3, "scan", "a", "x", 50, 1, "T1046")) // the same alert once more
	if s := w.one(t).State; s != store.IncidentClosed {
		t.Errorf("an alert that it had made it %s", s)
	}
	w.settle(t, said(5, "guess", "a", "x", 50, 1, "T1110"))
	if s := w.one(t).State; s != store.IncidentOpen {
		t.Errorf("a new alert left it %s", s)
	}
}

func TestFeedbackChangesWhatComesLater(t *testing.T) {
	w := newWorld(t)
	first := w.settle(t, said(0, "scan", "a", "x", 60, 0.5, "T1046"))
	judgement, err := w.Judge(t.Context(), store.Feedback{Tenant: store.DefaultTenant, AlertID: first[0], Verdict: store.VerdictFalse, By: "user:ada", Note: "our scanner"})
	if err != nil {
		t.Fatal(err)
	}
	if is := w.one(t); is.Risk != 0 || judgement.IncidentID != is.ID {
		t.Errorf("risk %d of incident %s after a false alarm; judged %+v", is.Risk, is.ID, judgement)
	}
	w.settle(t, said(9000, "scan", "a", "y", 60, 0.5, "T1046"), said(9000, "scan", "b", "y", 60, 0.5, "T1046")) // days later
	risk := func(host string) int {
		list, _, err := w.control.ListIncidents(t.Context(), store.DefaultTenant, store.IncidentFilter{Host: host}, store.Page{})
		if err != nil || len(list) == 0 {
			t.Fatalf("incidents of %s: %v", host, err)
		}
		return list[0].Risk
	}
	if risk("a") != 40 || risk("b") != 60 { // 60 × 2 / 3
		t.Errorf("the risk of the judged host is %d, of another %d", risk("a"), risk("b"))
	}
	if _, err := w.TakeBack(t.Context(), store.DefaultTenant, judgement.ID); err != nil {
		t.Fatal(err)
	}
	if list := w.list(t); list[len(list)-1].Risk != 60 {
		t.Errorf("risk %d after the judgement was taken back", list[len(list)-1].Risk)
	}
	w.settle(t, said(9001, "scan", "a", "z", 60, 0.5, "T1046"))
	if risk("a") != 60 {
		t.Errorf("later risk %d after the judgement was taken back", risk("a"))
	}
	if _, err := w.TakeBack(t.Context(), store.DefaultTenant, judgement.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("taken back twice: %v", err)
	}
	if _, err := w.Judge(t.Context(), store.Feedback{Tenant: store.DefaultTenant, AlertID: "none", Verdict: store.VerdictTrue}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an alert that is not there: %v", err)
	}
}

func TestADeviceIsOneHost(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.control.RecordSightings(t.Context(), store.SightingBatch{Tenant: store.DefaultTenant, Agent: "x", Sightings: []store.Sighting{{Plugin: "p"}}},
		func(store.Sighting, []store.Device) (store.Device, []string) {
			return store.Device{Tenant: store.DefaultTenant, IPs: []string{"10.0.0.1", "2001:db8::1"}}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	w.settle(t, said(0, "scan", "10.0.0.1", "x", 50, 1, "T1046"), said(0, "guess", "2001:db8::1", "y", 50, 1, "T1110"))
	if is := w.one(t); is.Entities[0].Device == "" {
		t.Errorf("entities %+v", is.Entities)
	}
}

// together says of alerts, as their rules and hosts name them, which lie in one incident.
func together(t *rapid.T, ctx context.Context, c *store.Control, tenant string) []string {
	var groups []string
	list, _, err := c.ListIncidents(ctx, tenant, store.IncidentFilter{}, store.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		alerts, err := c.IncidentAlerts(ctx, tenant, i.ID, 500)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range alerts {
			names = append(names, a.Fingerprint)
		}
		slices.Sort(names)
		// What a page shows must not depend on the order either.
		groups = append(groups, fmt.Sprintf("%s: %s, risk %d, confidence %.6f, %d hosts", strings.Join(names, " + "), i.Title, i.Risk, i.Confidence, i.EntityCount))
	}
	slices.Sort(groups)
	return groups
}

// Whatever the alerts, and whether they are looked at one by one or together: the order in which they arrive does not
// matter.
func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	w := newWorld(t)
	hosts := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", ""}
	ctx, round := t.Context(), 0
	rapid.Check(t, func(t *rapid.T) {
		// Each alert once: of one that is told twice, the last word counts, and that is a matter of order.
		alerts := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) store.IncidentAlert {
			what := rapid.SampledFrom([]string{"scan T1046", "guess T1110", "exec T1569.002", "beacon T1071"}).Draw(t, "what")
			rule, id, _ := strings.Cut(what, " ")
			return said(rapid.IntRange(0, 5*24*60).Draw(t, "minute"), rule, rapid.SampledFrom(hosts).Draw(t, "src"),
				rapid.SampledFrom(hosts).Draw(t, "dst"), rapid.IntRange(1, 100).Draw(t, "risk"), 0.5, id)
		}), 1, 12, func(a store.IncidentAlert) string { return a.ID }).Draw(t, "alerts")
		other := rapid.Permutation(alerts).Draw(t, "other order")
		run := func(alerts []store.IncidentAlert, batch int) []string {
			round++
			tenant := fmt.Sprint("tenant", round)
			for i, a := range alerts {
				a.Tenant = tenant
				if _, err := record(ctx, w.control, a); err != nil {
					t.Fatal(err)
				}
				if i%batch == 0 || i == len(alerts)-1 {
					if err := w.Settle(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			return together(t, ctx, w.control, tenant)
		}
		one, two := run(alerts, 1), run(other, rapid.IntRange(1, 12).Draw(t, "batch"))
		if !slices.Equal(one, two) {
			t.Fatalf("in one order\n%s\nin another\n%s", strings.Join(one, "\n"), strings.Join(two, "\n"))
		}
	})
}

func TestRunTakesUpWhatWasLeft(t *testing.T) {
	w := newWorld(t)
	if _, err := record(t.Context(), w.control, said(0, "scan", "a", "b", 50, 1, "T1046")); err != nil {
		t.Fatal(err)
	}
	told := make(chan store.Incident, 9)
	s := New(Config{Store: w.control, Log: slog.New(slog.DiscardHandler), Changed: func(i store.Incident) { told <- i }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	<-told // nobody woke it
	if _, err := record(t.Context(), w.control, said(0, "guess", "a", "b", 50, 1, "T1110")); err != nil {
		t.Fatal(err)
	}
	s.Wake()
	if i := <-told; i.Alerts != 2 {
		t.Errorf("%+v", i)
	}
	stop()
	<-done
}
