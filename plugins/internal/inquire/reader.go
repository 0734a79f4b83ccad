// Package inquire is how a discovery asks over UDP and understands what it is answered: what goes in are messages of the wire, what comes
// out are sightings. It reads them with the parsers of the traffic engine and understands them as passive discovery does, so that
// a device says the same of itself whether it was asked or overheard.
package inquire

import (
	"context"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/plugins/discovery/passive"
	"github.com/picketwatch/picket/sdk"
)

const (
	protoTCP = 6
	protoUDP = 17
)

// Reader understands the answers of one round. It is not safe for concurrent use.
type Reader struct {
	maker    *facts.Maker
	observer *passive.Observer
	sink     sdk.SightingSink
	flows    uint64
	last     time.Time
	watch    func(*sdk.Batch)
}

// New returns a Reader that tells the sink of the devices in the scope. watch, unless nil, is shown what was understood, during
// the call.
func New(ctx context.Context, scope sdk.Scope, maxDevices int, sink sdk.SightingSink, watch func(*sdk.Batch)) (*Reader, error) {
	r := &Reader{observer: passive.New(), sink: within{scope, sink}, watch: watch}
	config := r.observer.Config().(*passive.Config)
	config.MaxDevices = maxDevices
	for _, p := range scope.Prefixes {
		config.Networks = append(config.Networks, p.Masked().String())
	}
	if err := r.observer.Start(ctx, nil); err != nil {
		return nil, err
	}
	var err error
	r.maker, err = facts.New(facts.Config{
		Kinds: []string{sdk.FactsDNS, sdk.FactsMessages, sdk.FactsSMB},
		Emit: facts.Batches(func(_ string, b *sdk.Batch) error {
			if r.watch != nil {
				r.watch(b)
			}
			return r.observer.Observe(ctx, *b, r.sink)
		}),
	})
	return r, err
}

// Datagram reads what a device sent over UDP.
func (r *Reader) Datagram(at time.Time, from, to netip.AddrPort, b []byte) error {
	return r.Exchange(protoUDP, at, from, to, b)
}

// Answers reads what a device answered over one connection.
func (r *Reader) Answers(at time.Time, from, to netip.AddrPort, said ...[]byte) error {
	return r.Exchange(protoTCP, at, from, to, said...)
}

// Exchange reads messages of a device, one after the other.
func (r *Reader) Exchange(proto uint8, at time.Time, from, to netip.AddrPort, said ...[]byte) error {
	if !at.After(r.last) {
		at = r.last.Add(1) // two messages never have one time: by it the inventory knows what one message said
	}
	r.last = at
	r.flows++
	var tag app.Tag
	seq := uint32(1)
	for _, b := range said {
		d := decode.Packet{Src: wide(from.Addr()), Dst: wide(to.Addr()), SrcPort: from.Port(), DstPort: to.Port(), Proto: proto,
			Version: version(from.Addr()), Body: b, Payload: uint32(len(b)), Length: uint32(len(b)), Seq: seq, Whole: true}
		if tag.Over() {
			break
		}
		r.maker.Engine().Packet(&tag, &app.Packet{Packet: &d, Time: at.UnixNano(), FlowID: r.flows, Dir: app.Server, Side: app.Server})
		seq += uint32(len(b))
	}
	r.maker.Engine().End(&tag, r.flows)
	return r.maker.Flush()
}

func wide(a netip.Addr) [16]byte { return netip.AddrFrom16(a.As16()).As16() }

func version(a netip.Addr) uint8 {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}

// within leaves out sightings of what is not in the scope: a device names addresses elsewhere, too.
type within struct {
	scope sdk.Scope
	sink  sdk.SightingSink
}

func (w within) Sighting(s sdk.Sighting) error {
	if !s.IP.IsValid() || !w.scope.Contains(s.IP) {
		return nil
	}
	return w.sink.Sighting(s)
}
