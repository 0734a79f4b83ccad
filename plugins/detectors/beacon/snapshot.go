package beacon

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then those of each pair,
// the one touched longest ago first. The forms before are read, too (earlier.go); another one is refused.
const snapshotVersion = 4

// What a call and a pair take in a snapshot, about.
const (
	callSize = 48
	pairSize = 24
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, d.pairs.memory*callSize+len(d.pairs.byKey)*pairSize)
	b = binary.AppendVarint(b, d.clock)
	b = binary.AppendVarint(b, d.swept)
	b = binary.AppendUvarint(b, d.pairs.next)
	b = binary.AppendUvarint(b, d.pairs.forgotten)
	for e := d.pairs.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*pair).appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := restored{pairs: newPairs(d.cfg.MaxPairs, d.cfg.MaxCalls, d.cfg.MaxMemory)}
	read := into.read
	if !saved.Is(state) {
		read = into.readEarlier
	}
	if err := read(state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.pairs, d.clock, d.swept = into.pairs, into.clock, into.swept
	return nil
}

// restored is what a snapshot says.
type restored struct {
	pairs        pairs
	clock, swept int64
}

func (r *restored) read(state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	r.clock, r.swept, r.pairs.next, r.pairs.forgotten = p.Int(), p.Int(), p.Uint(), p.Uint()
	for p.More() {
		if err := r.add(readPair(p)); err != nil {
			return err
		}
	}
	return p.Err()
}

// add puts a pair behind those that are there.
func (r *restored) add(p *pair) error {
	if r.pairs.byKey[p.key] != nil {
		return fmt.Errorf("a pair of %s comes twice", p.key.src.Addr())
	}
	r.pairs.insert(p)
	r.pairs.memory += len(p.calls)
	return nil
}

func (p *pair) appendTo(b []byte) []byte {
	b = p.key.src.AppendTo(b)
	b = p.key.dst.AppendTo(b)
	b = binary.AppendUvarint(b, uint64(p.key.port))
	b = binary.AppendUvarint(b, uint64(p.key.proto))
	b = binary.AppendUvarint(b, p.number)
	b = binary.AppendUvarint(b, uint64(p.reported))
	b = binary.AppendUvarint(b, uint64(len(p.calls)))
	return appendCalls(b, p.calls)
}

func readPair(p *saved.Packed) *pair {
	one := &pair{key: pairKey{src: bare.Read(p), service: service{dst: bare.Read(p), port: uint16(p.Uint()), proto: byte(p.Uint())}}}
	one.number, one.reported = p.Uint(), int(p.Uint())
	var last call
	for range p.Count() {
		last = readCall(p, last)
		one.calls = append(one.calls, last)
	}
	return one
}

// appendCalls writes calls behind b, each as what it differs by from the one before.
func appendCalls(b []byte, calls []call) []byte {
	var last call
	for i := range calls {
		c := &calls[i]
		b = binary.AppendVarint(b, c.start-last.start)
		b = binary.AppendVarint(b, c.end-c.start)
		b = binary.AppendUvarint(b, c.sent)
		b = binary.AppendVarint(b, int64(c.packet-last.packet))
		b = c.ref.AppendTo(b)
		last = *c
	}
	return b
}

// readCall reads what stands behind the call before.
func readCall(p *saved.Packed, last call) call {
	c := call{start: last.start + p.Int()}
	c.end, c.sent = c.start+p.Int(), p.Uint()
	c.packet = last.packet + uint64(p.Int())
	c.ref = flowref.Read(p)
	return c
}
