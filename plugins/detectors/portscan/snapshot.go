package portscan

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/sdk"
)

// snapshotVersion changes when the meaning of the fields below does; another version is refused.
const snapshotVersion = 1

type snapshot struct {
	Version   int            `json:"version"`
	Clock     int64          `json:"clock"`
	Swept     int64          `json:"swept"`
	Next      uint64         `json:"next"`
	Forgotten uint64         `json:"forgotten"`
	Sources   []sourceRecord `json:"sources"` // the one touched longest ago first
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
	Ref     int        `json:"r"`
}

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	out := snapshot{Version: snapshotVersion, Clock: d.clock, Swept: d.swept, Next: d.sources.next, Forgotten: d.sources.forgotten}
	for e := d.sources.quiet.Front(); e != nil; e = e.Next() {
		s := e.Value.(*source)
		r := sourceRecord{Addr: s.addr, Number: s.number, First: s.first, Last: s.last,
			FailedAt: s.failedAt, Judged: s.judged, JudgedAt: s.judgedAt,
			Reported: s.reported, Errors: s.errors, Refs: s.refs}
		for _, t := range s.targets {
			r.Targets = append(r.Targets, targetRecord{t.target.host, t.target.port, t.target.proto, t.verdict, t.probe, t.small, t.at, t.packet, t.ref})
		}
		out.Sources = append(out.Sources, r)
	}
	return json.Marshal(out)
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	var in snapshot
	if err := json.Unmarshal(state, &in); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if in.Version != snapshotVersion {
		return fmt.Errorf("read snapshot: version %d, expected %d", in.Version, snapshotVersion)
	}
	restored := newSources(d.cfg.MaxSources, d.cfg.MaxTargets, d.cfg.MaxContacts)
	restored.next, restored.forgotten = in.Next, in.Forgotten
	for _, r := range in.Sources {
		s, err := r.source()
		if err != nil {
			return fmt.Errorf("read snapshot: source %s: %w", r.Addr, err)
		}
		restored.insert(s)
		restored.contacts += len(s.targets)
	}
	d.sources, d.clock, d.swept = restored, in.Clock, in.Swept
	return nil
}

func (r *sourceRecord) source() (*source, error) {
	s := &source{addr: r.Addr, number: r.Number, first: r.First, last: r.Last,
		failedAt: r.FailedAt, judged: r.Judged, judgedAt: r.JudgedAt, reported: r.Reported,
		errors: r.Errors, refs: r.Refs, index: map[target]int{}}
	if s.reported == nil {
		s.reported = map[string]reported{}
	}
	for i, t := range r.Targets {
		if t.Ref < -1 || t.Ref >= len(r.Refs) || t.Verdict > used || t.Probe >= probeKinds {
			return nil, fmt.Errorf("target %d makes no sense", i)
		}
		one := seen{target: target{t.Host, t.Port, t.Proto}, verdict: t.Verdict, probe: t.Probe, small: t.Small, at: t.At, packet: t.Packet, ref: t.Ref}
		if one.verdict == failed {
			s.failures++
		}
		s.index[one.target] = i
		s.targets = append(s.targets, one)
	}
	return s, nil
}
