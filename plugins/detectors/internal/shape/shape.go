// Package shape remembers what the flows of a host, or of a network, usually look like, and says how unusual another one is.
//
// In go flows, as six facts in steps of half an octave; a profile counts how often each step came. How unusual a fact is, is the
// share of flows that lay as far out or further: a finding can name the fact, what it was and what it is usually.
// Old flows count half as much after each half-life, so that a profile follows who changes slowly.
package shape

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// Facts is how many facts a shape has.
const Facts = 6

// steps is how many steps a fact has; the last one holds all that is larger.
const steps = 56

// Shape is the facts of a flow in steps.
type Shape [Facts]uint8

// A fact as it is shown.
type fact struct {
	Name string
	unit float64 // of what is counted in steps
}

var facts = [Facts]fact{{"seconds", 1e-3}, {"sent", 1}, {"received", 1}, {"sent_per_packet", 1}, {"received_per_packet", 1}, {"gap_seconds", 1e-3}}

// Name is what a fact is called.
func Name(fact int) string { return facts[fact].Name }

// Of is the shape of a flow.
func Of(f *sdk.Flow) Shape {
	lasted := uint64(max(0, f.End.Sub(f.Start).Milliseconds()))
	packets := f.FwdPackets + f.RevPackets
	return Shape{
		step(lasted), step(f.FwdPayload), step(f.RevPayload), step(f.FwdPayload / max(1, f.FwdPackets)), step(f.RevPayload / max(1, f.RevPackets)),
		step(lasted / max(1, packets)),
	}
}

// step is twice the logarithm to base 2 of a number and one, rounded down: whole numbers alone, in which no platform differs.
func step(v uint64) uint8 {
	v = min(v, 1<<40) + 1
	n := bits.Len64(v) - 1
	half := 0
	if v >= sqrt2Of(n) {
		half = 1
	}
	return uint8(min(2*n+half, steps-1))
}

// sqrt2Of is 2^n × √2, rounded up.
func sqrt2Of(n int) uint64 { return (uint64(1)<<n*92682 + 65535) / 65536 }

// Value is where a step begins, in the unit of its fact.
func Value(fact int, at uint8) float64 {
	v := math.Exp2(float64(at)/2) - 1
	if v < 1 {
		v = math.Round(v)
	}
	return rounded(v * facts[fact].unit)
}

// rounded keeps three digits.
func rounded(v float64) float64 {
	if v <= 0 {
		return 0
	}
	scale := math.Pow10(2 - int(math.Floor(math.Log10(v))))
	return math.Round(v*scale) / scale
}

// full is from how many flows on a profile halves what it counts.
const full = 1 << 15

// Profile counts shapes.
type Profile struct {
	counts [Facts][steps]uint16
	n      uint32
	first  int64 // when the first flow was seen, in nanoseconds
	halved int64
	// Of each fact the first and the last step that are not odd. They are worked out anew every so many flows.
	from, to [Facts]uint8
}

// anew is after how many flows it is worked out again what is odd.
const anew = 32

// One flow in rare that lies as far out, on one side, makes a fact odd.
const rare = 100

// Add counts a flow that was seen at a time. What was there counts half for each half-life that passed.
func (p *Profile) Add(at int64, s *Shape, halfLife int64) {
	if p.first == 0 {
		p.first, p.halved = at, at
	}
	for n := 0; n < bits.UintSize && at-p.halved >= halfLife; n++ {
		p.halve()
		p.halved += halfLife
	}
	if at-p.halved >= halfLife {
		p.halved = at
	}
	if p.n >= full {
		p.halve()
	}
	for i, step := range s {
		p.counts[i][min(step, steps-1)]++
	}
	p.n++
	if p.n%anew == 0 {
		p.workOut()
	}
}

func (p *Profile) halve() {
	for i := range p.counts {
		for j := range p.counts[i] {
			p.counts[i][j] /= 2
		}
	}
	p.n = 0
	for _, c := range p.counts[0] {
		p.n += uint32(c)
	}
}

// Ready reports whether a profile has seen enough, for long enough.
func (p *Profile) Ready(at, learn int64, flows uint32) bool {
	return p.n >= flows && at-p.first >= learn
}

// Odd are the facts of a shape, as bits, that fewer than one flow in a hundred had as far out or further. Of a profile that is not
// ready it says nothing.
func (p *Profile) Odd(s *Shape) (odd uint32) {
	for i, step := range s {
		if step < p.from[i] || step > p.to[i] {
			odd |= 1 << i
		}
	}
	return odd
}

// workOut finds what is odd.
func (p *Profile) workOut() {
	for i := range p.counts {
		counts, total := &p.counts[i], uint32(0)
		for _, c := range counts {
			total += uint32(c)
		}
		p.from[i], p.to[i] = 0, steps-1
		for sum := uint32(counts[0]); rare*sum < total && p.from[i] < steps-1; sum += uint32(counts[p.from[i]]) {
			p.from[i]++
		}
		for sum := uint32(counts[steps-1]); rare*sum < total && p.to[i] > 0; sum += uint32(counts[p.to[i]]) {
			p.to[i]--
		}
	}
}

// Usual is between which values nine of ten flows lie.
func (p *Profile) Usual(fact int) (low, high float64) {
	total := uint32(0)
	for _, c := range p.counts[fact] {
		total += uint32(c)
	}
	sum, from, to := uint32(0), uint8(0), uint8(0)
	for i, c := range p.counts[fact] {
		sum += uint32(c)
		if 20*sum <= total {
			from = uint8(i + 1)
		}
		if 20*(sum-uint32(c)) < 19*total {
			to = uint8(i)
		}
	}
	return Value(fact, min(from, to)), Value(fact, to+1)
}

// AppendTo writes the profile behind b, for Read.
func (p *Profile) AppendTo(b []byte) []byte {
	b = binary.AppendVarint(b, p.first)
	b = binary.AppendVarint(b, p.halved-p.first)
	b = binary.AppendUvarint(b, uint64(p.n))
	for i := range p.counts {
		for _, c := range p.counts[i] {
			b = binary.AppendUvarint(b, uint64(c))
		}
	}
	return append(append(b, p.from[:]...), p.to[:]...)
}

// Read reads what AppendTo wrote.
func Read(from *saved.Packed) *Profile {
	p := &Profile{first: from.Int()}
	p.halved, p.n = p.first+from.Int(), uint32(min(from.Uint(), full))
	for i := range p.counts {
		for j := range p.counts[i] {
			p.counts[i][j] = uint16(min(from.Uint(), full))
		}
	}
	from.Fill(p.from[:])
	from.Fill(p.to[:])
	return p
}
