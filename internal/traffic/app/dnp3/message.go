package dnp3

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// Functions that are looked at.
const (
	read         = 1
	write        = 2
	selectPoint  = 3
	operateNoAck = 6
	freeze       = 7
	freezeAtTime = 12
	enable       = 20
	assignClass  = 22
	response     = 129
	authReply    = 131
)

type function struct {
	name   string
	action ot.Action
}

var functions = map[uint8]function{
	0: {"confirm", ot.Other}, read: {"read", ot.Read}, write: {"write", ot.Write},
	selectPoint: {"select", ot.Operate}, 4: {"operate", ot.Operate}, 5: {"direct operate", ot.Operate}, operateNoAck: {"direct operate, no response", ot.Operate},
	freeze: {"freeze", ot.Write}, 8: {"freeze, no response", ot.Write}, 9: {"freeze and clear", ot.Write}, 10: {"freeze and clear, no response", ot.Write},
	11: {"freeze at time", ot.Write}, freezeAtTime: {"freeze at time, no response", ot.Write},
	13: {"cold restart", ot.Restart}, 14: {"warm restart", ot.Restart},
	15: {"initialize data", ot.Write}, 16: {"initialize application", ot.Restart}, 17: {"start application", ot.Start}, 18: {"stop application", ot.Stop},
	19: {"save configuration", ot.Program}, enable: {"enable unsolicited", ot.Write}, 21: {"disable unsolicited", ot.Stop},
	assignClass: {"assign class", ot.Write}, 23: {"delay measurement", ot.Other}, 24: {"record current time", ot.Write},
	25: {"open file", ot.Program}, 26: {"close file", ot.Program}, 27: {"delete file", ot.Program}, 28: {"get file information", ot.Read},
	29: {"authenticate file", ot.Program}, 30: {"abort file", ot.Program}, 31: {"activate configuration", ot.Program},
	32: {"authentication request", ot.Other}, 33: {"authentication error", ot.Other},
	response: {"response", ot.Other}, 130: {"unsolicited response", ot.Other}, authReply: {"authentication response", ot.Other},
}

// read reads an application message; false when it is none.
func (m *Message) read(f *app.Flow, link [4]byte, b []byte) bool {
	const unsolicited, sequence = 0x10, 0x0f
	if len(b) < 2 {
		return false
	}
	what := functions[b[1]]
	*m = Message{
		Destination: binary.LittleEndian.Uint16(link[:]), Source: binary.LittleEndian.Uint16(link[2:]),
		Sequence: b[0] & sequence, Function: b[1], Name: what.name, Action: what.action, Response: b[1] >= response,
		Unsolicited: b[0]&unsolicited != 0, Objects: m.Objects[:0], Points: m.Points[:0],
	}
	b = b[2:]
	if m.Response {
		if len(b) < 2 {
			m.Damaged = true
			return true
		}
		m.Indications = binary.BigEndian.Uint16(b)
		b = b[2:]
	}
	for len(b) > 0 && !m.Damaged && !m.Partial {
		b = m.object(f, b)
	}
	return true
}

// object reads one header of objects and returns what is behind its objects.
func (m *Message) object(f *app.Flow, b []byte) []byte {
	if len(b) < 3 {
		m.Damaged = true
		return nil
	}
	o := Object{Group: b[0], Variation: b[1], Qualifier: b[2]}
	b, ok := o.points(b[3:])
	if !ok {
		m.Damaged = true
		return nil
	}
	if len(m.Objects) >= maxObjects {
		f.Cut(1)
	} else {
		m.Objects = append(m.Objects, o)
	}
	if m.Function == read || m.Function >= freeze && m.Function <= freezeAtTime || m.Function >= enable && m.Function <= assignClass {
		return b // names alone
	}
	return m.data(f, o, b)
}

// points reads which points a header names; the rest of b follows it.
func (o *Object) points(b []byte) ([]byte, bool) {
	number := func(n int) uint32 { // n bytes of b, which are there
		var v uint32
		for i := n - 1; i >= 0; i-- {
			v = v<<8 | uint32(b[i])
		}
		b = b[n:]
		return v
	}
	switch width := o.Qualifier & 0xf; {
	case width <= 2: // a range in 1, 2 or 4 bytes each
		n := 1 << width
		if len(b) < 2*n {
			return nil, false
		}
		o.First, o.Last = number(n), number(n)
		if o.Last < o.First || o.Last-o.First == 1<<32-1 {
			return nil, false
		}
		o.Count = o.Last - o.First + 1
		return b, true
	case width == 6: // all points
		return b, true
	case width >= 7 && width <= 9:
		n := 1 << (width - 7)
		if len(b) < n {
			return nil, false
		}
		o.Count = number(n)
		return b, true
	case width == 0xb:
		if len(b) < 1 {
			return nil, false
		}
		o.Count = number(1)
		return b, true
	}
	return nil, false
}

