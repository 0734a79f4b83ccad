package portscan

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// A snapshot is a list: its head, then one record per source. Version 1 was the same as one object, which needed room for
// itself three times over; it is still read. Another version is refused.
const (
	snapshotVersion = 2
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
	Addr     netip.Addr            `json:"addr"`
	Number   uint64                `json:"number"`
	First    int64                 `json:"first"`
	Last     int64                 `json:"last"`
	FailedAt int64                 `json:"failed_at"`
	Judged   int                   `json:"judged"`
	JudgedAt int64                 `json:"judged_at"`
	Reported map[string]reported   `json:"reported"`
	Errors   map[netip.Addr]uint64 `json:"errors,omitempty"`
	Refs     []sdk.FlowRef         `json:"refs,omitempty"`
	Targets  []targetRecord        `json:"targets"`
}

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

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	w := saved.NewWriter()
	head := snapshot{Version: snapshotVersion, Clock: d.clock, Swept: d.swept, Next: d.sources.next, Forgotten: d.sources.forgotten, Count: d.sources.quiet.Len()}
	if err := w.Put(head); err != nil {
		return nil, err
	}
	for e := d.sources.quiet.Front(); e != nil; e = e.Next() {
		s := e.Value.(*source)
		r := sourceRecord{Addr: s.addr, Number: s.number, First: s.first, Last: s.last,
			FailedAt: s.failedAt, Judged: s.judged, JudgedAt: s.judgedAt,
			Reported: s.reported, Errors: s.errors, Refs: make([]sdk.FlowRef, len(s.refs))}
		for _, t := range s.targets {
			if t.ref >= 0 {
				r.Refs[t.ref] = s.refs[t.ref].Full(s.addr, t.target.host, t.target.proto)
			}
			r.Targets = append(r.Targets, targetRecord{t.target.host, t.target.port, t.target.proto, t.verdict, t.probe, t.small, t.at, t.packet, t.ref})
		}
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
			return head, fmt.Errorf("version %d, expected %d or %d", head.Version, firstVersion, snapshotVersion)
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
	if head.Version != snapshotVersion {
		return head, fmt.Errorf("version %d, expected %d or %d", head.Version, firstVersion, snapshotVersion)
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
	for _, ref := range r.Refs {
		s.refs = append(s.refs, flowref.From(ref))
	}
	for i, t := range r.Targets {
		if t.Ref < -1 || int(t.Ref) >= len(r.Refs) || t.Verdict > used || t.Probe >= probeKinds {
			return nil, fmt.Errorf("target %d makes no sense", i)
		}
		one := seen{target: target{t.Host, t.Port, t.Proto}, verdict: t.Verdict, probe: t.Probe, small: t.Small, at: t.At, packet: t.Packet, ref: t.Ref}
		if one.verdict == failed {
			s.failures++
		}
		s.append(one)
	}
	return s, nil
}
