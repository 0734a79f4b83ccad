package dnssecurity

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

const (
	// A name that is in flux lives no longer than this many seconds, and points within fluxWindow to at least so many addresses, in
	// at least so many networks of eight bits, six of them to ten addresses. The largest companies have addresses in nine.
	fluxLife     = 600
	fluxWindow   = int64(6 * time.Hour)
	fluxLeast    = 12
	fluxNetworks = 10
	fluxShare    = 6

	// A name that is bound again lives no longer than this many seconds, and moves inside within so long.
	bindLife   = 60
	bindWithin = int64(10 * time.Minute)

	maxAddresses = 32
)

// name is where a name points to.
type name struct {
	key       uint64
	text      string
	begin     int64
	addresses []uint32 // public ones, different
	life      uint32   // shortest
	evidence.Evidence
	asker, via     bare.Addr // the first client and server
	port           uint16    // of that server
	proto          uint8
	client, server bare.Addr // of the last public answer
	publicAt       int64     // when it was, 0 when it may live longer than bindLife
	outside        uint32
	inFlux         uint64 // addresses that were reported
	bound          bool   // was reported
}

// points takes an answer with addresses.
func (d *Detector) points(m *sdk.DNS, sink sdk.FindingSink) error {
	life := uint64(math.MaxUint32)
	for i, kind := range m.AnswerTypes {
		switch kind {
		case typeA:
			life = min(life, m.AnswerTTLs[i])
		case typeSignature:
		default:
			return nil // an alias points elsewhere, as names of content networks do
		}
	}
	text := dnsname.Lower(m.Query)
	key := dnsname.Hash(text)
	n, known := d.names.Get(key)
	if !known && life > fluxLife {
		return nil
	}
	if now := m.Time.UnixNano(); known && now-n.begin > fluxWindow {
		*n = name{key: key, text: n.text, begin: now, life: math.MaxUint32,
			asker: bare.Of(m.Client), via: bare.Of(m.Server), port: m.ServerPort, proto: m.Proto}
	}
	var inner netip.Addr
	for i, kind := range m.AnswerTypes {
		a, err := netip.ParseAddr(m.Answers[i])
		switch {
		case err != nil || kind != typeA || !a.Is4():
			continue
		case inside(a):
			inner = a
			continue
		case n == nil:
			if n = d.name(key, text, m); n == nil {
				return nil
			}
		}
		if err := d.moves(n, m, a, uint32(life), sink); err != nil {
			return err
		}
	}
	if n == nil || !inner.IsValid() {
		return nil
	}
	return d.binds(n, m, inner, sink)
}

// name begins the memory of a name, unless it may point anywhere.
func (d *Detector) name(key uint64, text string, m *sdk.DNS) *name {
	if _, official := publicsuffix.PublicSuffix(text); !official || below(d.ignore, text) != "" {
		return nil
	}
	if old, full := d.names.Crowded(); full {
		d.names.Forget(old.key)
	}
	n := &name{key: key, text: strings.Clone(text), begin: m.Time.UnixNano(), life: math.MaxUint32,
		asker: bare.Of(m.Client), via: bare.Of(m.Server), port: m.ServerPort, proto: m.Proto}
	d.names.Put(key, n)
	return n
}

// inside reports whether an address means a machine of the site, or the asking one itself.
func inside(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified()
}

// moves takes a public address of a name.
func (d *Detector) moves(n *name, m *sdk.DNS, to netip.Addr, life uint32, sink sdk.FindingSink) error {
	four := to.As4()
	number := binary.BigEndian.Uint32(four[:])
	n.life = min(n.life, life)
	n.publicAt = 0
	if life <= bindLife {
		n.publicAt, n.outside = m.Time.UnixNano(), number
	}
	n.client.Set(m.Client)
	n.server.Set(m.Server)
	if len(n.addresses) >= maxAddresses || slices.Contains(n.addresses, number) {
		return nil
	}
	n.addresses = append(n.addresses, number)
	ref := flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort}
	if n.client != n.asker || n.server != n.via || m.Proto != n.proto {
		ref = flowref.Ref{}
	}
	n.Add(m.Time.UnixNano(), m.Packet, ref)
	return d.tellFlux(n, false, sink)
}

func (d *Detector) tellNames(sink sdk.FindingSink) error {
	for n := range d.names.All() {
		if err := d.tellFlux(n, true, sink); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detector) tellFlux(n *name, final bool, sink sdk.FindingSink) error {
	count := len(n.addresses)
	if count < fluxLeast || n.life > fluxLife || !grown(uint64(count), n.inFlux, final) {
		return nil
	}
	networks := n.networks()
	if networks < fluxNetworks || 10*networks < fluxShare*count {
		return nil
	}
	n.inFlux = uint64(count)
	out := sdk.Finding{
		Src: n.asker.Addr().String(), Dst: addressOf(n.via, n.port), Flows: n.Refs(n.asker.Addr(), n.via.Addr(), n.proto),
		Features: map[string]float64{"addresses": float64(count), "networks": float64(networks), "life_seconds": float64(n.life)},
		Summary: fmt.Sprintf("%s pointed to %d addresses in %d unrelated networks in %s, each for no longer than %s",
			n.text, count, networks, n.Lasted(), time.Duration(n.life)*time.Second),
	}
	return sink.Finding(finish(&n.Evidence, RuleFastFlux, 0.6+0.1*math.Log2(float64(count)/fluxLeast)+0.01*float64(networks-fluxNetworks), out))
}

// networks is in how many networks of eight bits the addresses are.
func (n *name) networks() int {
	var seen [256]bool
	count := 0
	for _, one := range n.addresses {
		if first := one >> 24; !seen[first] {
			seen[first] = true
			count++
		}
	}
	return count
}

// binds takes an inner address of a name.
func (d *Detector) binds(n *name, m *sdk.DNS, to netip.Addr, sink sdk.FindingSink) error {
	now := m.Time.UnixNano()
	if n.bound || n.publicAt == 0 || now-n.publicAt > bindWithin || bare.Of(m.Client) != n.client || bare.Of(m.Server) != n.server {
		return nil
	}
	n.bound = true
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], n.outside)
	var e evidence.Evidence
	e.Add(n.publicAt, 0, flowref.Ref{})
	e.Add(now, m.Packet, flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort})
	out := sdk.Finding{
		Src: m.Client.String(), Dst: netip.AddrPortFrom(m.Server, m.ServerPort).String(),
		Features: map[string]float64{"seconds_between": round(float64(now-n.publicAt)/1e9, 1), "life_seconds": float64(n.life)},
		Summary: fmt.Sprintf("%s was told that %s is at %s, and %s later that it is at %s: a page from there can reach inside",
			m.Client, n.text, netip.AddrFrom4(four), e.Lasted(), to),
		Flows: e.Refs(m.Client, m.Server, m.Proto),
	}
	return sink.Finding(finish(&e, RuleRebinding, 0.7, out))
}
