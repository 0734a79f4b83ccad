package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk"
)

func goodSample() sdk.Sample {
	return sdk.Sample{Metric: "system.cpu.time", Unit: "s", Type: sdk.Counter, Time: time.Unix(1, 0), Value: 1, Labels: map[string]string{"cpu.mode": "user"}}
}

func manyTexts(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint(i)] = "x"
	}
	return m
}

func TestSample(t *testing.T) {
	s := goodSample()
	if err := Sample(&s); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*sdk.Sample){
		"no name":               func(s *sdk.Sample) { s.Metric = "" },
		"a name with a space":   func(s *sdk.Sample) { s.Metric = "a b" },
		"a name with a digit":   func(s *sdk.Sample) { s.Metric = "1a" },
		"a long name":           func(s *sdk.Sample) { s.Metric = strings.Repeat("a", 300) },
		"no type":               func(s *sdk.Sample) { s.Type = "" },
		"NaN":                   func(s *sdk.Sample) { s.Value = math.NaN() },
		"infinite":              func(s *sdk.Sample) { s.Value = math.Inf(-1) },
		"counter below 0":       func(s *sdk.Sample) { s.Value = -1 },
		"no time":               func(s *sdk.Sample) { s.Time = time.Time{} },
		"too many labels":       func(s *sdk.Sample) { s.Labels = manyTexts(100) },
		"label without a name":  func(s *sdk.Sample) { s.Labels = map[string]string{"": "x"} },
		"label that is no text": func(s *sdk.Sample) { s.Labels = map[string]string{"\xff": "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := goodSample()
			spoil(&s)
			if Sample(&s) == nil {
				t.Errorf("%+v was accepted", s)
			}
		})
	}
	s = goodSample()
	s.Labels = map[string]string{"a": strings.Repeat("ü", 2000), "b": "\xffx"}
	if err := Sample(&s); err != nil || len(s.Labels["a"]) > 1024 || !utf8.ValidString(s.Labels["a"]) || s.Labels["b"] != "x" {
		t.Errorf("%d bytes, %q, %v", len(s.Labels["a"]), s.Labels["b"], err)
	}
}

func TestSighting(t *testing.T) {
	good := sdk.Sighting{Time: time.Unix(1, 0), IP: netip.MustParseAddr("::ffff:10.0.0.1"), MAC: "02:00:00:0a:0b:0c", Confidence: 1}
	s := good
	if err := Sighting(&s); err != nil || s.IP.String() != "10.0.0.1" {
		t.Errorf("%v, %v", s.IP, err)
	}
	for name, spoil := range map[string]func(*sdk.Sighting){
		"nothing seen":    func(s *sdk.Sighting) { s.IP, s.MAC = netip.Addr{}, "" },
		"upper case":      func(s *sdk.Sighting) { s.MAC = "02:00:00:0A:0B:0C" },
		"dashes":          func(s *sdk.Sighting) { s.MAC = "02-00-00-0a-0b-0c" },
		"short":           func(s *sdk.Sighting) { s.MAC = "02:00" },
		"confidence":      func(s *sdk.Sighting) { s.Confidence = 1.1 },
		"NaN":             func(s *sdk.Sighting) { s.Confidence = math.NaN() },
		"no time":         func(s *sdk.Sighting) { s.Time = time.Time{} },
		"too many facts":  func(s *sdk.Sighting) { s.Facts = manyTexts(100) },
		"out of scope":    func(s *sdk.Sighting) { s.IP = netip.MustParseAddr("10.1.0.1") },
		"v6 out of scope": func(s *sdk.Sighting) { s.IP = netip.MustParseAddr("::1") },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			spoil(&s)
			if InScope(sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}})(&s) == nil {
				t.Errorf("%+v was accepted", s)
			}
		})
	}
}

