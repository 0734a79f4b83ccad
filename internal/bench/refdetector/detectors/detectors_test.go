package detectors

import (
	"math/rand/v2"
	"testing"
)

// All ways down the trees give the same votes, to the last bit.
func TestSameVotes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	forest := forest()
	naive, branchFree := &flowDetector{trees: forest}, &flowDetector{trees: forest, branchFree: true}
	interleaved := &flowDetector{trees: forest, interleaved: true}
	for range 10_000 {
		var row [features]float64
		for i := range row {
			row[i] = r.Float64() * 1000
		}
		want := naive.votes(&row)
		if got := branchFree.votes(&row); got != want {
			t.Fatalf("branch-free %v, want %v", got, want)
		}
		if got := interleaved.votes(&row); got != want {
			t.Fatalf("interleaved %v, want %v", got, want)
		}
	}
}
