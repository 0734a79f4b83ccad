package store

import (
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// A delivery is followed as long as its alert is open, and until the other side is done with it.
func TestOpenNotices(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	r, err := c.RecordFinding(ctx, finding("f1", "10.0.0.1"), "fp", func(*Alert) (Alert, []Notice) {
		fires := sdk.Notice{Event: "alert.firing"}
		return Alert{Severity: sdk.SeverityHigh, Title: "Port scan", Count: 1}, []Notice{
			{Notifier: "ticket", Payload: fires}, {Notifier: "block", Payload: fires}, {Notifier: "other", Payload: sdk.Notice{Event: "alert.resolved"}}}
	})
	must(t, err)
	open := func(want ...string) {
		t.Helper()
		list, err := c.OpenNotices(ctx, now.Now(), 10)
		must(t, err)
		var got []string
		for _, n := range list {
			got = append(got, n.Notifier)
		}
		if len(got) != len(want) {
			t.Fatalf("open: %q, want %q", got, want)
		}
	}
	open() // nothing is delivered yet
	ids := map[string]string{}
	for _, n := range r.Notices {
		ids[n.Notifier] = n.ID
		must(t, c.NoticeDelivered(ctx, n.ID, sdk.Receipt{ForeignID: "T-" + n.Notifier, Undoable: n.Notifier == "block"}))
	}
	open("ticket", "block")
	must(t, c.NoticeChecked(ctx, ids["ticket"], "open", "in progress", now.Now().Add(time.Minute)))
	must(t, c.NoticeChecked(ctx, ids["block"], "none", "", now.Now()))
	open()
	now.Add(2 * time.Minute)
	open("ticket")
	must(t, c.NoticeChecked(ctx, ids["ticket"], "", "no route to host", now.Now()))
	n, err := c.NoticeByID(ctx, "default", ids["ticket"])
	must(t, err)
	if n.Outcome != "open" || n.OutcomeText != "no route to host" || n.Checks != 2 {
		t.Errorf("%+v", n)
	}
	must(t, c.NoticeUndone(ctx, ids["block"]))
	wantErr(t, c.NoticeUndone(ctx, ids["block"]), ErrState)
	_, err = c.SetAlertState(ctx, "default", r.Alert.ID, AlertResolved, "user:ada", nil)
	must(t, err)
	open()
}

// Whoever hears that an alert is over has heard of it before, also when that had to be tried again.
func TestNoticesOfAnAlertStayInOrder(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	r, err := c.RecordFinding(ctx, finding("f1", "10.0.0.1"), "fp", func(*Alert) (Alert, []Notice) {
		return Alert{Severity: sdk.SeverityHigh, Count: 1}, []Notice{{ID: "1", Notifier: "ticket"}, {ID: "2", Notifier: "mail"}}
	})
	must(t, err)
	_, err = c.SetAlertState(ctx, "default", r.Alert.ID, AlertResolved, "user:ada", []Notice{{ID: "3", Notifier: "ticket"}, {ID: "4", Notifier: "mail"}})
	must(t, err)
	must(t, c.EnqueueNotices(ctx, Notice{ID: "5", Tenant: "default", AlertID: "another", Notifier: "ticket"}))
	lease := func(want ...string) {
		t.Helper()
		list, err := c.LeaseNotices(ctx, now.Now(), time.Minute, "", 10)
		must(t, err)
		var got []string
		for _, n := range list {
			got = append(got, n.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("handed out %q, want %q", got, want)
		}
	}
	lease("1", "2", "5")
	must(t, c.NoticeRetry(ctx, "1", now.Now().Add(time.Hour), "no route to host"))
	must(t, c.NoticeDelivered(ctx, "2", sdk.Receipt{}))
	lease("4")
	must(t, c.NoticeDelivered(ctx, "4", sdk.Receipt{}))
	must(t, c.NoticeDelivered(ctx, "5", sdk.Receipt{}))
	if due, err := c.DueNotifiers(ctx, now.Now()); err != nil || len(due) != 0 {
		t.Errorf("due: %v, %v", due, err)
	}
	now.Add(time.Hour)
	lease("1")
	must(t, c.NoticeDead(ctx, "1", "given up"))
	lease("3")
}

func TestLimitsOfAnAssignmentAreKept(t *testing.T) {
	c, now := openControl(t)
	want := registry.Limits{Memory: "64Mi", CPU: 0.5, Deadline: "5s", RecordsPerSecond: 100}
	a := Assignment{Instance: "a/b", Tenant: "default", Plugin: "a/b", NodeType: NodeServer, Limits: want, Enabled: true, Created: now.Now(), Updated: now.Now()}
	must(t, c.PutAssignment(t.Context(), a))
	a.Limits.CPU, want.CPU = 2, 2
	must(t, c.PutAssignment(t.Context(), a))
	got, err := c.AssignmentByInstance(t.Context(), "default", "a/b")
	must(t, err)
	if got.Limits != want {
		t.Errorf("%+v", got.Limits)
	}
}
