package tunnel

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then the channels and the
// hosts that ping each other, the one quiet for longest first.
const snapshotVersion = 1

// recordSize is what a channel takes in a snapshot, about.
const recordSize = 512

// maxDomain is the longest name.
const maxDomain = 2048

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	b := saved.Begin(snapshotVersion, recordSize*(d.channels.Len()+d.echoes.Len()))
	b = binary.AppendVarint(b, d.clock)
	b = binary.AppendUvarint(b, d.channels.Forgotten)
	b = binary.AppendUvarint(b, d.echoes.Forgotten)
	b = binary.AppendUvarint(b, uint64(d.channels.Len()))
	for c := range d.channels.All() {
		b = c.appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(d.echoes.Len()))
	for e := range d.echoes.All() {
		b = e.appendTo(b)
	}
	return saved.Seal(b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	into := newMemory(d.cfg.MaxDomains)
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
	m.clock, m.channels.Forgotten, m.echoes.Forgotten = p.Int(), p.Uint(), p.Uint()
	for range p.Count() {
		c := readChannel(p)
		if m.channels.Has(c.key) {
			return fmt.Errorf("a channel of %s comes twice", c.key.client.Addr())
		}
		m.channels.Put(c.key, c)
	}
	for range p.Count() {
		e := readEchoes(p)
		if m.echoes.Has(e.key) {
			return fmt.Errorf("the pings of %s come twice", e.src.Addr())
		}
		m.echoes.Put(e.key, e)
	}
	return p.End()
}

// sums are the numbers of a channel, in the order in which they are written.
func (c *channel) sums() []*uint64 {
	return []*uint64{&c.names, &c.made, &c.up, &c.down, &c.hashes, &c.rare, &c.carried,
		&c.questions, &c.direct, &c.answers, &c.loops, &c.failures, &c.check, &c.reported}
}

func (c *channel) appendTo(b []byte) []byte {
	b = c.key.client.AppendTo(b)
	b = binary.AppendUvarint(b, c.key.domain)
	b = c.server.AppendTo(b)
	b = binary.AppendUvarint(b, uint64(c.port))
	b = binary.AppendUvarint(b, uint64(c.proto))
	b = appendText(b, c.domain)
	b = binary.AppendVarint(b, c.begin)
	b = c.AppendTo(b)
	b = c.asked.AppendTo(b)
	b = c.heard.AppendTo(b)
	b = c.labels.appendTo(b)
	for _, n := range c.text {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(c.longest))
	for _, n := range c.sums() {
		b = binary.AppendUvarint(b, *n)
	}
	return append(b, bit(c.oneWay))
}

func readChannel(p *saved.Packed) *channel {
	c := &channel{key: channelKey{client: bare.Read(p), domain: p.Uint()}, server: bare.Read(p)}
	c.port, c.proto = uint16(p.Uint()), uint8(p.Uint())
	c.domain = string(p.Bytes(maxDomain))
	c.begin = p.Int()
	c.Evidence = evidence.Read(p)
	c.asked, c.heard = sketch.Read(p), sketch.Read(p)
	c.labels = readLabels(p)
	for i := range c.text {
		c.text[i] = uint32(p.Uint())
	}
	c.longest = uint32(p.Uint())
	for _, n := range c.sums() {
		*n = p.Uint()
	}
	c.oneWay = p.Uint() == 1
	return c
}

func (e *echoes) appendTo(b []byte) []byte {
	b = e.key.low.AppendTo(b)
	b = e.key.high.AppendTo(b)
	b = e.src.AppendTo(b)
	b = e.dst.AppendTo(b)
	b = binary.AppendVarint(b, e.begin)
	b = e.AppendTo(b)
	b = e.contents.AppendTo(b)
	for _, n := range e.sums() {
		b = binary.AppendUvarint(b, *n)
	}
	return b
}

func (e *echoes) sums() []*uint64 {
	return []*uint64{&e.different, &e.bytes, &e.questions, &e.answers, &e.broken, &e.reported}
}

func readEchoes(p *saved.Packed) *echoes {
	e := &echoes{key: echoKey{bare.Read(p), bare.Read(p)}, src: bare.Read(p), dst: bare.Read(p)}
	e.begin = p.Int()
	e.Evidence = evidence.Read(p)
	e.contents = sketch.Read(p)
	for _, n := range e.sums() {
		*n = p.Uint()
	}
	return e
}

func (l *labels) appendTo(b []byte) []byte {
	for _, one := range l.fresh {
		b = binary.AppendUvarint(b, uint64(one))
	}
	for _, one := range l.kept {
		b = binary.AppendUvarint(b, uint64(one))
	}
	return append(b, l.nextFresh%uint8(len(l.fresh)), l.nextKept%uint8(len(l.kept)))
}

func readLabels(p *saved.Packed) (l labels) {
	for i := range l.fresh {
		l.fresh[i] = uint32(p.Uint())
	}
	for i := range l.kept {
		l.kept[i] = uint32(p.Uint())
	}
	l.nextFresh, l.nextKept = uint8(p.Uint()), uint8(p.Uint())
	return l
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
