// Package kerberos reads the messages between clients and the key distribution centre of Kerberos 5 (RFC 4120) over UDP and
// TCP: who asks for a ticket to what, with which encryption, and how it ends. What is encrypted is not read; of a ticket that
// comes along with a request its encryption is.
package kerberos

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ber"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// Kerberos is the protocol. Beside its own fact it gives login.Attempt.
var Kerberos = app.Protocol{
	Name: "kerberos", Ports: []uint16{88, 750}, First: "\x00jklm~", Stream: recogniseStream, Datagram: recogniseDatagram,
	NewStream:   func() app.StreamParser { return newStream() },
	NewDatagram: func() app.DatagramParser { return &datagrams{} },
}

// Types of messages.
const (
	ASRequest  = 10 // for the first ticket, with which others are asked for
	ASReply    = 11
	TGSRequest = 12 // for a ticket to a service
	TGSReply   = 13
	Error      = 30
)

// Message is the fact: one message.
type Message struct {
	Type    uint8
	Client  string // user or host; "" where it is encrypted
	Realm   string
	Service string // what the ticket is for, as krbtgt/REALM

	// Of requests:
	Options     uint32
	Encryptions []int32 // that the client can do, the best one first; 23 is RC4
	Proof       bool    // the client proves that it knows the key (pre-authentication)
	Presented   int32   // encryption of the ticket that comes along, by which another one is asked for

	Ticket int32 // of replies: the encryption of the ticket
	Code   int64 // of errors: 6 unknown client, 24 wrong password, 25 a proof is wanted
}

// Codes of errors that say nothing about an account.
const (
	codeProofWanted = 25
	codeTooBig      = 52
	codeSkew        = 37
	codeMore        = 91
)

// Limits.
const (
	maxMessage     = 64 << 10 // bytes that are looked at; tickets in a request come before what it asks for
	maxSize        = 4 << 20
	maxEncryptions = 32
	maxParts       = 8 // of a name
	maxData        = 64
)

// body opens a message whose end may be cut off.
func body(b []byte) (kind uint8, fields ber.Reader, ok bool) {
	var inner ber.Reader
	in := ber.Reader(b)
	if len(b) == 0 || !known(b[0]) || !in.Open(b[0], &inner) || !inner.Open(ber.Sequence, &fields) {
		return 0, nil, false
	}
	return b[0] & 0x1f, fields, true
}

// known says whether a message begins with the tag.
func known(tag byte) bool { return tag >= 0x60+ASRequest && tag <= 0x60+TGSReply || tag == 0x60+Error }

// judge wants envelopes whose lengths agree with size and the version.
func judge(b []byte, size int) app.Verdict {
	const enough = 2 * 6 // of both headers
	version := "\xa1\x03\x02\x01\x05"
	if len(b) > 0 && (b[0] == 0x60+ASReply || b[0] == 0x60+TGSReply || b[0] == 0x60+Error) {
		version = "\xa0\x03\x02\x01\x05"
	}
	switch {
	case len(b) > 0 && !known(b[0]):
		return app.No
	case len(b) < min(size, enough+len(version)):
		return app.More
	}
	_, head, inner := ber.Header(b)
	if head <= 0 || head+inner != size {
		return app.No
	}
	tag, innerHead, list := ber.Header(b[head:])
	if innerHead <= 0 || tag != ber.Sequence || innerHead+list != inner {
		return app.No
	}
	if rest := b[head+innerHead:]; len(rest) < len(version) || string(rest[:len(version)]) != version {
		return app.No
	}
	return app.Sure
}

func recogniseDatagram(_ app.Dir, b []byte) app.Verdict {
	_, head, size := ber.Header(b)
	if head <= 0 || head+size < len(b) || judge(b, head+size) != app.Sure { // it may be longer where the capture cut it
		return app.No
	}
	return app.Sure
}

func recogniseStream(_ app.Dir, b []byte) app.Verdict {
	if len(b) < 4 {
		if b[0] != 0 {
			return app.No
		}
		return app.More
	}
	n := size(b)
	if n < 0 {
		return app.No
	}
	return judge(b[4:], n-4)
}

// size tells the length of a message over TCP.
func size(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	n := binary.BigEndian.Uint32(b)
	if n < 16 || n > maxSize {
		return -1
	}
	return 4 + int(n)
}

type stream struct {
	*app.Framed
	reader reader
}

func newStream() *stream {
	s := &stream{Framed: app.NewFramed(size, maxMessage)}
	s.Read = func(f *app.Flow, d app.Dir, msg []byte, _ int) app.Next {
		s.reader.message(f, d, msg[4:])
		return app.Continue
	}
	return s
}

// Start readies the parser.
func (s *stream) Start(f *app.Flow) {
	s.reader.reset()
	s.Framed.Start(f)
}

type datagrams struct {
	flow   *app.Flow
	reader reader
}

// Start readies the parser.
func (p *datagrams) Start(f *app.Flow) {
	p.flow = f
	p.reader.reset()
}

// Close ends the flow.
func (p *datagrams) Close() { p.flow = nil }

// Datagram reads a message.
func (p *datagrams) Datagram(d app.Dir, b []byte, _ int) app.Next {
	p.reader.message(p.flow, d, b)
	return app.Continue
}

// reader reads messages and keeps who asked last for a first ticket, as errors do not say it.
type reader struct {
	user, realm string
	proof, open bool
	msg         Message
	attempt     login.Attempt
}

func (r *reader) reset() { r.user, r.realm, r.proof, r.open = "", "", false, false }
