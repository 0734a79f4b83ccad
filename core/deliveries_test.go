package core

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/alert"
	"github.com/picketwatch/picket/core/services/notify"
	"github.com/picketwatch/picket/sdk"
)

// elsewhere is a notifier with what it acts on, which live longer than the server. It does each notice once, as the
// contract asks.
type elsewhere struct {
	name string

	mu    sync.Mutex // guards the rest
	fails []error    // of the next calls of Notify
	did   map[string]sdk.Receipt
	calls []string // "firing n", "ask R-1", "undo R-1", in order
	state map[string]sdk.DeliveryState
}

func newElsewhere(name string) *elsewhere {
	return &elsewhere{name: name, did: map[string]sdk.Receipt{}, state: map[string]sdk.DeliveryState{}}
}

func (e *elsewhere) Instance() string { return e.name }

func (e *elsewhere) Notify(_ context.Context, n sdk.Notice) (sdk.Receipt, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, strings.TrimPrefix(n.Event, "alert."))
	if r, ok := e.did[n.ID]; ok {
		return r, nil
	}
	if len(e.fails) > 0 {
		err := e.fails[0]
		e.fails = e.fails[1:]
		return sdk.Receipt{}, err
	}
	if n.Event != "alert.firing" {
		return sdk.Receipt{}, nil
	}
	r := sdk.Receipt{ForeignID: fmt.Sprintf("R-%d", len(e.did)+1), Undoable: e.name == "block"}
	e.did[n.ID], e.state[r.ForeignID] = r, sdk.DeliveryOpen
	return r, nil
}

func (e *elsewhere) Outcome(_ context.Context, r sdk.Receipt) (sdk.DeliveryStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, "ask "+r.ForeignID)
	return sdk.DeliveryStatus{State: e.state[r.ForeignID], Text: "as it is there"}, nil
}

func (e *elsewhere) Undo(_ context.Context, r sdk.Receipt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, "undo "+r.ForeignID)
	e.state[r.ForeignID] = sdk.DeliveryUndone
	return nil
}

func (e *elsewhere) set(id string, s sdk.DeliveryState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state[id] = s
}

func (e *elsewhere) count(call string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		if c == call {
			n++
		}
	}
	return n
}

// telling is a server with the real store, alerts and deliveries, and doubles in the place of its notifiers. It can be
// ended at any moment and begun again on the same folder.
type telling struct {
	*Core
	t     *testing.T
	dir   string
	bin   string
	to    []*elsewhere
	clock *time.Duration // how far it is ahead
	end   func()
}

func newTelling(t *testing.T, to ...*elsewhere) *telling {
	t.Helper()
	s := &telling{t: t, dir: filepath.Join(t.TempDir(), "data"), bin: programs(t, nil), to: to, clock: new(time.Duration)}
	s.open()
	t.Cleanup(func() { s.end() })
	return s
}

func (s *telling) open() {
	s.t.Helper()
	var ahead = *s.clock
	now := func() time.Time { return time.Now().Add(ahead) }
	c, err := New(s.t.Context(), Config{Settings: settings(s.dir), Programs: s.bin, Now: now})
	check(s.t, err)
	c.notify = notify.New(notify.Config{Queue: noticeQueue{c.control, c.told}, Now: now, Changed: func(notify.Delivery) {},
		Deliveries: deliveries{c}, Closed: c.closedThere, Notifier: func(instance string) (notify.Notifier, bool) {
			for _, e := range s.to {
				if e.name == instance {
					return e, true
				}
			}
			return nil, false
		}})
	c.alerts = alert.New(alert.Config{Store: alertStore{c}, Now: now, Queued: c.notify.Wake, Changed: func(string, alert.Alert) {},
		URL: func(id string) string { return "https://picket.example.org/alerts/" + id },
		Notifiers: func(string) (names []string) {
			for _, e := range s.to {
				names = append(names, e.name)
			}
			return names
		}})
	s.Core = c
	s.end = sync.OnceFunc(c.Close)
}

