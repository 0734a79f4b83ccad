package app

import "fmt"

// Panic is a bug in a parser or a recogniser that a packet set off. Only its flow is not read to the end.
type Panic struct {
	Protocol     string // "" while it was being recognised
	Flow, Packet uint64
	Value        string // what it died of
}

// Limits of what is told of panics. They are counted beyond.
const (
	maxPanics     = 8
	maxPanicValue = 200 // bytes
)

// Panics returns the first panics.
func (e *Engine) Panics() []Panic { return e.panics }

func (e *Engine) panicked(p Panic, v any) {
	text := fmt.Sprint(v)
	p.Value = text[:min(len(text), maxPanicValue)]
	e.counts.Panics++
	if len(e.panics) < maxPanics {
		e.panics = append(e.panics, p)
	}
}

// survive, deferred around calls of a conn's parser, ends the parser that panicked: it is not used again, as nobody knows
// what it left behind.
func (c *conn) survive() {
	v := recover()
	if v == nil {
		return
	}
	p := Panic{Flow: c.flow.ID, Packet: c.flow.Packet}
	if c.flow.proto > 0 {
		p.Protocol = c.engine.protocols[c.flow.proto-1].Name
	}
	c.parser, c.messages = nil, nil
	c.engine.panicked(p, v)
}

// Survive, deferred around the reading of a single packet that no parser of flows sees, leaves that packet alone after a panic.
func (e *Engine) Survive(flow, packet uint64) {
	if v := recover(); v != nil {
		e.panicked(Panic{Flow: flow, Packet: packet}, v)
	}
}

// survive, deferred around the recognition of a datagram, gives its flow up after a panic.
func (e *Engine) survive(t *Tag, p *Packet) {
	v := recover()
	if v == nil {
		return
	}
	if t.handle != 0 {
		e.release(e.conns[t.handle])
	}
	t.over = true
	e.panicked(Panic{Flow: p.FlowID, Packet: p.Number}, v)
}
