package ransomware

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then the connections and the
// clients, the one quiet for longest first.
const snapshotVersion = 1

// recordSize is what a connection or client takes in a snapshot, about.
const recordSize = 1024

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*(d.connections.Len()+d.clients.Len()))
	for _, n := range []uint64{d.connections.Forgotten, d.clients.Forgotten, uint64(d.connections.Len())} {
		b = binary.AppendUvarint(b, n)
	}
	for c := range d.connections.All() {
		b = c.appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(d.clients.Len()))
	for k := range d.clients.All() {
		b = k.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxClients)
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
	m.connections.Forgotten, m.clients.Forgotten = p.Uint(), p.Uint()
	for range p.Count() {
		c := readConnection(p)
		if m.connections.Has(c.flow) {
			return fmt.Errorf("connection %d comes twice", c.flow)
		}
		m.connections.Put(c.flow, c)
	}
	for range p.Count() {
		k := readClient(p)
		if m.clients.Has(k.key) {
			return fmt.Errorf("client %s comes twice", k.key.client.Addr())
		}
		m.clients.Put(k.key, k)
	}
	return p.End()
}

func (c *connection) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, c.flow)
	b = binary.AppendUvarint(b, uint64(len(c.files)))
	for i := range c.files {
		b = c.files[i].appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(c.next))
	return binary.AppendVarint(b, int64(c.at))
}

func readConnection(p *saved.Packed) *connection {
	c := &connection{flow: p.Uint()}
	for range min(p.Count(), maxOpen) {
		c.files = append(c.files, readFile(p))
	}
	c.next, c.at = int(p.Uint()%maxOpen), int(p.Int())
	if c.next >= max(1, len(c.files)) {
		c.next = 0
	}
	if c.at < 0 || c.at >= len(c.files) {
		c.at = none
	}
	return c
}

func (f *file) appendTo(b []byte) []byte {
	for _, n := range []uint64{f.whole, f.stem, f.folder, f.message, uint64(f.access), f.madeOf, uint64(f.extension)} {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, bit(f.granted), bit(f.read), bit(f.wrote), bit(f.note), bit(f.canary))
	return appendText(appendText(b, f.name.text), f.text)
}

func readFile(p *saved.Packed) file {
	f := file{name: name{whole: p.Uint(), stem: p.Uint(), folder: p.Uint()}, message: p.Uint(), access: uint32(p.Uint()), madeOf: p.Uint()}
	f.extension = uint32(p.Uint())
	f.granted, f.read, f.wrote, f.note, f.canary = p.Uint() == 1, p.Uint() == 1, p.Uint() == 1, p.Uint() == 1, p.Uint() == 1
	f.name.text, f.text = string(p.Bytes(maxExtension)), string(p.Bytes(maxText))
	return f
}

func (k *client) appendTo(b []byte) []byte {
	b = k.key.server.AppendTo(k.key.client.AppendTo(b))
	b = binary.AppendVarint(binary.AppendVarint(b, k.begin), k.latest)
	for _, n := range []uint64{k.written, k.converted, k.overwritten, k.canaries, uint64(k.told.rule), k.told.files, uint64(k.told.severe)} {
		b = binary.AppendUvarint(b, n)
	}
	b = k.folders.appendTo(k.kinds.appendTo(k.lost.appendTo(appendText(b, k.canary))))
	b = binary.AppendUvarint(b, uint64(len(k.gains)))
	for _, g := range k.gains {
		b = binary.AppendUvarint(appendText(b, g.extension), g.files)
	}
	b = binary.AppendUvarint(b, uint64(len(k.notes)))
	for i := range k.notes {
		b = k.notes[i].folders.appendTo(appendText(b, k.notes[i].text))
	}
	return k.AppendTo(b)
}

func readClient(p *saved.Packed) *client {
	k := &client{key: clientKey{bare.Read(p), bare.Read(p)}, begin: p.Int(), latest: p.Int()}
	k.written, k.converted, k.overwritten, k.canaries = p.Uint(), p.Uint(), p.Uint(), p.Uint()
	k.told = told{uint8(min(p.Uint(), uint64(len(rules)))), p.Uint(), int(uint8(p.Uint()))}
	k.canary = string(p.Bytes(maxText))
	k.lost, k.kinds, k.folders = readSet(p), readSet(p), readSet(p)
	for range min(p.Count(), maxGains) {
		k.gains = append(k.gains, gained{string(p.Bytes(maxExtension)), p.Uint()})
	}
	for range min(p.Count(), maxNotes) {
		n := note{text: string(p.Bytes(maxText)), folders: readSet(p)}
		n.hash = hash64(n.text)
		k.notes = append(k.notes, n)
	}
	k.Evidence = evidence.Read(p)
	return k
}

func (s set) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	for _, v := range s {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

func readSet(p *saved.Packed) (s set) {
	for range min(p.Count(), maxSet) {
		s = append(s, uint32(p.Uint()))
	}
	return s
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
