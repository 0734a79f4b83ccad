package dnssecurity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, table by table, in each the one quiet for longest first.
const snapshotVersion = 1

// recordSize is what an entry takes in a snapshot, about.
const recordSize = 192

// maxText is the longest name.
const maxText = 2048

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*(d.floods.Len()+d.domains.Len()+d.askers.Len()+d.names.Len()+d.listed.Len()))
	b = appendTable(b, &d.floods, (*flood).appendTo)
	b = appendTable(b, &d.domains, (*domain).appendTo)
	b = appendTable(b, &d.askers, (*asker).appendTo)
	b = appendTable(b, &d.names, (*name).appendTo)
	b = appendTable(b, &d.listed, (*listed).appendTo)
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
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return err
	}
	return errors.Join(
		readTable(p, &m.floods, func() (floodKey, *flood) { f := readFlood(p); return f.key, f }),
		readTable(p, &m.domains, func() (uint64, *domain) { one := readDomain(p); return one.key, one }),
		readTable(p, &m.askers, func() (bare.Addr, *asker) { a := readAsker(p); return a.key, a }),
		readTable(p, &m.names, func() (uint64, *name) { n := readName(p); return n.key, n }),
		readTable(p, &m.listed, func() (listedKey, *listed) { l := readListed(p); return l.key, l }),
		p.End())
}

func appendTable[K comparable, V any](b []byte, t *recent.Table[K, V], appendTo func(V, []byte) []byte) []byte {
	b = binary.AppendUvarint(b, t.Forgotten)
	b = binary.AppendUvarint(b, uint64(t.Len()))
	for v := range t.All() {
		b = appendTo(v, b)
	}
	return b
}

func readTable[K comparable, V any](p *saved.Packed, t *recent.Table[K, V], read func() (K, V)) error {
	t.Forgotten = p.Uint()
	for range p.Count() {
		key, v := read()
		if t.Has(key) {
			return fmt.Errorf("%v comes twice", key)
		}
		t.Put(key, v)
	}
	return nil
}

func (f *flood) appendTo(b []byte) []byte {
	b = f.key.victim.AppendTo(b)
	b = f.server.AppendTo(b)
	b = appendText(b, f.name)
	b = binary.AppendVarint(b, f.begin)
	b = f.AppendTo(b)
	b = f.servers.AppendTo(b)
	return appendNumbers(b, f.key.question, uint64(f.proto), uint64(f.qtype), f.different, f.questions, f.answers, f.bytes, f.small, bit(f.many), f.reported)
}

func readFlood(p *saved.Packed) *flood {
	f := &flood{}
	f.key.victim, f.server, f.name, f.begin = bare.Read(p), bare.Read(p), string(p.Bytes(maxText)), p.Int()
	f.Evidence, f.servers = evidence.Read(p), sketch.Read(p)
	f.key.question, f.proto, f.qtype = p.Uint(), uint8(p.Uint()), uint16(p.Uint())
	f.different, f.questions, f.answers, f.bytes, f.small, f.many, f.reported = p.Uint(), p.Uint(), p.Uint(), p.Uint(), p.Uint(), p.Uint() == 1, p.Uint()
	return f
}

func (one *domain) appendTo(b []byte) []byte {
	b = appendText(appendNumbers(b, one.key), one.name)
	for _, n := range one.text {
		b = appendNumbers(b, uint64(n))
	}
	return one.counted.appendTo(appendNumbers(b, bit(one.many)))
}

func readDomain(p *saved.Packed) *domain {
	one := &domain{key: p.Uint(), name: string(p.Bytes(maxText))}
	for i := range one.text {
		one.text[i] = uint32(p.Uint())
	}
	one.many = p.Uint() == 1
	one.counted = readCounted(p)
	return one
}

func (a *asker) appendTo(b []byte) []byte {
	b = a.key.AppendTo(b)
	b = a.domains.AppendTo(b)
	return a.counted.appendTo(appendNumbers(b, a.below))
}

func readAsker(p *saved.Packed) *asker {
	return &asker{key: bare.Read(p), domains: sketch.Read(p), below: p.Uint(), counted: readCounted(p)}
}

func (c *counted) appendTo(b []byte) []byte {
	b = c.failing.AppendTo(b)
	b = c.fine.AppendTo(b)
	b = binary.AppendVarint(b, c.begin)
	b = c.AppendTo(b)
	b = c.client.AppendTo(b)
	b = c.server.AppendTo(b)
	return appendNumbers(b, c.failed, c.existed, uint64(c.port), uint64(c.proto), c.reported)
}

func readCounted(p *saved.Packed) counted {
	c := counted{failing: sketch.Read(p), fine: sketch.Read(p), begin: p.Int(), Evidence: evidence.Read(p), client: bare.Read(p), server: bare.Read(p)}
	c.failed, c.existed, c.port, c.proto, c.reported = p.Uint(), p.Uint(), uint16(p.Uint()), uint8(p.Uint()), p.Uint()
	return c
}

func (n *name) appendTo(b []byte) []byte {
	b = appendText(appendNumbers(b, n.key), n.text)
	b = binary.AppendVarint(b, n.begin)
	b = appendNumbers(b, uint64(len(n.addresses)))
	for _, one := range n.addresses {
		b = appendNumbers(b, uint64(one))
	}
	b = n.AppendTo(b)
	for _, a := range []bare.Addr{n.asker, n.via, n.client, n.server} {
		b = a.AppendTo(b)
	}
	b = binary.AppendVarint(b, n.publicAt)
	return appendNumbers(b, uint64(n.life), uint64(n.port), uint64(n.proto), uint64(n.outside), n.inFlux, bit(n.bound))
}

func readName(p *saved.Packed) *name {
	n := &name{key: p.Uint(), text: string(p.Bytes(maxText)), begin: p.Int()}
	for range min(p.Count(), maxAddresses) {
		n.addresses = append(n.addresses, uint32(p.Uint()))
	}
	n.Evidence = evidence.Read(p)
	n.asker, n.via, n.client, n.server = bare.Read(p), bare.Read(p), bare.Read(p), bare.Read(p)
	n.publicAt = p.Int()
	n.life, n.port, n.proto, n.outside, n.inFlux, n.bound = uint32(p.Uint()), uint16(p.Uint()), uint8(p.Uint()), uint32(p.Uint()), p.Uint(), p.Uint() == 1
	return n
}

func (l *listed) appendTo(b []byte) []byte {
	b = l.key.client.AppendTo(b)
	b = l.key.server.AppendTo(b)
	b = l.server.AppendTo(b)
	b = appendText(b, l.domain)
	b = l.AppendTo(b)
	return appendNumbers(b, l.key.domain, uint64(l.port), uint64(l.proto), l.questions, l.reported)
}

func readListed(p *saved.Packed) *listed {
	l := &listed{}
	l.key.client, l.key.server, l.server, l.domain = bare.Read(p), bare.Read(p), bare.Read(p), string(p.Bytes(maxText))
	l.Evidence = evidence.Read(p)
	l.key.domain, l.port, l.proto, l.questions, l.reported = p.Uint(), uint16(p.Uint()), uint8(p.Uint()), p.Uint(), p.Uint()
	return l
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendNumbers(b []byte, list ...uint64) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
