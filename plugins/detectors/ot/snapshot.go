package ot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// snapshotVersion is the form of a snapshot: numbers and texts behind each other, those of the devices, the one touched longest
// ago first, then those of who asks and of the incidents.
const snapshotVersion = 1

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	const deviceSize, incidentSize = 128, 256
	b := saved.Begin(snapshotVersion, len(d.devices.by)*deviceSize+len(d.incidents.list)*incidentSize)
	b = binary.AppendVarint(b, d.clock)
	b = numbers(b, d.devices.forgotten, d.incidents.forgotten, d.incidents.next, uint64(len(d.devices.by)))
	for e := d.devices.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*device).appendTo(b)
	}
	askers := slices.SortedFunc(maps.Values(d.askers.by), func(a, b *asker) int { return slices.Compare(a.host[:], b.host[:]) })
	b = numbers(b, uint64(len(askers)))
	for _, a := range askers {
		b = append(b, a.host[:]...)
		b = binary.AppendVarint(b, a.last)
		b = hosts(b, a.devices)
	}
	b = numbers(b, uint64(len(d.incidents.list)))
	for _, o := range d.incidents.list {
		b = o.appendTo(b)
	}
	return saved.Seal(b), nil
}

func numbers(b []byte, list ...uint64) []byte {
	for _, v := range list {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func text(b []byte, s string) []byte { return append(numbers(b, uint64(len(s))), s...) }

func hosts(b []byte, list []host) []byte {
	b = numbers(b, uint64(len(list)))
	for i := range list {
		b = append(b, list[i][:]...)
	}
	return b
}

func (p *place) appendTo(b []byte) []byte { return numbers(append(b, p.host[:]...), uint64(p.port)) }

func (d *device) appendTo(b []byte) []byte {
	b = binary.AppendVarint(d.place.appendTo(b), d.first)
	b = append(b, d.address[:]...)
	b = numbers(b, uint64(len(d.functions)))
	for _, f := range d.functions {
		b = numbers(b, uint64(f))
	}
	b = numbers(b, uint64(len(d.peers)))
	for i := range d.peers {
		b = d.peers[i].appendTo(b)
	}
	return b
}

func (p *peer) appendTo(b []byte) []byte {
	b = append(b, p.host[:]...)
	b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, p.first), p.last), p.pendingSince)
	b = numbers(b, bit(p.learned)|bit(p.newcomer)<<1, p.requests, p.reads, p.granted, p.refusals, p.asked, p.waiting, uint64(p.waitsFor), uint64(p.pending))
	return numbers(numbers(b, uint64(len(p.refused))), p.refused...)
}

