package anomaly

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/anomaly") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

// The sample flows of the suite have no DNS and no ICMP, so it runs once more with flows that are judged.
func TestConformanceWithFindings(t *testing.T) {
	var flows []sdk.Flow
	for i, f := range sdktest.SampleFlows() {
		if f.Proto == sdk.ProtoTCP && f.RevPackets > 0 {
			f.Proto, f.DstPort = sdk.ProtoUDP, 53
			f.FwdPayload, f.RevPayload = uint64(40+i), uint64(100+i)
			f.FwdPackets, f.RevPackets = 1, 1
			if i%9 == 0 {
				f.FwdPackets, f.RevPackets, f.FwdPayload, f.RevPayload = 4000, 4000, 900_000, 4_000_000
			}
		}
		flows = append(flows, f)
	}
	sdktest.Run(t, Plugin(), sdktest.Options{Flows: flows})
	d, s := &Detector{}, &sink{}
	plugintest.Configure(t, d, `{}`)
	if err := d.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Inspect(t.Context(), sdk.Batch{Flows: flows}, s); err != nil || len(*s) == 0 {
		t.Errorf("%d findings, %v", len(*s), err)
	}
}

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

type sink []sdk.Finding

func (s *sink) Finding(f sdk.Finding) error {
	*s = append(*s, f)
	return nil
}

func TestTheCardSaysWhatTheModelIs(t *testing.T) {
	m, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"name": m.Card.Name, "version": m.Card.Version, "method": m.Card.Method, "trained": m.Card.Trained,
		"calibrated": m.Card.Calibrated, "limits": m.Card.Limits, "reproducing": m.Card.Reproducing} {
		if text == "" {
			t.Errorf("the card does not say %s", what)
		}
	}
	if m.Card.Flows["dns"] < 1000 || m.Card.Flows["icmp"] < 1000 || len(m.Classes) != 2 {
		t.Errorf("%+v", m.Card)
	}
}

// naive is the textbook way through a tree, against which the one without branches is compared.
func naive(t *Tree, x *[numFeatures]float64) float64 {
	i := 0
	for i < len(t.Feature) {
		if x[t.Feature[i]] > t.Threshold[i] {
			i = 2*i + 2
		} else {
			i = 2*i + 1
		}
	}
	return t.Leaf[i-len(t.Feature)]
}

func FuzzScore(f *testing.F) {
	m, err := builtIn()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(1.0, 2.0, 3.0, 4.0)
	f.Add(math.Inf(1), math.NaN(), -1e300, 0.0)
	f.Fuzz(func(t *testing.T, a, b, c, d float64) {
		x := [numFeatures]float64{a, b, c, d, a, b, c, d}
		for name, forest := range m.Classes {
			for i := range forest.Trees {
				if got, want := forest.Trees[i].path(&x, m.Depth), naive(&forest.Trees[i], &x); got != want {
					t.Fatalf("%s, tree %d: %v, want %v", name, i, got, want)
				}
			}
			if s := forest.Score(&x, m.Depth); !(s > 0 && s < 1) {
				t.Errorf("score %v", s)
			}
		}
	})
}

// A model that would lead outside of itself is refused.
func TestBrokenModelsAreRefused(t *testing.T) {
	change := func(f func(m *Model)) []byte {
		m, err := ParseModel(modelFile)
		if err != nil {
			t.Fatal(err)
		}
		f(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for what, data := range map[string][]byte{
		"no JSON":           []byte("{"),
		"another schema":    change(func(m *Model) { m.Schema++ }),
		"other features":    change(func(m *Model) { m.Features[0] = "x" }),
		"no depth":          change(func(m *Model) { m.Depth = 0 }),
		"a great depth":     change(func(m *Model) { m.Depth = 60 }),
		"another depth":     change(func(m *Model) { m.Depth++ }),
		"a missing leaf":    change(func(m *Model) { t := m.Classes["dns"].Trees; t[3].Leaf = t[3].Leaf[1:] }),
		"a feature too far": change(func(m *Model) { m.Classes["icmp"].Trees[0].Feature[5] = numFeatures }),
		"no trees":          change(func(m *Model) { m.Classes["x"] = Forest{Norm: 1, Threshold: 1} }),
	} {
		if _, err := ParseModel(data); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestPairsAreBounded(t *testing.T) {
	d, s := &Detector{}, &sink{}
	plugintest.Configure(t, d, `{"max_pairs": 16}`)
	if err := d.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f := sdktest.SampleFlows()[0]
	f.Proto, f.DstPort, f.FwdPackets, f.RevPackets, f.FwdPayload, f.RevPayload = sdk.ProtoUDP, 53, 4000, 4000, 900_000, 4_000_000
	for range 100 {
		f.Src = f.Src.Next()
		if err := d.Inspect(t.Context(), sdk.Batch{Flows: []sdk.Flow{f}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.Pairs) != 16 || d.Left != 84 || len(*s) != 16 {
		t.Errorf("%d pairs, %d left out, %d findings", len(d.Pairs), d.Left, len(*s))
	}
}

// unusual are the shared captures in which something must be found.
var unusual = map[string]bool{
	"atk-dnstunnel__ggyggy666__dnscat2-txt_00001_20230903183304.pcap.pcapng":  true,
	"atk-dnstunnel__ggyggy666__AndIodine-MX_00001_20230921200640.pcap.pcapng": true,
	"atk-dnsexfil__ntop__dns_exfiltration.pcap":                               true,
}

// TestSharedCaptures looks at all shared captures: what is asked for must be found, and nothing else.
func TestSharedCaptures(t *testing.T) {
	picket := os.Getenv("PICKET_BIN")
	if picket == "" {
		picket = "../../../bin/picket"
	}
	files, err := filepath.Glob("../../../../shared/pcaps/*.pcap*")
	if _, statErr := os.Stat(picket); err != nil || len(files) == 0 || statErr != nil {
		t.Skip("no shared captures at ../shared/pcaps, or no picket command: run make build")
	}
	for _, file := range files {
		d, s := &Detector{}, &sink{}
		plugintest.Configure(t, d, `{}`)
		if err := d.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		var errOut bytes.Buffer
		cmd := exec.CommandContext(t.Context(), picket, "flows", "--format", "frames", file)
		cmd.Stderr = &errOut
		frames, err := cmd.Output() // a broken capture gives its beginning
		if err != nil && !strings.Contains(file, "malformed__") && len(frames) == 0 {
			t.Logf("%s: %s", filepath.Base(file), errOut.Bytes())
		}
		for len(frames) > 0 {
			frame, rest, err := records.Next(frames)
			if err != nil {
				t.Fatal(err)
			}
			flows, err := records.DecodeFlows(frame, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Inspect(t.Context(), sdk.Batch{Flows: flows}, s); err != nil {
				t.Fatal(err)
			}
			frames = rest
		}
		if name := filepath.Base(file); (len(*s) > 0) != unusual[name] {
			t.Errorf("%s: %d findings, want some: %v", name, len(*s), unusual[name])
		}
	}
}
