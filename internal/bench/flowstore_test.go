//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/core/kernel/store"
	services "github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	storedFlows    = 10_000_000
	storedCaptures = 20
	storedName     = "PICKET_BENCH_FLOWS"     // how many flows are stored, 10,000,000 when not set
	storedDir      = "PICKET_BENCH_FLOWS_DIR" // where they lie; kept and used again when set
)

// kept is what the host hands over of what the worker sends: flows, or facts of a kind.
type kept struct {
	kind string
	records.Parcel
}

// asSent makes what the worker does: it sends frames as S2 blocks, which the store keeps as they are.
func asSent(kind string, frame, features []byte) kept {
	p := records.Parcel{Frame: frame, Features: features, Packed: s2.Encode(nil, frame)}
	if features != nil {
		p.PackedFeatures = s2.Encode(nil, features)
	}
	return kept{kind, p}
}

// realFlows are the flows of the capture that PICKET_BENCH_PCAP names, with all features, and the frames of those and of all
// facts that a server keeps.
func realFlows(tb testing.TB) (flows []sdk.Flow, frames []kept) {
	tb.Helper()
	path := os.Getenv("PICKET_BENCH_PCAP")
	if path == "" {
		path = "../../examples/datasets/first-light/first-light.pcap"
	}
	f, err := os.Open(path)
	if err != nil {
		tb.Skip(err)
	}
	defer f.Close()
	maker, err := facts.New(facts.Config{Kinds: services.RecordedFacts, Emit: func(kind string, frame []byte) error {
		frames = append(frames, asSent(kind, slices.Clone(frame), nil))
		return nil
	}})
	fatal(tb, err)
	_, err = traffic.Analyze(context.Background(), f, traffic.Options{Flow: flow.Config{Batch: records.BatchProcess, Features: true, Apps: maker.Engine()}},
		maker.Flows(func(list []sdk.Flow) error {
			frames = append(frames, asSent("", records.AppendShortFlows(nil, list), records.PackFeatures(nil, list)))
			for _, x := range list {
				further := *x.Features
				x.Packets, x.Features = slices.Clone(x.Packets), &further
				flows = append(flows, x)
			}
			return nil
		}))
	if err != nil || len(flows) == 0 {
		tb.Fatalf("%d flows of %s: %v", len(flows), path, err)
	}
	return flows, frames
}

// grower makes new flows out of real ones: other hosts in the same networks, later, with other ids.
type grower struct {
	real []sdk.Flow
	from time.Time
}