func bit(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

func (o *incident) appendTo(b []byte) []byte {
	b = text(b, o.rule)
	b = o.at.appendTo(append(b, o.from[:]...))
	b = binary.AppendVarint(binary.AppendVarint(b, o.start), o.end)
	b = numbers(b, uint64(o.what), o.number, uint64(o.grave), uint64(o.base), uint64(o.why), o.address, o.count, o.done, o.refused, uint64(o.proto),
		bit(o.reversed)|bit(o.told.answered)<<1|bit(o.intruded)<<2, o.told.count, uint64(o.told.grave))
	b = hosts(text(text(text(b, o.protocol), o.name), o.object), o.spread)
	b = numbers(b, uint64(len(o.units)))
	for _, unit := range o.units {
		b = text(b, unit)
	}
	b = numbers(numbers(b, uint64(len(o.packets))), o.packets...)
	b = numbers(b, uint64(len(o.flows)))
	for i := range o.flows {
		b = o.flows[i].AppendTo(b)
	}
	return b
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	r := reader{Packed: p}
	m := d.empty()
	m.clock = r.Int()
	m.devices.forgotten, m.incidents.forgotten, m.incidents.next = r.Uint(), r.Uint(), r.Uint()
	for range r.Count() {
		dev := r.device()
		if m.devices.by[dev.place] != nil {
			r.refuse(fmt.Errorf("the device %s comes twice", dev))
			break
		}
		m.devices.insert(dev)
	}
	for range r.Count() {
		a := &asker{host: r.host(), last: r.Int(), devices: r.hosts()}
		if m.askers.by == nil {
			m.askers.by = map[host]*asker{}
		}
		if m.askers.by[a.host] != nil {
			r.refuse(fmt.Errorf("what %s asked comes twice", &a.host))
			break
		}
		m.askers.by[a.host] = a
	}
	last := uint64(0)
	for range r.Count() {
		o := r.incident()
		if techniques[o.rule] == nil || o.grave > dangerous || o.base > dangerous || int(o.why) >= len(reasons) || o.told.grave > dangerous || o.number <= last || o.number > m.incidents.next || m.incidents.by[o.key] != nil {
			r.refuse(errors.New("a finding is none"))
			break
		}
		last = o.number
		m.incidents.insert(o)
	}
	if err := errors.Join(r.err, p.End()); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = m
	return nil
}

// reader reads the parts of a snapshot.
type reader struct {
	*saved.Packed
	err error
}

func (r *reader) refuse(err error) { r.err = errors.Join(r.err, err) }

func (r *reader) host() (h host) {
	r.Fill(h[:])
	return h
}

func (r *reader) hosts() (out []host) {
	for range min(r.Count(), maxSurveyed) {
		out = append(out, r.host())
	}
	return out
}

func (r *reader) text() string { return strings.ToValidUTF8(string(r.Bytes(maxName)), "") }

func (r *reader) place() place { return place{host: r.host(), port: uint16(r.Uint())} }

func (r *reader) device() *device {
	d := &device{place: r.place(), first: r.Int(), address: r.host()}
	for range min(r.Count(), maxFunctions) {
		d.functions = append(d.functions, uint32(r.Uint()))
	}
	for range min(r.Count(), maxPeers) {
		d.peers = append(d.peers, r.peer())
	}
	return d
}

func (r *reader) peer() peer {
	p := peer{host: r.host(), first: r.Int(), last: r.Int(), pendingSince: r.Int()}
	flags := r.Uint()
	p.learned, p.newcomer = flags&1 != 0, flags&2 != 0
	p.requests, p.reads, p.granted, p.refusals, p.asked, p.waiting = r.Uint(), r.Uint(), r.Uint(), r.Uint(), r.Uint(), r.Uint()
	p.waitsFor, p.pending = uint32(r.Uint()), uint32(r.Uint())
	for range min(r.Count(), maxRefused) {
		p.refused = append(p.refused, r.Uint())
	}
	return p
}

func (r *reader) incident() *incident {
	o := &incident{}
	o.rule, o.from, o.at = r.text(), r.host(), r.place()
	o.start, o.end = r.Int(), r.Int()
	o.what, o.number, o.grave, o.base, o.why, o.address = uint32(r.Uint()), r.Uint(), grave(r.Uint()), grave(r.Uint()), why(r.Uint()), r.Uint()
	o.count, o.done, o.refused, o.proto = r.Uint(), r.Uint(), r.Uint(), uint8(r.Uint())
	flags := r.Uint()
	o.reversed, o.told.answered, o.intruded, o.told.count, o.told.grave = flags&1 != 0, flags&2 != 0, flags&4 != 0, r.Uint(), grave(r.Uint())
	o.protocol, o.name, o.object, o.spread = r.text(), r.text(), r.text(), r.hosts()
	for range min(r.Count(), maxSpread) {
		o.units = append(o.units, r.text())
	}
	for range min(r.Count(), maxPackets) {
		o.packets = append(o.packets, r.Uint())
	}
	for range min(r.Count(), maxFlows) {
		o.flows = append(o.flows, flowref.Read(r.Packed))
	}
	return o
}

var _ sdk.Snapshotter = (*Detector)(nil)
