package labelled

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-3 {
		t.Errorf("%s is %.4f, want %.4f", what, got, want)
	}
}

// The intervals are those of R: prop.test(8, 10, correct=FALSE), poisson.test(3), poisson.test(0).
func TestIntervals(t *testing.T) {
	s := wilson(8, 10)
	near(t, "low", s.Low, 0.4902)
	near(t, "high", s.High, 0.9433)
	if none := wilson(0, 0); none != (Share{0, 0, 1}) {
		t.Errorf("of nothing: %+v", none)
	}
	low, high := poisson(3)
	near(t, "low of 3", low, 0.6187)
	near(t, "high of 3", high, 8.7673)
	low, high = poisson(0)
	near(t, "low of 0", low, 0)
	near(t, "high of 0", high, 3.6889)
	low, high = poisson(600)
	near(t, "low of 600", low, 551.990)
	near(t, "high of 600", high, 648.009)
}

// A detector is asked for what it says to find, and where a label has tags only if it has them, too.
func TestWhoIsAsked(t *testing.T) {
	quiet, scan, tunnel := Label{}, Label{Technique: "T1046"}, Label{Technique: "T1071.004", Tags: []string{"dns", "tunnel"}}
	for _, c := range []struct {
		name         string
		label        Label
		claims, tags []string
		want         bool
	}{
		{"nothing to be found", quiet, []string{"T1046"}, nil, true},
		{"what it claims", scan, []string{"T1046"}, nil, true},
		{"what it does not claim", scan, []string{"T1071"}, []string{"network"}, false},
		{"all tags", tunnel, []string{"T1071"}, []string{"tunnel", "network", "dns"}, true},
		{"one tag", tunnel, []string{"T1071"}, []string{"dns", "beacon"}, false},
		{"tags without the technique", tunnel, []string{"T1046"}, []string{"dns", "tunnel"}, false},
	} {
		if got := c.label.Asked(c.claims, c.tags); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestTell(t *testing.T) {
	scan := sdk.Finding{Techniques: []string{"T1046"}}
	attack := func(family string, found ...sdk.Finding) Seen {
		return Seen{Label{File: family + "1", Technique: "T1046", Family: family, Seconds: 60}, found}
	}
	quiet := func(found ...sdk.Finding) Seen { return Seen{Label{File: "q", Seconds: 1800}, found} }
	s := Tell([]Seen{attack("nmap", scan), attack("nmap", scan), attack("worm", scan), attack("zmap", sdk.Finding{Techniques: []string{"T1071"}}), quiet(), quiet(scan, scan)})
	if s.Captures != 6 || s.Found != 3 || s.Missed != 1 || s.Falsely != 1 || s.Quiet != 1 || s.Alarms != 2 || s.Hours != 1 {
		t.Fatalf("%+v", s)
	}
	near(t, "precision", s.Precision.Value, 0.75)
	near(t, "recall", s.Recall.Value, 0.75)
	near(t, "F1", s.F1.Value, 0.75)
	near(t, "false alarms", s.PerHour.Value, 2)
	if s.F1.Low >= s.F1.Value || s.F1.High <= s.F1.Value || s.F1.High > 1 {
		t.Errorf("F1 lies within %+v", s.F1)
	}
	if perfect := Tell([]Seen{attack("nmap", scan), quiet()}); perfect.F1 != (Share{1, 1, 1}) {
		t.Errorf("F1 of everything right: %+v", perfect.F1)
	}
	if _, ok := Figure("ours", []Seen{attack("nmap", scan)}); ok {
		t.Error("a figure without a quiet capture")
	}
}

func TestBesides(t *testing.T) {
	labels := []Label{{File: "lab.pcap"}, {File: "lab.pcap", Technique: "T1047"}, {File: "office.pcap"}}
	wmi, scan := sdk.Finding{Techniques: []string{"T1047"}}, sdk.Finding{Techniques: []string{"T1046"}}
	for i, want := range []int{1, 2, 2} {
		if got := See(labels[i], labels, []sdk.Finding{wmi, scan}); len(got.Findings) != want {
			t.Errorf("label %d: %d findings count, want %d", i, len(got.Findings), want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	const header = "file\tdataset\ttechnique\tseconds\tsource\tfamily\tside\n"
	for _, c := range []struct{ name, text, says string }{
		{"no technique", "file\tdataset\tseconds\tsource\n", `no column "technique"`},
		{"unknown column", strings.Replace(header, "side", "colour", 1), `column "colour"`},
		{"a side of its own", header + "x\td\t\t1\ts\tf\tleft\n", "want tune or test"},
		{"too many", header + "x\td\t\t1\ts\tf\ttest\tmore\n", "8 columns"},
		{"no time", header + "x\td\t\tNaN\ts\n", "number of seconds"},
		{"outside", header + "../x\td\t\t1\ts\n", "in the folder"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
