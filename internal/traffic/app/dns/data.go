package dns

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
)

// data appends the presentation of a record's data, which lies at a place. It says false when the data does not have the
// form of its type.
func (r *reader) data(kind uint16, at, size int) (netip.Addr, bool) {
	b := r.b[at : at+size]
	end := at + size
	switch kind {
	case typeA:
		if size != 4 {
			return netip.Addr{}, false
		}
		return r.address(b)
	case typeAAAA:
		if size != 16 {
			return netip.Addr{}, false
		}
		return r.address(b)
	case typeNS, typeCNAME, typePTR, typeDNAME:
		return netip.Addr{}, r.nameTo(at, end)
	case typeMX:
		return netip.Addr{}, r.numbers(b, 1) && r.nameTo(at+2, end)
	case typeSRV:
		return netip.Addr{}, r.numbers(b, 3) && r.nameTo(at+6, end)
	case typeSOA:
		return netip.Addr{}, r.soa(at, end)
	case typeTXT, typeSPF:
		return netip.Addr{}, r.strings(b)
	case typeSVCB, typeHTTPS:
		return netip.Addr{}, r.service(at, end)
	case typeCAA:
		return netip.Addr{}, r.caa(b)
	}
	return netip.Addr{}, false
}

// nameTo reads a name that must end where the data ends.
func (r *reader) nameTo(at, end int) bool {
	_, behind, ok := r.name(at)
	return ok && behind == end
}

func (r *reader) number(n uint64) {
	r.text = strconv.AppendUint(r.text, n, 10)
	r.text = append(r.text, ' ')
}

// numbers reads n numbers of 16 bits.
func (r *reader) numbers(b []byte, n int) bool {
	if len(b) < 2*n {
		return false
	}
	for i := range n {
		r.number(uint64(binary.BigEndian.Uint16(b[2*i:])))
	}
	return true
}

func (r *reader) soa(at, end int) bool {
	_, at, ok := r.name(at)
	if !ok || at > end {
		return false
	}
	r.text = append(r.text, ' ')
	_, at, ok = r.name(at)
	if !ok || at+20 != end {
		return false
	}
	for i := range 5 {
		r.text = append(r.text, ' ')
		r.text = strconv.AppendUint(r.text, uint64(binary.BigEndian.Uint32(r.b[at+4*i:])), 10)
	}
	return true
}

// strings reads character strings, quoted.
func (r *reader) strings(b []byte) bool {
	for i := 0; len(b) > 0; i++ {
		n := int(b[0])
		if n >= len(b) {
			return false
		}
		if i > 0 {
			r.text = append(r.text, ' ')
		}
		r.quoted(b[1 : 1+n])
		b = b[1+n:]
	}
	return true
}

func (r *reader) quoted(b []byte) {
	r.text = append(r.text, '"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			r.text = append(r.text, '\\', c)
		case c < ' ' || c >= 0x7f:
			r.text = append(r.text, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		default:
			r.text = append(r.text, c)
		}
	}
	r.text = append(r.text, '"')
}

// service reads SVCB and HTTPS (RFC 9460): priority, target, parameters as key=hex, with alpn and port in clear.
func (r *reader) service(at, end int) bool {
	if end-at < 3 {
		return false
	}
	r.number(uint64(binary.BigEndian.Uint16(r.b[at:])))
	_, at, ok := r.name(at + 2)
	if !ok || at > end {
		return false
	}
	for at < end {
		if end-at < 4 {
			return false
		}
		key, size := binary.BigEndian.Uint16(r.b[at:]), int(binary.BigEndian.Uint16(r.b[at+2:]))
		at += 4
		if size > end-at {
			return false
		}
		r.parameter(key, r.b[at:at+size])
		at += size
	}
	return true
}

func (r *reader) parameter(key uint16, value []byte) {
	switch {
	case key == 1:
		r.text = append(r.text, " alpn="...)
		for i := 0; len(value) > 0 && int(value[0]) < len(value); i++ {
			if i > 0 {
				r.text = append(r.text, ',')
			}
			r.text = appendLabel(r.text, value[1:][:value[0]])
			value = value[1:][value[0]:]
		}
	case key == 3 && len(value) == 2:
		r.text = append(r.text, " port="...)
		r.text = strconv.AppendUint(r.text, uint64(binary.BigEndian.Uint16(value)), 10)
	default:
		r.text = append(r.text, " key"...)
		r.text = strconv.AppendUint(r.text, uint64(key), 10)
		r.text = append(r.text, '=')
		r.text = hex.AppendEncode(r.text, value)
	}
}

func (r *reader) caa(b []byte) bool {
	if len(b) < 2 || int(b[1]) > len(b)-2 {
		return false
	}
	r.number(uint64(b[0]))
	r.text = appendLabel(r.text, b[2:][:b[1]])
	r.text = append(r.text, ' ')
	r.quoted(b[2+int(b[1]):])
	return true
}

// unknown writes data as RFC 3597 does.
func (r *reader) unknown(b []byte) {
	r.text = append(r.text, `\# `...)
	r.text = strconv.AppendInt(r.text, int64(len(b)), 10)
	if len(b) > 0 {
		r.text = append(r.text, ' ')
		r.text = hex.AppendEncode(r.text, b)
	}
}
