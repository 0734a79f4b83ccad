package facts

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/internal/traffic/link"
)

// texts makes the texts of a record. They lie in memory that the next record uses again: until then the record is told.
type texts struct{ buf []byte }

// reset begins the texts of a record.
func (w *texts) reset() { w.buf = w.buf[:0] }

// since is the text of what was written from a place on.
func (w *texts) since(at int) string {
	b := w.buf[at:]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// mac is the text of a hardware address, "" of none.
func (w *texts) mac(m link.MAC) string {
	at := len(w.buf)
	w.buf = m.AppendTo(w.buf)
	return w.since(at)
}

// value is the text of the field that lies at a place, "" when it is zero.
func (w *texts) value(s *step, at unsafe.Pointer) string {
	switch s.form {
	case formText:
		return shown(*(*string)(at))
	case formBool:
		if *(*bool)(at) {
			return "true"
		}
		return ""
	case formNumber:
		return w.number(s, at)
	}
	if s.zero(at) {
		return ""
	}
	from := len(w.buf)
	w.buf = s.append(w.buf, at)
	if s.form == formString || s.form >= formList {
		return shown(w.since(from))
	}
	return w.since(from) // nothing but digits, which are few
}

// number is the text of a number, "" of 0.
func (w *texts) number(s *step, at unsafe.Pointer) string {
	if s.kind >= reflect.Uint && unsigned(s.size, at) == 0 || s.kind < reflect.Uint && signed(s.size, at) == 0 {
		return ""
	}
	from := len(w.buf)
	w.buf = s.append(w.buf, at)
	return w.since(from)
}

// zero reports whether the field that lies at a place has the zero value.
func (s *step) zero(at unsafe.Pointer) bool {
	switch s.form {
	case formHex, formList:
		return len(*(*[]struct{})(at)) == 0
	case formText:
		return *(*string)(at) == ""
	case formAddr:
		return *(*netip.Addr)(at) == netip.Addr{}
	}
	return reflect.NewAt(s.of, at).Elem().IsZero()
}

// append writes the field that lies at a place.
func (s *step) append(dst []byte, at unsafe.Pointer) []byte {
	switch s.form {
	case formText:
		return append(dst, *(*string)(at)...)
	case formBool:
		return strconv.AppendBool(dst, *(*bool)(at))
	case formNumber:
		if s.kind >= reflect.Uint {
			return strconv.AppendUint(dst, unsigned(s.size, at), 10)
		}
		return strconv.AppendInt(dst, signed(s.size, at), 10)
	case formHex:
		b := *(*[]byte)(at)
		return hex.AppendEncode(dst, b[:min(len(b), maxBytes)])
	case formHexIn:
		return hex.AppendEncode(dst, unsafe.Slice((*byte)(at), min(s.size, maxBytes)))
	case formTime:
		return (*time.Time)(at).UTC().AppendFormat(dst, time.RFC3339Nano)
	case formAddr:
		if a := (*netip.Addr)(at); a.IsValid() {
			return a.AppendTo(dst)
		}
		return append(dst, netip.Addr{}.String()...)
	case formString:
		return append(dst, s.stringer(at).String()...)
	case formList:
		list := *(*[]struct{})(at)
		return s.list.append(dst, *(*unsafe.Pointer)(at), len(list))
	case formListIn:
		return s.list.append(dst, at, s.list.count)
	}
	return dst
}

// stringer is the field that lies at a place. Its address stands for it where that has the method too: that takes no memory.
func (s *step) stringer(at unsafe.Pointer) fmt.Stringer {
	v := reflect.NewAt(s.of, at)
	if s.kind == reflect.Pointer || s.kind == reflect.Interface {
		v = v.Elem()
	}
	return v.Interface().(fmt.Stringer)
}

// maxBytes bounds how much of bytes is written.
const maxBytes = 64

// append writes n elements with a comma between them; the fields of an element have a blank between them.
func (e *elements) append(dst []byte, base unsafe.Pointer, n int) []byte {
	from := len(dst)
	for i := range min(n, maxList) {
		if len(dst)-from > maxText {
			break
		}
		if i > 0 {
			dst = append(dst, ", "...)
		}
		at := unsafe.Add(base, uintptr(i)*e.size)
		switch {
		case e.one != nil:
			dst = e.one.append(dst, at)
		case e.plan != nil:
			dst = e.plan.append(dst, len(dst), at)
		}
	}
	return dst
}

// append writes the fields of a struct that lies at a place, the first of them at from.
func (p *plan) append(dst []byte, from int, base unsafe.Pointer) []byte {
	for i := range p.steps {
		s := &p.steps[i]
		at := unsafe.Add(base, s.at)
		if s.form == formPointer {
			if to := *(*unsafe.Pointer)(at); to != nil {
				dst = s.to.append(dst, from, to)
			}
			continue
		}
		if !s.kept && s.zero(at) {
			continue
		}
		before := len(dst)
		if before > from {
			dst = append(dst, ' ')
		}
		start := len(dst)
		if dst = s.append(dst, at); len(dst) == start {
			dst = dst[:before] // it says nothing
		}
	}
	return dst
}

func unsigned(size uintptr, at unsafe.Pointer) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(at))
	case 2:
		return uint64(*(*uint16)(at))
	case 4:
		return uint64(*(*uint32)(at))
	}
	return *(*uint64)(at)
}

func signed(size uintptr, at unsafe.Pointer) int64 {
	switch size {
	case 1:
		return int64(*(*int8)(at))
	case 2:
		return int64(*(*int16)(at))
	case 4:
		return int64(*(*int32)(at))
	}
	return *(*int64)(at)
}
