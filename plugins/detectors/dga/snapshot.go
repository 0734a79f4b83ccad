package dga

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then those of each host, the
// one quiet for longest first. Version 1 had no failing names; another form is refused.
const snapshotVersion, firstVersion = 2, 1

// What a host and a name take in a snapshot, about.
const (
	clientSize = 180
	nameSize   = 80
)

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, d.clients.names*nameSize+len(d.clients.byAddr)*clientSize)
	b = binary.AppendVarint(b, d.clock)
	b = binary.AppendVarint(b, d.swept)
	b = binary.AppendUvarint(b, d.clients.next)
	b = binary.AppendUvarint(b, d.clients.forgotten)
	for e := d.clients.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*asker).appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	version := snapshotVersion
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		first, other := saved.Open(firstVersion, state)
		if other != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
		version, p = firstVersion, first
	}
	clock, swept := p.Int(), p.Int()
	m := newClients(d.cfg.MaxClients, d.cfg.MaxNames, d.cfg.MaxMemory)
	m.next, m.forgotten = p.Uint(), p.Uint()
	for p.More() {
		c := readAsker(p)
		if version > firstVersion {
			c.burst = readBurst(p)
		}
		if m.byAddr[c.addr] != nil {
			return fmt.Errorf("read snapshot: the host %s comes twice", c.addr.Addr())
		}
		m.insert(c)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.clients, d.clock, d.latest, d.asked, d.swept = m, clock, clock, clock, swept
	return nil
}

func (c *asker) appendTo(b []byte) []byte {
	b = c.addr.AppendTo(b)
	b = binary.AppendUvarint(b, c.number)
	b = binary.AppendVarint(b, c.start)
	b = binary.AppendVarint(b, c.last)
	b = binary.AppendUvarint(b, c.more)
	b = binary.AppendUvarint(b, number(c.changed))
	b = binary.AppendUvarint(b, uint64(c.reported))
	b = binary.AppendUvarint(b, math.Float64bits(c.told))
	b = binary.AppendVarint(b, c.first)
	for _, w := range c.asked {
		b = binary.AppendUvarint(b, w)
	}
	b = binary.AppendUvarint(b, uint64(len(c.odd)))
	for i := range c.odd {
		b = c.odd[i].appendTo(b)
	}
	return c.burst.appendTo(b)
}

func readAsker(p *saved.Packed) *asker {
	c := &asker{addr: bare.Read(p), number: p.Uint(), start: p.Int(), last: p.Int(), more: p.Uint(), changed: p.Uint() == 1}
	c.reported, c.told, c.first = int(p.Uint()), math.Float64frombits(p.Uint()), p.Int()
	for i := range c.asked {
		c.asked[i] = p.Uint()
	}
	for range p.Count() {
		c.odd = append(c.odd, readOdd(p))
	}
	return c
}

func (o *oddName) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, o.id)
	b = binary.AppendVarint(b, int64(o.surprise))
	b = binary.AppendUvarint(b, uint64(len(o.domain)))
	b = append(b, o.domain...)
	b = binary.AppendVarint(b, o.time)
	b = binary.AppendUvarint(b, uint64(o.signs))
	b = binary.AppendUvarint(b, o.packet)
	b = binary.AppendUvarint(b, o.flow)
	b = binary.AppendUvarint(b, uint64(o.client))
	server := bare.Of(o.server.Addr())
	b = server.AppendTo(b)
	b = binary.AppendUvarint(b, uint64(o.server.Port()))
	return binary.AppendUvarint(b, uint64(o.proto))
}

func readOdd(p *saved.Packed) (o oddName) {
	var id [8]byte
	p.Fill(id[:])
	o.id, o.surprise, o.domain = binary.LittleEndian.Uint64(id[:]), int32(p.Int()), string(p.Bytes(maxName))
	o.time, o.signs, o.packet, o.flow, o.client = p.Int(), signs(p.Uint()), p.Uint(), p.Uint(), uint16(p.Uint())
	server := bare.Read(p)
	o.server, o.proto = netip.AddrPortFrom(server.Addr(), uint16(p.Uint())), uint8(p.Uint())
	return o
}

func (u *burst) appendTo(b []byte) []byte {
	for _, n := range []int64{u.start, u.first, u.last, int64(u.told), int64(number(u.changed))} {
		b = binary.AppendVarint(b, n)
	}
	for i := range u.asked {
		b = binary.AppendUvarint(binary.AppendUvarint(b, u.asked[i]), u.there[i])
	}
	b = binary.AppendUvarint(b, uint64(len(u.names)))
	for _, f := range u.names {
		b = binary.LittleEndian.AppendUint64(b, f.id)
		b = binary.AppendUvarint(b, f.packet)
		b = append(b, f.length, f.form)
	}
	b = binary.AppendUvarint(b, uint64(len(u.samples)))
	for _, text := range u.samples {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return b
}

func readBurst(p *saved.Packed) (u burst) {
	u.start, u.first, u.last, u.told, u.changed = p.Int(), p.Int(), p.Int(), int(p.Int()), p.Int() == 1
	for i := range u.asked {
		u.asked[i], u.there[i] = p.Uint(), p.Uint()
	}
	for range p.Count() {
		var id [8]byte
		p.Fill(id[:])
		f := failing{id: binary.LittleEndian.Uint64(id[:]), packet: p.Uint()}
		var two [2]byte
		p.Fill(two[:])
		if f.length, f.form = two[0], two[1]; len(u.names) < mostFailing {
			u.names = append(u.names, f)
		}
	}
	for range p.Count() {
		if text := string(p.Bytes(maxName)); len(u.samples) < maxSamples {
			u.samples = append(u.samples, text)
		}
	}
	return u
}

func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
