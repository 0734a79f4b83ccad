package detectors

import (
	"math"

	"github.com/picketwatch/picket/sdk"
)

// Ensemble is the forest and the entropy of the reference detector for others to use. What it says is the same to the last
// bit; its trees are kept in another form, so that the detectors above stay what the benchmarks have always compared.
type Ensemble struct{ trees []columns }

// columns are a tree by columns: a number of a node is the place of its limit as it is.
type columns struct {
	limits   [leaves]float64
	votes    [leaves]float64
	features [leaves]uint8
}

// NewEnsemble makes one.
func NewEnsemble() *Ensemble {
	e := &Ensemble{make([]columns, trees)}
	for t, from := range forest() {
		e.trees[t].votes = from.votes
		for i, n := range from.nodes {
			e.trees[t].limits[i], e.trees[t].features[i] = n.limit, uint8(n.feature)
		}
	}
	return e
}

// Votes is what all trees say of a flow, with a little for the entropy of its id.
func (e *Ensemble) Votes(f *sdk.Flow) float64 {
	var row [features]float64
	fillInPlace(&row, f)
	return e.votes(&row) + entropy(f.CommunityID)/100
}

func (e *Ensemble) votes(row *[features]float64) float64 {
	var sum float64
	for t := 0; t < trees; t += group {
		sum = votesByColumns((*[group]columns)(e.trees[t:]), row, sum)
	}
	return sum
}

// step is a step without a branch from a node that is no leaf.
func (t *columns) step(i uint64, row *[features]float64) uint64 {
	return 2*i + math.Float64bits(t.limits[i]-row[t.features[i]%features])>>63
}

// votesByColumns is interleavedVotes. The six steps are written out, as the compiler sees then that no place is outside.
func votesByColumns(x *[group]columns, row *[features]float64, sum float64) float64 {
	a, b, c, d, e := x[0].step(1, row), x[1].step(1, row), x[2].step(1, row), x[3].step(1, row), x[4].step(1, row)
	a, b, c, d, e = x[0].step(a, row), x[1].step(b, row), x[2].step(c, row), x[3].step(d, row), x[4].step(e, row)
	a, b, c, d, e = x[0].step(a, row), x[1].step(b, row), x[2].step(c, row), x[3].step(d, row), x[4].step(e, row)
	a, b, c, d, e = x[0].step(a, row), x[1].step(b, row), x[2].step(c, row), x[3].step(d, row), x[4].step(e, row)
	a, b, c, d, e = x[0].step(a, row), x[1].step(b, row), x[2].step(c, row), x[3].step(d, row), x[4].step(e, row)
	a, b, c, d, e = x[0].step(a, row), x[1].step(b, row), x[2].step(c, row), x[3].step(d, row), x[4].step(e, row)
	return sum + x[0].votes[a-leaves] + x[1].votes[b-leaves] + x[2].votes[c-leaves] + x[3].votes[d-leaves] + x[4].votes[e-leaves]
}

// fillInPlace is fill without a second row: the processor waits for numbers that are copied by pairs right after each was
// written alone.
func fillInPlace(row *[features]float64, f *sdk.Flow) {
	row[0], row[1], row[2] = float64(f.FwdPackets), float64(f.RevPackets), float64(f.FwdBytes)
	row[3], row[4], row[5] = float64(f.RevBytes), float64(f.FwdPayload), float64(f.RevPayload)
	row[6], row[7], row[8], row[9] = f.FwdLenMin, f.FwdLenMax, f.FwdLenMean, f.FwdLenStd
	row[10], row[11], row[12], row[13] = f.RevLenMin, f.RevLenMax, f.RevLenMean, f.RevLenStd
	row[14], row[15], row[16], row[17] = f.IATMin, f.IATMax, f.IATMean, f.IATStd
	row[18], row[19], row[20], row[21] = f.FwdIATMin, f.FwdIATMax, f.FwdIATMean, f.FwdIATStd
	row[22], row[23], row[24], row[25] = f.RevIATMin, f.RevIATMax, f.RevIATMean, f.RevIATStd
	row[26], row[27], row[28], row[29] = f.SynCount, f.FinCount, f.PshCount, f.AckCount
	row[30], row[31] = float64(f.SrcPort), float64(f.DstPort)
}
