// Package modbus reads Modbus over TCP (Modbus Messaging on TCP/IP 1.0b, Application Protocol 1.1b3). Register values are
// counted and handed out as bytes; what they mean only the plant knows.
package modbus

import (
	"encoding/binary"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Modbus is the protocol.
var Modbus = app.Protocol{
	Name: "modbus", Ports: []uint16{502}, Stream: recognise, NewStream: func() app.StreamParser { return newParser() },
}

// Message is the fact: a request or a response.
type Message struct {
	Transaction uint16
	Unit        uint8
	Function    uint8 // without the bit that marks an exception
	Response    bool
	Exception   uint8 // why the request failed, 0 when it did not

	// Of requests that name a range, and of responses that repeat it.
	Address  uint16
	Quantity uint16 // coils or registers
	Write    bool   // the function changes something

	Data    []byte   // what is read or written, as sent
	Objects []Object // of the device identification, function 43
}

// Object is one part of a device's identification: 0 vendor, 1 product code, 2 revision, 4 product name.
type Object struct {
	ID    uint8
	Value string
}

// Functions.
const (
	readCoils           = 1
	readDiscrete        = 2
	readHolding         = 3
	readInput           = 4
	writeCoil           = 5
	writeRegister       = 6
	writeCoils          = 15
	writeRegisters      = 16
	writeFile           = 21
	maskWrite           = 22
	readWriteRegisters  = 23
	encapsulated        = 43
	deviceID            = 14 // in encapsulated
	exceptionBit        = 0x80
	headerSize          = 8 // with unit and function
	maxLength           = 254
	lengthOffset        = 4
	maxObjects          = 32
	deviceIDHeaderBytes = 6
)

func size(b []byte) int {
	if len(b) < headerSize {
		return 0
	}
	n := int(binary.BigEndian.Uint16(b[lengthOffset:]))
	if b[2] != 0 || b[3] != 0 || n < 2 || n > maxLength {
		return -1
	}
	return 6 + n
}

// recognise wants a header that fits and a body that has the length of its function: zeros in the right places are common.
func recognise(d app.Dir, b []byte) app.Verdict {
	n := size(b)
	switch {
	case n < 0, n == 0 && len(b) > 3 && (b[2] != 0 || b[3] != 0):
		return app.No
	case n == 0 || len(b) < n:
		return app.More
	}
	function, body := b[7], n-headerSize
	if function&exceptionBit != 0 {
		return likelyIf(d == app.Server && body == 1 && b[8] >= 1 && b[8] <= 11)
	}
	if want, known := bodySize(d, function, b[headerSize:min(n, len(b))]); known {
		if want != body {
			return app.No
		}
		return app.Sure
	}
	return likelyIf(function > 0)
}

func likelyIf(yes bool) app.Verdict {
	if yes {
		return app.Likely
	}
	return app.No
}

// bodySize is how long the body of the common functions is.
func bodySize(d app.Dir, function uint8, b []byte) (n int, known bool) {
	counted := func(at int) (int, bool) {
		if len(b) <= at {
			return -1, true
		}
		return at + 1 + int(b[at]), true
	}
	switch function {
	case readCoils, readDiscrete, readHolding, readInput:
		if d == app.Server {
			return counted(0)
		}
		return 4, true
	case writeCoil, writeRegister:
		return 4, true
	case writeCoils, writeRegisters:
		if d == app.Client {
			return counted(4)
		}
		return 4, true
	case maskWrite:
		return 6, true
	}
	return 0, false
}

type parser struct {
	flow   *app.Flow
	frames [2]app.Frames
	msg    Message
}

func newParser() *parser {
	p := &parser{}
	for d := range p.frames {
		p.frames[d] = app.Frames{Size: size, Max: 6 + maxLength}
	}
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow = f
	for d := range p.frames {
		p.frames[d].Reset()
	}
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads messages. After a hole it goes on with the next segment, as each holds whole messages nearly always.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	f := &p.frames[d]
	if missing > 0 || f.Bad() {
		f.Reset()
	}
	for {
		msg, rest, _, ok := f.Next(b)
		if !ok {
			return app.Continue
		}
		b = rest
		p.msg.read(d, msg)
		p.flow.Emit(d, &p.msg)
	}
}

func (m *Message) read(d app.Dir, b []byte) {
	*m = Message{
		Transaction: binary.BigEndian.Uint16(b), Unit: b[6], Function: b[7] &^ exceptionBit, Response: d == app.Server,
		Objects: m.Objects[:0],
	}
	body := b[headerSize:]
	switch m.Function {
	case writeCoil, writeRegister, writeCoils, writeRegisters, writeFile, maskWrite, readWriteRegisters:
		m.Write = true
	}
	if b[7]&exceptionBit != 0 {
		if len(body) > 0 {
			m.Exception = body[0]
		}
		return
	}
	if m.Function == encapsulated {
		m.identification(body)
		return
	}
	m.Data = body
	hasRange := m.Write && m.Function != writeFile && (m.Function != readWriteRegisters || !m.Response) ||
		m.Function >= readCoils && m.Function <= readInput && !m.Response
	if !hasRange || len(body) < 4 {
		return
	}
	m.Address, m.Quantity, m.Data = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]), body[4:]
	switch m.Function {
	case writeCoil, writeRegister, maskWrite:
		m.Quantity, m.Data = 1, body[2:]
	case writeCoils, writeRegisters:
		if len(m.Data) > 0 {
			m.Data = m.Data[1:] // behind the count of bytes
		}
	}
}

// identification reads the objects of a response to "read device identification".
func (m *Message) identification(b []byte) {
	m.Data = b
	if !m.Response || len(b) < deviceIDHeaderBytes || b[0] != deviceID {
		return
	}
	for b = b[deviceIDHeaderBytes:]; len(b) >= 2 && int(b[1]) <= len(b)-2 && len(m.Objects) < maxObjects; b = b[2:][b[1]:] {
		m.Objects = append(m.Objects, Object{ID: b[0], Value: strings.ToValidUTF8(string(b[2:][:b[1]]), "\ufffd")})
	}
}
