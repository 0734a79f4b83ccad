package flood

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/detectors/internal/scenario"
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/flood") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

// find is the last word on each finding.
func find(tb testing.TB, d *Detector, flows ...sdk.Flow) (out []sdk.Finding) {
	tb.Helper()
	s := &sink{}
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: flows}, s); err != nil {
		tb.Fatal(err)
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	at := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := at[id]; known {
			out[i] = f
			continue
		}
		at[id] = len(out)
		out = append(out, f)
	}
	return out
}

func inside(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// flow is one of many, 5 ms apart.
func flow(i int, proto uint8, from, to netip.Addr, port uint16) sdk.Flow {
	at := noon.Add(time.Duration(i) * 5 * time.Millisecond)
	return sdk.Flow{ID: uint64(i + 1), Start: at, End: at, Src: from, Dst: to, SrcPort: uint16(1024 + i), DstPort: port, Proto: proto,
		FwdPackets: 1, Packets: []uint64{uint64(i + 1)}}
}

// many makes flows.
func many(n int, one func(i int) sdk.Flow) []sdk.Flow {
	out := make([]sdk.Flow, n)
	for i := range out {
		out[i] = one(i)
	}
	return out
}

func syn(i int, from, to netip.Addr, port uint16) sdk.Flow {
	f := flow(i, sdk.ProtoTCP, from, to, port)
	f.FwdFirstFlags, f.FwdFlags = sdk.FlagSYN, sdk.FlagSYN
	return f
}

func TestFloods(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() netip.Addr {
		return netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))})
	}
	for _, test := range []struct {
		name, want string
		flows      []sdk.Flow
	}{
		{"half-open from forged sources", RuleSYN, many(400, func(i int) sdk.Flow { return syn(i, random(), inside(20), 80) })},
		{"half-open from one source", RuleSYN, many(400, func(i int) sdk.Flow {
			f := syn(i, inside(66), inside(20), 80)
			f.FwdFlags, f.RevFlags, f.FwdPackets, f.RevPackets = sdk.FlagSYN|sdk.FlagRST, sdk.FlagSYN|sdk.FlagACK, 2, 1
			return f
		})},
		{"a flash crowd", "", many(2000, func(i int) sdk.Flow {
			f := syn(i, random(), inside(20), 80)
			if i%3 != 0 {
				f.FwdFlags, f.FwdPayload, f.RevPayload, f.FwdPackets, f.RevPackets, f.RevFlags = 0x1b, 300, 3000, 6, 6, 0x1b
			}
			return f
		})},
		{"clients of a service that is off", "", many(2000, func(i int) sdk.Flow {
			f := syn(i, random(), inside(20), 80)
			f.FwdPackets = 4
			return f
		})},
		{"clients that are refused", "", many(2000, func(i int) sdk.Flow {
			f := syn(i, inside(i%200), inside(20), 80)
			f.RevPackets, f.RevFlags = 1, sdk.FlagRST|sdk.FlagACK
			return f
		})},
		{"a scan of ports", "", many(5000, func(i int) sdk.Flow { return syn(i, inside(66), inside(20), uint16(i)) })},
		{"a scan of hosts", "", many(5000, func(i int) sdk.Flow { return syn(i, inside(66), heap.Addr(10, i), 80) })},
		{"connections to every port from forged sources", RulePackets, many(2000, func(i int) sdk.Flow { return syn(i, random(), inside(20), uint16(r.IntN(65536))) })},
		{"datagrams from forged sources", RulePackets, many(2000, func(i int) sdk.Flow { return flow(i, sdk.ProtoUDP, random(), inside(20), 53) })},
		{"datagrams of one source", RulePackets, many(2000, func(i int) sdk.Flow {
			f := flow(i, sdk.ProtoUDP, inside(66), inside(20), uint16(r.IntN(65536)))
			f.FwdPackets, f.FwdPayload = 10, 10*1000
			return f
		})},
		{"a stream", "", many(1, func(i int) sdk.Flow {
			f := flow(i, sdk.ProtoUDP, inside(66), inside(20), 5004)
			f.FwdPackets, f.FwdPayload = 100000, 100000*1000
			f.End = f.Start.Add(10 * time.Second)
			return f
		})},
		{"a scan by datagrams", "", many(9000, func(i int) sdk.Flow {
			f := flow(i/9, sdk.ProtoUDP, inside(66), inside(20), uint16(i))
			f.FwdPackets = 2
			return f
		})},
		{"a resolver", "", many(9000, func(i int) sdk.Flow {
			f := flow(i/9, sdk.ProtoUDP, random(), inside(20), 53)
			f.RevPackets = 1
			return f
		})},
		{"a peer that many look for", "", many(400, func(i int) sdk.Flow { return flow(i*20, sdk.ProtoUDP, random(), inside(20), 6881) })},
		{"pings", RulePackets, many(1, func(i int) sdk.Flow {
			f := flow(i, sdk.ProtoICMP, inside(66), inside(20), 0)
			f.SrcPort, f.FwdPackets, f.RevPackets, f.End = 8, 60000, 60000, f.Start.Add(30*time.Second)
			return f
		})},
		{"a ping each second", "", many(1, func(i int) sdk.Flow {
			f := flow(i, sdk.ProtoICMP, inside(66), inside(20), 0)
			f.SrcPort, f.FwdPackets, f.RevPackets, f.End = 8, 6000, 6000, f.Start.Add(6000*time.Second)
			return f
		})},
		{"requests without an end", RuleStarved, many(300, func(i int) sdk.Flow {
			f := syn(i, inside(66), inside(20), 80)
			f.FwdFlags, f.FwdPayload, f.FwdPackets, f.RevPackets, f.RevFlags, f.End = 0x1b, 230, 6, 4, 0x12, f.Start.Add(time.Minute)
			return f
		})},
		{"connections that are kept for later", "", many(300, func(i int) sdk.Flow {
			f := syn(i, inside(66), inside(20), 80)
			f.FwdFlags, f.FwdPackets, f.RevPackets, f.RevFlags, f.End = 0x12, 6, 4, 0x12, f.Start.Add(time.Minute)
			return f
		})},
		{"from and to anybody", RuleStrangers, many(200, func(i int) sdk.Flow { return syn(i, random(), random(), uint16(i)) })},
		{"a backbone", "", many(4000, func(i int) sdk.Flow {
			f := syn(i/10, random(), random(), 443)
			if i%4 != 0 {
				f.FwdPackets, f.RevPackets = 8, 8
				f.FwdFlags, f.RevFlags = 0x1b, 0x1b
			}
			return f
		})},
		{"an echo of a flood elsewhere", "", many(4000, func(i int) sdk.Flow {
			f := flow(i, sdk.ProtoTCP, random(), inside(20), 80)
			f.FwdPackets, f.RevPackets, f.RevFlags = 0, 1, 0x12
			return f
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := find(t, detector(t, "{}"), test.flows...)
			if test.want == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || found[0].Rule != test.want {
				t.Fatalf("found %+v", found)
			}
			if test.want != "" && found[0].Severity.Rank() < sdk.SeverityMedium.Rank() {
				t.Errorf("severity %s", found[0].Severity)
			}
			t.Log(found[0].Summary, found[0].Confidence)
		})
	}
}

