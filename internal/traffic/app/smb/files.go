package smb

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Carving returns SMB that hands out files of SMB 2 and 3, as FilePart.
func Carving() app.Protocol {
	budget := new(int) // of all connections
	return protocol(func() app.StreamParser {
		p := newParser()
		p.files = &files{budget: budget}
		for d := range p.frames {
			p.frames[d].Tail = func(b []byte, missing int) { p.files.tail(app.Dir(d), b, missing) }
		}
		return p
	})
}

// FilePart is the fact of a piece of a file that is read (from the server) or written (from the client). The pieces are in order.
type FilePart struct {
	File    uint32 // tells the files apart that are open at the same time
	Name    string
	Size    uint64 // of the whole file as the server said when it was opened, 0 of one that is written
	Data    []byte
	Missing bool // bytes are missing before Data
	Last    bool // the file was closed
}

// Further commands of SMB 2 with a part in files.
const codeClose = 6

// Limits of the files of one connection, and of what waits of all of them for the bytes before it: clients ask for several pieces
// at once, and get them as the server has them.
const (
	maxFiles   = 64
	maxReads   = 256
	maxPieces  = 64
	maxTrees   = 16
	maxWaiting = 8 << 20
)

// files follows what is read from files and written to them. The one that was opened first gives way.
type files struct {
	flow   *app.Flow
	budget *int // bytes that wait, of all connections
	open   []*file
	reads  []read
	pipes  []uint32 // trees that are no shares of files
	number uint32
	last   [2]target // where the rest of a message goes
	part   FilePart
}

type file struct {
	number  uint32
	handle  handle
	message uint64 // of the command that opens it, until the answer came
	waits   bool   // for the answer
	name    string
	size    uint64
	ways    [2]way // by direction: written, read
}

// way is how far a file is known in one direction.
type way struct {
	next   uint64 // the offset that is handed out next
	begun  bool
	pieces []piece // that are further on, by offset
}

type piece struct {
	at   uint64
	data []byte
}

// read is a request for a piece of a file that was not answered.
type read struct {
	message uint64
	file    uint32
	at      uint64
}

// target is where the rest of a cut message goes.
type target struct {
	file *file
	at   uint64
	left uint64
}

func (p *files) start(f *app.Flow) {
	*p = files{flow: f, budget: p.budget, open: p.open[:0], reads: p.reads[:0], pipes: p.pipes[:0]}
}

// end gives up what is open.
func (p *files) end() {
	for len(p.open) > 0 {
		p.close(p.open[0], false)
	}
	p.last = [2]target{}
}

// hole forgets what a direction was about to say. What it brings next may belong to anything.
func (p *files) hole(d app.Dir) { p.last[d] = target{} }

// follow looks at a command, of which b begins with the header.
func (p *files) follow(d app.Dir, c *Command, b []byte, calls *pipes) {
	in := b[header2:]
	switch {
	case c.Code == CodeTreeConnect && c.Response:
		if len(in) >= 3 && c.Status == 0 && in[2] != 1 && len(p.pipes) < maxTrees {
			p.pipes = append(p.pipes, c.TreeID)
		}
	case c.Code == CodeCreate && c.Response:
		p.answered(c, in)
	case c.Code == CodeCreate:
		if !slices.Contains(p.pipes, c.TreeID) && c.File != "" {
			p.add(c)
		}
	case c.Code == codeClose && !c.Response && len(in) >= 24:
		if f := p.of(in[8:24]); f != nil {
			p.close(f, true)
		}
	case c.Code == codeRead && d == app.Client && len(in) >= 32:
		p.asks(c, in)
	case c.Code == codeRead && c.Response:
		p.reply(c, b, in, calls)
	case c.Code == codeWrite && d == app.Client && len(in) >= 32:
		if f := p.of(in[16:32]); f != nil && !calls.has(f.handle) {
			at := binary.LittleEndian.Uint64(in[8:])
			p.take(d, f, at, b, uint32(binary.LittleEndian.Uint16(in[2:])), binary.LittleEndian.Uint32(in[4:]))
		}
	}
}

func (p *files) add(c *Command) {
	if len(p.open) == maxFiles {
		p.close(p.open[0], false)
	}
	p.number++
	p.open = append(p.open, &file{number: p.number, message: c.MessageID, waits: true, name: c.File})
}

// answered notes the handle of a file, and how long it is.
func (p *files) answered(c *Command, in []byte) {
	i := slices.IndexFunc(p.open, func(f *file) bool { return f.waits && f.message == c.MessageID })
	switch {
	case i < 0:
	case c.Status != 0 || len(in) < 80:
		p.open = slices.Delete(p.open, i, i+1)
	default:
		f := p.open[i]
		f.waits, f.size, f.handle = false, binary.LittleEndian.Uint64(in[48:]), handle(in[64:80])
	}
}

func (p *files) of(h []byte) *file {
	for i := len(p.open) - 1; i >= 0; i-- {
		if f := p.open[i]; !f.waits && f.handle == handle(h) {
			return f
		}
	}
	return nil
}

