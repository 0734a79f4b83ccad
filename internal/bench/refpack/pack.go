// Package refpack is the reference pack of the benchmarks: twelve flow detectors of usual kinds and weight in one process.
// In go flows, out come findings, each rule's from a detector of its own. README.md lists them.
//
// table.go is their bounded memory; hosts.go, services.go, conversations.go and content.go hold the detectors by what they
// remember.
package refpack

import (
	"context"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// ID is the plugin's.
const ID = "picket/bench-pack"

func init() { sdk.Register(Plugin()) }

// Plugin declares the pack.
func Plugin() sdk.Plugin {
	var rules []sdk.Rule
	for _, d := range twelve() {
		rules = append(rules, d.rule())
	}
	return sdk.Plugin{
		ID: ID, Kind: sdk.KindDetector, Summary: "Twelve flow detectors of usual kinds and weight in one process, to measure with.",
		Rules: rules, Subscription: sdk.Subscription{Flows: true}, Borrows: true, New: func() sdk.Instance { return &Pack{detectors: twelve()} },
	}
}

// detector is one of the twelve.
type detector interface {
	rule() sdk.Rule
	see(f *flow, say *teller)
	// end judges what is left at the end of a capture and forgets everything.
	end(say *teller)
}

func twelve() []detector {
	return []detector{
		&fanOut{}, &volumeOut{}, &failures{}, &dnsVolume{},
		&fanIn{}, &halfOpen{}, &rareDestination{},
		&longConnection{}, &period{}, &uploadRatio{}, &oddPort{},
		newEnsemble(),
	}
}

// Pack is one instance of all twelve.
type Pack struct{ detectors []detector }

// Config says that there is nothing to configure.
func (p *Pack) Config() any { return nil }

// Inspect shows each flow to each detector.
func (p *Pack) Inspect(_ context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	say := &teller{sink: sink}
	var f flow
	for i := range batch.Flows {
		f.set(&batch.Flows[i])
		for _, d := range p.detectors {
			d.see(&f, say)
		}
		if say.err != nil {
			return say.err
		}
	}
	return nil
}

// Flush lets each detector judge what it still holds, and forget it.
func (p *Pack) Flush(_ context.Context, sink sdk.FindingSink) error {
	say := &teller{sink: sink}
	for _, d := range p.detectors {
		d.end(say)
	}
	return say.err
}

// flow is a flow with what several detectors ask of it, worked out once. The hashes are the same in every process, so that a
// replay finds the same.
type flow struct {
	*sdk.Flow
	now     int64  // its end, in nanoseconds
	src     uint64 // hash of the client
	dst     uint64 // of the server
	service uint64 // of server, port and protocol
	pair    uint64 // of client and server
	talk    uint64 // of client and service
	ported  bool   // its protocol has ports
	outward bool   // from a private address to one that is not
}

func (f *flow) set(x *sdk.Flow) {
	f.Flow = x
	f.now = x.End.UnixNano()
	f.src, f.dst = hash(x.Src), hash(x.Dst)
	f.service = mix(f.dst, uint64(x.DstPort)<<8|uint64(x.Proto))
	f.pair, f.talk = mix(f.src, f.dst), mix(f.src, f.service)
	f.ported = x.Proto == sdk.ProtoTCP || x.Proto == sdk.ProtoUDP
	f.outward = x.Src.IsPrivate() && outer(x.Dst)
}

func hash(a netip.Addr) uint64 {
	b := a.As16()
	return mix(mix(binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])), 1)
}

// mix joins a hash and a number to another hash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xd1b54a32d192ed03)
	return hi ^ lo
}

// outer reports whether an address belongs to somebody elsewhere.
func outer(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate()
}

// teller makes findings of what detectors saw. The first error stays.
type teller struct {
	sink sdk.FindingSink
	err  error
}

// evidence is what a verdict rests on.
type evidence struct {
	src, dst   string
	start, end time.Time
	packets    []uint64
	flow       sdk.FlowRef
}

func (f *flow) evidence(src, dst string) evidence {
	return evidence{src: src, dst: dst, start: f.Start, end: f.End, packets: slices.Clone(f.Packets), flow: f.Ref()}
}

// client, server and both name whom a finding is about.
func (f *flow) client() evidence { return f.evidence(f.Src.String(), "") }
func (f *flow) server() evidence {
	return f.evidence("", netip.AddrPortFrom(f.Dst, f.DstPort).String())
}
func (f *flow) both() evidence {
	return f.evidence(f.Src.String(), netip.AddrPortFrom(f.Dst, f.DstPort).String())
}

func (t *teller) tell(r sdk.Rule, e evidence, summary string, features map[string]float64) {
	if t.err != nil {
		return
	}
	t.err = t.sink.Finding(sdk.Finding{
		Rule: r.ID, Severity: r.Severity, Risk: 10 * r.Severity.Rank(), Confidence: 0.5, Techniques: r.Techniques,
		Src: e.src, Dst: e.dst, Start: e.start, End: e.end, Packets: e.packets, Flows: []sdk.FlowRef{e.flow},
		Features: features, Summary: summary,
	})
}
