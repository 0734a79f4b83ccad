package refpack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/sdk"
)

var (
	day    = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	inner  = netip.MustParseAddr("10.0.0.7")
	server = netip.MustParseAddr("10.0.9.9")
	far    = netip.MustParseAddr("198.51.100.20")
)

// host is one of many: of a network inside, or of one elsewhere.
func host(network string, n int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("%s.%d.%d", network, n/250, 1+n%250))
}

// tcp is an ordinary connection of ten seconds that begins so many seconds into the day.
func tcp(seconds int, src, dst netip.Addr) sdk.Flow {
	start := day.Add(time.Duration(seconds) * time.Second)
	all := uint8(sdk.FlagSYN | sdk.FlagACK | sdk.FlagFIN)
	return sdk.Flow{
		ID: 1, CommunityID: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", Start: start, End: start.Add(10 * time.Second), Src: src, Dst: dst, SrcPort: 40000, DstPort: 443,
		Proto: sdk.ProtoTCP, EndReason: sdk.EndFIN, FwdPackets: 8, RevPackets: 9, FwdBytes: 1200, RevBytes: 5000, FwdPayload: 700, RevPayload: 4500,
		FwdFlags: all, RevFlags: all, FwdFirstFlags: sdk.FlagSYN, Packets: []uint64{1, 2, 3}, App: "tls",
	}
}

// flows makes n flows.
func flows(n int, one func(i int) sdk.Flow) []sdk.Flow {
	out := make([]sdk.Flow, n)
	for i := range out {
		out[i] = one(i)
	}
	return out
}

type found []sdk.Finding

func (f *found) Finding(x sdk.Finding) error {
	*f = append(*f, x)
	return nil
}

// inspect shows flows to a pack in two batches, and flushes it.
func inspect(t *testing.T, p sdk.Detector, all []sdk.Flow) found {
	t.Helper()
	var sink found
	for _, part := range [][]sdk.Flow{all[:len(all)/2], all[len(all)/2:]} {
		if err := p.Inspect(t.Context(), sdk.Batch{Flows: part}, &sink); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context(), &sink); err != nil {
		t.Fatal(err)
	}
	return sink
}

