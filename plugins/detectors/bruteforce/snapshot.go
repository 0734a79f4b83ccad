package bruteforce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then the victims in order of
// appearance, then each source, the one touched longest ago first.
const snapshotVersion = 1

// sourceSize is what a source takes in a snapshot, about.
const sourceSize = 256

// maxDst is an address with a port, or a network, as a text.
const maxDst = 64

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	m := &d.memory
	b := saved.Begin(snapshotVersion, len(m.sources)*sourceSize)
	b = binary.AppendUvarint(b, m.next)
	b = binary.AppendUvarint(b, m.forgotten)
	b = d.opened.appendTo(b)
	b = binary.AppendUvarint(b, uint64(len(m.victims)))
	for _, v := range m.victimsInOrder() {
		b = v.appendTo(b)
	}
	for e := m.quiet.Front(); e != nil; e = e.Next() {
		b = m.appendSource(b, e.Value.(*source))
	}
	return saved.Seal(b), nil
}

// Restore takes over what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	m, o := newMemory(), opened{}
	m.next, m.forgotten = p.Uint(), p.Uint()
	o.read(p)
	if err := m.read(p); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory, d.opened = m, o
	return nil
}

// errNonsense is told of a state that no detector has written.
var errNonsense = errors.New("it makes no sense")

func (m *memory) read(p *saved.Packed) error {
	last := uint64(0)
	for range p.Count() {
		v := readVictim(p)
		if _, known := m.victims[v.key]; known || v.number <= last {
			return errNonsense
		}
		m.victims[v.key], last = v, v.number
	}
	numbers := map[uint64]bool{}
	for p.More() {
		s, err := m.readSource(p)
		if err != nil || numbers[s.number] {
			return errors.Join(errNonsense, err)
		}
		numbers[s.number] = true
	}
	for _, v := range m.victims {
		if v.targets == 0 {
			return errNonsense
		}
	}
	return p.Err()
}

func (o *opened) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(o.byFlow)))
	for i := range o.order {
		flow := o.order[(o.next+i)%maxOpened]
		if packet, waits := o.byFlow[flow]; waits && flow != 0 {
			b = binary.AppendUvarint(binary.AppendUvarint(b, flow), packet)
		}
	}
	return b
}

func (o *opened) read(p *saved.Packed) {
	n := p.Count()
	if n > 0 {
		o.byFlow = map[uint64]uint64{}
	}
	for range n {
		flow, packet := p.Uint(), p.Uint()
		if _, known := o.byFlow[flow]; !known && flow != 0 && o.next < maxOpened-1 {
			o.order[o.next], o.byFlow[flow] = flow, packet
			o.next++
		}
	}
}

func (t *told) appendTo(b []byte) []byte {
	b = append(b, t.rule)
	b = binary.AppendUvarint(b, uint64(t.failures))
	b = binary.AppendUvarint(b, uint64(t.worked))
	b = binary.AppendUvarint(b, uint64(len(t.dst)))
	return append(b, t.dst...)
}

func readTold(p *saved.Packed) told {
	t := told{rule: readByte(p), failures: uint32(p.Uint()), worked: uint32(p.Uint()), dst: string(p.Bytes(maxDst))}
	t.rule = min(t.rule, uint8(len(rules)))
	return t
}

func readByte(p *saved.Packed) uint8 {
	var b [1]byte
	p.Fill(b[:])
	return b[0]
}

