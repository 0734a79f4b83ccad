package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Limits of one message. Compression lets a short message name much.
const (
	maxQuestions = 64
	maxRecords   = 512 // per section
	maxText      = 64 << 10
	maxJumps     = 64
)

const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeDNAME = 39
	typeOPT   = 41
	typeSVCB  = 64
	typeHTTPS = 65
	typeSPF   = 99
	typeCAA   = 257
)

// span is a part of reader.text.
type span struct{ from, to int }

// reader reads messages. All text of a message is collected in one buffer and becomes one string, of which the fields are
// parts.
type reader struct {
	msg       Message
	edns      EDNS
	text      []byte
	questions []span
	records   [3][]recordSpans
	b         []byte
	at        int
}

type recordSpans struct{ name, data span }

// message reads what it can. The result is valid until the next call.
func (r *reader) message(f *app.Flow, b []byte, cut int) *Message {
	flags := binary.BigEndian.Uint16(b[2:])
	m := &r.msg
	*m = Message{
		ID: binary.BigEndian.Uint16(b), Response: flags>>15 != 0, Opcode: uint8(flags >> 11 & 0xf), RCode: flags & 0xf,
		Authoritative: flags>>10&1 != 0, Truncated: flags>>9&1 != 0, RecursionDesired: flags>>8&1 != 0,
		RecursionAvailable: flags>>7&1 != 0, Authentic: flags>>5&1 != 0, CheckingDisabled: flags>>4&1 != 0,
		Questions: m.Questions[:0], Answers: m.Answers[:0], Authorities: m.Authorities[:0], Additionals: m.Additionals[:0],
		Length: len(b) + cut,
	}
	r.b, r.at, r.text, r.questions = b, headerSize, r.text[:0], r.questions[:0]
	ok := r.readQuestions(f, int(binary.BigEndian.Uint16(b[4:])))
	for i, section := range []*[]Record{&m.Answers, &m.Authorities, &m.Additionals} {
		r.records[i] = r.records[i][:0]
		ok = ok && r.readRecords(f, i, section, int(binary.BigEndian.Uint16(b[6+2*i:])))
	}
	m.Damaged = !ok
	r.resolve()
	r.b = nil
	return m
}

// resolve turns spans into strings.
func (r *reader) resolve() {
	text := string(r.text)
	m := &r.msg
	for i, s := range r.questions {
		m.Questions[i].Name = text[s.from:s.to]
	}
	for i, section := range [][]Record{m.Answers, m.Authorities, m.Additionals} {
		for j, s := range r.records[i] {
			section[j].Name, section[j].Data = text[s.name.from:s.name.to], text[s.data.from:s.data.to]
		}
	}
}

func (r *reader) readQuestions(f *app.Flow, count int) bool {
	for i := range count {
		before := len(r.text)
		name, at, ok := r.name(r.at)
		if !ok || at+4 > len(r.b) {
			return false
		}
		if i >= maxQuestions {
			r.text = r.text[:before]
			f.Cut(1)
		} else {
			r.questions = append(r.questions, name)
			r.msg.Questions = append(r.msg.Questions, Question{
				Type: binary.BigEndian.Uint16(r.b[at:]), Class: binary.BigEndian.Uint16(r.b[at+2:]),
			})
		}
		r.at = at + 4
	}
	return true
}

func (r *reader) readRecords(f *app.Flow, section int, out *[]Record, count int) bool {
	for range count {
		before := len(r.text)
		name, at, ok := r.name(r.at)
		if !ok || at+10 > len(r.b) {
			return false
		}
		rec := Record{Type: binary.BigEndian.Uint16(r.b[at:]), Class: binary.BigEndian.Uint16(r.b[at+2:]), TTL: binary.BigEndian.Uint32(r.b[at+4:])}
		size := int(binary.BigEndian.Uint16(r.b[at+8:]))
		at += 10
		if size > len(r.b)-at {
			return false
		}
		r.at = at + size
		if rec.Type == typeOPT && section == 2 {
			r.edns = EDNS{UDPSize: rec.Class, Version: uint8(rec.TTL >> 16), DNSSECOK: rec.TTL>>15&1 != 0}
			r.msg.EDNS = &r.edns
			r.msg.RCode |= uint16(rec.TTL>>24) << 4
			continue
		}
		if len(*out) >= maxRecords || len(r.text) >= maxText {
			r.text = r.text[:before]
			f.Cut(1)
			continue
		}
		from := len(r.text)
		addr, ok := r.data(rec.Type, at, size)
		if !ok {
			r.text = r.text[:from]
			r.unknown(r.b[at : at+size])
		}
		rec.Addr = addr
		*out = append(*out, rec)
		r.records[section] = append(r.records[section], recordSpans{name, span{from, len(r.text)}})
	}
	return true
}

// name reads the name at a place, following pointers, which only ever lead back; it returns the place behind it.
func (r *reader) name(at int) (text span, behind int, ok bool) {
	from, size, jumps, limit := len(r.text), 0, 0, at
	for {
		if at >= len(r.b) {
			return span{}, 0, false
		}
		n := int(r.b[at])
		switch {
		case n == 0:
			if behind == 0 {
				behind = at + 1
			}
			if len(r.text) == from {
				r.text = append(r.text, '.')
			}
			return span{from, len(r.text)}, behind, true
		case n >= 0xc0:
			if at+2 > len(r.b) {
				return span{}, 0, false
			}
			if behind == 0 {
				behind = at + 2
			}
			to := int(binary.BigEndian.Uint16(r.b[at:]) & 0x3fff)
			if jumps++; to >= limit || jumps > maxJumps {
				return span{}, 0, false
			}
			at, limit = to, to
		case n > 63:
			return span{}, 0, false
		default:
			if size += n + 1; size > 254 || at+1+n > len(r.b) {
				return span{}, 0, false
			}
			if len(r.text) > from {
				r.text = append(r.text, '.')
			}
			r.text = appendLabel(r.text, r.b[at+1:at+1+n])
			at += 1 + n
		}
	}
}

// appendLabel escapes as RFC 4343 does, so that a dot inside of a label is not taken for one between labels.
func appendLabel(to, label []byte) []byte {
	for i, c := range label {
		if plain[c] {
			continue
		}
		return appendEscaped(append(to, label[:i]...), label[i:])
	}
	return append(to, label...)
}

// plain are the bytes that stand for themselves.
var plain = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '.' && c != '\\'
	}
	return t
}()

func appendEscaped(to, label []byte) []byte {
	for _, c := range label {
		switch {
		case c == '.' || c == '\\':
			to = append(to, '\\', c)
		case c <= ' ' || c >= 0x7f:
			to = append(to, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		default:
			to = append(to, c)
		}
	}
	return to
}

// address reads the data of A and AAAA.
func (r *reader) address(b []byte) (netip.Addr, bool) {
	addr, ok := netip.AddrFromSlice(b)
	if ok {
		r.text = addr.AppendTo(r.text)
	}
	return addr, ok
}
