package flood

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first what is counted over all hosts, then the targets, the one
// quiet for longest first.
const snapshotVersion = 1

// recordSize is what a target takes in a snapshot, about.
const recordSize = 256

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*d.targets.Len())
	b = d.strangers.appendTo(b)
	b = binary.AppendUvarint(b, d.targets.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.targets.Len()))
	for t := range d.targets.All() {
		b = t.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxTargets)
	if err := into.read(state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = into
	return nil
}

func (m *memory) read(state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	m.strangers.read(p)
	m.targets.Forgotten = p.Uint()
	for range p.Count() {
		t := readTarget(p)
		if m.targets.Has(t.key) {
			return fmt.Errorf("%s comes twice", t.host.Addr())
		}
		m.targets.Put(t.key, t)
	}
	return p.End()
}

func appendAll(b []byte, numbers []*uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, *n)
	}
	return b
}

func readAll(p *saved.Packed, numbers []*uint64) {
	for _, n := range numbers {
		*n = p.Uint()
	}
}

func (m *strangers) numbers() []*uint64 {
	return []*uint64{&m.total, &m.peak, &m.limit, &m.reported, &m.impossible}
}

func (s *second) numbers() []*uint64 {
	out := []*uint64{&s.flows, &s.single, &s.nSources, &s.nTargets, &s.impossible}
	for i := range s.sourceNets {
		out = append(out, &s.sourceNets[i], &s.targetNets[i])
	}
	return out
}

func (m *strangers) appendTo(b []byte) []byte {
	for i := range m.seconds {
		s := &m.seconds[i]
		b = binary.AppendVarint(b, s.number)
		b = appendAll(b, s.numbers())
		b = s.targets.AppendTo(s.sources.AppendTo(b))
	}
	b = binary.AppendUvarint(m.AppendTo(b), uint64(len(m.flows)))
	for i := range m.flows {
		b = append(m.flows[i].dst.AppendTo(b), m.flows[i].proto)
		b = m.flows[i].appendTo(b)
	}
	return appendAll(b, m.numbers())
}

func (m *strangers) read(p *saved.Packed) {
	for i := range m.seconds {
		s := &m.seconds[i]
		s.number = p.Int()
		readAll(p, s.numbers())
		s.sources, s.targets = sketch.Read(p), sketch.Read(p)
	}
	m.Evidence = evidence.Read(p)
	for range min(p.Count(), maxFlows) {
		m.flows = append(m.flows, between{bare.Read(p), readByte(p), readFrom(p)})
	}
	readAll(p, m.numbers())
}

func (t *target) numbers() []*uint64 { return []*uint64{&t.usual, &t.nSources, &t.nPorts, &t.refused} }

func (b *bucket) numbers() []*uint64 {
	return []*uint64{&b.half, &b.starved, &b.finished, &b.packets, &b.small, &b.flows}
}

func (fl *flood) numbers() []*uint64 { return []*uint64{&fl.total, &fl.peak, &fl.reported, &fl.limit} }

func (t *target) appendTo(b []byte) []byte {
	b = t.host.AppendTo(b)
	b = binary.AppendUvarint(b, uint64(t.port))
	b = append(b, t.proto)
	for i := range t.buckets {
		b = binary.AppendVarint(b, t.buckets[i].number)
		if t.buckets[i].number > 0 {
			b = appendAll(b, t.buckets[i].numbers())
		}
	}
	b = appendAll(b, t.numbers())
	b = t.ports.AppendTo(t.sources.AppendTo(b))
	for i := range t.floods {
		b = t.floods[i].AppendTo(b)
		b = binary.AppendUvarint(b, uint64(len(t.floods[i].flows)))
		for n := range t.floods[i].flows {
			b = t.floods[i].flows[n].appendTo(b)
		}
		b = binary.AppendVarint(t.floods[i].src.AppendTo(b), t.floods[i].since)
		b = appendAll(b, t.floods[i].numbers())
	}
	return b
}

func readTarget(p *saved.Packed) *target {
	t := &target{key: key{host: bare.Read(p), port: uint16(p.Uint()), proto: readByte(p)}}
	for i := range t.buckets {
		if t.buckets[i].number = p.Int(); t.buckets[i].number > 0 {
			readAll(p, t.buckets[i].numbers())
		}
	}
	readAll(p, t.numbers())
	t.sources, t.ports = sketch.Read(p), sketch.Read(p)
	for i := range t.floods {
		t.floods[i].Evidence = evidence.Read(p)
		for range min(p.Count(), maxFlows) {
			t.floods[i].flows = append(t.floods[i].flows, readFrom(p))
		}
		t.floods[i].src, t.floods[i].since = bare.Read(p), p.Int()
		readAll(p, t.floods[i].numbers())
	}
	return t
}

func (fr *from) appendTo(b []byte) []byte { return fr.AppendTo(fr.src.AppendTo(b)) }

func readFrom(p *saved.Packed) from { return from{bare.Read(p), flowref.Read(p)} }

func readByte(p *saved.Packed) uint8 {
	var one [1]byte
	p.Fill(one[:])
	return one[0]
}
