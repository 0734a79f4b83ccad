package snmp

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/gosnmp/gosnmp"
)

// Value is what an agent said of an object. The zero Value is nothing.
type Value struct {
	raw  any
	kind gosnmp.Asn1BER
}

// maxText is how much of a text is kept: a description takes 255 bytes in the standard, and some take more.
const maxText = 1024

func valueOf(pdu gosnmp.SnmpPDU) Value {
	switch pdu.Type {
	case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView, gosnmp.Null:
		return Value{}
	}
	switch b := pdu.Value.(type) { // copied: what comes lies in its datagram, all of which it would keep
	case []byte:
		return Value{bytes.Clone(b[:min(len(b), maxText)]), pdu.Type}
	case string:
		return Value{strings.Clone(b[:min(len(b), maxText)]), pdu.Type}
	}
	return Value{pdu.Value, pdu.Type}
}

// IsZero reports whether the agent has no such object.
func (v Value) IsZero() bool { return v.raw == nil }

// Bytes are those of a text, an address or the like, nil for anything else.
func (v Value) Bytes() []byte {
	switch b := v.raw.(type) {
	case []byte:
		return b[:min(len(b), maxText)]
	case string:
		return []byte(b[:min(len(b), maxText)])
	}
	return nil
}

// Text is a text in one line, without what cannot be shown. Old devices write Latin-1.
func (v Value) Text() string {
	b := v.Bytes()
	var s string
	if utf8.Valid(b) {
		s = string(b)
	} else {
		r := make([]rune, len(b))
		for i, c := range b {
			r[i] = rune(c)
		}
		s = string(r)
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == utf8.RuneError || r >= 0x7f && r <= 0xa0 }), " ")
}

// Object is the name of an object that is the value of another one.
func (v Value) Object() OID {
	s, _ := v.raw.(string)
	if v.kind != gosnmp.ObjectIdentifier {
		return ""
	}
	return OID(strings.TrimPrefix(s, "."))
}

// Uint is a number that is not negative.
func (v Value) Uint() (uint64, bool) {
	switch n := v.raw.(type) {
	case uint:
		return uint64(n), true
	case uint32:
		return uint64(n), true
	case uint64:
		return n, true
	case int:
		return uint64(max(n, 0)), n >= 0
	}
	return 0, false
}

// Int is a number.
func (v Value) Int() (int64, bool) {
	if n, ok := v.raw.(int); ok {
		return int64(n), true
	}
	n, ok := v.Uint()
	return int64(n), ok && n < 1<<63
}

// Is64 reports whether a counter has 64 bits.
func (v Value) Is64() bool { return v.kind == gosnmp.Counter64 }

// IP is an address.
func (v Value) IP() netip.Addr {
	if s, ok := v.raw.(string); ok && v.kind == gosnmp.IPAddress {
		ip, _ := netip.ParseAddr(s)
		return ip
	}
	ip, _ := netip.AddrFromSlice(v.Bytes())
	return ip
}

// MAC is a hardware address of six bytes in lower case, "" for anything else.
func (v Value) MAC() string { return MAC(v.Bytes()) }

// MAC writes six bytes as a hardware address; other lengths and nobody's address give "".
func MAC(b []byte) string {
	if len(b) != 6 || string(b) == "\x00\x00\x00\x00\x00\x00" {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}
