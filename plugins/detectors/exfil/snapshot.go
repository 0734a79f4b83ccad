package exfil

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then the pairs, the drops
// and the hosts, the one quiet for longest first. In a state of the first version no flows go on.
const (
	snapshotVersion = 2
	firstVersion    = 1
)

// recordSize is what a pair takes in a snapshot, about.
const recordSize = 128

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*(d.pairs.Len()+d.drops.Len()+d.hosts.Len()))
	for _, n := range []uint64{d.pairs.Forgotten, d.drops.Forgotten, d.hosts.Forgotten, uint64(d.pairs.Len())} {
		b = binary.AppendUvarint(b, n)
	}
	for p := range d.pairs.All() {
		b = p.appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(d.drops.Len()))
	for o := range d.drops.All() {
		b = o.appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(d.hosts.Len()))
	for h := range d.hosts.All() {
		b = h.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxPairs)
	if err := into.read(state); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = into
	return nil
}

func (m *memory) read(state []byte) error {
	version := snapshotVersion
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		first, other := saved.Open(firstVersion, state)
		if other != nil {
			return err
		}
		version, p = firstVersion, first
	}
	m.pairs.Forgotten, m.drops.Forgotten, m.hosts.Forgotten = p.Uint(), p.Uint(), p.Uint()
	for range p.Count() {
		one := readPair(p)
		if version > firstVersion {
			one.open = readOpened(p)
		}
		if m.pairs.Has(one.key) {
			return fmt.Errorf("what %s sends comes twice", one.key.src.Addr())
		}
		m.pairs.Put(one.key, one)
	}
	for range p.Count() {
		one := readDrop(p)
		if m.drops.Has(one.key) {
			return fmt.Errorf("what %s leaves behind comes twice", one.key.src.Addr())
		}
		m.drops.Put(one.key, one)
	}
	for range p.Count() {
		one := readInside(p)
		if m.hosts.Has(one.addr) {
			return fmt.Errorf("host %s comes twice", one.addr.Addr())
		}
		m.hosts.Put(one.addr, one)
	}
	return p.End()
}

func (p *pair) appendTo(b []byte) []byte {
	b = p.key.dst.AppendTo(p.key.src.AppendTo(b))
	b = binary.AppendVarint(b, p.begin)
	for _, n := range p.sent {
		b = binary.AppendUvarint(b, n)
	}
	for _, n := range []uint64{p.got, p.usual, p.flows, p.most, uint64(p.proto), p.told.sent, uint64(p.told.way)} {
		b = binary.AppendUvarint(b, n)
	}
	b = p.AppendTo(appendText(append(b, bit(p.files)), p.store))
	b = binary.AppendUvarint(b, uint64(len(p.open)))
	for _, o := range p.open {
		b = binary.AppendVarint(binary.AppendUvarint(b, o.flow), o.start)
		b = binary.AppendUvarint(binary.AppendUvarint(b, o.sent), o.got)
	}
	return b
}

func readOpened(from *saved.Packed) (list []opened) {
	for range from.Count() {
		if o := (opened{from.Uint(), from.Int(), from.Uint(), from.Uint()}); len(list) < maxOpened {
			list = append(list, o)
		}
	}
	return list
}

func readPair(from *saved.Packed) *pair {
	p := &pair{key: pairKey{bare.Read(from), bare.Read(from)}, begin: from.Int()}
	for i := range p.sent {
		p.sent[i] = from.Uint()
	}
	p.got, p.usual, p.flows = from.Uint(), from.Uint(), from.Uint()
	p.most, p.proto = from.Uint(), uint8(from.Uint())
	p.told = told{sent: from.Uint(), way: way(min(from.Uint(), uint64(ways-1)))}
	p.files, p.store = from.Uint() == 1, string(from.Bytes(maxText))
	p.Evidence = evidence.Read(from)
	return p
}

func (o *drop) appendTo(b []byte) []byte {
	b = append(o.key.dst.AppendTo(o.key.src.AppendTo(b)), bit(o.key.mail), bit(o.clear), bit(o.looked))
	for _, n := range []uint64{uint64(o.port), o.sent, uint64(o.best), o.told, uint64(o.toldSigns)} {
		b = binary.AppendUvarint(b, n)
	}
	return o.AppendTo(appendText(appendText(b, o.name), o.example))
}

func readDrop(from *saved.Packed) *drop {
	o := &drop{key: dropKey{bare.Read(from), bare.Read(from), from.Uint() == 1}, clear: from.Uint() == 1, looked: from.Uint() == 1}
	o.port, o.sent, o.best, o.told, o.toldSigns = uint16(from.Uint()), from.Uint(), sign(from.Uint()), from.Uint(), sign(from.Uint())
	o.name, o.example = string(from.Bytes(maxText)), string(from.Bytes(maxText))
	o.Evidence = evidence.Read(from)
	return o
}

func (h *inside) appendTo(b []byte) []byte {
	b = append(appendText(h.addr.AppendTo(b), h.name), bit(h.mails))
	b = binary.AppendVarint(b, h.peers.begin)
	return h.peers.sketch.AppendTo(binary.AppendUvarint(b, h.peers.count))
}

func readInside(from *saved.Packed) *inside {
	h := &inside{addr: bare.Read(from), name: string(from.Bytes(maxText)), mails: from.Uint() == 1}
	h.peers = peers{begin: from.Int(), count: from.Uint(), sketch: sketch.Read(from)}
	return h
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}
