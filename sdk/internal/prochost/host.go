//go:build !wasip1

// Package prochost is the view of the outside world that an instance has in a process: network, secrets, state and
// clock, each under the grants.
package prochost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/state"
)

// Host checks the grants so that a plugin's mistake gives a clear error; what holds a hostile plugin is the confinement
// of its process.
type Host struct {
	log     *slog.Logger
	secrets map[string]string
	grants  sdk.Grants
	deny    []netip.Prefix
	state   *state.Dir
	http    *http.Client
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dialer  net.Dialer
}

// New returns the host of one instance.
func New(cfg abi.InstanceConfig, log *slog.Logger) *Host {
	h := &Host{
		log:     log.With("instance", cfg.Instance),
		secrets: cfg.Secrets,
		grants:  cfg.Grants,
		deny:    prefixes(cfg.DenyDial),
		state:   state.Open(cfg.StateDir),
		lookup:  net.DefaultResolver.LookupNetIP,
		dialer:  net.Dialer{Timeout: 30 * time.Second},
	}
	h.http = &http.Client{Transport: &http.Transport{
		DialContext:           h.Dial, // a redirect must be granted too
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          16,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: time.Minute,
	}}
	return h
}

func (h *Host) Log() *slog.Logger  { return h.log }
func (h *Host) Now() time.Time     { return time.Now() }
func (h *Host) State() sdk.State   { return h.state }
func (h *Host) HTTP() *http.Client { return h.http }

func (h *Host) Secret(name string) (string, error) {
	if err := h.grants.Secret(name); err != nil {
		return "", err
	}
	v, ok := h.secrets[name]
	if !ok {
		return "", sdk.Errorf(sdk.InvalidConfig, "the secret %q is not set", name)
	}
	return v, nil
}

// Allowed reports whether the grants allow the address as it is written.
func (h *Host) Allowed(network, address string) error {
	host, port, err := splitAddress(network, address)
	if err != nil {
		return err
	}
	return h.grants.Dial(network, host, port)
}

// Dial resolves a name itself, so that the address that was checked is the one that is dialled.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := splitAddress(network, address)
	if err != nil {
		return nil, err
	}
	if err := h.grants.Dial(network, host, port); err != nil {
		return nil, err
	}
	addrs, err := h.resolve(ctx, network, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range addrs {
		if err := h.grants.Addr(network, host, addr, port); err != nil {
			errs = append(errs, err)
			continue
		}
		if h.denied(addr) {
			errs = append(errs, sdk.Errorf(sdk.PermissionDenied, "this machine's policy denies %s", addr))
			continue
		}
		conn, err := h.dialer.DialContext(ctx, network, netip.AddrPortFrom(addr, uint16(port)).String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("dial %s %s: %w", network, address, errors.Join(errs...))
}

// prefixes reads CIDRs. One that is none denies everything: nobody knows what it was meant to hold back.
func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		}
		out = append(out, p)
	}
	return out
}

// denied reports whether the owner of this machine forbids the address. An IPv4 address is the same in its IPv6 form.
func (h *Host) denied(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(h.deny, func(p netip.Prefix) bool {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Contains(addr)
	})
}

func splitAddress(network, address string) (host string, port int, err error) {
	if p := strings.TrimRight(network, "46"); p != "tcp" && p != "udp" {
		return "", 0, sdk.Errorf(sdk.Unsupported, "dial %s: only tcp and udp", network)
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, sdk.Errorf(sdk.InvalidConfig, "dial %s: %w", network, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, sdk.Errorf(sdk.InvalidConfig, "dial %s: %q is not host:port with a numeric port", network, address)
	}
	return host, int(n), nil
}

func (h *Host) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	family := "ip"
	if last := network[len(network)-1:]; last == "4" || last == "6" {
		family += last
	}
	addrs, err := h.lookup(ctx, family, host)
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "resolve %s: %w", host, err)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}

// ListenICMP opens a socket for echo requests. Addresses are *net.IPAddr whatever the system offers underneath.
func (h *Host) ListenICMP(network string) (net.PacketConn, error) {
	if network != "ip4" && network != "ip6" {
		return nil, sdk.Errorf(sdk.Unsupported, "listen for ICMP on %q: only ip4 and ip6", network)
	}
	if err := h.grants.Raw("icmp"); err != nil {
		return nil, err
	}
	conn, err := listenICMP(network)
	if err != nil {
		return nil, sdk.Errorf(sdk.Unsupported, "listen for ICMP on %s: %w", network, err)
	}
	return conn, nil
}

// The rest of the world is reached through the broker.
func (h *Host) Fetch(context.Context, sdk.Request) (sdk.Response, error) {
	return sdk.Response{}, notYet("fetch")
}
func (h *Host) Open(string) (fs.File, error) { return nil, notYet("open files") }
func (h *Host) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, notYet("listen")
}
func (h *Host) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, notYet("listen")
}
func notYet(what string) error { return sdk.Errorf(sdk.Unsupported, "this host cannot %s yet", what) }
