// Package queue carries orders to agents. A typed order goes in; it is signed with the core's command key, stored, and
// handed to its agent at most once before it expires. The agent's answer ends it.
package queue

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	defaultTTL   = 5 * time.Minute
	maxTTL       = 24 * time.Hour
	maxOutput    = 64 * 1024
	maxHandedOut = 16
	expireEvery  = 30 * time.Second
	maxPerAgent  = 100 // commands that may wait for one agent
)

// InputError says what is wrong with an order.
type InputError struct{ Message string }

func (e *InputError) Error() string { return e.Message }

// ErrFull says that too many commands wait for the agent.
var ErrFull = errors.New("too many commands are waiting for this agent")

// Store keeps commands.
type Store interface {
	InsertCommand(ctx context.Context, c store.Command) error
	CountWaitingCommands(ctx context.Context, agentID string, now time.Time) (int, error)
	TakeCommands(ctx context.Context, agentID string, now time.Time, limit int) ([]store.Command, error)
	FinishCommand(ctx context.Context, agentID, id, state, output string, truncated bool, at time.Time) error
	CommandByID(ctx context.Context, tenant, id string) (store.Command, error)
	ListCommands(ctx context.Context, tenant, agentID string, p store.Page) ([]store.Command, string, error)
	ExpireCommands(ctx context.Context, now time.Time) (int, error)
	AppendOutput(ctx context.Context, agentID, id string, offset int64, data []byte, most int) (have int64, full bool, err error)
	TakeCancels(ctx context.Context, agentID string, limit int) ([]string, error)
	CancelCommands(ctx context.Context, tenant, order, command string, at time.Time) (agents []string, err error)
	InsertOrder(ctx context.Context, o store.Order, commands []store.Command) error
	MachinesOrdered(ctx context.Context, tenant, kind string, since time.Time) (int, error)
	OrderByID(ctx context.Context, tenant, id string) (store.Order, error)
	OrderCommands(ctx context.Context, tenant, order string, p store.Page) ([]store.Command, string, error)
	GiveOrder(ctx context.Context, tenant, id, by string, at time.Time, signed []store.Command) error
	EndOrder(ctx context.Context, tenant, id, state, by, reason string, at time.Time) error
	ExpiredOrders(ctx context.Context, now time.Time) ([]store.Order, error)
}

// Config of a Queue. Now and Log may be nil.
type Config struct {
	Store Store
	Key   ed25519.PrivateKey // see LoadKey
	Now   func() time.Time
	Log   *slog.Logger
}

// Queue is safe for concurrent use.
type Queue struct {
	cfg Config

	disrupting sync.Mutex // held from counting whom somebody disrupts alone until it is stored

	mu      sync.Mutex // guards waiters and counts
	waiters map[string]*waiter
}

// waiter is the bell of one agent that polls.
type waiter struct {
	rung  chan struct{}
	polls int
}

