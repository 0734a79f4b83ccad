package encrypted

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// What is kept of how a connection begins.
const (
	nameless uint32 = 1 << iota // it asks for no name, or for an address
	noProtocols
	selfSigned
	resolver // the server is known to answer questions for names over HTTPS
	allowed  // by the operator
)

const (
	// maxName is how much of a name is kept.
	maxName = 64
	// maxHellos is how many connections may be open whose hello is remembered.
	maxHellos = 8192
)

// hello is what is remembered of one until its flow ends.
type hello struct {
	flow  uint64
	signs uint32
	print uint64 // of the client's fingerprint
	name  string
}

// connection is a flow with its hello.
type connection struct {
	*sdk.Flow
	*hello
	client, server bare.Addr
}

// greet remembers how a connection to a server outside begins. Calls between browsers (DTLS) name nobody by nature.
func (d *Detector) greet(r *sdk.TLS) {
	if r.Protocol == "dtls" || r.Flow == 0 || r.JA4 == "" || contain(d.internal, r.Server) || !contain(d.internal, r.Client) {
		return
	}
	h := &hello{flow: r.Flow, print: hash(r.JA4), name: strings.Clone(r.ServerName[:min(len(r.ServerName), maxName)])}
	if r.ServerName == "" || isAddress(r.ServerName) {
		h.signs |= nameless
	}
	if len(r.ALPNs) == 0 {
		h.signs |= noProtocols
	}
	if r.SelfSigned {
		h.signs |= selfSigned
	}
	web := len(r.ALPNs) == 0 || slices.ContainsFunc(r.ALPNs, func(p string) bool { return p == "h2" || p == "h3" || strings.HasPrefix(p, "http/") })
	if r.ServerPort == 443 && web && d.isResolver(r.Server, r.ServerName) {
		h.signs |= resolver
	}
	if d.isNamed(r.ServerName) {
		h.signs |= allowed
	}
	d.memory.greet(h)
}

func (d *Detector) isNamed(server string) bool {
	for _, name := range d.cfg.Names {
		if rest, found := strings.CutSuffix(server, name); found && (rest == "" || rest[len(rest)-1] == '.') {
			return true
		}
	}
	return false
}

// isAddress reports whether a name is an address. No other name ends in a digit or has a colon.
func isAddress(name string) bool {
	if c := name[len(name)-1]; (c < '0' || c > '9') && strings.IndexByte(name, ':') < 0 {
		return false
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

// greet keeps a hello; the oldest goes when there are too many. A second one of a flow (QUIC, a retry) takes the place of the first.
func (m *memory) greet(h *hello) {
	if before, known := m.hellos.Get(h.flow); known {
		*before = *h
		return
	}
	if old, full := m.hellos.Crowded(); full {
		m.hellos.Forget(old.flow)
	}
	m.hellos.Put(h.flow, h)
}

// take returns the hello of a flow, which is over.
func (m *memory) take(flow uint64) *hello {
	if m.hellos.Len() == 0 || !m.hellos.Has(flow) {
		return nil
	}
	h, _ := m.hellos.Get(flow)
	m.hellos.Forget(flow)
	m.hellos.Forgotten--
	return h
}

// hash is FNV-1a with a last stir, the same on every machine.
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return stir(h)
}

func stir(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}
