package portscan

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// A snapshot is a list: its head, then one record per source. Version 2 was the same with targets and references as texts,
// which took ten times as long; version 1 was one object, which needed room for itself three times over. Both are still read.
// Another version is refused.
const (
	snapshotVersion = 3
	textVersion     = 2
	firstVersion    = 1
)

type snapshot struct {
	Version   int            `json:"version"`
	Clock     int64          `json:"clock"`
	Swept     int64          `json:"swept"`
	Next      uint64         `json:"next"`
	Forgotten uint64         `json:"forgotten"`
	Count     int            `json:"count"`             // of the sources that follow, the one touched longest ago first
	Sources   []sourceRecord `json:"sources,omitempty"` // version 1 alone
}

type sourceRecord struct {
	Addr          netip.Addr            `json:"addr"`
	Number        uint64                `json:"number"`
	First         int64                 `json:"first"`
	Last          int64                 `json:"last"`
	FailedAt      int64                 `json:"failed_at"`
	Judged        int                   `json:"judged"`
	JudgedAt      int64                 `json:"judged_at"`
	Reported      map[string]reported   `json:"reported,omitempty"`
	Errors        map[netip.Addr]uint64 `json:"errors,omitempty"`
	PackedRefs    []byte                `json:"f,omitempty"`
	PackedTargets []byte                `json:"b,omitempty"`

	// The same before version 3.
	Refs    []sdk.FlowRef  `json:"refs,omitempty"`
	Targets []targetRecord `json:"targets,omitempty"`
}

// targetRecord is a target as it was written before version 3.
type targetRecord struct {
	Host    netip.Addr `json:"h"`
	Port    uint16     `json:"p"`
	Proto   uint8      `json:"t"`
	Verdict verdict    `json:"v"`
	Probe   probe      `json:"k"`
	Small   bool       `json:"s,omitempty"`
	At      int64      `json:"a"`
	Packet  uint64     `json:"n"`
	Ref     int32      `json:"r"`
}

