//go:build !wasip1

// Package reach is the one rule table of what an instance may reach: it checks the grants and the addresses that the
// machine's owner denies, then opens. The broker of a host uses it for confined plugins, a process without a broker for
// itself. Authors do not import it.
package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// DialTimeout is how long a connection may take to open, name lookup included.
const DialTimeout = 30 * time.Second

// Reach opens what the grants allow. Its methods may be called at the same time.
type Reach struct {
	Grants sdk.Grants
	Deny   []netip.Prefix // reached on no grant, under whatever name
	// Lookup resolves a name; network is "ip", "ip4" or "ip6". The system's resolver when nil.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Prefixes reads CIDRs. One that is none denies everything: nobody knows what it was meant to hold back.
func Prefixes(list []string) []netip.Prefix {
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

type lookupTime struct{}

// WithLookupTime makes Dial say how long the lookup of the name took. An address needs none, and leaves took as it is.
func WithLookupTime(ctx context.Context, took *time.Duration) context.Context {
	return context.WithValue(ctx, lookupTime{}, took)
}

// Allowed reports whether the grants allow a connection to the address as it is written.
func (r *Reach) Allowed(network, address string) error {
	if network == "unix" {
		return r.Grants.Unix(address)
	}
	host, port, err := SplitAddress(network, address)
	if err != nil {
		return err
	}
	return r.Grants.Dial(network, host, port)
}

// Dial connects to host:port over "tcp" or "udp", or to the socket at a path over "unix". It resolves a name itself, so
// that the address that was checked is the one that is dialled.
func (r *Reach) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	if network == "unix" {
		return r.dialUnix(ctx, address)
	}
	host, port, err := SplitAddress(network, address)
	if err != nil {
		return nil, err
	}
	if err := r.Grants.Dial(network, host, port); err != nil {
		return nil, err
	}
	addrs, err := r.resolve(ctx, network, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range addrs {
		conn, err := r.dialAddr(ctx, network, host, addr, port)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("dial %s %s: %w", network, address, errors.Join(errs...))
}

func (r *Reach) dialAddr(ctx context.Context, network, host string, addr netip.Addr, port int) (net.Conn, error) {
	if err := r.Grants.Addr(network, host, addr, port); err != nil {
		return nil, err
	}
	if err := r.denied(addr); err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, netip.AddrPortFrom(addr, uint16(port)).String())
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "%w", err) // the network's fault, not the plugin's
	}
	return conn, nil
}

// denied says that the owner of this machine forbids the address. An IPv4 address is the same in its IPv6 form.
func (r *Reach) denied(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	within := func(p netip.Prefix) bool {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Contains(addr)
	}
	if slices.ContainsFunc(r.Deny, within) {
		return sdk.Errorf(sdk.PermissionDenied, "this machine's policy denies %s", addr)
	}
	return nil
}

// SplitAddress takes host:port apart and refuses what is no address of "tcp" or "udp".
func SplitAddress(network, address string) (host string, port int, err error) {
	if err := checkNetwork(network); err != nil {
		return "", 0, err
	}
	host, port, err = splitHostPort(address)
	if err != nil || port == 0 || host == "" {
		return "", 0, sdk.Errorf(sdk.InvalidConfig, "dial %s: %q is not host:port with a numeric port", network, address)
	}
	return host, port, nil
}

func checkNetwork(network string) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return nil
	}
	return sdk.Errorf(sdk.Unsupported, "network %q: only tcp, udp and, to connect, unix", network)
}

func splitHostPort(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, int(n), err
}

func (r *Reach) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	family := "ip"
	if last := network[len(network)-1:]; last == "4" || last == "6" {
		family += last
	}
	lookup := r.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	began := time.Now()
	addrs, err := lookup(ctx, family, host)
	if took, ok := ctx.Value(lookupTime{}).(*time.Duration); ok {
		*took = time.Since(began)
	}
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "resolve %s: %w", host, err)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	if len(addrs) == 0 {
		return nil, sdk.Errorf(sdk.Temporary, "resolve %s: it has no address", host)
	}
	return addrs, nil
}

func (r *Reach) dialUnix(ctx context.Context, name string) (net.Conn, error) {
	real, err := r.realPath(name, r.Grants.Unix)
	if err != nil {
		return nil, err
	}
	conn, err := connectUnix(ctx, real)
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "connect to %s: %w", name, err)
	}
	return conn, nil
}

// realPath follows the links of a path. Where it begins and where it ends must both be allowed.
func (r *Reach) realPath(name string, allowed func(string) error) (string, error) {
	if !filepath.IsAbs(name) || filepath.Clean(name) != name {
		return "", sdk.Errorf(sdk.InvalidConfig, "%q is not a clean absolute path", name)
	}
	if err := allowed(name); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", fileError(err)
	}
	if real == name {
		return name, nil
	}
	if err := allowed(real); err != nil {
		return "", sdk.Errorf(sdk.PermissionDenied, "%s is a link: %w", name, err)
	}
	return real, nil
}

// Open opens a regular file for reading.
func (r *Reach) Open(name string) (*os.File, error) {
	real, err := r.realPath(name, r.mayRead)
	if err != nil {
		return nil, err
	}
	f, err := openReal(real)
	var known *sdk.Error
	if errors.As(err, &known) {
		return nil, err
	}
	if err != nil {
		return nil, fileError(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = sdk.Errorf(sdk.Unsupported, "%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (r *Reach) mayRead(name string) error {
	if err := r.Grants.Read(name); err != nil {
		return err
	}
	return ofAProcess(name)
}

// ofAProcess refuses the files of /proc that show what a process, or the kernel, holds in memory: whoever may read the
// machine's figures there may not read its secrets.
func ofAProcess(name string) error {
	rest, inProc := strings.CutPrefix(name, "/proc/")
	if !inProc {
		return nil
	}
	first, _, _ := strings.Cut(rest, "/")
	_, err := strconv.ParseUint(first, 10, 64)
	if err == nil || first == "self" || first == "thread-self" || first == "kcore" || first == "kallsyms" || first == "keys" {
		return sdk.Errorf(sdk.PermissionDenied, "%s belongs to a process or to the kernel, which fs.read never covers", name)
	}
	return nil
}

// fileError gives an error of the file system a class: what is missing may come.
func fileError(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return sdk.Errorf(sdk.InvalidConfig, "%w", err)
	}
	return sdk.Errorf(sdk.Temporary, "%w", err)
}
