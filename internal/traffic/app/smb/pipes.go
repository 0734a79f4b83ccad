package smb

import (
	"encoding/binary"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dcerpc"
)

// What else has a part in a pipe.
const (
	codeRead         = 8
	codeWrite        = 9
	codeControl      = 11
	transceive       = 0x11c017 // a control that writes and reads
	code1Transaction = 0x25
	code1Write       = 0x2f
	transact1        = 0x26 // a transaction that writes and reads
)

// maxPipes is how many files are remembered that were opened last, as each may be a pipe, and how many pipes.
const maxPipes = 16

// handle names an open file: 16 bytes, of SMB 1 two.
type handle [16]byte

type opened struct {
	message uint64 // of the command that opens it
	file    handle // zeros until the answer came
	name    string
}

// pipes follow the remote procedure calls of a connection. A file that calls are written to is a pipe.
type pipes struct {
	files  []opened // the last ones, in a circle
	next   int
	calls  []pipe
	oldest int // of calls
}

type pipe struct {
	file handle
	dcerpc.Calls
}

func (p *pipes) reset() { *p = pipes{} }

// follow looks at a command of SMB 2. b begins with its header.
func (p *pipes) follow(f *app.Flow, d app.Dir, c *Command, b []byte) {
	in := b[header2:]
	switch {
	case c.Code == CodeCreate && c.Response:
		if len(in) >= 80 && c.Status == 0 {
			p.answered(c.MessageID, in[64:80])
		}
	case c.Code == CodeCreate:
		p.open(c)
	case c.Code == codeWrite && d == app.Client && len(in) >= 32:
		p.data(f, d, in[16:32], behind(b, uint32(binary.LittleEndian.Uint16(in[2:]))))
	case c.Code == codeControl && len(in) >= 48 && binary.LittleEndian.Uint32(in[4:]) == transceive:
		at := binary.LittleEndian.Uint32(in[24:])
		if c.Response {
			at = binary.LittleEndian.Uint32(in[32:])
		}
		p.data(f, d, in[8:24], behind(b, at))
	case c.Code == codeRead && c.Response && len(in) >= 4:
		p.answer(f, behind(b, uint32(in[2])))
	}
}

// follow1 looks at a command of SMB 1 with its parameters.
func (p *pipes) follow1(f *app.Flow, d app.Dir, c *Command, b, words []byte) {
	switch {
	case c.Code == Code1Create && c.Response:
		if len(words) >= 7 && c.Status == 0 {
			p.answered(c.MessageID, words[5:7])
		}
	case c.Code == Code1Create:
		p.open(c)
	case c.Code == code1Write && d == app.Client && len(words) >= 24:
		p.data(f, d, words[4:6], behind(b, uint32(binary.LittleEndian.Uint16(words[22:]))))
	case c.Code == code1Transaction && d == app.Client && len(words) >= 32 && words[28] == transact1:
		p.data(f, d, words[30:32], behind(b, uint32(binary.LittleEndian.Uint16(words[24:]))))
	case c.Code == code1Transaction && c.Response && len(words) >= 16:
		p.answer(f, behind(b, uint32(binary.LittleEndian.Uint16(words[14:]))))
	}
}

func behind(b []byte, at uint32) []byte {
	if uint64(at) > uint64(len(b)) {
		return nil
	}
	return b[at:]
}

func (p *pipes) open(c *Command) {
	one := opened{message: c.MessageID, name: c.File}
	if len(p.files) < maxPipes {
		p.files = append(p.files, one)
		return
	}
	p.files[p.next] = one
	p.next = (p.next + 1) % maxPipes
}

// answered notes the handle that a file was given. Another file may have had it before, and been a pipe.
func (p *pipes) answered(message uint64, file []byte) {
	var h handle
	copy(h[:], file)
	name := ""
	if one := p.latest(func(o *opened) bool { return o.message == message && o.file == (handle{}) }); one != nil {
		one.file, name = h, one.name
	}
	for i := range p.calls {
		if p.calls[i].file == h {
			p.calls[i].Reset(name)
		}
	}
}

// latest is the file that was opened last of those that are meant, nil when there is none.
func (p *pipes) latest(meant func(*opened) bool) *opened {
	for i := len(p.files) - 1; i >= 0; i-- {
		if one := &p.files[(p.next+i)%len(p.files)]; meant(one) {
			return one
		}
	}
	return nil
}

// data reads what is written to a file, or comes back from it.
func (p *pipes) data(f *app.Flow, d app.Dir, file, b []byte) {
	if _, ok := dcerpc.Type(b); !ok {
		return
	}
	var h handle
	copy(h[:], file)
	for i := range p.calls {
		if p.calls[i].file == h {
			p.calls[i].Read(f, d, b)
			return
		}
	}
	if d == app.Server {
		return
	}
	i := len(p.calls)
	if i < maxPipes {
		p.calls = append(p.calls, pipe{})
	} else {
		i, p.oldest = p.oldest, (p.oldest+1)%maxPipes
	}
	p.calls[i].file = h
	p.calls[i].Reset(p.name(h))
	p.calls[i].Read(f, d, b)
}

// answer reads what comes back from a file that the message does not name. Only with one pipe is it sure which.
func (p *pipes) answer(f *app.Flow, b []byte) {
	if len(p.calls) == 1 {
		p.calls[0].Read(f, app.Server, b)
	}
}

// has reports whether a file is known to be a pipe.
func (p *pipes) has(h handle) bool {
	return slices.ContainsFunc(p.calls, func(c pipe) bool { return c.file == h })
}

func (p *pipes) name(h handle) string {
	if one := p.latest(func(o *opened) bool { return o.file == h }); one != nil {
		return one.name
	}
	return ""
}
