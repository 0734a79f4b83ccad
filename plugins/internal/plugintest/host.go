package plugintest

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Host gives a plugin a fixed time, and connections, files and sockets that the manifest allows for its configuration, so that a test
// notices when a manifest asks for too little.
type Host struct {
	sdk.Host
	Time   time.Time
	grants sdk.Grants
	log    *slog.Logger
	state  *memory

	mu     sync.Mutex // guards dialed
	dialed []string
}

var startOfTests = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Start configures and starts the instance of a plugin with the grants of plugin.yaml in the folder of the test.
func Start(tb testing.TB, inst sdk.Instance, text string) *Host {
	tb.Helper()
	Configure(tb, inst, text)
	h := NewHost(tb, inst, text)
	if s, ok := inst.(sdk.Starter); ok {
		if err := s.Start(context.Background(), h); err != nil {
			tb.Fatal(err)
		}
	}
	if s, ok := inst.(sdk.Stopper); ok {
		tb.Cleanup(func() {
			if err := s.Stop(context.Background()); err != nil {
				tb.Error(err)
			}
		})
	}
	return h
}

// Now implements sdk.Host.
func (h *Host) Now() time.Time { return h.Time }

// Dial implements sdk.Host.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.Lock()
	h.dialed = append(h.dialed, address)
	h.mu.Unlock()
	if network == "unix" {
		if err := h.grants.Unix(address); err != nil {
			return nil, err
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	if err := h.grants.Dial(network, host, port); err != nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(host); err == nil && !addr.IsLoopback() {
		panic("a test tries to leave this machine: " + address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Dialed returns where connections went, or were asked for.
func (h *Host) Dialed() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.dialed...)
}
