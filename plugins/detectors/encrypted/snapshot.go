package encrypted

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, one list after the other, what was quiet for longest first.
const snapshotVersion = 1

// What a host, another entry and a finding take in a snapshot, about.
const (
	hostSize  = 420
	entrySize = 40
	issueSize = 256
)

var errTwice = errors.New("an entry comes twice")

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	m := &d.memory
	b := saved.Begin(snapshotVersion, hostSize*(m.hosts.Len()+m.segments.Len())+entrySize*(m.services.Len()+m.prints.Len()+m.hellos.Len()+m.questions.Len())+issueSize*m.issues.Len())
	b = binary.AppendUvarint(b, m.sealed)
	b = binary.AppendUvarint(b, uint64(m.hellos.Len()))
	for h := range m.hellos.All() {
		b = binary.AppendUvarint(binary.AppendUvarint(b, h.flow), uint64(h.signs))
		b = binary.LittleEndian.AppendUint64(b, h.print)
		b = append(binary.AppendUvarint(b, uint64(len(h.name))), h.name...)
	}
	b = binary.AppendUvarint(b, uint64(m.questions.Len()))
	for q := range m.questions.All() {
		b = binary.AppendVarint(binary.LittleEndian.AppendUint64(b, q.key), q.begin)
		for _, n := range []uint64{q.sent, q.received, q.packets, uint64(q.signs)} {
			b = binary.AppendUvarint(b, n)
		}
	}
	for _, list := range []*recent.Table[bare.Addr, *known]{&m.hosts, &m.segments} {
		b = binary.AppendUvarint(binary.AppendUvarint(b, list.Forgotten), uint64(list.Len()))
		for k := range list.All() {
			b = k.AppendTo(binary.AppendVarint(k.addr.AppendTo(b), k.first))
		}
	}
	for _, list := range []*recent.Table[uint64, *usage]{&m.services, &m.prints} {
		b = binary.AppendUvarint(binary.AppendUvarint(b, list.Forgotten), uint64(list.Len()))
		for s := range list.All() {
			b = s.appendTo(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(m.shapes.Len()))
	for l := range m.shapes.All() {
		b = l.key.Server.AppendTo(l.key.Client.AppendTo(b))
		b = append(binary.AppendUvarint(b, uint64(l.key.Port)), l.key.Rule)
		b = append(b, l.Shape[:]...)
	}
	return saved.Seal(m.issues.AppendTo(b)), nil
}

// Restore takes what Snapshot wrote, whole or not at all. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	m := newMemory(&d.cfg)
	if err := m.read(p); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = m
	return nil
}

func (m *memory) read(p *saved.Packed) error {
	m.sealed = min(p.Uint(), enough)
	for range p.Count() {
		h := &hello{flow: p.Uint(), signs: uint32(p.Uint()), print: fixed(p), name: string(p.Bytes(maxName))}
		if err := put(&m.hellos, h.flow, h); err != nil {
			return err
		}
	}
	for range p.Count() {
		q := &questions{key: fixed(p), begin: p.Int(), sent: p.Uint(), received: p.Uint(), packets: p.Uint(), signs: uint32(p.Uint())}
		if err := put(&m.questions, q.key, q); err != nil {
			return err
		}
	}
	for _, list := range []*recent.Table[bare.Addr, *known]{&m.hosts, &m.segments} {
		list.Forgotten = p.Uint()
		for range p.Count() {
			k := &known{addr: bare.Read(p), first: p.Int()}
			k.Profile = *shape.Read(p)
			if err := put(list, k.addr, k); err != nil {
				return err
			}
		}
	}
	for _, list := range []*recent.Table[uint64, *usage]{&m.services, &m.prints} {
		list.Forgotten = p.Uint()
		for range p.Count() {
			s := readUsage(p)
			if err := put(list, s.key, s); err != nil {
				return err
			}
		}
	}
	for range p.Count() {
		l := &lastShape{key: issue.Key{Client: bare.Read(p), Server: bare.Read(p), Port: uint16(p.Uint())}}
		var b [1 + shape.Facts]byte
		p.Fill(b[:])
		l.key.Rule, l.Shape = b[0], shape.Shape(b[1:])
		if err := put(&m.shapes, l.key, l); err != nil {
			return err
		}
	}
	return errors.Join(m.issues.Read(p, uint8(len(rules))), p.End())
}

func put[K comparable, V any](into *recent.Table[K, V], key K, v V) error {
	if into.Has(key) {
		return errTwice
	}
	into.Put(key, v)
	return nil
}

func (s *usage) appendTo(b []byte) []byte {
	b = s.client.AppendTo(binary.LittleEndian.AppendUint64(b, s.key))
	many := uint64(0)
	if s.many {
		many = 1
	}
	for _, n := range []uint64{many, uint64(s.flows), uint64(s.unusual), uint64(s.signs)} {
		b = binary.AppendUvarint(b, n)
	}
	return binary.AppendVarint(b, s.first)
}

func readUsage(p *saved.Packed) *usage {
	return &usage{key: fixed(p), client: bare.Read(p), many: p.Uint() == 1, flows: uint32(p.Uint()), unusual: uint32(p.Uint()), signs: uint32(p.Uint()), first: p.Int()}
}

func fixed(p *saved.Packed) uint64 {
	var b [8]byte
	p.Fill(b[:])
	return binary.LittleEndian.Uint64(b[:])
}
