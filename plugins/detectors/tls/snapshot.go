package tls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then its lists.
const snapshotVersion = 1

// What a server, a fingerprint and a finding take in a snapshot, about.
const (
	serverSize = 44
	printSize  = 20
	issueSize  = 256
)

// errNonsense is told of a state that no detector has written.
var errNonsense = errors.New("it makes no sense")

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	m := &d.memory
	b := saved.Begin(snapshotVersion, m.servers.Len()*serverSize+len(m.prints)*printSize+m.issues.Len()*issueSize)
	b = binary.AppendUvarint(binary.AppendVarint(b, m.begun), m.forgotten)
	b = appendAddrs(b, m.clients)
	b = binary.AppendUvarint(b, uint64(m.servers.Len()))
	for s := range m.servers.All() {
		for _, n := range []uint64{s.key, s.leaf, s.before, s.subject, uint64(s.until)} {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
		b = append(b, bit(s.self))
	}
	b = binary.AppendUvarint(b, uint64(len(m.prints)))
	for _, f := range m.printsInOrder() {
		b = f.client.AppendTo(binary.LittleEndian.AppendUint64(b, f.key))
		b = binary.AppendUvarint(append(b, bit(f.many)), uint64(f.count))
	}
	b = binary.AppendUvarint(b, uint64(m.guards.Len()))
	for g := range m.guards.All() {
		b = appendAddrs(g.client.AppendTo(b), g.servers)
	}
	return saved.Seal(m.issues.AppendTo(b)), nil
}

// Restore takes over what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	m := newMemory(&d.cfg)
	if err := errors.Join(m.read(p), p.End()); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = m
	return nil
}

func (m *memory) read(p *saved.Packed) error {
	m.begun, m.forgotten = p.Int(), p.Uint()
	m.clients = readAddrs(p, enoughHosts)
	for range p.Count() {
		s := &shown{key: fixed(p), leaf: fixed(p), before: fixed(p), subject: fixed(p), until: int64(fixed(p)), self: truth(p)}
		if m.servers.Has(s.key) {
			return errNonsense
		}
		m.servers.Put(s.key, s)
	}
	for range p.Count() {
		f := &fingerprint{key: fixed(p), client: bare.Read(p), many: truth(p), count: uint32(p.Uint())}
		if m.prints[f.key] != nil || len(m.prints) >= maxFingerprints {
			return errNonsense
		}
		m.prints[f.key] = f
	}
	for range p.Count() {
		g := &guards{client: bare.Read(p)}
		g.servers = readAddrs(p, enoughGuards)
		if m.guards.Has(g.client) {
			return errNonsense
		}
		m.guards.Put(g.client, g)
	}
	return m.issues.Read(p, uint8(len(rules)))
}

func fixed(p *saved.Packed) uint64 {
	var b [8]byte
	p.Fill(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func truth(p *saved.Packed) bool {
	var b [1]byte
	p.Fill(b[:])
	return b[0] != 0
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendAddrs(b []byte, list []bare.Addr) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		b = list[i].AppendTo(b)
	}
	return b
}

// readAddrs reads up to limit addresses.
func readAddrs(p *saved.Packed, limit int) (list []bare.Addr) {
	for range p.Count() {
		if a := bare.Read(p); len(list) < limit {
			list = append(list, a)
		}
	}
	return list
}
