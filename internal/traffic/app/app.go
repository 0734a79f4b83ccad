package app

import (
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/stream"
)

// Dir is a direction of a flow.
type Dir = stream.Dir

// The directions.
const (
	Client = stream.Client // from the client
	Server = stream.Server // from the server
)

// Verdict is what a recogniser makes of first bytes.
type Verdict uint8

// The verdicts.
const (
	No     Verdict = iota
	More           // too few bytes to tell
	Likely         // fits, but so might others: a port or the other direction must agree
	Sure
)

// Recognise judges the first bytes of a direction, or one datagram. There is at least one byte.
type Recognise func(d Dir, b []byte) Verdict

// Protocol is what the engine knows of an application protocol.
type Protocol struct {
	Name string // as flows carry it: lower case, letters, digits and dashes
	// Ports that are usual for it. They choose among protocols that are Likely, and decide nothing alone.
	Ports []uint16
	// First, when set, holds every first byte that a message of it can begin with.
	First string

	Stream   Recognise // nil when it does not run over TCP, or only Expect can tell
	Datagram Recognise // nil when it does not run over UDP

	NewStream   func() StreamParser   // nil when it is only recognised
	NewDatagram func() DatagramParser // nil when it is only recognised
}

// Next is what a parser wants after a call.
type Next uint8

// The wishes.
const (
	Continue Next = iota // more of the flow
	Done                 // nothing more: all is known, or nothing can be made of it
	Again                // what comes after this call is another protocol, to be recognised from its first byte (STARTTLS, CONNECT)
)

// StreamParser reads the bytes of a TCP connection. Close comes last, also after Done; then Start may come again.
type StreamParser interface {
	Start(*Flow)
	// Data gets the next bytes of a direction, valid during the call; missing bytes were lost before them.
	Data(d Dir, b []byte, missing int) Next
	Close()
}

// DatagramParser reads the datagrams of a UDP flow.
type DatagramParser interface {
	Start(*Flow)
	// Datagram gets the payload of one packet, valid during the call; the capture cut cut bytes off its end.
	Datagram(d Dir, b []byte, cut int) Next
	Close()
}

// Fact is one thing that a parser learned. It and all it points to are valid during the call only.
type Fact struct {
	Protocol string // the Protocol's name
	Flow     *Flow
	Dir      Dir // of the message
	Body     any // a pointer to one of the protocol's structs
}

// Field is a name with its value, as heads of messages have them.
type Field struct{ Name, Value string }

// Flow is the flow that a parser reads.
type Flow struct {
	ID             uint64 // as in sdk.Flow
	Client, Server netip.AddrPort
	VLAN           uint16
	Transport      uint8 // 6 or 17
	Middle         bool  // the beginning of the TCP connection was not seen
	// Time and Packet are those of the packet that is being read, in nanoseconds since 1970 and by number in the capture.
	Time   int64
	Packet uint64
	// Taken is for whoever takes the facts, to count those of this flow. The engine only sets it to zero for a new one.
	Taken [maxKinds]uint16

	engine *Engine
	proto  uint16 // 1 + index of its protocol
	name   uint16 // in engine.names
	facts  uint32
	enough bool
	about  any
}

// maxKinds is how many kinds of facts can be counted in a flow.
const maxKinds = 12

// Enough tells that nobody wants to know more of the flow: after this packet it is read no further.
func (f *Flow) Enough() { f.enough = true }

// Protocol is the name of the protocol whose parser reads the flow.
func (f *Flow) Protocol() string { return f.engine.protocols[f.proto-1].Name }

// maxFacts bounds what one flow may say; a million DNS answers in one flow are no more useful than the first ones.
const maxFacts = 100_000

// Emit hands a fact to whoever asked for the protocol.
func (f *Flow) Emit(d Dir, body any) {
	e := f.engine
	if f.facts >= maxFacts {
		e.counts.FactsDropped++
		return
	}
	f.facts++
	e.counts.Facts++
	f.Part(d, body)
}

// Part is Emit for the parts of one thing, of which there may be any number: a body that is handed out as it comes.
func (f *Flow) Part(d Dir, body any) {
	e := f.engine
	e.fact.Protocol, e.fact.Flow, e.fact.Dir, e.fact.Body = f.Protocol(), f, d, body
	e.sinks[f.proto-1](&e.fact)
	e.fact.Flow, e.fact.Body = nil, nil
}

// Cut counts bytes or entries that a parser left out for a limit of its own.
func (f *Flow) Cut(n int) { f.engine.counts.Cut += uint64(n) }

// Rename names what runs inside of the recognised protocol, as grpc in http2. The flow carries the new name.
func (f *Flow) Rename(name string) { f.name = f.engine.nameOf(name) }

// Counts of an engine.
type Counts struct {
	Facts        uint64
	FactsDropped uint64 // beyond what one flow may say
	Cut          uint64 // bytes and entries that parsers left out for their limits
	GivenUp      uint64 // flows that were not read to their end because too many were open
	Panics       uint64 // flows that were not read to their end because a parser broke
	Stream       stream.Counts
}

// TestFlow returns a flow that belongs to no table, to drive a parser alone in a test.
func TestFlow(p Protocol, transport uint8, emit func(*Fact)) *Flow {
	e := New(Config{Facts: map[string]func(*Fact){p.Name: emit}}, []Protocol{p})
	return &Flow{ID: 1, Transport: transport, engine: e, proto: 1, name: 1}
}
