package flow

import (
	"errors"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Time goes on without packets: a live capture would otherwise keep the last flows of a quiet network open for ever.
func TestTimeWithoutPackets(t *testing.T) {
	var c collected
	table := New(Config{}, c.emit)
	d := packet{0, false, syn, 100, 0}.tcp()
	if err := table.Add(1, int64(10*sec), &d); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at    time.Duration
		flows int
	}{{5 * sec, 0}, {130 * sec, 0}, {130*sec + 1, 1}, {60 * sec, 1}, {500 * sec, 1}} {
		if err := table.Advance(int64(step.at)); err != nil {
			t.Fatal(err)
		}
		if err := table.Flush(); err != nil || len(c.flows) != step.flows {
			t.Fatalf("at %s: %d flows, want %d (%v)", step.at, len(c.flows), step.flows, err)
		}
	}
	if f := c.flows[0]; f.EndReason != sdk.EndIdle || !f.End.Equal(time.Unix(10, 0)) {
		t.Errorf("ended by %s at %s", f.EndReason, f.End)
	}
}

// What came of nothing is told sooner where that is asked for: connections that were never completed, and questions without an
// answer. What goes on, and a stream of one side, is not cut.
func TestAttempts(t *testing.T) {
	udp := func(n int, answered bool) (out []packet) {
		for i := range n {
			out = append(out, packet{time.Duration(i) * sec, false, 0, 100, 10})
		}
		if answered {
			out = append(out, packet{time.Duration(n) * sec, true, 0, 100, 10})
		}
		return out
	}
	for name, c := range map[string]struct {
		proto   uint8
		packets []packet
		ends    time.Duration // after the last packet
	}{
		"a silent port":              {sdk.ProtoTCP, []packet{{0, false, syn, 100, 0}}, 10 * sec},
		"repeated":                   {sdk.ProtoTCP, []packet{{0, false, syn, 100, 0}, {sec, false, syn, 100, 0}, {3 * sec, false, syn, 100, 0}, {7 * sec, false, syn, 100, 0}}, 10 * sec},
		"half open":                  {sdk.ProtoTCP, []packet{{0, false, syn, 100, 0}, {sec, true, syn | ack, 100, 0}, {2 * sec, true, syn | ack, 100, 0}}, 10 * sec},
		"completed":                  {sdk.ProtoTCP, []packet{{0, false, syn, 100, 0}, {sec, true, syn | ack, 100, 0}, {2 * sec, false, ack, 100, 0}}, 120 * sec},
		"refused":                    {sdk.ProtoTCP, []packet{{0, false, syn, 100, 0}, {sec, true, rst | ack, 100, 0}}, 5 * sec},
		"a question":                 {sdk.ProtoUDP, udp(3, false), 10 * sec},
		"a question with its answer": {sdk.ProtoUDP, udp(1, true), 120 * sec},
		"a stream":                   {sdk.ProtoUDP, udp(4, false), 120 * sec},
	} {
		var out collected
		table := New(Config{Attempt: 10 * sec}, out.emit)
		for i, one := range c.packets {
			d := one.tcp()
			d.Proto = c.proto
			add(t, table, uint64(i+1), int64(one.at), &d)
		}
		last := c.packets[len(c.packets)-1].at
		for want := range 2 {
			after := c.ends + time.Duration(want)
			if err := errors.Join(table.Advance(int64(last+after)), table.Flush()); err != nil || len(out.flows) != want {
				t.Errorf("%s, %s after its last packet: %d flows, want %d (%v)", name, after, len(out.flows), want, err)
			}
		}
	}
}

func TestFlushTellsWhatEmitSaid(t *testing.T) {
	full := errors.New("full")
	table := New(Config{}, func([]sdk.Flow) error { return full })
	d := packet{0, false, syn, 100, 0}.tcp()
	if err := table.Add(1, 0, &d); err != nil {
		t.Fatal(err)
	}
	if err := table.Advance(int64(300 * sec)); err != nil {
		t.Fatal(err)
	}
	if err := table.Flush(); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
