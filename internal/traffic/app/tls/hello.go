package tls

import (
	"encoding/binary"
	"strings"
)

// Version13 is the number of TLS 1.3.
const Version13 = 0x0304

// Carrier is what TLS runs over; it is part of a client's fingerprint.
type Carrier byte

// The carriers.
const (
	OverTCP  Carrier = 't'
	OverQUIC Carrier = 'q'
	OverUDP  Carrier = 'd'
)

// Extensions that are read.
const (
	extServerName    = 0
	extGroups        = 10
	extPointFormats  = 11
	extSignatures    = 13
	extALPN          = 16
	extVersions      = 43
	extEncryptedName = 0xfe0d
)

// Limits of one hello. Real ones stay far below.
const (
	maxList = 512 // ciphers, extensions and the like
	maxName = 255 // bytes of a server name
	maxALPN = 16
)

// ClientHello is the fact of a client's hello.
type ClientHello struct {
	Legacy     uint16   // version in the field of old
	Versions   []uint16 // offered by the extension, GREASE left out
	Ciphers    []uint16 // as sent, GREASE included
	Extensions []uint16 // as sent, GREASE included
	Groups     []uint16
	Formats    []uint8
	Signatures []uint16
	ALPN       []string
	ServerName string // "" without one
	// Encrypted says that an encrypted hello is inside (ECH); ServerName is then that of the front.
	Encrypted bool
	SessionID bool
	JA3       string // MD5 in hex, "" when Damaged
	JA4       string
	Damaged   bool // ended early or was beyond all limits
}

// ServerHello is the fact of a server's hello.
type ServerHello struct {
	Version    uint16 // that was chosen
	Cipher     uint16
	Extensions []uint16
	ALPN       string
	Retry      bool // a hello retry request
	JA3S       string
	Damaged    bool
}

// cursor reads length-prefixed fields. After the first thing that does not fit, bad is set and all it returns is empty.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.b, c.bad = nil, true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() int {
	if b := c.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) vector8() []byte  { return c.take(c.u8()) }
func (c *cursor) vector16() []byte { return c.take(int(c.u16())) }

// grease reports whether a value is one of RFC 8701.
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// Read fills h from the body of a ClientHello message.
func (h *ClientHello) Read(body []byte, over Carrier) {
	*h = ClientHello{
		Versions: h.Versions[:0], Ciphers: h.Ciphers[:0], Extensions: h.Extensions[:0], Groups: h.Groups[:0],
		Formats: h.Formats[:0], Signatures: h.Signatures[:0], ALPN: h.ALPN[:0],
	}
	c := cursor{b: body}
	h.Legacy = c.u16()
	c.take(32)
	if over == OverUDP {
		c.vector8()
	}
	session := c.vector8()
	h.SessionID = len(session) > 0
	h.Ciphers, h.Damaged = appendList(h.Ciphers, c.vector16())
	c.vector8() // compression
	if len(c.b) > 0 {
		ext := cursor{b: c.vector16()}
		for len(ext.b) > 0 && len(h.Extensions) < maxList {
			kind := ext.u16()
			h.extension(kind, ext.vector16())
			if !ext.bad {
				h.Extensions = append(h.Extensions, kind)
			}
		}
		h.Damaged = h.Damaged || ext.bad || len(ext.b) > 0
	}
	if h.Damaged = h.Damaged || c.bad; !h.Damaged {
		h.JA3, h.JA4 = h.ja3(), h.ja4(over)
	}
}

func (h *ClientHello) extension(kind uint16, b []byte) {
	c := cursor{b: b}
	switch kind {
	case extServerName:
		list := cursor{b: c.vector16()}
		for len(list.b) > 0 && h.ServerName == "" {
			if kind, name := list.u8(), list.vector16(); kind == 0 {
				h.ServerName = string(name[:min(len(name), maxName)])
			}
		}
	case extGroups:
		h.Groups, _ = appendList(h.Groups, c.vector16())
	case extPointFormats:
		h.Formats = append(h.Formats, c.vector8()...)
	case extSignatures:
		h.Signatures, _ = appendList(h.Signatures, c.vector16())
	case extALPN:
		list := cursor{b: c.vector16()}
		for len(list.b) > 0 && len(h.ALPN) < maxALPN {
			if name := list.vector8(); len(name) > 0 {
				h.ALPN = append(h.ALPN, alpnName(name))
			}
		}
	case extVersions:
		list := cursor{b: c.vector8()}
		for len(list.b) > 1 && len(h.Versions) < maxList {
			if v := list.u16(); !grease(v) {
				h.Versions = append(h.Versions, v)
			}
		}
	case extEncryptedName:
		h.Encrypted = true
	}
}

// appendList reads numbers of 16 bits; damaged says that not all of them were read.
func appendList(to []uint16, b []byte) (list []uint16, damaged bool) {
	for len(b) > 1 && len(to) < maxList {
		to = append(to, binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	return to, len(b) > 0
}

// alpnName spares an allocation for the names that are met all the time.
func alpnName(b []byte) string {
	switch string(b) {
	case "h2":
		return "h2"
	case "http/1.1":
		return "http/1.1"
	case "h3":
		return "h3"
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// retryRandom marks a hello retry request (RFC 8446 section 4.1.3).
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// Read fills h from the body of a ServerHello message.
func (h *ServerHello) Read(body []byte) {
	*h = ServerHello{Extensions: h.Extensions[:0]}
	c := cursor{b: body}
	legacy := c.u16()
	h.Version = legacy
	h.Retry = string(c.take(32)) == retryRandom
	c.vector8()
	h.Cipher = c.u16()
	c.take(1) // compression
	if len(c.b) > 0 {
		ext := cursor{b: c.vector16()}
		for len(ext.b) > 0 && len(h.Extensions) < maxList {
			kind := ext.u16()
			in := cursor{b: ext.vector16()}
			if ext.bad {
				break
			}
			h.Extensions = append(h.Extensions, kind)
			switch kind {
			case extALPN:
				list := cursor{b: in.vector16()}
				h.ALPN = alpnName(list.vector8())
			case extVersions:
				if v := in.u16(); v != 0 {
					h.Version = v
				}
			}
		}
		h.Damaged = ext.bad || len(ext.b) > 0
	}
	if h.Damaged = h.Damaged || c.bad; !h.Damaged {
		h.JA3S = ja3s(legacy, h)
	}
}