func newGrower(real []sdk.Flow) *grower {
	return &grower{real: real, from: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
}

// next returns flow number n of total: they are spread over a week.
func (g *grower) next(n, total int) sdk.Flow {
	x := g.real[n%len(g.real)]
	copied := uint32(n / len(g.real))
	start := g.from.Add(time.Duration(float64(7*24*time.Hour) * float64(n) / float64(total)))
	x.End, x.Start = start.Add(x.Duration()), start
	x.Src, x.Dst = moved(x.Src, copied), moved(x.Dst, copied*7)
	return x
}

// moved is another address of the same /16, or of the same /64.
func moved(a netip.Addr, by uint32) netip.Addr {
	if !a.IsValid() {
		return a
	}
	b := a.AsSlice()
	tail := b[len(b)-2:]
	binary.BigEndian.PutUint16(tail, binary.BigEndian.Uint16(tail)^uint16(by))
	out, _ := netip.AddrFromSlice(b)
	return out
}

// serverNames are what flows are called in the store: few that are often asked for, many that are rare.
func serverName(r *rand.Rand) string {
	n := int(r.ExpFloat64() * 300)
	return fmt.Sprintf("host%d.service%d.example.%s", n%97, n, []string{"com", "org", "net"}[n%3])
}

// growStore fills a store.
func growStore(b *testing.B, s *store.Flows, total int) {
	b.Helper()
	real, _ := realFlows(b)
	g := newGrower(real)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not for secrets
	var frame, features []byte
	batch := make([]sdk.Flow, 0, records.BatchProcess)
	hellos := make([]sdk.TLS, 0, records.BatchFacts)
	each := (total + storedCaptures - 1) / storedCaptures
	for n := 0; n < total; {
		rec, err := s.Record(b.Context(), "default", fmt.Sprintf("capture-%02d", n/each))
		fatal(b, err)
		for id := uint64(1); id <= uint64(each) && n < total; {
			batch, hellos = batch[:0], hellos[:0]
			for len(batch) < cap(batch) && id <= uint64(each) && n < total {
				x := g.next(n, total)
				x.ID = id
				if x.DstPort == 443 && len(hellos) < cap(hellos) {
					hellos = append(hellos, sdk.TLS{Seen: sdk.Seen{Flow: id, Time: x.Start, Client: x.Src, Server: x.Dst, ClientPort: x.SrcPort, ServerPort: x.DstPort, Proto: x.Proto},
						Protocol: "tls", ServerName: serverName(r), Version: 0x304})
				}
				batch = append(batch, x)
				id, n = id+1, n+1
			}
			if len(hellos) > 0 {
				frame = records.AppendFacts(frame[:0], hellos)
				fatal(b, rec.Facts(b.Context(), sdk.FactsTLS, records.Parcel{Frame: frame}))
			}
			frame, features = records.AppendShortFlows(frame[:0], batch), records.PackFeatures(features[:0], batch)
			fatal(b, rec.Flows(b.Context(), records.Parcel{Frame: frame, Features: features}))
		}
		fatal(b, rec.Close(b.Context(), true))
	}
}

func fatal(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// stored opens a store that holds many flows, filling it when it is empty.
func stored(b *testing.B) *store.Flows {
	b.Helper()
	dir, total := os.Getenv(storedDir), storedFlows
	if dir == "" {
		dir = b.TempDir()
	}
	if n, err := strconv.Atoi(os.Getenv(storedName)); err == nil {
		total = n
	}
	s, err := store.OpenFlows(b.Context(), store.FlowsConfig{Dir: filepath.Join(dir, "flows")})
	fatal(b, err)
	b.Cleanup(func() { s.Close() })
	sum, err := s.Summary(b.Context(), "default", store.FlowFilter{})
	fatal(b, err)
	if sum.Flows != uint64(total) {
		growStore(b, s, total)
	}
	return s
}

// BenchmarkRecordFlows writes the flows of a capture with their features and facts, to where a page finds them. A small capture's
// are written several times over, as one.
func BenchmarkRecordFlows(b *testing.B) {
	flows, frames := realFlows(b)
	frames, count := copied(b, flows, frames)
	dir := b.TempDir()
	s, err := store.OpenFlows(b.Context(), store.FlowsConfig{Dir: dir})
	fatal(b, err)
	defer s.Close()
	before := cpuTime(0)
	b.ResetTimer()
	for range b.N {
		rec, err := s.Record(b.Context(), "default", "capture")
		fatal(b, err)
		for _, x := range frames {
			if x.kind == "" {
				fatal(b, rec.Flows(b.Context(), x.Parcel))
			} else {
				fatal(b, rec.Facts(b.Context(), x.kind, x.Parcel))
			}
		}
		fatal(b, rec.Close(b.Context(), true))
	}
	b.ReportMetric(float64(cpuTime(0)-before)/float64(b.N*count), "cpu-ns/flow")
	facts := 0
	for _, x := range frames {
		if x.kind != "" {
			facts += records.Count(x.Frame)
		}
	}
	b.ReportMetric(float64(sizeOf(b, dir))/float64(count), "bytes/flow")
	b.ReportMetric(float64(facts)/float64(count), "facts/flow")
}

// sizeOf is what the files of a folder take.
func sizeOf(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	fatal(b, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	}))
	return bytes
}

