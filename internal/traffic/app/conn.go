package app

import (
	"slices"

	"github.com/picketwatch/picket/internal/traffic/stream"
)

// conn is a flow that is being read: a TCP connection from its first payload until a parser is done with it or nobody
// wants it, or a UDP flow with a parser.
type conn struct {
	engine   *Engine
	tag      *Tag
	handle   uint32
	stream   stream.Conn
	flow     Flow
	swapped  bool // side Client is the server
	guessed  bool
	again    uint8
	parser   StreamParser
	messages DatagramParser
	// Until the protocol is known:
	first  Dir // the direction that spoke first
	spoken bool
	head   [2][]byte
	lost   [2]int    // bytes that are missing before head
	judged [2]bool   // the verdict on this direction stands
	likely [2]uint16 // 1 + protocol
}

// take opens a conn for a flow.
func (e *Engine) take(t *Tag, p *Packet) *conn {
	var c *conn
	switch n := len(e.free); {
	case n > 0:
		c = e.conns[e.free[n-1]]
		e.free = e.free[:n-1]
	case len(e.conns) > e.maxFlows:
		c = e.giveUp()
	default:
		c = &conn{engine: e, handle: uint32(len(e.conns))}
		e.conns = append(e.conns, c)
	}
	handle := c.handle
	*c = conn{} // then field by field: a whole one is made beside it and copied, for which the processor waits
	c.engine, c.handle, c.tag, c.guessed, c.swapped = e, handle, t, p.Guessed, p.Side != p.Dir
	f := &c.flow
	f.ID, f.VLAN, f.Transport, f.Time, f.Packet, f.engine, f.name = p.FlowID, p.VLAN, p.Proto, p.Time, p.Number, e, t.name
	f.Client, f.Server = p.endpoints()
	t.handle = c.handle
	return c
}

// giveUp closes an open conn, going round through all of them.
func (e *Engine) giveUp() *conn {
	e.hand = e.hand%(len(e.conns)-1) + 1
	c := e.conns[e.hand]
	e.counts.GivenUp++
	e.shut(c)
	e.free = e.free[:len(e.free)-1]
	return c
}

// shut gives a conn's parser what still waits for bytes that did not come, and releases the conn.
func (e *Engine) shut(c *conn) {
	if c.flow.Transport == protoTCP {
		e.streams.End(&c.stream)
	}
	e.release(c)
}

// release closes a conn: its flow keeps the name, all memory is given back.
func (e *Engine) release(c *conn) {
	e.dropHead(c, Client)
	e.dropHead(c, Server)
	c.closeParser()
	c.tag.name, c.tag.handle, c.tag.over = c.flow.name, 0, true
	c.tag = nil
	e.free = append(e.free, c.handle)
}

func (c *conn) closeParser() {
	defer c.survive()
	pool := &c.engine.parsers
	if closed := c.engine.closed; closed != nil && (c.parser != nil || c.messages != nil) {
		defer closed(&c.flow) // after what the parser still says
	}
	if c.parser != nil {
		c.parser.Close()
		keep(&(*pool)[c.flow.proto-1].stream, c.parser)
		c.parser = nil
	}
	if c.messages != nil {
		c.messages.Close()
		keep(&(*pool)[c.flow.proto-1].datagram, c.messages)
		c.messages = nil
	}
}

// accept starts the parser of the protocol, when somebody asked for it.
func (c *conn) accept(m match) bool {
	e, p := c.engine, &c.engine.protocols[m.protocol]
	c.flow.proto = uint16(m.protocol + 1)
	if c.flow.name == 0 {
		c.flow.name = c.flow.proto
	}
	if e.sinks[m.protocol] == nil {
		return false
	}
	if m.swapped {
		c.swapped = !c.swapped
		c.flow.Client, c.flow.Server = c.flow.Server, c.flow.Client
	}
	idle := &e.parsers[m.protocol]
	if c.flow.Transport == protoUDP {
		c.messages = reuse(&idle.datagram, p.NewDatagram)
		c.messages.Start(&c.flow)
		return true
	}
	if p.NewStream == nil {
		return false
	}
	c.parser = reuse(&idle.stream, p.NewStream)
	c.parser.Start(&c.flow)
	return true
}

// keep puts a parser aside for another flow, unless enough of them wait: what they hold is memory that nobody uses.
func keep[P any](idle *[]P, parser P) {
	if len(*idle) < idleLimit {
		*idle = append(*idle, parser)
	}
}

