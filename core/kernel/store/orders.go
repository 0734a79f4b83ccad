package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// States of an order.
const (
	OrderWaiting   = "waiting"   // for a second person
	OrderGiven     = "given"     // its commands went to the queues
	OrderDenied    = "denied"    // by a second person
	OrderCancelled = "cancelled" // by whoever may order
	OrderExpired   = "expired"   // nobody decided in time
)

// Order is what somebody asked of one machine or many: a command for each.
type Order struct {
	ID, Tenant, Type string
	Args             json.RawMessage
	Target           string // for people: whom it names
	Machines         int
	TTL              time.Duration // of each command, from the moment that it is given
	State            string
	CreatedBy        string
	Owner            string // the person behind CreatedBy, who may not approve it; "" when it needed no approval
	Created, Expires time.Time
	DecidedBy        string
	Decided          time.Time
	Reason           string
}

const orderColumns = "id, tenant, type, args, target, machines, ttl, state, created_by, owner, created, expires, decided_by, decided, reason"

func scanOrder(r row) (o Order, err error) {
	var ttl int64
	err = r.Scan(&o.ID, &o.Tenant, &o.Type, fromJSON(&o.Args), &o.Target, &o.Machines, &ttl, &o.State, &o.CreatedBy, &o.Owner,
		stamp(&o.Created), stamp(&o.Expires), &o.DecidedBy, stamp(&o.Decided), &o.Reason)
	o.TTL = time.Duration(ttl) * time.Microsecond
	return o, explain(err)
}

// InsertOrder keeps an order with its commands, all or none. ErrNotFound when the tenant has no such agent.
func (c *Control) InsertOrder(ctx context.Context, o Order, commands []Command) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO orders ("+orderColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			o.ID, o.Tenant, o.Type, rawJSON(o.Args, "{}"), o.Target, o.Machines, o.TTL.Microseconds(), o.State, o.CreatedBy, o.Owner,
			micros(o.Created), micros(o.Expires), o.DecidedBy, micros(o.Decided), o.Reason)
		if err != nil {
			return err
		}
		for _, cmd := range commands {
			if err := insertCommand(ctx, tx, cmd); err != nil {
				return err
			}
		}
		return nil
	})
}

// MachinesOrdered is how many machines of a tenant were ordered a type of command since then, without anybody's approval.
func (c *Control) MachinesOrdered(ctx context.Context, tenant, kind string, since time.Time) (n int, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT coalesce(sum(machines), 0) FROM orders WHERE tenant = ? AND type = ? AND owner = '' AND created > ?", tenant, kind, micros(since)).Scan(&n)
	return n, explain(err)
}

// OrderByID returns an order.
func (c *Control) OrderByID(ctx context.Context, tenant, id string) (Order, error) {
	return scanOrder(c.reader.QueryRowContext(ctx, "SELECT "+orderColumns+" FROM orders WHERE tenant = ? AND id = ?", tenant, id))
}

// ListOrders lists a tenant's orders, newest first; state "" means all.
func (c *Control) ListOrders(ctx context.Context, tenant, state string, p Page) ([]Order, string, error) {
	list, err := collect(ctx, c.reader, scanOrder, "SELECT "+orderColumns+` FROM orders
		WHERE tenant = ? AND (? = '' OR state = ?) AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`,
		tenant, state, state, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(o Order) string { return o.ID })
	return list, next, err
}

// OrderProgress counts the commands of orders by their state.
func (c *Control) OrderProgress(ctx context.Context, orders ...string) (map[string]map[string]int, error) {
	type count struct {
		order, state string
		n            int
	}
	out := map[string]map[string]int{}
	for _, id := range orders {
		list, err := collect(ctx, c.reader, func(r row) (x count, err error) { return x, explain(r.Scan(&x.order, &x.state, &x.n)) },
			"SELECT order_id, state, count(*) FROM commands WHERE order_id = ? AND order_id <> '' GROUP BY state", id)
		if err != nil {
			return nil, err
		}
		out[id] = map[string]int{}
		for _, x := range list {
			out[id][x.state] = x.n
		}
	}
	return out, nil
}

// OrderCommands lists the commands of an order.
func (c *Control) OrderCommands(ctx context.Context, tenant, order string, p Page) ([]Command, string, error) {
	list, err := collect(ctx, c.reader, scanCommand, "SELECT "+commandColumns+` FROM commands
		WHERE order_id = ? AND order_id <> '' AND tenant = ? AND id > ? ORDER BY id LIMIT ?`, order, tenant, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(c Command) string { return c.ID })
	return list, next, err
}

