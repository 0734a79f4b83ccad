// Package detectors holds the detectors that the benchmarks measure hand-over with: one of usual weight, a light one,
// and one that walks the headers of packets. In go flows or packets, out come very few findings.
package detectors

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"

	"github.com/picketwatch/picket/sdk"
)

// The plugins.
const (
	Reference   = "bench/reference"   // seven thresholds, an entropy, 50 trees of depth 6
	BranchFree  = "bench/branch-free" // the same without branches in the trees
	Interleaved = "bench/interleaved" // the same, and several trees at a time: what the guest in Rust does
	Light       = "bench/light"       // seven thresholds
	Packets     = "bench/packets"     // a walk over all headers
)

// Plugins declares them.
func Plugins() []sdk.Plugin {
	rules := []sdk.Rule{{ID: "odd", Purpose: "A flow that looks odd.", Techniques: []string{"T1046"}, Severity: sdk.SeverityLow}}
	plugin := func(id string, sub sdk.Subscription, make func() sdk.Instance) sdk.Plugin {
		return sdk.Plugin{ID: id, Kind: sdk.KindDetector, Summary: "Measures hand-over.", Rules: rules, Subscription: sub, New: make}
	}
	flows := sdk.Subscription{Flows: true}
	return []sdk.Plugin{
		plugin(Reference, flows, func() sdk.Instance { return &flowDetector{trees: forest()} }),
		plugin(BranchFree, flows, func() sdk.Instance { return &flowDetector{trees: forest(), branchFree: true} }),
		plugin(Interleaved, flows, func() sdk.Instance { return &flowDetector{trees: forest(), interleaved: true} }),
		plugin(Light, flows, func() sdk.Instance { return &flowDetector{} }),
		plugin(Packets, sdk.Subscription{Packets: &sdk.PacketSubscription{SnapLen: 1600}}, func() sdk.Instance { return &packetDetector{} }),
	}
}

const (
	trees    = 50
	depth    = 6
	features = 32
)

// node i of a tree leads to node 2i when the feature is at most the limit, else to 2i+1; the root is 1.
type node struct {
	feature uint32
	limit   float64
}

const leaves = 1 << depth

type tree struct {
	nodes [leaves]node // the first is not used
	votes [leaves]float64
}

// forest is the same in every process.
func forest() []tree {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]tree, trees)
	for t := range out {
		for i := range leaves {
			out[t].nodes[i] = node{uint32(r.IntN(features)), r.Float64() * 1000}
			out[t].votes[i] = r.Float64() - 0.5
		}
	}
	return out
}

type counted struct{}

func (counted) Config() any                                  { return nil }
func (counted) Flush(context.Context, sdk.FindingSink) error { return nil }
func (counted) Restore(context.Context, []byte) error        { return nil }

// Snapshot says how many allocations the process has made: the benchmark divides them by the records.
func (counted) Snapshot(context.Context) ([]byte, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Append(nil, m.Mallocs), nil
}

type flowDetector struct {
	counted
	trees                   []tree
	branchFree, interleaved bool
}

func (d *flowDetector) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Flows {
		f := &b.Flows[i]
		score := thresholds(f)
		if d.trees != nil {
			score += entropy(f.CommunityID) / 100
			var row [features]float64
			fill(&row, f)
			score += d.votes(&row)
		}
		if score > 1000 {
			if err := sink.Finding(finding(f.Src.String(), f.Dst.String())); err != nil {
				return err
			}
		}
	}
	return nil
}

func finding(src, dst string) sdk.Finding {
	return sdk.Finding{Rule: "odd", Severity: sdk.SeverityLow, Risk: 10, Confidence: 0.5, Techniques: []string{"T1046"}, Src: src, Dst: dst, Summary: "Odd."}
}

// thresholds is above 1000 for a flow of the marker port: one in about a thousand.
func thresholds(f *sdk.Flow) float64 {
	var score float64
	if f.FwdPackets > 500 {
		score++
	}
	if f.RevBytes > 100_000 {
		score++
	}
	if f.FwdLenMean > 900 {
		score++
	}
	if f.IATMax > 10 {
		score++
	}
	if f.SynCount > 3 {
		score++
	}
	if f.DstPort < 1024 {
		score++
	}
	if f.DstPort == MarkerPort {
		score += 1000
	}
	return score
}

