package flow

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// A flow that goes on is told of once it is old and has carried much, again when that has grown, and no more when it is over.
func TestFlowsThatGoOnAreToldOf(t *testing.T) {
	const second = time.Second
	var told []app.OpenFlow
	var c collected
	cfg := Config{Apps: app.New(app.Config{Open: func(f *app.OpenFlow) { told = append(told, *f) }}, nil)}
	table := New(cfg, c.emit)
	add := func(n uint64, p packet) {
		t.Helper()
		d := p.tcp()
		if err := table.Add(n, int64(p.at), &d); err != nil {
			t.Fatal(err)
		}
	}
	const piece = 400_000
	at := 10 * second
	add(1, packet{at, false, syn, 100, 0})
	add(2, packet{at + 1, true, syn | ack, 100, 0})
	for n := range uint64(10) {
		add(3+n, packet{at, false, ack, 101 + uint32(n)*piece, piece})
		at += 10 * second
	}
	if len(told) < 2 || len(told) > 5 {
		t.Fatalf("%d times: %+v", len(told), told)
	}
	first, last := told[0], told[len(told)-1]
	if first.ID != 1 || first.Packet != 1 || first.Client != client || first.Server != server || first.Start != int64(10*second) || first.Sent < 1<<20 || first.Received != 0 {
		t.Errorf("%+v", first)
	}
	for i, f := range told[1:] {
		if f.Sent < told[i].Sent+1<<20 {
			t.Errorf("told again of %d bytes after %d", f.Sent, told[i].Sent)
		}
	}
	if last.Sent < 8*piece {
		t.Errorf("the last word is of %d bytes", last.Sent)
	}
	n := len(told)
	for range 5 { // it is quiet
		at += 10 * second
		if err := table.Advance(int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Close(); err != nil || len(c.flows) != 1 || len(told) != n || len(table.told) != 0 {
		t.Errorf("%d flows, told %d times, %d remembered (%v)", len(c.flows), len(told), len(table.told), err)
	}
}

// Nothing is looked for where nobody asks, and what is short or small is not told of.
func TestSmallFlowsAreNotToldOf(t *testing.T) {
	var told []app.OpenFlow
	cfg := Config{Apps: app.New(app.Config{Open: func(f *app.OpenFlow) { told = append(told, *f) }}, nil)}
	small := []packet{{0, false, syn, 100, 0}, {1, true, syn | ack, 100, 0}}
	for i := range 60 {
		small = append(small, packet{time.Duration(i) * sec, false, ack, 101 + uint32(i)*1000, 1000})
	}
	play(t, cfg, small...)
	short := []packet{{0, false, syn, 100, 0}, {1, true, syn | ack, 100, 0}}
	for i := range 25 {
		short = append(short, packet{time.Duration(i) * sec, false, ack, 101 + uint32(i)*100_000, 100_000})
	}
	play(t, cfg, short...)
	if len(told) > 0 {
		t.Errorf("%+v", told)
	}
}
