package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/decode"
)

// The protocols of these tests: "loud" says LOUD first from the client; "shy" may be anything that begins with s from the
// client and t from the server; both may switch to another one with "!".
func protocols() []Protocol {
	begins := func(client, server string, v Verdict) Recognise {
		return func(d Dir, b []byte) Verdict {
			want := []string{client, server}[d]
			n := min(len(want), len(b))
			switch {
			case want == "" || string(b[:n]) != want[:n]:
				return No
			case n < len(want):
				return More
			}
			return v
		}
	}
	return []Protocol{
		{Name: "shy", Ports: []uint16{7}, Stream: begins("s", "t", Likely), Datagram: begins("s", "t", Likely), NewStream: newEcho, NewDatagram: newEchoDatagram},
		{Name: "loud", First: "L", Stream: begins("LOUD", "", Sure), Datagram: begins("LOUD", "", Sure), NewStream: newEcho, NewDatagram: newEchoDatagram},
		{Name: "quiet", First: "q", Stream: begins("q", "", Sure)},
	}
}

// echo says what it was given.
type echo struct{ flow *Flow }

func newEcho() StreamParser           { return &echo{} }
func newEchoDatagram() DatagramParser { return &echo{} }

func (e *echo) Start(f *Flow) { e.flow = f }
func (e *echo) Close()        { e.flow = nil }

func (e *echo) Datagram(d Dir, b []byte, cut int) Next { return e.Data(d, b, cut) }

func (e *echo) Data(d Dir, b []byte, missing int) Next {
	text := fmt.Sprintf("%d:%s", d, b)
	if missing > 0 {
		text = fmt.Sprintf("%d:<%d>%s", d, missing, b)
	}
	e.flow.Emit(d, &text)
	switch {
	case strings.HasSuffix(string(b), "!"):
		return Again
	case strings.HasSuffix(string(b), "."):
		return Done
	case strings.HasSuffix(string(b), "?"):
		e.flow.Rename("asked")
	}
	return Continue
}

// wire feeds an engine with packets of one flow.
type wire struct {
	*Engine
	tag     Tag
	seq     [2]uint32
	proto   uint8
	port    uint16
	guessed bool
	number  uint64
	flow    uint64
	said    []string
}

func newWire(cfg Config, proto uint8, asked ...string) *wire {
	w := &wire{proto: proto, seq: [2]uint32{100, 200}, port: 9999}
	cfg.Facts = map[string]func(*Fact){}
	for _, name := range asked {
		cfg.Facts[name] = func(f *Fact) { w.said = append(w.said, f.Protocol+" "+*f.Body.(*string)) }
	}
	w.Engine = New(cfg, protocols())
	return w
}

func (w *wire) say(d Dir, text string) {
	w.number++
	p := &decode.Packet{Version: 4, Proto: w.proto, SrcPort: 1024, DstPort: w.port, Body: []byte(text), Payload: uint32(len(text)), Seq: w.seq[d], Flags: 0x10}
	if d == Server {
		p.SrcPort, p.DstPort = p.DstPort, p.SrcPort
	}
	w.seq[d] += uint32(len(text))
	if !w.tag.Over() {
		w.Packet(&w.tag, &Packet{Packet: p, Number: w.number, FlowID: w.flow, Dir: d, Side: d, Guessed: w.guessed})
	}
}

func (w *wire) syn() {
	for d := Client; d <= Server; d++ {
		p := &decode.Packet{Proto: 6, Flags: flagSYN, Seq: w.seq[d] - 1}
		w.Packet(&w.tag, &Packet{Packet: p, Dir: d, Side: d})
	}
}

func (w *wire) check(t *testing.T, name string, said ...string) {
	t.Helper()
	w.End(&w.tag, 1)
	have := "none"
	if list := w.Flows(); len(list) > 0 {
		have = list[0].Name
	}
	if have != name || !slices.Equal(w.said, said) {
		t.Errorf("%q said %q, want %q %q", have, w.said, name, said)
	}
	open := 0
	for _, c := range w.conns[1:] {
		if c.tag != nil {
			open++
		}
	}
	if open != 0 || w.headsUsed != 0 || w.streams.Held() != 0 {
		t.Errorf("%d flows are read, %d heads are held", open, w.headsUsed)
	}
}

