package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/notify"
	"github.com/picketwatch/picket/sdk"
)

// deliveries keeps what became of notices on the other side.
type deliveries struct{ c *Core }

func (d deliveries) Open(ctx context.Context, now time.Time, limit int) ([]notify.Followed, error) {
	rows, err := d.c.control.OpenNotices(ctx, now, limit)
	out := make([]notify.Followed, 0, len(rows))
	for _, n := range rows {
		out = append(out, followed(n))
	}
	return out, err
}

func followed(n store.Notice) notify.Followed {
	return notify.Followed{ID: n.ID, AlertID: n.AlertID, Notifier: n.Notifier, Receipt: *n.Receipt, Checks: n.Checks}
}

func (d deliveries) Checked(ctx context.Context, id, outcome, text string, next time.Time) error {
	return d.c.control.NoticeChecked(ctx, id, outcome, text, next)
}

// Undone notes that a delivery was taken back. Somebody else may have noted it meanwhile.
func (d deliveries) Undone(ctx context.Context, id string) error {
	if err := d.c.control.NoticeUndone(ctx, id); !errors.Is(err, store.ErrState) {
		return err
	}
	return nil
}

// closedThere resolves the alert of a delivery that the other side closed. One that is resolved already is fine, and one
// that the same notifier was told again about since, in another ticket, is not over yet.
func (c *Core) closedThere(ctx context.Context, d notify.Followed, _ sdk.DeliveryStatus) error {
	again, err := c.toldAgain(ctx, d)
	if err != nil || again {
		return err
	}
	_, err = c.alerts.Resolve(ctx, c.tenant, d.AlertID, "plugin:"+d.Notifier)
	if errors.Is(err, store.ErrState) {
		return nil
	}
	e := audit.Entry{Tenant: c.tenant, Actor: "plugin:" + d.Notifier, Action: "alert.resolve", Object: "alert:" + d.AlertID,
		Detail: fmt.Sprintf("closed in %s: %s", d.Notifier, d.Receipt.ForeignID)}
	if err != nil {
		e.Outcome, e.Detail = audit.Failed, e.Detail+": "+err.Error()
	}
	c.complain("audit", c.audit.Record(ctx, e))
	return err
}

// toldAgain reports whether a notifier has had, or is yet to get, a later notice that the alert fires, and did not put it
// where the earlier one went.
func (c *Core) toldAgain(ctx context.Context, d notify.Followed) (bool, error) {
	told, err := c.control.AlertNotices(ctx, c.tenant, d.AlertID)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(told, func(n store.Notice) bool {
		return n.Notifier == d.Notifier && n.ID > d.ID && n.Payload.Event == "alert.firing" && n.State != store.NoticeDead &&
			(n.Receipt == nil || n.Receipt.ForeignID != d.Receipt.ForeignID)
	}), nil
}

// Undo takes back one delivery of an alert, or all that can be.
func (m alertMoves) Undo(ctx context.Context, tenant, id, notice string) (undone []string, err error) {
	if _, err := m.c.control.AlertByID(ctx, tenant, id); err != nil {
		return nil, err
	}
	told, err := m.c.control.AlertNotices(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	for _, n := range told {
		if n.Receipt == nil || !n.Receipt.Undoable || n.Outcome == string(sdk.DeliveryUndone) || notice != "" && notice != n.ID {
			continue
		}
		if err := m.c.notify.Undo(ctx, followed(n)); err != nil {
			return undone, err
		}
		undone = append(undone, n.ID)
	}
	if len(undone) == 0 {
		return nil, fmt.Errorf("nothing of this alert can be undone: %w", store.ErrNotFound)
	}
	return undone, nil
}

// SendAgain has a notice delivered that was given up, or waits.
func (m alertMoves) SendAgain(ctx context.Context, tenant, notice string) (store.Notice, error) {
	n, err := m.c.control.NoticeAgain(ctx, tenant, notice)
	if err == nil {
		m.c.notify.Wake()
	}
	return n, err
}
