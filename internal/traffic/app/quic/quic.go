// Package quic reads the Initial packets of QUIC version 1 (RFC 9000, RFC 9001), version 2 (RFC 9369) and the drafts 23 to 32,
// whose keys everybody can compute: the hellos of client and server in them. Everything later is encrypted. Google's QUIC
// before the standard is recognised only.
package quic

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/tls"
)

// QUIC is the protocol.
var QUIC = app.Protocol{
	Name: "quic", Ports: []uint16{443, 853}, First: longForms(), Datagram: recognise,
	NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Hello is the fact of a side's TLS hello. Of the two, that of the sender is set.
type Hello struct {
	Version uint32
	Client  *tls.ClientHello
	Server  *tls.ServerHello
}

// Limits of one connection.
const (
	maxHello   = 16 << 10 // bytes of CRYPTO frames in each direction
	maxPackets = 24       // datagrams that are looked into
	maxKeys    = 8        // times that keys are computed
	maxFrames  = 1500     // in a packet
	maxID      = 20       // bytes of a connection id
)

// longForms are the first bytes of packets with a long header and the fixed bit.
func longForms() string {
	var b []byte
	for c := 0xc0; c <= 0xff; c++ {
		b = append(b, byte(c))
	}
	return string(b)
}

func recognise(_ app.Dir, b []byte) app.Verdict {
	h, ok := readHeader(b)
	if !ok {
		return app.No
	}
	switch v := h.version; {
	case paramsOf(v) != nil, v>>24 == 'Q' && v>>16&0xff == '0':
		return app.Sure
	case v == 0, v&0x0f0f0f0f == 0x0a0a0a0a: // negotiation of versions
		return app.Likely
	}
	return app.No
}

// header is the part of a long header that all versions share.
type header struct {
	version uint32
	dst     []byte
	rest    []byte // behind the connection ids
}

func readHeader(b []byte) (h header, ok bool) {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return h, false
	}
	h.version = binary.BigEndian.Uint32(b[1:])
	b = b[5:]
	for i := range 2 {
		n := int(b[0])
		if n > maxID || len(b) < 2+n {
			return h, false
		}
		if i == 0 {
			h.dst = b[1 : 1+n]
		}
		b = b[1+n:]
	}
	h.rest = b
	return h, true
}

// varint reads a number of RFC 9000 section 16.
func varint(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	size := 1 << (b[0] >> 6)
	if len(b) < size {
		return 0, nil, false
	}
	n = uint64(b[0] & 0x3f)
	for _, c := range b[1:size] {
		n = n<<8 | uint64(c)
	}
	return n, b[size:], true
}

type parser struct {
	flow    *app.Flow
	packets int
	derived int
	params  *params  // of the version whose keys are known
	secret  []byte   // that they are derived from, nil while they are not known
	keys    [2]*keys // of the client's and the server's Initial packets, as far as they were needed
	hello   [2]crypto
	done    [2]bool
	client  tls.ClientHello
	server  tls.ServerHello
	fact    Hello
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.packets, p.derived = f, 0, 0
	p.done = [2]bool{}
	p.forget()
	for d := range p.hello {
		p.hello[d].reset()
	}
}

// forget forgets the keys.
func (p *parser) forget() { p.params, p.secret, p.keys = nil, nil, [2]*keys{} }

// Close ends the flow.
func (p *parser) Close() {
	p.flow = nil
	p.forget()
}

// Datagram looks for Initial packets.
func (p *parser) Datagram(d app.Dir, b []byte, _ int) app.Next {
	if p.packets++; p.packets > maxPackets {
		return app.Done
	}
	for len(b) > 0 && (!p.done[d] || p.secret == nil) {
		h, ok := readHeader(b)
		if !ok {
			break
		}
		params := paramsOf(h.version)
		if params != nil && d == app.Server && b[0]>>4&3 == params.retryType {
			p.forget() // the client begins again, and its packets have other keys
		}
		if params == nil || b[0]>>4&3 != params.initialType {
			break // packets that cannot be read come after those that can
		}
		packet, rest, ok := split(b, h)
		if !ok {
			break
		}
		p.initial(d, params, h, packet)
		b = rest
	}
	if p.done[app.Client] && p.done[app.Server] {
		return app.Done
	}
	return app.Continue
}

// packet is one Initial packet.
type packet struct {
	whole  []byte // to its end
	number int    // where its number begins
}

