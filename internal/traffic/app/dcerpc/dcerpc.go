// Package dcerpc reads remote procedure calls of Windows (DCE 1.1: RPC, [MS-RPCE]) over TCP and in the named pipes of SMB: to
// which interface a client binds, which of its operations it calls, and what fails. An operation is told once for each
// connection or pipe, however often it is called; what a call carries is not read, and may be encrypted.
package dcerpc

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// DCERPC is the protocol over TCP. Package smb reads the pipes.
var DCERPC = app.Protocol{
	Name: "dcerpc", Ports: []uint16{135}, First: "\x05", Stream: recognise, NewStream: func() app.StreamParser { return newStream() },
}

// Types of messages.
const (
	Request       = 0
	response      = 2
	Fault         = 3
	Bind          = 11
	bindAccepted  = 12
	BindRefused   = 13
	AlterContext  = 14
	lastType      = 19
	headerSize    = 16
	requestHeader = 24
	callAt        = 12
)

// Message is the fact: a client binds to an interface or calls an operation, or that fails.
type Message struct {
	Type      uint8
	Interface string // its UUID; "" when the connection was not seen from its beginning
	Operation uint16 // of calls and what came of them; which number does what is the interface's business
	Pipe      string // of SMB that carries it
	Auth      uint8  // how a client that binds proves who it is: 9 is SPNEGO, 10 NTLM, 16 Kerberos
	Level     uint8  // what that proof protects, 6 is everything
	Status    uint32 // why it failed
}

// Limits.
const (
	maxMessage    = 4 << 10 // bytes that are looked at
	maxInterfaces = 32      // that a client may be bound to at a time
	maxAsked      = 8       // calls that are remembered for their answers
	maxOperations = 64      // from 0, that are told once each; those beyond are one
)

// Type is the type of the message that begins with b, and whether one does.
func Type(b []byte) (kind uint8, ok bool) {
	const littleEndian = 0x10
	if len(b) < headerSize || b[0] != 5 || b[1] > 1 || b[2] > lastType || b[4] != littleEndian || b[5]|b[6]|b[7] != 0 {
		return 0, false
	}
	return b[2], binary.LittleEndian.Uint16(b[8:]) >= headerSize
}

// begins is what a direction may begin with, also where the beginning was not captured.
var begins = [...][]byte{app.Client: {Bind, Request}, app.Server: {bindAccepted, BindRefused, response}}

func recognise(d app.Dir, b []byte) app.Verdict {
	for i, may := range [...][]byte{{5}, {0, 1}, begins[d]} {
		if i < len(b) && !slices.Contains(may, b[i]) {
			return app.No
		}
	}
	if len(b) < headerSize {
		return app.More
	}
	if _, ok := Type(b); !ok {
		return app.No
	}
	return app.Sure
}

func size(b []byte) int {
	if len(b) < headerSize {
		if len(b) > 0 && b[0] != 5 {
			return -1
		}
		return 0
	}
	if _, ok := Type(b); !ok {
		return -1
	}
	return int(binary.LittleEndian.Uint16(b[8:]))
}

type stream struct {
	*app.Framed
	calls Calls
}

func newStream() *stream {
	s := &stream{Framed: app.NewFramed(size, maxMessage)}
	s.Read = func(f *app.Flow, d app.Dir, msg []byte, _ int) app.Next {
		s.calls.Read(f, d, msg)
		return app.Continue
	}
	return s
}

// Start readies the parser.
func (s *stream) Start(f *app.Flow) {
	s.calls.Reset("")
	s.Framed.Start(f)
}

// Calls follows one connection or pipe.
type Calls struct {
	bound []bound
	msg   Message
	// asked are the last calls, in a circle, for what fails is told by its number.
	asked [maxAsked]asked
	next  int
}

// asked is a call that may be answered.
type asked struct {
	call               uint32
	context, operation uint16
	known              bool
}

// bound is an interface by the number that the client chose for it.
type bound struct {
	context uint16
	uuid    string
	called  uint64 // the operations that were told
}

// Reset readies it for the next one, and says by which pipe it comes.
func (c *Calls) Reset(pipe string) { *c = Calls{bound: c.bound[:0], msg: Message{Pipe: pipe}} }