// GiveOrder lets the commands of an order that waits into the queues, signed; ErrState when it does not wait any more.
func (c *Control) GiveOrder(ctx context.Context, tenant, id, by string, at time.Time, signed []Command) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := decide(ctx, tx, tenant, id, OrderGiven, by, "", at); err != nil {
			return err
		}
		for _, cmd := range signed {
			_, err := tx.ExecContext(ctx, "UPDATE commands SET state = 'queued', issued = ?, expires = ?, signature = ? WHERE id = ? AND order_id = ? AND state = 'waiting'",
				micros(cmd.Issued), micros(cmd.Expires), cmd.Signature, cmd.ID, id)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// EndOrder ends an order that waits: denied, cancelled or expired, and its commands with it.
func (c *Control) EndOrder(ctx context.Context, tenant, id, state, by, reason string, at time.Time) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := decide(ctx, tx, tenant, id, state, by, reason, at); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE commands SET state = ?, finished = ? WHERE order_id = ? AND state = 'waiting'", state, micros(at), id)
		return err
	})
}

func decide(ctx context.Context, tx *sql.Tx, tenant, id, state, by, reason string, at time.Time) error {
	var was string
	if err := tx.QueryRowContext(ctx, "SELECT state FROM orders WHERE tenant = ? AND id = ?", tenant, id).Scan(&was); err != nil {
		return err
	}
	if was != OrderWaiting {
		return ErrState
	}
	_, err := tx.ExecContext(ctx, "UPDATE orders SET state = ?, decided_by = ?, decided = ?, reason = ? WHERE id = ?", state, by, micros(at), reason, id)
	return err
}

// ExpiredOrders lists orders for which nobody decided in time.
func (c *Control) ExpiredOrders(ctx context.Context, now time.Time) ([]Order, error) {
	return collect(ctx, c.reader, scanOrder, "SELECT "+orderColumns+" FROM orders WHERE state = 'waiting' AND expires <= ? LIMIT 100", micros(now))
}

// CancelCommands cancels commands that no agent has, and asks for the end of those that one has, also of those that was asked for
// before: the agent may not have heard it. It returns the agents that are to be told. Exactly one of order and command is given.
func (c *Control) CancelCommands(ctx context.Context, tenant, order, command string, at time.Time) (agents []string, err error) {
	const which = "tenant = ? AND (? <> '' AND order_id = ? OR id = ?)"
	err = c.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE commands SET state = 'cancelled', finished = ? WHERE "+which+" AND state IN ('queued', 'waiting')",
			micros(at), tenant, order, order, command)
		if err != nil {
			return err
		}
		agents, err = collect(ctx, tx, func(r row) (id string, err error) { return id, explain(r.Scan(&id)) },
			"UPDATE commands SET cancel = 1 WHERE "+which+" AND state = 'sent' RETURNING agent_id", tenant, order, order, command)
		return err
	})
	return agents, err
}

// TakeCancels returns the commands that an agent has and somebody wants stopped, each once.
func (c *Control) TakeCancels(ctx context.Context, agentID string, limit int) (ids []string, err error) {
	var n int
	err = c.reader.QueryRowContext(ctx, "SELECT count(*) FROM commands WHERE agent_id = ? AND cancel = 1", agentID).Scan(&n)
	if err != nil || n == 0 {
		return nil, explain(err)
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		ids, err = collect(ctx, tx, func(r row) (id string, err error) { return id, explain(r.Scan(&id)) },
			"UPDATE commands SET cancel = 2 WHERE id IN (SELECT id FROM commands WHERE agent_id = ? AND cancel = 1 ORDER BY id LIMIT ?) RETURNING id", agentID, limit)
		return err
	})
	return ids, err
}

// AppendOutput adds what a command printed, from an offset on, up to most bytes in all. What is there already is passed
// over, so that the same bytes can be handed in twice. It returns how much there is. ErrState when the command is not
// being carried out.
func (c *Control) AppendOutput(ctx context.Context, agentID, id string, offset int64, data []byte, most int) (have int64, full bool, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		var state string
		var got []byte
		var cutOff bool
		err := tx.QueryRowContext(ctx, "SELECT state, CAST(output AS BLOB), output_truncated FROM commands WHERE id = ? AND agent_id = ?", id, agentID).
			Scan(&state, &got, &cutOff)
		if err != nil {
			return err
		}
		if state != CommandSent {
			return ErrState
		}
		have, full = int64(len(got)), cutOff
		if offset > have || full {
			return nil
		}
		data = data[min(have-offset, int64(len(data))):]
		if room := max(0, most-len(got)); len(data) > room { // the bound may have been higher when it began
			data, full = data[:room], true
		}
		have += int64(len(data))
		_, err = tx.ExecContext(ctx, "UPDATE commands SET output = CAST(? AS TEXT), output_truncated = ? WHERE id = ?", append(got, data...), full, id)
		return err
	})
	return have, full, err
}
