package portscan

import (
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

type earlierSource struct {
	Addr          netip.Addr            `json:"addr"`
	Number        uint64                `json:"number"`
	First         int64                 `json:"first"`
	Last          int64                 `json:"last"`
	FailedAt      int64                 `json:"failed_at"`
	Judged        int                   `json:"judged"`
	JudgedAt      int64                 `json:"judged_at"`
	Reported      map[string]reported   `json:"reported"`
	Errors        map[netip.Addr]uint64 `json:"errors"`
	PackedRefs    []byte                `json:"f"`
	PackedTargets []byte                `json:"b"`

	// The same before version 3.
	Refs    []sdk.FlowRef   `json:"refs"`
	Targets []earlierTarget `json:"targets"`
}

// earlierTarget is a target as it was written before version 3.
type earlierTarget struct {
	Host    netip.Addr `json:"h"`
	Port    uint16     `json:"p"`
	Proto   uint8      `json:"t"`
	Verdict verdict    `json:"v"`
	Probe   probe      `json:"k"`
	Small   bool       `json:"s"`
	At      int64      `json:"a"`
	Packet  uint64     `json:"n"`
	Ref     int8       `json:"r"`
}

// readEarlier reads a form of snapshots before today's.
func (r *restored) readEarlier(state []byte) error {
	head, err := saved.Earlier(state, "sources", r.addEarlier)
	r.clock, r.swept, r.sources.next, r.sources.forgotten = head.Clock, head.Swept, head.Next, head.Forgotten
	return err
}

func (r *restored) addEarlier(e *earlierSource) error {
	s := &source{addr: bare.Of(e.Addr), number: e.Number, first: e.First, last: e.Last,
		failedAt: e.FailedAt, judged: e.Judged, judgedAt: e.JudgedAt}
	for _, rule := range rules { // others are not written down again
		if r, found := e.Reported[rule]; found && len(r.Dst) <= maxDst {
			s.report(rule, r)
		}
	}
	if len(e.Errors) > 0 {
		s.errors = map[bare.Addr]uint64{}
	}
	for by, n := range e.Errors {
		s.errors[bare.Of(by)] = n
	}
	refs := saved.NewPacked(e.PackedRefs)
	for refs.More() {
		s.refs = append(s.refs, flowref.Read(refs))
	}
	for _, ref := range e.Refs {
		s.refs = append(s.refs, flowref.From(ref))
	}
	if err := refs.Err(); err != nil {
		return fmt.Errorf("the flows of source %s: %w", e.Addr, err)
	}
	if err := s.takeEarlier(e); err != nil {
		return err
	}
	return r.add(s)
}

func (s *source) takeEarlier(e *earlierSource) error {
	targets := saved.NewPacked(e.PackedTargets)
	for last := (seen{}); targets.More(); {
		last = readTarget(targets, last)
		if err := s.take(last); err != nil {
			return err
		}
	}
	for _, t := range e.Targets {
		one := seen{target: target{host: bare.Of(t.Host), proto: t.Proto, port: t.Port}, verdict: t.Verdict, probe: t.Probe, small: t.Small, at: t.At, packet: t.Packet, ref: t.Ref}
		if err := s.take(one); err != nil {
			return err
		}
	}
	return targets.Err()
}