// data steps over the objects of a header, taking the points that are controlled.
func (m *Message) data(f *app.Flow, o Object, b []byte) []byte {
	prefix, sized := 0, false // bytes before each object, which tell its index or its size
	switch p := o.Qualifier >> 4 & 7; p {
	case 1, 2, 3:
		prefix = 1 << (p - 1)
	case 4, 5, 6:
		prefix, sized = 1<<(p-4), true
	}
	bits, known := objectBits(o.Group, o.Variation)
	if o.Count == 0 || known && bits == 0 && prefix == 0 {
		return b
	}
	if !known && !sized {
		m.Partial = true
		return nil
	}
	if prefix == 0 { // packed: several points in a byte, or each in whole bytes
		need := (uint64(o.Count)*uint64(bits) + 7) / 8
		if need > uint64(len(b)) {
			m.Damaged = true
			return nil
		}
		m.control(f, o, b[:need], bits/8)
		return b[need:]
	}
	for range o.Count { // ends with b, as each object takes a byte at least
		if len(b) < prefix {
			m.Damaged = true
			return nil
		}
		lead, n := little(b[:prefix]), uint32(bits+7)/8
		if sized {
			n = lead
		}
		if b = b[prefix:]; uint64(n) > uint64(len(b)) {
			m.Damaged = true
			return nil
		}
		if !sized {
			m.point(f, o, lead, b[:n])
		}
		b = b[n:]
	}
	return b
}

// control takes the points of objects without a prefix, whose index comes from the range.
func (m *Message) control(f *app.Flow, o Object, b []byte, n int) {
	for i := o.First; n > 0 && len(b) >= n; i++ {
		m.point(f, o, i, b[:n])
		b = b[n:]
	}
}

// point takes one object of a control; others say nothing of what was done.
func (m *Message) point(f *app.Flow, o Object, index uint32, b []byte) {
	const relay, analog = 12, 41
	if o.Group != relay && o.Group != analog || o.Group == relay && o.Variation != 1 || len(b) == 0 {
		return
	}
	if len(m.Points) >= maxPoints {
		f.Cut(1)
		return
	}
	p := Point{Group: o.Group, Index: index, Status: b[len(b)-1]}
	if o.Group == relay {
		p.Code = b[0]
	}
	m.Points = append(m.Points, p)
}

func little(b []byte) uint32 {
	var v uint32
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint32(b[i])
	}
	return v
}

// objectBits is how many bits one object takes.
func objectBits(group, variation uint8) (int, bool) {
	if n, ok := objectSizes[[2]uint8{group, variation}]; ok {
		return n, true
	}
	return 0, group == 60 // the classes, which have no data
}

// objectSizes in bits, of the objects of IEEE 1815 annex A that are met.
var objectSizes = map[[2]uint8]int{
	{1, 1}: 1, {1, 2}: 8, {2, 1}: 8, {2, 2}: 56, {2, 3}: 24, {3, 1}: 2, {3, 2}: 8, {4, 1}: 8, {4, 2}: 56, {4, 3}: 24,
	{10, 1}: 1, {10, 2}: 8, {11, 1}: 8, {11, 2}: 56, {12, 1}: 88, {12, 2}: 88, {12, 3}: 1, {13, 1}: 8, {13, 2}: 56,
	{20, 1}: 40, {20, 2}: 24, {20, 5}: 32, {20, 6}: 16, {21, 1}: 40, {21, 2}: 24, {21, 5}: 88, {21, 6}: 72, {21, 9}: 32, {21, 10}: 16,
	{22, 1}: 40, {22, 2}: 24, {22, 5}: 88, {22, 6}: 72, {23, 1}: 40, {23, 2}: 24, {23, 5}: 88, {23, 6}: 72,
	{30, 1}: 40, {30, 2}: 24, {30, 3}: 32, {30, 4}: 16, {30, 5}: 40, {30, 6}: 72, {31, 1}: 40, {31, 2}: 24, {31, 5}: 32, {31, 6}: 16, {31, 7}: 40, {31, 8}: 72,
	{32, 1}: 40, {32, 2}: 24, {32, 3}: 88, {32, 4}: 72, {32, 5}: 40, {32, 6}: 72, {32, 7}: 88, {32, 8}: 120,
	{34, 1}: 16, {34, 2}: 32, {34, 3}: 32, {40, 1}: 40, {40, 2}: 24, {40, 3}: 40, {40, 4}: 72, {41, 1}: 40, {41, 2}: 24, {41, 3}: 40, {41, 4}: 72,
	{42, 1}: 40, {42, 2}: 24, {42, 3}: 88, {42, 4}: 72, {42, 5}: 40, {42, 6}: 72, {42, 7}: 88, {42, 8}: 120,
	{50, 1}: 48, {50, 2}: 80, {50, 3}: 48, {51, 1}: 48, {51, 2}: 48, {52, 1}: 16, {52, 2}: 16, {80, 1}: 1,
}