func TestFinding(t *testing.T) {
	good := sdk.Finding{Rule: "r", Severity: sdk.SeverityLow, Risk: 100, Confidence: 0, Techniques: []string{"T1046", "T1110.001"}}
	for name, spoil := range map[string]func(*sdk.Finding){
		"":                    func(*sdk.Finding) {},
		"no rule":             func(f *sdk.Finding) { f.Rule = "" },
		"severity":            func(f *sdk.Finding) { f.Severity = "urgent" },
		"risk":                func(f *sdk.Finding) { f.Risk = 101 },
		"negative risk":       func(f *sdk.Finding) { f.Risk = -1 },
		"confidence":          func(f *sdk.Finding) { f.Confidence = -0.1 },
		"NaN":                 func(f *sdk.Finding) { f.Confidence = math.NaN() },
		"technique":           func(f *sdk.Finding) { f.Techniques = []string{"T104"} },
		"sub-technique":       func(f *sdk.Finding) { f.Techniques = []string{"T1046.1"} },
		"too many techniques": func(f *sdk.Finding) { f.Techniques = make([]string, 100) },
		"feature":             func(f *sdk.Finding) { f.Features = map[string]float64{"x": math.NaN()} },
		"feature name":        func(f *sdk.Finding) { f.Features = map[string]float64{"": 1} },
	} {
		t.Run(name, func(t *testing.T) {
			f := good
			spoil(&f)
			if err := Finding(&f); (err == nil) != (name == "") {
				t.Errorf("%+v: %v", f, err)
			}
		})
	}
	f := good
	f.Summary, f.Packets, f.Flows = strings.Repeat("x", 1<<20), make([]uint64, 1<<20), make([]sdk.FlowRef, 1<<16)
	f.Flows[0].Src = strings.Repeat("x", 1<<20)
	if err := Finding(&f); err != nil || len(f.Summary) > 4096 || len(f.Packets) > 1<<16 || len(f.Flows) > 1<<12 || len(f.Flows[0].Src) > 4096 {
		t.Errorf("%d bytes, %d packets, %d flows, %v", len(f.Summary), len(f.Packets), len(f.Flows), err)
	}
}

func TestInstanceNames(t *testing.T) {
	for name, want := range map[string]bool{"server/picket/portscan": true, "a": true, "": false, "a b": false, "a\n": false, "ü": false, strings.Repeat("a", 300): false} {
		if Instance(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestGate(t *testing.T) {
	var got []int
	newOne := func(ctx context.Context) *Gate[int] {
		got = nil
		return NewGate(ctx, 3, "numbers", func(n *int) error {
			if *n < 0 {
				return fmt.Errorf("%d is below 0", *n)
			}
			return nil
		}, func(n int) error {
			got = append(got, n)
			return nil
		})
	}
	t.Run("refused ones are counted, the rest passes", func(t *testing.T) {
		g := newOne(t.Context())
		for _, n := range []int{1, -1, 2, -2} {
			if err := g.Put(n); err != nil {
				t.Fatal(err)
			}
		}
		own := errors.New("own")
		err := g.Result(own)
		if len(got) != 2 || !errors.Is(err, own) || !strings.Contains(err.Error(), "2 numbers were refused, the first because: -1 is below 0") {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		g := newOne(t.Context())
		for n := range 5 {
			if err := g.Put(n); (err == nil) != (n < 3) {
				t.Errorf("number %d: %v", n, err)
			}
		}
		if g.Result(nil) == nil {
			t.Error("a plugin that does not look at the error gets away with it")
		}
	})
	t.Run("after the end", func(t *testing.T) {
		g := newOne(t.Context())
		g.Close()
		if g.Put(1) == nil || len(got) != 0 {
			t.Error("a late value passed")
		}
	})
	t.Run("after the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newOne(ctx)
		cancel()
		if err := g.Put(1); !errors.Is(err, context.Canceled) || len(got) != 0 {
			t.Errorf("%v", err)
		}
	})
	t.Run("from many goroutines", func(t *testing.T) {
		g := newOne(t.Context())
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() { _ = g.Put(n) })
		}
		wg.Wait()
		if len(got) != 3 {
			t.Errorf("%d passed", len(got))
		}
	})
}
