// Package smb reads SMB 1 ([MS-CIFS]), 2 and 3 ([MS-SMB2]) over TCP, directly or in NetBIOS sessions: the commands with their
// status, the dialect, who logs on with NTLM, shares and files. The dialects of SMB 1, which are texts, are not read, and of its
// many ways to open a file only the one that Windows uses; what is encrypted or compressed is only counted as such. Contents of
// files are skipped, or those of SMB 2 and 3 handed out (Carving); of what goes through named pipes, remote procedure calls are read (package dcerpc).
package smb

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// SMB is the protocol.
var SMB = protocol(func() app.StreamParser { return newParser() })

func protocol(parser func() app.StreamParser) app.Protocol {
	return app.Protocol{Name: "smb", Ports: []uint16{445, 139}, First: "\x00\x81\x82", Stream: recognise, NewStream: parser}
}

// Command is the fact: one command or its answer.
type Command struct {
	Version   uint8 // 1 or 2 (which is also that of SMB 3)
	Code      uint16
	Response  bool
	Status    uint32 // NTSTATUS, of answers
	MessageID uint64
	SessionID uint64
	TreeID    uint32

	Dialect  uint16   // of the answer to negotiate
	Dialects []uint16 // that the client offers
	Share    string   // of tree connect
	File     string   // of create; of a file that is renamed its new name
	Access   uint32   // that create asks for
	// Who logs on, and from which machine. In an answer: the machine that was asked.
	User, Domain, Host string
	NTLM               uint8 // version of the answer to the challenge, 1 or 2
	Anonymous          bool  // whoever logs on with NTLM proves nothing: the name, if there is one, comes without an answer to the challenge

	Encrypted  bool // nothing but SessionID is known
	Compressed bool // nothing is known
}

// Commands of SMB 2 that are looked into.
const (
	CodeNegotiate    = 0
	CodeSessionSetup = 1
	CodeTreeConnect  = 3
	CodeCreate       = 5
	CodeSetInfo      = 17
)

// Limits.
const (
	maxMessage  = 16 << 10 // bytes that are looked at
	maxCompound = 64       // commands in one message
	maxDialects = 32
	maxText     = 1024 // characters of a name
)

const (
	frameHeader    = 4
	sessionMessage = 0
	sessionRequest = 0x81
	sessionGranted = 0x82
	sessionAlive   = 0x85
	header1        = 32
	header2        = 64
	headerCipher   = 52
)

// kind is the first byte of a message's mark, which ends in "SMB".
func kind(b []byte) byte {
	if len(b) < 4 || string(b[1:4]) != "SMB" {
		return 0
	}
	return b[0]
}

// The kinds of messages.
const (
	kindSMB1     = 0xff
	kindSMB2     = 0xfe
	kindCipher   = 0xfd
	kindCompress = 0xfc
)

func recognise(d app.Dir, b []byte) app.Verdict {
	if len(b) < frameHeader+4 {
		return app.More
	}
	n := length(b)
	switch b[0] {
	case sessionMessage:
		if kind(b[frameHeader:]) >= kindCompress && n >= header1 {
			return app.Sure
		}
	case sessionRequest:
		if d == app.Client && n == 68 && b[frameHeader] == 32 {
			return app.Likely
		}
	}
	return app.No
}

func length(b []byte) int { return int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

func size(b []byte) int {
	switch {
	case len(b) < frameHeader:
		return 0
	case b[0] == sessionMessage || b[0] >= sessionRequest && b[0] <= sessionAlive:
		return frameHeader + length(b)
	}
	return -1
}

type parser struct {
	flow   *app.Flow
	frames [2]app.Frames
	lost   [2]bool
	cmd    Command
	pipes  pipes
	files  *files // nil when nobody wants them
}

func newParser() *parser {
	p := &parser{}
	for d := range p.frames {
		p.frames[d] = app.Frames{Size: size, Max: frameHeader + maxMessage}
	}
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.lost = f, [2]bool{}
	p.pipes.reset()
	if p.files != nil {
		p.files.start(f)
	}
	for d := range p.frames {
		p.frames[d].Reset()
	}
}

// Close ends the flow.
func (p *parser) Close() {
	if p.files != nil {
		p.files.end()
	}
	p.flow = nil
}

// Data reads messages. Where one begins after a hole, only the mark of one at the start of a segment can tell.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	f := &p.frames[d]
	if missing > 0 && !f.Miss(missing) || f.Bad() {
		f.Reset()
		p.lost[d] = true
		if p.files != nil {
			p.files.hole(d)
		}
	}
	if p.lost[d] {
		if len(b) == 0 || recognise(d, b) != app.Sure {
			return app.Continue
		}
		p.lost[d] = false
	}
	for {
		msg, rest, _, ok := f.Next(b)
		if !ok {
			return app.Continue
		}
		b = rest
		if p.files != nil {
			p.files.hole(d) // what the message before said to be longer than it was
		}
		if msg[0] == sessionMessage {
			p.message(d, msg[frameHeader:])
		}
	}
}

func (p *parser) message(d app.Dir, b []byte) {
	switch kind(b) {
	case kindSMB1:
		p.message1(d, b)
	case kindSMB2:
		p.compound(d, b)
	case kindCipher:
		if len(b) >= headerCipher {
			p.cmd = Command{Version: 2, Encrypted: true, SessionID: binary.LittleEndian.Uint64(b[44:])}
			p.flow.Emit(d, &p.cmd)
		}
	case kindCompress:
		p.cmd = Command{Version: 2, Compressed: true}
		p.flow.Emit(d, &p.cmd)
	}
}

// compound reads the commands of a message, each of which says where the next one begins.
func (p *parser) compound(d app.Dir, b []byte) {
	for range maxCompound {
		if len(b) < header2 || kind(b) != kindSMB2 {
			return
		}
		next := binary.LittleEndian.Uint32(b[20:])
		last := next < header2 || uint64(next) > uint64(len(b))
		if last {
			p.command(d, b)
			return
		}
		p.command(d, b[:next])
		b = b[next:]
	}
	p.flow.Cut(1)
}

func (p *parser) command(d app.Dir, b []byte) {
	c := &p.cmd
	*c = Command{
		Version: 2, Code: binary.LittleEndian.Uint16(b[12:]), Response: b[16]&1 != 0, MessageID: binary.LittleEndian.Uint64(b[24:]),
		SessionID: binary.LittleEndian.Uint64(b[40:]), Dialects: c.Dialects[:0],
	}
	if b[16]&2 == 0 { // else the place of the tree id is used otherwise
		c.TreeID = binary.LittleEndian.Uint32(b[36:])
	}
	if c.Response {
		c.Status = binary.LittleEndian.Uint32(b[8:])
	}
	c.body(b)
	p.flow.Emit(d, c)
	p.pipes.follow(p.flow, d, c, b)
	if p.files != nil {
		p.files.follow(d, c, b, &p.pipes)
	}
}
