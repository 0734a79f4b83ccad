package app

import (
	"slices"
	"strings"
	"testing"
)

// broken panics where the text says so, and at the end of a flow when it was asked to.
type broken struct {
	echo
	atClose bool
}

func (b *broken) Data(d Dir, text []byte, missing int) Next {
	b.atClose = strings.Contains(string(text), "last")
	if strings.Contains(string(text), "bug") {
		panic("index out of range [7]")
	}
	return b.echo.Data(d, text, missing)
}

func (b *broken) Datagram(d Dir, text []byte, cut int) Next { return b.Data(d, text, cut) }

func (b *broken) Close() {
	if b.atClose {
		panic("close of nothing")
	}
}

func brokenProtocols() []Protocol {
	list := protocols()
	list[1].NewStream = func() StreamParser { return &broken{} }
	list[1].NewDatagram = func() DatagramParser { return &broken{} }
	list[2].Stream = func(_ Dir, b []byte) Verdict { panic("recognised nothing") }
	list[2].Datagram = list[2].Stream
	return list
}

// A parser that breaks ends the reading of its own flow, and of no other.
func TestPanics(t *testing.T) {
	tests := []struct {
		name  string
		proto uint8
		talk  []string
		said  []string
		want  Panic
		of    string
	}{
		{"in a stream", 6, []string{"LOUD", "bug", "more"}, []string{"loud 0:LOUD"}, Panic{"loud", 1, 2, "index out of range [7]"}, "loud"},
		{"at the first byte", 6, []string{"LOUD bug", "more"}, nil, Panic{"loud", 1, 1, "index out of range [7]"}, "loud"},
		{"at the end", 6, []string{"LOUD last"}, []string{"loud 0:LOUD last"}, Panic{"loud", 1, 1, "close of nothing"}, "loud"},
		{"in recognition", 6, []string{"q", "q"}, nil, Panic{"", 1, 1, "recognised nothing"}, ""},
		{"in a datagram", 17, []string{"LOUD", "bug", "more"}, []string{"loud 0:LOUD"}, Panic{"loud", 1, 2, "index out of range [7]"}, "loud"},
		{"in recognition of a datagram", 17, []string{"q", "q"}, nil, Panic{"", 1, 1, "recognised nothing"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(Config{}, test.proto, "loud")
			emit := w.sinks[1]
			w.Engine = New(Config{Facts: map[string]func(*Fact){"loud": emit}}, brokenProtocols())
			w.flow = 1
			for _, text := range test.talk {
				w.say(0, text)
			}
			w.check(t, test.of, test.said...)
			if have := w.Panics(); !slices.Equal(have, []Panic{test.want}) || w.Counts().Panics != 1 {
				t.Errorf("%+v, %d panics; want %+v", have, w.Counts().Panics, test.want)
			}
			// The next flow is read, by a fresh parser.
			w.tag, w.said, w.seq = Tag{}, nil, [2]uint32{}
			w.say(0, "LOUD again")
			w.check(t, w.Flows()[0].Name, "loud 0:LOUD again")
		})
	}
}

// All panics are counted, the first ones are told.
func TestManyPanics(t *testing.T) {
	w := newWire(Config{}, 17)
	w.Engine = New(Config{Facts: map[string]func(*Fact){"loud": func(*Fact) { panic(strings.Repeat("x", 1000)) }}}, protocols())
	for range 100 {
		w.tag = Tag{}
		w.say(0, "LOUD")
		w.End(&w.tag, 1)
	}
	if p := w.Panics(); len(p) != maxPanics || w.Counts().Panics != 100 || len(p[0].Value) != maxPanicValue {
		t.Errorf("%d of %d panics, the first one with %d bytes", len(p), w.Counts().Panics, len(p[0].Value))
	}
}

// Who joins facts is told when a flow's parser is through.
func TestClosed(t *testing.T) {
	var closed []string
	w := newWire(Config{Closed: func(f *Flow) { closed = append(closed, f.Protocol()) }}, 6, "loud", "shy")
	w.say(0, "LOUD")
	w.say(1, "go!")
	if !slices.Equal(closed, []string{"loud"}) {
		t.Errorf("%q before the flow ends", closed)
	}
	w.say(0, "s1")
	w.say(1, "t1")
	w.End(&w.tag, 1)
	if !slices.Equal(closed, []string{"loud", "shy"}) {
		t.Errorf("%q", closed)
	}
}

// Who reads single packets through the engine is spared as well.
func TestSurvive(t *testing.T) {
	e := New(Config{}, protocols())
	func() {
		defer e.Survive(3, 7)
		panic("a frame that is none")
	}()
	if have := e.Panics(); !slices.Equal(have, []Panic{{"", 3, 7, "a frame that is none"}}) {
		t.Errorf("%+v", have)
	}
}
