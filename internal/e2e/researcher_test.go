package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
)

// docs/shipping-a-detector.md is followed command by command, with its notebook, in a folder that knows nothing of this
// repository. What the card of the release says is then what `picket eval` said.
func TestAResearcherShipsADetector(t *testing.T) {
	picketd := bin(t, "picketd")
	if _, err := os.Stat(filepath.Join(filepath.Dir(picketd), "datasets", "lab-1")); err != nil {
		t.Skip("lab-1 is not beside the programs: run `make build`")
	}
	probe := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command("sh", "-c", "python3 -m venv "+probe+" && "+probe+"/bin/pip download --quiet --no-deps --dest "+probe+" nbclient").CombinedOutput(); err != nil {
		t.Skipf("Python's packages cannot be had here: %s", out)
	}
	dir, err := os.MkdirTemp("/tmp", "researcher-") //nolint:usetesting // each plugin has a user of its own, who reads the interpreter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repoRoot(t), "docs/shipping-a-detector.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, m := range regexp.MustCompile(`<!-- start (127\.0\.0\.1:\d+) -->`).FindAllStringSubmatch(page, -1) {
		page = strings.ReplaceAll(page, m[1], "127.0.0.1:"+strconv.Itoa(freePort(t)))
	}
	env := append(os.Environ(), "NO_COLOR=1", "NOTEBOOK="+filepath.Join(repoRoot(t), "examples/detector-notebook/explore.ipynb"),
		"PATH="+filepath.Dir(picketd)+":"+os.Getenv("PATH"))
	blocks := regexp.MustCompile("(?s)<!-- (run|start ([0-9.:]+)) -->\n```sh\n(.*?)\n```\n(?:<!-- prints -->\n```text\n(.*?)\n```\n)?").FindAllStringSubmatch(page, -1)
	if len(blocks) < 9 {
		t.Fatalf("only %d blocks to run", len(blocks))
	}
	began, where := time.Now(), dir
	for _, b := range blocks {
		address, script, prints := b[2], b[3], b[4]
		if address != "" {
			startIn(t, dir, env, address, strings.Fields(script))
			continue
		}
		since := time.Now()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script+"\npwd >\"$PLACE\"")
		place := filepath.Join(t.TempDir(), "pwd")
		cmd.Dir, cmd.Env = where, append(env, "PLACE="+place, "PWD="+where)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", script, err, out)
		}
		at, err := os.ReadFile(place)
		if err != nil {
			t.Fatal(err)
		}
		where = strings.TrimSpace(string(at))
		rest := string(out)
		for want := range strings.Lines(prints) { // in this order, with anything between
			_, after, found := strings.Cut(rest, strings.TrimSpace(want))
			if !found {
				t.Fatalf("%s\nprinted\n%s\nwhich lacks %q", script, out, want)
			}
			rest = after
		}
		first, _, _ := strings.Cut(script, "\n")
		t.Logf("%5.1f s  %s", time.Since(since).Seconds(), first)
	}
	t.Logf("%5.1f minutes of commands", time.Since(began).Minutes())
	sameFigures(t, dir)
}

// startIn runs a program of the page until the test ends, and waits until it answers.
func startIn(t *testing.T, dir string, env []string, address string, fields []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin(t, fields[0]), fields[1:]...) // its end is the end of the context
	cmd.Dir, cmd.Env = dir, env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	waitFor(t, fields[0]+" to be ready", func() bool {
		resp, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode != http.StatusServiceUnavailable
	})
}

// sameFigures compares the card of `picket eval` with the figures that the registry signed.
func sameFigures(t *testing.T, dir string) {
	t.Helper()
	type share struct{ Value float64 }
	var card struct {
		Score struct {
			Captures          int
			Precision, Recall share
			PerHour           share `json:"false_alarms_an_hour"`
		}
	}
	var offer struct {
		Card struct{ Quality []registry.QualityFigure }
	}
	for file, into := range map[string]any{"odd-upload/cards/acme-odd-upload-0.1.0.json": &card, "offer.json": &offer} {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if len(offer.Card.Quality) != 1 {
		t.Fatalf("the registry's card: %+v", offer)
	}
	q, s := offer.Card.Quality[0], card.Score
	if q.Captures != s.Captures || q.Precision != s.Precision.Value || q.Recall != s.Recall.Value || q.FalsePositivesPerHour != s.PerHour.Value || s.Captures == 0 {
		t.Errorf("picket eval said %+v, the registry %+v", s, q)
	}
}
