package portscan

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then those of each source,
// the one touched longest ago first. The forms before are read, too (earlier.go); another one is refused.
const snapshotVersion = 4

// What a target, a reference and a source take in a snapshot, about.
const (
	targetSize = 20
	refSize    = 32
	sourceSize = 64
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	about := 0
	for _, s := range d.sources.byAddr {
		about += sourceSize + len(s.targets)*targetSize + len(s.refs)*refSize
	}
	b := saved.Begin(snapshotVersion, about)
	b = binary.AppendVarint(b, d.clock)
	b = binary.AppendVarint(b, d.swept)
	b = binary.AppendUvarint(b, d.sources.next)
	b = binary.AppendUvarint(b, d.sources.forgotten)
	for e := d.sources.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*source).appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := restored{sources: newSources(d.cfg.MaxSources, d.cfg.MaxTargets, d.cfg.MaxContacts)}
	read := into.read
	if !saved.Is(state) {
		read = into.readEarlier
	}
	if err := read(state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.sources, d.clock, d.swept = into.sources, into.clock, into.swept
	return nil
}

// restored is what a snapshot says.
type restored struct {
	sources      sources
	clock, swept int64
}

func (r *restored) read(state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	r.clock, r.swept, r.sources.next, r.sources.forgotten = p.Int(), p.Int(), p.Uint(), p.Uint()
	for p.More() {
		s, err := readSource(p)
		if err == nil {
			err = r.add(s)
		}
		if err != nil {
			return err
		}
	}
	return p.Err()
}

// add puts a source behind those that are there.
func (r *restored) add(s *source) error {
	if r.sources.byAddr[s.addr] != nil {
		return fmt.Errorf("source %s comes twice", s.addr.Addr())
	}
	r.sources.insert(s)
	r.sources.contacts += len(s.targets)
	r.sources.errorSenders += len(s.errors)
	return nil
}

func (s *source) appendTo(b []byte) []byte {
	b = s.addr.AppendTo(b)
	b = binary.AppendUvarint(b, s.number)
	b = binary.AppendVarint(b, s.first)
	b = binary.AppendVarint(b, s.last-s.first)
	b = binary.AppendVarint(b, s.failedAt)
	b = binary.AppendUvarint(b, uint64(s.judged))
	b = binary.AppendVarint(b, s.judgedAt)
	b = s.appendReported(b)
	b = s.appendErrors(b)
	b = binary.AppendUvarint(b, uint64(len(s.refs)))
	for i := range s.refs {
		b = s.refs[i].AppendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(len(s.targets)))
	return appendTargets(b, s.targets)
}

func readSource(p *saved.Packed) (*source, error) {
	s := &source{addr: bare.Read(p), number: p.Uint(), first: p.Int()}
	s.last = s.first + p.Int()
	s.failedAt, s.judged, s.judgedAt = p.Int(), int(p.Uint()), p.Int()
	s.readReported(p)
	s.readErrors(p)
	for range p.Count() {
		s.refs = append(s.refs, flowref.Read(p))
	}
	var last seen
	for range p.Count() {
		last = readTarget(p, last)
		if err := s.take(last); err != nil {
			return nil, errors.Join(p.Err(), err)
		}
	}
	return s, p.Err()
}

// take adds a target as a snapshot has it.
func (s *source) take(one seen) error {
	if one.ref < none || int(one.ref) >= len(s.refs) || one.verdict > used || one.probe >= probeKinds {
		return fmt.Errorf("target %d of source %s makes no sense", len(s.targets), s.addr.Addr())
	}
	if _, known := s.find(&one.target); known {
		return fmt.Errorf("target %d of source %s comes twice", len(s.targets), s.addr.Addr())
	}
	if one.verdict == failed {
		s.failed[classOf(one.target.proto)]++
	}
	s.append(one)
	return nil
}

// rules are those that a source is reported by, in the order in which snapshots have them.
var rules = [...]string{RuleVertical, RuleHorizontal, RuleUDP, RuleICMPSweep}

func (s *source) appendReported(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.reported)))
	for i, rule := range rules {
		if r, found := s.reported[rule]; found {
			b = append(b, byte(i))
			b = binary.AppendUvarint(b, uint64(r.Size))
			b = binary.AppendUvarint(b, uint64(len(r.Dst)))
			b = append(b, r.Dst...)
		}
	}
	return b
}

// maxDst is an IPv6 prefix as a text, more or less.
const maxDst = 64

func (s *source) readReported(p *saved.Packed) {
	for range p.Count() {
		i, r := p.Uint(), reported{Size: int(p.Uint()), Dst: string(p.Bytes(maxDst))}
		if i >= uint64(len(rules)) {
			continue // a rule that there is no more
		}
		s.report(rules[i], r)
	}
}

func (s *source) appendErrors(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.errors)))
	senders := make([]bare.Addr, 0, len(s.errors))
	for by := range s.errors {
		senders = append(senders, by)
	}
	slices.SortFunc(senders, func(a, b bare.Addr) int { return cmp.Compare(string(a[:]), string(b[:])) })
	for _, by := range senders {
		b = binary.AppendUvarint(by.AppendTo(b), s.errors[by])
	}
	return b
}

func (s *source) readErrors(p *saved.Packed) {
	n := p.Count()
	if n > 0 {
		s.errors = map[bare.Addr]uint64{}
	}
	for range n {
		by := bare.Read(p)
		s.errors[by] = p.Uint()
	}
}

// appendTargets writes targets behind b, their times and packets as what they differ by from the one before.
func appendTargets(b []byte, list []seen) []byte {
	var last seen
	for i := range list {
		t := &list[i]
		b = t.target.host.AppendTo(b)
		b = binary.AppendUvarint(b, uint64(t.target.port))
		small := byte(0)
		if t.small {
			small = 1
		}
		b = append(b, t.target.proto, byte(t.verdict), byte(t.probe), small)
		b = binary.AppendVarint(b, t.at-last.at)
		b = binary.AppendVarint(b, int64(t.packet-last.packet))
		b = binary.AppendVarint(b, int64(t.ref))
		last = *t
	}
	return b
}

// readTarget reads what stands behind the target before.
func readTarget(p *saved.Packed, last seen) seen {
	t := seen{target: target{host: bare.Read(p), port: uint16(p.Uint())}}
	var flags [4]byte
	p.Fill(flags[:])
	t.target.proto, t.verdict, t.probe, t.small = flags[0], verdict(flags[1]), probe(flags[2]), flags[3] != 0
	t.at, t.packet, t.ref = last.at+p.Int(), last.packet+uint64(p.Int()), readRef(p)
	return t
}

// readRef reads the place of a reference; beyond all of them when it is no such number.
func readRef(p *saved.Packed) int8 {
	if i := p.Int(); i >= none && i < maxRefs {
		return int8(i)
	}
	return maxRefs
}
