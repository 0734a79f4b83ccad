package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// Credentials are those of gRPC for a client with the configuration, but what gRPC writes at once is written to the socket
// at once: crypto/tls writes each record of 16 KiB alone, and each of them wakes the plugin. Nor is the host woken when the
// plugin has read. The configuration is read when a connection is made.
func Credentials(cfg *tls.Config) credentials.TransportCredentials { return gathering{cfg} }

type gathering struct{ cfg *tls.Config }

func (g gathering) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	gate := &gatherer{Conn: Quiet(raw)}
	conn, info, err := credentials.NewTLS(g.cfg).ClientHandshake(ctx, authority, gate)
	if err != nil {
		return nil, nil, err
	}
	return &gatheredConn{Conn: conn, gate: gate}, info, nil
}

func (g gathering) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(g.cfg).ServerHandshake(raw)
}

func (g gathering) Info() credentials.ProtocolInfo { return credentials.NewTLS(g.cfg).Info() }

func (g gathering) Clone() credentials.TransportCredentials { return gathering{g.cfg.Clone()} }

func (g gathering) OverrideServerName(name string) error {
	g.cfg.ServerName = name
	return nil
}

// gatheredConn is the TLS connection. gRPC writes from one goroutine at a time.
type gatheredConn struct {
	net.Conn
	gate *gatherer
}

// maxRecord is how much a record of TLS carries.
const maxRecord = 16 << 10

func (c *gatheredConn) Write(b []byte) (int, error) {
	if len(b) <= maxRecord {
		return c.Conn.Write(b)
	}
	c.gate.hold()
	n, err := c.Conn.Write(b)
	if failure := c.gate.release(); err == nil && failure != nil {
		return 0, failure
	}
	return n, err
}

// gatherer is the connection below TLS.
type gatherer struct {
	net.Conn

	mu      sync.Mutex // guards all below, and the order of writes
	holding bool
	held    []byte
}

func (g *gatherer) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holding = true
}

// release writes what was held.
func (g *gatherer) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holding = false
	return g.flush()
}

func (g *gatherer) flush() error {
	if len(g.held) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.held)
	g.held = g.held[:0]
	return err
}

func (g *gatherer) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.holding {
		return g.Conn.Write(b)
	}
	if len(g.held)+len(b) > 2*ConnBuffer {
		if err := g.flush(); err != nil {
			return 0, err
		}
	}
	g.held = append(g.held, b...)
	return len(b), nil
}
