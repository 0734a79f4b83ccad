//go:build !wasip1

package reach

import (
	"fmt"
	"net"
)

// listenRaw needs the right to open raw sockets.
func listenRaw(network string) (net.PacketConn, error) {
	if network == "ip6" {
		return net.ListenPacket("ip6:ipv6-icmp", "::")
	}
	return net.ListenPacket("ip4:icmp", "0.0.0.0")
}

// echoConn makes a datagram-oriented ICMP socket, whose addresses are *net.UDPAddr, look like a raw one.
type echoConn struct{ net.PacketConn }

func (c echoConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.PacketConn.ReadFrom(b)
	if u, ok := addr.(*net.UDPAddr); ok {
		addr = &net.IPAddr{IP: u.IP, Zone: u.Zone}
	}
	return n, addr, err
}

func (c echoConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	switch a := addr.(type) {
	case *net.IPAddr:
		return c.PacketConn.WriteTo(b, &net.UDPAddr{IP: a.IP, Zone: a.Zone})
	case *net.UDPAddr:
		return c.PacketConn.WriteTo(b, a)
	}
	return 0, fmt.Errorf("write ICMP to %T: want *net.IPAddr", addr)
}