// Each rule has flows that it is for, and flows much like them that it is not for.
func TestEachDetectorFindsItsOwn(t *testing.T) {
	hour := 3600
	for _, c := range []struct {
		rule, about string // what the finding's source or destination is
		good, bad   []sdk.Flow
	}{
		{rule: "fan-out", about: inner.String(),
			good: flows(150, func(i int) sdk.Flow { return tcp(i, inner, host("10.1", i)) }),
			bad:  flows(150, func(i int) sdk.Flow { return tcp(i*60, inner, host("10.1", i)) })}, // eleven in ten minutes
		{rule: "fan-in", about: server.String() + ":443",
			good: flows(150, func(i int) sdk.Flow { return tcp(i, host("10.1", i), server) }),
			bad:  flows(150, func(i int) sdk.Flow { return tcp(i, host("10.1", i%60), server) })},
		{rule: "volume-out", about: inner.String(),
			good: flows(20, func(i int) sdk.Flow { return up(tcp(i*60, inner, host("198.18", i)), 6<<20, 6<<20) }),
			bad:  flows(20, func(i int) sdk.Flow { return up(tcp(i*hour, inner, host("198.18", i)), 6<<20, 6<<20) })},
		{rule: "long-connection", about: far.String() + ":443",
			good: flows(5, func(i int) sdk.Flow { return piece(i, i < 4) }),
			bad:  flows(5, func(i int) sdk.Flow { return piece(i, i%2 == 0) })}, // closed every half an hour
		{rule: "odd-port", about: far.String() + ":4444",
			good: flows(3, func(i int) sdk.Flow { return to(tcp(i, inner, far), 4444) }),
			bad:  flows(3, func(i int) sdk.Flow { return to(tcp(i, inner, far), 8443) })},
		{rule: "failures", about: inner.String(),
			good: flows(40, func(i int) sdk.Flow { return refused(tcp(i, inner, server), i%10 > 0) }),
			bad:  flows(40, func(i int) sdk.Flow { return refused(tcp(i, inner, server), i%2 > 0) })},
		{rule: "period", about: far.String() + ":443",
			good: flows(20, func(i int) sdk.Flow { return tcp(i*60+i%3, inner, far) }),
			bad:  flows(20, func(i int) sdk.Flow { return tcp(i*60+17*(i%3), inner, far) })},
		{rule: "upload-ratio", about: far.String() + ":443",
			good: []sdk.Flow{up(tcp(0, inner, far), 2<<20, 30<<10)},
			bad:  []sdk.Flow{up(tcp(0, inner, far), 2<<20, 1<<20), up(tcp(9, inner, server), 2<<20, 0)}},
		{rule: "rare-destination", about: far.String() + ":443",
			good: append(visitors(40), up(tcp(300, inner, far), 40<<10, 80<<10)),
			bad:  append(visitors(40), up(tcp(300, inner, far), 40<<10, 80<<10), tcp(301, host("10.1", 4), far))},
		{rule: "half-open", about: server.String() + ":443",
			good: flows(150, func(i int) sdk.Flow { return open(tcp(i/10, host("198.18", i%9), server)) }),
			bad:  flows(150, func(i int) sdk.Flow { return open(tcp(i*2, host("198.18", i%9), server)) })},
		{rule: "dns-volume", about: inner.String(),
			good: flows(60, func(i int) sdk.Flow { return dns(i, 100<<10) }),
			bad:  flows(60, func(i int) sdk.Flow { return dns(i, 1<<10) })},
		{rule: "ensemble", about: far.String() + ":443", good: []sdk.Flow{drawn(t, true)}, bad: []sdk.Flow{drawn(t, false)}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := Plugin().New().(sdk.Detector)
			got := ofRule(inspect(t, p, c.good), c.rule)
			if len(got) != 1 {
				t.Fatalf("%d findings: %v", len(got), got)
			}
			f := got[0]
			if (f.Src != c.about && f.Dst != c.about) || f.Severity.Rank() == 0 || len(f.Flows) != 1 || len(f.Packets) == 0 || len(f.Techniques) == 0 || !strings.HasSuffix(f.Summary, ".") {
				t.Errorf("%+v", f)
			}
			if got := ofRule(inspect(t, p, c.bad), c.rule); len(got) > 0 { // the same instance: it has forgotten the first
				t.Errorf("false alarm: %v", got)
			}
		})
	}
}

func ofRule(all found, rule string) found {
	return slices.DeleteFunc(all, func(f sdk.Finding) bool { return f.Rule != rule })
}

func up(f sdk.Flow, sent, got uint64) sdk.Flow {
	f.FwdPayload, f.RevPayload = sent, got
	return f
}

func to(f sdk.Flow, port uint16) sdk.Flow {
	f.DstPort = port
	return f
}

// piece is half an hour of a connection, which goes on or ends.
func piece(i int, goesOn bool) sdk.Flow {
	f := tcp(i*1800, inner, far)
	f.End = f.Start.Add(30 * time.Minute)
	if goesOn {
		f.EndReason = sdk.EndActive
	}
	return f
}

func refused(f sdk.Flow, yes bool) sdk.Flow {
	if yes {
		f.RevFlags, f.App = sdk.FlagRST|sdk.FlagACK, ""
	}
	return f
}

func open(f sdk.Flow) sdk.Flow {
	f.FwdFlags, f.RevFlags, f.App = sdk.FlagSYN, sdk.FlagSYN|sdk.FlagACK, ""
	return f
}

func dns(seconds int, bytes uint64) sdk.Flow {
	f := tcp(seconds, inner, server)
	f.Proto, f.DstPort, f.App, f.FwdBytes, f.RevBytes = sdk.ProtoUDP, 53, "dns", bytes, bytes
	return f
}

// visitors are many clients of one outer service.
func visitors(n int) []sdk.Flow {
	return flows(n, func(i int) sdk.Flow { return tcp(i, host("10.1", i), host("198.18", 1)) })
}

