package smb

import (
	"bytes"
	"encoding/binary"
	"strings"
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
	case CodeSetInfo:
		if !c.Response {
			c.File = renamed(b, in)
		}
	}
}

// renamed is the new name of a file that is renamed, "" when something else of it is set.
func renamed(b, in []byte) string {
	const fixed, ofFile, rename, renameEx, nameAt = 32, 1, 10, 65, 20
	if len(in) < fixed || in[2] != ofFile || in[3] != rename && in[3] != renameEx {
		return ""
	}
	info := behind(b, uint32(binary.LittleEndian.Uint16(in[8:])))
	if len(info) < nameAt {
		return ""
	}
	size := binary.LittleEndian.Uint32(info[nameAt-4:])
	return text(info[nameAt:][:min(uint64(size), uint64(len(info)-nameAt))])
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

const ntlmMark = "NTLMSSP\x00"

// ntlm finds the message of NTLM ([MS-NLMP]), which may be wrapped in SPNEGO: the client's that proves who logs on, or the
// server's challenge, in which it says who it is.
func (c *Command) ntlm(blob []byte) {
	const challenge, authenticate, challengeSize, authenticateSize = 2, 3, 48, 64
	i := bytes.Index(blob, []byte(ntlmMark))
	if i < 0 {
		return
	}
	b := blob[i:]
	switch {
	case len(b) >= challengeSize && c.Response && binary.LittleEndian.Uint32(b[8:]) == challenge:
		c.challenge(ntlmField(b, 40))
	case len(b) >= authenticateSize && !c.Response && binary.LittleEndian.Uint32(b[8:]) == authenticate:
		read := clean
		if b[60]&1 != 0 {
			read = text
		}
		c.Domain, c.User, c.Host = read(ntlmField(b, 28)), read(ntlmField(b, 36)), read(ntlmField(b, 44))
		answer := len(ntlmField(b, 20))
		c.Anonymous = answer == 0
		c.NTLM = ntlmVersion(answer)
	}
}

// ntlmVersion tells the version by how long the answer to a challenge is: that of version 2 holds what the server said of itself.
func ntlmVersion(answer int) uint8 {
	const length1 = 24
	switch {
	case answer == length1:
		return 1
	case answer > length1:
		return 2
	}
	return 0
}

// ntlmField is the part of a message that a length and an offset tell.
func ntlmField(b []byte, at int) []byte {
	return part(b, binary.LittleEndian.Uint32(b[at+4:]), binary.LittleEndian.Uint16(b[at:]))
}

// challenge reads what the server says of itself: pairs of a kind and a value. Names of DNS count before those of NetBIOS.
func (c *Command) challenge(b []byte) {
	const end, host, domain, dnsHost, dnsDomain, maxPairs = 0, 1, 2, 3, 4, 16
	for range maxPairs {
		if len(b) < 4 {
			return
		}
		kind, size := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if b = b[4:]; size > len(b) || kind == end {
			return
		}
		switch value := text(b[:size]); {
		case kind == dnsHost && value != "", kind == host && c.Host == "":
			c.Host = value
		case kind == dnsDomain && value != "", kind == domain && c.Domain == "":
			c.Domain = value
		}
		b = b[size:]
	}
}

// clean reads text in an old character set, of which only ASCII is sure.
func clean(b []byte) string { return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\ufffd") }

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