// split steps over the token and cuts the packet off those that follow in the datagram.
func split(b []byte, h header) (packet, []byte, bool) {
	n, rest, ok := varint(h.rest)
	if !ok || n > uint64(len(rest)) {
		return packet{}, nil, false
	}
	n, rest, ok = varint(rest[n:])
	if !ok || n > uint64(len(rest)) {
		return packet{}, nil, false
	}
	at := len(b) - len(rest)
	end := at + int(n)
	return packet{whole: b[:end], number: at}, b[end:], true
}

// scratches are where packets are decrypted.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// initial decrypts a packet and reads its frames.
func (p *parser) initial(d app.Dir, params *params, h header, in packet) {
	if d == app.Server && p.secret == nil {
		return // only the client's first packet tells the keys
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	var plain []byte
	ok := false
	if p.keys[d] == nil && d == app.Server {
		p.keys[d] = newKeys(p.params, p.secret, d)
	}
	if p.keys[d] != nil {
		plain, ok = p.keys[d].open(scratch, in)
	}
	if !ok && d == app.Client && p.derived < maxKeys {
		p.derived++
		// The first packet, or one after a retry that the capture does not have.
		secret := secretOf(params, h.dst)
		fresh := newKeys(params, secret, d)
		if plain, ok = fresh.open(scratch, in); ok {
			p.params, p.secret, p.keys = params, secret, [2]*keys{app.Client: fresh}
		}
	}
	if !ok || p.done[d] || !p.frames(d, plain) {
		return
	}
	p.tell(d, h.version)
}

// frames collects what CRYPTO frames carry. It says false when a frame cannot be read.
func (p *parser) frames(d app.Dir, b []byte) bool {
	for range maxFrames {
		for len(b) > 0 && b[0] == framePadding {
			b = b[1:]
		}
		if len(b) == 0 {
			return true
		}
		kind := b[0]
		b = b[1:]
		var ok bool
		switch kind {
		case framePing:
			ok = true
		case frameAck, frameAckECN:
			b, ok = skipAck(b, kind == frameAckECN)
		case frameCrypto:
			b, ok = p.cryptoFrame(d, b)
		default:
			return true // a close, or what must not stand in an Initial packet
		}
		if !ok {
			return false
		}
	}
	return true
}

// Frame types.
const (
	framePadding = 0
	framePing    = 1
	frameAck     = 2
	frameAckECN  = 3
	frameCrypto  = 6
)

func skipAck(b []byte, ecn bool) ([]byte, bool) {
	var n [4]uint64 // largest, delay, count of ranges, first range
	var ok bool
	for i := range n {
		if n[i], b, ok = varint(b); !ok {
			return nil, false
		}
	}
	more := n[2] * 2
	if ecn {
		more += 3
	}
	if more > uint64(len(b)) {
		return nil, false
	}
	for range more {
		if _, b, ok = varint(b); !ok {
			return nil, false
		}
	}
	return b, true
}

func (p *parser) cryptoFrame(d app.Dir, b []byte) ([]byte, bool) {
	offset, b, ok := varint(b)
	if !ok {
		return nil, false
	}
	size, b, ok := varint(b)
	if !ok || size > uint64(len(b)) {
		return nil, false
	}
	if offset+size > maxHello {
		p.flow.Cut(int(size))
		return b[size:], true
	}
	p.hello[d].add(int(offset), b[:size])
	return b[size:], true
}

// tell emits the hello once all of it is there.
func (p *parser) tell(d app.Dir, version uint32) {
	msg, ok := p.hello[d].message()
	if !ok {
		return
	}
	p.done[d], p.keys[d] = true, nil
	p.fact = Hello{Version: version}
	switch {
	case d == app.Client && msg[0] == 1:
		p.client.Read(msg[4:], tls.OverQUIC)
		p.fact.Client = &p.client
		p.rename()
	case d == app.Server && msg[0] == 2:
		p.server.Read(msg[4:])
		p.fact.Server = &p.server
	default:
		return
	}
	p.flow.Emit(d, &p.fact)
}

// rename names what the client wants to speak, when it offers nothing else.
func (p *parser) rename() {
	if alpn := p.client.ALPN; len(alpn) > 0 && !slices.ContainsFunc(alpn, func(s string) bool { return s != "h3" && len(s) < 3 || s[:2] != "h3" }) {
		p.flow.Rename("http3")
	}
}