// work lets the server do what is due, and asks about what it has delivered.
func (s *telling) work(until func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.notify.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for deadline := time.Now().Add(60 * time.Second); !until(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("what was waited for did not happen")
		}
	}
}

// restart ends the server and begins it again later. What it was about to do was not written down: kill -9 does no less.
func (s *telling) restart(later time.Duration) {
	s.t.Helper()
	s.end()
	*s.clock += later
	s.open()
}

func (s *telling) fire(id string, severity sdk.Severity) {
	s.t.Helper()
	f := sdk.Finding{ID: id, Detector: "picket/beacon", Rule: "regular", Severity: severity, Src: "10.0.0.66", Dst: "198.51.100.77:443", Summary: "It calls home."}
	check(s.t, s.alerts.Record(s.t.Context(), alert.Source{Tenant: store.DefaultTenant}, []sdk.Finding{f}))
}

func (s *telling) only() store.Alert {
	s.t.Helper()
	list, _, err := s.control.ListAlerts(s.t.Context(), s.tenant, store.AlertFilter{}, store.Page{})
	check(s.t, err)
	if len(list) != 1 {
		s.t.Fatalf("%d alerts", len(list))
	}
	return list[0]
}

func (s *telling) told(notifier, event string) (out []store.Notice) {
	s.t.Helper()
	list, err := s.control.AlertNotices(s.t.Context(), s.tenant, s.only().ID)
	check(s.t, err)
	for _, n := range list {
		if n.Notifier == notifier && n.Payload.Event == "alert."+event {
			out = append(out, n)
		}
	}
	return out
}

func (s *telling) delivered(notifier, event string, n int) func() bool {
	return func() bool {
		done := 0
		for _, x := range s.told(notifier, event) {
			if x.State == store.NoticeDelivered {
				done++
			}
		}
		return done == n
	}
}

func (s *telling) outcome(notifier, want string) func() bool {
	return func() bool { return s.told(notifier, "firing")[0].Outcome == want }
}

func (s *telling) audited(action string) (list []store.AuditEntry) {
	s.t.Helper()
	list, _, err := s.control.ListAudit(s.t.Context(), s.tenant, store.AuditFilter{}, store.Page{})
	check(s.t, err)
	var out []store.AuditEntry
	for _, e := range list {
		if e.Action == action {
			out = append(out, e)
		}
	}
	return out
}

// A system that is away is tried again, also by the server's next life, and told once.
func TestANoticeIsTriedUntilItIsTold(t *testing.T) {
	ticket := newElsewhere("ticket")
	ticket.fails = []error{sdk.Errorf(sdk.Temporary, "no route to host"), sdk.Errorf(sdk.Temporary, "503")}
	s := newTelling(t, ticket)
	s.fire("f-1", sdk.SeverityHigh)
	for try := 1; try <= 2; try++ {
		s.work(func() bool {
			return s.told("ticket", "firing")[0].State == store.NoticeFailed && ticket.count("firing") == try
		})
		if n := s.told("ticket", "firing")[0]; n.Attempts != try || !n.Due.After(s.cfg.Now()) || n.LastError == "" {
			t.Errorf("after try %d: %+v", try, n)
		}
		s.restart(time.Hour)
	}
	s.work(s.delivered("ticket", "firing", 1))
	n := s.told("ticket", "firing")[0]
	if ticket.count("firing") != 3 || len(ticket.did) != 1 || n.Receipt == nil || n.Receipt.ForeignID != "R-1" || n.Payload.AlertID != s.only().ID {
		t.Errorf("%d calls, %d tickets, %+v", ticket.count("firing"), len(ticket.did), n)
	}
}

