package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/mattn/go-sqlite3"
)

// contacts is what agents bring with every request, held in memory and written together: when each was last heard, from where,
// and what it last said of itself. Ten thousand agents are heard a thousand times a second, and a transaction for each would be
// most of what the server does. A crash forgets the last moments of it, and the agents' next requests bring them again.
type contacts struct {
	mu      sync.Mutex // guards all of it
	byID    map[string]*contact
	total   map[string]int    // of them, by tenant
	said    map[string][]byte // status that is not written yet, compressed, by agent
	writing map[string][]byte // status that is being written

	// known holds agents as they are in the file, for the hot path; a change of the table forgets all of it.
	known   sync.Map // id to Agent, without status
	changes atomic.Uint64
	changed atomic.Bool // a row of the table was changed in the transaction that goes on
	quiet   atomic.Bool // that is FlushContacts, which writes what is in memory already

	rows    atomic.Uint64 // changes of the table that lists show, new agents among them
	touched atomic.Bool   // there is one in the transaction that goes on
}

type contact struct {
	tenant  string
	seen    time.Time
	address string
	version string
	plugins int // that it says it runs
	failing int // of those
	dirty   bool

	skew time.Duration // by which its clock was ahead of ours in its last report; 0 while that is tolerable, and after a start
}

const maxStatus = 1 << 20 // bytes of what an agent says of itself

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxStatus), zstd.WithDecoderLowmem(true))
)

