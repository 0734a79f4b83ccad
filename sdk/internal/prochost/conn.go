//go:build !wasip1

package prochost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/picketwatch/picket/sdk/brokerwire"
)

// streamConn is a connection that the broker relays. CloseWrite and CloseRead work as on a TCP connection.
type streamConn struct {
	*net.UnixConn
	local, remote net.Addr
	lookup        time.Duration
}

// LookupTime implements sdk.LookupTimer.
func (c *streamConn) LookupTime() time.Duration { return c.lookup }

func (c *streamConn) LocalAddr() net.Addr  { return c.local }
func (c *streamConn) RemoteAddr() net.Addr { return c.remote }

func isUDP(network string) bool { return strings.HasPrefix(network, "udp") }

// parseAddr turns the text of an address into the type that package net has for its network.
func parseAddr(network, text string) net.Addr {
	if network == "unix" {
		return &net.UnixAddr{Name: text, Net: "unix"}
	}
	at, _ := netip.ParseAddrPort(text)
	if isUDP(network) {
		return net.UDPAddrFromAddrPort(at)
	}
	return net.TCPAddrFromAddrPort(at)
}

// listener takes connections that the broker accepted.
type listener struct {
	conn    *brokerwire.Conn
	network string
	local   net.Addr
	accept  sync.Mutex // one Accept at a time reads
}

func (l *listener) Accept() (net.Conn, error) {
	l.accept.Lock()
	defer l.accept.Unlock()
	data, f, err := l.conn.Receive(true)
	if errors.Is(err, io.EOF) {
		err = net.ErrClosed // the broker is gone
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: l.network, Addr: l.local, Err: err}
	}
	var from brokerwire.Accepted
	if f == nil {
		return nil, errors.New("accept: the broker sends no connection")
	}
	if err := json.Unmarshal(data, &from); err != nil {
		f.Close()
		return nil, fmt.Errorf("accept: what the broker sends: %w", err)
	}
	conn, err := brokerwire.Socket(f)
	if err != nil {
		return nil, err
	}
	return &streamConn{UnixConn: conn, local: parseAddr(l.network, from.Local), remote: parseAddr(l.network, from.Remote)}, nil
}

func (l *listener) Close() error   { return l.conn.Close() }
func (l *listener) Addr() net.Addr { return l.local }

// SetDeadline ends a waiting Accept.
func (l *listener) SetDeadline(t time.Time) error { return l.conn.Socket().SetReadDeadline(t) }

// packetConn is a datagram socket that the broker relays. With a remote address it is connected.
type packetConn struct {
	*net.UnixConn
	local, remote net.Addr
	overIP        bool // addresses are *net.IPAddr

	reading sync.Mutex // guards in
	in      []byte
	writing sync.Mutex // guards out
	out     []byte
}

func newPacketConn(conn *net.UnixConn, local, remote net.Addr, overIP bool) *packetConn {
	return &packetConn{UnixConn: conn, local: local, remote: remote, overIP: overIP, in: make([]byte, brokerwire.MaxDatagram)}
}

func (c *packetConn) LocalAddr() net.Addr  { return c.local }
func (c *packetConn) RemoteAddr() net.Addr { return c.remote }

// ReadFrom returns the next datagram, cut to b. An error of the last one sent comes here too.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.UnixConn.Read(c.in)
	if err != nil {
		return 0, nil, c.opError("read", err)
	}
	from, payload, err := brokerwire.ParseDatagram(c.in[:n])
	if err != nil {
		return 0, nil, c.opError("read", err)
	}
	n = copy(b, payload)
	switch {
	case !from.IsValid():
		return n, c.remote, nil
	case c.overIP:
		return n, &net.IPAddr{IP: from.Addr().AsSlice(), Zone: from.Addr().Zone()}, nil
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *packetConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFrom(b)
	return n, err
}

func (c *packetConn) Write(b []byte) (int, error) {
	if c.remote == nil {
		return 0, c.opError("write", syscall.EDESTADDRREQ)
	}
	return c.send(netip.AddrPort{}, b)
}

func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.remote != nil {
		return 0, c.opError("write", net.ErrWriteToConnected)
	}
	switch a := addr.(type) {
	case *net.UDPAddr:
		if !c.overIP {
			return c.send(a.AddrPort(), b)
		}
	case *net.IPAddr:
		if ip, ok := netip.AddrFromSlice(a.IP); ok && c.overIP {
			return c.send(netip.AddrPortFrom(ip.Unmap().WithZone(a.Zone), 0), b)
		}
	}
	return 0, c.opError("write", fmt.Errorf("the address %v is a %T", addr, addr))
}

func (c *packetConn) send(to netip.AddrPort, b []byte) (int, error) {
	if len(b) > 65507 {
		return 0, c.opError("write", os.NewSyscallError("sendmsg", syscall.EMSGSIZE))
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = append(brokerwire.AppendDatagram(c.out[:0], to), b...)
	if _, err := c.UnixConn.Write(c.out); err != nil {
		return 0, c.opError("write", err)
	}
	return len(b), nil
}

func (c *packetConn) opError(op string, err error) error {
	var inner *net.OpError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	if errors.Is(err, io.EOF) {
		err = net.ErrClosed // the broker is gone: a datagram socket has no end
	}
	return &net.OpError{Op: op, Net: "udp", Source: c.local, Addr: c.remote, Err: err}
}