func reuse[P any](idle *[]P, make func() P) P {
	n := len(*idle)
	if n == 0 {
		return make()
	}
	p := (*idle)[n-1]
	*idle = slices.Delete(*idle, n-1, n)
	return p
}

func (c *conn) datagram(p *Packet) {
	if !c.message(p) {
		c.engine.release(c)
	}
}

func (c *conn) message(p *Packet) (more bool) {
	defer c.survive()
	return c.messages.Datagram(c.role(p.Side), p.Body, int(p.Payload)-len(p.Body)) == Continue && !c.flow.enough
}

// role is the direction that a side's bytes have.
func (c *conn) role(d Dir) Dir {
	if c.swapped {
		return 1 - d
	}
	return d
}

// Data takes the next bytes of a TCP connection.
func (c *conn) Data(d Dir, b []byte, missing int) (more bool) {
	defer c.survive()
	if c.parser != nil {
		return c.feed(d, b, missing)
	}
	return c.look(d, b, missing)
}

func (c *conn) feed(d Dir, b []byte, missing int) bool {
	switch c.parser.Data(c.role(d), b, missing) {
	case Continue:
		return !c.flow.enough
	case Again:
		c.again++
		if c.again < againLimit && !c.flow.enough {
			c.closeParser()
			c.spoken, c.lost, c.judged, c.likely = false, [2]int{}, [2]bool{}, [2]uint16{}
			return true
		}
	}
	return false
}

// look tries to recognise the protocol from what a direction said so far.
func (c *conn) look(d Dir, b []byte, missing int) bool {
	e := c.engine
	if !c.spoken {
		c.spoken, c.first = true, d
	}
	if missing > 0 {
		if len(c.head[d]) > 0 {
			return false // a hole in the first bytes: nothing could be made of what follows
		}
		c.lost[d] += missing
	}
	if len(b) == 0 {
		return true
	}
	said, more := b, b[len(b):]
	if c.head[d] != nil {
		fits := min(len(b), headLimit-len(c.head[d]))
		said, more = append(c.head[d], b[:fits]...), b[fits:]
		c.head[d] = said
	}
	if !c.judged[d] {
		m := e.tcp.match(c.role(d), said, sides{[2]uint16{c.flow.Client.Port(), c.flow.Server.Port()}, c.guessed})
		switch {
		case m.verdict == Sure, m.verdict == Likely && c.likely[1-d] == uint16(m.protocol+1):
			return c.accept(m) && c.replay(d, said, more)
		case m.verdict == Likely:
			c.likely[d] = uint16(m.protocol + 1)
		}
		c.judged[d] = m.verdict != More
	}
	if c.judged[0] && c.judged[1] || len(said) >= headLimit {
		return false
	}
	return c.head[d] != nil || e.keepHead(c, d, b)
}

// replay gives the parser what was said before it was known which one it is; direction d said the last of it, and more.
func (c *conn) replay(d Dir, said, more []byte) bool {
	heads := c.head
	heads[d] = said
	for _, dir := range [2]Dir{c.first, 1 - c.first} {
		if len(heads[dir]) > 0 && (c.parser == nil || !c.feed(dir, heads[dir], c.lost[dir])) {
			return false
		}
	}
	c.engine.dropHead(c, Client)
	c.engine.dropHead(c, Server)
	return len(more) == 0 || c.Data(d, more, 0)
}

// keepHead copies the first bytes of a direction. Most are few; the room for more comes when there are more.
func (e *Engine) keepHead(c *conn, d Dir, b []byte) bool {
	if e.headsUsed >= headsLimit {
		e.counts.GivenUp++
		return false
	}
	e.headsUsed++
	var room []byte
	switch n := len(e.heads); {
	case len(b) > headRoom:
	case n > 0:
		room, e.heads = e.heads[n-1], e.heads[:n-1]
	default:
		room = make([]byte, 0, headRoom)
	}
	c.head[d] = append(room, b...)
	return true
}

func (e *Engine) dropHead(c *conn, d Dir) {
	if c.head[d] == nil {
		return
	}
	if cap(c.head[d]) == headRoom {
		e.heads = append(e.heads, c.head[d][:0])
	}
	c.head[d] = nil
	e.headsUsed--
}
