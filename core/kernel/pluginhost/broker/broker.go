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
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Config says whose broker it is.
type Config struct {
	Instance string
	Grants   []sdk.Permission
	Deny     []netip.Prefix // addresses that are reached on no grant, under whatever name
	State    string         // folder of the instance's key-value store, which must exist
	Log      *slog.Logger
	Now      func() time.Time // time.Now when nil
	// Lookup resolves names; the system's resolver when nil.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// MaxConns is how many connections may be open at once; 0 means 256.
	MaxConns int
}

// Broker serves one instance, one process of it after the other.
type Broker struct{ cfg Config }

// New returns a broker.
func New(cfg Config) *Broker { return &Broker{cfg: cfg} }

// Use is what an instance did, or tried, through the broker.
type Use struct {
	Cap         string    `json:"cap"`    // for example "net.dial"
	Detail      string    `json:"detail"` // "tcp db.example.org:5432", a path
	Count       uint64    `json:"count"`  // times allowed
	Denied      uint64    `json:"denied"` // times refused
	BytesIn     uint64    `json:"bytes_in"`
	BytesOut    uint64    `json:"bytes_out"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	LastRefusal string    `json:"last_refusal,omitempty"`
}

// Pair returns a socket for Serve and the one that the process inherits, whose number it finds in PICKET_BROKER_FD.
func Pair() (host, child *os.File, err error) { panic("not yet") }

// Serve answers one process until its end of conn is closed, and then ends all that it had open. It takes conn over. An
// error says that the process broke the protocol, and should end it.
func (b *Broker) Serve(conn *os.File) error { panic("not yet") }

// Close ends all that is open and waits until it has ended. Serve returns.
func (b *Broker) Close() error { panic("not yet") }

// Use returns what the instance did, the most frequent first, and how many further uses found no room in the list.
func (b *Broker) Use() (uses []Use, more uint64) { panic("not yet") }

// Unused returns those of the permissions that the broker enforces and that the instance never used.
func (b *Broker) Unused(permissions []sdk.Permission) []sdk.Permission { panic("not yet") }