// MarkerPort marks the flows that are found.
const MarkerPort = 6666

func (d *flowDetector) votes(row *[features]float64) float64 {
	var sum float64
	if d.interleaved {
		for t := 0; t < trees; t += group {
			sum = interleavedVotes((*[group]tree)(d.trees[t:]), row, sum)
		}
		return sum
	}
	if d.branchFree {
		for t := range d.trees {
			sum += d.trees[t].branchFreeVote(row)
		}
		return sum
	}
	for t := range d.trees {
		sum += d.trees[t].vote(row)
	}
	return sum
}

func (t *tree) vote(row *[features]float64) float64 {
	i := uint32(1)
	for i < leaves {
		n := &t.nodes[i]
		i *= 2
		if row[n.feature%features] > n.limit {
			i++
		}
	}
	return t.votes[i-leaves]
}

// branchFreeVote is vote with the sign of a difference in the place of the branch.
func (t *tree) branchFreeVote(row *[features]float64) float64 {
	i := uint64(1)
	for range depth {
		i = t.step(i, row)
	}
	return t.votes[i%leaves]
}

func (t *tree) step(i uint64, row *[features]float64) uint64 {
	n := &t.nodes[i%leaves]
	return 2*i + math.Float64bits(n.limit-row[n.feature%features])>>63
}

// group trees go down side by side: each step waits for the one before, and has work beside it this way.
const group = 5

// interleavedVotes adds the votes of these trees to sum, in their order.
func interleavedVotes(trees *[group]tree, row *[features]float64, sum float64) float64 {
	a, b, c, d, e := uint64(1), uint64(1), uint64(1), uint64(1), uint64(1)
	for range depth {
		a, b, c, d, e = trees[0].step(a, row), trees[1].step(b, row), trees[2].step(c, row), trees[3].step(d, row), trees[4].step(e, row)
	}
	return sum + trees[0].votes[a%leaves] + trees[1].votes[b%leaves] + trees[2].votes[c%leaves] + trees[3].votes[d%leaves] + trees[4].votes[e%leaves]
}

// logs are the logarithms of the numbers that a byte's occurrences may have.
var logs = func() (out [256]float64) {
	for i := range out {
		out[i] = math.Log2(float64(max(i, 1)))
	}
	return out
}()

// entropy of the bytes of a text, of the first 255 of them.
func entropy(s string) float64 {
	s = s[:min(len(s), len(logs)-1)]
	if s == "" {
		return 0
	}
	var seen [256]uint8
	for i := range len(s) {
		seen[s[i]]++
	}
	var sum float64
	for i := range len(s) {
		sum += logs[seen[s[i]]]
	}
	return logs[len(s)] - sum/float64(len(s))
}

func fill(row *[features]float64, f *sdk.Flow) {
	*row = [features]float64{
		float64(f.FwdPackets), float64(f.RevPackets), float64(f.FwdBytes), float64(f.RevBytes), float64(f.FwdPayload), float64(f.RevPayload),
		f.FwdLenMin, f.FwdLenMax, f.FwdLenMean, f.FwdLenStd, f.RevLenMin, f.RevLenMax, f.RevLenMean, f.RevLenStd,
		f.IATMin, f.IATMax, f.IATMean, f.IATStd, f.FwdIATMin, f.FwdIATMax, f.FwdIATMean, f.FwdIATStd,
		f.RevIATMin, f.RevIATMax, f.RevIATMean, f.RevIATStd, f.SynCount, f.FinCount, f.PshCount, f.AckCount,
		float64(f.SrcPort), float64(f.DstPort),
	}
}

type packetDetector struct {
	counted
	sum uint64
}

func (d *packetDetector) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Packets {
		d.sum += walk(b.Packets[i].Data)
	}
	if d.sum == 0 {
		return sink.Finding(finding("", ""))
	}
	return nil
}

// walk goes over Ethernet, IPv4 and the ports.
func walk(p []byte) uint64 {
	if len(p) < 34 || binary.BigEndian.Uint16(p[12:]) != 0x0800 {
		return 0
	}
	at := 14 + int(p[14]&15)*4
	if len(p) < at+4 {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(p[at:])) + uint64(p[23])
}