// asks notes what a read asks for.
func (p *files) asks(c *Command, in []byte) {
	f := p.of(in[16:32])
	if f == nil {
		return
	}
	if len(p.reads) == maxReads {
		p.reads = slices.Delete(p.reads, 0, 1)
	}
	p.reads = append(p.reads, read{c.MessageID, f.number, binary.LittleEndian.Uint64(in[8:])})
}

// reply takes what a read gives back.
func (p *files) reply(c *Command, b, in []byte, calls *pipes) {
	i := slices.IndexFunc(p.reads, func(r read) bool { return r.message == c.MessageID })
	if i < 0 || c.Status == statusPending {
		return
	}
	r := p.reads[i]
	p.reads = slices.Delete(p.reads, i, i+1)
	if c.Status != 0 || len(in) < 16 {
		return
	}
	if j := slices.IndexFunc(p.open, func(f *file) bool { return f.number == r.file }); j >= 0 && !calls.has(p.open[j].handle) {
		p.take(app.Server, p.open[j], r.at, b, uint32(in[2]), binary.LittleEndian.Uint32(in[4:]))
	}
}

// statusPending says that the answer comes later.
const statusPending = 0x103

// take takes a piece of a file: what of it is in b, and the rest of the message later.
func (p *files) take(d app.Dir, f *file, at uint64, b []byte, offset, size uint32) {
	data := behind(b, offset)
	data = data[:min(uint64(len(data)), uint64(size))]
	p.last[d] = target{}
	if len(data) == 0 || at+uint64(size) < at {
		return
	}
	p.piece(d, f, at, data)
	if left := uint64(size) - uint64(len(data)); left > 0 {
		p.last[d] = target{f, at + uint64(len(data)), left}
	}
}

// tail takes the rest of a message that was cut.
func (p *files) tail(d app.Dir, b []byte, missing int) {
	t := &p.last[d]
	if t.file == nil {
		return
	}
	n := min(t.left, uint64(missing))
	t.at, t.left = t.at+n, t.left-n
	b = b[:min(uint64(len(b)), t.left)]
	if len(b) > 0 {
		p.piece(d, t.file, t.at, b)
		t.at, t.left = t.at+uint64(len(b)), t.left-uint64(len(b))
	}
	if t.left == 0 {
		*t = target{}
	}
}

// piece hands out what is next, and lets wait what comes later.
func (p *files) piece(d app.Dir, f *file, at uint64, data []byte) {
	w := &f.ways[d]
	if at > w.next {
		if p.wait(w, at, data) {
			return
		}
		p.flush(d, f)
	}
	p.give(d, f, at, data)
	for len(w.pieces) > 0 && w.pieces[0].at <= w.next {
		p.first(d, f)
	}
}

// first hands out the first piece that waits.
func (p *files) first(d app.Dir, f *file) {
	w := &f.ways[d]
	x := w.pieces[0]
	w.pieces = slices.Delete(w.pieces, 0, 1)
	*p.budget -= len(x.data)
	p.give(d, f, x.at, x.data)
}

// flush hands out what waits, whatever is missing before it.
func (p *files) flush(d app.Dir, f *file) {
	for len(f.ways[d].pieces) > 0 {
		p.first(d, f)
	}
}

func (p *files) wait(w *way, at uint64, data []byte) bool {
	if n := len(w.pieces); n > 0 {
		if last := &w.pieces[n-1]; last.at+uint64(len(last.data)) == at && *p.budget+len(data) <= maxWaiting {
			*p.budget += len(data)
			last.data = append(last.data, data...)
			return true
		}
	}
	if len(w.pieces) == maxPieces || *p.budget+len(data) > maxWaiting {
		return false
	}
	*p.budget += len(data)
	i, _ := slices.BinarySearchFunc(w.pieces, at, func(x piece, at uint64) int { return cmp.Compare(x.at, at) })
	w.pieces = slices.Insert(w.pieces, i, piece{at, slices.Clone(data)})
	return true
}

// give hands out what of a piece is new.
func (p *files) give(d app.Dir, f *file, at uint64, data []byte) {
	w := &f.ways[d]
	end := at + uint64(len(data))
	if end <= w.next {
		return // it was read again
	}
	missing := at > w.next
	if !missing {
		data = data[w.next-at:]
	}
	w.next, w.begun = end, true
	p.part = FilePart{File: f.number, Name: f.name, Data: data, Missing: missing}
	if d == app.Server {
		p.part.Size = f.size
	}
	p.flow.Part(d, &p.part)
}

// close ends a file. That of one that is still open when the connection ends is not known to be all.
func (p *files) close(f *file, known bool) {
	for d := app.Client; d <= app.Server; d++ {
		p.flush(d, f)
		if w := &f.ways[d]; w.begun {
			p.part = FilePart{File: f.number, Name: f.name, Missing: !known, Last: true}
			if d == app.Server {
				p.part.Size = f.size
			}
			p.flow.Part(d, &p.part)
		}
		if p.last[d].file == f {
			p.last[d] = target{}
		}
	}
	p.open = slices.DeleteFunc(p.open, func(o *file) bool { return o == f })
}
