package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

// approvalTime is how long an order waits for a second person.
const approvalTime = 24 * time.Hour

// MaxMachines is how many machines one order may go to.
const MaxMachines = 10_000

// Errors of approvals.
var (
	ErrOwn      = errors.New("who asked for a command cannot approve it: another person must")
	ErrNoPerson = errors.New("this command needs a second person's approval, so a person must ask for it: sign in, or use a token of your own")
)

// Request asks for a command on each of some machines.
type Request struct {
	Tenant, Type string
	Args         json.RawMessage
	Agents       []string
	Target       string        // for people: whom they are
	TTL          time.Duration // 0: as the type says
	By           string
	Person       string // behind By; "" when nobody is
}

// Order gives a command to all machines of a request, or keeps it until a second person approves. The error is an
// *InputError, ErrFull, ErrNoPerson, or the store's.
func (q *Queue) Order(ctx context.Context, r Request) (store.Order, []store.Command, error) {
	kind, err := TypeOf(r.Type)
	if err != nil {
		return store.Order{}, nil, err
	}
	one := Order{Type: r.Type, Args: r.Args, TTL: r.TTL}
	if err := checkOrder(&one); err != nil {
		return store.Order{}, nil, err
	}
	if len(r.Agents) == 0 || len(r.Agents) > MaxMachines {
		return store.Order{}, nil, &InputError{fmt.Sprintf("the order is for %d machines; it must be between 1 and %d", len(r.Agents), MaxMachines)}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.Order{}, nil, fmt.Errorf("make id: %w", err)
	}
	now := q.cfg.Now()
	o := store.Order{ID: id.String(), Tenant: r.Tenant, Type: r.Type, Args: r.Args, Target: r.Target, Machines: len(r.Agents), TTL: one.TTL,
		State: store.OrderGiven, CreatedBy: r.By, Created: now}
	machines := len(r.Agents)
	if kind.Danger == Disruptive {
		q.disrupting.Lock()
		defer q.disrupting.Unlock()
		before, err := q.cfg.Store.MachinesOrdered(ctx, r.Tenant, r.Type, now.Add(-disruptionTime))
		if err != nil {
			return store.Order{}, nil, err
		}
		machines += before
	}
	if kind.NeedsApproval(machines) {
		if r.Person == "" {
			return store.Order{}, nil, ErrNoPerson
		}
		o.State, o.Owner, o.Expires = store.OrderWaiting, r.Person, now.Add(approvalTime)
	}
	commands := make([]store.Command, 0, len(r.Agents))
	for _, agent := range r.Agents {
		cmd, err := q.prepare(ctx, o, agent, now)
		if err != nil {
			return store.Order{}, nil, err
		}
		commands = append(commands, cmd)
	}
	if err := q.cfg.Store.InsertOrder(ctx, o, commands); err != nil {
		return store.Order{}, nil, err
	}
	if o.State == store.OrderGiven {
		q.ringAll(r.Agents)
	}
	return o, commands, nil
}

// prepare makes the command of one machine, signed unless its order waits: what an approver lets go is signed then.
func (q *Queue) prepare(ctx context.Context, o store.Order, agent string, now time.Time) (store.Command, error) {
	waiting, err := q.cfg.Store.CountWaitingCommands(ctx, agent, now)
	if err != nil {
		return store.Command{}, err
	}
	if waiting >= maxPerAgent {
		return store.Command{}, fmt.Errorf("machine %s: %w", agent, ErrFull)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.Command{}, fmt.Errorf("make id: %w", err)
	}
	cmd := store.Command{ID: id.String(), Tenant: o.Tenant, AgentID: agent, Type: o.Type, Args: o.Args, Issued: now, Expires: o.Expires,
		State: store.CommandWaiting, CreatedBy: o.CreatedBy, OrderID: o.ID}
	if o.State == store.OrderGiven {
		return q.sign(cmd, now, o.TTL)
	}
	cmd.Signature = []byte{}
	return cmd, nil
}

func (q *Queue) sign(cmd store.Command, now time.Time, ttl time.Duration) (store.Command, error) {
	wire, err := signing.SignCommand(signing.Command{ID: cmd.ID, Agent: cmd.AgentID, Type: cmd.Type, Args: cmd.Args, Issued: now, Expires: now.Add(ttl)}, q.cfg.Key)
	if err != nil {
		return store.Command{}, err
	}
	cmd.Args, cmd.Issued, cmd.Expires, cmd.Signature, cmd.State = wire.Args, wire.Issued, wire.Expires, wire.Signature, store.CommandQueued
	return cmd, nil
}

// Approve lets an order go that waits. person must not be who asked for it.
func (q *Queue) Approve(ctx context.Context, tenant, id, by, person string) (store.Order, error) {
	o, err := q.waiting(ctx, tenant, id)
	if err != nil {
		return o, err
	}
	if person == "" || person == o.Owner {
		return o, ErrOwn
	}
	now := q.cfg.Now()
	var signed []store.Command
	for cursor := ""; ; {
		list, next, err := q.cfg.Store.OrderCommands(ctx, tenant, id, store.Page{Cursor: cursor, Limit: 500})
		if err != nil {
			return o, err
		}
		for _, cmd := range list {
			if cmd.State != store.CommandWaiting { // one machine of it was cancelled
				continue
			}
			if cmd, err = q.sign(cmd, now, o.TTL); err != nil {
				return o, err
			}
			signed = append(signed, cmd)
		}
		if next == "" {
			break
		}
		cursor = next
	}
	if err := q.cfg.Store.GiveOrder(ctx, tenant, id, by, now, signed); err != nil {
		return o, err
	}
	for _, cmd := range signed {
		q.ring(cmd.AgentID)
	}
	return q.cfg.Store.OrderByID(ctx, tenant, id)
}

