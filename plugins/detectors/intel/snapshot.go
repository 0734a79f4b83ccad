package intel

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers and texts behind each other, the matter that is quiet for longest first. The lists
// are not in it.
const snapshotVersion = 1

// recordSize is what a matter takes in a snapshot, about.
const recordSize = 256

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*d.matters.Len())
	b = binary.AppendUvarint(b, d.matters.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.matters.Len()))
	for m := range d.matters.All() {
		b = m.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxMatters)
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
	m.matters.Forgotten = p.Uint()
	for range p.Count() {
		one := readMatter(p)
		if m.matters.Has(one.matterKey) {
			return fmt.Errorf("%s comes twice", one.value)
		}
		m.matters.Put(one.matterKey, one)
	}
	return p.End()
}

func (m *matter) texts() []*string { return []*string{&m.value, &m.seen, &m.list, &m.source} }

func (m *matter) appendTo(b []byte) []byte {
	b = m.dst.AppendTo(m.src.AppendTo(b))
	var answered byte
	if m.answered {
		answered = 1
	}
	b = append(b, byte(m.kind), m.proto, m.confidence, answered)
	for _, text := range m.texts() {
		b = append(binary.AppendUvarint(b, uint64(len(*text))), *text...)
	}
	for _, n := range []uint64{uint64(m.port), uint64(m.added), m.times, m.told} {
		b = binary.AppendUvarint(b, n)
	}
	return m.AppendTo(b)
}

func readMatter(p *saved.Packed) *matter {
	m := &matter{matterKey: matterKey{src: bare.Read(p), dst: bare.Read(p)}}
	var four [4]byte
	p.Fill(four[:])
	m.kind, m.proto, m.confidence, m.answered = min(kind(four[0]), kinds-1), four[1], min(four[2], 100), four[3] == 1
	for _, text := range m.texts() {
		*text = string(p.Bytes(maxText))
	}
	m.port, m.added, m.times, m.told = uint16(p.Uint()), uint32(p.Uint()), p.Uint(), p.Uint()
	m.Evidence = evidence.Read(p)
	return m
}
