package app

import (
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/stream"
)

// Limits of recognition.
const (
	headLimit   = 4 << 10 // bytes of each direction of a TCP connection
	packetLimit = 6       // datagrams of a UDP flow
	againLimit  = 4       // protocols after one another in a connection
	headRoom    = 512     // bytes that the buffer of a direction begins with
	headsLimit  = 4096    // such buffers, in all
	idleLimit   = 256     // parsers of a protocol that wait for a flow
)

// Config of an engine; the zero value recognises and runs no parser.
type Config struct {
	Stream stream.Config
	// MaxFlows bounds how many flows are read at once, by parsers or to recognise TCP; default 32768. Beyond it, one that
	// was begun earlier is given up.
	MaxFlows int
	// Facts, by name of a protocol, gets what its parser learns. Only these parsers run.
	Facts map[string]func(*Fact)
	// Closed, when set, is told that a flow's parser will learn nothing more. A flow may have several, one after the other.
	Closed func(*Flow)
	// Ended, when set, is told the protocol of each flow as it closes, "" for an unknown one.
	Ended func(flow uint64, name string)
	// Open, when set, is told of flows that go on for long and have carried much, now and then.
	Open func(*OpenFlow)
}

// Engine follows all flows. It is not safe for concurrent use.
type Engine struct {
	protocols []Protocol
	sinks     []func(*Fact) // by protocol; nil when nobody asked
	names     []string      // [0] stands for unknown, then the protocols, then what parsers renamed to
	flows     []uint64      // closed flows by name
	streams   *stream.Assembler
	tcp, udp  matcher
	conns     []*conn // by handle, from 1
	free      []uint32
	hand      int // where the search for a flow to give up goes on
	maxFlows  int
	heads     [][]byte
	headsUsed int
	parsers   []idleParsers // to use again, by protocol
	fact      Fact
	counts    Counts
	panics    []Panic
	closed    func(*Flow)
	ended     func(uint64, string)
	open      func(*OpenFlow)
	expected  map[meeting]expectation
	announced []meeting // the keys of expected, the oldest first
}

type idleParsers struct {
	stream   []StreamParser
	datagram []DatagramParser
}

// New returns an engine for the protocols, the more specific ones first.
func New(cfg Config, protocols []Protocol) *Engine {
	if cfg.MaxFlows <= 0 {
		cfg.MaxFlows = 1 << 15
	}
	e := &Engine{
		protocols: protocols, sinks: make([]func(*Fact), len(protocols)), names: []string{""},
		streams: stream.New(cfg.Stream), conns: make([]*conn, 1), maxFlows: cfg.MaxFlows,
		parsers: make([]idleParsers, len(protocols)), closed: cfg.Closed, ended: cfg.Ended, open: cfg.Open,
	}
	for i := range protocols {
		p := &protocols[i]
		e.names = append(e.names, p.Name)
		e.sinks[i] = cfg.Facts[p.Name]
		e.tcp.add(i, p, p.Stream)
		e.udp.add(i, p, p.Datagram)
	}
	e.flows = make([]uint64, len(e.names))
	return e
}

func (e *Engine) nameOf(name string) uint16 {
	i := slices.Index(e.names, name)
	if i < 0 {
		i = len(e.names)
		e.names = append(e.names, name)
		e.flows = append(e.flows, 0)
	}
	return uint16(i)
}

// Tag is what a flow remembers for the engine. The zero value is that of a new flow.
type Tag struct {
	start  [2]uint32 // the first byte of each direction of a TCP flow, when seen
	handle uint32    // of its conn, 0 without one
	name   uint16    // of the protocol, 0 while unknown
	likely uint16    // 1 + the protocol that a datagram was likely of
	looked uint8     // datagrams and connections that recognition has seen
	agreed uint8     // directions, as bits, in which it was likely
	known  uint8     // directions, as bits, whose start was seen
	over   bool
}

// Over reports whether the engine wants no more packets of the flow.
func (t *Tag) Over() bool { return t.over }

// Packet is a packet of a flow. The decoded one says the rest.
type Packet struct {
	*decode.Packet
	Time    int64
	Number  uint64
	FlowID  uint64
	Dir     Dir
	Guessed bool // Dir is a guess, and may be another one for later packets
	Side    Dir  // the same for all packets of one direction
}

const (
	protoTCP = 6
	protoUDP = 17
	flagSYN  = 1 << 1
)