// What a service has every day is no flood, however much it is.
func TestUsual(t *testing.T) {
	flows := many(60000, func(i int) sdk.Flow { return syn(i*6, heap.Addr(30, i), inside(20), 80) }) // 300 in ten seconds
	d, s := detector(t, `{"half_open": 400}`), &sink{}
	if err := d.Inspect(t.Context(), sdk.Batch{Flows: flows}, s); err != nil {
		t.Fatal(err)
	}
	more := many(1000, func(i int) sdk.Flow {
		f := syn(i, heap.Addr(31, i), inside(20), 80)
		f.Start = flows[len(flows)-1].Start.Add(11*time.Second + time.Duration(i)*10*time.Millisecond)
		f.End = f.Start
		return f
	})
	if found := find(t, d, more...); len(found)+len(s.findings) != 0 {
		t.Errorf("three times the usual is found: %+v", found)
	}
	if found := find(t, detector(t, `{"half_open": 400}`), more...); len(found) != 1 {
		t.Errorf("the same at a service where it is not usual: %+v", found)
	}
	if found := find(t, detector(t, `{"ignore": ["10.0.0.20/32"]}`), more...); len(found) != 0 {
		t.Errorf("ignored, and found: %+v", found)
	}
}

func mixed() []sdk.Flow {
	out := many(300, func(i int) sdk.Flow { return syn(i, heap.Addr(30, i), inside(20), 80) })
	out = append(out, many(1200, func(i int) sdk.Flow { return flow(i, sdk.ProtoUDP, heap.Addr(31, i), inside(21), 53) })...)
	return append(out, many(150, func(i int) sdk.Flow {
		b := hash([]byte{byte(i), 1})
		return syn(4000+i, netip.AddrFrom4([4]byte{byte(i), 3, 4, byte(b)}), netip.AddrFrom4([4]byte{byte(i * 7), 4, 5, byte(b >> 8)}), 9)
	})...)
}

// A state that is taken over in the middle of a flood changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := mixed()
	whole := find(t, detector(t, "{}"), all...)
	if len(whole) != 3 {
		t.Fatalf("the floods themselves are %d findings", len(whole))
	}
	for cut := 0; cut < len(all); cut += 97 {
		first, second, s := detector(t, "{}"), detector(t, "{}"), &sink{}
		if err := first.Inspect(t.Context(), sdk.Batch{Flows: all[:cut]}, s); err != nil {
			t.Fatal(err)
		}
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, "{}").Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		for _, f := range find(t, second, all[cut:]...) {
			if !slices.ContainsFunc(whole, func(w sdk.Finding) bool { return reflect.DeepEqual(w, f) }) {
				t.Fatalf("cut at %d: %+v", cut, f)
			}
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: mixed()}, &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, "{}")
		if d.Restore(context.Background(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, "{}"))
		find(t, d, mixed()...)
	})
}

