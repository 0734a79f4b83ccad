package sketch

import (
	"fmt"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// It counts far more than it can hold, and goes on where it was written down.
func TestCounts(t *testing.T) {
	for _, n := range []int{1, 16, 17, 100, 1000, 10000} {
		var s Sketch
		sum := uint64(0)
		for round := range 2 {
			for i := range n {
				sum += s.Add(uint32(dnsname.Hash(fmt.Sprint(i))))
			}
			if p := saved.NewPacked(s.AppendTo(nil)); round == 0 {
				if s = Read(p); p.End() != nil {
					t.Fatal(p.End())
				}
			}
		}
		if got := float64(sum) / Unit; got < 0.85*float64(n) || got > 1.15*float64(n) {
			t.Errorf("%d are counted as %.0f", n, got)
		}
	}
}