// Read reads a message, whose end may be cut off.
func (c *Calls) Read(f *app.Flow, d app.Dir, b []byte) {
	kind, ok := Type(b)
	if !ok {
		return
	}
	switch {
	case d == app.Client && (kind == Bind || kind == AlterContext):
		c.bind(f, kind, b)
	case d == app.Client && kind == Request && len(b) >= requestHeader:
		c.call(f, binary.LittleEndian.Uint32(b[callAt:]), binary.LittleEndian.Uint16(b[20:]), binary.LittleEndian.Uint16(b[22:]))
	case d == app.Server && kind == Fault && len(b) >= requestHeader+4:
		c.fail(f, binary.LittleEndian.Uint32(b[callAt:]), binary.LittleEndian.Uint16(b[20:]), binary.LittleEndian.Uint32(b[24:]))
	case d == app.Server && kind == BindRefused && len(b) >= headerSize+2:
		c.emit(f, d, Message{Type: kind, Status: uint32(binary.LittleEndian.Uint16(b[headerSize:]))})
	}
}

func (c *Calls) emit(f *app.Flow, d app.Dir, m Message) {
	m.Pipe = c.msg.Pipe
	c.msg = m
	f.Emit(d, &c.msg)
}

const uuidSize = 16

// bind reads the interfaces that a client wants, each with the syntaxes in which it can speak.
func (c *Calls) bind(f *app.Flow, kind uint8, b []byte) {
	const listAt, entry, syntax = 28, 24, 20
	if len(b) < listAt {
		return
	}
	auth, level := proof(b)
	rest := b[listAt:]
	for n := b[listAt-4]; n > 0 && len(rest) >= entry; n-- {
		context, syntaxes := binary.LittleEndian.Uint16(rest), int(rest[2])
		uuid := rest[4 : 4+uuidSize]
		if rest = rest[entry:]; syntaxes*syntax > len(rest) {
			syntaxes = len(rest) / syntax
		}
		rest = rest[syntaxes*syntax:]
		name := text(uuid)
		if known := c.knows(name); c.put(context, name) && !known { // a client offers each interface in several syntaxes
			c.emit(f, app.Client, Message{Type: kind, Interface: name, Auth: auth, Level: level})
		}
	}
}

// proof finds how the client proves who it is, behind the rest of the message.
func proof(b []byte) (auth, level uint8) {
	const trailer = 8
	length, size := int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[10:]))
	at := length - size - trailer
	if size == 0 || at < headerSize || at+2 > len(b) {
		return 0, 0
	}
	return b[at], b[at+1]
}

// put remembers an interface; false when that is known or there is no room.
func (c *Calls) put(context uint16, uuid string) bool {
	for i := range c.bound {
		if c.bound[i].context == context {
			if c.bound[i].uuid == uuid {
				return false
			}
			c.bound[i] = bound{context: context, uuid: uuid}
			return true
		}
	}
	if len(c.bound) >= maxInterfaces {
		return false
	}
	c.bound = append(c.bound, bound{context: context, uuid: uuid})
	return true
}

func (c *Calls) knows(uuid string) bool {
	return slices.ContainsFunc(c.bound, func(b bound) bool { return b.uuid == uuid })
}

func (c *Calls) of(context uint16) *bound {
	for i := range c.bound {
		if c.bound[i].context == context {
			return &c.bound[i]
		}
	}
	return nil
}

func (c *Calls) call(f *app.Flow, call uint32, context, operation uint16) {
	c.asked[c.next] = asked{call, context, operation, true}
	c.next = (c.next + 1) % maxAsked
	to := c.of(context)
	if to == nil {
		if !c.put(context, "") {
			return
		}
		to = c.of(context)
	}
	bit := uint64(1) << min(operation, maxOperations-1)
	if to.called&bit != 0 {
		return
	}
	to.called |= bit
	c.emit(f, app.Client, Message{Type: Request, Interface: to.uuid, Operation: operation})
}

// fail tells of a call that failed: its operation is that of the call with the same number, and not known when that was not seen.
func (c *Calls) fail(f *app.Flow, call uint32, context uint16, status uint32) {
	m := Message{Type: Fault, Status: status}
	if to := c.of(context); to != nil {
		m.Interface = to.uuid
	}
	for i := 1; i <= maxAsked; i++ { // the latest first
		if a := &c.asked[(c.next+maxAsked-i)%maxAsked]; a.known && a.call == call && a.context == context {
			m.Operation = a.operation
			break
		}
	}
	c.emit(f, app.Server, m)
}

// text is a UUID as it is written, of which the first three parts come in the order of the machine.
func text(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:uuidSize])
}
