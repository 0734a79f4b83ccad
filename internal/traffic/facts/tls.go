package facts

import (
	"math"
	"slices"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/tls"
	"github.com/picketwatch/picket/sdk"
)

// handshake is what was seen of one so far.
type handshake struct {
	row      sdk.TLS
	answered bool
}

// maxChain bounds the certificates of one handshake.
const maxChain = 16

// opened is the handshake that a message of it belongs to, nil when it is one more than is wanted of the flow.
func (m *Maker) opened(f *app.Fact, version uint32) *handshake {
	if m.handshakes.of(f.Flow.ID) == nil && !m.wants(f.Flow, &m.tls.share) {
		return nil
	}
	h, fresh := m.handshakes.open(f.Flow.ID)
	r := &h.row
	if fresh {
		h.answered = false
		r.Protocol = f.Protocol
	}
	r.Seen = seen(f)
	r.FromServer = false // the record is of both sides
	if version != 0 {
		r.QUIC = version
	}
	return h
}

func (m *Maker) clientHello(f *app.Fact, version uint32, b *tls.ClientHello) {
	if !m.tls.wanted {
		return
	}
	if h := m.handshakes.of(f.Flow.ID); h != nil && h.answered {
		m.handshakes.end(f.Flow.ID) // this is the next one
	}
	h := m.opened(f, version)
	if h == nil {
		return
	}
	r := &h.row
	r.Offered = b.Legacy
	if len(b.Versions) > 0 {
		r.Offered = slices.Max(b.Versions)
	}
	r.ServerName, r.JA3, r.JA4, r.Encrypted, r.Damaged = b.ServerName, b.JA3, b.JA4, b.Encrypted, b.Damaged
	r.ALPNs, _ = appendCut(r.ALPNs[:0], b.ALPN)
	r.Ciphers, r.Groups = appendWide(r.Ciphers[:0], b.Ciphers), appendWide(r.Groups[:0], b.Groups)
	m.handshakes.grew(f.Flow.ID, size(r))
}

func (m *Maker) serverHello(f *app.Fact, version uint32, b *tls.ServerHello) {
	if !m.tls.wanted {
		return
	}
	h := m.opened(f, version)
	if h == nil {
		return
	}
	h.answered = !b.Retry
	r := &h.row
	r.Version, r.Cipher, r.JA3S, r.ALPN = b.Version, b.Cipher, b.JA3S, b.ALPN
	r.Retry, r.Damaged = r.Retry || b.Retry, r.Damaged || b.Damaged
}

func (m *Maker) certificates(f *app.Fact, b *tls.Certificates) {
	if !m.tls.wanted || f.Dir != app.Server || len(b.Chain) == 0 {
		return
	}
	h := m.opened(f, 0)
	if h == nil {
		return
	}
	r := &h.row
	r.Chain = r.Chain[:0]
	for _, c := range b.Chain[:min(len(b.Chain), maxChain)] {
		r.Chain = append(r.Chain, c.SHA256)
	}
	own := b.Chain[0]
	r.Subject, r.Issuer, r.Serial = cut(own.Subject), cut(own.Issuer), cut(own.Serial)
	r.NotBefore, r.NotAfter = within(own.NotBefore), within(own.After)
	r.Names, _ = appendCut(r.Names[:0], own.Names)
	r.KeyType, r.KeyBits, r.Signature = own.KeyType, uint16(min(own.KeyBits, math.MaxUint16)), own.Signature
	r.CA, r.SelfSigned, r.CertificateDamaged = own.CA, own.SelfSigned, own.Error != ""
	m.handshakes.grew(f.Flow.ID, size(r))
}

// heartbeat notes one that asks for too much, or an answer to it, in the handshake that it comes with.
func (m *Maker) heartbeat(f *app.Fact, b *tls.Heartbeat) {
	if !m.tls.wanted {
		return
	}
	h := m.opened(f, 0)
	if h == nil {
		return
	}
	if r := &h.row; b.Response {
		r.HeartbeatAnswered += uint32(b.Beyond)
	} else {
		r.HeartbeatAsked = max(r.HeartbeatAsked, uint32(b.Beyond))
	}
}

// The times that a row can hold: nanoseconds since 1970 in 64 bits.
var earliest, latest = time.Unix(0, math.MinInt64+1).UTC(), time.Unix(0, math.MaxInt64).UTC()

// within brings a time into that span, so that a detector sees the same one whether it gets a row or not.
func within(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return t
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}

// tellHandshake hands a handshake on, and keeps the room of its record, without its texts: it may lie about for long.
func (m *Maker) tellHandshake(_ uint64, h *handshake) {
	r := &h.row
	m.tls.add(r)
	*r = sdk.TLS{
		ALPNs: emptied(r.ALPNs), Ciphers: r.Ciphers[:0], Groups: r.Groups[:0], Chain: emptied(r.Chain), Names: emptied(r.Names),
	}
}

// size is about how many bytes the lists and texts of a record have.
func size(r *sdk.TLS) int {
	n := 8*(len(r.Ciphers)+len(r.Groups)) + len(r.Subject) + len(r.Issuer) + len(r.ServerName) + 64*len(r.Chain) + 256
	for _, s := range r.ALPNs {
		n += len(s)
	}
	for _, s := range r.Names {
		n += len(s)
	}
	return n
}
