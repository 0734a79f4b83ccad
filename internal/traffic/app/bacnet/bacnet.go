// Package bacnet reads BACnet/IP (ASHRAE 135, annex J) over UDP: services with the objects and properties they name, short
// values, errors, and what devices say of themselves. Segmented messages are read as far as their first segment goes, and
// BACnet/SC, which runs in TLS, is not.
package bacnet

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// BACnet is the protocol.
var BACnet = app.Protocol{
	Name: "bacnet", Ports: []uint16{47808}, First: "\x81", Datagram: recognise, NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Message is the fact: one message of the application.
type Message struct {
	Kind      uint8 // 0 request, 1 request without an answer, 2 and 3 answers, 5 error, 6 rejected, 7 aborted
	Invoke    uint8 // joins an answer to its request
	Service   uint8
	Name      string // of the service
	Action    ot.Action
	Response  bool
	Network   uint16 // that it comes from when it was routed, else 0
	Broadcast bool

	Properties []Property // that the message names or carries
	State      uint32     // that a device is to go to: of reinitialize 0 coldstart, 1 warmstart; of communication control 0 on, 1 off
	Password   bool       // one was sent, in clear

	ErrorClass, ErrorCode uint32
	Reason                uint8  // of rejected and aborted
	Vendor                uint32 // of "I am", as ASHRAE numbers them
	Damaged               bool
}

// Property is a property of an object.
type Property struct {
	Type     uint16 // of the object: 8 is the device itself
	Instance uint32
	ID       uint32 // 70 model name, 44 firmware revision, 121 vendor name, 77 object name, 12 software version, 85 present value
	Named    bool   // ID is set
	Value    string // its first one, when it is short
}

// Admin is the fact of a message that changes or lists how broadcasts and networks are routed.
type Admin struct {
	Routing  bool   // of networks (NPDU), else of broadcasts (BVLC)
	Code     uint8  // function or message type
	Name     string // known ones only
	Action   ot.Action
	Response bool
}

// Limits.
const (
	maxProperties = 64
	maxValue      = 128 // bytes of a text
)

const (
	headerSize   = 4
	forwarded    = 4
	broadcast    = 0x0b
	lastFunction = 0x0c
)

// recognise wants the mark, a function that exists and a length that is the datagram's; some programs get the length wrong.
func recognise(_ app.Dir, b []byte) app.Verdict {
	const mark, networkVersion = 0x81, 1
	if len(b) < headerSize || b[0] != mark || b[1] > lastFunction {
		return app.No
	}
	if int(binary.BigEndian.Uint16(b[2:])) == len(b) {
		return app.Sure
	}
	if _, alone := functions[b[1]]; !alone && b[1] != forwarded && len(b) > headerSize+2 && b[2] == 0 && b[headerSize] == networkVersion {
		return app.Likely
	}
	return app.No
}

type parser struct {
	flow *app.Flow
	msg  Message
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) { p.flow = f }

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

var (
	functions = map[uint8]Admin{
		0x00: {Name: "result", Response: true}, 0x01: {Name: "write broadcast table", Action: ot.Write}, 0x02: {Name: "read broadcast table", Action: ot.Read},
		0x03: {Name: "read broadcast table", Action: ot.Read, Response: true}, 0x05: {Name: "register foreign device", Action: ot.Connect},
		0x06: {Name: "read foreign devices", Action: ot.Discover}, 0x07: {Name: "read foreign devices", Action: ot.Discover, Response: true},
		0x08: {Name: "delete foreign device", Action: ot.Write}, 0x0c: {Name: "secured"},
	}
	networkMessages = map[uint8]Admin{
		0x00: {Name: "who is router to network", Action: ot.Discover}, 0x01: {Name: "I am router to network", Action: ot.Discover, Response: true},
		0x02: {Name: "I could be router to network"}, 0x03: {Name: "reject message to network"}, 0x04: {Name: "router busy to network"}, 0x05: {Name: "router available to network"},
		0x06: {Name: "initialize routing table", Action: ot.Write}, 0x07: {Name: "initialize routing table", Action: ot.Write, Response: true},
		0x08: {Name: "establish connection to network", Action: ot.Connect}, 0x09: {Name: "disconnect connection to network", Action: ot.Connect},
		0x12: {Name: "what is network number", Action: ot.Discover}, 0x13: {Name: "network number is", Action: ot.Discover, Response: true},
	}
)

// Datagram reads a message.
func (p *parser) Datagram(d app.Dir, b []byte, _ int) app.Next {
	const address = 6
	if len(b) < headerSize {
		return app.Continue
	}
	function, b := b[1], b[headerSize:]
	if about, known := functions[function]; known {
		about.Code = function
		p.flow.Emit(d, &about)
		return app.Continue
	}
	if function == forwarded {
		b = b[min(address, len(b)):]
	}
	p.msg = Message{Broadcast: function == broadcast || function == forwarded, Properties: p.msg.Properties[:0]}
	if b = p.network(d, b); len(b) > 0 && p.msg.read(p.flow, b) {
		p.flow.Emit(d, &p.msg)
	}
	return app.Continue
}

// network reads the header of the network layer and returns what it carries for the application.
func (p *parser) network(d app.Dir, b []byte) []byte {
	const version, message, destination, source = 1, 0x80, 0x20, 0x08
	if len(b) < 2 || b[0] != version {
		return nil
	}
	control, b := b[1], b[2:]
	if control&destination != 0 {
		if _, b = station(b); b == nil {
			return nil
		}
	}
	if control&source != 0 {
		if p.msg.Network, b = station(b); b == nil {
			return nil
		}
	}
	if control&destination != 0 { // a count of hops
		if len(b) == 0 {
			return nil
		}
		b = b[1:]
	}
	if control&message == 0 || len(b) == 0 {
		return b
	}
	about := networkMessages[b[0]]
	about.Code, about.Routing = b[0], true
	p.flow.Emit(d, &about)
	return nil
}

// station takes a network's number and an address off; nil when they do not fit.
func station(b []byte) (network uint16, rest []byte) {
	if len(b) < 3 || int(b[2]) > len(b)-3 {
		return 0, nil
	}
	return binary.BigEndian.Uint16(b), b[3:][b[2]:]
}
