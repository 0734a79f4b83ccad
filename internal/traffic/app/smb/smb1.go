package smb

import (
	"bytes"
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Commands of SMB 1 that are looked into ([MS-CIFS] 2.2.4).
const (
	Code1Negotiate    = 0x72
	Code1SessionSetup = 0x73
	Code1TreeConnect  = 0x75
	Code1Create       = 0xa2
)

const (
	flagsAt, flags2At = 9, 10
	response1         = 0x80
	wideText          = 0x8000
	maxChain          = 8 // commands that follow one another in a message
	lastOfChain       = 0xff
)

// block1 is a command of SMB 1: numbers of fixed places, then bytes.
type block1 struct {
	parameters, bytes []byte
	at                int  // where bytes begins in the message: wide texts are aligned to that
	wide              bool // texts are UTF-16
}

// message1 reads a message, in which commands may follow one another.
func (p *parser) message1(d app.Dir, b []byte) {
	if len(b) < header1 {
		return
	}
	c := &p.cmd
	start := Command{
		Version: 1, Code: uint16(b[4]), Status: binary.LittleEndian.Uint32(b[5:]), Response: b[flagsAt]&response1 != 0,
		TreeID: uint32(binary.LittleEndian.Uint16(b[24:])), SessionID: uint64(binary.LittleEndian.Uint16(b[28:])),
		MessageID: uint64(binary.LittleEndian.Uint16(b[30:])),
	}
	at := header1
	for range maxChain {
		*c = start
		block, ok := openBlock1(b, at)
		if ok {
			c.body1(&block)
		}
		p.flow.Emit(d, c)
		if ok {
			p.pipes.follow1(p.flow, d, c, b, block.parameters)
		}
		if !ok || !chains(start.Code) || len(block.parameters) < 4 || block.parameters[0] == lastOfChain {
			return
		}
		next := int(binary.LittleEndian.Uint16(block.parameters[2:]))
		if next <= at {
			return // back to where it was
		}
		start.Code, at = uint16(block.parameters[0]), next
	}
	p.flow.Cut(1)
}

// chains reports whether a command says which one follows it.
func chains(code uint16) bool {
	switch code {
	case 0x24, 0x2d, 0x2e, 0x2f, Code1SessionSetup, 0x74, Code1TreeConnect, Code1Create:
		return true
	}
	return false
}

func openBlock1(b []byte, at int) (block block1, ok bool) {
	wide := binary.LittleEndian.Uint16(b[flags2At:])&wideText != 0
	if at >= len(b) {
		return block, false
	}
	words := int(b[at]) * 2
	at++
	if len(b) < at+words+2 {
		return block, false
	}
	parameters := b[at:][:words]
	at += words
	size := int(binary.LittleEndian.Uint16(b[at:]))
	at += 2
	return block1{parameters, b[at:min(len(b), at+size)], at, wide}, true
}

// text takes a text off the front of the bytes, which ends in a zero.
func (b *block1) text() string {
	if b.wide {
		b.skip(b.at & 1)
		end := 0
		for end+1 < len(b.bytes) && (b.bytes[end] != 0 || b.bytes[end+1] != 0) {
			end += 2
		}
		s := text(b.bytes[:end])
		b.skip(end + 2)
		return s
	}
	return b.narrow()
}

// narrow is text in the old character set, whatever the message says.
func (b *block1) narrow() string {
	s, _, _ := bytes.Cut(b.bytes, []byte{0})
	b.skip(len(s) + 1)
	return clean(s)
}

func (b *block1) skip(n int) {
	n = min(n, len(b.bytes))
	b.bytes, b.at = b.bytes[n:], b.at+n
}

// body1 reads what the command carries.
func (c *Command) body1(b *block1) {
	switch {
	case c.Code == Code1SessionSetup:
		c.setup1(b)
	case c.Response:
	case c.Code == Code1TreeConnect && len(b.parameters) >= 8:
		b.skip(int(binary.LittleEndian.Uint16(b.parameters[6:]))) // the password of the share
		c.Share = b.text()
	case c.Code == Code1Create && len(b.parameters) >= 19:
		c.Access = binary.LittleEndian.Uint32(b.parameters[15:])
		c.File = b.text()
	}
}

// setup1 reads who logs on, in the old form with the name beside the answer to a challenge, or in the new one with NTLM.
func (c *Command) setup1(b *block1) {
	const oldWords, newWords, newAnswerWords = 26, 24, 8
	at := 14
	switch {
	case c.Response && len(b.parameters) == newAnswerWords:
		at = 6
	case !c.Response && len(b.parameters) == newWords:
	case !c.Response && len(b.parameters) == oldWords:
		old, answer := int(binary.LittleEndian.Uint16(b.parameters[14:])), int(binary.LittleEndian.Uint16(b.parameters[16:]))
		b.skip(old + answer)
		c.NTLM = ntlmVersion(answer)
		c.User = b.text()
		c.Domain = b.text()
		return
	default:
		return
	}
	size := min(int(binary.LittleEndian.Uint16(b.parameters[at:])), len(b.bytes))
	c.ntlm(b.bytes[:size])
}
