package smb

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// body reads what the command carries. b begins with the header, as offsets count from there.
func (c *Command) body(b []byte) {
	in := b[header2:]
	switch c.Code {
	case CodeNegotiate:
		c.negotiate(in)
	case CodeSessionSetup:
		at := 12
		if c.Response {
			at = 4
		}
		c.ntlm(buffer(b, in, at))
	case CodeTreeConnect:
		if !c.Response {
			c.Share = text(buffer(b, in, 4))
		}
	case CodeCreate:
		if !c.Response && len(in) >= 48 {
			c.Access = binary.LittleEndian.Uint32(in[24:])
			c.File = text(buffer(b, in, 44))
		}
	}
}

func (c *Command) negotiate(in []byte) {
	if c.Response {
		if len(in) >= 6 {
			c.Dialect = binary.LittleEndian.Uint16(in[4:])
		}
		return
	}
	const dialectsAt = 36
	if len(in) < dialectsAt {
		return
	}
	count := min(int(binary.LittleEndian.Uint16(in[2:])), maxDialects)
	for in = in[dialectsAt:]; len(in) >= 2 && count > 0; in = in[2:] {
		c.Dialects = append(c.Dialects, binary.LittleEndian.Uint16(in))
		count--
	}
}

// buffer is the part of b that two numbers in the body, its offset and its length, tell.
func buffer(b, in []byte, at int) []byte {
	if len(in) < at+4 {
		return nil
	}
	return part(b, uint32(binary.LittleEndian.Uint16(in[at:])), binary.LittleEndian.Uint16(in[at+2:]))
}

func part(b []byte, offset uint32, size uint16) []byte {
	if uint64(offset)+uint64(size) > uint64(len(b)) {
		return nil
	}
	return b[offset:][:size]
}

// ntlm finds the message of NTLM ([MS-NLMP]) that proves who logs on; it may be wrapped in SPNEGO.
func (c *Command) ntlm(blob []byte) {
	const mark, authenticate, size = "NTLMSSP\x00", 3, 64
	i := bytes.Index(blob, []byte(mark))
	if i < 0 {
		return
	}
	b := blob[i:]
	if len(b) < size || binary.LittleEndian.Uint32(b[8:]) != authenticate {
		return
	}
	unicode := b[60]&1 != 0
	for _, field := range []struct {
		to *string
		at int
	}{{&c.Domain, 28}, {&c.User, 36}, {&c.Host, 44}} {
		v := part(b, binary.LittleEndian.Uint32(b[field.at+4:]), binary.LittleEndian.Uint16(b[field.at:]))
		if unicode {
			*field.to = text(v)
		} else {
			*field.to = string(v[:min(len(v), maxText)])
		}
	}
}

// text reads UTF-16, little endian.
func text(b []byte) string {
	if len(b) < 2 {
		return ""
	}
	units := make([]uint16, 0, 64)
	for ; len(b) >= 2 && len(units) < maxText; b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return string(utf16.Decode(units))
}