// The server dies while a notifier works, or after it worked and before that was written down.
func TestNothingIsToldTwiceOrLostOverAKill(t *testing.T) {
	for name, was := range map[string]bool{"before the ticket": false, "after the ticket": true} {
		t.Run(name, func(t *testing.T) {
			ticket := newElsewhere("ticket")
			s := newTelling(t, ticket)
			s.fire("f-1", sdk.SeverityHigh)
			leased, err := s.control.LeaseNotices(t.Context(), s.cfg.Now(), 2*time.Minute, "ticket", 1) // what was begun when it died
			check(t, err)
			if was {
				_, err := ticket.Notify(t.Context(), leased[0].Payload)
				check(t, err)
			}
			s.restart(time.Minute)
			s.fire("f-1", sdk.SeverityHigh) // the capture is analysed once more
			if due, err := s.control.DueNotifiers(t.Context(), s.cfg.Now()); err != nil || len(due) != 0 {
				t.Errorf("due while another life may still be at it: %v, %v", due, err)
			}
			s.restart(time.Hour)
			s.work(s.delivered("ticket", "firing", 1))
			if len(ticket.did) != 1 || len(s.told("ticket", "firing")) != 1 {
				t.Errorf("%d tickets, %d notices", len(ticket.did), len(s.told("ticket", "firing")))
			}
		})
	}
}

// A ticket that is closed there ends the alert here, whoever dies in between; everybody hears of that once.
func TestWhatIsClosedThereIsResolvedHereOnce(t *testing.T) {
	ticket, mail := newElsewhere("ticket"), newElsewhere("mail")
	s := newTelling(t, ticket, mail)
	s.fire("f-1", sdk.SeverityHigh)
	s.work(func() bool { return s.delivered("ticket", "firing", 1)() && s.delivered("mail", "firing", 1)() })
	s.restart(0)
	s.work(s.outcome("ticket", "open"))
	ticket.set("R-1", sdk.DeliveryClosed)
	s.restart(time.Hour)

	// It dies between the alert and the note that the ticket was asked about.
	n := s.told("ticket", "firing")[0]
	check(t, s.closedThere(t.Context(), followed(n), sdk.DeliveryStatus{State: sdk.DeliveryClosed}))
	check(t, s.closedThere(t.Context(), followed(n), sdk.DeliveryStatus{State: sdk.DeliveryClosed})) // a second look
	s.restart(time.Hour)
	asked := ticket.count("ask R-1")
	s.work(func() bool { return s.delivered("ticket", "resolved", 1)() && s.delivered("mail", "resolved", 1)() })
	if a := s.only(); a.State != store.AlertResolved {
		t.Errorf("the alert is %s", a.State)
	}
	if ticket.count("resolved") != 1 || mail.count("resolved") != 1 || ticket.count("ask R-1") != asked {
		t.Errorf("ticket %q, mail %q", ticket.calls, mail.calls)
	}
	entries := s.audited("alert.resolve")
	if len(entries) != 1 || entries[0].Actor != "plugin:ticket" || !strings.Contains(entries[0].Detail, "R-1") {
		t.Errorf("audit: %+v", entries)
	}
}

// By itself, without a test that calls what it should call.
func TestTheServerAsksWhatBecameOfIt(t *testing.T) {
	ticket := newElsewhere("ticket")
	s := newTelling(t, ticket)
	s.fire("f-1", sdk.SeverityHigh)
	s.work(s.delivered("ticket", "firing", 1))
	ticket.set("R-1", sdk.DeliveryClosed)
	s.restart(time.Hour)
	s.work(func() bool { return s.outcome("ticket", "closed")() && s.only().State == store.AlertResolved })
	if n := s.told("ticket", "firing")[0]; n.OutcomeText != "as it is there" || n.Checks == 0 {
		t.Errorf("%+v", n)
	}
}

