package custom

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: what rules have spent, by their ids, and the matters, the one quiet for longest first.
// The rules are not in it: what was remembered of one that is no longer there is dropped.
const snapshotVersion = 1

// matterSize is what a matter takes in a snapshot, about.
const matterSize = 256

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, matterSize*d.matters.Len())
	d.sets(func(s anySet) {
		b = binary.AppendUvarint(b, *s.records())
		rules := 0
		s.accounts(func(*source, *account) { rules++ })
		b = binary.AppendUvarint(b, uint64(rules))
		s.accounts(func(s *source, a *account) { b = a.appendTo(appendText(b, s.id)) })
	})
	b = binary.AppendUvarint(b, d.matters.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.matters.Len()))
	for m := range d.matters.All() {
		b = m.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes over what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	type kept struct {
		seen uint64
		of   map[string]account
	}
	var sets []kept
	rules := map[string]*source{}
	d.sets(func(s anySet) {
		k := kept{seen: p.Uint(), of: map[string]account{}}
		for range p.Count() {
			id := string(p.Bytes(maxSaid))
			k.of[id] = readAccount(p)
		}
		sets = append(sets, k)
		s.accounts(func(s *source, _ *account) { rules[s.id] = s })
	})
	into := newMemory(d.cfg.MaxMatters)
	if err := into.read(p, rules); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = into
	d.sets(func(s anySet) {
		k := sets[0]
		sets = sets[1:]
		*s.records() = k.seen
		s.accounts(func(s *source, a *account) {
			if was, known := k.of[s.id]; known {
				*a = was
			} else {
				*a = account{credit: burst, settled: k.seen}
			}
		})
	})
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendFlag(b []byte, flag bool) []byte {
	if flag {
		return append(b, 1)
	}
	return append(b, 0)
}

func (a *account) appendTo(b []byte) []byte {
	b = binary.AppendVarint(b, a.credit)
	for _, n := range []uint64{a.settled, a.steps, a.errors, a.stopped} {
		b = binary.AppendUvarint(b, n)
	}
	return appendFlag(b, a.off)
}

func readAccount(p *saved.Packed) account {
	return account{credit: min(p.Int(), burst), settled: p.Uint(), steps: p.Uint(), errors: p.Uint(), stopped: p.Uint(), off: p.Uint() == 1}
}

// read takes in the matters of rules that there are; whatever a rule says of itself is taken from it.
func (d *memory) read(p *saved.Packed, rules map[string]*source) error {
	d.matters.Forgotten = p.Uint()
	for range p.Count() {
		m := readMatter(p)
		s := rules[m.rule]
		switch {
		case p.Err() != nil:
			return p.Err()
		case s == nil || (s.count != nil) != m.counts:
			continue
		case d.matters.Has(m.matterKey):
			return fmt.Errorf("a matter of rule %s comes twice", m.rule)
		}
		m.severity, m.confidence, m.techniques = s.severity, s.confidence, s.techniques
		if m.counts {
			m.distinct = s.count.distinct != ""
			most := s.count.atLeast
			if m.distinct {
				most = maxDistinct
			}
			m.marks = m.marks[max(0, len(m.marks)-most):]
		}
		d.matters.Put(m.matterKey, m)
		d.marks += len(m.marks)
	}
	return p.End()
}

func (m *matter) appendTo(b []byte) []byte {
	b = appendText(appendText(b, m.rule), m.by)
	b = m.dst.AppendTo(m.src.AppendTo(b))
	b = appendText(appendFlag(appendFlag(b, m.counts), m.fired), m.summary)
	b = binary.AppendUvarint(binary.AppendUvarint(b, m.times), m.told)
	b = binary.AppendUvarint(b, uint64(len(m.marks)))
	for _, k := range slices.Concat(m.marks[m.oldest:], m.marks[:m.oldest]) {
		b = binary.AppendUvarint(binary.AppendVarint(b, k.at), k.value)
	}
	b = binary.AppendUvarint(b, uint64(len(m.flows)))
	for i := range m.flows {
		f := &m.flows[i]
		b = binary.AppendUvarint(f.dst.AppendTo(f.src.AppendTo(f.AppendTo(b))), uint64(f.proto))
	}
	return m.AppendTo(b)
}

func readMatter(p *saved.Packed) *matter {
	m := &matter{matterKey: matterKey{rule: string(p.Bytes(maxSaid)), by: string(p.Bytes(maxKeys * (maxSaid + 1)))}}
	m.src, m.dst = bare.Read(p), bare.Read(p)
	m.counts, m.fired = p.Uint() == 1, p.Uint() == 1
	m.summary = string(p.Bytes(maxWords))
	m.times, m.told = p.Uint(), p.Uint()
	for range p.Count() {
		m.marks = append(m.marks, mark{p.Int(), p.Uint()})
	}
	for range p.Count() {
		f := conversation{Ref: flowref.Read(p), src: bare.Read(p), dst: bare.Read(p)}
		f.proto = uint8(min(p.Uint(), math.MaxUint8))
		m.flows = append(m.flows, f)
	}
	m.marks, m.flows = slices.Clip(m.marks), slices.Clip(m.flows)
	m.Evidence = evidence.Read(p)
	return m
}
