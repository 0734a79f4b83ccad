// Package broker is the host's end of the broker: it opens what a confined plugin process asks for, under the grants of
// its instance, and relays. The plugin never holds a socket of this machine's network.
//
// Every connection that was allowed, and every one that was refused, is counted: Use says what an instance really
// does, Unused which of its permissions it never needed.
package broker

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/reach"
)

// DefaultConns is how many connections an instance may have open at once.
const DefaultConns = 256

// Config says whose broker it is.
type Config struct {
	Instance string
	Grants   []sdk.Permission
	Deny     []netip.Prefix // addresses that are reached on no grant, under whatever name
	State    string         // folder of the instance's key-value store, which must exist
	Log      *slog.Logger   // slog.Default() when nil
	Now      func() time.Time
	// Refused hears of the first refusal for each target; it may be nil.
	Refused func(capability, detail string, err error)
	// Limited hears what the instance wants more of than it may have, in words that begin with the name of the limit; it may be
	// nil, and is told the same again and again.
	Limited func(what string)
	// Lookup resolves names; the system's resolver when nil.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// MaxConns is how many connections may be open at once, of all processes of the instance; 0 means DefaultConns.
	MaxConns int
}

// Broker serves one instance: one process of it after the other, or two beside each other during an upgrade.
type Broker struct {
	cfg   Config
	reach *reach.Reach
	state sdk.State
	uses  *uses
	conns chan struct{} // holds one element for each open connection

	mu       sync.Mutex // guards all below
	closed   bool
	sessions map[*session]bool
	running  sync.WaitGroup // sessions
}

// New returns a broker.
func New(cfg Config) *Broker {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limited == nil {
		cfg.Limited = func(string) {}
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = DefaultConns
	}
	cfg.Log = cfg.Log.With("instance", cfg.Instance)
	return &Broker{
		cfg:      cfg,
		reach:    &reach.Reach{Grants: cfg.Grants, Deny: cfg.Deny, Lookup: cfg.Lookup},
		state:    reach.State(cfg.State),
		uses:     newUses(cfg.Now, cfg.Log, cfg.Refused),
		conns:    make(chan struct{}, cfg.MaxConns),
		sessions: map[*session]bool{},
	}
}

// Pair returns a socket for Serve and the one that the process inherits, whose number it finds in PICKET_BROKER_FD.
func Pair() (host, child *os.File, err error) { return brokerwire.Pair(true) }

// Model is a model or a data pack that a process may open. Its bytes must not change any more.
type Model struct {
	ID, Version, Digest string
	File                *os.File // open for reading; it stays the caller's
}

// Belongings are what a process has of its own, unlike others of its instance.
type Belongings struct {
	State  sdk.State
	Models []Model
}

// Serve answers one process until its end of conn is closed, and then ends all that it had open. It takes conn over. An
// error says that the process broke the protocol, and should end it.
func (b *Broker) Serve(conn *os.File) error { return b.ServeWith(conn, Belongings{State: b.state}) }

// ServeWith is Serve for a process that has another key-value store than the instance, or models.
func (b *Broker) ServeWith(conn *os.File, own Belongings) error {
	socket, err := brokerwire.NewConn(conn)
	if err != nil {
		return err
	}
	s := newSession(b, socket, own)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		socket.Close()
		return nil
	}
	b.sessions[s] = true
	b.running.Add(1)
	b.mu.Unlock()
	err = s.serve()
	b.mu.Lock()
	delete(b.sessions, s)
	b.mu.Unlock()
	b.running.Done()
	return err
}

// Close ends all that is open and waits until it has ended. Serve returns.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.closed = true
	for s := range b.sessions {
		s.end()
	}
	b.mu.Unlock()
	b.running.Wait()
	return nil
}

// Use returns what the instance did, the most frequent first, and how many further uses found no room in the list.
func (b *Broker) Use() (list []Use, more uint64) { return b.uses.list() }

// Unused returns those of the permissions that the broker enforces and that the instance never used.
func (b *Broker) Unused(permissions []sdk.Permission) []sdk.Permission {
	return b.uses.unused(permissions)
}
