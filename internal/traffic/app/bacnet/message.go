package bacnet

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// Kinds of messages.
const (
	confirmed   = 0
	unconfirmed = 1
	simpleAck   = 2
	complexAck  = 3
	failed      = 5
	rejected    = 6
	aborted     = 7
)

// Services that are looked into.
const (
	readMultiple  = 14
	communication = 17
	reinitialize  = 20
	writeMultiple = 16
	iAm           = 0
)

type service struct {
	name   string
	action ot.Action
}

var (
	confirmedServices = map[uint8]service{
		0: {"acknowledge alarm", ot.Write}, 1: {"COV notification", ot.Other}, 2: {"event notification", ot.Other}, 3: {"get alarm summary", ot.Read},
		4: {"get enrollment summary", ot.Read}, 5: {"subscribe COV", ot.Read}, 6: {"read file", ot.Program}, 7: {"write file", ot.Program}, 8: {"add list element", ot.Write},
		9: {"remove list element", ot.Write}, 10: {"create object", ot.Program}, 11: {"delete object", ot.Program}, 12: {"read property", ot.Read},
		13: {"read property conditional", ot.Read}, readMultiple: {"read property multiple", ot.Read}, 15: {"write property", ot.Write}, writeMultiple: {"write property multiple", ot.Write},
		communication: {"device communication control", ot.Stop}, 18: {"private transfer", ot.Other}, 19: {"text message", ot.Other}, reinitialize: {"reinitialize device", ot.Restart},
		21: {"VT open", ot.Connect}, 22: {"VT close", ot.Connect}, 23: {"VT data", ot.Other}, 24: {"authenticate", ot.Connect}, 25: {"request key", ot.Connect},
		26: {"read range", ot.Read}, 27: {"life safety operation", ot.Operate}, 28: {"subscribe COV property", ot.Read}, 29: {"get event information", ot.Read},
	}
	unconfirmedServices = map[uint8]service{
		iAm: {"I am", ot.Discover}, 1: {"I have", ot.Discover}, 2: {"COV notification", ot.Other}, 3: {"event notification", ot.Other}, 4: {"private transfer", ot.Other},
		5: {"text message", ot.Other}, 6: {"time synchronization", ot.Write}, 7: {"who has", ot.Discover}, 8: {"who is", ot.Discover}, 9: {"UTC time synchronization", ot.Write},
		10: {"write group", ot.Operate}, 11: {"who am I", ot.Discover}, 12: {"you are", ot.Write},
	}
)

// read reads a message of the application; false when it is none that has a service.
func (m *Message) read(f *app.Flow, b []byte) bool {
	const segmented = 0x08
	m.Kind = b[0] >> 4
	inSegments := b[0]&segmented != 0
	head := 0 // bytes before the service
	switch m.Kind {
	case confirmed:
		head = 3
	case unconfirmed:
		head = 1
	case simpleAck, complexAck, failed, rejected, aborted:
		head, m.Response = 2, true
	default:
		return false
	}
	first := true
	if inSegments && (m.Kind == confirmed || m.Kind == complexAck) {
		if len(b) <= head {
			return false
		}
		first = b[head] == 0
		head += 2 // number and window
	}
	if len(b) <= head {
		return false
	}
	if m.Kind == confirmed {
		m.Invoke = b[2]
	} else if m.Kind != unconfirmed {
		m.Invoke = b[1]
	}
	if m.Kind == rejected || m.Kind == aborted {
		m.Reason = b[head]
		return true
	}
	m.Service = b[head]
	s := confirmedServices[m.Service]
	if m.Kind == unconfirmed {
		s = unconfirmedServices[m.Service]
	}
	m.Name, m.Action = s.name, s.action
	if first {
		m.Damaged = !m.values(f, b[head+1:]) && !inSegments
	}
	return true
}

// tag is one value, or the beginning or end of a list of them.
type tag struct {
	number      uint32
	context     bool // the number is the service's, else it is a type
	open, close bool
	value       []byte
	small       byte // a truth, which has no bytes
}

// next takes a tag off b.
func next(b []byte) (t tag, rest []byte, ok bool) {
	const more, long, opening, closing, longer, longest = 0xf, 5, 6, 7, 254, 255
	head := b[0]
	t.number, t.context, b = uint32(head>>4), head&8 != 0, b[1:]
	if t.number == more {
		if len(b) == 0 {
			return t, nil, false
		}
		t.number, b = uint32(b[0]), b[1:]
	}
	n := uint32(head & 7)
	switch {
	case t.context && n == opening:
		t.open = true
		return t, b, true
	case t.context && n == closing:
		t.close = true
		return t, b, true
	case !t.context && t.number == typeBool:
		t.small = head & 7
		return t, b, true
	case n == long:
		if len(b) == 0 {
			return t, nil, false
		}
		n, b = uint32(b[0]), b[1:]
		width := 0
		switch n {
		case longer:
			width = 2
		case longest:
			width = 4
		}
		if len(b) < width {
			return t, nil, false
		}
		if width > 0 {
			n, b = number(b[:width]), b[width:]
		}
	}
	if uint64(n) > uint64(len(b)) {
		return t, nil, false
	}
	t.value = b[:n]
	return t, b[n:], true
}

