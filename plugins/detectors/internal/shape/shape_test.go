package shape

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func flow(i int, sent, received uint64) *sdk.Flow {
	at := noon.Add(time.Duration(i) * time.Minute)
	return &sdk.Flow{Start: at, End: at.Add(2 * time.Second), FwdPackets: 10, RevPackets: 10, FwdPayload: sent, RevPayload: received}
}

const week = int64(7 * 24 * time.Hour)

func learned(n int) *Profile {
	p := &Profile{}
	for i := range n {
		f := flow(i, uint64(500+i%1000), uint64(3000+7*(i%5000)))
		s := Of(f)
		p.Add(f.Start.UnixNano(), &s, week)
	}
	return p
}

func TestStepsAreHalfOctaves(t *testing.T) {
	last := uint8(0)
	for _, v := range []uint64{0, 1, 2, 3, 5, 7, 11, 1000, 1447, 1448, 1 << 20, 1 << 26, math.MaxUint64} {
		at := step(v)
		want := uint8(min(math.Floor(2*math.Log2(float64(min(v, 1<<40)+1))+1e-9), steps-1))
		if at != want || at < last {
			t.Errorf("%d is step %d, want %d", v, at, want)
		}
		last = at
	}
}

func TestWhatIsFarOutIsOdd(t *testing.T) {
	p := learned(2000)
	usual, odd := Of(flow(0, 900, 9000)), Of(flow(0, 5_000_000, 9000))
	if got := p.Odd(&usual); got != 0 {
		t.Errorf("an ordinary flow: %b", got)
	}
	if got := p.Odd(&odd); got != 1<<1|1<<3 {
		t.Errorf("%b", got)
	}
	if little := Of(flow(0, 3, 9000)); p.Odd(&little)&(1<<1) == 0 {
		t.Error("little is not odd")
	}
	if low, high := p.Usual(1); low < 300 || low > 600 || high < 1200 || high > 2900 {
		t.Errorf("usual is %v to %v", low, high)
	}
}

// Who changes slowly becomes usual, and what was usual is forgotten.
func TestAProfileDrifts(t *testing.T) {
	p := learned(2000)
	later := noon.Add(200 * 24 * time.Hour)
	s := Of(flow(0, 5_000_000, 9000))
	for i := range 512 {
		p.Add(later.Add(time.Duration(i)*time.Minute).UnixNano(), &s, week)
	}
	before := Of(flow(0, 900, 9000))
	if p.Odd(&s) != 0 || p.Odd(&before) == 0 {
		t.Errorf("%b, %b", p.Odd(&s), p.Odd(&before))
	}
}

func TestReady(t *testing.T) {
	p := learned(100)
	at := noon.Add(2 * time.Hour).UnixNano()
	if p.Ready(at, int64(time.Hour), 101) || p.Ready(at, week, 50) || !p.Ready(at, int64(time.Hour), 100) {
		t.Error("ready at the wrong time")
	}
}

func TestCountsStayWithinBounds(t *testing.T) {
	p := learned(5 * full)
	if p.n > full {
		t.Errorf("%d", p.n)
	}
}

func TestAProfileIsHandedOn(t *testing.T) {
	state := learned(300).AppendTo(nil)
	p := saved.NewPacked(state)
	if again := Read(p).AppendTo(nil); p.End() != nil || !bytes.Equal(again, state) {
		t.Error("another profile was read")
	}
}
