package ot

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// final returns the last finding of each id.
func (s *sink) final() []sdk.Finding {
	var out []sdk.Finding
	for _, f := range s.findings {
		if i := slices.IndexFunc(out, func(o sdk.Finding) bool { return sdk.FindingID(o) == sdk.FindingID(f) }); i >= 0 {
			out[i] = f
		} else {
			out = append(out, f)
		}
	}
	return out
}

func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(tb.Context(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ot") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func addr(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

// plan writes messages: host n has the address 10.0.0.n.
type plan struct{ facts []sdk.OT }

func (p *plan) say(seconds float64, from, to int, f sdk.OT) {
	f.Seen = sdk.Seen{
		Flow: uint64(from<<16 | to), Packet: uint64(len(p.facts) + 1), Time: noon.Add(time.Duration(seconds * float64(time.Second))),
		Client: addr(from), Server: addr(to), ClientPort: 50000, ServerPort: 502, Proto: sdk.ProtoTCP, FromServer: f.Response,
	}
	if f.Protocol == "" {
		f.Protocol = "modbus"
	}
	p.facts = append(p.facts, f)
}

// done is a request and the answer to it.
func (p *plan) done(seconds float64, from, to int, f sdk.OT) {
	p.say(seconds, from, to, f)
	f.Response = true
	p.say(seconds+0.001, from, to, f)
}

func read(address uint64) sdk.OT {
	return sdk.OT{Function: 3, Name: "read-holding-registers", Action: "read", Address: address, Unit: "1"}
}

func write(address uint64) sdk.OT {
	return sdk.OT{Function: 6, Name: "write-register", Action: "write", Object: "register", Address: address, Unit: "1"}
}

// poll lets a master read and write a device every ten seconds.
func (p *plan) poll(from, to int, begin, end float64) {
	for at := begin; at < end; at += 10 {
		p.done(at, from, to, read(1))
		p.done(at+1, from, to, write(1))
	}
}

func find(tb testing.TB, d *Detector, size int, facts []sdk.OT) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	for batch := range slices.Chunk(facts, size) {
		if err := d.Inspect(tb.Context(), sdk.Batch{OT: batch}, s); err != nil {
			tb.Fatal(err)
		}
	}
	if err := d.Flush(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	return s.final()
}

// said is what the findings come to.
func said(findings []sdk.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s %s %s>%s %d", f.Severity, f.Rule, strings.TrimPrefix(f.Src, "10.0.0."), strings.TrimSuffix(strings.TrimPrefix(f.Dst, "10.0.0."), ":502"), int(f.Features["messages"])))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func eachRestart() (out []string) {
	for i := range foldFrom {
		out = append(out, fmt.Sprintf("high restart 66>%d 1", 100+i))
	}
	return out
}

func TestFindings(t *testing.T) {
	const hmi, laptop, plc = 1, 66, 20
	refused := func(f sdk.OT) sdk.OT {
		f.Response, f.Failed, f.Error = true, true, 2
		return f
	}
	for _, c := range []struct {
		what, config string
		play         func(*plan)
		want         string
	}{
		{"a master at work", `{}`, func(p *plan) { p.poll(hmi, plc, 0, 600) }, "low write 1>20 60"},
		{"a second master that polls before it writes", `{}`, func(p *plan) {
			p.poll(hmi, plc, 0, 100)
			for i := range 8 {
				p.done(100+float64(i), laptop, plc, read(uint64(i)))
			}
			p.done(120, laptop, plc, write(9))
		}, "low write 1>20 10, low write 66>20 1"},
		{"a host that begins by writing", `{}`, func(p *plan) {
			p.poll(hmi, plc, 0, 100)
			p.done(120, laptop, plc, write(9))
		}, "low write 1>20 10, medium write 66>20 1"},
		{"a host that begins by writing and goes on as a master", `{}`, func(p *plan) {
			p.poll(hmi, plc, 0, 100)
			p.done(120, laptop, plc, write(9))
			p.poll(laptop, plc, 130, 300)
		}, "low write 1>20 10, low write 66>20 18"},
		{"a host that does nothing but write", `{}`, func(p *plan) {
			p.poll(hmi, plc, 0, 100)
			for i := range 20 {
				p.done(120+10*float64(i), laptop, plc, write(9))
			}
			coils := write(3)
			coils.Function = 16
			p.done(400, laptop, plc, coils)
		}, "low write 1>20 10, medium write 66>20 1, medium write 66>20 20"},
		{"many devices that are restarted", `{}`, func(p *plan) {
			for i := range 30 {
				p.done(float64(i), laptop, 100+i, sdk.OT{Protocol: "dnp3", Function: 13, Name: "cold restart", Action: "restart"})
			}
		}, "high restart 66> 14, " + strings.Join(eachRestart(), ", ")},
		{"a host that begins by writing to a device that nobody polls", `{}`, func(p *plan) { p.done(120, laptop, plc, write(9)) }, "low write 66>20 1"},
		{"a new master writes after the time of learning", `{"learn": "10m"}`, func(p *plan) {
			p.poll(hmi, plc, 0, 900)
			p.done(1000, laptop, plc, write(9))
		}, "high write 66>20 1, low write 1>20 90"},
		{"a new master reads after the time of learning", `{"learn": "10m"}`, func(p *plan) {
			p.poll(hmi, plc, 0, 900)
			p.done(1000, laptop, plc, read(9))
			p.done(1001, laptop, plc, read(10))
		}, "low write 1>20 90, medium new-master 66>20 2"},
		{"a listed master may", `{"masters": ["10.0.0.1/32"]}`, func(p *plan) { p.poll(hmi, plc, 0, 100) }, "low write 1>20 10"},
		{"others may not", `{"masters": ["10.0.0.1/32"]}`, func(p *plan) { p.done(1, laptop, plc, read(1)) }, "medium new-master 66>20 1"},
		{"of some nothing is told", `{"ignore": ["10.0.0.66/32"]}`, func(p *plan) { p.done(1, laptop, plc, write(1)) }, ""},
		{"a function that is new to the device", `{"learn": "10m"}`, func(p *plan) {
			p.poll(hmi, plc, 0, 900)
			p.done(1000, hmi, plc, sdk.OT{Function: 4, Name: "read-input-registers", Action: "read"})
			p.done(1001, hmi, plc, sdk.OT{Function: 16, Name: "write-registers", Action: "write"})
			p.done(1002, hmi, plc, sdk.OT{Function: 100, Name: "100"})
		}, "low new-function 1>20 1, low write 1>20 90, medium new-function 1>20 1, medium write 1>20 1"},
		{"a device that refuses nearly all", `{}`, func(p *plan) {
			for i := range uint64(20) {
				p.say(float64(i), laptop, plc, read(i))
				p.say(float64(i)+0.1, laptop, plc, refused(read(i)))
			}
		}, "medium probe 66>20 5"},
		{"a master with one wrong point", `{}`, func(p *plan) {
			for i := range 200 {
				p.say(float64(i), hmi, plc, read(7))
				p.say(float64(i)+0.1, hmi, plc, refused(read(7)))
			}
		}, ""},
		{"a master with many wrong points and more that are right", `{}`, func(p *plan) {
			for i := range uint64(40) {
				p.done(float64(i), hmi, plc, read(i))
				p.done(float64(i)+0.2, hmi, plc, read(i))
				p.say(float64(i)+0.5, hmi, plc, read(100+i))
				p.say(float64(i)+0.6, hmi, plc, refused(read(100+i)))
			}
		}, ""},
		{"a survey", `{}`, func(p *plan) {
			for i := range 8 {
				p.done(float64(i), laptop, plc+i, sdk.OT{Function: 43, Name: "read-device-identification", Action: "discover"})
			}
		}, "low survey 66> 4"},
		{"commands without waiting", `{}`, func(p *plan) {
			for i := range 40 {
				p.say(float64(i)/100, laptop, plc, write(1))
			}
		}, "low write 66>20 40, medium flood 66>20 11"},
		{"fast writes that are answered", `{}`, func(p *plan) {
			for i := range 400 {
				p.done(float64(i)/100, hmi, plc, write(1))
			}
		}, "low write 1>20 400"},
		{"a stop that is refused", `{}`, func(p *plan) {
			p.say(0, laptop, plc, sdk.OT{Protocol: "s7comm", Function: 0x29, Name: "stop", Action: "stop"})
			p.say(1, laptop, plc, sdk.OT{Protocol: "s7comm", Function: 0x29, Name: "stop", Action: "stop", Response: true, Failed: true})
		}, "medium stop 66>20 1"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var p plan
			c.play(&p)
			for _, size := range []int{1, 7, 1000} {
				got := find(t, detector(t, c.config), size, p.facts)
				if said(got) != c.want {
					t.Errorf("batches of %d: %q, want %q", size, said(got), c.want)
				}
				for _, f := range got {
					if len(f.Packets) == 0 || !slices.IsSorted(f.Packets) || len(f.Flows) == 0 && f.Dst != "" || f.End.Before(f.Start) || len(f.Techniques) == 0 {
						t.Errorf("%+v", f)
					}
				}
			}
		})
	}
}

// Each word that parsers use has its deed.
func TestDeeds(t *testing.T) {
	value := func(b ...byte) []byte { return b }
	for _, c := range []struct {
		f    sdk.OT
		want deed
	}{
		{sdk.OT{Protocol: "modbus", Function: 8, Value: value(0, 1)}, restarting},
		{sdk.OT{Protocol: "modbus", Function: 8, Value: value(0, 4)}, silencing},
		{sdk.OT{Protocol: "modbus", Function: 8, Value: value(0, 0)}, reading},
		{sdk.OT{Protocol: "modbus", Function: 8}, reading},
		{sdk.OT{Protocol: "modbus", Function: 5, Action: "write"}, commanding},
		{sdk.OT{Protocol: "modbus", Function: 90, Action: "program", Value: value(0, 0x41)}, stopping},
		{sdk.OT{Protocol: "modbus", Function: 90, Action: "program", Value: value(0, 0x40)}, starting},
		{sdk.OT{Protocol: "modbus", Function: 90, Action: "program", Value: value(0, 0x34)}, downloading},
		{sdk.OT{Protocol: "modbus", Function: 90, Action: "program", Value: value(0, 0x31)}, uploading},
		{sdk.OT{Protocol: "modbus", Function: 90, Action: "program", Value: value(0, 2)}, reading},
		{sdk.OT{Protocol: "modbus", Function: 90, Action: "program"}, reading},
		{sdk.OT{Protocol: "dnp3", Function: 2, Action: "write", Object: "group-70"}, downloading},
		{sdk.OT{Protocol: "dnp3", Function: 2, Action: "write", Object: "group-50"}, writing},
		{sdk.OT{Protocol: "dnp3", Function: 5, Action: "operate"}, commanding},
		{sdk.OT{Protocol: "dnp3", Function: 13, Action: "restart"}, restarting},
		{sdk.OT{Protocol: "dnp3", Function: 18, Action: "stop"}, stopping},
		{sdk.OT{Protocol: "dnp3", Function: 21, Action: "stop"}, pausing},
		{sdk.OT{Protocol: "dnp3", Function: 25, Action: "program"}, readingFile},
		{sdk.OT{Protocol: "dnp3", Function: 27, Action: "program"}, downloading},
		{sdk.OT{Protocol: "dnp3", Function: 26, Action: "program"}, reading},
		{sdk.OT{Protocol: "s7comm", Function: 0x1b, Action: "program"}, downloading},
		{sdk.OT{Protocol: "s7comm", Function: 0x1e, Action: "program"}, uploading},
		{sdk.OT{Protocol: "s7comm", Function: 0x28, Action: "program", Object: "_DELE"}, downloading},
		{sdk.OT{Protocol: "s7comm", Function: 0x28, Action: "program", Object: "_MODU"}, writing},
		{sdk.OT{Protocol: "s7comm", Function: 0x28, Action: "start", Object: "P_PROGRAM"}, starting},
		{sdk.OT{Protocol: "enip", Action: "restart", Object: "1/1/0"}, restarting},
		{sdk.OT{Protocol: "enip", Action: "restart", Object: "15/1/0"}, writing},
		{sdk.OT{Protocol: "enip", Action: "restart", Object: "100/1/0"}, restarting},
		{sdk.OT{Protocol: "enip", Action: "restart", Object: "a_tag"}, writing},
		{sdk.OT{Protocol: "enip", Action: "program", Name: "download transfer"}, downloading},
		{sdk.OT{Protocol: "enip", Action: "program", Name: "upload transfer"}, readingFile},
		{sdk.OT{Protocol: "enip", Action: "program", Name: "create"}, writing},
		{sdk.OT{Protocol: "bacnet", Action: "stop"}, silencing},
		{sdk.OT{Protocol: "bacnet", Action: "start"}, writing},
		{sdk.OT{Protocol: "bacnet", Action: "restart"}, restarting},
		{sdk.OT{Protocol: "bacnet", Action: "restart", Details: map[string]string{"state": "2"}}, readingFile},
		{sdk.OT{Protocol: "bacnet", Action: "restart", Details: map[string]string{"state": "4"}}, downloading},
		{sdk.OT{Protocol: "bacnet", Action: "program", Function: 7}, downloading},
		{sdk.OT{Protocol: "bacnet", Action: "program", Function: 6}, readingFile},
		{sdk.OT{Protocol: "bacnet", Action: "program", Function: 10}, writing},
		{sdk.OT{Protocol: "iec104", Action: "program", Function: 125}, downloading},
		{sdk.OT{Protocol: "iec104", Action: "program", Function: 125, Seen: sdk.Seen{FromServer: true}}, reading},
		{sdk.OT{Protocol: "iec104", Action: "program", Function: 122}, readingFile},
		{sdk.OT{Protocol: "iec104", Action: "stop"}, pausing},
		{sdk.OT{Protocol: "opcua", Action: "program"}, writing},
		{sdk.OT{Protocol: "profinet-dcp", Action: "write", Details: map[string]string{"reset": "true"}}, restarting},
		{sdk.OT{Protocol: "x", Action: "discover"}, asking},
		{sdk.OT{Protocol: "x"}, deed{}},
	} {
		if got := deedOf(&c.f); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.f, got, c.want)
		}
	}
}

