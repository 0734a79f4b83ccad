package tls

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// DTLS returns the protocol of TLS over UDP. Its parsers share what they know of certificates, as those of TLS do.
func DTLS() app.Protocol {
	known := &certificates{}
	return app.Protocol{
		Name: "dtls", First: "\x14\x15\x16\x17", Datagram: recogniseDTLS, NewDatagram: func() app.DatagramParser { return &datagrams{known: known} },
	}
}

const (
	datagramRecord  = 13 // header of a record
	datagramMessage = 12 // header of a part of a handshake message
	maxAssembled    = 32 << 10
	maxRecords      = 32 // in a datagram
	maxDatagrams    = 64 // that are looked at before what is said must be encrypted
)

// recogniseDTLS uses the direction of hellos, which may put a wrong guess right.
func recogniseDTLS(d app.Dir, b []byte) app.Verdict {
	if len(b) < datagramRecord+1 || b[1] != 0xfe || b[2] != 0xff && b[2] != 0xfd || int(binary.BigEndian.Uint16(b[11:])) > len(b)-datagramRecord {
		return app.No
	}
	if b[0] == recordHandshake && binary.BigEndian.Uint16(b[3:]) == 0 {
		switch b[datagramRecord] {
		case typeClientHello:
			return sureIf(d == app.Client)
		case typeServerHello:
			return sureIf(d == app.Server)
		}
	}
	return app.Sure
}

// datagrams follows one association until all is encrypted.
type datagrams struct {
	flow   *app.Flow
	known  *certificates
	side   [2]assembly
	seen   int
	client ClientHello
	server ServerHello
	chain  Certificates
	alert  Alert
}

// assembly joins the parts of a side's next handshake message. A part that leaves a hole before it is left out: it comes
// again, as the other side leaves it without an answer.
type assembly struct {
	next uint16 // number of the message
	kind byte
	size int
	have []byte
}

// Start readies the parser.
func (p *datagrams) Start(f *app.Flow) {
	p.flow, p.seen = f, 0
	for d := range p.side {
		s := &p.side[d]
		*s = assembly{have: s.have[:0]}
		if cap(s.have) > 4<<10 {
			s.have = nil
		}
	}
}

// Close ends the flow.
func (p *datagrams) Close() { p.flow = nil }

// Datagram reads records.
func (p *datagrams) Datagram(d app.Dir, b []byte, _ int) app.Next {
	if p.seen++; p.seen > maxDatagrams {
		return app.Done
	}
	for range maxRecords {
		if len(b) < datagramRecord {
			return app.Continue
		}
		kind, epoch, size := b[0], binary.BigEndian.Uint16(b[3:]), int(binary.BigEndian.Uint16(b[11:]))
		if b[1] != 0xfe || size > len(b)-datagramRecord {
			return app.Continue
		}
		content := b[datagramRecord:][:size]
		b = b[datagramRecord:][size:]
		if epoch > 0 {
			if d == app.Server {
				return app.Done // the last to say something in the clear
			}
			continue
		}
		switch kind {
		case recordHandshake:
			if p.handshake(d, content) == app.Done {
				return app.Done
			}
		case recordAlert:
			if len(content) == 2 && content[0] >= 1 && content[0] <= 2 {
				p.alert = Alert{Fatal: content[0] == 2, Description: content[1]}
				p.flow.Emit(d, &p.alert)
			}
		}
	}
	return app.Continue
}

// handshake reads the parts of messages in a record.
func (p *datagrams) handshake(d app.Dir, b []byte) app.Next {
	s := &p.side[d]
	for len(b) >= datagramMessage {
		kind, size, number := b[0], uint24(b[1:]), binary.BigEndian.Uint16(b[4:])
		from, n := uint24(b[6:]), uint24(b[9:])
		if b = b[datagramMessage:]; n > len(b) || from+n > size {
			return app.Continue
		}
		part := b[:n]
		b = b[n:]
		if number < s.next || size > maxAssembled {
			continue // said before, or left out
		}
		if number > s.next || s.kind != kind || s.size != size { // another message than what was begun, which is lost
			*s = assembly{next: number, kind: kind, size: size, have: s.have[:0]}
		}
		if from > len(s.have) || from+n < len(s.have) {
			continue
		}
		s.have = append(s.have[:from], part...)
		if len(s.have) < size {
			continue
		}
		s.next++
		whole := s.have
		s.have, s.kind = s.have[:0], 0
		if p.message(d, kind, whole) == app.Done {
			return app.Done
		}
	}
	return app.Continue
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// message reads a whole handshake message.
func (p *datagrams) message(d app.Dir, kind byte, body []byte) app.Next {
	const version13 = 0xfefc
	switch kind {
	case typeClientHello:
		p.client.Read(body, OverUDP)
		p.flow.Emit(d, &p.client)
	case typeServerHello:
		p.server.Read(body)
		p.flow.Emit(d, &p.server)
		if p.server.Version == version13 && !p.server.Retry {
			return app.Done
		}
	case typeCertificate:
		p.known.read(&p.chain, body, p.flow)
		p.flow.Emit(d, &p.chain)
	}
	return app.Continue
}
