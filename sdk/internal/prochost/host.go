//go:build !wasip1

// Package prochost is the view of the outside world that an instance has in a process: network, files, secrets, state
// and clock, each under the grants. A confined process asks the broker of its host; any other opens by itself what the
// same rules allow.
package prochost

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/reach"
)

// Host checks the grants so that a plugin's mistake gives a clear error; what holds a hostile plugin is the confinement
// of its process, and the broker.
type Host struct {
	log     *slog.Logger
	secrets map[string]string
	rules   *reach.Reach
	outside outside
	state   sdk.State
	http    *http.Client
	fetch   *http.Client
}

// outside opens what an instance asks for: reach.Reach by itself, broker by asking.
type outside interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	ListenICMP(network string) (net.PacketConn, error)
	Open(name string) (*os.File, error)
}

// New returns the host of one instance. All instances of a process share its broker.
func New(cfg abi.InstanceConfig, log *slog.Logger) *Host {
	if b := inherited(); b != nil {
		own := asked{b, cfg.Instance}
		return newHost(cfg, log, own, brokerState{own})
	}
	return newHost(cfg, log, nil, nil)
}

// newHost makes a host that opens by itself when out is nil.
func newHost(cfg abi.InstanceConfig, log *slog.Logger, out outside, state sdk.State) *Host {
	h := &Host{
		log:     log.With("instance", cfg.Instance),
		secrets: cfg.Secrets,
		rules:   &reach.Reach{Grants: cfg.Grants, Deny: reach.Prefixes(cfg.DenyDial)},
		outside: out,
		state:   state,
	}
	if out == nil {
		h.outside, h.state = h.rules, reach.State(cfg.StateDir)
	}
	transport := &http.Transport{
		DialContext:           h.Dial, // a redirect must be granted too
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          16,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: time.Minute,
	}
	h.http = &http.Client{Transport: transport}
	h.fetch = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return h
}

// Log returns the instance's log.
func (h *Host) Log() *slog.Logger { return h.log }

// Now returns the time.
func (h *Host) Now() time.Time { return time.Now() }

// State returns the instance's key-value store.
func (h *Host) State() sdk.State { return h.state }

// HTTP returns a client whose connections go through Dial.
func (h *Host) HTTP() *http.Client { return h.http }

// Close closes the connections that wait for another request.
func (h *Host) Close() { h.http.CloseIdleConnections() }

// Secret returns a granted secret.
func (h *Host) Secret(name string) (string, error) {
	if err := h.rules.Grants.Secret(name); err != nil {
		return "", err
	}
	v, ok := h.secrets[name]
	if !ok {
		return "", sdk.Errorf(sdk.InvalidConfig, "the secret %q is not set", name)
	}
	return v, nil
}

// Allowed reports whether the grants allow the address as it is written.
func (h *Host) Allowed(network, address string) error { return h.rules.Allowed(network, address) }

// Dial opens a connection that the grants allow.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.outside.Dial(ctx, network, address)
}

// ListenICMP opens a socket for echo requests.
func (h *Host) ListenICMP(network string) (net.PacketConn, error) {
	return h.outside.ListenICMP(network)
}

// Listen accepts connections where the grants allow it.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return h.outside.Listen(ctx, network, address)
}

// ListenPacket receives datagrams where the grants allow it.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return h.outside.ListenPacket(ctx, network, address)
}

// Open opens a file that the grants allow. It can also seek and read at an offset.
func (h *Host) Open(name string) (fs.File, error) {
	f, err := h.outside.Open(name)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

// Model opens a model that the host of this process has for it.
func (h *Host) Model(id string) (*sdk.Model, error) {
	if !sdk.ValidID(id) { // the broker would take it for a path
		return nil, sdk.Errorf(sdk.Internal, "open model %.128q: that is not the id of a release, namespace/name", id)
	}
	b, ok := h.outside.(asked)
	if !ok {
		return nil, sdk.Errorf(sdk.Unsupported, "open model %s: only a host that started this process has models for it", id)
	}
	return b.Model(id)
}

// Over returns a host that asks the broker at the other end of the socket, which it takes over. stop ends the
// connection to it.
func Over(broker *os.File, cfg abi.InstanceConfig, log *slog.Logger) (h *Host, stop func(), err error) {
	b, err := newBroker(broker)
	if err != nil {
		return nil, nil, err
	}
	own := asked{b, cfg.Instance}
	h = newHost(cfg, log, own, brokerState{own})
	return h, func() { h.Close(); b.close() }, nil
}