func busy() []sdk.OT {
	var p plan
	p.poll(1, 20, 0, 900)
	p.poll(2, 21, 0, 900)
	for i := range 8 {
		p.done(910+float64(i), 66, 20+i, sdk.OT{Function: 43, Name: "read-device-identification", Action: "discover"})
	}
	for i := range uint64(20) {
		p.say(920+float64(i), 66, 20, read(i))
		f := read(i)
		f.Response, f.Failed = true, true
		p.say(920.5+float64(i), 66, 20, f)
	}
	p.done(950, 66, 21, write(5))
	for i := range 40 {
		p.say(960+float64(i)/100, 66, 20, write(1))
	}
	return p.facts
}

func TestSnapshot(t *testing.T) {
	facts := busy()
	slices.SortStableFunc(facts, func(a, b sdk.OT) int { return a.Time.Compare(b.Time) })
	for i := range facts {
		facts[i].Packet = uint64(i + 1)
	}
	const cfg = `{"learn": "10m"}`
	want := find(t, detector(t, cfg), 64, facts)
	if len(want) < 5 {
		t.Fatalf("found %s", said(want))
	}
	for _, at := range []int{1, len(facts) / 3, len(facts) - 60, len(facts) - 20, len(facts) - 1} {
		first, second, s := detector(t, cfg), detector(t, cfg), &sink{}
		if err := first.Inspect(t.Context(), sdk.Batch{OT: facts[:at]}, s); err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if err := second.Inspect(t.Context(), sdk.Batch{OT: facts[at:]}, s); err != nil {
			t.Fatal(err)
		}
		if err := second.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := s.final(); !reflect.DeepEqual(got, want) {
			t.Errorf("at %d: %s, want %s", at, said(got), said(want))
		}
	}
}

