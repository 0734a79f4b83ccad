package enip

import (
	"encoding/binary"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// Services that are looked into, and classes.
const (
	getAll           = 0x01
	multiple         = 0x0a
	unconnectedSend  = 0x52
	responseBit      = 0x80
	classIdentity    = 1
	classManager     = 6
	classFile        = 0x37
	firstOfClasses   = 0x4b // from here on each class has its own services
	maxPathsOfPacked = 16
)

type service struct {
	name   string
	action ot.Action
}

// The services that all classes have in common, those of the connection manager, of files, and of tags, which Rockwell's
// controllers have and which are named by a symbol or by the class of symbols.
var (
	common = map[uint8]service{
		getAll: {"get all attributes", ot.Read}, 0x02: {"set all attributes", ot.Write}, 0x03: {"get attribute list", ot.Read}, 0x04: {"set attribute list", ot.Write},
		0x05: {"reset", ot.Restart}, 0x06: {"start", ot.Start}, 0x07: {"stop", ot.Stop}, 0x08: {"create", ot.Program}, 0x09: {"delete", ot.Program},
		multiple: {"multiple services", ot.Other}, 0x0d: {"apply attributes", ot.Write}, 0x0e: {"get attribute", ot.Read}, 0x10: {"set attribute", ot.Write},
		0x11: {"find next instance", ot.Discover}, 0x15: {"restore", ot.Program}, 0x16: {"save", ot.Program}, 0x17: {"no operation", ot.Other},
		0x18: {"get member", ot.Read}, 0x19: {"set member", ot.Write}, 0x1a: {"insert member", ot.Write}, 0x1b: {"remove member", ot.Write},
	}
	manager = map[uint8]service{
		0x4e: {"forward close", ot.Connect}, unconnectedSend: {"unconnected send", ot.Other}, 0x54: {"forward open", ot.Connect}, 0x5b: {"large forward open", ot.Connect},
		0x56: {"get connection data", ot.Read}, 0x57: {"search connection data", ot.Read}, 0x5a: {"get connection owner", ot.Read},
	}
	file = map[uint8]service{
		0x4b: {"initiate upload", ot.Program}, 0x4c: {"initiate download", ot.Program}, 0x4d: {"initiate partial read", ot.Program}, 0x4e: {"initiate partial write", ot.Program},
		0x4f: {"upload transfer", ot.Program}, 0x50: {"download transfer", ot.Program}, 0x51: {"clear file", ot.Program},
	}
	tags = map[uint8]service{
		0x4c: {"read tag", ot.Read}, 0x4d: {"write tag", ot.Write}, 0x4e: {"read-modify-write tag", ot.Write}, 0x52: {"read tag fragmented", ot.Read},
		0x53: {"write tag fragmented", ot.Write}, 0x55: {"get instance attribute list", ot.Discover},
	}
)

// name gives a service its name and action.
func (m *Message) name() {
	const classSymbol, classTemplate, classPCCC = 0x6b, 0x6c, 0x67
	var s service
	switch {
	case m.Service < firstOfClasses:
		s = common[m.Service]
		if m.Service == getAll && m.Class == classIdentity {
			s.action = ot.Discover
		}
	case m.Class == classManager:
		s = manager[m.Service]
	case m.Class == classFile:
		s = file[m.Service]
	case m.Symbol != "" || m.Class == classSymbol || m.Class == classTemplate:
		s = tags[m.Service]
	case m.Class == classPCCC && m.Service == firstOfClasses:
		s = service{"execute PCCC", ot.Other}
	}
	m.Name, m.Action = s.name, s.action
}

// question is a request that an answer may belong to.
type question struct {
	key   uint64
	open  bool
	count int
	paths [maxPathsOfPacked]Path
}

// message reads a message of CIP; key finds the request of an answer.
func (r *reader) message(d app.Dir, b []byte, key uint64) {
	if len(b) < 2 {
		return
	}
	if b[0]&responseBit != 0 {
		q := &question{}
		for i := range r.asked {
			if r.asked[i].open && r.asked[i].key == key {
				q = &r.asked[i]
			}
		}
		r.answer(d, b, q, 0, false)
		q.open = false
		return
	}
	q := &r.asked[r.next]
	r.next = (r.next + 1) % len(r.asked)
	*q = question{key: key, open: true}
	r.request(d, b, q, 0)
}

// request reads a request, and those in it.
func (r *reader) request(d app.Dir, b []byte, q *question, depth int) {
	const deepest = 2
	if len(b) < 2 || len(b)-2 < 2*int(b[1]) {
		return
	}
	m := &r.msg
	*m = Message{Session: m.Session, Service: b[0]}
	data := b[2+2*int(b[1]):]
	m.Path = readPath(b[2:][:2*int(b[1])])
	switch {
	case depth < deepest && m.Service == unconnectedSend && m.Class == classManager:
		const before = 4 // times, and the length of what is sent
		if len(data) < before {
			break
		}
		if n := int(binary.LittleEndian.Uint16(data[2:])); n <= len(data)-before {
			r.request(d, data[before:][:n], q, depth+1)
			return
		}
	case depth < deepest && m.Service == multiple:
		r.packed(data, func(b []byte) { r.request(d, b, q, depth+1) })
		return
	}
	m.name()
	if q.count < len(q.paths) {
		q.paths[q.count] = m.Path
		q.count++
	}
	r.flow.Emit(d, m)
}

// answer reads an answer, and those in it; it is the one to the request of number n in the question.
func (r *reader) answer(d app.Dir, b []byte, q *question, n int, inner bool) {
	const fixed = 4
	if len(b) < fixed || len(b)-fixed < 2*int(b[3]) {
		return
	}
	data := b[fixed+2*int(b[3]):]
	m := &r.msg
	*m = Message{Session: m.Session, Service: b[0] &^ responseBit, Response: true, Status: b[2]}
	if m.Service == multiple && !inner && len(data) > 0 {
		r.packed(data, func(b []byte) {
			r.answer(d, b, q, n, true)
			n++
		})
		return
	}
	if n < q.count {
		m.Path = q.paths[n]
	}
	m.name()
	r.flow.Emit(d, m)
	if m.Service == getAll && m.Class == classIdentity && m.Status == 0 {
		r.identity(d, data, r.flow.Server.Addr())
	}
}

// packed calls read with each message in one of several.
func (r *reader) packed(b []byte, read func([]byte)) {
	if len(b) < 2 {
		return
	}
	count := int(binary.LittleEndian.Uint16(b))
	if 2+2*count > len(b) {
		return
	}
	if count > maxPacked {
		r.flow.Cut(count - maxPacked)
		count = maxPacked
	}
	for i, last := 0, 2; i < count; i++ {
		at := int(binary.LittleEndian.Uint16(b[2+2*i:]))
		if at < last || at > len(b) {
			return
		}
		last = at
		to := len(b)
		if i+1 < count {
			to = int(binary.LittleEndian.Uint16(b[4+2*i:]))
		}
		if to < at || to > len(b) {
			return
		}
		read(b[at:to])
	}
}

// readPath reads the segments of a path as far as they name an object.
func readPath(b []byte) (p Path) {
	const kindMask, logical, symbolic = 0xe0, 0x20, 0x91
	var symbol []byte
	for len(b) >= 2 && len(symbol) < maxSymbol {
		var value uint32
		segment := b[0]
		switch {
		case segment == symbolic:
			n := int(b[1])
			if n > len(b)-2 {
				return p
			}
			if len(symbol) > 0 {
				symbol = append(symbol, '.')
			}
			symbol = append(symbol, b[2:][:n]...)
			b = b[min(2+n+n&1, len(b)):]
			continue
		case segment&kindMask != logical:
			b = nil
			continue
		case segment&3 == 0:
			value, b = uint32(b[1]), b[2:]
		case segment&3 == 1 && len(b) >= 4:
			value, b = uint32(binary.LittleEndian.Uint16(b[2:])), b[4:]
		case segment&3 == 2 && len(b) >= 6:
			value, b = binary.LittleEndian.Uint32(b[2:]), b[6:]
		default:
			b = nil
			continue
		}
		const class, instance, member, attribute = 0, 1, 2, 4
		switch segment >> 2 & 7 {
		case class:
			p.Class = value
		case instance:
			p.Instance = value
		case attribute:
			p.Attribute = value
		case member:
			if len(symbol) > 0 {
				symbol = append(strconv.AppendUint(append(symbol, '['), uint64(value), 10), ']')
			}
		}
	}
	p.Symbol = ot.Text(symbol)
	return p
}
