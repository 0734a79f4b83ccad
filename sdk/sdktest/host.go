package sdktest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/prochost"
	"github.com/picketwatch/picket/sdk/internal/state"
)

// Host is an sdk.Host for tests: its log goes to the test, its state to memory, and its network is this machine's,
// under Grants. Set its fields before it is used.
type Host struct {
	// Grants are enforced; at first they allow all secrets, ICMP and connections to this machine.
	Grants []sdk.Permission
	// Secrets by the path of their field.
	Secrets map[string]string
	// Models are files, by the id under which the plugin opens them.
	Models map[string]string
	// Clock is what Now returns; time.Now at first.
	Clock func() time.Time
	// DialFunc and ICMPFunc, if not nil, replace the network. The grants are checked before.
	DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
	ICMPFunc func(network string) (net.PacketConn, error)

	log   *slog.Logger
	state *memory
	once  sync.Once
	real  *prochost.Host
	http  *http.Client
}

// NewHost returns a host for the test; at its end the host's connections are closed.
func NewHost(tb testing.TB) *Host {
	tb.Helper()
	h := &Host{
		Grants: []sdk.Permission{
			{Cap: sdk.CapSecretRead},
			{Cap: sdk.CapNetRaw, Args: map[string][]string{"proto": {"icmp"}}},
			{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.0/8", "::1", "localhost"}}},
		},
		Clock: time.Now,
		log:   slog.New(slog.NewTextHandler(&testWriter{tb: tb}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		state: &memory{values: map[string][]byte{}},
	}
	h.http = &http.Client{Transport: &http.Transport{DialContext: h.Dial}}
	tb.Cleanup(h.http.CloseIdleConnections)
	return h
}

// network is the host of a process, made at first use so that the fields can be set before.
func (h *Host) network() *prochost.Host {
	h.once.Do(func() { h.real = prochost.New(abi.InstanceConfig{Grants: h.Grants, Secrets: h.Secrets}, h.log) })
	return h.real
}

// Log writes to the log of the test.
func (h *Host) Log() *slog.Logger { return h.log }

// Now is Clock.
func (h *Host) Now() time.Time { return h.Clock() }

// State lasts as long as the test.
func (h *Host) State() sdk.State { return h.state }

// HTTP goes through Dial.
func (h *Host) HTTP() *http.Client { return h.http }

// Secret is one of Secrets that Grants allow.
func (h *Host) Secret(name string) (string, error) { return h.network().Secret(name) }

// Dial connects as a process does, or by DialFunc.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.DialFunc == nil {
		return h.network().Dial(ctx, network, address)
	}
	if err := h.network().Allowed(network, address); err != nil {
		return nil, err
	}
	return h.DialFunc(ctx, network, address)
}

// ListenICMP opens a socket for ICMP echo as a process does, or by ICMPFunc.
func (h *Host) ListenICMP(network string) (net.PacketConn, error) {
	if h.ICMPFunc == nil {
		return h.network().ListenICMP(network)
	}
	if err := sdk.Grants(h.Grants).Raw("icmp"); err != nil {
		return nil, err
	}
	return h.ICMPFunc(network)
}

// Fetch goes through Dial, like HTTP.
func (h *Host) Fetch(ctx context.Context, req sdk.Request) (sdk.Response, error) {
	client := http.Client{Transport: h.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return prochost.Fetch(ctx, &client, req)
}

// Open opens a file of this machine.
func (h *Host) Open(name string) (fs.File, error) { return h.network().Open(name) }

// Model opens one of Models.
func (h *Host) Model(id string) (*sdk.Model, error) {
	path, ok := h.Models[id]
	if !ok {
		return nil, sdk.Errorf(sdk.PermissionDenied, "open model %s: it is not among the models of this test", id)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &sdk.Model{ID: id, Version: "0.0.0", Digest: hex.EncodeToString(sum.Sum(nil)), SectionReader: io.NewSectionReader(f, 0, size), Closer: f}, nil
}

// Listen listens on this machine.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return h.network().Listen(ctx, network, address)
}

// ListenPacket listens on this machine.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return h.network().ListenPacket(ctx, network, address)
}

// memory is a store that lasts as long as the test. It has the bounds of a real one.
type memory struct {
	mu     sync.Mutex // guards values
	values map[string][]byte
}

func (m *memory) Get(key string) ([]byte, error) {
	if err := state.CheckKey(key); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return nil, nil
	}
	return append([]byte{}, v...), nil
}

func (m *memory) Put(key string, value []byte) error {
	if err := state.CheckKey(key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	keys, total := 0, 0
	for k, v := range m.values {
		if k != key {
			keys, total = keys+1, total+len(v)
		}
	}
	if err := state.Fits(keys, total, len(value)); err != nil {
		return err
	}
	m.values[key] = append([]byte{}, value...)
	return nil
}

// testWriter writes to the log of a test until the test has ended, when writing to it would panic.
type testWriter struct {
	mu   sync.Mutex // guards tb
	tb   testing.TB
	once sync.Once
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.once.Do(func() {
		w.tb.Cleanup(func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.tb = nil
		})
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tb != nil {
		w.tb.Helper()
		w.tb.Logf("plugin: %s", p[:max(len(p)-1, 0)])
	}
	return len(p), nil
}
