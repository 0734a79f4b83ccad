//go:build !wasip1

package reach

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/picketwatch/picket/sdk"
)

// Listen accepts connections on "tcp" host:port, where host is an address of this machine, or nothing for all.
func (r *Reach) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if err := r.mayListen("tcp", network, address); err != nil {
		return nil, err
	}
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, network, address)
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "%w", err)
	}
	return l, nil
}

// ListenPacket receives datagrams on "udp" host:port. It sends only to whom the grants allow to dial, or who sent one
// before.
func (r *Reach) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if err := r.mayListen("udp", network, address); err != nil {
		return nil, err
	}
	var cfg net.ListenConfig
	conn, err := cfg.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "%w", err)
	}
	return &answeringConn{PacketConn: conn, reach: r, network: network, heard: map[netip.AddrPort]bool{}}, nil
}

func (r *Reach) mayListen(proto, network, address string) error {
	if err := checkNetwork(network); err != nil {
		return err
	}
	if strings.TrimRight(network, "46") != proto {
		return sdk.Errorf(sdk.Unsupported, "listen on %s: only %s", network, proto)
	}
	host, port, err := splitHostPort(address)
	if err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "listen on %s: %q is not address:port with a numeric port", network, address)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return sdk.Errorf(sdk.InvalidConfig, "listen on %s: %q is not an address of this machine", network, host)
	}
	return r.Grants.Listen(network, port)
}

// maxHeard bounds the senders that an answeringConn remembers.
const maxHeard = 1024

// answeringConn answers those it heard from. To others it sends only what the grants allow.
type answeringConn struct {
	net.PacketConn
	reach   *Reach
	network string

	mu    sync.Mutex // guards heard
	heard map[netip.AddrPort]bool
}

func (c *answeringConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.PacketConn.ReadFrom(b)
	if u, ok := addr.(*net.UDPAddr); ok {
		c.remember(u.AddrPort())
	}
	return n, addr, err
}

func (c *answeringConn) remember(from netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard[from] {
		return
	}
	if len(c.heard) >= maxHeard {
		for old := range c.heard { // any one: whoever matters sends again
			delete(c.heard, old)
			break
		}
	}
	c.heard[from] = true
}

func (c *answeringConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("send to %T: want *net.UDPAddr", addr)
	}
	to := u.AddrPort()
	c.mu.Lock()
	known := c.heard[to]
	c.mu.Unlock()
	if !known {
		if err := c.reach.Grants.Addr(c.network, to.Addr().Unmap().String(), to.Addr(), int(to.Port())); err != nil {
			return 0, err
		}
	}
	if err := c.reach.denied(to.Addr()); err != nil {
		return 0, err
	}
	return c.PacketConn.WriteTo(b, addr)
}

// ListenICMP opens a socket for echo requests on "ip4" or "ip6". Addresses are *net.IPAddr whatever the system offers
// underneath.
func (r *Reach) ListenICMP(network string) (net.PacketConn, error) {
	if network != "ip4" && network != "ip6" {
		return nil, sdk.Errorf(sdk.Unsupported, "listen for ICMP on %q: only ip4 and ip6", network)
	}
	if err := r.Grants.Raw("icmp"); err != nil {
		return nil, err
	}
	conn, err := listenICMP(network)
	if err != nil {
		return nil, sdk.Errorf(sdk.Unsupported, "listen for ICMP on %s: %w", network, err)
	}
	request := byte(8)
	if network == "ip6" {
		request = 128
	}
	return &askingConn{PacketConn: conn, reach: r, request: request}, nil
}

// askingConn sends echo requests and nothing else of what ICMP can do to a network.
type askingConn struct {
	net.PacketConn
	reach   *Reach
	request byte // the type of an echo request
}

func (c *askingConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if len(b) < 8 || b[0] != c.request {
		return 0, sdk.Errorf(sdk.PermissionDenied, "only echo requests may be sent over ICMP")
	}
	ip, ok := addr.(*net.IPAddr)
	if !ok {
		return 0, fmt.Errorf("send ICMP to %T: want *net.IPAddr", addr)
	}
	to, ok := netip.AddrFromSlice(ip.IP)
	if !ok {
		return 0, sdk.Errorf(sdk.InvalidConfig, "send ICMP to %q: not an address", ip)
	}
	if err := c.reach.denied(to); err != nil {
		return 0, err
	}
	return c.PacketConn.WriteTo(b, addr)
}
