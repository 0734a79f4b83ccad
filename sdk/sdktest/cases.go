package sdktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

var update = flag.Bool("update", false, "write the want.json of each case from what the detector finds")

// Cases runs a detector over each folder below dir. A case holds input.pcap (or .pcapng, either with .gz or .zst),
// want.json with the findings in order of time, and, where the defaults do not do, config.json. What want.json leaves
// out of a finding is not compared. With -update the files are written.
//
// The capture is turned into flows by the picket command, the engine of production: the one that PICKET_BIN names, or
// bin/picket in a folder above, or one run from the sources above, or one in the PATH.
func Cases(t *testing.T, p sdk.Plugin, dir string) {
	t.Helper()
	if p.Kind != sdk.KindDetector {
		t.Fatalf("%s is a %s; cases are for detectors", p.ID, p.Kind)
	}
	inputs, err := filepath.Glob(filepath.Join(dir, "*", "input.*"))
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no case with an input.* below %s", dir)
	}
	for _, input := range inputs {
		folder := filepath.Dir(input)
		t.Run(filepath.Base(folder), func(t *testing.T) { runCase(t, p, folder, input) })
	}
}

func runCase(t *testing.T, p sdk.Plugin, folder, input string) {
	t.Helper()
	opt := Options{}
	if data, err := os.ReadFile(filepath.Join(folder, "config.json")); err == nil {
		opt.Config = data
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	got := findingsOf(t, suite{plugin: p, opt: opt.withDefaults()}, frames(t, input))
	name := filepath.Join(folder, "want.json")
	if *update {
		writeWant(t, name, got)
		return
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if diff := compareWant(data, got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func findingsOf(t *testing.T, s suite, frames []byte) []sdk.Finding {
	t.Helper()
	set := s.start(t)
	var e emitted
	for len(frames) > 0 {
		frame, rest, err := records.Next(frames)
		if err != nil {
			t.Fatalf("what the picket command printed: %v", err)
		}
		if err := set.Inspect(s.ctx(t), "i", "input", frame, &e); err != nil {
			t.Fatal(err)
		}
		frames = rest
	}
	if err := set.Flush(s.ctx(t), "i", &e); err != nil {
		t.Fatal(err)
	}
	return sorted(e.findings)
}

func writeWant(t *testing.T, name string, got []sdk.Finding) {
	t.Helper()
	if got == nil {
		got = []sdk.Finding{}
	}
	data, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareWant compares each finding with what want.json says about it.
func compareWant(data []byte, got []sdk.Finding) string {
	var want []map[string]any
	if err := json.Unmarshal(data, &want); err != nil {
		return err.Error()
	}
	text, err := json.Marshal(got)
	if err != nil {
		return err.Error()
	}
	var have []map[string]any
	if err := json.Unmarshal(text, &have); err != nil {
		return err.Error()
	}
	if len(want) != len(have) {
		return fmt.Sprintf("%d findings, want %d; found: %s", len(have), len(want), text)
	}
	for i := range want {
		if path := differs(want[i], have[i]); path != "" {
			return fmt.Sprintf("finding %d differs at %s; found: %s", i, path, mustJSON(have[i]))
		}
	}
	return ""
}

func mustJSON(v any) []byte {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return out
}

// differs returns the path of the first thing in want that have has not, "" when there is none.
func differs(want, have any) string {
	switch want := want.(type) {
	case map[string]any:
		m, ok := have.(map[string]any)
		if !ok && len(want) > 0 {
			return "."
		}
		for key, w := range want {
			if path := differs(w, m[key]); path != "" {
				return "." + key + strings.TrimSuffix(path, ".")
			}
		}
		return ""
	case []any:
		list, ok := have.([]any)
		if len(want) != len(list) || !ok && len(want) > 0 {
			return "."
		}
		for i, w := range want {
			if path := differs(w, list[i]); path != "" {
				return fmt.Sprintf("[%d]%s", i, strings.TrimSuffix(path, "."))
			}
		}
		return ""
	case float64:
		h, ok := have.(float64)
		if ok && closeTo(want, h) {
			return ""
		}
		return "."
	}
	if want != have {
		return "."
	}
	return ""
}

// frames lets the picket command turn a capture into record frames.
func frames(t *testing.T, input string) []byte {
	t.Helper()
	command := picket(t)
	if command == nil {
		t.Skip("there is no picket command: set PICKET_BIN, or run make build")
	}
	input, err := filepath.Abs(input)
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], "flows", "--format", "frames", input)...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, errOut.Bytes())
	}
	return out.Bytes()
}

// picket returns how the command is started, nil when there is none.
func picket(t *testing.T) []string {
	t.Helper()
	if bin := os.Getenv("PICKET_BIN"); bin != "" {
		return []string{bin}
	}
	root := sourceRoot()
	if root == "" {
		bin, err := exec.LookPath("picket")
		if err != nil {
			return nil
		}
		return []string{bin}
	}
	if bin := filepath.Join(root, "bin", "picket"); isFile(bin) {
		return []string{bin}
	}
	return []string{"go", "-C", root, "run", "./cmd/picket"} // kept in the build cache
}

// sourceRoot returns the folder above with the sources of Picket, "" when there is none.
func sourceRoot() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if isFile(filepath.Join(dir, "cmd", "picket", "main.go")) && isFile(filepath.Join(dir, "go.work")) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
