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