func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, f *sdk.Flow){
		"ordinary":              func(int, *sdk.Flow) {},
		"half open, everywhere": func(i int, f *sdk.Flow) { f.FwdPayload, f.FwdFlags, f.RevPackets, f.FwdPackets = 0, sdk.FlagSYN, 0, 1 },
		"floods of many, in turns": func(i int, f *sdk.Flow) {
			f.Dst, f.Proto, f.RevPackets, f.FwdPackets = heap.Addr(30, i%4000), sdk.ProtoUDP, 0, 900
		},
		"half open, of many a time": func(i int, f *sdk.Flow) {
			f.Dst, f.FwdPayload, f.FwdFlags, f.FwdPackets = heap.Addr(30, i/300), 0, sdk.FlagSYN, 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, "{}"), &sink{}
			heap.Check(t, 600_000, change, func(b sdk.Batch) error {
				s.findings = nil
				return d.Inspect(t.Context(), b, s)
			})
			runtime.KeepAlive(d)
		})
	}
}

// TestSharedCaptures asks for the floods that the ground truth of the shared captures names, and for silence in the others.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.findings {
			t.Logf("%s %s %v risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Techniques, f.Risk, f.Confidence, f.Summary)
		}
		if c.Class == "atk-dos" && len(s.findings) == 0 {
			t.Errorf("missed: %s", c.Truth)
		}
		if c.Class != "atk-dos" && len(s.findings) > 0 {
			t.Errorf("%d findings in %s (%s)", len(s.findings), c.Class, c.Truth)
		}
	})
}

// made makes the captures of the cases.
var made = map[string]func(*scenario.Scenario, *rand.Rand){
	"syn":       func(sc *scenario.Scenario, r *rand.Rand) { synFlood(sc, r) },
	"ignored":   func(sc *scenario.Scenario, r *rand.Rand) { synFlood(sc, r) },
	"datagrams": datagrams,
	"strangers": chance,
	"crowd":     crowd,
}

func synFlood(sc *scenario.Scenario, r *rand.Rand) {
	for i := range 260 {
		at, from, to := time.Duration(i)*20*time.Millisecond, netip.AddrPortFrom(heap.Addr(byte(11+r.IntN(100)), r.IntN(1<<24)), sc.Port()), netip.AddrPortFrom(inside(20), 80)
		sc.TCP(at, from, to, scenario.SYN, 1, 0)
		sc.TCP(at+time.Millisecond, to, from, scenario.SYN|scenario.ACK, 1, 0)
	}
}

func datagrams(sc *scenario.Scenario, r *rand.Rand) {
	for i := range 600 {
		sc.UDP(time.Duration(i)*5*time.Millisecond, netip.AddrPortFrom(heap.Addr(byte(11+r.IntN(100)), r.IntN(1<<24)), sc.Port()), netip.AddrPortFrom(inside(20), uint16(1+r.IntN(65000))), 20)
	}
}

func chance(sc *scenario.Scenario, r *rand.Rand) {
	any4 := func() netip.AddrPort {
		return netip.AddrPortFrom(heap.Addr(byte(r.IntN(256)), r.IntN(1<<24)), uint16(1+r.IntN(65000)))
	}
	for i := range 120 {
		sc.TCP(time.Duration(i)*time.Millisecond, any4(), any4(), scenario.SYN, 1, 0)
	}
}

// crowd is much at once that is no flood: visitors, a scan of ports, a scan of hosts.
func crowd(sc *scenario.Scenario, r *rand.Rand) {
	for i := range 150 {
		sc.Talk(time.Duration(i)*10*time.Millisecond, scenario.Conversation{Client: heap.Addr(byte(11+r.IntN(100)), r.IntN(1<<24)), Server: inside(20), Port: 80, Sent: 200, Got: 1000})
		sc.TCP(time.Duration(i)*10*time.Millisecond, netip.AddrPortFrom(inside(66), sc.Port()), netip.AddrPortFrom(inside(21), uint16(1+i)), scenario.SYN, 1, 0)
		sc.TCP(time.Duration(i)*10*time.Millisecond, netip.AddrPortFrom(inside(66), sc.Port()), netip.AddrPortFrom(inside(30+i), 22), scenario.SYN, 1, 0)
	}
}

// TestCapturesAreFresh compares the captures of the cases with what this file makes; with -update it writes them.
func TestCapturesAreFresh(t *testing.T) {
	for name, play := range made {
		sc := scenario.New(noon)
		play(sc, rand.New(rand.NewPCG(1, 2)))
		want, file := sc.Pcap(), filepath.Join("testdata", name, "input.pcap")
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !slices.Equal(have, want) {
			t.Errorf("%s is not what this test makes (%v): run it with -update", file, err)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	flows := many(1024, func(i int) sdk.Flow {
		f := syn(i, heap.Addr(10, i), heap.Addr(30, i), 443)
		f.FwdFlags, f.FwdPayload, f.RevPackets, f.RevPayload, f.RevFlags = 0x1b, 300, 4, 300, 0x1b
		return f
	})
	d, s := detector(b, "{}"), &sink{}
	for b.Loop() {
		if err := d.Inspect(b.Context(), sdk.Batch{Flows: flows}, s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/flow")
}
