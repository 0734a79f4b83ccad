// Package iec104 reads IEC 60870-5-104 over TCP: the control of a connection, and of application data the type, cause and
// addresses of objects, with the value of commands. Measured values are not read, nor the contents of files.
package iec104

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// IEC104 is the protocol.
var IEC104 = app.Protocol{Name: "iec104", Ports: []uint16{2404}, First: "\x68", Stream: recognise, NewStream: newStream}

// Control is the fact of a message that starts, stops or tests the transfer of data.
type Control struct {
	Name    string // start, stop or test
	Confirm bool
	Action  ot.Action
}

// Message is the fact: application data.
type Message struct {
	Send, Receive uint16 // numbers of the message and of the next one that is awaited
	Type          uint8
	Name          string // of the type
	Action        ot.Action
	Cause         uint8 // 3 spontaneous, 6 activation, 7 its confirmation, 10 its end, 20 interrogated, 44 to 47 unknown type, cause, station, object
	Negative      bool  // the answer is no
	Test          bool
	Originator    uint8
	Station       uint16 // common address
	Count         uint8  // of objects
	Objects       []uint32
	Value         []byte // of a command to one object, as sent
	Damaged       bool
}

const (
	start      = 0x68
	controls   = 4 // bytes that count the messages
	headerSize = 2 + controls
	dataHeader = 6
	shortest   = controls + dataHeader
	longest    = 253
)

func size(b []byte) int {
	switch {
	case b[0] != start || len(b) > 1 && (b[1] < controls || b[1] > longest):
		return -1
	case len(b) < headerSize:
		return 0
	case b[2]&1 == 0 && (b[4]&1 != 0 || b[1] < shortest), // data
		b[2]&3 == 1 && (b[2] != 1 || b[3] != 0 || b[4]&1 != 0 || b[1] != controls),                        // an acknowledgement
		b[2]&3 == 3 && (controlNames[b[2]] == "" || string(b[3:6]) != "\x00\x00\x00" || b[1] != controls): // of the connection
		return -1
	}
	return 2 + int(b[1])
}

// controlNames by their first byte. The bit above that of a request is its confirmation.
var controlNames = map[byte]string{0x07: "start", 0x0b: "start", 0x13: "stop", 0x23: "stop", 0x43: "test", 0x83: "test"}

func recognise(_ app.Dir, b []byte) app.Verdict {
	n := size(b)
	switch {
	case n < 0:
		return app.No
	case n == 0 || len(b) < n && len(b) < headerSize+dataHeader:
		return app.More
	case b[2]&1 != 0:
		return app.Sure
	}
	var m Message
	if m.read(nil, b[:min(n, len(b))]); m.Name == "" || m.Cause == 0 || m.Cause > 47 || m.Count == 0 {
		return app.No
	}
	if m.Damaged && len(b) >= n {
		return app.Likely
	}
	return app.Sure
}

func newStream() app.StreamParser {
	m := &Message{}
	p := app.NewFramed(size, 2+longest)
	p.Read = func(f *app.Flow, d app.Dir, b []byte, _ int) app.Next {
		switch {
		case b[2]&1 == 0:
			m.read(f, b)
			f.Emit(d, m)
		case b[2]&3 == 3:
			f.Emit(d, control(b[2]))
		}
		return app.Continue
	}
	return p
}

func control(b byte) *Control {
	const confirmations = 0x08 | 0x20 | 0x80
	c := &Control{Name: controlNames[b], Confirm: b&confirmations != 0}
	switch c.Name {
	case "start":
		c.Action = ot.Connect
	case "stop":
		c.Action = ot.Stop
	}
	return c
}

// read reads application data; f may be nil.
func (m *Message) read(f *app.Flow, b []byte) {
	const many, negative, test, address = 0x80, 0x40, 0x80, 3
	*m = Message{Send: binary.LittleEndian.Uint16(b[2:]) >> 1, Receive: binary.LittleEndian.Uint16(b[4:]) >> 1, Objects: m.Objects[:0]}
	b = b[headerSize:]
	t := types[b[0]]
	m.Type, m.Name, m.Action, m.Count = b[0], t.name, t.action, b[1]&^many
	m.Cause, m.Negative, m.Test, m.Originator = b[2]&0x3f, b[2]&negative != 0, b[2]&test != 0, b[3]
	m.Station = binary.LittleEndian.Uint16(b[4:])
	sequence := b[1]&many != 0
	b = b[dataHeader:]
	if t.name == "" {
		return
	}
	if t.size < 0 { // a length of its own: one object
		if len(b) < address {
			m.Damaged = true
			return
		}
		m.object(b)
		return
	}
	for i := range uint32(m.Count) {
		if sequence && i > 0 {
			if len(b) < t.size {
				m.Damaged = true
				return
			}
			m.Objects = append(m.Objects, m.Objects[0]+i)
			b = b[t.size:]
			continue
		}
		if len(b) < address+t.size {
			m.Damaged = true
			return
		}
		m.object(b)
		if m.Count == 1 && m.Action != ot.Other && t.size > 0 {
			m.Value = b[address:][:t.size]
		}
		b = b[address+t.size:]
	}
	if len(b) > 0 {
		m.Damaged = true
		if f != nil {
			f.Cut(len(b))
		}
	}
}

func (m *Message) object(b []byte) {
	m.Objects = append(m.Objects, uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16)
}
