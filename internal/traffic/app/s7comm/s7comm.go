// Package s7comm reads S7comm, which controllers of Siemens' S7-300 and S7-400 families speak (and the newer ones when they
// are told to): TPKT (RFC 1006), COTP (RFC 905 class 0), then the jobs and their answers as Wireshark's dissector documents
// them, for there is no public specification. Of S7comm-plus the operation and function are read where they are in the clear.
// Contents of blocks and values are not read.
package s7comm

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// S7 is the protocol.
var S7 = app.Protocol{Name: "s7comm", Ports: []uint16{102}, First: "\x03", Stream: recognise, NewStream: newStream}

// Connect is the fact of a connection's beginning.
type Connect struct {
	Confirmed bool   // it is the answer
	Called    []byte // selector of the side that is called; in S7 its last byte has the rack and slot
	Calling   []byte
}

// Message is the fact: a job, its answer, or user data (which ask about the controller itself).
type Message struct {
	Reference uint16
	Function  uint8 // of jobs; of user data the group (lower half of the byte that has it)
	Sub       uint8 // of user data
	UserData  bool
	Name      string // of the function
	Action    ot.Action
	Response  bool
	Error     uint16 // class and code; 0 when there is none
	Items     []Item // that are read or written
	Block     string // file name of a block that goes up or down, or the service of a program invocation
	List      uint16 // of the system status lists, when one is asked for, or has come to its end
	Identity  Identity
}

// Identity is what the lists of modules and components say.
type Identity struct {
	OrderNumber string // of the module
	Firmware    string // of the module, as V3.2.6
	System      string // name of the automation system
	Module      string // name that the module was given
	Plant       string
	Serial      string
	Type        string // of the module
}

// Item is a range of memory.
type Item struct {
	Area    uint8  // 0x81 inputs, 0x82 outputs, 0x83 flags, 0x84 data block, 0x1c counters, 0x1d timers
	Block   uint16 // of area 0x84
	Address uint32 // in bits; of counters and timers their number
	Count   uint16
	Type    uint8 // of the elements: 1 bit, 2 byte, 4 word, 6 double word, 8 real
}

// Plus is the fact of an S7comm-plus message.
type Plus struct {
	Version  uint8
	Opcode   uint8  // 0x31 request, 0x32 response, 0x33 notification; 0 when it is behind an integrity check
	Function uint16 // of requests and responses
	Name     string
	Action   ot.Action
}

// Limits.
const (
	maxMessage = 4 << 10 // bytes that are looked at
	maxItems   = 32
)

const (
	tpktSize  = 4
	dataUnit  = 0xf0
	connect   = 0xe0
	confirm   = 0xd0
	markS7    = 0x32
	markPlus  = 0x72
	finalUnit = 0x80
)

func size(b []byte) int {
	const version, least = 3, 7
	switch {
	case b[0] != version || len(b) > 1 && b[1] != 0:
		return -1
	case len(b) < tpktSize:
		return 0
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); n >= least {
		return n
	}
	return -1
}

// unit takes the COTP header off: the kind of the unit, what stands in its header, what it carries.
func unit(b []byte) (kind byte, head, data []byte, ok bool) {
	b = b[tpktSize:]
	if len(b) < 2 || int(b[0]) >= len(b) || b[0] < 2 {
		return 0, nil, nil, false
	}
	return b[1] & 0xf0, b[2 : 1+int(b[0])], b[1+int(b[0]):], true
}

// recognise looks past the beginning of the connection, which other protocols over TPKT share.
func recognise(_ app.Dir, b []byte) app.Verdict {
	const units = 4
	for range units {
		if len(b) == 0 {
			return app.More
		}
		n := size(b)
		if n < 0 || len(b) > tpktSize+1 && b[tpktSize+1]&0xf0 != dataUnit && b[tpktSize+1] != connect && b[tpktSize+1] != confirm {
			return app.No
		}
		const headers = 10
		if n == 0 || len(b) < min(n, headers) {
			return app.More
		}
		kind, _, data, ok := unit(b[:min(n, len(b))])
		switch {
		case !ok:
			return app.No
		case kind == dataUnit && len(data) > 0:
			return judge(data)
		case len(b) < n:
			return app.More
		}
		b = b[n:]
	}
	return app.No
}

