package rdns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// maxAnswer is the largest answer: over UDP without EDNS 512 bytes are allowed, and some servers send more.
const maxAnswer = 4 << 10

// ask asks for one address, over UDP and where the answer does not fit, over TCP. Each question has a connection and
// thus a port of its own, so that an answer is as hard to forge as it can be.
func (r *run) ask(ctx context.Context, addr netip.Addr) ([]string, error) {
	q, err := newQuestion(addr)
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "ask for %s: %w", addr, err)
	}
	packet, err := q.pack()
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "ask for %s: %w", addr, err)
	}
	names, err := r.over(ctx, "udp", q, packet)
	if errors.Is(err, errTruncated) {
		names, err = r.over(ctx, "tcp", q, packet)
	}
	return names, err
}

func (r *run) over(ctx context.Context, network string, q question, packet []byte) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.config.Timeout))
	defer cancel()
	conn, err := r.host.Dial(ctx, network, r.config.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return nil, err
		}
	}
	if network == "tcp" {
		return overStream(conn, q, packet)
	}
	return overDatagrams(conn, q, packet)
}

// overDatagrams waits for the answer and passes over what is not: a forgery must not end the wait.
func overDatagrams(conn net.Conn, q question, packet []byte) ([]string, error) {
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buf := make([]byte, maxAnswer)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		names, err := q.parse(buf[:n])
		if !errors.Is(err, errForeign) {
			return names, err
		}
	}
}

// overStream sends and reads messages with their length in front (RFC 1035, 4.2.2).
func overStream(conn net.Conn, q question, packet []byte) ([]string, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	names, err := q.parse(answer)
	if errors.Is(err, errTruncated) {
		return nil, errors.New("the server's answer over TCP is cut off too")
	}
	return names, err
}
