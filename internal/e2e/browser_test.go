package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// browser is Chromium on a machine. Its pages stay open, one for each server.
type browser struct {
	*site
	input  io.WriteCloser
	output *bufio.Scanner
}

// step is one of web/e2e/release.mjs and what it is told.
type step map[string]any

// browser starts Chromium on this machine, and skips the test where there is none.
func (m *machine) browser() *browser {
	m.t.Helper()
	web := filepath.Join(repoRoot(m.t), "web")
	if _, err := exec.LookPath("node"); err != nil {
		m.t.Skip("the pages are not driven: there is no node")
	}
	for _, needed := range []string{cmp.Or(os.Getenv("CHROMIUM"), "/usr/bin/chromium"), filepath.Join(web, "node_modules/playwright-core")} {
		if _, err := os.Stat(needed); err != nil {
			m.t.Skipf("the pages are not driven: %v", err)
		}
	}
	cmd := m.here("node", filepath.Join(web, "e2e/release.mjs"))
	input, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	m.whole.Cleanup(func() {
		_ = input.Close() // it ends with its input
		end := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer end.Stop()
		if err := cmd.Wait(); err != nil {
			m.whole.Errorf("the browser ended badly: %v\n%s", err, said.String())
		}
	})
	return &browser{site: m.site, input: input, output: lines}
}

// do takes a step on the page of a server, and says how long that took.
func (b *browser) do(base, name string, told step) {
	b.t.Helper()
	line := step{"step": name, "base": base}
	for k, v := range told {
		line[k] = v
	}
	raw, err := json.Marshal(line)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.input.Write(append(raw, '\n')); err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
	if !b.output.Scan() {
		b.t.Fatalf("the browser is gone at the step %s: %v", name, b.output.Err())
	}
	var said struct {
		Seconds float64
		Error   string
	}
	if err := json.Unmarshal(b.output.Bytes(), &said); err != nil {
		b.t.Fatalf("the step %s answered %q: %v", name, b.output.Text(), err)
	}
	if said.Error != "" {
		b.t.Fatalf("page, step %s after %.1f s: %s", name, said.Seconds, said.Error)
	}
	b.t.Logf("page: %-8s %5.1f s", name, said.Seconds)
}
