// Command train grows the model of picket/anomaly. It makes captures of ordinary traffic, lets the picket command turn
// them into flows, grows the forests, and sets the thresholds so that neither this traffic nor that of further captures
// named as arguments is unusual. The same input gives the same model:
//
//	go run ./plugins/detectors/anomaly/train [CAPTURE...] > plugins/detectors/anomaly/model.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/anomaly"
	"github.com/picketwatch/picket/plugins/detectors/internal/scenario"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	trees     = 64
	subsample = 128
	depth     = 7
	margin    = 0.01 // above what is ordinary
	flows     = 3000 // of each class

	// ordinaryShare of the training is below the threshold. The rest are the corners of what was made up.
	ordinaryShare = 0.995
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(calibrate []string) error {
	training, err := ordinary()
	if err != nil {
		return err
	}
	m := anomaly.Model{
		Schema: anomaly.ModelSchema, Features: anomaly.FeatureNames, Depth: depth, Classes: map[string]anomaly.Forest{},
		Card: anomaly.Card{
			Name: "shape", Version: "1", Method: fmt.Sprintf("isolation forest, %d trees of depth %d grown from %d flows each", trees, depth, subsample),
			Trained:     "made-up ordinary traffic of the program train: pings of all systems, answers to them, DNS questions and answers",
			Flows:       map[string]int{},
			Calibrated:  fmt.Sprintf("thresholds lie %.2f above the scores of %.1f %% of the training and of all flows of %d captures without attacks", margin, 100*ordinaryShare, len(calibrate)),
			Limits:      "ICMP and DNS over UDP only; it knows shapes, not content, and says unusual, not malicious",
			Reproducing: "go run ./plugins/detectors/anomaly/train with the same captures gives the same bytes",
		},
	}
	calm, err := read(calibrate)
	if err != nil {
		return err
	}
	for _, class := range []string{"dns", "icmp"} {
		m.Card.Flows[class] = len(training[class])
		f := grow(training[class], rand.New(rand.NewPCG(1, uint64(len(class)))))
		known, quiet := scores(&f, training[class]), scores(&f, calm[class])
		made := known[int(float64(len(known))*ordinaryShare)]
		fmt.Fprintf(os.Stderr, "train: %s: %.4f by the training, %.4f by the calibration\n", class, made, last(quiet))
		f.Threshold = max(made, last(quiet))
		f.Threshold = math.Round((f.Threshold+margin)*1e4) / 1e4
		m.Classes[class] = f
	}
	out, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(out, '\n'))
	return err
}

type point = [8]float64

// last returns the last of scores in order, 0 when there are none.
func last(scores []float64) float64 {
	if len(scores) == 0 {
		return 0
	}
	return scores[len(scores)-1]
}

// scores returns the scores of points in order.
func scores(f *anomaly.Forest, points []point) []float64 {
	var out []float64
	for _, x := range points {
		out = append(out, f.Score(&x, depth))
	}
	slices.Sort(out)
	return out
}

// read turns captures into points, by class.
func read(captures []string) (map[string][]point, error) {
	out := map[string][]point{}
	for _, name := range captures {
		var errOut bytes.Buffer
		cmd := exec.Command("bin/picket", "flows", "--format", "frames", name)
		cmd.Stderr = &errOut
		frames, err := cmd.Output() // a capture that breaks off still gives its beginning
		if err != nil && len(frames) == 0 {
			fmt.Fprintf(os.Stderr, "train: %s: %s", name, errOut.Bytes())
		}
		for len(frames) > 0 {
			frame, rest, err := records.Next(frames)
			if err != nil {
				return nil, err
			}
			list, err := records.DecodeFlows(frame, nil)
			if err != nil {
				return nil, err
			}
			for i := range list {
				if class := anomaly.Class(&list[i]); class != "" {
					out[class] = append(out[class], anomaly.Features(&list[i]))
				}
			}
			frames = rest
		}
	}
	return out, nil
}

// ordinary makes the training traffic.
func ordinary() (map[string][]point, error) {
	dir, err := os.MkdirTemp("", "train-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	pings, questions := rand.New(rand.NewPCG(7, 1)), rand.New(rand.NewPCG(7, 2))
	sc := scenario.New(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC))
	for i := range flows {
		ping(sc, pings, i)
		question(sc, questions, i)
	}
	name := filepath.Join(dir, "ordinary.pcap")
	if err := os.WriteFile(name, sc.Pcap(), 0o600); err != nil {
		return nil, err
	}
	return read([]string{name})
}

// pair returns two addresses that no other conversation has.
func pair(i int, net byte) (a, b netip.Addr) {
	return netip.AddrFrom4([4]byte{10, net, byte(i >> 8), byte(i)}), netip.AddrFrom4([4]byte{198, 18 + net%2, byte(i >> 8), byte(i % 250)})
}