// New returns a queue.
func New(cfg Config) (*Queue, error) {
	if cfg.Store == nil || len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("queue: store and command key are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Queue{cfg: cfg, waiters: map[string]*waiter{}}, nil
}

// PublicKey is what agents check commands with.
func (q *Queue) PublicKey() ed25519.PublicKey { return q.cfg.Key.Public().(ed25519.PublicKey) }

// SignConfig signs what an agent should run with the key that agents check commands with.
func (q *Queue) SignConfig(agent string, version int64, assignments any) (signing.Config, error) {
	list, err := json.Marshal(assignments)
	if err != nil {
		return signing.Config{}, fmt.Errorf("sign configuration %d: %w", version, err)
	}
	return signing.SignConfig(signing.Config{Agent: agent, Version: version, Issued: q.cfg.Now(), Assignments: list}, q.cfg.Key)
}

// Order is a command to be, that the server itself asks for. A TTL of 0 means what its type says.
type Order struct {
	Tenant, AgentID, Type string
	Args                  json.RawMessage
	By                    string
	TTL                   time.Duration
}

// Enqueue signs an order and stores it. The error is an *InputError, ErrFull, or the store's.
func (q *Queue) Enqueue(ctx context.Context, o Order) (store.Command, error) {
	if err := checkOrder(&o); err != nil {
		return store.Command{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.Command{}, fmt.Errorf("make id: %w", err)
	}
	now := q.cfg.Now()
	waiting, err := q.cfg.Store.CountWaitingCommands(ctx, o.AgentID, now)
	if err != nil {
		return store.Command{}, err
	}
	if waiting >= maxPerAgent {
		return store.Command{}, ErrFull
	}
	cmd, err := q.sign(store.Command{ID: id.String(), Tenant: o.Tenant, AgentID: o.AgentID, Type: o.Type, Args: o.Args, CreatedBy: o.By}, now, o.TTL)
	if err != nil {
		return store.Command{}, err
	}
	if err := q.cfg.Store.InsertCommand(ctx, cmd); err != nil {
		return store.Command{}, err
	}
	q.ring(o.AgentID)
	return cmd, nil
}

func checkOrder(o *Order) error {
	kind, err := TypeOf(o.Type)
	if err != nil {
		return err
	}
	if o.TTL == 0 {
		o.TTL = kind.TTL
	}
	if o.TTL < 0 || o.TTL > maxTTL {
		return &InputError{fmt.Sprintf("a command lives for at most %s", maxTTL)}
	}
	return kind.check(o.Args)
}

// Take hands the agent its queued commands, waiting up to wait for the first. What it returns is marked as sent before
// and never returned again, even if the answer gets lost: an order runs at most once.
func (q *Queue) Take(ctx context.Context, agentID string, wait time.Duration) ([]signing.Command, error) {
	w := q.join(agentID)
	defer q.leave(agentID, w)
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		rung := q.bell(w) // before looking, so that an order stored in between rings it
		cmds, err := q.cfg.Store.TakeCommands(ctx, agentID, q.cfg.Now(), maxHandedOut)
		if err != nil {
			return nil, err
		}
		stops, err := q.cancels(ctx, agentID)
		if list := append(toWire(cmds), stops...); err != nil || len(list) > 0 || wait <= 0 {
			return list, err
		}
		select {
		case <-rung:
		case <-deadline.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Watch returns a bell that rings with each order for an agent, until stop is called. Take it before looking for orders.
func (q *Queue) Watch(agentID string) (bell func() <-chan struct{}, stop func()) {
	w := q.join(agentID)
	return func() <-chan struct{} { return q.bell(w) }, func() { q.leave(agentID, w) }
}

func toWire(cmds []store.Command) []signing.Command {
	out := make([]signing.Command, 0, len(cmds))
	for _, c := range cmds {
		out = append(out, signing.Command{ID: c.ID, Agent: c.AgentID, Type: c.Type, Args: c.Args, Issued: c.Issued,
			Expires: c.Expires, Signature: c.Signature})
	}
	return out
}

// Finish records the agent's answer: done, failed, refused or cancelled. Only a command that was sent to this agent can be
// finished, and once; store.ErrNotFound and store.ErrState say otherwise.
func (q *Queue) Finish(ctx context.Context, agentID, id, state, output string) error {
	switch state {
	case store.CommandDone, store.CommandFailed, store.CommandRefused, store.CommandCancelled:
	default:
		return &InputError{fmt.Sprintf("state %q is not done, failed, refused or cancelled", state)}
	}
	output, truncated := capOutput(output)
	defer q.ring(outputOf(id))
	return q.cfg.Store.FinishCommand(ctx, agentID, id, state, output, truncated, q.cfg.Now())
}

func capOutput(s string) (string, bool) {
	if len(s) <= maxOutput {
		return s, false
	}
	end := maxOutput
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end], true
}

// Get returns one command, List an agent's commands, newest first.
func (q *Queue) Get(ctx context.Context, tenant, id string) (store.Command, error) {
	return q.cfg.Store.CommandByID(ctx, tenant, id)
}

// List returns an agent's commands, newest first.
func (q *Queue) List(ctx context.Context, tenant, agentID string, p store.Page) ([]store.Command, string, error) {
	return q.cfg.Store.ListCommands(ctx, tenant, agentID, p)
}

// Run marks commands that nobody fetched in time as expired, until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		if _, err := q.cfg.Store.ExpireCommands(ctx, q.cfg.Now()); err != nil && ctx.Err() == nil {
			q.cfg.Log.Warn("expire commands", "error", err)
		}
		if err := q.expireOrders(ctx); err != nil && ctx.Err() == nil {
			q.cfg.Log.Warn("expire orders", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (q *Queue) join(agentID string) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.waiters[agentID]
	if w == nil {
		w = &waiter{rung: make(chan struct{})}
		q.waiters[agentID] = w
	}
	w.polls++
	return w
}

func (q *Queue) leave(agentID string, w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.polls--; w.polls == 0 {
		delete(q.waiters, agentID)
	}
}

func (q *Queue) bell(w *waiter) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return w.rung
}

func (q *Queue) ring(agentID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.waiters[agentID]; w != nil {
		close(w.rung)
		w.rung = make(chan struct{})
	}
}
