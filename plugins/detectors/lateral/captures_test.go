package lateral

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// inCaptures is the technique that must be found in a capture by what its ground truth names.
func inCaptures(c *shared.Capture) string {
	switch {
	case strings.Contains(c.Truth, "attack in it: remote scheduled task"):
		return "T1053.005"
	case strings.Contains(c.Truth, "over WMI (attack)"):
		return "T1047"
	}
	if !strings.HasPrefix(c.Class, "atk-lateral") && !strings.HasPrefix(c.Class, "atk-cred") {
		return ""
	}
	for _, one := range [...][2]string{{"PsExec", "T1569.002"}, {"WinRM", "T1021.006"}, {"WMI", "T1047"}, {"DCSync", "T1003.006"}, {"DRSUAPI", "T1003.006"}, {"oast", "T1558.003"}} {
		if strings.Contains(c.Truth, one[0]) {
			return one[1]
		}
	}
	return ""
}

// missed are the captures in which nothing is found, with the reason.
var missed = map[string]string{
	"atk-cred__OISF__kerberoast.pcap": "a single ticket that was asked for as any Windows does",
}

// TestSharedCaptures asks for what the ground truth of the shared captures names, and for silence in benign ones.
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
		want := inCaptures(c)
		if want != "" && missed[c.Name] == "" && !slices.ContainsFunc(s.findings, func(f sdk.Finding) bool { return slices.Contains(f.Techniques, want) }) {
			t.Errorf("no %s (%s)", want, c.Truth)
		}
		if c.Benign() && want == "" && len(s.findings) > 0 {
			t.Errorf("%d findings in ordinary traffic", len(s.findings))
		}
	})
}
