package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// text writes what it is given, with gaps as <n>.
type text struct {
	b    [2]strings.Builder
	stop int // wants no more after so many calls, 0 for never
	n    int
}

func (x *text) Data(d Dir, b []byte, missing int) bool {
	if missing > 0 {
		fmt.Fprintf(&x.b[d], "<%d>", missing)
	}
	x.b[d].Write(b)
	x.n++
	return x.stop == 0 || x.n < x.stop
}

func seg(seq uint32, body string) *Segment {
	return &Segment{Seq: seq, Body: []byte(body), Length: uint32(len(body)), Flags: flagACK}
}

func run(cfg Config, segments ...*Segment) (string, Counts) {
	a, x := New(cfg), &text{}
	var c Conn
	c.Begin(x)
	for _, s := range segments {
		a.Add(&c, Client, s)
	}
	a.End(&c)
	if a.Held() != 0 {
		return fmt.Sprintf("%d bytes are still held", a.Held()), a.counts
	}
	return x.b[Client].String(), a.counts
}

func TestOrder(t *testing.T) {
	syn := &Segment{Seq: 99, Flags: flagSYN}
	const edge = 1<<32 - 2
	tests := []struct {
		name     string
		segments []*Segment
		want     string
	}{
		{"in order", []*Segment{syn, seg(100, "abc"), seg(103, "def")}, "abcdef"},
		{"out of order", []*Segment{syn, seg(103, "def"), seg(106, "g"), seg(100, "abc")}, "abcdefg"},
		{"retransmission", []*Segment{syn, seg(100, "abc"), seg(100, "abc"), seg(103, "d")}, "abcd"},
		{"retransmission with more", []*Segment{syn, seg(100, "abc"), seg(101, "XXd")}, "abcd"},
		{"hole", []*Segment{syn, seg(100, "abc"), seg(105, "fg")}, "abc<2>fg"},
		{"hole at the start", []*Segment{syn, seg(102, "cd")}, "<2>cd"},
		{"start in the middle", []*Segment{seg(500, "x"), seg(501, "y"), seg(499, "w")}, "xy"},
		{"data in the SYN", []*Segment{{Seq: 99, Flags: flagSYN, Body: []byte("ab"), Length: 2}, seg(102, "c")}, "abc"},
		{"keep-alive", []*Segment{syn, seg(100, "abc"), seg(102, "c"), seg(103, "d")}, "abcd"},
		{"number wraps", []*Segment{seg(edge, "ab"), seg(1, "d"), seg(0, "c")}, "abcd"},
		{"snap length", []*Segment{syn, {Seq: 100, Body: []byte("ab"), Length: 5}, seg(105, "f")}, "ab<3>f"},
		{"snap length at the end", []*Segment{syn, {Seq: 100, Body: []byte("ab"), Length: 5}}, "ab<3>"},
		{"reset carries no data", []*Segment{syn, seg(100, "a"), {Seq: 101, Flags: flagRST, Body: []byte("no"), Length: 2}}, "a"},
		{"stray far away", []*Segment{syn, seg(100, "a"), seg(1<<30, "no"), seg(101, "b")}, "ab"},
	}
	for _, test := range tests {
		if have, _ := run(Config{}, test.segments...); have != test.want {
			t.Errorf("%s: %q, want %q", test.name, have, test.want)
		}
	}
}

func TestOverlap(t *testing.T) {
	segments := []*Segment{seg(0, "a"), seg(3, "DEF"), seg(2, "cdefg"), seg(1, "bxyz")}
	for policy, want := range map[Overlap]string{KeepFirst: "abcDEFg", KeepLast: "abxyzfg"} {
		have, counts := run(Config{Overlap: policy}, segments...)
		if have != want || counts.Conflicts != 1 {
			t.Errorf("policy %d: %q, want %q; %+v", policy, have, want, counts)
		}
	}
}

// A hole is given up once the receiver has acknowledged it.
func TestAcknowledgedHole(t *testing.T) {
	a, x := New(Config{}), &text{}
	var c Conn
	c.Begin(x)
	a.Add(&c, Client, seg(0, "a"))
	a.Add(&c, Server, &Segment{Flags: flagACK, Ack: 6})
	for i, s := range []string{"d", "e", "f"} {
		if x.b[Client].String() != "a" {
			t.Fatalf("after %d: %q", i, x.b[Client].String())
		}
		a.Add(&c, Client, seg(uint32(3+i), s))
	}
	if have := x.b[Client].String(); have != "a<2>def" {
		t.Errorf("%q", have)
	}
}

