package notify

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// ledger keeps outcomes.
type ledger struct {
	open    []Followed
	outcome map[string]string
	next    map[string]time.Time
	undone  []string
}

func (l *ledger) Open(context.Context, time.Time, int) ([]Followed, error) { return l.open, nil }
func (l *ledger) Checked(_ context.Context, id, outcome, _ string, next time.Time) error {
	l.outcome[id], l.next[id] = outcome, next
	return nil
}
func (l *ledger) Undone(_ context.Context, id string) error {
	l.undone = append(l.undone, id)
	return nil
}

// tracker is a notifier whose other side has a state.
type tracker struct {
	notifier
	status sdk.DeliveryStatus
	err    error
	undone []sdk.Receipt
}

func (n *tracker) Outcome(context.Context, sdk.Receipt) (sdk.DeliveryStatus, error) {
	return n.status, n.err
}
func (n *tracker) Undo(_ context.Context, r sdk.Receipt) error {
	n.undone = append(n.undone, r)
	return n.err
}

func following(l *ledger, find func(string) (Notifier, bool), closed func(Followed) error) *Service {
	l.outcome, l.next = map[string]string{}, map[string]time.Time{}
	return New(Config{Queue: newQueue(), Notifier: find, Changed: func(Delivery) {}, Now: func() time.Time { return time.Unix(1000, 0) },
		Jitter: func() float64 { return 0.5 }, Deliveries: l,
		Closed: func(_ context.Context, d Followed, _ sdk.DeliveryStatus) error { return closed(d) }})
}

func TestWhatBecameOfADelivery(t *testing.T) {
	d := Followed{ID: "1", AlertID: "a", Notifier: "ticket", Receipt: sdk.Receipt{ForeignID: "T-7"}}
	for name, c := range map[string]struct {
		to       Notifier
		assigned bool
		closing  error // of the alert
		outcome  string
		closed   int
	}{
		"open":                      {&tracker{status: sdk.DeliveryStatus{State: sdk.DeliveryOpen}}, true, nil, "open", 0},
		"closed":                    {&tracker{status: sdk.DeliveryStatus{State: sdk.DeliveryClosed}}, true, nil, "closed", 1},
		"closed, but not resolved":  {&tracker{status: sdk.DeliveryStatus{State: sdk.DeliveryClosed}}, true, errors.New("disk"), "open", 1},
		"taken back there":          {&tracker{status: sdk.DeliveryStatus{State: sdk.DeliveryUndone}}, true, nil, "undone", 0},
		"the plugin does not know":  {&tracker{err: sdk.Errorf(sdk.Unsupported, "no")}, true, nil, OutcomeNone, 0},
		"the other side is away":    {&tracker{err: sdk.Errorf(sdk.Temporary, "no route")}, true, nil, "", 0},
		"it follows nothing":        {&notifier{name: "ticket"}, true, nil, OutcomeNone, 0},
		"it is not running":         {nil, true, nil, "", 0},
		"it is not enabled anymore": {nil, false, nil, OutcomeNone, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, closed := &ledger{open: []Followed{d}}, 0
			s := following(l, func(string) (Notifier, bool) { return c.to, c.assigned }, func(Followed) error { closed++; return c.closing })
			s.lookAfter(t.Context())
			if got, ok := l.outcome["1"]; !ok || got != c.outcome || closed != c.closed {
				t.Errorf("outcome %q, closed %d times", got, closed)
			}
			if l.next["1"] != time.Unix(1060, 0) {
				t.Errorf("asked again at %v", l.next["1"])
			}
		})
	}
}

func TestQuestionsBecomeRarer(t *testing.T) {
	if a, b, c := nextCheck(0, 0.5), nextCheck(3, 0.5), nextCheck(1000, 0.5); a != time.Minute || b != 8*time.Minute || c != time.Hour {
		t.Errorf("%v, %v, %v", a, b, c)
	}
}

func TestUndo(t *testing.T) {
	undoable := Followed{ID: "1", Notifier: "block", Receipt: sdk.Receipt{ForeignID: "x", Undoable: true}}
	for name, c := range map[string]struct {
		to    Notifier
		d     Followed
		class sdk.Class
	}{
		"done":            {&tracker{}, undoable, ""},
		"not undoable":    {&tracker{}, Followed{ID: "1", Notifier: "block"}, sdk.Unsupported},
		"takes none back": {&notifier{}, undoable, sdk.Unsupported},
		"not running":     {nil, undoable, sdk.Temporary},
		"it fails":        {&tracker{err: sdk.Errorf(sdk.Downstream, "no")}, undoable, sdk.Downstream},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{}
			s := following(l, func(string) (Notifier, bool) { return c.to, true }, nil)
			err := s.Undo(t.Context(), c.d)
			if (err == nil) != (c.class == "") || err != nil && sdk.ClassOf(err) != c.class {
				t.Errorf("got %v", err)
			}
			if (len(l.undone) == 1) != (err == nil) {
				t.Errorf("noted %v", l.undone)
			}
		})
	}
}
