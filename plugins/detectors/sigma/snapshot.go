package sigma

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers and texts behind each other, the matter that is quiet for longest first. The
// rules are not in it; a matter names its own.
const snapshotVersion = 1

// recordSize is what a matter takes in a snapshot, about.
const recordSize = 256

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*d.matters.Len())
	b = binary.AppendUvarint(b, d.matters.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.matters.Len()))
	for m := range d.matters.All() {
		b = m.appendTo(appendText(b, d.loaded.rules[m.rule].id))
	}
	return saved.Seal(d.shares.appendTo(b)), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Restore takes what Snapshot wrote, without what rules found that are not loaded any more.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxFindings)
	if err := d.read(&into, state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = into
	return nil
}

func (d *Detector) read(into *memory, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	rules := make(map[string]int, len(d.loaded.rules))
	for i, r := range d.loaded.rules {
		rules[r.id] = i
	}
	into.matters.Forgotten = p.Uint()
	for range p.Count() {
		rule, known := rules[string(p.Bytes(maxText))]
		m := readMatter(p)
		m.rule = rule
		switch {
		case p.Err() != nil:
			return p.Err()
		case into.matters.Has(m.matterKey) && known:
			return fmt.Errorf("a finding of %q comes twice", d.loaded.rules[rule].id)
		case known:
			into.matters.Put(m.matterKey, m)
		}
	}
	if err := into.shares.read(p); err != nil {
		return err
	}
	return p.End()
}

func (m *matter) appendTo(b []byte) []byte {
	b = append(m.dst.AppendTo(m.src.AppendTo(b)), m.proto)
	for _, n := range []uint64{uint64(m.port), m.times, m.told, uint64(len(m.seen))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, what := range m.seen {
		b = appendText(b, what)
	}
	return m.AppendTo(b)
}

func readMatter(p *saved.Packed) *matter {
	m := &matter{matterKey: matterKey{src: bare.Read(p), dst: bare.Read(p)}}
	var proto [1]byte
	p.Fill(proto[:])
	m.proto, m.port, m.times, m.told = proto[0], uint16(p.Uint()), p.Uint(), p.Uint()
	for range p.Count() {
		if what := string(p.Bytes(maxWhat)); len(m.seen) < maxSeen {
			m.seen = append(m.seen, what)
		}
	}
	m.Evidence = evidence.Read(p)
	return m
}
