package flow

import (
	"math"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// segments follows the sequence numbers of one direction. It remembers one gap, the latest: more would have no bound, and
// what fills an older one is rare. docs/features.md has the rules.
type segments struct {
	missed                  uint64 // bytes
	retransmits, outOfOrder uint32 // packets
	next                    uint32 // the sequence number that is expected
	gapFrom, gapTo          uint32 // the gap; empty when they are equal
	known                   bool   // next is
}

func (s *segments) add(p *decode.Packet) {
	marks := uint32(p.Flags>>1&1) + uint32(p.Flags&1) // SYN, FIN
	size := p.Payload + marks
	if size == 0 {
		return
	}
	if !s.known {
		s.known, s.next = true, p.Seq+size
		return
	}
	ahead := int32(p.Seq - s.next)
	switch {
	case ahead == 0:
		s.next += size
		return
	case ahead > 0:
		s.missed += uint64(ahead)
		s.gapFrom, s.gapTo = s.next, p.Seq
		s.next = p.Seq + size
		return
	case ahead == -1 && size == 1 && marks == 0:
		return // a keep-alive
	case p.Seq-s.gapFrom < s.gapTo-s.gapFrom:
		s.fill(p.Seq, size)
	default:
		s.retransmits++
	}
	if end := p.Seq + size; int32(end-s.next) > 0 {
		s.next = end
	}
}

// fill takes a segment that begins in the gap.
func (s *segments) fill(seq, size uint32) {
	filled := min(size, s.gapTo-seq)
	s.outOfOrder++
	s.missed -= uint64(filled)
	if seq == s.gapFrom {
		s.gapFrom += filled
	} else {
		s.gapTo = seq
	}
}

// contentBytes is how much of the first payload of a direction is looked at.
const contentBytes = 128

// content is what the first bytes of a payload look like.
type content struct {
	entropy     float64 // bits per byte
	text, bytes uint8
}

// logSteps[n] is (n+1) log2 (n+1) - n log2 n: what one more of a byte value adds.
var logSteps = func() (t [contentBytes]float64) {
	before := 0.0
	for n := range t {
		after := float64(n+1) * math.Log2(float64(n+1))
		t[n], before = after-before, after
	}
	return t
}()

// textBytes has a 1 for each byte that is text.
var textBytes = func() (t [256]uint8) {
	for c := ' '; c <= '~'; c++ {
		t[c] = 1
	}
	t['\t'], t['\n'], t['\r'] = 1, 1, 1
	return t
}()

// contentOf looks at a payload's first bytes. Their entropy is log2 N - Σ n log2 n / N over the counts n of the byte values.
func contentOf(b []byte) (c content) {
	if len(b) == 0 {
		return c
	}
	b = b[:min(len(b), contentBytes)]
	var counts [256]uint8
	sum := 0.0
	for _, v := range b {
		sum += logSteps[counts[v]&(contentBytes-1)]
		counts[v]++
		c.text += textBytes[v]
	}
	n := float64(len(b))
	c.bytes = uint8(len(b))
	c.entropy = max(0, math.Log2(n)-sum/n)
	return c
}

// flagNames are those of flagCounts, by bit, for whoever fills the features in.
const (
	bitFIN = iota
	bitSYN
	bitRST
	bitPSH
	bitACK
	bitURG
	bitECE
	bitCWR
)

// The bits are those of the header.
const _ = uint8(0 - (sdk.FlagCWR - 1<<bitCWR))
