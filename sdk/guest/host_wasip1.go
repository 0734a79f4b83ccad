package guest

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// host is the outside world of a guest: a log, a clock and its secrets.
type host struct {
	cfg abi.InstanceConfig
	log *slog.Logger
	now func() time.Time
}

func newHost(cfg abi.InstanceConfig, log func(slog.Level, []byte), now func() time.Time) *host {
	return &host{cfg: cfg, log: slog.New(newLogHandler(log)).With("instance", cfg.Instance), now: now}
}

func (h *host) Log() *slog.Logger { return h.log }
func (h *host) Now() time.Time    { return h.now() }
func (h *host) State() sdk.State  { return noState{} }

func (h *host) Secret(name string) (string, error) {
	if err := sdk.Grants(h.cfg.Grants).Secret(name); err != nil {
		return "", err
	}
	v, ok := h.cfg.Secrets[name]
	if !ok {
		return "", sdk.Errorf(sdk.InvalidConfig, "the secret %q is not set", name)
	}
	return v, nil
}

func notInAGuest(what string) error {
	return sdk.Errorf(sdk.Unsupported, "a WASM guest cannot %s; this plugin needs the runtime process", what)
}

func (h *host) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, notInAGuest("open connections")
}

func (h *host) ListenICMP(string) (net.PacketConn, error) { return nil, notInAGuest("open sockets") }

func (h *host) Fetch(context.Context, sdk.Request) (sdk.Response, error) {
	return sdk.Response{}, notInAGuest("fetch")
}
func (h *host) Open(string) (fs.File, error) { return nil, notInAGuest("open files") }
func (h *host) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, notInAGuest("listen")
}
func (h *host) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, notInAGuest("listen")
}

type noState struct{}

func (noState) Get(string) ([]byte, error) { return nil, notInAGuest("keep state") }
func (noState) Put(string, []byte) error   { return notInAGuest("keep state") }