// Types of values.
const (
	typeBool   = 1
	typeUint   = 2
	typeInt    = 3
	typeReal   = 4
	typeString = 7
	typeEnum   = 9
	typeObject = 12
)

// values reads the parameters of a service; false when they do not fit.
func (m *Message) values(f *app.Flow, b []byte) bool {
	depth, count, failures := 0, 0, 0
	var object tag // the last one named
	for ; len(b) > 0; count++ {
		t, rest, ok := next(b)
		if !ok {
			return false
		}
		b = rest
		switch {
		case t.open:
			depth++
		case t.close:
			if depth--; depth < 0 {
				return false
			}
		case m.Kind == failed:
			failures = m.failure(t, failures)
		case t.context && m.control(t, depth):
		case depth == 0 && isObject(t):
			object = t
			m.property(f, object, tag{}, false)
		case m.names(t, depth):
			m.property(f, object, t, true)
		case !t.context && depth > 0 && len(m.Properties) > 0:
			if p := &m.Properties[len(m.Properties)-1]; p.Value == "" {
				p.Value = text(t)
			}
		case m.Kind == unconfirmed && m.Service == iAm && t.number == typeUint && count == 3:
			m.Vendor = number(t.value)
		}
	}
	return depth == 0
}

// isObject reports whether a tag names an object: by its type, or where services have one.
func isObject(t tag) bool {
	return len(t.value) == 4 && (!t.context && t.number == typeObject || t.context && t.number == 0)
}

// control reads the parameters of the services that stop and restart a device.
func (m *Message) control(t tag, depth int) bool {
	if m.Kind != confirmed || depth > 0 || m.Service != communication && m.Service != reinitialize {
		return false
	}
	state := uint32(0)
	if m.Service == communication {
		state = 1 // a duration is before it
	}
	switch t.number {
	case state:
		m.State = number(t.value)
		if m.Service == communication && m.State == 0 {
			m.Action = ot.Start
		}
	case state + 1:
		m.Password = true
	}
	return true
}

// names reports whether a tag is a property's, whose place depends on the service.
func (m *Message) names(t tag, depth int) bool {
	if !t.context || len(t.value) == 0 || len(t.value) > 4 || m.Kind == unconfirmed {
		return false
	}
	switch {
	case m.Service == readMultiple && m.Kind == complexAck:
		return depth == 1 && t.number == 2
	case m.Service == readMultiple || m.Service == writeMultiple:
		return depth == 1 && t.number == 0
	}
	return depth == 0 && t.number == 1 && (m.Action == ot.Read || m.Action == ot.Write)
}

// property adds one; the object alone was named before its first one.
func (m *Message) property(f *app.Flow, object, id tag, named bool) {
	if len(m.Properties) >= maxProperties {
		f.Cut(1)
		return
	}
	p := Property{Named: named, ID: number(id.value)}
	if len(object.value) == 4 {
		const instanceBits = 22
		o := binary.BigEndian.Uint32(object.value)
		p.Type, p.Instance = uint16(o>>instanceBits), o&(1<<instanceBits-1)
	}
	if n := len(m.Properties); n > 0 && named && !m.Properties[n-1].Named {
		m.Properties[n-1] = p
		return
	}
	m.Properties = append(m.Properties, p)
}

// failure reads class and code of an error, the first two enumerations.
func (m *Message) failure(t tag, seen int) int {
	if t.context || t.number != typeEnum {
		return seen
	}
	switch seen {
	case 0:
		m.ErrorClass = number(t.value)
	case 1:
		m.ErrorCode = number(t.value)
	}
	return seen + 1
}

// number reads up to 4 bytes.
func number(b []byte) uint32 {
	var n uint32
	for _, c := range b[:min(len(b), 4)] {
		n = n<<8 | uint32(c)
	}
	return n
}

// text writes a value that is short.
func text(t tag) string {
	const utf8 = 0
	switch t.number {
	case typeBool:
		return strconv.FormatBool(t.small != 0)
	case typeUint, typeEnum:
		return strconv.FormatUint(uint64(number(t.value)), 10)
	case typeInt:
		n := len(t.value)
		if n == 0 || n > 4 {
			return ""
		}
		return strconv.FormatInt(int64(int32(number(t.value)<<(32-8*n))>>(32-8*n)), 10)
	case typeReal:
		if len(t.value) == 4 {
			return strconv.FormatFloat(float64(math.Float32frombits(number(t.value))), 'g', -1, 32)
		}
	case typeString:
		if len(t.value) > 1 && t.value[0] == utf8 {
			return ot.Text(t.value[1:min(len(t.value), 1+maxValue)])
		}
	}
	return ""
}