func TestStreams(t *testing.T) {
	tests := []struct {
		name string
		talk func(*wire)
		want string
		said []string
	}{
		{"known at once", func(w *wire) { w.say(0, "LOUD 1"); w.say(1, "2"); w.say(0, "3") }, "loud", []string{"loud 0:LOUD 1", "loud 1:2", "loud 0:3"}},
		{"in small pieces", func(w *wire) { w.say(0, "LO"); w.say(0, "U"); w.say(0, "D1"); w.say(0, "2") }, "loud", []string{"loud 0:LOUD1", "loud 0:2"}},
		{"the other side spoke first", func(w *wire) { w.say(1, "hello"); w.say(0, "LOUD") }, "loud", []string{"loud 1:hello", "loud 0:LOUD"}},
		{"likely from both sides", func(w *wire) { w.say(0, "s1"); w.say(1, "t1"); w.say(1, "2") }, "shy", []string{"shy 0:s1", "shy 1:t1", "shy 1:2"}},
		{"likely from one side only", func(w *wire) { w.say(0, "s1"); w.say(1, "x") }, "", nil},
		{"likely, with a usual port", func(w *wire) { w.port = 7; w.say(0, "s1") }, "shy", []string{"shy 0:s1"}},
		{"a usual port alone is nothing", func(w *wire) { w.port = 7; w.say(0, "x"); w.say(1, "y") }, "", nil},
		{"a parser is done", func(w *wire) { w.say(0, "LOUD."); w.say(0, "more") }, "loud", []string{"loud 0:LOUD."}},
		{"another protocol follows", func(w *wire) { w.say(0, "LOUD"); w.say(1, "go!"); w.say(0, "s1"); w.say(1, "t1") }, "loud",
			[]string{"loud 0:LOUD", "loud 1:go!", "shy 0:s1", "shy 1:t1"}},
		{"renamed", func(w *wire) { w.say(0, "LOUD?") }, "asked", []string{"loud 0:LOUD?"}},
		{"recognised only", func(w *wire) { w.say(0, "q") }, "quiet", nil},
		{"nothing said", func(*wire) {}, "none", nil},
		{"out of order", func(w *wire) { w.seq[0] += 4; w.say(0, "5"); w.seq[0] -= 5; w.say(0, "LOUD") }, "loud", []string{"loud 0:LOUD", "loud 0:5"}},
		{"long, and never known", func(w *wire) {
			for range 10 {
				w.say(0, strings.Repeat("s", 1000))
			}
		}, "", nil},
		{"waiting, and more than a head holds", func(w *wire) {
			w.say(0, "s"+strings.Repeat("x", 999))
			w.say(1, "t"+strings.Repeat("y", headLimit+100))
		}, "shy", []string{"shy 0:s" + strings.Repeat("x", 999), "shy 1:t" + strings.Repeat("y", headLimit+100)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(Config{}, 6, "loud", "shy", "quiet")
			w.syn()
			test.talk(w)
			w.check(t, test.want, test.said...)
		})
	}
}

// What nobody asked for is recognised all the same, and then costs nothing.
func TestNobodyAsked(t *testing.T) {
	w := newWire(Config{}, 6)
	w.say(0, "LOUD")
	if !w.tag.Over() || w.Name(&w.tag) != "loud" {
		t.Errorf("%+v", w.tag)
	}
	w.check(t, "loud")
}

func TestWrongGuessOfTheClient(t *testing.T) {
	w := newWire(Config{}, 6, "loud")
	w.guessed = true
	w.say(1, "LOUD")
	w.say(0, "2")
	w.check(t, "loud", "loud 0:LOUD", "loud 1:2")
	w = newWire(Config{}, 6, "loud")
	w.say(1, "LOUD") // no guess: the server cannot say this
	w.check(t, "")
}

