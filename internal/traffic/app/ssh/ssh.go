// Package ssh reads the clear beginning of SSH connections (RFC 4253): the banners, the key exchange offers with their HASSH
// fingerprints, the server's host key. All after the new keys is encrypted and not read, but whether somebody was let in shows in
// its lengths. The key exchange of SSH 1 is not read.
package ssh

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// SSH is the protocol. Beside its own facts it gives login.Attempt: one that worked, or up to three that did not.
var SSH = app.Protocol{
	Name: "ssh", Ports: []uint16{22}, First: "S", Stream: recognise,
	NewStream: func() app.StreamParser { return newParser() },
}

// Banner is the fact of a side's identification.
type Banner struct {
	Version  string // of the protocol, as 2.0
	Software string
	Comment  string
}

// Offer is the fact of what a side can do: comma-separated names in order of preference, as sent.
type Offer struct {
	KeyExchange, HostKey               string
	CipherToServer, CipherToClient     string
	MACToServer, MACToClient           string
	CompressToServer, CompressToClient string
	// HASSH is the MD5 of key exchange, cipher, MAC and compression: of the client's direction in a client's offer, of the
	// server's in a server's (there it is called HASSH server).
	HASSH string
}

// HostKey is the fact of the key that the server showed.
type HostKey struct {
	Type        string
	Fingerprint string // SHA256:… as ssh-keygen writes it
}

// Message numbers.
const (
	msgKeyExchangeInit = 20
	msgNewKeys         = 21
	msgReply           = 31 // of Diffie-Hellman, also on curves
	msgGroupReply      = 33
)

// Limits. RFC 4253 lets a line have 255 bytes and a packet 35000.
const (
	maxLine   = 255
	maxPacket = 35_000
	maxLines  = 50 // that a server may say before its banner
	maxKey    = 16 << 10
)

func recognise(_ app.Dir, b []byte) app.Verdict {
	const prefix = "SSH-"
	n := min(len(b), len(prefix))
	if string(b[:n]) != prefix[:n] {
		return app.No
	}
	if len(b) < len("SSH-2.0") {
		return app.More
	}
	if b[4] < '1' || b[4] > '2' || b[5] != '.' {
		return app.No
	}
	return app.Sure
}

type parser struct {
	flow  *app.Flow
	side  [2]side
	offer Offer
	login sealed
}

type side struct {
	lines   app.Lines
	packets app.Frames
	greeted bool
	count   int
	suite   suite
	sealed  bool // its new keys were seen
}

func newParser() *parser {
	p := &parser{}
	for d := range p.side {
		p.side[d].lines.Max = maxLine
		p.side[d].packets = app.Frames{Size: packetSize, Max: 4 + maxPacket}
	}
	return p
}

func packetSize(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	n := binary.BigEndian.Uint32(b)
	if n < 2 || n > maxPacket {
		return -1
	}
	return 4 + int(n)
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.login = f, sealed{}
	for d := range p.side {
		s := &p.side[d]
		s.lines.Reset()
		s.packets.Reset()
		s.greeted, s.count, s.suite, s.sealed = false, 0, suite{}, false
	}
}

// Close ends the flow.
func (p *parser) Close() {
	p.login.end(p.flow)
	p.flow = nil
}

// Data reads one direction.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		p.login = sealed{}
		return app.Done
	}
	s := &p.side[d]
	if s.sealed {
		if d == app.Server && !p.login.said(p.flow, len(b)) {
			return app.Done
		}
		return app.Continue
	}
	for !s.greeted {
		line, rest, _, ok := s.lines.Next(b)
		if !ok {
			return app.Continue
		}
		b = rest
		if s.count++; s.count > maxLines {
			return app.Done
		}
		if bytes.HasPrefix(line, []byte("SSH-")) {
			s.greeted = true
			if !p.banner(d, string(line[4:])) {
				return app.Done
			}
		}
	}
	for {
		packet, rest, _, ok := s.packets.Next(b)
		if !ok {
			if s.packets.Bad() {
				return app.Done
			}
			return app.Continue
		}
		b = rest
		padding := int(packet[4])
		if len(packet) < 6+padding {
			return app.Done
		}
		if p.message(d, packet[5:len(packet)-padding]) == app.Done {
			return app.Done
		}
		if s.sealed {
			return app.Continue
		}
	}
}

// banner says false when nothing can be read after it.
func (p *parser) banner(d app.Dir, text string) bool {
	version, rest, _ := strings.Cut(text, "-")
	software, comment, _ := strings.Cut(rest, " ")
	p.flow.Emit(d, &Banner{Version: version, Software: software, Comment: comment})
	return version == "2.0" || version == "1.99"
}

func (p *parser) message(d app.Dir, b []byte) app.Next {
	switch b[0] {
	case msgKeyExchangeInit:
		if !p.readOffer(d, b[1:]) {
			return app.Done
		}
		p.flow.Emit(d, &p.offer)
	case msgReply, msgGroupReply:
		if key, _, ok := text(b[1:]); ok && d == app.Server {
			p.hostKey(key)
		}
	case msgNewKeys:
		p.side[d].sealed = true
		if d == app.Server {
			p.login.begin(&p.side[app.Client].suite, &p.side[app.Server].suite)
			if p.login.granted == 0 {
				return app.Done // the client says nothing more in the clear than this
			}
		}
	}
	return app.Continue
}

// text takes a string with its length before it.
func text(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

func (p *parser) readOffer(d app.Dir, b []byte) bool {
	if len(b) < 16 {
		return false
	}
	b = b[16:] // a cookie
	o := &p.offer
	for _, field := range []*string{
		&o.KeyExchange, &o.HostKey, &o.CipherToServer, &o.CipherToClient, &o.MACToServer, &o.MACToClient, &o.CompressToServer, &o.CompressToClient,
	} {
		s, rest, ok := text(b)
		if !ok {
			return false
		}
		*field, b = string(s), rest
	}
	p.side[d].suite = suite{cipher: o.CipherToClient, mac: o.MACToClient}
	list := []string{o.KeyExchange, o.CipherToServer, o.MACToServer, o.CompressToServer}
	if d == app.Server {
		list = []string{o.KeyExchange, o.CipherToClient, o.MACToClient, o.CompressToClient}
	}
	sum := md5.Sum([]byte(strings.Join(list, ";"))) // the fingerprint is defined so
	o.HASSH = hex.EncodeToString(sum[:])
	return true
}

// hostKey emits a key, unless the message was another one with that number (a group instead of a key).
func (p *parser) hostKey(key []byte) {
	kind, _, ok := text(key)
	if !ok || len(kind) == 0 || len(kind) > 64 || len(key) > maxKey || bytes.ContainsFunc(kind, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return
	}
	sum := sha256.Sum256(key)
	p.flow.Emit(app.Server, &HostKey{Type: string(kind), Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])})
}
