package s7comm

import (
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// What a message is.
const (
	jobRequest = 1
	answer     = 2
	answerData = 3
	userData   = 7
)

// Functions of jobs.
const (
	readVariables  = 0x04
	writeVariables = 0x05
	download       = 0x1a
	downloadEnded  = 0x1c
	startUpload    = 0x1d
	invocation     = 0x28
	stop           = 0x29
)

type function struct {
	name   string
	action ot.Action
}

var functions = map[uint8]function{
	0x00: {"CPU services", ot.Other}, 0xf0: {"set up communication", ot.Connect},
	readVariables: {"read variables", ot.Read}, writeVariables: {"write variables", ot.Write},
	download: {"request download", ot.Program}, 0x1b: {"download block", ot.Program}, downloadEnded: {"download ended", ot.Program},
	startUpload: {"start upload", ot.Program}, 0x1e: {"upload", ot.Program}, 0x1f: {"end upload", ot.Program},
	invocation: {"program invocation", ot.Start}, stop: {"stop", ot.Stop},
}

// invocations by the name of their service; others start something.
var invocations = map[string]ot.Action{
	"P_PROGRAM": ot.Start, "_INSE": ot.Program, "_DELE": ot.Program, "_GARB": ot.Program, "_MODU": ot.Program,
}

// groups of user data, and what some of their functions do.
var (
	groups = map[uint8]function{
		0: {"mode transition", ot.Other}, 1: {"programmer commands", ot.Program}, 2: {"cyclic data", ot.Read}, 3: {"block functions", ot.Read},
		4: {"CPU functions", ot.Read}, 5: {"security", ot.Connect}, 7: {"time functions", ot.Read},
	}
	subs = map[[2]uint8]function{
		{3, 1}: {"list blocks", ot.Discover}, {3, 2}: {"list blocks of type", ot.Discover}, {3, 3}: {"get block info", ot.Discover},
		{4, 1}: {"read status list", ot.Discover}, {4, 2}: {"message service", ot.Other}, {4, 3}: {"diagnostic message", ot.Other}, {5, 1}: {"password", ot.Connect}, {5, 2}: {"clear session", ot.Connect},
		{7, 1}: {"read clock", ot.Read}, {7, 2}: {"set clock", ot.Write}, {7, 3}: {"read clock", ot.Read}, {7, 4}: {"set clock", ot.Write},
	}
)

// message reads a message; false when it is none.
func (s *parser) message(f *app.Flow, b []byte) bool {
	m := &s.msg
	const header, errorSize = 10, 2
	if len(b) < header {
		return false
	}
	kind := b[1]
	*m = Message{Reference: binary.BigEndian.Uint16(b[4:]), Response: kind == answer || kind == answerData, Items: m.Items[:0]}
	params, data := int(binary.BigEndian.Uint16(b[6:])), b[header:]
	if m.Response {
		if len(data) < errorSize {
			return false
		}
		m.Error, data = binary.BigEndian.Uint16(data), data[errorSize:]
	}
	if params > len(data) {
		return false
	}
	param, data := data[:params], data[params:]
	switch {
	case kind == userData:
		return s.user(f, param, data)
	case len(param) == 0:
		return m.Response // an error alone
	}
	what := functions[param[0]]
	m.Function, m.Name, m.Action = param[0], what.name, what.action
	if kind == jobRequest {
		m.job(f, param)
	}
	return true
}

func (m *Message) job(f *app.Flow, b []byte) {
	switch {
	case m.Function == readVariables || m.Function == writeVariables:
		m.items(f, b)
	case m.Function >= download && m.Function <= startUpload:
		const nameAt = 8
		if len(b) > nameAt && int(b[nameAt]) < len(b)-nameAt {
			m.Block = ot.Text(b[nameAt+1:][:b[nameAt]])
		}
	case m.Function == invocation:
		const blockAt = 8
		if len(b) < blockAt+2 {
			return
		}
		block := int(binary.BigEndian.Uint16(b[blockAt:]))
		if b = b[blockAt+2:]; block >= len(b) {
			return
		}
		b = b[block:]
		if int(b[0]) < len(b) {
			m.Block = ot.Text(b[1:][:b[0]])
			if action, known := invocations[m.Block]; known {
				m.Action = action
			}
		}
	case m.Function == stop:
		const nameAt = 6
		if len(b) > nameAt && int(b[nameAt]) < len(b)-nameAt {
			m.Block = ot.Text(b[nameAt+1:][:b[nameAt]])
		}
	}
}

// items reads what is read or written. Other ways to address memory than by area are stepped over.
func (m *Message) items(f *app.Flow, b []byte) {
	const specification, byArea, length = 0x12, 0x10, 10
	if len(b) < 2 {
		return
	}
	for b = b[2:]; len(b) >= 2 && b[0] == specification && int(b[1]) <= len(b)-2; {
		item := b[2:][:b[1]]
		if b = b[2:][b[1]:]; len(b) > 0 && b[0] == 0 {
			b = b[1:] // fills up to an even length
		}
		if len(item) != length || item[0] != byArea {
			continue
		}
		if len(m.Items) >= maxItems {
			f.Cut(1)
			continue
		}
		m.Items = append(m.Items, Item{
			Type: item[1], Count: binary.BigEndian.Uint16(item[2:]), Block: binary.BigEndian.Uint16(item[4:]), Area: item[6],
			Address: uint32(item[7])<<16 | uint32(item[8])<<8 | uint32(item[9]),
		})
	}
}

// user reads user data: a group of functions and one of it, then an answer's identity.
func (s *parser) user(f *app.Flow, param, data []byte) bool {
	m := &s.msg
	const kindAt, errorAt, shortest, answers = 5, 10, 8, 8
	if len(param) < shortest {
		return false
	}
	m.UserData, m.Function, m.Sub = true, param[kindAt]&0xf, param[kindAt+1]
	m.Response = param[kindAt]>>4 == answers
	if m.Response && len(param) >= errorAt+2 {
		m.Error = binary.BigEndian.Uint16(param[errorAt:])
	}
	what, known := subs[[2]uint8{m.Function, m.Sub}]
	if !known {
		what = groups[m.Function]
	}
	m.Name, m.Action = what.name, what.action
	const cpu, statusList, header, moreAt = 4, 1, 4, 9
	if m.Function != cpu || m.Sub != statusList || len(data) < header {
		return true
	}
	if data = data[header:]; !m.Response {
		if len(data) >= 2 {
			m.List = binary.BigEndian.Uint16(data)
		}
		return true
	}
	if len(s.list)+len(data) > maxMessage {
		f.Cut(len(data))
		data = nil
	}
	s.list = append(s.list, data...)
	if len(param) <= moreAt || param[moreAt] == 0 {
		m.list(s.list)
		s.list = s.list[:0]
	}
	return true
}

// list reads a system status list, which may have come in several answers.
func (m *Message) list(b []byte) {
	const module, component, header = 0x11, 0x1c, 8
	if len(b) < header {
		return
	}
	m.List = binary.BigEndian.Uint16(b)
	width := int(binary.BigEndian.Uint16(b[4:]))
	if width < 4 {
		return
	}
	for b = b[header:]; len(b) >= width; b = b[width:] {
		switch m.List & 0xff {
		case module:
			m.Identity.module(binary.BigEndian.Uint16(b), b[2:width])
		case component:
			m.Identity.component(binary.BigEndian.Uint16(b), b[2:width])
		}
	}
}

// module takes an entry: order number, a type, two words of version.
func (i *Identity) module(index uint16, b []byte) {
	const self, firmware, order, version = 1, 7, 20, 23
	if len(b) < version+3 {
		return
	}
	switch index {
	case self:
		i.OrderNumber = ot.Text(b[:order])
	case firmware:
		i.Firmware = fmt.Sprintf("V%d.%d.%d", b[version], b[version+1], b[version+2])
	}
}

// component takes an entry of names.
func (i *Identity) component(index uint16, b []byte) {
	for at, to := range map[uint16]*string{1: &i.System, 2: &i.Module, 3: &i.Plant, 5: &i.Serial, 7: &i.Type} {
		if at == index {
			*to = ot.Text(b)
		}
	}
}
