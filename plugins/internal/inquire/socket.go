package inquire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Answers are bounded: whoever answers without end is heard no more in this round.
const (
	maxAnswer  = 9000 // bytes of one; multicast DNS allows no more
	maxAnswers = 8192 // of one Listen
)

// Links returns this machine's address on the way to each range, each address once: a question that is sent from it to a group
// goes to that network. Nothing is sent to find out. The host must allow to dial the port of the ranges over UDP.
func Links(ctx context.Context, host sdk.Host, ranges []netip.Prefix, port uint16) ([]netip.Addr, error) {
	var out []netip.Addr
	var failed error
	known := map[netip.Addr]bool{}
	for _, r := range ranges {
		to := r.Masked().Addr()
		if next := to.Next(); r.Bits() < to.BitLen() && r.Contains(next) {
			to = next // the first one names the network
		}
		conn, err := host.Dial(ctx, "udp", netip.AddrPortFrom(to, port).String())
		if err != nil {
			failed = err
			continue
		}
		local, err := netip.ParseAddrPort(conn.LocalAddr().String())
		conn.Close()
		if err != nil {
			failed = sdk.Errorf(sdk.Internal, "own address on the way to %s: %w", r, err)
			continue
		}
		if a := local.Addr().Unmap(); !known[a] {
			known[a] = true
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, failed
	}
	return out, nil
}

// Socket asks over UDP from a port of its own.
type Socket struct {
	conn net.PacketConn
	own  netip.AddrPort
	stop func() bool
}

// Open opens a socket at an address of this machine until ctx ends.
func Open(ctx context.Context, host sdk.Host, at netip.Addr) (*Socket, error) {
	conn, err := host.ListenPacket(ctx, "udp", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}
	s.own, _ = netip.ParseAddrPort(conn.LocalAddr().String())
	return s, nil
}

// Close closes the socket.
func (s *Socket) Close() {
	s.stop()
	s.conn.Close()
}

// Send sends one message.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	_, err := s.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

// Listen hands on each message that comes within a time, with who sent it and to where. The bytes are valid during the call.
func (s *Socket) Listen(wait time.Duration, take func(from, to netip.AddrPort, b []byte) error) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	buf := make([]byte, maxAnswer)
	for range maxAnswers {
		n, from, err := s.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if u, ok := from.(*net.UDPAddr); ok && n > 0 {
			at := u.AddrPort()
			if err := take(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), s.own, buf[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}
