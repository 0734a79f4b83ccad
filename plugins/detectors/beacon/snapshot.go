package beacon

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then those of each pair, and
// those of each client and domain, the one touched longest ago first. The forms before are read, too (earlier.go); another one is
// refused.
const snapshotVersion = 5

// What a call and a pair take in a snapshot, about.
const (
	callSize  = 48
	pairSize  = 24
	askSize   = 24
	askedSize = 96

	maxDomain = 2048 // the longest name
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, d.pairs.memory*callSize+len(d.pairs.byKey)*pairSize+d.asked.Len()*(askedSize+maxAsks/4*askSize))
	b = binary.AppendVarint(b, d.clock)
	b = binary.AppendVarint(b, d.swept)
	b = binary.AppendUvarint(b, d.pairs.next)
	b = binary.AppendUvarint(b, d.pairs.forgotten)
	b = binary.AppendUvarint(b, uint64(len(d.pairs.byKey)))
	for e := d.pairs.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*pair).appendTo(b)
	}
	b = binary.AppendUvarint(b, d.asked.Forgotten)
	for c := range d.asked.All() {
		b = c.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := restored{pairs: newPairs(&d.cfg), asked: recent.New[askedKey, *asked](d.cfg.MaxDomains)}
	read := into.read
	switch {
	case !saved.Is(state):
		read = into.readEarlier
	case isVersion4(state):
		read = into.readVersion4
	}
	if err := read(state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.pairs, d.asked, d.clock, d.swept = into.pairs, into.asked, into.clock, into.swept
	d.askers = map[uint64]int{}
	for c := range d.asked.All() {
		d.askers[c.key.domain]++
	}
	return nil
}

// restored is what a snapshot says.
type restored struct {
	pairs        pairs
	asked        askedTable
	clock, swept int64
}

func (r *restored) read(state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	r.clock, r.swept, r.pairs.next, r.pairs.forgotten = p.Int(), p.Int(), p.Uint(), p.Uint()
	for range p.Count() {
		one := readPair(p)
		one.steady = p.Uint() == 1
		if err := r.add(one); err != nil {
			return err
		}
	}
	r.asked.Forgotten = p.Uint()
	for p.More() {
		c := readAsked(p)
		if r.asked.Has(c.key) {
			return fmt.Errorf("a domain of %s comes twice", c.key.client.Addr())
		}
		r.asked.Put(c.key, c)
	}
	return p.Err()
}

// add puts a pair behind those that are there.
func (r *restored) add(p *pair) error {
	if r.pairs.byKey[p.key] != nil {
		return fmt.Errorf("a pair of %s comes twice", p.key.src.Addr())
	}
	r.pairs.insert(p)
	r.pairs.count(p)
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
	b = appendCalls(b, p.calls)
	return append(b, number(p.steady))
}

// number is 1 for what is true.
func number(v bool) byte {
	if v {
		return 1
	}
	return 0
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

// sums are the numbers of a client and a domain, in the order in which they are written.
func (c *asked) sums() []*uint64 {
	return []*uint64{&c.total, &c.again, &c.answers, &c.failures, &c.ttl}
}

func (c *asked) appendTo(b []byte) []byte {
	b = c.key.client.AppendTo(b)
	b = binary.AppendUvarint(b, c.key.domain)
	b = c.server.AppendTo(b)
	b = binary.AppendUvarint(b, uint64(c.port))
	b = binary.AppendUvarint(b, uint64(c.proto))
	b = binary.AppendUvarint(b, uint64(len(c.domain)))
	b = append(b, c.domain...)
	b = binary.AppendVarint(b, c.first)
	b = binary.AppendVarint(b, c.lastAt-c.first)
	b = binary.AppendUvarint(b, uint64(c.last))
	b = append(b, number(c.open))
	b = binary.AppendUvarint(b, uint64(c.reported))
	for _, n := range c.sums() {
		b = binary.AppendUvarint(b, *n)
	}
	b = binary.AppendUvarint(b, uint64(len(c.asks)))
	var last ask
	for _, a := range c.asks {
		b = binary.AppendVarint(b, a.at-last.at)
		b = binary.AppendVarint(b, int64(a.packet-last.packet))
		b = binary.AppendUvarint(b, a.flow)
		b = binary.AppendUvarint(b, uint64(a.name))
		b = binary.AppendUvarint(b, uint64(a.port))
		b = append(b, number(a.carry))
		last = a
	}
	return b
}

func readAsked(p *saved.Packed) *asked {
	c := &asked{key: askedKey{client: bare.Read(p), domain: p.Uint()}, server: bare.Read(p), port: uint16(p.Uint()), proto: uint8(p.Uint())}
	c.domain, c.first = string(p.Bytes(maxDomain)), p.Int()
	c.lastAt = c.first + p.Int()
	c.last, c.open, c.reported = uint32(p.Uint()), p.Uint() == 1, int(p.Uint())
	for _, n := range c.sums() {
		*n = p.Uint()
	}
	var last ask
	for range min(p.Count(), maxAsks) {
		last.at += p.Int()
		last.packet += uint64(p.Int())
		last.flow, last.name, last.port, last.carry = p.Uint(), uint32(p.Uint()), uint16(p.Uint()), p.Uint() == 1
		c.asks = append(c.asks, last)
	}
	return c
}
