//go:build linux

package quality

import (
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/records"
)

// mostRecords bounds what the benchmark keeps of the captures. Features are a kilobyte a flow.
const mostRecords = 120_000

// BenchmarkDetectors shows each detector, in this process, what it subscribes to of lab-1 and of the shared captures, all of it as
// one. The figures are the time for each record, and what it holds at the end, before it may forget.
func BenchmarkDetectors(b *testing.B) {
	all := recorded(b)
	for _, p := range everything() {
		b.Run(filepath.Base(p.ID), func(b *testing.B) {
			var mine []sdk.Batch
			n := 0
			for _, batch := range all {
				if rows := wanted(p.Subscription, batch); rows > 0 {
					mine, n = append(mine, batch), n+rows
				}
			}
			if n == 0 {
				b.Skip("nothing of what it subscribes to is in the captures")
			}
			var held uint64
			var spent time.Duration
			for first := true; b.Loop(); first = false {
				d, before := begun(b, p), uint64(0)
				if first {
					before = inUse()
				}
				since := cpuTime(b)
				for _, batch := range mine {
					if err := d.Inspect(b.Context(), batch, discard{}); err != nil {
						b.Fatal(err)
					}
				}
				spent += cpuTime(b) - since
				if first {
					held = max(inUse(), before) - before
				}
				since = cpuTime(b)
				if err := d.Flush(b.Context(), discard{}); err != nil {
					b.Fatal(err)
				}
				spent += cpuTime(b) - since
			}
			b.ReportMetric(float64(spent)/float64(b.N)/float64(n), "cpu-ns/record")
			b.ReportMetric(float64(n), "records")
			b.ReportMetric(float64(held)/(1<<20), "held-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type discard struct{}

func (discard) Finding(sdk.Finding) error { return nil }

// cpuTime is what this process has used. Wall time is worth little beside other work.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func begun(b *testing.B, p sdk.Plugin) sdk.Detector {
	b.Helper()
	d := p.New().(sdk.Detector)
	if err := config.Decode([]byte("{}"), d.Config()); err != nil {
		b.Fatal(err)
	}
	if s, ok := d.(sdk.Starter); ok {
		if err := s.Start(b.Context(), host{}); err != nil {
			b.Fatal(err)
		}
	}
	return d
}

// wanted is how many rows of a batch a detector is shown.
func wanted(s sdk.Subscription, b sdk.Batch) int {
	switch {
	case b.Flows != nil:
		if s.Flows {
			return len(b.Flows)
		}
	case b.Packets != nil:
		if s.Packets != nil && slices.Equal(s.Packets.Layers, []string{"icmp"}) {
			return len(b.Packets)
		}
	default:
		for _, kind := range s.Facts {
			if n := rows(kind, &b); n > 0 {
				return n
			}
		}
	}
	return 0
}

func rows(kind string, b *sdk.Batch) int {
	return map[string]int{sdk.FactsDNS: len(b.DNS), sdk.FactsTLS: len(b.TLS), sdk.FactsHTTP: len(b.HTTP), sdk.FactsSMB: len(b.SMB), sdk.FactsDHCP: len(b.DHCP),
		sdk.FactsARP: len(b.ARP), sdk.FactsOT: len(b.OT), sdk.FactsFiles: len(b.Files), sdk.FactsLogins: len(b.Logins), sdk.FactsMessages: len(b.Messages)}[kind]
}

// recorded are the flows with all features, the facts and the pings of the captures.
func recorded(b *testing.B) (all []sdk.Batch) {
	b.Helper()
	files, err := filepath.Glob("../../../examples/datasets/lab-1/*.pcap.zst")
	if err != nil || len(files) == 0 {
		b.Fatalf("no captures of lab-1: %v", err)
	}
	more, err := filepath.Glob(filepath.Join(shared, "*.pcap*"))
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, file := range slices.Concat(files, more) {
		if n > mostRecords {
			break
		}
		kept := func(frame []byte) error {
			var d records.BatchDecoder // its memory is the batch's
			batch, err := d.Decode(slices.Clone(frame))
			if err != nil {
				return err
			}
			batch.Capture = "bench"
			all = append(all, batch)
			return nil
		}
		var opts traffic.Options
		opts.Flow.Features = true
		tap, err := traffic.NewTap(sdk.PacketSubscription{Layers: []string{"icmp"}, SnapLen: 128}, func(packets []sdk.Packet) error {
			n += len(packets)
			return kept(records.AppendLocalPackets(nil, packets))
		})
		if err != nil {
			b.Fatal(err)
		}
		opts.Taps = append(opts.Taps, tap)
		maker, err := facts.New(facts.Config{Kinds: sdk.FactKinds, Emit: func(_ string, frame []byte) error { return kept(frame) }})
		if err != nil {
			b.Fatal(err)
		}
		opts.Flow.Apps = maker.Engine()
		_, err = traffic.AnalyzeFile(b.Context(), file, opts, nil, maker.Flows(func(flows []sdk.Flow) error {
			n += len(flows)
			return kept(records.AppendLocalFlows(nil, flows))
		}))
		if err != nil {
			b.Logf("%s: %v", filepath.Base(file), err) // damaged ones are among them; what came before counts
		}
		if err := maker.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	return all
}
