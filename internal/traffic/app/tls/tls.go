// Package tls reads the clear part of TLS connections, SSL 3.0 to TLS 1.3 (RFC 6101 to RFC 8446): hellos with their
// fingerprints, certificates up to TLS 1.2, alerts. DTLS 1.0 to 1.3 (RFC 4347 to RFC 9147) says the same in datagrams.
//
// JA3 and JA3S are computed as salesforce/ja3 does, JA4 (of TLS clients) as FoxIO publishes it under the BSD 3-clause licence.
// The other members of the JA4+ family (JA4S, JA4H, JA4X, JA4SSH and so on) are under the FoxIO licence, which is no open
// source licence: they are left out.
package tls

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Record types.
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23
	recordHeartbeat    = 24
)

// Handshake types.
const (
	typeClientHello = 1
	typeServerHello = 2
	typeCertificate = 11
)

// Limits: of a record's content by RFC 8446 and RFC 5246, and of a handshake message here.
const (
	maxRecord  = 1<<14 + 2048
	maxMessage = 64 << 10
)

// TLS returns the protocol. Its parsers share what they know of certificates, so each engine needs a value of its own.
func TLS() app.Protocol {
	known := &certificates{}
	return app.Protocol{
		Name: "tls", Ports: []uint16{443, 465, 636, 853, 993, 995, 8443}, First: "\x14\x15\x16\x17\x80\x81",
		Stream:    recognise,
		NewStream: func() app.StreamParser { return newParser(known) },
	}
}

// Alert is the fact of an alert in the clear.
type Alert struct {
	Fatal       bool
	Description uint8 // by number, RFC 8446 section 6
}

// Heartbeat is the fact of a heartbeat in the clear (RFC 6520) that asks for more than it brought, and of what answers one: who
// does not check it sends what lies in memory behind (CVE-2014-0160).
type Heartbeat struct {
	Response bool
	Length   uint16 // of the payload, as it says
	Size     int    // of the message
	Beyond   int    // bytes that are asked for beyond the message, with its padding; of an answer those beyond what asked for it
}

func recognise(d app.Dir, b []byte) app.Verdict {
	if b[0] >= 0x80 {
		return recogniseV2(d, b)
	}
	if len(b) < 6 {
		return app.More
	}
	size := int(binary.BigEndian.Uint16(b[3:]))
	if b[1] != 3 || b[2] > 4 || size == 0 || size > maxRecord {
		return app.No
	}
	switch b[0] {
	case recordHandshake:
		switch b[5] {
		case typeClientHello:
			return sureIf(d == app.Client)
		case typeServerHello:
			return sureIf(d == app.Server)
		}
	case recordAlert:
		if size == 2 && (b[5] == 1 || b[5] == 2) {
			return app.Sure
		}
	case recordChangeCipher:
		if size == 1 && b[5] == 1 {
			return app.Sure
		}
	}
	// A connection whose beginning was not seen: the next record must stand where this one says.
	switch next := b[min(len(b), 5+size):]; {
	case len(next) >= 3 && next[0] >= recordChangeCipher && next[0] <= recordData && next[1] == 3 && next[2] <= 4:
		return app.Sure
	case len(next) == 0:
		return app.Likely
	}
	return app.No
}

func sureIf(yes bool) app.Verdict {
	if yes {
		return app.Sure
	}
	return app.No
}

// recogniseV2 knows the hello that clients sent which also spoke SSL 2.0.
func recogniseV2(d app.Dir, b []byte) app.Verdict {
	if len(b) < 11 {
		return app.More
	}
	size := int(b[0]&0x7f)<<8 | int(b[1])
	ciphers, session, challenge := int(binary.BigEndian.Uint16(b[5:])), int(binary.BigEndian.Uint16(b[7:])), int(binary.BigEndian.Uint16(b[9:]))
	version := binary.BigEndian.Uint16(b[3:])
	if d != app.Client || b[2] != typeClientHello || version != 2 && version>>8 != 3 || ciphers == 0 || ciphers%3 != 0 ||
		size != 9+ciphers+session+challenge {
		return app.No
	}
	return app.Sure
}

