// Package evidence remembers where in a capture something was seen, as a finding shows it: when it began and ended, and the first
// packets and flows.
package evidence

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// How much a finding carries at most.
const (
	maxPackets = 32
	maxFlows   = 16
)

// Evidence is empty at first.
type Evidence struct {
	first, last int64
	packets     []uint64
	flows       []flowref.Ref
}

// Add remembers a packet, and its flow unless that is empty.
func (e *Evidence) Add(at int64, packet uint64, flow flowref.Ref) {
	if e.first == 0 {
		e.first = at
	}
	e.last = max(e.last, at)
	if len(e.packets) < maxPackets && packet > 0 {
		e.packets = append(e.packets, packet)
	}
	if flow.ID == 0 || len(e.flows) >= maxFlows {
		return
	}
	for i := range e.flows {
		if e.flows[i].ID == flow.ID {
			return
		}
	}
	e.flows = append(e.flows, flow)
}

// End is when something was seen last, in nanoseconds, 0 before the first time.
func (e *Evidence) End() int64 { return e.last }

// AppendTo writes the evidence behind b, for Read.
func (e *Evidence) AppendTo(b []byte) []byte {
	b = binary.AppendVarint(b, e.first)
	b = binary.AppendVarint(b, e.last)
	b = binary.AppendUvarint(b, uint64(len(e.packets)))
	for _, n := range e.packets {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(e.flows)))
	for i := range e.flows {
		b = e.flows[i].AppendTo(b)
	}
	return b
}

// Read reads what AppendTo wrote.
func Read(p *saved.Packed) Evidence {
	e := Evidence{first: p.Int(), last: p.Int()}
	for range p.Count() {
		e.packets = append(e.packets, p.Uint())
	}
	for range p.Count() {
		e.flows = append(e.flows, flowref.Read(p))
	}
	return e
}

// sure is from what confidence on a finding is high.
const sure = 0.75

// Into fills in what follows from the evidence and a confidence: severity high from 0.75, else medium, risk 40 + 55 × confidence.
func (e *Evidence) Into(f *sdk.Finding, confidence float64) {
	f.Severity, f.Confidence, f.Risk = sdk.SeverityMedium, confidence, int(math.Round(40+55*confidence))
	if confidence >= sure {
		f.Severity = sdk.SeverityHigh
	}
	f.Start, f.End = time.Unix(0, e.first).UTC(), time.Unix(0, e.last).UTC()
	f.Packets = append([]uint64{}, e.packets...)
}

// Lasted is the time from the first to the last, as people say it.
func (e *Evidence) Lasted() time.Duration {
	d := time.Duration(e.last - e.first)
	if d < time.Minute {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// Refs are the flows between two addresses.
func (e *Evidence) Refs(client, server netip.Addr, proto uint8) []sdk.FlowRef {
	out := make([]sdk.FlowRef, 0, len(e.flows))
	for i := range e.flows {
		out = append(out, e.flows[i].Full(client, server, proto))
	}
	return out
}