// waiting finds an order that can still be decided on.
func (q *Queue) waiting(ctx context.Context, tenant, id string) (store.Order, error) {
	o, err := q.cfg.Store.OrderByID(ctx, tenant, id)
	if err == nil && (o.State != store.OrderWaiting || !q.cfg.Now().Before(o.Expires)) {
		err = store.ErrState
	}
	return o, err
}

// Deny ends an order that waits.
func (q *Queue) Deny(ctx context.Context, tenant, id, by, reason string) (store.Order, error) {
	o, err := q.waiting(ctx, tenant, id)
	if err != nil {
		return o, err
	}
	if err := q.cfg.Store.EndOrder(ctx, tenant, id, store.OrderDenied, by, reason, q.cfg.Now()); err != nil {
		return o, err
	}
	return q.cfg.Store.OrderByID(ctx, tenant, id)
}

// CancelOrder ends what of an order has not begun, and asks the agents to stop the rest.
func (q *Queue) CancelOrder(ctx context.Context, tenant, id, by string) (store.Order, error) {
	o, err := q.cfg.Store.OrderByID(ctx, tenant, id)
	if err != nil {
		return o, err
	}
	now := q.cfg.Now()
	if o.State == store.OrderWaiting {
		if err := q.cfg.Store.EndOrder(ctx, tenant, id, store.OrderCancelled, by, "", now); err != nil {
			return o, err
		}
		return q.cfg.Store.OrderByID(ctx, tenant, id)
	}
	agents, err := q.cfg.Store.CancelCommands(ctx, tenant, id, "", now)
	q.ringAll(agents)
	return o, err
}

// CancelCommand is CancelOrder for one machine.
func (q *Queue) CancelCommand(ctx context.Context, tenant, id string) error {
	agents, err := q.cfg.Store.CancelCommands(ctx, tenant, "", id, q.cfg.Now())
	q.ringAll(agents)
	q.ring(outputOf(id))
	return err
}

func (q *Queue) ringAll(agents []string) {
	for _, id := range agents {
		q.ring(id)
	}
}

// cancels are the signed words that stop what an agent carries out.
func (q *Queue) cancels(ctx context.Context, agentID string) ([]signing.Command, error) {
	ids, err := q.cfg.Store.TakeCancels(ctx, agentID, maxHandedOut)
	if err != nil {
		return nil, err
	}
	var out []signing.Command
	for _, command := range ids {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("make id: %w", err)
		}
		args, err := json.Marshal(map[string]string{"command": command})
		if err != nil {
			return nil, err
		}
		now := q.cfg.Now()
		wire, err := signing.SignCommand(signing.Command{ID: id.String(), Agent: agentID, Type: cancel, Args: args, Issued: now, Expires: now.Add(defaultTTL)}, q.cfg.Key)
		if err != nil {
			return nil, err
		}
		out = append(out, wire)
	}
	return out, nil
}

// Printed takes what a command printed, from an offset on. It returns how much is kept, and whether more is wanted.
func (q *Queue) Printed(ctx context.Context, agentID string, c store.Command, offset int64, data []byte) (have int64, more bool, err error) {
	most := usualOutput
	if kind, err := TypeOf(c.Type); err == nil {
		most = kind.Output
	}
	have, full, err := q.cfg.Store.AppendOutput(ctx, agentID, c.ID, offset, data, most)
	q.ring(outputOf(c.ID))
	return have, !full, err
}

// WaitForOutput returns a command once it has more output than from, or has ended, or the time is over.
func (q *Queue) WaitForOutput(ctx context.Context, tenant, id string, from int, wait time.Duration) (store.Command, error) {
	key := outputOf(id)
	w := q.join(key)
	defer q.leave(key, w)
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		rung := q.bell(w)
		c, err := q.cfg.Store.CommandByID(ctx, tenant, id)
		if err != nil || len(c.Output) > from || Ended(c.State) || wait <= 0 {
			return c, err
		}
		select {
		case <-rung:
		case <-deadline.C:
			return c, nil
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
}

// Ended reports whether nothing more comes of a command.
func Ended(state string) bool {
	return state != store.CommandQueued && state != store.CommandSent && state != store.CommandWaiting
}

// outputOf is the bell of those who watch a command; agents have ids without a colon.
func outputOf(id string) string { return "output:" + id }

// expireOrders ends orders for which nobody decided in time.
func (q *Queue) expireOrders(ctx context.Context) error {
	now := q.cfg.Now()
	list, err := q.cfg.Store.ExpiredOrders(ctx, now)
	for _, o := range list {
		if e := q.cfg.Store.EndOrder(ctx, o.Tenant, o.ID, store.OrderExpired, "system", "nobody decided in time", now); !errors.Is(e, store.ErrState) {
			err = errors.Join(err, e)
		}
	}
	return err
}