// An alert that became worse after its ticket was closed has a new ticket, which the old one's end must not close.
func TestATicketThatWasFollowedByAnother(t *testing.T) {
	ticket := newElsewhere("ticket")
	s := newTelling(t, ticket)
	s.fire("f-1", sdk.SeverityLow)
	s.work(s.delivered("ticket", "firing", 1))
	ticket.set("R-1", sdk.DeliveryClosed)
	s.fire("f-2", sdk.SeverityCritical)
	s.restart(time.Hour)
	s.work(func() bool { return s.delivered("ticket", "firing", 2)() && s.outcome("ticket", "closed")() })
	if a := s.only(); a.State != store.AlertFiring {
		t.Errorf("the alert is %s", a.State)
	}
	ticket.set("R-2", sdk.DeliveryClosed)
	s.restart(2 * time.Hour)
	s.work(func() bool { return s.only().State == store.AlertResolved })
}

func TestAResolutionThatFailsIsAudited(t *testing.T) {
	s := newTelling(t, newElsewhere("ticket"))
	err := s.closedThere(t.Context(), notify.Followed{ID: "1", AlertID: "nobody", Notifier: "ticket"}, sdk.DeliveryStatus{})
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if list := s.audited("alert.resolve"); len(list) != 1 || list[0].Outcome != audit.Failed {
		t.Errorf("audit: %+v", list)
	}
}

// What can be taken back is taken back, once, also when the server died in the middle of it.
func TestUndoTakesBackWhatCanBe(t *testing.T) {
	ticket, block := newElsewhere("ticket"), newElsewhere("block")
	s := newTelling(t, ticket, block)
	s.fire("f-1", sdk.SeverityHigh)
	s.work(func() bool { return s.delivered("ticket", "firing", 1)() && s.delivered("block", "firing", 1)() })
	id, blocked := s.only().ID, s.told("block", "firing")[0]

	if _, err := (alertMoves{s.Core}).Undo(t.Context(), store.DefaultTenant, "nobody", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an alert that is not there: %v", err)
	}
	if _, err := (alertMoves{s.Core}).Undo(t.Context(), store.DefaultTenant, id, s.told("ticket", "firing")[0].ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a ticket cannot be taken back: %v", err)
	}
	check(t, block.Undo(t.Context(), *blocked.Receipt)) // and then it dies
	s.restart(0)
	undone, err := (alertMoves{s.Core}).Undo(t.Context(), store.DefaultTenant, id, "")
	check(t, err)
	if len(undone) != 1 || undone[0] != blocked.ID || block.count("undo R-1") != 2 || s.told("block", "firing")[0].Outcome != string(sdk.DeliveryUndone) {
		t.Errorf("undone %v, %q", undone, block.calls)
	}
	if _, err := (alertMoves{s.Core}).Undo(t.Context(), store.DefaultTenant, id, ""); !errors.Is(err, store.ErrNotFound) || block.count("undo R-1") != 2 {
		t.Errorf("once more: %v, %q", err, block.calls)
	}
	if err := (deliveries{s.Core}).Undone(t.Context(), blocked.ID); err != nil {
		t.Errorf("noted by somebody else meanwhile: %v", err)
	}
	if ticket.count("undo R-1") != 0 || s.only().State != store.AlertFiring {
		t.Errorf("the rest is changed: %q, alert %s", ticket.calls, s.only().State)
	}

	// One that was taken back at the other end is known to be, and is not taken back again.
	block.set("R-1", sdk.DeliveryUndone)
	s.fire("f-2", sdk.SeverityCritical)
	s.work(s.delivered("block", "firing", 2))
	block.set("R-2", sdk.DeliveryUndone)
	s.restart(time.Hour)
	s.work(func() bool { return s.told("block", "firing")[1].Outcome == string(sdk.DeliveryUndone) })
	if _, err := (alertMoves{s.Core}).Undo(t.Context(), store.DefaultTenant, id, ""); !errors.Is(err, store.ErrNotFound) || block.count("undo R-2") != 0 {
		t.Errorf("taken back there: %v, %q", err, block.calls)
	}
}