func FuzzRestore(f *testing.F) {
	d, few := detector(f, "{}"), busy()[355:365]
	if err := d.Inspect(f.Context(), sdk.Batch{OT: few}, &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, "{}")
		if d.Restore(t.Context(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		next := detector(t, "{}")
		savedtest.HandsOn(t, d, next)
		find(t, next, 64, few)
	})
}

// Whatever is sent, memory stays within its bounds.
func TestMemoryIsBounded(t *testing.T) {
	d, s := detector(t, `{"max_devices": 64, "max_findings": 32}`), &sink{}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 50000 {
		var p plan
		f := sdk.OT{
			Function: uint32(r.IntN(100)), Name: strings.Repeat("x", 1000), Action: []string{"write", "read", "discover", "stop", ""}[r.IntN(5)],
			Response: r.IntN(2) == 0, Failed: r.IntN(2) == 0, Unit: strings.Repeat("u", r.IntN(200)), Object: strings.Repeat("o", 500), Address: r.Uint64(),
		}
		p.say(float64(i)/10, r.IntN(60000), r.IntN(300), f)
		if err := d.Inspect(t.Context(), sdk.Batch{OT: p.facts}, s); err != nil {
			t.Fatal(err)
		}
		s.findings = s.findings[:0]
	}
	if len(d.devices.by) > 64 || d.devices.quiet.Len() != len(d.devices.by) || len(d.incidents.list) > 32 || len(d.incidents.by) > 32 || len(d.askers.by) > maxAskers {
		t.Errorf("%d devices, %d findings, %d askers", len(d.devices.by), len(d.incidents.list), len(d.askers.by))
	}
	if d.devices.forgotten == 0 || d.incidents.forgotten == 0 {
		t.Error("what was forgotten is not counted")
	}
	for _, dev := range d.devices.by {
		if len(dev.peers) > maxPeers || len(dev.functions) > maxFunctions {
			t.Errorf("%d hosts, %d functions of one device", len(dev.peers), len(dev.functions))
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{`{"learn": "1s"}`, `{"masters": ["10.0.0.1"]}`, `{"ignore": ["x"]}`, `{"probes": 1}`, `{"x": 1}`} {
		if err := plugintest.Decode(&Detector{}, config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	var p plan
	for n := range 20 {
		for i := range 50 {
			p.done(float64(i), 1, 20+n, read(uint64(i)))
		}
	}
	d, s := detector(b, "{}"), &sink{}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Inspect(b.Context(), sdk.Batch{OT: p.facts}, s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(p.facts)), "ns/fact")
}

// However much is sent, what is remembered of it stays within what the limits of the manifest allow.
func TestHeapIsBounded(t *testing.T) {
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	d, s := detector(t, `{}`), &sink{}
	before := inUse()
	for i := range 4200 { // devices; all but a hundred are remembered
		for who := range 8 {
			var p plan
			for n := range uint64(20) {
				f := read(n)
				p.say(float64(i), 1000+who, 20000+i, f)
				f.Response, f.Failed = true, true
				p.say(float64(i), 1000+who, 20000+i, f)
			}
			f := write(uint64(i))
			f.Name, f.Object, f.Unit = strings.Repeat("n", 200), strings.Repeat("o", 200), strings.Repeat("u", 200)
			p.say(float64(i), 1000+who, 20000+i, f)
			if err := d.Inspect(t.Context(), sdk.Batch{OT: p.facts}, s); err != nil {
				t.Fatal(err)
			}
			s.findings = s.findings[:0]
		}
	}
	if held := int64(inUse() - before); held > heap.Bound {
		t.Errorf("%d MiB are held", held>>20)
	} else {
		t.Logf("%d KiB are held", held>>10)
	}
	runtime.KeepAlive(d)
}