func appendNumbers(b []byte, list []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// readNumbers reads up to limit numbers.
func readNumbers(p *saved.Packed, limit int) (list []uint64) {
	for i := range p.Count() {
		if n := p.Uint(); i < limit {
			list = append(list, n)
		}
	}
	return list
}

func (v *victim) appendTo(b []byte) []byte {
	b = v.key.addr.AppendTo(b)
	b = append(b, byte(v.key.service), v.proto)
	b = binary.AppendUvarint(b, uint64(v.port))
	b = binary.AppendUvarint(b, v.number)
	b = binary.AppendUvarint(b, uint64(v.turn))
	b = binary.AppendVarint(b, v.first)
	b = binary.AppendVarint(b, v.last-v.first)
	b = appendNumbers(b, v.packets)
	return v.told.appendTo(b)
}

func readVictim(p *saved.Packed) *victim {
	v := &victim{key: victimKey{bare.Read(p), service(readByte(p))}, proto: readByte(p), port: uint16(p.Uint()), number: p.Uint(), turn: uint32(p.Uint()), first: p.Int()}
	v.last = v.first + p.Int()
	v.packets = readNumbers(p, maxPackets)
	v.told = readTold(p)
	return v
}

func (m *memory) appendSource(b []byte, s *source) []byte {
	b = s.key.addr.AppendTo(b)
	b = append(b, byte(s.key.service), s.proto)
	b = binary.AppendUvarint(b, s.number)
	b = binary.AppendVarint(b, s.first)
	b = binary.AppendVarint(b, s.last-s.first)
	b = binary.AppendUvarint(b, uint64(s.worked))
	b = s.told.appendTo(b)
	b = appendNumbers(b, s.packets)
	b = binary.AppendUvarint(b, uint64(len(s.names)))
	for _, name := range s.names {
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	}
	b = binary.AppendUvarint(b, uint64(len(s.targets)))
	for i := range s.targets {
		t := &s.targets[i]
		b = t.addr.AppendTo(b)
		for _, n := range [...]uint32{uint32(t.port), t.peak, t.counted, t.turn} {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.accounts)))
	for _, k := range s.accounts {
		c := m.accounts[k]
		worked := byte(0)
		if c.worked {
			worked = 1
		}
		b = binary.LittleEndian.AppendUint64(append(b, k.target, worked), k.account)
		b = binary.AppendUvarint(b, uint64(c.failures))
		b = binary.AppendUvarint(b, uint64(c.score))
	}
	b = binary.AppendUvarint(b, uint64(len(s.refs)))
	for _, r := range s.refs {
		b = binary.AppendUvarint(b, r.flow)
		b = append(binary.AppendUvarint(b, uint64(r.port)), r.target)
	}
	return b
}

func (m *memory) readSource(p *saved.Packed) (*source, error) {
	s := &source{key: sourceKey{bare.Read(p), service(readByte(p))}, proto: readByte(p), number: p.Uint(), first: p.Int()}
	s.last = s.first + p.Int()
	s.worked, s.told = uint32(p.Uint()), readTold(p)
	s.packets = readNumbers(p, maxPackets)
	for range p.Count() {
		if name := string(p.Bytes(maxName)); len(s.names) < maxNames {
			s.names = append(s.names, name)
		}
	}
	if _, known := m.sources[s.key]; known || s.key.service == none || s.key.service >= services {
		return nil, errNonsense
	}
	m.insert(s)
	if err := m.readTargets(p, s); err != nil {
		return nil, err
	}
	if err := m.readAccounts(p, s); err != nil {
		return nil, err
	}
	for range p.Count() {
		r := ref{p.Uint(), uint16(p.Uint()), readByte(p)}
		if int(r.target) >= len(s.targets) || len(s.refs) == maxFlows {
			return nil, errNonsense
		}
		s.refs = append(s.refs, r)
	}
	if len(s.targets) == 0 {
		return nil, errNonsense
	}
	return s, p.Err()
}

func (m *memory) readTargets(p *saved.Packed, s *source) error {
	for range p.Count() {
		t := target{addr: bare.Read(p), port: uint16(p.Uint()), peak: uint32(p.Uint()), counted: uint32(p.Uint()), turn: uint32(p.Uint())}
		v := m.victims[victimKey{t.addr, s.key.service}]
		if v == nil || len(s.targets) == maxTargets || s.target(&attempt{dst: t.addr, serverPort: t.port}) >= 0 {
			return errNonsense
		}
		s.targets = append(s.targets, t)
		s.sum += t.peak
		s.best = max(s.best, t.peak)
		v.targets++
		if t.counted > 0 && t.turn == v.turn {
			v.sources++
			v.score += t.counted
		}
	}
	return nil
}

func (m *memory) readAccounts(p *saved.Packed, s *source) error {
	for range p.Count() {
		k := accountKey{source: s.number, target: readByte(p)}
		c := account{worked: readByte(p) != 0}
		var name [8]byte
		p.Fill(name[:])
		k.account = binary.LittleEndian.Uint64(name[:])
		c.failures, c.score = uint32(p.Uint()), uint32(p.Uint())
		if _, known := m.accounts[k]; known || int(k.target) >= len(s.targets) {
			return errNonsense
		}
		m.accounts[k] = c
		s.accounts = append(s.accounts, k)
		t := &s.targets[k.target]
		t.failures += c.failures
		t.score += c.score
		s.failures += c.failures
		if k.account != 0 && c.failures > 0 {
			t.users++
		}
	}
	return nil
}
