package netbios

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

const (
	datagramHeader = 14
	addressAt      = 4
)

func recogniseDatagrams(_ app.Dir, b []byte) app.Verdict {
	if _, _, ok := openDatagram(b); ok {
		return app.Sure
	}
	return app.No
}

// openDatagram reads the names of a datagram and returns what it carries.
func openDatagram(b []byte) (d Datagram, body []byte, ok bool) {
	if len(b) < datagramHeader {
		return d, nil, false
	}
	d.Addr = netip.AddrFrom4([4]byte(b[addressAt:]))
	if d.Source, b, ok = encoded(b[datagramHeader:]); !ok {
		return d, nil, false
	}
	d.Destination, b, ok = encoded(b)
	return d, b, ok
}

type datagrams struct{ flow *app.Flow }

// Start readies the parser.
func (p *datagrams) Start(f *app.Flow) { p.flow = f }

// Close ends the flow.
func (p *datagrams) Close() { p.flow = nil }

// Datagram reads a datagram.
func (p *datagrams) Datagram(d app.Dir, b []byte, _ int) app.Next {
	const offsetAt, first = 12, 0x02
	fact, body, ok := openDatagram(b)
	if !ok {
		return app.Continue
	}
	if b[1]&first != 0 && binary.BigEndian.Uint16(b[offsetAt:]) == 0 { // else a fragment that is not the first
		fact.Announced = announcement(body)
	}
	p.flow.Emit(d, &fact)
	return app.Continue
}

// announcement reads what is written to the mailslot of the browsers: a transaction of SMB 1, then the browsers' message.
func announcement(b []byte) *Announcement {
	const transaction, countAt, offsetAt, fixed = 0x25, 55, 57, 59
	if len(b) < fixed || string(b[:4]) != "\xffSMB" || b[4] != transaction || !bytes.Contains(b[fixed:], []byte("\\MAILSLOT\\BROWSE")) {
		return nil
	}
	from, n := int(binary.LittleEndian.Uint16(b[offsetAt:])), int(binary.LittleEndian.Uint16(b[countAt:]))
	if from > len(b) || n > len(b)-from {
		return nil
	}
	b = b[from:][:n]
	const host, domain, master, nameAt, majorAt, typeAt, commentAt, maxComment = 1, 12, 15, 6, 22, 24, 32, 43
	if len(b) < commentAt || b[0] != host && b[0] != domain && b[0] != master {
		return nil
	}
	comment, _, _ := bytes.Cut(b[commentAt:], []byte{0})
	name, _, _ := bytes.Cut(b[nameAt:majorAt], []byte{0})
	return &Announcement{
		Command: b[0], Host: ot.Text(name), Major: b[majorAt], Minor: b[majorAt+1], Type: binary.LittleEndian.Uint32(b[typeAt:]),
		Comment: ot.Text(comment[:min(len(comment), maxComment)]),
	}
}