// Packet takes the next packet of a flow that is not over.
func (e *Engine) Packet(t *Tag, p *Packet) {
	switch {
	case p.Short:
	case p.Proto == protoTCP:
		e.tcpPacket(t, p)
	case p.Proto != protoUDP:
		t.over = true
	case len(p.Body) > 0:
		e.datagram(t, p)
	}
}

func (e *Engine) tcpPacket(t *Tag, p *Packet) {
	if t.handle == 0 {
		if p.Flags&flagSYN != 0 {
			t.start[p.Side] = p.Seq + 1
			t.known |= 1 << p.Side
		}
		if p.Payload == 0 {
			return
		}
		t.looked = 1
		e.begin(t, p)
	}
	c := e.conns[t.handle]
	c.flow.Time, c.flow.Packet = p.Time, p.Number
	s := stream.Segment{Seq: p.Seq, Ack: p.Ack, Flags: p.Flags, Body: p.Body, Length: p.Payload}
	e.streams.Add(&c.stream, p.Side, &s)
	if c.stream.Closed() {
		e.release(c)
	}
}

// begin opens the conn of a TCP flow.
func (e *Engine) begin(t *Tag, p *Packet) {
	c := e.take(t, p)
	c.stream.Begin(c)
	c.flow.Middle = t.known != 3
	for d := Client; d <= Server; d++ {
		if t.known>>d&1 != 0 {
			c.stream.Expect(d, t.start[d])
		}
	}
	if len(e.expected) > 0 {
		e.meet(c)
	}
}

// datagram recognises a UDP flow, or gives its parser the next payload.
func (e *Engine) datagram(t *Tag, p *Packet) {
	if t.handle != 0 {
		c := e.conns[t.handle]
		c.flow.Time, c.flow.Packet = p.Time, p.Number
		c.datagram(p)
		return
	}
	defer e.survive(t, p)
	t.looked++
	m := e.udp.match(p.Dir, p.Body, sides{[2]uint16{p.SrcPort, p.DstPort}, p.Guessed})
	if m.verdict == Likely {
		if t.likely != uint16(m.protocol+1) {
			t.likely, t.agreed = uint16(m.protocol+1), 0
		}
		t.agreed |= 1 << p.Dir
	}
	if m.verdict != Sure && t.agreed != 3 {
		t.over = t.looked >= packetLimit
		return
	}
	t.name = uint16(m.protocol + 1)
	if e.sinks[m.protocol] == nil || e.protocols[m.protocol].NewDatagram == nil {
		t.over = true
		return
	}
	c := e.take(t, p)
	c.accept(m)
	c.datagram(p)
}

// End tells that a flow, named by its number, is closed. It returns the flow's protocol, "" for an unknown one.
func (e *Engine) End(t *Tag, flow uint64) string {
	if t.handle != 0 {
		e.shut(e.conns[t.handle])
	}
	if t.looked > 0 {
		e.flows[t.name]++
	}
	if e.ended != nil {
		e.ended(flow, e.names[t.name])
	}
	return e.names[t.name]
}

// Name is the protocol of a flow, "" while unknown.
func (e *Engine) Name(t *Tag) string {
	if t.handle != 0 {
		return e.names[e.conns[t.handle].flow.name]
	}
	return e.names[t.name]
}

// Counts returns the counts so far.
func (e *Engine) Counts() Counts {
	c := e.counts
	c.Stream = e.streams.Counts()
	return c
}

// Named is how many flows carried a name; "" stands for unknown.
type Named struct {
	Name  string
	Flows uint64
}

// Flows returns the closed flows that had a payload, by protocol, the most frequent first.
func (e *Engine) Flows() []Named {
	var out []Named
	for i, n := range e.flows {
		if n > 0 {
			out = append(out, Named{e.names[i], n})
		}
	}
	slices.SortStableFunc(out, func(a, b Named) int {
		switch {
		case a.Flows > b.Flows:
			return -1
		case a.Flows < b.Flows:
			return 1
		}
		return 0
	})
	return out
}

// endpoints of the flow of a packet.
func (p *Packet) endpoints() (client, server netip.AddrPort) {
	src, dst := netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), netip.AddrPortFrom(p.DstAddr(), p.DstPort)
	if p.Dir == Server {
		return dst, src
	}
	return src, dst
}
