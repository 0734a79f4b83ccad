package app

// Framed is a StreamParser for protocols whose messages say their own length, in both directions alike. After missing bytes,
// or where no message begins, it goes on with the next segment that begins with one.
type Framed struct {
	// Read gets a message, of which cut bytes beyond Max are left out.
	Read func(f *Flow, d Dir, msg []byte, cut int) Next
	// Reset, when set, forgets what was kept of a direction: as a flow begins, and where messages are missing.
	Reset func(Dir)

	flow   *Flow
	frames [2]Frames
	lost   [2]int // segments one after another in which no message began
}

// maxLost is how many segments may pass without a message before the flow is given up.
const maxLost = 32

// NewFramed returns a parser of messages whose length size tells as in Frames, and of which at most most bytes are kept.
func NewFramed(size func([]byte) int, most int) *Framed {
	p := &Framed{}
	for d := range p.frames {
		p.frames[d] = Frames{Size: size, Max: most}
	}
	return p
}

// Start readies the parser.
func (p *Framed) Start(f *Flow) {
	p.flow, p.lost = f, [2]int{}
	p.restart(Client)
	p.restart(Server)
}

// Close ends the flow.
func (p *Framed) Close() { p.flow = nil }

// Data reads messages.
func (p *Framed) Data(d Dir, b []byte, missing int) Next {
	f := &p.frames[d]
	if missing > 0 && !f.Miss(missing) || f.Bad() {
		p.restart(d)
	}
	for {
		msg, rest, cut, ok := f.Next(b)
		if !ok {
			break
		}
		b = rest
		p.lost[d] = 0
		if cut > 0 {
			p.flow.Cut(cut)
		}
		if next := p.Read(p.flow, d, msg, cut); next != Continue {
			return next
		}
	}
	if f.Bad() {
		if p.lost[d]++; p.lost[d] > maxLost {
			return Done
		}
	}
	return Continue
}

func (p *Framed) restart(d Dir) {
	p.frames[d].Reset()
	if p.Reset != nil {
		p.Reset(d)
	}
}