// What a target and a source take in a snapshot, about. Those who scan have targets without a reference.
const (
	targetSize = 16
	sourceSize = 64
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	w := saved.NewWriter(d.sources.contacts*targetSize + len(d.sources.byAddr)*sourceSize)
	head := snapshot{Version: snapshotVersion, Clock: d.clock, Swept: d.swept, Next: d.sources.next, Forgotten: d.sources.forgotten, Count: d.sources.quiet.Len()}
	if err := w.Put(head); err != nil {
		return nil, err
	}
	var refs, targets []byte
	for e := d.sources.quiet.Front(); e != nil; e = e.Next() {
		s := e.Value.(*source)
		r := sourceRecord{Addr: s.addr, Number: s.number, First: s.first, Last: s.last,
			FailedAt: s.failedAt, Judged: s.judged, JudgedAt: s.judgedAt,
			Reported: s.reported, Errors: s.errors}
		refs, targets = appendRefs(refs[:0], s.refs), appendTargets(targets[:0], s.targets)
		r.PackedRefs, r.PackedTargets = refs, targets
		if err := w.Put(r); err != nil {
			return nil, err
		}
	}
	return w.Bytes()
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	restored := newSources(d.cfg.MaxSources, d.cfg.MaxTargets, d.cfg.MaxContacts)
	head, err := readSnapshot(state, func(r *sourceRecord) error {
		s, err := r.source()
		if err != nil {
			return fmt.Errorf("source %s: %w", r.Addr, err)
		}
		restored.insert(s)
		restored.contacts += len(s.targets)
		restored.errorSenders += len(s.errors)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	restored.next, restored.forgotten = head.Next, head.Forgotten
	d.sources, d.clock, d.swept = restored, head.Clock, head.Swept
	return nil
}

// readSnapshot gives each source of a snapshot to take.
func readSnapshot(state []byte, take func(*sourceRecord) error) (head snapshot, err error) {
	if !saved.Is(state) {
		if err := json.Unmarshal(state, &head); err != nil {
			return head, err
		}
		if head.Version != firstVersion {
			return head, fmt.Errorf("version %d, expected one from %d to %d", head.Version, firstVersion, snapshotVersion)
		}
		for i := range head.Sources {
			if err := take(&head.Sources[i]); err != nil {
				return head, err
			}
		}
		return head, nil
	}
	list, err := saved.NewReader(state)
	if err != nil {
		return head, err
	}
	if err := list.Next(&head); err != nil {
		return head, err
	}
	if head.Version != snapshotVersion && head.Version != textVersion {
		return head, fmt.Errorf("version %d, expected one from %d to %d", head.Version, firstVersion, snapshotVersion)
	}
	for range head.Count {
		var r sourceRecord
		if err := list.Next(&r); err != nil {
			return head, err
		}
		if err := take(&r); err != nil {
			return head, err
		}
	}
	return head, list.End()
}

func (r *sourceRecord) source() (*source, error) {
	s := &source{addr: r.Addr, number: r.Number, first: r.First, last: r.Last,
		failedAt: r.FailedAt, judged: r.Judged, judgedAt: r.JudgedAt, reported: r.Reported,
		errors: r.Errors}
	var err error
	if s.refs, err = r.refs(); err != nil {
		return nil, err
	}
	targets, err := r.targets()
	if err != nil {
		return nil, err
	}
	for i, one := range targets {
		if one.ref < -1 || int(one.ref) >= len(s.refs) || one.verdict > used || one.probe >= probeKinds {
			return nil, fmt.Errorf("target %d makes no sense", i)
		}
		if one.verdict == failed {
			s.failures++
		}
		s.append(one)
	}
	return s, nil
}

func appendRefs(b []byte, refs []flowref.Ref) []byte {
	for i := range refs {
		b = refs[i].AppendTo(b)
	}
	return b
}

func (r *sourceRecord) refs() (out []flowref.Ref, err error) {
	p := saved.NewPacked(r.PackedRefs)
	for p.More() {
		out = append(out, flowref.Read(p))
	}
	for _, ref := range r.Refs {
		out = append(out, flowref.From(ref))
	}
	return out, p.Err()
}

// appendTargets writes targets behind b, their times and packets as what they differ by from the one before.
func appendTargets(b []byte, list []seen) []byte {
	var last seen
	for _, t := range list {
		at := len(b)
		b, _ = t.target.host.AppendBinary(append(b, 0)) // it has no error to return
		b[at] = byte(len(b) - at - 1)                   // 16: flows have no zones
		b = binary.AppendUvarint(b, uint64(t.target.port))
		small := byte(0)
		if t.small {
			small = 1
		}
		b = append(b, t.target.proto, byte(t.verdict), byte(t.probe), small)
		b = binary.AppendVarint(b, t.at-last.at)
		b = binary.AppendVarint(b, int64(t.packet-last.packet))
		b = binary.AppendVarint(b, int64(t.ref))
		last = t
	}
	return b
}

// maxHost is an IPv6 address with its zone, more or less.
const maxHost = 64

func (r *sourceRecord) targets() (out []seen, err error) {
	var last seen
	for p := saved.NewPacked(r.PackedTargets); p.More(); {
		host := p.Bytes(maxHost)
		t := seen{target: target{port: uint16(p.Uint())}}
		var flags [4]byte
		p.Fill(flags[:])
		t.target.proto, t.verdict, t.probe, t.small = flags[0], verdict(flags[1]), probe(flags[2]), flags[3] != 0
		t.at, t.packet, t.ref = last.at+p.Int(), last.packet+uint64(p.Int()), int32(p.Int())
		if err := errors.Join(p.Err(), t.target.host.UnmarshalBinary(host)); err != nil {
			return nil, fmt.Errorf("target %d: %w", len(out), err)
		}
		out, last = append(out, t), t
	}
	for _, t := range r.Targets {
		out = append(out, seen{target: target{t.Host, t.Port, t.Proto}, verdict: t.Verdict, probe: t.Probe, small: t.Small, at: t.At, packet: t.Packet, ref: t.Ref})
	}
	return out, nil
}
