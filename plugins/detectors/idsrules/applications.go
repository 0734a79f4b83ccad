package idsrules

import (
	"bytes"
	"encoding/binary"
)

// detect tells the protocol of a connection by how it begins.
func (f *flow) detect(d direction) {
	s := &f.sides[d]
	b := s.window
	if s.base > 0 {
		f.app = appOther
		return
	}
	if len(b) < 4 {
		return
	}
	if f.app = begins(b, d, f.server.port); f.app != appNone {
		return
	}
	// Nobody says what it is: the other side may.
	if o := &f.sides[d.back()]; s.total > 1<<10 || o.total >= 16 && s.total >= 16 {
		f.app = appOther
	}
}

func begins(b []byte, d direction, port uint16) application {
	has := func(texts ...string) bool {
		for _, text := range texts {
			if len(b) >= len(text) && string(b[:len(text)]) == text {
				return true
			}
		}
		return false
	}
	upper := func(texts ...string) bool {
		for _, text := range texts {
			if len(b) >= len(text) && bytes.EqualFold(b[:len(text)], []byte(text)) {
				return true
			}
		}
		return false
	}
	switch {
	case has("HTTP/1."), d == toServer && isRequest(b):
		return appHTTP
	case len(b) >= 6 && (b[0] == 22 || b[0] == 21) && b[1] == 3 && b[2] <= 4,
		d == toServer && len(b) >= 5 && b[0]&0x80 != 0 && b[2] == 1 && (b[3] == 3 || b[3] == 0 && b[4] == 2):
		return appTLS
	case has("SSH-"):
		return appSSH
	case len(b) >= 8 && b[0] == 0 && (b[4] == 0xff || b[4] == 0xfe) && string(b[5:8]) == "SMB":
		return appSMB
	case d == toClient && port == 21 && has("220"), d == toServer && port == 21 && upper("USER ", "AUTH ", "FEAT\r", "SYST\r"):
		return appFTP
	case d == toServer && upper("EHLO ", "HELO "), d == toClient && (port == 25 || port == 587 || port == 2525) && has("220"):
		return appSMTP
	case port == 502 && len(b) >= 8 && b[2] == 0 && b[3] == 0 && binary.BigEndian.Uint16(b[4:]) >= 2 && binary.BigEndian.Uint16(b[4:]) <= 254:
		return appModbus
	case len(b) >= 10 && b[0] == 5 && b[1] == 0x64 && b[2] >= 5:
		return appDNP3
	case port == 53 && len(b) >= 14 && saneDNS(b[2:]):
		return appDNS
	}
	return appNone
}

// isRequest reports whether a text begins with a method of HTTP and what is asked for.
func isRequest(b []byte) bool {
	method, rest, found := bytes.Cut(b[:min(len(b), 24)], []byte(" "))
	if !found || len(method) < 3 {
		return false
	}
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	switch string(method) {
	case "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK",
		"UNLOCK", "SEARCH", "REPORT", "SUBSCRIBE", "NOTIFY", "DEBUG", "TRACK":
		return len(rest) > 0
	}
	return len(rest) > 0 && rest[0] == '/'
}

// saneDNS reports whether the head of a message makes sense.
func saneDNS(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	opcode, questions, answers := b[2]>>3&15, binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	return opcode <= 5 && questions <= 16 && (questions > 0 || answers > 0)
}

// dns evaluates the questions of a message.
func (e *engine) dns(v *view, b []byte) {
	if !e.wanted[bufDNSQuery] || len(b) < 12 {
		return
	}
	if b[2]&0x80 != 0 && v.dir == toServer || b[2]&0x80 != 0 {
		return // an answer repeats the question
	}
	n := min(int(binary.BigEndian.Uint16(b[4:])), 16)
	names, room := e.names[:0], e.room[bufDNSQuery][:0]
	at := 12
	for range n {
		begin := len(room)
		text, next, ok := readName(room, b, at)
		if !ok {
			break
		}
		room = text
		names = append(names, room[begin:len(room):len(room)])
		at = next + 4
	}
	e.names, e.room[bufDNSQuery] = names, room
	if len(names) == 0 {
		return
	}
	t := e.other(&e.told, v.flow, v.dir)
	t.moment = atDNS
	t.put(bufPayload, b)
	t.putAll(bufDNSQuery, names)
	e.transaction(t)
}

// readName reads a name with dots between its labels, behind what stands in to.
func readName(to, b []byte, at int) (name []byte, next int, ok bool) {
	begin := len(to)
	name, next = to, -1
	for jumps := 0; at < len(b); {
		n := int(b[at])
		switch {
		case n == 0:
			if next < 0 {
				next = at + 1
			}
			return name, next, true
		case n >= 0xc0:
			if at+1 >= len(b) || jumps > 16 {
				return nil, 0, false
			}
			if next < 0 {
				next = at + 2
			}
			at = (n&0x3f)<<8 | int(b[at+1])
			jumps++
		case n >= 0x40 || at+1+n > len(b) || len(name)-begin+n > 255:
			return nil, 0, false
		default:
			if len(name) > begin {
				name = append(name, '.')
			}
			name = append(name, b[at+1:at+1+n]...)
			at += 1 + n
		}
	}
	return nil, 0, false
}

// dnsStream evaluates the messages of DNS over TCP.
func (e *engine) dnsStream(v *view) {
	s := &v.flow.sides[v.dir]
	for {
		at := v.flow.dnsRead[v.dir] - s.base
		if at < 0 || at+2 > int64(len(s.window)) {
			return
		}
		b := s.window[at:]
		size := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+size {
			return
		}
		v.flow.dnsRead[v.dir] += int64(2 + size)
		e.dns(v, b[2:2+size])
	}
}
