//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/registrytest"
)

// BenchmarkFirstList measures how long a browser takes from the start of a navigation until the marketplace's first list
// is painted, with 1,000 plugins of ten releases each: cold with nothing in its cache, warm with everything. It needs
// bin/picketd with the pages built in, node and Chromium.
func BenchmarkFirstList(b *testing.B) {
	script, err := filepath.Abs("../../web/e2e/firstlist.mjs")
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		data, programs := crowd(b)
		cmd := exec.Command("node", script, "--json", "--data", data)
		cmd.Env, cmd.Stderr = append(os.Environ(), "PICKET_BIN_DIR="+programs), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("%s: %v\n%s", script, err, out)
		}
		var found map[string]struct{ P50, P95 float64 }
		if err := json.Unmarshal(out, &found); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for _, cache := range []string{"cold", "warm"} {
			b.ReportMetric(found[cache].P50, cache+"-p50-ms")
			b.ReportMetric(found[cache].P95, cache+"-p95-ms")
		}
	}
}

// crowd makes a data folder whose registry holds 1,000 plugins, and a folder of programs that has no registry of its own
// beside them: picketd would take that one.
func crowd(b *testing.B) (data, programs string) {
	b.Helper()
	r := registrytest.New(b)
	r.Advance(time.Since(r.Now())) // its clock stands still, the server's does not
	r.Crowd(b, 1000, 10)
	data, programs = b.TempDir(), b.TempDir()
	for from, to := range map[string]string{r.Dir: "registry", r.Keys: "registry-keys"} {
		if err := os.Rename(from, filepath.Join(data, to)); err != nil {
			b.Fatal(err)
		}
	}
	built := cmp.Or(os.Getenv("PICKET_BIN_DIR"), "../../bin")
	for _, name := range []string{"picketd", "picket-launch", "picket-traffic", "picket-wasm", "picket-agent"} {
		if err := copyFile(filepath.Join(programs, name), filepath.Join(built, name)); err != nil {
			b.Fatalf("build Picket first: %v", err)
		}
	}
	return data, programs
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
