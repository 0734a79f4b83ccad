package quality

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/picketwatch/picket/sdk"
)

// TestRuntimesAgree analyses every shared capture with the built programs and the signed plugins, as processes and as WASM
// guests. Both must find exactly what the detectors find in this process; numbers may differ by 1e-9.
func TestRuntimesAgree(t *testing.T) {
	picket := builtPicket(t)
	rows := index(t)
	want := map[string][]sdk.Finding{}
	var files []string
	for _, r := range rows {
		files = append(files, r.path())
		want[r.path()] = inProcess(t, r.path())
	}
	for _, runtime := range []string{"process", "wasm"} {
		t.Run(runtime, func(t *testing.T) {
			have := analyze(t, picket, runtime, files)
			for _, file := range slices.Sorted(maps.Keys(want)) {
				if diff := cmp.Diff(byID(want[file]), byID(have[file]), cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: %s finds something else than the detectors in this process:\n%s", filepath.Base(file), runtime, diff)
				}
			}
		})
	}
}

func ids() (out []string) {
	for _, p := range detectors() {
		out = append(out, p.ID)
	}
	return out
}

func byID(list []sdk.Finding) map[string]sdk.Finding {
	out := map[string]sdk.Finding{}
	for _, f := range list {
		out[f.ID] = f
	}
	return out
}

// builtPicket is bin/picket, or what PICKET_BIN names, with its helpers and registry beside it.
func builtPicket(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("PICKET_BIN")
	if bin == "" {
		bin = "../../../bin/picket"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range []string{bin, filepath.Join(filepath.Dir(bin), "registry", "metadata", "root.json"), filepath.Join(filepath.Dir(bin), "picket-wasm")} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("%s is missing: run make build", filepath.Base(need))
		}
	}
	return bin
}

// analyze returns the findings by capture. Some shared captures are damaged on purpose, so the exit code is 1.
func analyze(t *testing.T, picket, runtime string, files []string) map[string][]sdk.Finding {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), picket, append([]string{"analyze", "--json", "--runtime", runtime, "--detectors", strings.Join(ids(), ",")}, files...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil || !strings.Contains(stderr.String(), " findings") {
		t.Fatalf("picket analyze --runtime %s: %v\n%s", runtime, err, stderr.String())
	}
	out := map[string][]sdk.Finding{}
	lines := bufio.NewScanner(&stdout)
	lines.Buffer(nil, math.MaxInt32)
	for lines.Scan() {
		var line struct {
			Capture string `json:"capture"`
			sdk.Finding
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		out[line.Capture] = append(out[line.Capture], line.Finding)
	}
	return out
}
