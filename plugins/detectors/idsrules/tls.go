package idsrules

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

type tlsState uint8

const (
	tlsClientHello tlsState = 1 << iota
	tlsServerHello
	tlsClientKey
	tlsServerKey
)

// tlsConversation is the handshake of a connection, as far as it is in the clear.
type tlsConversation struct {
	state   tlsState
	version [2]uint16 // of the latest hello
	text    [2][]byte // of records, then of handshake messages that are not complete
	hands   [2][]byte
	done    [2]bool
}

const maxHandshake = 32 << 10

// hello is what a client says first.
type hello struct {
	sni []byte
	ja3 string
}

// certificate is what rules ask of a server's.
type certificate struct {
	subject, issuer, serial, fingerprint []byte
}

// feed reads more of one direction.
func (t *tlsConversation) feed(d direction, data []byte, wantJA3 bool, onHello func(hello), onCertificate func(certificate)) {
	if t.done[d] {
		return
	}
	t.text[d] = append(t.text[d], data...)
	b := t.text[d]
	if len(b) >= 5 && b[0]&0x80 != 0 && b[2] == 1 && d == toServer { // the hello of SSL 2
		t.state |= tlsClientHello
		t.version[d] = uint16(b[3])<<8 | uint16(b[4])
		if t.version[d] == 2 {
			t.version[d] = 0x200
		}
		t.finish(d)
		return
	}
	for len(b) >= 5 {
		kind, size := b[0], int(b[3])<<8|int(b[4])
		if kind < 20 || kind > 24 || b[1] != 3 || kind == 23 || kind == 20 {
			t.finish(d)
			return
		}
		if len(b) < 5+size {
			break
		}
		if kind == 22 {
			t.hands[d] = append(t.hands[d], b[5:5+size]...)
			t.messages(d, uint16(b[1])<<8|uint16(b[2]), wantJA3, onHello, onCertificate)
		}
		b = b[5+size:]
	}
	t.text[d] = t.text[d][:copy(t.text[d], b)]
	if len(t.text[d])+len(t.hands[d]) > maxHandshake {
		t.finish(d)
	}
}

func (t *tlsConversation) finish(d direction) {
	t.done[d] = true
	t.text[d], t.hands[d] = nil, nil
}

func (t *tlsConversation) messages(d direction, record uint16, wantJA3 bool, onHello func(hello), onCertificate func(certificate)) {
	b := t.hands[d]
	for len(b) >= 4 {
		size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if size > maxHandshake {
			t.finish(d)
			return
		}
		if len(b) < 4+size {
			break
		}
		body := b[4 : 4+size]
		switch b[0] {
		case 1:
			t.state |= tlsClientHello
			t.version[d] = record
			if len(body) >= 2 {
				t.version[d] = uint16(body[0])<<8 | uint16(body[1])
			}
			onHello(readHello(body, wantJA3))
		case 2:
			t.state |= tlsServerHello
			if len(body) >= 2 {
				t.version[d] = uint16(body[0])<<8 | uint16(body[1])
				t.version[d.back()] = t.version[d]
			}
		case 11:
			if c, ok := readCertificate(body); ok {
				onCertificate(c)
			}
		case 12:
			t.state |= tlsServerKey
		case 16:
			t.state |= tlsClientKey
		}
		b = b[4+size:]
	}
	t.hands[d] = t.hands[d][:copy(t.hands[d], b)]
}

// reader takes fields off the front; what is missing makes it empty.
type reader struct{ b []byte }

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b = nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) number(n int) (v int) {
	for _, b := range r.take(n) {
		v = v<<8 | int(b)
	}
	return v
}

// list takes what a length of n bytes stands before.
func (r *reader) list(n int) []byte { return r.take(r.number(n)) }

func readHello(b []byte, wantJA3 bool) (h hello) {
	r := reader{b}
	version := r.number(2)
	r.take(32)
	r.list(1)
	ciphers := reader{r.list(2)}
	r.list(1)
	var kinds, groups, formats []int
	extensions := reader{r.list(2)}
	for len(extensions.b) >= 4 {
		kind := extensions.number(2)
		body := reader{extensions.list(2)}
		if !grease(kind) {
			kinds = append(kinds, kind)
		}
		switch kind {
		case 0:
			names := reader{body.list(2)}
			if names.number(1) == 0 {
				h.sni = names.list(2)
			}
		case 10:
			list := reader{body.list(2)}
			for len(list.b) >= 2 {
				if g := list.number(2); !grease(g) {
					groups = append(groups, g)
				}
			}
		case 11:
			for _, f := range body.list(1) {
				formats = append(formats, int(f))
			}
		}
	}
	if !wantJA3 {
		return h
	}
	var suites []int
	for len(ciphers.b) >= 2 {
		if c := ciphers.number(2); !grease(c) {
			suites = append(suites, c)
		}
	}
	sum := md5.Sum([]byte(strings.Join([]string{strconv.Itoa(version), dashed(suites), dashed(kinds), dashed(groups), dashed(formats)}, ",")))
	h.ja3 = hex.EncodeToString(sum[:])
	return h
}

func grease(n int) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }

func dashed(list []int) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = strconv.Itoa(n)
	}
	return strings.Join(out, "-")
}

// readCertificate reads the first certificate of a chain, which is the server's own.
func readCertificate(b []byte) (c certificate, ok bool) {
	r := reader{b}
	chain := reader{r.list(3)}
	der := chain.list(3)
	if len(der) == 0 {
		return c, false
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return c, false
	}
	sum := sha1.Sum(der)
	c.fingerprint = []byte(colons(sum[:], "%02x"))
	c.serial = []byte(colons(cert.SerialNumber.Bytes(), "%02X"))
	c.subject, c.issuer = []byte(distinguished(cert.Subject)), []byte(distinguished(cert.Issuer))
	return c, true
}

func colons(b []byte, format string) string {
	out := make([]string, len(b))
	for i := range b {
		out[i] = fmt.Sprintf(format, b[i])
	}
	return strings.Join(out, ":")
}

var attributes = map[string]string{"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O",
	"2.5.4.11": "OU", "2.5.4.5": "serialNumber", "1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.25": "DC"}

// distinguished writes a name as rules have it: C=US, O=Example, CN=www.example.org.
func distinguished(n pkix.Name) string {
	var out []string
	for _, a := range n.Names {
		name, known := attributes[a.Type.String()]
		if !known {
			name = a.Type.String()
		}
		out = append(out, fmt.Sprintf("%s=%v", name, a.Value))
	}
	return strings.Join(out, ", ")
}
