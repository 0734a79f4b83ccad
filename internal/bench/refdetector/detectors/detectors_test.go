package detectors

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// All ways down the trees give the same votes, to the last bit.
func TestSameVotes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	forest := forest()
	naive, branchFree := &flowDetector{trees: forest}, &flowDetector{trees: forest, branchFree: true}
	interleaved := &flowDetector{trees: forest, interleaved: true}
	ensemble := NewEnsemble()
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
		if got := ensemble.votes(&row); got != want {
			t.Fatalf("by columns %v, want %v", got, want)
		}
	}
}

// Both ways to fill a row put each number of a flow in the same place.
func TestSameRows(t *testing.T) {
	f := sdk.Flow{FwdPackets: 1, RevPackets: 2, FwdBytes: 3, RevBytes: 4, FwdPayload: 5, RevPayload: 6, SrcPort: 7, DstPort: 8}
	numbers := reflect.ValueOf(&f).Elem()
	for i := range numbers.NumField() {
		if field := numbers.Field(i); field.Kind() == reflect.Float64 {
			field.SetFloat(float64(100 + i))
		}
	}
	var want, got [features]float64
	fill(&want, &f)
	fillInPlace(&got, &f)
	if got != want {
		t.Errorf("in place %v, want %v", got, want)
	}
}
