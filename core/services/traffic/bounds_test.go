package traffic

import (
	"math"
	"strings"
	"testing"
)

// The store has signed numbers: a job whose figures it refuses would be begun again at each start.
func TestFiguresFitIntoTheStore(t *testing.T) {
	c := newBench(t, "counts-high").finish(t, "capture")
	for _, n := range []uint64{c.Packets, c.Bytes, c.Flows, c.Undecoded} {
		if n != math.MaxInt64 {
			t.Errorf("%d", n)
		}
	}
}

func TestTooManyFactsAtOnce(t *testing.T) {
	b := newBench(t, "many-facts")
	if c := b.finish(t, "capture"); c.State != Failed || !strings.Contains(c.Error, "at once") || b.last.facts != 0 {
		t.Errorf("%+v", c)
	}
}