// explorer is what the flows explorer asks for: filters of every kind, alone and together.
func explorer(b *testing.B, s *store.Flows) map[string]store.FlowFilter {
	b.Helper()
	p, err := s.List(b.Context(), store.FlowQuery{Tenant: "default", Filter: store.FlowFilter{Protos: []uint8{sdk.ProtoTCP}}})
	fatal(b, err)
	if len(p.Flows) == 0 {
		b.Fatal("no flows")
	}
	x := p.Flows[len(p.Flows)/2]
	one := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	near := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()-16).Masked() }
	day := x.Start.Truncate(24 * time.Hour)
	return map[string]store.FlowFilter{
		"none":     {},
		"capture":  {Captures: []string{"capture-07"}},
		"hour":     {From: day.Add(3 * time.Hour), To: day.Add(4 * time.Hour)},
		"days":     {From: day.Add(-72 * time.Hour), To: day},
		"host":     {Host: one(x.Src)},
		"network":  {Host: near(x.Dst)},
		"pair":     {Src: one(x.Src), Dst: one(x.Dst)},
		"port":     {Port: 443},
		"rare":     {Port: 47808},
		"proto":    {Protos: []uint8{sdk.ProtoUDP}},
		"unknown":  {Apps: []string{""}},
		"app":      {Apps: []string{"tls"}},
		"reset":    {Reasons: []sdk.EndReason{sdk.EndRST}},
		"large":    {MinBytes: 1 << 20},
		"long":     {MinDuration: time.Minute},
		"packets":  {MinPackets: 100, MaxPackets: 200},
		"tunnel":   {Tunnels: []string{"gre", "vxlan"}},
		"vlan":     {VLAN: 100},
		"name":     {Text: "service7.example"},
		"names":    {Text: "example.org"},
		"nobody":   {Text: "no such name"},
		"together": {Host: near(x.Src), DstPort: 443, MinBytes: 2000, From: day.Add(-48 * time.Hour)},
	}
}

// timed runs ask b.N times, but for a first one that warms up, and reports the 95th percentile, and the processor time.
func timed(b *testing.B, ask func()) (took []float64) {
	b.Helper()
	ask()
	before := cpuTime(0)
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		ask()
		took = append(took, float64(time.Since(began))/1e6)
	}
	b.ReportMetric(p95(took), "p95-ms")
	b.ReportMetric(float64(cpuTime(0)-before)/float64(b.N)/1e6, "cpu-ms")
	return took
}

func p95(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)*95/100]
}

// BenchmarkFlowStore asks a store of many flows as the explorer does: for pages by each filter and order, the page behind them,
// sums, a flow in detail.
func BenchmarkFlowStore(b *testing.B) { askAll(b, stored(b)) }

func askAll(b *testing.B, s *store.Flows) {
	b.Helper()
	filters := explorer(b, s)
	var all []float64
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		f := filters[name]
		for _, sort := range []store.FlowSort{store.FlowsByStart, store.FlowsByBytes, store.FlowsByDuration} {
			b.Run("page/"+name+"/"+string(sort), func(b *testing.B) {
				next := ""
				all = append(all, timed(b, func() {
					p, err := s.List(b.Context(), store.FlowQuery{Tenant: "default", Filter: f, Sort: sort, Page: store.Page{Cursor: next}})
					fatal(b, err)
					next = p.Next
				})...)
			})
		}
		b.Run("sum/"+name, func(b *testing.B) {
			all = append(all, timed(b, func() {
				_, err := s.Summary(b.Context(), "default", f)
				fatal(b, err)
			})...)
		})
	}
	b.Run("flow", func(b *testing.B) {
		id := uint64(0)
		all = append(all, timed(b, func() {
			id++
			_, err := s.Get(b.Context(), "default", "capture-03", id)
			fatal(b, err)
		})...)
	})
	if len(all) > 0 {
		b.Run("all", func(b *testing.B) {
			for range b.N { //nolint:revive // what was measured above is reported
			}
			b.ReportMetric(p95(all), "p95-ms")
		})
	}
}

// BenchmarkFlowReplay reads stored flows back as frames and decodes them, features too, as a detector does.
func BenchmarkFlowReplay(b *testing.B) {
	s := stored(b)
	var decoder records.BatchDecoder
	decoder.Features = true
	flows := 0
	before := cpuTime(0)
	b.ResetTimer()
	for i := range b.N {
		fatal(b, s.Replay(b.Context(), "default", fmt.Sprintf("capture-%02d", i%storedCaptures), func(_ string, p records.Parcel) error {
			frame, err := p.Long()
			if err != nil {
				return err
			}
			batch, err := decoder.Decode(frame)
			flows += len(batch.Flows)
			return err
		}))
	}
	b.ReportMetric(float64(b.Elapsed())/float64(flows), "ns/flow")
	b.ReportMetric(float64(cpuTime(0)-before)/float64(flows), "cpu-ns/flow")
}
