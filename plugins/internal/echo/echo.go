// Package echo sends ICMP echo requests: what goes in is a socket and an address, what comes out is how long its answer
// took. Answers to others, and forged ones, are not taken for it.
package echo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The payload of a request: a random token of this sweep and a counter. An answer must bring both back, so that the
// answers to other programs, to earlier sweeps or to nobody are not taken for ours. The identifier in the header
// cannot do that: the kernel sets its own on unprivileged sockets.
const (
	tokenLen   = 8
	payloadLen = tokenLen + 8
)

// Protocol numbers, as icmp.ParseMessage wants them.
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// Echoer sends echo requests over one socket and gives each answer to whoever asked that address. One request to an
// address waits at a time.
type Echoer struct {
	socket net.PacketConn
	family string
	id     int
	token  [tokenLen]byte

	mu      sync.Mutex // guards the rest
	counter uint64
	waiting map[netip.Addr]*request
	closed  bool
}

type request struct {
	counter  uint64
	began    time.Time
	answered chan time.Duration // holds one
}

// New takes the socket over; family is "ip4" or "ip6".
func New(socket net.PacketConn, family string) *Echoer {
	e := &Echoer{socket: socket, family: family, waiting: map[netip.Addr]*request{}}
	var id [2]byte
	rand.Read(id[:])
	rand.Read(e.token[:])
	e.id = int(binary.BigEndian.Uint16(id[:]))
	return e
}

// Ping sends one request and waits for its answer. It returns 0 when none came in time, and an error when the request
// could not be sent.
func (e *Echoer) Ping(ctx context.Context, addr netip.Addr, timeout time.Duration) (time.Duration, error) {
	r := e.expect(addr)
	defer e.forget(addr)
	packet, err := e.request(r.counter)
	if err != nil {
		return 0, err
	}
	if _, err := e.socket.WriteTo(packet, e.destination(addr)); err != nil {
		return 0, err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case rtt := <-r.answered:
		return max(rtt, time.Nanosecond), nil // a clock that stood still must not look like no answer
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0, nil
}

func (e *Echoer) expect(addr netip.Addr) *request {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counter++
	r := &request{counter: e.counter, began: time.Now(), answered: make(chan time.Duration, 1)}
	e.waiting[addr] = r
	return r
}

func (e *Echoer) forget(addr netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.waiting, addr)
}

func (e *Echoer) request(counter uint64) ([]byte, error) {
	payload := binary.BigEndian.AppendUint64(bytes.Clone(e.token[:]), counter)
	m := icmp.Message{
		Type: ipv4.ICMPTypeEcho,
		Body: &icmp.Echo{ID: e.id, Seq: int(counter & 0xffff), Data: payload},
	}
	if e.family == "ip6" {
		m.Type = ipv6.ICMPTypeEchoRequest // the kernel fills in its checksum
	}
	return m.Marshal(nil)
}

// destination has the type that the socket wants: unprivileged ICMP sockets are datagram sockets to Go.
func (e *Echoer) destination(addr netip.Addr) net.Addr {
	if _, datagram := e.socket.LocalAddr().(*net.UDPAddr); datagram {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	}
	return &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}
}

// Receive reads answers until the socket is closed.
func (e *Echoer) Receive() error {
	buf := make([]byte, 1500)
	for {
		n, from, err := e.socket.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || e.isClosed() {
				return nil
			}
			return err
		}
		now := time.Now()
		if counter, ok := parseReply(e.family, buf[:n], e.token); ok {
			e.answer(source(from), counter, now)
		}
	}
}

// answer passes a reply on if it comes from the address that was asked, for the request that is waiting.
func (e *Echoer) answer(from netip.Addr, counter uint64, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.waiting[from]
	if r == nil || r.counter != counter {
		return
	}
	select {
	case r.answered <- now.Sub(r.began):
	default: // a duplicate
	}
}

// Close ends Receive.
func (e *Echoer) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.socket.Close()
}

func (e *Echoer) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// parseReply reads an ICMP message and returns the counter of our request, if it is the answer to one.
func parseReply(family string, packet []byte, token [tokenLen]byte) (uint64, bool) {
	proto, want := protoICMP, icmp.Type(ipv4.ICMPTypeEchoReply)
	if family == "ip6" {
		proto, want = protoICMPv6, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(proto, packet)
	if err != nil || m.Type != want {
		return 0, false
	}
	echo, ok := m.Body.(*icmp.Echo)
	if !ok || len(echo.Data) != payloadLen || !bytes.Equal(echo.Data[:tokenLen], token[:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(echo.Data[tokenLen:]), true
}

// source returns the address a packet came from, or the zero Addr.
func source(from net.Addr) netip.Addr {
	var ip net.IP
	var zone string
	switch a := from.(type) {
	case *net.IPAddr:
		ip, zone = a.IP, a.Zone
	case *net.UDPAddr:
		ip, zone = a.IP, a.Zone
	}
	addr, _ := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		return addr.WithZone(zone)
	}
	return addr
}
