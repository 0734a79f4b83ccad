package kit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestCompareWant(t *testing.T) {
	got := []sdk.Finding{{Rule: "scan", Src: "10.0.0.1", Packets: []uint64{1, 2}, Features: map[string]float64{"x": 0.1 + 0.2}, Risk: 5}}
	cases := []struct{ name, want, diff string }{
		{"what is left out is not compared", `[{"rule": "scan"}]`, ""},
		{"numbers are close enough", `[{"features": {"x": 0.3}}]`, ""},
		{"another rule", `[{"rule": "sweep"}]`, ".rule"},
		{"other packets", `[{"packets": [1, 3]}]`, ".packets[1]"},
		{"fewer packets", `[{"packets": [1]}]`, ".packets"},
		{"another feature", `[{"features": {"y": 1}}]`, ".features.y"},
		{"more findings", `[{}, {}]`, "1 findings, want 2"},
		{"none", `[]`, "1 findings, want 0"},
		{"broken", `{`, "unexpected end"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			diff := compareWant([]byte(c.want), "finding", got)
			if c.diff == "" && diff != "" || !strings.Contains(diff, c.diff) {
				t.Errorf("got %q, want %q", diff, c.diff)
			}
		})
	}
}

func TestSampleFlows(t *testing.T) {
	flows := SampleFlows()
	for i := range len(flows) - 3 {
		if flows[i+1].End.Before(flows[i].End) {
			t.Fatal(fmt.Sprint("flow ", i+1, " ends before the one in front of it"))
		}
	}
}
