package anomaly

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
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
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func own(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// ordinary is a network of eight hosts that ask a file server for things, some thirty times an hour, for so many hours.
func ordinary(hours int) (out []sdk.Flow) {
	r := rand.New(rand.NewPCG(7, 7))
	for hour := range hours {
		for i := range 8 {
			for n := range 20 + r.IntN(20) {
				at := monday.Add(time.Duration(hour)*time.Hour + time.Duration(n)*90*time.Second)
				out = append(out, sdk.Flow{ID: uint64(len(out) + 1), Start: at, End: at.Add(time.Duration(1+r.IntN(20)) * time.Second), Src: own(10 + i), Dst: own(200 + r.IntN(3)),
					SrcPort: 40000, DstPort: 445, Proto: sdk.ProtoTCP, App: "smb", FwdPackets: uint64(20 + r.IntN(30)), RevPackets: uint64(20 + r.IntN(40)),
					FwdPayload: uint64(2000 + r.IntN(9000)), RevPayload: uint64(20_000 + r.IntN(90_000)), Packets: []uint64{uint64(len(out) + 1)}})
			}
		}
	}
	return out
}

// later is the n-th of further flows of one host.
func later(n int, change func(f *sdk.Flow)) sdk.Flow {
	f := ordinary(1)[0]
	f.ID, f.Start = uint64(1_000_000+n), monday.Add(100*time.Hour+time.Duration(n)*time.Second)
	f.End = f.Start.Add(5 * time.Second)
	change(&f)
	return f
}

func judged(tb testing.TB, d *Detector, list ...sdk.Flow) (out []sdk.Finding) {
	tb.Helper()
	s := &sink{}
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: list}, s); err != nil {
		tb.Fatal(err)
	}
	return *s
}