func TestDatagrams(t *testing.T) {
	tests := []struct {
		name string
		talk func(*wire)
		want string
		said []string
	}{
		{"known at once", func(w *wire) { w.say(0, "LOUD"); w.say(1, "2") }, "loud", []string{"loud 0:LOUD", "loud 1:2"}},
		{"done", func(w *wire) { w.say(0, "LOUD."); w.say(1, "2") }, "loud", []string{"loud 0:LOUD."}},
		{"likely from both sides", func(w *wire) { w.say(0, "s"); w.say(1, "t"); w.say(0, "s2") }, "shy", []string{"shy 1:t", "shy 0:s2"}},
		{"likely from one side only", func(w *wire) { w.say(0, "s"); w.say(0, "s") }, "", nil},
		{"too late", func(w *wire) {
			for range packetLimit {
				w.say(0, "x")
			}
			w.say(0, "LOUD")
		}, "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(Config{}, 17, "loud", "shy")
			test.talk(w)
			w.check(t, test.want, test.said...)
		})
	}
}

// When too many flows are open, an earlier one is given up and keeps its name.
func TestManyFlows(t *testing.T) {
	w := newWire(Config{MaxFlows: 10}, 6, "loud")
	tags := make([]Tag, 100)
	for i := range tags {
		w.tag, w.seq = Tag{}, [2]uint32{}
		p := &decode.Packet{Version: 4, Proto: 6, Body: []byte("LOUD"), Payload: 4}
		w.Packet(&tags[i], &Packet{Packet: p, FlowID: uint64(i)})
	}
	if len(w.conns)-1 > 10 || w.Counts().GivenUp != 90 {
		t.Errorf("%d flows are read, %d were given up", len(w.conns)-1, w.Counts().GivenUp)
	}
	for i := range tags {
		w.End(&tags[i], uint64(i))
	}
	w.tag = Tag{}
	if list := w.Flows(); len(list) != 1 || list[0] != (Named{"loud", 100}) {
		t.Errorf("%+v", list)
	}
}

func TestFactsOfAFlowAreBounded(t *testing.T) {
	n := 0
	f := TestFlow(protocols()[1], 6, func(*Fact) { n++ })
	for range maxFacts + 10 {
		f.Emit(Client, nil)
	}
	if n != maxFacts || f.engine.Counts().FactsDropped != 10 {
		t.Errorf("%d facts, %d dropped", n, f.engine.Counts().FactsDropped)
	}
}

// Flows that come and go are read without allocating.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	e := New(Config{Facts: map[string]func(*Fact){"loud": func(*Fact) {}}}, []Protocol{{
		Name: "loud", First: "L", Stream: protocols()[1].Stream, NewStream: func() StreamParser { return silent{} },
	}})
	d := decode.Packet{Version: 4, Proto: 6, Body: []byte("LO"), Payload: 2}
	tag := new(Tag)
	round := func() {
		*tag = Tag{}
		d.Seq = 1
		for range 4 {
			e.Packet(tag, &Packet{Packet: &d})
			d.Seq += 2
			copy(d.Body, "UD")
		}
		copy(d.Body, "LO")
		e.End(tag, 1)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for a flow", n)
	}
}

type silent struct{}

func (silent) Start(*Flow)                {}
func (silent) Data(Dir, []byte, int) Next { return Continue }
func (silent) Close()                     {}

// A flow of which nobody wants more is read no further, whatever its parser is still waiting for.
func TestEnough(t *testing.T) {
	for _, proto := range []uint8{6, 17} {
		w := newWire(Config{}, proto, "loud")
		sink := w.sinks[1]
		w.sinks[1] = func(f *Fact) {
			sink(f)
			if strings.HasSuffix(*f.Body.(*string), "2") {
				f.Flow.Enough()
			}
		}
		w.say(0, "LOUD")
		w.say(1, "2")
		if !w.tag.Over() {
			t.Errorf("protocol %d: the flow is read on", proto)
		}
		w.say(0, "3")
		w.check(t, "loud", "loud 0:LOUD", "loud 1:2")
	}
	w := newWire(Config{}, 6, "loud", "shy")
	w.sinks[1] = func(f *Fact) { f.Flow.Enough() }
	w.say(0, "LOUD!") // another protocol would follow
	w.say(0, "s1")
	w.say(1, "t1")
	w.check(t, "loud")
}