// drawn is a flow that the trees call odd, or do not: they were drawn, so it is looked for.
func drawn(t *testing.T, odd bool) sdk.Flow {
	t.Helper()
	trees, r := detectors.NewEnsemble(), rand.New(rand.NewPCG(3, 4)) //nolint:gosec // not for secrets
	for range 1_000_000 {
		f := tcp(0, inner, far)
		for _, feature := range []*float64{
			&f.FwdLenMin, &f.FwdLenMax, &f.FwdLenMean, &f.FwdLenStd, &f.RevLenMin, &f.RevLenMax, &f.RevLenMean, &f.RevLenStd,
			&f.IATMin, &f.IATMax, &f.IATMean, &f.IATStd, &f.FwdIATMin, &f.FwdIATMax, &f.FwdIATMean, &f.FwdIATStd,
			&f.RevIATMin, &f.RevIATMax, &f.RevIATMean, &f.RevIATStd, &f.SynCount, &f.FinCount, &f.PshCount, &f.AckCount,
		} {
			*feature = 1000 * r.Float64()
		}
		if trees.Votes(&f) > oddVotes == odd {
			return f
		}
	}
	t.Fatal("the trees call no flow odd")
	return sdk.Flow{}
}

// How flows are cut into batches changes nothing.
func TestBatchesDoNotMatter(t *testing.T) {
	all := slices.Concat(flows(150, func(i int) sdk.Flow { return tcp(i, inner, host("10.1", i)) }), visitors(40))
	var whole, single found
	p, q := Plugin().New().(sdk.Detector), Plugin().New().(sdk.Detector)
	if err := p.Inspect(t.Context(), sdk.Batch{Flows: all}, &whole); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := q.Inspect(t.Context(), sdk.Batch{Flows: all[i : i+1]}, &single); err != nil {
			t.Fatal(err)
		}
	}
	if len(whole) == 0 || len(whole) != len(single) {
		t.Errorf("%d findings of one batch, %d of one flow each", len(whole), len(single))
	}
}

func TestTwelveRules(t *testing.T) {
	p := Plugin()
	if err := sdk.Check(p); err != nil || len(p.Rules) != 12 {
		t.Errorf("%d rules: %v", len(p.Rules), err)
	}
}

// A table keeps to its size, whatever comes, and loses what was quiet for longest first.
func TestTableIsBounded(t *testing.T) {
	var x table[uint64]
	for i := range uint64(4 * entries) {
		*x.at(mix(i, 7), int64(i)) = i
	}
	kept := 0
	x.all(func(*uint64) { kept++ })
	if kept != entries || x.forgotten != 3*entries {
		t.Errorf("%d kept, %d forgotten", kept, x.forgotten)
	}
	if last := x.known(mix(4*entries-1, 7)); last == nil || *last != 4*entries-1 {
		t.Error("the newest is not there")
	}
	if x.known(mix(0, 7)) != nil {
		t.Error("the oldest is still there")
	}
}

func TestSketchCounts(t *testing.T) {
	for _, n := range []int{1, 10, 100, 500} {
		var s sketch
		for range 2 { // the second time nothing is new
			for i := range n {
				s.add(hash(host("10.1", i)))
			}
		}
		if got := s.count(); got < 0.8*float64(n) || got > 1.2*float64(n) {
			t.Errorf("%d counted as %.0f", n, got)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	all := flows(1024, func(i int) sdk.Flow { return tcp(i, host("10.1", i*7%3000), host("198.18", i*31%5000)) })
	for _, d := range append(twelve(), nil) {
		p, name := &Pack{detectors: twelve()}, "all"
		if d != nil {
			p, name = &Pack{detectors: []detector{d}}, d.rule().ID
		}
		b.Run(name, func(b *testing.B) {
			var sink found
			for b.Loop() {
				if err := p.Inspect(context.Background(), sdk.Batch{Flows: all}, &sink); err != nil {
					b.Fatal(err)
				}
				sink = sink[:0]
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N*len(all)), "ns/flow")
		})
	}
}