func learning(tb testing.TB, settings string) *Detector {
	tb.Helper()
	d := &Detector{}
	plugintest.Configure(tb, d, settings)
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

func upload(f *sdk.Flow) {
	f.Dst, f.FwdPayload, f.FwdPackets, f.RevPayload, f.End = own(99), 60_000_000, 45_000, 900, f.Start.Add(20*time.Minute)
}

func TestWhatIsUnlikeBefore(t *testing.T) {
	for name, c := range map[string]struct {
		want   string
		change func(f *sdk.Flow)
	}{
		"as always":                 {"", func(*sdk.Flow) {}},
		"as always, somewhere new":  {"", func(f *sdk.Flow) { f.Dst = own(99) }},
		"uploads":                   {"low unlike-before", upload},
		"uploads by TLS":            {"", func(f *sdk.Flow) { upload(f); f.App = "tls" }},
		"uploads of who is ignored": {"", func(f *sdk.Flow) { upload(f); f.Src = own(77) }},
		"uploads from outside":      {"", func(f *sdk.Flow) { upload(f); f.Src = netip.MustParseAddr("203.0.113.9") }},
	} {
		d := learning(t, `{"ignore": ["10.0.0.77/32"]}`)
		if found := judged(t, d, ordinary(96)...); len(found) > 0 {
			t.Fatalf("while it learns: %+v", found)
		}
		var have []string
		for n := range 6 {
			for _, f := range judged(t, d, later(n, c.change)) {
				have = append(have, string(f.Severity)+" "+f.Rule)
				if f.Features["sent"] < 4e7 || f.Features["sent_usual_to"] > 20_000 || !strings.Contains(f.Summary, "usually") {
					t.Errorf("%s does not explain itself: %q %v", name, f.Summary, f.Features)
				}
			}
		}
		if strings.Join(have, ", ") != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

// What was so while the host was learned is usual, however odd.
func TestABackupThatWasAlwaysThereIsUsual(t *testing.T) {
	d, n := learning(t, "{}"), 0
	for hour := range 200 {
		list := ordinary(1)
		for i := range list {
			shift := time.Duration(hour) * time.Hour
			list[i].Start, list[i].End = list[i].Start.Add(shift), list[i].End.Add(shift)
		}
		if hour%24 == 2 {
			night := list[0]
			upload(&night)
			list = append(list, night)
		}
		n += len(judged(t, d, list...))
	}
	if n > 0 {
		t.Errorf("%d findings", n)
	}
}

func TestHoursUnlikeOthers(t *testing.T) {
	for name, c := range map[string]struct {
		want   string
		flows  int
		change func(n int, f *sdk.Flow)
	}{
		"a busy hour":               {"", 120, func(int, *sdk.Flow) {}},
		"a busy hour of many hosts": {"low busier", 600, func(n int, f *sdk.Flow) { f.Dst = heap.Addr(10, 5000+n) }},
		"many who do not answer": {"low busier, medium busier", 600, func(n int, f *sdk.Flow) {
			f.Dst, f.RevPackets, f.RevPayload = heap.Addr(10, 5000+n), 0, 0
		}},
		"of a new host": {"", 600, func(n int, f *sdk.Flow) { f.Src, f.Dst = own(88), heap.Addr(10, 5000+n) }},
	} {
		d := learning(t, "{}")
		if found := judged(t, d, ordinary(96)...); len(found) > 0 {
			t.Fatalf("while it learns: %+v", found)
		}
		var have []string
		for n := range c.flows {
			for _, f := range judged(t, d, later(n, func(f *sdk.Flow) { c.change(n, f) })) {
				if f.Rule != RuleBusier {
					continue
				}
				t.Log(f.Summary)
				if text := string(f.Severity) + " " + f.Rule; !slices.Contains(have, text) {
					have = append(have, text)
				}
			}
		}
		if got := strings.Join(have, ", "); got != c.want && (c.want != "low busier, medium busier" || got != "medium busier") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A host that does more each day is no anomaly for long.
func TestActivityDrifts(t *testing.T) {
	var host, segment activity
	for n := range 24 * 60 {
		host.now[begun] = uint64(30 << min(n/240, 4))
		host.close(&segment, int64(7*24*time.Hour))
	}
	if host.usual(begun) < 300 {
		t.Errorf("usual is still %v", host.usual(begun))
	}
}

func TestBaselinesAreHandedOn(t *testing.T) {
	list := append(ordinary(96), later(0, upload), later(1, upload), later(2, upload), later(3, upload))
	for n := range 300 {
		list = append(list, later(10+n, func(f *sdk.Flow) { f.Dst = heap.Addr(10, 5000+n) }))
	}
	whole := learning(t, "{}")
	want := judged(t, whole, list...)
	if len(want) < 2 {
		t.Fatalf("%d findings", len(want))
	}
	for _, cut := range []int{100, len(list) - 303, len(list) - 200} {
		first, second := learning(t, "{}"), learning(t, "{}")
		have := judged(t, first, list[:cut]...)
		savedtest.HandsOn(t, first, second)
		if have = append(have, judged(t, second, list[cut:]...)...); !reflect.DeepEqual(have, want) {
			t.Fatalf("cut at %d: %+v\nwant %+v", cut, have, want)
		}
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if learning(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
			t.Fatal("a state that was cut is taken")
		}
	}
}

// The state of the first version is taken over.
func TestTheFirstStateIsRead(t *testing.T) {
	state, err := os.ReadFile("testdata/state/0.1.0.bin")
	if err != nil {
		t.Fatal(err)
	}
	if err := learning(t, "{}").Restore(t.Context(), state); err != nil {
		t.Error(err)
	}
	if learning(t, "{}").Restore(t.Context(), []byte(`{"version": 9}`)) == nil {
		t.Error("another version is taken")
	}
}

func FuzzRestore(f *testing.F) {
	d := learning(f, "{}")
	judged(f, d, ordinary(2)...)
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := learning(t, "{}")
		if d.Restore(context.Background(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		judged(t, d, ordinary(1)...)
		if err := d.Flush(context.Background(), &sink{}); err != nil {
			t.Fatal(err)
		}
	})
}

// However many hosts there are, what is learned of them stays within bounds.
func TestLearnedHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, f *sdk.Flow){
		"hosts": func(i int, f *sdk.Flow) { f.Src, f.DstPort = heap.Addr(10, i), 22 },
		"hosts that do all": func(i int, f *sdk.Flow) {
			f.Src, f.DstPort = heap.Addr(10, i%2100), []uint16{22, 53, 80, 9999}[i/2100%4]
		},
		"many peers": func(i int, f *sdk.Flow) { f.Src, f.DstPort = heap.Addr(10, i%2000), 22 },
	} {
		t.Run(name, func(t *testing.T) {
			d := learning(t, "{}")
			heap.Check(t, 200_000, change, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, &sink{}) })
			runtime.KeepAlive(d)
		})
	}
}

func BenchmarkLearn(b *testing.B) {
	d, list := learning(b, "{}"), ordinary(24)
	for b.Loop() {
		judged(b, d, list...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/flow")
}
