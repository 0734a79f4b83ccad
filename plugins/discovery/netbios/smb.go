package netbios

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/inquire"
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

const (
	smbPort   = 445
	maxSMB    = 64 << 10 // bytes of one answer
	atOnce    = 32       // servers that are waited for
	smbHeader = 64
)

// server is what one server answered.
type server struct {
	at   netip.AddrPort
	said [][]byte
}

// servers begins to log on at each address and stops when the server has said who it is.
func (d *Discoverer) servers(ctx context.Context, ranges []netip.Prefix, reader *inquire.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, found := make(chan netip.AddrPort), make(chan server)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for at := range work {
				said, err := d.challenge(ctx, at)
				if sdk.ClassOf(err) == sdk.PermissionDenied {
					cancel(err) // it will not be different for the next
				}
				if len(said) == 0 {
					continue
				}
				select {
				case found <- server{at, said}:
				case <-ctx.Done():
				}
			}
		})
	}
	go func() {
		defer close(found)
		defer workers.Wait()
		defer close(work)
		for addr := range iprange.Addresses(ranges) {
			select {
			case work <- netip.AddrPortFrom(addr, smbPort):
			case <-ctx.Done():
				return
			}
		}
	}()
	for s := range found {
		if err := reader.Answers(d.host.Now(), s.at, netip.AddrPortFrom(netip.IPv4Unspecified(), 1), s.said...); err != nil {
			cancel(err)
		}
	}
	return context.Cause(ctx)
}

// challenge returns what a server answers to an offer of dialects and to the beginning of NTLM. Most addresses are not servers,
// which is no error worth telling.
func (d *Discoverer) challenge(ctx context.Context, at netip.AddrPort) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.config.Wait))
	defer cancel()
	conn, err := d.host.Dial(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var said [][]byte
	for _, ask := range [...][]byte{negotiate(), sessionSetup()} {
		answer, err := exchange(conn, ask)
		if err != nil {
			return said, nil
		}
		said = append(said, answer)
	}
	return said, nil
}

func exchange(conn net.Conn, ask []byte) ([]byte, error) {
	if _, err := conn.Write(ask); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > maxSMB { // the first byte is zero for a message of a session
		return nil, sdk.Errorf(sdk.Downstream, "an answer of %d bytes", size)
	}
	answer := make([]byte, len(length)+int(size))
	copy(answer, length[:])
	_, err := io.ReadFull(conn, answer[len(length):])
	return answer, err
}

// message puts the header of SMB 2 ([MS-SMB2] 2.2.1.2) and the length before a body.
func message(command uint16, id uint64, body []byte) []byte {
	size := smbHeader + len(body)
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = append(b, 0xfe, 'S', 'M', 'B', smbHeader, 0)
	b = append(b, make([]byte, 6)...) // credit charge, status
	b = binary.LittleEndian.AppendUint16(b, command)
	b = append(b, 1, 0)               // credits
	b = append(b, make([]byte, 8)...) // flags, next command
	b = binary.LittleEndian.AppendUint64(b, id)
	b = append(b, make([]byte, 32)...) // tree, session, signature
	return append(b, body...)
}

// negotiate offers SMB 2.0.2 and 2.1 ([MS-SMB2] 2.2.3).
func negotiate() []byte {
	body := []byte{36, 0, 2, 0, 1, 0, 0, 0}
	body = append(body, make([]byte, 28)...) // capabilities, client, time
	return message(0, 0, append(body, 0x02, 0x02, 0x10, 0x02))
}

// sessionSetup begins NTLM without a name ([MS-SMB2] 2.2.5, [MS-NLMP] 2.2.1.1).
func sessionSetup() []byte {
	const flags = 1 | 4 | 0x200 | 0x8000 | 0x800000 // texts in Unicode, the server's names, NTLM, signed, with all it says of itself
	ntlm := append([]byte("NTLMSSP\x00"), 1, 0, 0, 0)
	ntlm = binary.LittleEndian.AppendUint32(ntlm, flags)
	ntlm = append(ntlm, make([]byte, 16)...) // neither domain nor host
	body := []byte{25, 0, 0, 1}
	body = append(body, make([]byte, 8)...) // capabilities, channel
	body = append(body, smbHeader+24, 0, byte(len(ntlm)), 0)
	body = append(body, make([]byte, 8)...) // no session before
	return message(1, 1, append(body, ntlm...))
}