func judge(b []byte) app.Verdict {
	switch {
	case len(b) > 1 && b[0] == markS7 && (b[1] >= jobRequest && b[1] <= answerData || b[1] == userData):
		return app.Sure
	case len(b) > 1 && b[0] == markPlus && (b[1] >= 1 && b[1] <= 3 || b[1] >= 0xfe):
		return app.Sure
	}
	return app.No
}

type parser struct {
	msg   Message
	plus  Plus
	later [2]bool // the next unit goes on with this message
	list  []byte  // a status list that comes in several answers
}

func newStream() app.StreamParser {
	s := &parser{}
	p := app.NewFramed(size, maxMessage)
	p.Reset = func(d app.Dir) { s.later[d], s.list = false, s.list[:0] }
	p.Read = s.read
	return p
}

// read reads one unit. Of a message in several units the first is enough.
func (s *parser) read(f *app.Flow, d app.Dir, b []byte, _ int) app.Next {
	kind, head, data, ok := unit(b)
	if !ok {
		return app.Continue
	}
	switch kind {
	case connect, confirm:
		s.connect(f, d, kind, head)
	case dataUnit:
		later := s.later[d]
		s.later[d] = len(head) > 0 && head[0]&finalUnit == 0
		if later || len(data) == 0 {
			break
		}
		switch data[0] {
		case markS7:
			if s.message(f, data) {
				f.Emit(d, &s.msg)
			}
		case markPlus:
			if s.plus.read(data) {
				f.Rename("s7comm-plus")
				f.Emit(d, &s.plus)
			}
		}
	}
	return app.Continue
}

func (s *parser) connect(f *app.Flow, d app.Dir, kind byte, head []byte) {
	const fixed, called, calling = 5, 0xc2, 0xc1
	if len(head) < fixed {
		return
	}
	c := Connect{Confirmed: kind == confirm}
	for b := head[fixed:]; len(b) >= 2 && int(b[1]) <= len(b)-2; b = b[2:][b[1]:] {
		switch value := b[2:][:b[1]]; b[0] {
		case called:
			c.Called = value
		case calling:
			c.Calling = value
		}
	}
	f.Emit(d, &c)
}

// plusFunctions of S7comm-plus that detectors may want.
var plusFunctions = map[uint16]struct {
	name   string
	action ot.Action
}{
	0x04bb: {"explore", ot.Discover}, 0x04ca: {"create object", ot.Connect}, 0x04d4: {"delete object", ot.Connect},
	0x04f2: {"set variable", ot.Write}, 0x04fc: {"get variable", ot.Read}, 0x0524: {"add link", ot.Other}, 0x051a: {"remove link", ot.Other},
	0x0542: {"set multiple variables", ot.Write}, 0x054c: {"get multiple variables", ot.Read}, 0x0556: {"begin sequence", ot.Other},
	0x0560: {"end sequence", ot.Other}, 0x056b: {"invoke", ot.Operate}, 0x0586: {"get variables by address", ot.Read},
}

func (m *Plus) read(b []byte) bool {
	const header, functionAt, checked = 4, 7, 3
	if len(b) < header {
		return false
	}
	*m = Plus{Version: b[1]}
	if m.Version == 0 || m.Version >= checked || len(b) < functionAt+2 {
		return true
	}
	const request, response, notification = 0x31, 0x32, 0x33
	m.Opcode = b[header]
	if m.Opcode < request || m.Opcode > notification {
		m.Opcode = 0
		return true
	}
	if m.Opcode != notification {
		m.Function = binary.BigEndian.Uint16(b[functionAt:])
		what := plusFunctions[m.Function]
		m.Name, m.Action = what.name, what.action
	}
	return true
}
