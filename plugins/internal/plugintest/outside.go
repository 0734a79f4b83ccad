package plugintest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// NewHost returns a host whose grants are what plugin.yaml in the folder of the test asks for with the configuration.
func NewHost(tb testing.TB, inst sdk.Instance, text string) *Host {
	tb.Helper()
	schema, err := config.Schema(inst.Config())
	if err != nil {
		tb.Fatal(err)
	}
	full, err := config.WithDefaults(schema, []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	grants, err := sdk.ExpandPermissions(ReadManifest(tb).Permissions, full)
	if err != nil {
		tb.Fatal(err)
	}
	return &Host{Time: startOfTests, grants: grants, log: slog.New(slog.DiscardHandler), state: &memory{values: map[string][]byte{}}}
}

// Log implements sdk.Host.
func (h *Host) Log() *slog.Logger { return h.log }

// State implements sdk.Host. It lasts as long as the host.
func (h *Host) State() sdk.State { return h.state }

// HTTP implements sdk.Host.
func (h *Host) HTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}}
}

// Fetch implements sdk.Host, as the broker does it: no redirects, no proxy, bounded answers.
func (h *Host) Fetch(ctx context.Context, req sdk.Request) (sdk.Response, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if req.Roots != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(req.Roots)) {
			return sdk.Response{}, sdk.Errorf(sdk.InvalidConfig, "roots: no certificate in PEM form")
		}
	}
	client := &http.Client{
		Transport:     &http.Transport{DialContext: h.Dial, TLSClientConfig: settings, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	q, err := http.NewRequestWithContext(ctx, req.Method, req.URL, bytes.NewReader(req.Body))
	if err != nil {
		return sdk.Response{}, sdk.Errorf(sdk.InvalidConfig, "fetch: %w", err)
	}
	for name, values := range req.Header {
		q.Header[name] = values
	}
	r, err := client.Do(q)
	if err != nil {
		return sdk.Response{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, sdk.MaxFetch))
	return sdk.Response{Status: r.StatusCode, Header: r.Header, Body: body}, err
}

// Open implements sdk.Host.
func (h *Host) Open(name string) (fs.File, error) {
	if err := h.grants.Read(name); err != nil {
		return nil, err
	}
	return os.Open(name)
}

// Listen implements sdk.Host.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if err := h.listens(network, address); err != nil {
		return nil, err
	}
	return (&net.ListenConfig{}).Listen(ctx, network, address)
}

// ListenPacket implements sdk.Host.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if err := h.listens(network, address); err != nil {
		return nil, err
	}
	return (&net.ListenConfig{}).ListenPacket(ctx, network, address)
}

func (h *Host) listens(network, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	for _, p := range h.grants {
		if p.Cap == sdk.CapNetListen && slices.Contains(p.Args["proto"], network) && slices.Contains(p.Args["port"], port) {
			return nil
		}
	}
	return sdk.Errorf(sdk.PermissionDenied, "no grant of %s allows %s on %s", sdk.CapNetListen, network, address)
}

// FreePort returns a port of this machine on which nobody listens, neither for TCP nor for UDP.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if u, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			u.Close()
			return port
		}
	}
	tb.Fatal("no port is free for both TCP and UDP")
	return 0
}

type memory struct {
	mu     sync.Mutex // guards values
	values map[string][]byte
}

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.values[key]), nil
}

func (m *memory) Put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = append([]byte{}, value...)
	return nil
}