// After a long loss the stream goes on where the capture does.
func TestLongLoss(t *testing.T) {
	a, x := New(Config{}), &text{}
	var c Conn
	c.Begin(x)
	a.Add(&c, Client, seg(0, "a"))
	a.Add(&c, Server, &Segment{Flags: flagACK, Ack: 1 << 30})
	a.Add(&c, Client, seg(1<<30, "b"))
	if have := x.b[Client].String(); have != "a<1073741823>b" {
		t.Errorf("%q", have)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	a := New(Config{PerConn: 64 << 10, Total: 256 << 10})
	conns := make([]Conn, 100)
	sinks := make([]text, len(conns))
	for i := range conns {
		conns[i].Begin(&sinks[i])
		a.Add(&conns[i], Client, seg(0, "a"))
		for j := range 200 {
			a.Add(&conns[i], Client, seg(uint32(10+j*3), "x"))
			if a.used > a.total || conns[i].pages > a.perConn {
				t.Fatalf("%d pages of %d, %d of %d", a.used, a.total, conns[i].pages, a.perConn)
			}
		}
	}
	if a.counts.Evicted == 0 || a.counts.Gaps == 0 {
		t.Errorf("%+v", a.counts)
	}
	for i := range conns {
		a.End(&conns[i])
		if have := strings.Count(sinks[i].b[Client].String(), "x"); have != 200 {
			t.Fatalf("connection %d: %d bytes of 200", i, have)
		}
	}
	if a.used != 0 || a.oldest != nil || a.newest != nil {
		t.Errorf("%d pages are held", a.used)
	}
}

// Nothing comes after the sink has had enough, not even what waits.
func TestSinkHasEnough(t *testing.T) {
	a, x := New(Config{}), &text{stop: 2}
	var c Conn
	c.Begin(x)
	a.Add(&c, Client, seg(0, "a"))
	a.Add(&c, Client, seg(2, "c"))
	a.Add(&c, Client, seg(4, "e"))
	a.Add(&c, Client, seg(1, "b"))
	a.End(&c)
	if have := x.b[Client].String(); have != "ab" || a.used != 0 || !c.Closed() {
		t.Errorf("%q, %d pages", have, a.used)
	}
}

func TestInOrderAllocatesNothing(t *testing.T) {
	a := New(Config{})
	var c Conn
	c.Begin(discard{})
	s := seg(0, strings.Repeat("x", 1000))
	allocs := testing.AllocsPerRun(1000, func() {
		a.Add(&c, Client, s)
		s.Seq += 2000
		a.Add(&c, Client, s) // early
		s.Seq -= 1000
		a.Add(&c, Client, s)
		s.Seq += 2000
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

type discard struct{}

func (discard) Data(Dir, []byte, int) bool { return true }

// Whatever the order and the number of copies, the bytes come out as they were sent.
func TestShuffled(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		data := make([]byte, 1+r.IntN(20_000))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		first := r.Uint32()
		var segments []*Segment
		for at := 0; at < len(data); {
			n := min(len(data)-at, 1+r.IntN(5000))
			from := max(0, at-r.IntN(100))
			segments = append(segments, seg(first+uint32(from), string(data[from:at+n])))
			at += n
		}
		r.Shuffle(len(segments), func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
		segments = append([]*Segment{{Seq: first - 1, Flags: flagSYN}}, segments...)
		if have, counts := run(Config{Overlap: Overlap(r.IntN(2))}, segments...); have != string(data) || counts.Conflicts != 0 {
			t.Fatalf("%d bytes came out as %d, %+v", len(data), len(have), counts)
		}
	}
}

// Whatever comes: memory is bounded, nothing comes twice, and bytes and missing ones add up.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 5, 3, 0, 9, 3, 0, 4, 3}, false)
	f.Fuzz(func(t *testing.T, script []byte, last bool) {
		cfg := Config{PerConn: 1, Total: 1}
		if last {
			cfg.Overlap = KeepLast
		}
		a := New(cfg)
		x := [2]sum{}
		var c [2]Conn
		c[0].Begin(&x[0])
		c[1].Begin(&x[1])
		for len(script) >= 4 {
			op, seq, n := script[0], uint32(script[1])<<8|uint32(script[2]), int(script[3])
			if op&0x40 != 0 {
				seq <<= 16
			}
			s := &Segment{Seq: seq, Ack: seq, Flags: op & 0x16, Body: bytes.Repeat([]byte{op}, n), Length: uint32(n) + uint32(op&1)}
			a.Add(&c[op>>7], Dir(op>>5&1), s)
			script = script[4:]
			if a.used > a.total {
				t.Fatalf("%d pages of %d", a.used, a.total)
			}
		}
		for i := range c {
			a.End(&c[i])
			for d := range x[i].bytes {
				if x[i].bytes[d] < 0 || x[i].missing[d] < 0 {
					t.Fatalf("%+v", x[i])
				}
			}
		}
		if a.used != 0 || a.oldest != nil {
			t.Fatalf("%d pages are held", a.used)
		}
	})
}

type sum struct{ bytes, missing [2]int }

func (s *sum) Data(d Dir, b []byte, missing int) bool {
	s.bytes[d] += len(b)
	s.missing[d] += missing
	return len(b) > 0 || missing > 0
}