// ping is the work of a person, of a monitoring system, or of a machine that cannot be reached.
func ping(sc *scenario.Scenario, r *rand.Rand, i int) {
	a, b := pair(i, 1)
	at := time.Duration(r.Int64N(int64(8 * time.Hour)))
	if r.IntN(6) == 0 { // unreachable, too long, on the way for too long
		for n := range 1 + r.IntN(8) {
			sc.ICMP(at+time.Duration(n)*time.Duration(1+r.IntN(1500))*time.Millisecond, a, b, []uint8{3, 11}[r.IntN(2)], 0, []int{28, 36, 60, 84, 128, 548}[r.IntN(6)]+r.IntN(8))
		}
		return
	}
	size := []int{8, 16, 24, 32, 36, 40, 48, 56, 56, 56, 64, 72, 84, 100, 128, 192, 256, 512, 1000, 1400, 1472}[r.IntN(21)]
	count := []int{1, 1, 1, 2, 3, 4, 4, 4, 5, 8, 10, 20, 30, 60, 120}[r.IntN(15)]
	if size > 256 { // a test of the path, which nobody repeats for long
		count = min(count, 5)
	}
	gap := []time.Duration{10 * time.Millisecond, 200 * time.Millisecond, time.Second, time.Second, time.Second, 5 * time.Second, 30 * time.Second}[r.IntN(7)]
	silent, rtt := r.IntN(5) == 0, time.Duration(100+r.IntN(200_000))*time.Microsecond
	for n := range count {
		t := at + time.Duration(n)*gap
		sc.ICMP(t, a, b, 8, 0, size)
		if !silent && r.IntN(20) > 0 {
			sc.ICMP(t+rtt, b, a, 0, 0, size)
		}
	}
}

// question is one lookup: for one or two types, with retries, from a port that is used once or for a while.
func question(sc *scenario.Scenario, r *rand.Rand, i int) {
	a, b := pair(i, 2)
	from, to := netip.AddrPortFrom(a, uint16(1024+r.IntN(60000))), netip.AddrPortFrom(b, 53)
	at := time.Duration(r.Int64N(int64(8 * time.Hour)))
	count := []int{1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 6, 10, 20, 60}[r.IntN(15)]
	silent := r.IntN(12) == 0
	for range count {
		sent := 12 + 5 + 6 + int(math.Exp(r.Float64()*math.Log(60))) + []int{0, 11, 23}[r.IntN(3)]
		got := sent + int(math.Exp(r.Float64()*math.Log(1400)))
		if got > 1400 || r.IntN(4) == 0 {
			got = sent + r.IntN(120)
		}
		for range 1 + r.IntN(8)/7 {
			sc.UDP(at, from, to, sent)
			if !silent {
				sc.UDP(at+time.Duration(200+r.IntN(150_000))*time.Microsecond, to, from, got)
				break
			}
			at += time.Duration(1+r.IntN(5)) * time.Second
		}
		at += time.Duration(math.Exp(r.Float64()*math.Log(20_000))) * time.Millisecond
	}
}

// grow makes a forest. Each tree cuts a random sample at random places until every flow stands alone or the depth ends.
func grow(points []point, r *rand.Rand) anomaly.Forest {
	f := anomaly.Forest{Norm: meanDepth(subsample)}
	for range trees {
		sample := make([]point, subsample)
		for i := range sample {
			sample[i] = points[r.IntN(len(points))]
		}
		nodes := 1<<depth - 1
		t := anomaly.Tree{Feature: make([]uint8, nodes), Threshold: make([]float64, nodes), Leaf: make([]float64, nodes+1)}
		cut(&t, 0, 0, sample, r)
		f.Trees = append(f.Trees, t)
	}
	return f
}

// never is above every feature, so that everything goes left.
const never = 1e18

func cut(t *anomaly.Tree, node, level int, points []point, r *rand.Rand) {
	feature, low, high := choose(points, r)
	if level == depth || low == high {
		fill(t, node, level, math.Round((float64(level)+meanDepth(len(points)))*1e3)/1e3)
		return
	}
	at := math.Round((low+(high-low)*r.Float64())*1e3) / 1e3
	var left, right []point
	for _, p := range points {
		if p[feature] > at {
			right = append(right, p)
		} else {
			left = append(left, p)
		}
	}
	t.Feature[node], t.Threshold[node] = uint8(feature), at
	cut(t, 2*node+1, level+1, left, r)
	cut(t, 2*node+2, level+1, right, r)
}

// choose returns a feature in which the points differ, and its range.
func choose(points []point, r *rand.Rand) (feature int, low, high float64) {
	if len(points) < 2 {
		return 0, 0, 0
	}
	for _, feature = range r.Perm(len(point{})) {
		low, high = points[0][feature], points[0][feature]
		for _, p := range points {
			low, high = min(low, p[feature]), max(high, p[feature])
		}
		if low < high {
			return feature, low, high
		}
	}
	return 0, 0, 0
}

// fill makes all that is below a node stand for the same depth.
func fill(t *anomaly.Tree, node, level int, value float64) {
	if level == depth {
		t.Leaf[node-len(t.Feature)] = value
		return
	}
	t.Threshold[node] = never
	fill(t, 2*node+1, level+1, value)
	fill(t, 2*node+2, level+1, value)
}

// meanDepth is the mean depth of an unsuccessful search in a binary tree of n.
func meanDepth(n int) float64 {
	if n < 2 {
		return 0
	}
	if n == 2 {
		return 1
	}
	return 2*(math.Log(float64(n-1))+0.5772156649) - 2*float64(n-1)/float64(n)
}
