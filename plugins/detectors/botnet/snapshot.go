package botnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first the fans, then the pages and the
// programs of hosts, those quiet for longest first. A state of version 2 had fewer signs, one of version 1 fewer still and
// no programs.
const snapshotVersion, secondVersion, firstVersion = 3, 2, 1

// recordSize is what an entry takes in a snapshot, about.
const recordSize = 256

var errTwice = errors.New("an entry comes twice")

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*(d.fans.Len()+d.pages.Len()+d.agents.Len()))
	b = binary.AppendUvarint(b, d.fans.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.fans.Len()))
	for o := range d.fans.All() {
		b = o.appendTo(b)
	}
	b = binary.AppendUvarint(b, d.pages.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.pages.Len()))
	for p := range d.pages.All() {
		b = p.appendTo(b)
	}
	b = binary.AppendUvarint(b, d.agents.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.agents.Len()))
	for a := range d.agents.All() {
		b = a.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxEntries)
	if err := into.read(state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = into
	return nil
}

func (m *memory) read(state []byte) error {
	version, signs := snapshotVersion, signs
	p, err := saved.Open(snapshotVersion, state)
	if second, other := saved.Open(secondVersion, state); other == nil {
		version, p, signs, err = secondVersion, second, signsOfSecond, nil
	}
	if first, other := saved.Open(firstVersion, state); other == nil {
		version, p, signs, err = firstVersion, first, signsOfFirst, nil
	}
	if err != nil {
		return err
	}
	m.fans.Forgotten = p.Uint()
	for range p.Count() {
		o := readFan(p)
		if m.fans.Has(o.fanKey) {
			return errTwice
		}
		m.fans.Put(o.fanKey, o)
	}
	m.pages.Forgotten = p.Uint()
	for range p.Count() {
		one := readPage(p, signs)
		if m.pages.Has(one.pageKey) {
			return errTwice
		}
		m.pages.Put(one.pageKey, one)
	}
	if version == firstVersion {
		return p.End()
	}
	m.agents.Forgotten = p.Uint()
	for range p.Count() {
		a := readAgents(p)
		if m.agents.Has(a.client) {
			return errTwice
		}
		m.agents.Put(a.client, a)
	}
	return p.End()
}

func (o *fan) numbers() []*uint64 {
	out := []*uint64{&o.nHosts, &o.nNets, &o.failed, &o.flows, &o.told}
	for i := range o.sizes.size {
		out = append(out, &o.sizes.size[i], &o.sizes.count[i])
	}
	return out
}

func (o *fan) appendTo(b []byte) []byte {
	b = o.dst.AppendTo(o.src.AppendTo(b))
	b = binary.AppendUvarint(b, uint64(o.port))
	b = append(b, o.proto, byte(o.kind))
	b = binary.AppendVarint(b, o.begin)
	b = o.nets.AppendTo(o.hosts.AppendTo(b))
	for _, n := range o.numbers() {
		b = binary.AppendUvarint(b, *n)
	}
	b = binary.AppendUvarint(b, uint64(len(o.refs)))
	for i := range o.refs {
		b = o.refs[i].AppendTo(o.refs[i].dst.AppendTo(b))
	}
	return o.AppendTo(b)
}

func readFan(p *saved.Packed) *fan {
	o := &fan{fanKey: fanKey{src: bare.Read(p), dst: bare.Read(p), port: uint16(p.Uint())}}
	var two [2]byte
	p.Fill(two[:])
	o.proto, o.kind = two[0], min(kind(two[1]), kinds)
	o.begin = p.Int()
	o.hosts, o.nets = sketch.Read(p), sketch.Read(p)
	for _, n := range o.numbers() {
		*n = p.Uint()
	}
	for range min(p.Count(), maxFlows) {
		o.refs = append(o.refs, to{bare.Read(p), flowref.Read(p)})
	}
	o.Evidence = evidence.Read(p)
	return o
}

func (p *page) appendTo(b []byte) []byte {
	b = p.server.AppendTo(p.client.AppendTo(b))
	b = binary.AppendUvarint(b, uint64(p.port))
	b = binary.AppendUvarint(b, p.where)
	for _, text := range []string{p.host, p.path} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	for _, n := range p.counts {
		b = binary.AppendUvarint(b, n)
	}
	for _, n := range p.lengths {
		b = binary.AppendVarint(b, n)
	}
	for _, n := range p.servers {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, p.requests)
	return p.AppendTo(binary.AppendUvarint(b, p.told))
}

// How many signs versions 1 and 2 had.
const signsOfFirst, signsOfSecond = 9, 12

func readPage(p *saved.Packed, signs int) *page {
	one := &page{pageKey: pageKey{client: bare.Read(p), server: bare.Read(p), port: uint16(p.Uint()), where: p.Uint()}}
	one.host, one.path = string(p.Bytes(maxText)), string(p.Bytes(maxText))
	for i := range signs {
		one.counts[i] = p.Uint()
	}
	for i := range one.lengths {
		one.lengths[i] = p.Int()
	}
	for i := range one.servers {
		if signs > signsOfFirst {
			one.servers[i] = p.Uint()
		}
	}
	one.requests, one.told = p.Uint(), p.Uint()
	one.Evidence = evidence.Read(p)
	return one
}

func (a *agents) appendTo(b []byte) []byte {
	b = a.client.AppendTo(b)
	for i := range a.list {
		one, many := &a.list[i], uint64(0)
		if one.many {
			many = 1
		}
		for _, n := range []uint64{one.agent, one.server, many, one.requests} {
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

func readAgents(p *saved.Packed) *agents {
	a := &agents{client: bare.Read(p)}
	for i := range a.list {
		one := &a.list[i]
		one.agent, one.server, one.many, one.requests = p.Uint(), p.Uint(), p.Uint() == 1, p.Uint()
	}
	return a
}