// parser follows one connection until all is encrypted.
type parser struct {
	flow    *app.Flow
	records [2]app.Frames
	message [2]app.Frames // handshake messages, which may span records
	known   *certificates
	client  ClientHello
	server  ServerHello
	chain   Certificates
	alert   Alert
	beat    Heartbeat
	begun   [2]bool
	sealed  bool // what the client says is encrypted
	asked   int  // how long a heartbeat was that asked for too much, 0 when none did
}

func newParser(known *certificates) *parser {
	p := &parser{known: known}
	for d := range p.records {
		p.records[d] = app.Frames{Size: recordSize, Max: 5 + maxRecord}
		p.message[d] = app.Frames{Size: messageSize, Max: maxMessage}
	}
	return p
}

func recordSize(b []byte) int {
	if len(b) > 1 && b[0] >= 0x80 {
		return 2 + (int(b[0]&0x7f)<<8 | int(b[1])) // a hello of SSL 2.0 has a frame of its own
	}
	if len(b) < 5 {
		return 0
	}
	size := int(binary.BigEndian.Uint16(b[3:]))
	if b[0] < recordChangeCipher || b[0] > recordHeartbeat || b[1] != 3 || size > maxRecord {
		return -1
	}
	return 5 + size
}

func messageSize(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.begun, p.sealed, p.asked = f, [2]bool{}, false, 0
	for d := range p.records {
		p.records[d].Reset()
		p.message[d].Reset()
	}
	p.server.Version = 0
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads records.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		return app.Done // where the next record begins is lost
	}
	for {
		record, rest, _, ok := p.records[d].Next(b)
		if !ok {
			if p.records[d].Bad() {
				return app.Done
			}
			return app.Continue
		}
		b = rest
		first := !p.begun[d]
		p.begun[d] = true
		if first && d == app.Client && record[0] >= 0x80 {
			continue // what follows is in records, or the server does not answer so
		}
		if len(record) < 5 || p.record(d, record[0], record[5:]) == app.Done {
			return app.Done
		}
	}
}

func (p *parser) record(d app.Dir, kind byte, content []byte) app.Next {
	switch kind {
	case recordHandshake:
		return p.handshake(d, content)
	case recordAlert:
		if len(content) == 2 && content[0] >= 1 && content[0] <= 2 {
			p.alert = Alert{Fatal: content[0] == 2, Description: content[1]}
			p.flow.Emit(d, &p.alert)
		}
		return app.Continue
	case recordChangeCipher:
		// What follows from this side is encrypted. The server is the last to say something in the clear, except when it
		// resumes a session; then nothing but the client's last words is missed.
		if d == app.Client {
			p.sealed = true
			return app.Continue
		}
	case recordHeartbeat:
		if !p.sealed {
			p.heartbeat(d, content)
		}
		return app.Continue
	}
	return app.Done
}

func (p *parser) heartbeat(d app.Dir, b []byte) {
	const head, padding, request, response = 3, 16, 1, 2 // there is at least so much padding
	if len(b) < head {
		return
	}
	h := &p.beat
	*h = Heartbeat{Response: b[0] == response, Length: binary.BigEndian.Uint16(b[1:]), Size: len(b)}
	switch {
	case b[0] == request:
		if h.Beyond = head + int(h.Length) + padding - len(b); h.Beyond <= 0 {
			return
		}
		p.asked = len(b)
	case h.Response && p.asked > 0:
		h.Beyond = max(0, len(b)-p.asked)
	default:
		return
	}
	p.flow.Emit(d, h)
}

func (p *parser) handshake(d app.Dir, b []byte) app.Next {
	for {
		msg, rest, cut, ok := p.message[d].Next(b)
		if !ok {
			if p.message[d].Bad() {
				return app.Done
			}
			return app.Continue
		}
		b = rest
		if cut > 0 {
			p.flow.Cut(cut)
			continue
		}
		switch body := msg[4:]; msg[0] {
		case typeClientHello:
			p.client.Read(body, OverTCP)
			p.flow.Emit(d, &p.client)
		case typeServerHello:
			p.server.Read(body)
			p.flow.Emit(d, &p.server)
			if p.server.Version == Version13 && !p.server.Retry {
				return app.Done
			}
		case typeCertificate:
			p.known.read(&p.chain, body, p.flow)
			p.flow.Emit(d, &p.chain)
		}
	}
}
