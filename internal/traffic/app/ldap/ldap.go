// Package ldap reads LDAP 3 (RFC 4511) over TCP and UDP (CLDAP, [MS-ADTS] 6.3.3): requests with names and filters, results,
// logins. The values of entries are not read, nor what is signed or encrypted after a login; after StartTLS recognition starts
// anew.
package ldap

import (
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ber"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// LDAP is the protocol. Beside its own facts it gives login.Attempt.
var LDAP = app.Protocol{
	Name: "ldap", Ports: []uint16{389, 3268}, First: "\x30", Stream: recognise, Datagram: recognise,
	NewStream:   func() app.StreamParser { return newStream() },
	NewDatagram: func() app.DatagramParser { return &datagrams{} },
}

// Op is an operation: the number of its tag.
type Op uint8

// The operations.
const (
	Bind              Op = 0
	BindResponse      Op = 1
	Unbind            Op = 2
	Search            Op = 3
	SearchEntry       Op = 4
	SearchDone        Op = 5
	Modify            Op = 6
	ModifyResponse    Op = 7
	Add               Op = 8
	AddResponse       Op = 9
	Delete            Op = 10
	DeleteResponse    Op = 11
	ModifyDN          Op = 12
	ModifyDNResponse  Op = 13
	Compare           Op = 14
	CompareResponse   Op = 15
	Abandon           Op = 16
	SearchReference   Op = 19
	Extended          Op = 23
	ExtendedResponse  Op = 24
	IntermediateReply Op = 25
)

// Request is the fact of what a client asks for.
type Request struct {
	ID   int64
	Op   Op
	Name string // of the entry or, in a search, where it begins; of an extended request its OID

	Scope      int64 // of a search: 0 the entry, 1 those right below, 2 the tree
	Filter     string
	Attributes []string
}

// Response is the fact of a result; entries and references are counted, not told one by one.
type Response struct {
	ID      int64
	Op      Op
	Code    int64 // 0 success, 49 invalid credentials
	Text    string
	Entries int // that a search found, as far as they were seen
}

// Limits.
const (
	maxMessage    = 16 << 10 // bytes that are looked at
	maxName       = 512
	maxAttributes = 64
	maxOpen       = 32 // searches at a time whose entries are counted
)

// StartTLS is the name of the extended request for it.
const StartTLS = "1.3.6.1.4.1.1466.20037"

// recognise wants an operation with the right first field in an envelope whose lengths agree.
func recognise(_ app.Dir, b []byte) app.Verdict {
	_, head, size := ber.Header(b)
	if head < 0 || b[0] != ber.Sequence {
		return app.No
	}
	if head == 0 {
		return app.More
	}
	envelope := head + size
	id, idHead, idSize := ber.Header(b[head:])
	if idHead < 0 || idSize > 4 || idHead > 0 && (id != ber.Int || idSize == 0) {
		return app.No
	}
	at := head + idHead + idSize
	if idHead == 0 || len(b) <= at {
		return short(b, envelope)
	}
	tag, opHead, opSize := ber.Header(b[at:])
	if opHead < 0 {
		return app.No
	}
	inner, plain, known := innerTag(b[at])
	switch {
	case !known, opHead > 0 && at+opHead+opSize > envelope:
		return app.No
	case opHead == 0, !plain && opSize > 0 && len(b) <= at+opHead:
		return short(b, envelope)
	case plain:
		return plainVerdict(tag, opSize, envelope-at-opHead)
	case opSize == 0 || b[at+opHead] != inner:
		return app.No
	}
	return app.Sure
}

// short is the verdict on a beginning that fits so far.
func short(b []byte, envelope int) app.Verdict {
	if len(b) >= envelope {
		return app.No
	}
	return app.More
}

// plainVerdict judges the operations that are a value and no list: unbind, delete and abandon.
func plainVerdict(tag byte, size, room int) app.Verdict {
	if tag == 0x42 && size != 0 || size > room {
		return app.No
	}
	return app.Likely
}

// innerTag is the tag that the first field of an operation has.
func innerTag(tag byte) (inner byte, plain, known bool) {
	switch op := Op(tag & 0x1f); {
	case tag == 0x42, tag == 0x4a, tag == 0x50:
		return 0, true, true
	case tag&0xe0 != 0x60:
		return 0, false, false
	default:
		switch op {
		case Bind:
			return ber.Int, false, true
		case Search, SearchEntry, Modify, Add, ModifyDN, Compare, SearchReference:
			return ber.Octets, false, true
		case BindResponse, SearchDone, ModifyResponse, AddResponse, DeleteResponse, ModifyDNResponse, CompareResponse, ExtendedResponse:
			return ber.Enumerated, false, true
		case Extended:
			return 0x80, false, true
		}
	}
	return 0, false, false
}

// size tells the length of a message. After some logins messages are wrapped, with a length of four bytes before them.
func size(b []byte) int {
	if b[0] != ber.Sequence {
		if b[0] == 0 {
			return len(b)
		}
		return -1
	}
	_, head, size := ber.Header(b)
	if head <= 0 {
		return head
	}
	return head + size
}

type stream struct {
	*app.Framed
	reader reader
}

func newStream() *stream {
	s := &stream{Framed: app.NewFramed(size, maxMessage)}
	s.Read = s.reader.message
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

// Datagram reads the messages in it: entry and result of a search often come together.
func (p *datagrams) Datagram(d app.Dir, b []byte, cut int) app.Next {
	for len(b) > 0 {
		n := size(b)
		if n <= 0 || b[0] == 0 {
			break
		}
		n = min(n, len(b))
		if next := p.reader.message(p.flow, d, b[:n], cut); next != app.Continue {
			return next
		}
		b = b[n:]
	}
	return app.Continue
}

// bind is a login that goes on.
type bind struct {
	open   bool
	user   string
	method string
	clear  bool
}

func (b *bind) attempt(code int64) login.Attempt {
	result := login.Failed
	if code == 0 {
		result = login.Granted
	}
	return login.Attempt{User: b.user, Method: b.method, Clear: b.clear, Result: result, Code: number(code)}
}
