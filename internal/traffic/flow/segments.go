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
	retransmits, outOfOrder uint64 // packets
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

// logs holds n log2 n.
var logs = func() (t [contentBytes + 1]float64) {
	for n := 2; n < len(t); n++ {
		t[n] = float64(n) * math.Log2(float64(n))
	}
	return t
}()

// contentOf returns the entropy of a payload's first bytes, in bits per byte, and the share of them that are text.
func contentOf(b []byte) (entropy, printable float64) {
	if len(b) == 0 {
		return 0, 0
	}
	b = b[:min(len(b), contentBytes)]
	var counts [256]uint8
	text := 0
	for _, c := range b {
		counts[c]++
		if c-' ' < 0x7f-' ' || c == '\t' || c == '\n' || c == '\r' {
			text++
		}
	}
	// H = log2 N - Σ n log2 n / N
	sum := 0.0
	for _, c := range b {
		sum += logs[counts[c]]
		counts[c] = 0
	}
	n := float64(len(b))
	return max(0, math.Log2(n)-sum/n), float64(text) / n
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
