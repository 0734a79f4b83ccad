package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Attacks with real tools, which an agent captures, are found and are one incident each. These are quick; the drill itself,
// internal/drill, plays them all, and many times: docs/live-detection.md.
func TestDrill(t *testing.T) {
	programs := filepath.Dir(bin(t, "picketd"))
	if os.Geteuid() != 0 {
		t.Skip("machines of their own need root")
	}
	for _, tool := range []string{"hping3", "nginx", "arpspoof", "dnsmasq", "udhcpc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs the tools of the drill: %v", err)
		}
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "drill"), "./internal/drill")
	build.Dir = repoRoot(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	figures := filepath.Join(dir, "figures.json")
	out, err := exec.Command(filepath.Join(dir, "drill"), "-programs", programs, "-tools", "arpspoof,dnsmasq,hping3", "-runs", "1", "-seed", "4", "-json", figures).CombinedOutput()
	t.Logf("%s", out)
	var r struct {
		Runs []struct {
			Tool      string
			Finding   float64 `json:"finding_seconds"`
			Incidents []any
			Problem   string
		}
		Strays []string
	}
	data, readErr := os.ReadFile(figures)
	if readErr != nil {
		t.Fatalf("%v; the drill: %v", readErr, err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 3 || len(r.Strays) != 0 {
		t.Errorf("%d runs, %q belong to none", len(r.Runs), r.Strays)
	}
	for _, one := range r.Runs { // how soon is a figure of a quiet machine
		if one.Finding == 0 || len(one.Incidents) != 1 || one.Problem != "" {
			t.Errorf("%s: found after %.1f s, %d incidents; %s", one.Tool, one.Finding, len(one.Incidents), one.Problem)
		}
	}
}