func (c *Control) loadContacts(ctx context.Context) error {
	c.contacts.byID, c.contacts.total, c.contacts.said = map[string]*contact{}, map[string]int{}, map[string][]byte{}
	rows, err := c.reader.QueryContext(ctx, `SELECT id, tenant, last_seen, address, version, coalesce(plugins, 0), coalesce(failing, 0)
		FROM agents LEFT JOIN agent_status ON agent_id = id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		x := &contact{}
		if err := rows.Scan(&id, &x.tenant, stamp(&x.seen), &x.address, &x.version, &x.plugins, &x.failing); err != nil {
			return err
		}
		c.contacts.byID[id] = x
		c.contacts.total[x.tenant]++
	}
	return rows.Err()
}

// TouchAgent notes when and from where an agent was last in contact.
func (c *Control) TouchAgent(_ context.Context, id, address string, at time.Time) error {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	x := c.contacts.byID[id]
	if x == nil {
		return ErrNotFound
	}
	x.seen, x.address, x.dirty = at, address, true
	return nil
}

// SetAgentStatus keeps what an agent reported of itself.
func (c *Control) SetAgentStatus(_ context.Context, id, version string, status json.RawMessage, at time.Time) error {
	if len(status) > maxStatus || !json.Valid(status) {
		return fmt.Errorf("the status of agent %s is no JSON of at most %d bytes", id, maxStatus)
	}
	packed := packer.EncodeAll(status, nil)
	said := look(status)
	plugins, failing := said.count()
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	x := c.contacts.byID[id]
	if x == nil {
		return ErrNotFound
	}
	x.seen, x.version, x.dirty = at, version, true
	x.plugins, x.failing, x.skew = plugins, failing, said.skew()
	c.contacts.said[id] = packed
	return nil
}

// said is the part that lists and measurements need of what an agent says of itself.
type said struct {
	Offset  float64 `json:"clock_offset_seconds"` // by which it found our clock ahead of its own
	Plugins []struct {
		State string `json:"state"`
	} `json:"plugins"`
}

func look(status json.RawMessage) said {
	var s said
	if json.Unmarshal(status, &s) != nil {
		return said{}
	}
	return s
}

// count counts the plugins, and those that do not work.
func (s said) count() (plugins, failing int) {
	for _, p := range s.Plugins {
		switch p.State {
		case "stopped", "draining":
			continue
		case "degraded", "backoff", "quarantined", "revoked", "refused":
			failing++
		}
		plugins++
	}
	return plugins, failing
}

// mostSkew is a hundred years: what an agent says must fit into a duration.
const mostSkew = 100 * 365 * 24 * time.Hour

func (s said) skew() time.Duration {
	most := mostSkew.Seconds()
	return time.Duration(min(max(-s.Offset, -most), most) * float64(time.Second))
}

// AgentTotal is how many agents a tenant has.
func (c *Control) AgentTotal(tenant string) int {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	return c.contacts.total[tenant]
}

// CountAgents counts the tenant's agents, and those that were heard since.
func (c *Control) CountAgents(_ context.Context, tenant string, since time.Time) (all, heard int, err error) {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	for _, x := range c.contacts.byID {
		if x.tenant == tenant {
			all++
			if !x.seen.Before(since) {
				heard++
			}
		}
	}
	return all, heard, nil
}

// LastHeard is when any agent of any tenant was heard last.
func (c *Control) LastHeard() (last time.Time) {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	for _, x := range c.contacts.byID {
		if x.seen.After(last) {
			last = x.seen
		}
	}
	return last
}

// SilentAgent is one that was not heard for a while.
type SilentAgent struct {
	Tenant, ID, Name string
	Seen             time.Time
}

// SilentAgents lists the agents of all tenants that were heard at some time, and not since. One that was shut out may be silent.
func (c *Control) SilentAgents(ctx context.Context, since time.Time) ([]SilentAgent, error) {
	var list []SilentAgent
	c.contacts.mu.Lock()
	for id, x := range c.contacts.byID {
		if !x.seen.IsZero() && x.seen.Before(since) {
			list = append(list, SilentAgent{Tenant: x.tenant, ID: id, Seen: x.seen})
		}
	}
	c.contacts.mu.Unlock()
	return stillKnown(ctx, c, list, func(a *SilentAgent) (string, *string) { return a.ID, &a.Name })
}

// stillKnown gives agents their names and leaves out who is disabled or was deleted meanwhile.
func stillKnown[A any](ctx context.Context, c *Control, list []A, of func(*A) (id string, name *string)) ([]A, error) {
	kept := list[:0]
	for _, a := range list {
		id, name := of(&a)
		known, err := c.KnownAgent(ctx, id)
		if known.Disabled || errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		*name = known.Name
		kept = append(kept, a)
	}
	return kept, nil
}

// SkewedAgent is one whose clock is wrong, as far as it can tell.
type SkewedAgent struct {
	Tenant, ID, Name string
	Skew             time.Duration // by which it is ahead
}

// SkewedAgents lists the agents of all tenants that were heard since and whose clock is wrong.
func (c *Control) SkewedAgents(ctx context.Context, since time.Time) ([]SkewedAgent, error) {
	var list []SkewedAgent
	c.contacts.mu.Lock()
	for id, x := range c.contacts.byID {
		if x.skew != 0 && !x.seen.Before(since) {
			list = append(list, SkewedAgent{Tenant: x.tenant, ID: id, Skew: x.skew})
		}
	}
	c.contacts.mu.Unlock()
	return stillKnown(ctx, c, list, func(a *SkewedAgent) (string, *string) { return a.ID, &a.Name })
}

// KnownAgent returns an agent of any tenant without its status: its id is all that a request tells before it is authenticated.
// It is AgentByID for each request.
func (c *Control) KnownAgent(ctx context.Context, id string) (Agent, error) {
	if a, ok := c.contacts.known.Load(id); ok {
		return c.withContact(a.(Agent)), nil
	}
	before := c.contacts.changes.Load()
	a, err := scanAgent(c.reader.QueryRowContext(ctx, "SELECT "+agentColumns+" FROM agents WHERE id = ?", id))
	if err != nil {
		return Agent{}, err
	}
	c.contacts.known.Store(id, a)
	if c.contacts.changes.Load() != before { // it may be from before the change
		c.contacts.known.Delete(id)
	}
	return c.withContact(a), nil
}

// afterWrite forgets what KnownAgent knows when the transaction before it has changed an agent. Every write comes by here, and
// SQLite says which tables it changed, so that no statement has to think of it.
func (c *Control) afterWrite() {
	if c.contacts.touched.Swap(false) {
		c.contacts.rows.Add(1)
	}
	if c.contacts.changed.Swap(false) {
		c.contacts.changes.Add(1)
		c.contacts.known.Clear()
	}
}

// watched opens the writer's connection, which says when an agent's row is changed or deleted. A new one is not known to anybody.
type watched struct {
	dsn string
	to  *contacts
}

func (w watched) Connect(context.Context) (driver.Conn, error) { return w.Driver().Open(w.dsn) }

func (w watched) Driver() driver.Driver {
	return &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		conn.RegisterUpdateHook(func(op int, _, table string, _ int64) {
			if table != "agents" || w.to.quiet.Load() {
				return
			}
			w.to.touched.Store(true)
			if op != sqlite3.SQLITE_INSERT {
				w.to.changed.Store(true)
			}
		})
		return nil
	}}
}

// withContact puts what is newer than the file into an agent.
func (c *Control) withContact(a Agent) Agent {
	a.Groups = c.lineages.of(a.ID)
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	if x := c.contacts.byID[a.ID]; x != nil {
		a.LastSeen, a.Address, a.Version, a.Plugins, a.Failing = x.seen, x.address, x.version, x.plugins, x.failing
	}
	return a
}

// withStatus puts an agent's status in, from memory or packed from the file.
func (c *Control) withStatus(a Agent, packed []byte) (Agent, error) {
	c.contacts.mu.Lock()
	for _, newer := range []map[string][]byte{c.contacts.writing, c.contacts.said} {
		if p := newer[a.ID]; p != nil {
			packed = p
		}
	}
	c.contacts.mu.Unlock()
	if len(packed) == 0 {
		return a, nil
	}
	if packed[0] == '{' {
		a.Status = packed
		return a, nil
	}
	status, err := unpacker.DecodeAll(packed, nil)
	if err != nil {
		return a, fmt.Errorf("status of agent %s: %w", a.ID, err)
	}
	a.Status = status
	return a, nil
}

// FlushContacts writes what the agents brought since the last time.
func (c *Control) FlushContacts(ctx context.Context) error {
	type row struct {
		id string
		contact
	}
	var rows []row
	c.contacts.mu.Lock()
	if len(c.contacts.writing) > 0 { // somebody else is at it
		c.contacts.mu.Unlock()
		return nil
	}
	for id, x := range c.contacts.byID {
		if x.dirty {
			rows = append(rows, row{id, *x})
			x.dirty = false
		}
	}
	said, counts := c.contacts.said, map[string]contact{}
	for id := range said {
		if x := c.contacts.byID[id]; x != nil {
			counts[id] = *x
		}
	}
	c.contacts.writing, c.contacts.said = said, map[string][]byte{}
	c.contacts.mu.Unlock()
	err := c.write(ctx, func(tx *sql.Tx) error {
		c.contacts.quiet.Store(true)
		defer c.contacts.quiet.Store(false)
		touch, err := tx.PrepareContext(ctx, "UPDATE agents SET last_seen = ?, address = ?, version = ? WHERE id = ?")
		if err != nil {
			return err
		}
		defer touch.Close()
		for _, r := range rows {
			if _, err := touch.ExecContext(ctx, micros(r.seen), r.address, r.version, r.id); err != nil {
				return err
			}
		}
		// An agent that was deleted meanwhile has nothing to say any more.
		tell, err := tx.PrepareContext(ctx, `INSERT INTO agent_status (agent_id, status, plugins, failing) SELECT id, ?, ?, ? FROM agents WHERE id = ?
			ON CONFLICT (agent_id) DO UPDATE SET status = excluded.status, plugins = excluded.plugins, failing = excluded.failing`)
		if err != nil {
			return err
		}
		defer tell.Close()
		for id, packed := range said {
			if _, err := tell.ExecContext(ctx, packed, counts[id].plugins, counts[id].failing, id); err != nil {
				return err
			}
		}
		return nil
	})
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	c.contacts.writing = nil
	if err == nil {
		return nil
	}
	for _, r := range rows { // the next time
		if x := c.contacts.byID[r.id]; x != nil {
			x.dirty = true
		}
	}
	for id, packed := range said {
		if c.contacts.byID[id] != nil && c.contacts.said[id] == nil {
			c.contacts.said[id] = packed
		}
	}
	return errors.Join(errors.New("what agents said of themselves is kept in memory"), err)
}
