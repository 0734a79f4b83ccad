package tunnel

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
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
	b := saved.Begin(snapshotVersion, recordSize*(d.channels.quiet.Len()+d.echoes.quiet.Len()))
	b = binary.AppendVarint(b, d.clock)
	b = binary.AppendUvarint(b, d.channels.forgotten)
	b = binary.AppendUvarint(b, d.echoes.forgotten)
	b = binary.AppendUvarint(b, uint64(d.channels.quiet.Len()))
	for e := d.channels.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*channel).appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(d.echoes.quiet.Len()))
	for e := d.echoes.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*echoes).appendTo(b)
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
	m.clock, m.channels.forgotten, m.echoes.forgotten = p.Int(), p.Uint(), p.Uint()
	for range p.Count() {
		c := readChannel(p)
		if m.channels.byKey[c.key] != nil {
			return fmt.Errorf("a channel of %s comes twice", c.key.client.Addr())
		}
		m.channels.put(c.key, c)
	}
	for range p.Count() {
		e := readEchoes(p)
		if m.echoes.byKey[e.key] != nil {
			return fmt.Errorf("the pings of %s come twice", e.src.Addr())
		}
		m.echoes.put(e.key, e)
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
	b = c.evidence.appendTo(b)
	b = c.asked.appendTo(b)
	b = c.heard.appendTo(b)
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
	c.evidence = readEvidence(p)
	c.asked, c.heard = readSketch(p), readSketch(p)
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
	b = e.evidence.appendTo(b)
	b = e.contents.appendTo(b)
	for _, one := range e.recent {
		b = binary.AppendUvarint(b, uint64(one.id))
		b = binary.AppendUvarint(b, uint64(one.sum))
	}
	b = binary.AppendUvarint(b, uint64(e.next))
	for _, n := range e.sums() {
		b = binary.AppendUvarint(b, *n)
	}
	return b
}

func (e *echoes) sums() []*uint64 {
	return []*uint64{&e.different, &e.bytes, &e.pings, &e.broken, &e.reported}
}

func readEchoes(p *saved.Packed) *echoes {
	e := &echoes{key: echoKey{bare.Read(p), bare.Read(p)}, src: bare.Read(p), dst: bare.Read(p)}
	e.begin = p.Int()
	e.evidence = readEvidence(p)
	e.contents = readSketch(p)
	for i := range e.recent {
		e.recent[i] = ping{uint32(p.Uint()), uint32(p.Uint())}
	}
	e.next = uint8(p.Uint())
	for _, n := range e.sums() {
		*n = p.Uint()
	}
	return e
}

func (e *evidence) appendTo(b []byte) []byte {
	b = binary.AppendVarint(b, e.first)
	b = binary.AppendVarint(b, e.last)
	b = binary.AppendUvarint(b, uint64(len(e.packets)))
	for _, n := range e.packets {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(e.flows)))
	for i := range e.flows {
		b = e.flows[i].AppendTo(b)
	}
	return b
}

func readEvidence(p *saved.Packed) evidence {
	e := evidence{first: p.Int(), last: p.Int()}
	for range p.Count() {
		e.packets = append(e.packets, p.Uint())
	}
	for range p.Count() {
		e.flows = append(e.flows, flowref.Read(p))
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
