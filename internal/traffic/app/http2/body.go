package http2

import "github.com/picketwatch/picket/internal/traffic/app"

// BodyPart is the fact of a piece of a body, without padding.
type BodyPart struct {
	Stream  uint32
	Data    []byte
	Missing int  // bytes lost before Data
	Last    bool // the body ends here
	Broken  bool // because one side gave the stream up
}

// dataFrame is the frame of a body that is being read.
type dataFrame struct {
	stream uint32 // 0 for a frame of another kind
	padded bool   // how much padding follows on the data is still to be read
	left   int    // bytes of data in the frame
	last   bool
}

// begin looks at the head of a frame whose content is not held.
func (p *parser) begin(d app.Dir, s *side, f frame) {
	s.data = dataFrame{}
	if !p.carve || f.stream == 0 {
		return
	}
	switch f.kind {
	case frameData:
		s.data = dataFrame{stream: f.stream, padded: f.flags&flagPadded != 0, left: f.size, last: f.flags&flagEndStream != 0}
		if f.size == 0 && s.data.last {
			p.end(d, f.stream, true)
		}
	case frameReset:
		p.end(d, f.stream, false)
		p.end(1-d, f.stream, false)
	}
}

// skipped takes bytes of such a frame.
func (p *parser) skipped(d app.Dir, s *side, b []byte) {
	f := &s.data
	if f.stream == 0 || len(b) == 0 {
		return
	}
	if f.padded {
		f.padded = false
		f.left = max(0, f.left-1-int(b[0]))
		b = b[1:]
	}
	n := min(len(b), f.left)
	f.left -= n
	p.piece(d, f, b[:n], 0)
}

// lose steps over lost bytes of a frame. Where they may have told how much padding there is, that counts as data.
func (p *parser) lose(d app.Dir, s *side, n int) {
	f := &s.data
	if f.stream == 0 {
		return
	}
	f.padded = false
	f.left = max(0, min(f.left-n, s.skip))
	p.piece(d, f, nil, n)
}

func (p *parser) piece(d app.Dir, f *dataFrame, b []byte, missing int) {
	last := f.last && f.left == 0
	if len(b) > 0 || missing > 0 || last {
		p.tell(d, BodyPart{Stream: f.stream, Data: b, Missing: missing, Last: last})
	}
	if f.left == 0 {
		f.stream = 0 // the rest is padding
	}
}

// end tells that a body is over without more of it.
func (p *parser) end(d app.Dir, stream uint32, whole bool) {
	if p.carve {
		p.tell(d, BodyPart{Stream: stream, Last: true, Broken: !whole})
	}
}

func (p *parser) tell(d app.Dir, part BodyPart) {
	p.part = part
	p.flow.Part(d, &p.part)
	p.part = BodyPart{}
}
