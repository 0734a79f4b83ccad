package golden

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/internal/traffic/golden/echo"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// told is a frame of facts and what a detector in this process says of it.
type told struct {
	frame []byte
	want  findings
}

// TestFactsAreTheSameInAllRuntimes gives the facts of all shared captures to a detector that says back a digest of each: as
// a process and as a WASM guest it must have been given what one in this process was.
func TestFactsAreTheSameInAllRuntimes(t *testing.T) {
	dir := t.TempDir()
	var all []told
	kinds := map[string]int{}
	for _, file := range sharedCaptures(t) {
		all = append(all, factsOf(t, file, kinds)...)
	}
	for _, kind := range sdk.FactKinds {
		if kinds[kind] == 0 {
			t.Errorf("no shared capture has facts of kind %s", kind)
		}
	}
	grants := []sdk.Permission{{Cap: sdk.CapFactsRead}, {Cap: sdk.CapFilesRead}}
	t.Run("process", func(t *testing.T) {
		cmd := exec.Command(build(t, dir, "echo", "", "./echo/cmd"))
		cmd.Env = []string{}
		sameFacts(t, start(t, cmd, echo.Facts(), grants...), all)
	})
	t.Run("wasm", func(t *testing.T) {
		guest, err := os.Open(build(t, dir, "echo.wasm", "wasip1", "./echo/cmd"))
		if err != nil {
			t.Fatal(err)
		}
		defer guest.Close()
		cmd := exec.Command(build(t, dir, "picket-wasm", "", "../../../cmd/picket-wasm"),
			"--guest-fd", "3", "--cache", filepath.Join(dir, "cache"), "--cache-key-fd", "4", "--memory", "64")
		cmd.Env, cmd.ExtraFiles = []string{}, []*os.File{guest, key(t)}
		sameFacts(t, start(t, cmd, echo.Facts(), grants...), all)
	})
}

// factsOf gives the first batch of each kind of facts in a capture, and counts the facts.
func factsOf(t *testing.T, file string, kinds map[string]int) []told {
	t.Helper()
	var all []told
	seen := map[string]bool{}
	detector := echo.Facts().New().(sdk.Detector)
	m, err := facts.New(facts.Config{Kinds: sdk.FactKinds, Emit: facts.Batches(func(kind string, b *sdk.Batch) error {
		if seen[kind] {
			return nil
		}
		seen[kind] = true
		b.Capture = "all"
		one := told{frame: records.AppendBatch(nil, b)}
		err := detector.Inspect(t.Context(), *b, &one.want)
		kinds[kind] += len(one.want)
		all = append(all, one)
		return err
	})})
	if err != nil {
		t.Fatal(err)
	}
	_, err = traffic.AnalyzeFile(t.Context(), file, traffic.Options{Flow: flow.Config{Apps: m.Engine()}}, nil, m.Flows(func([]sdk.Flow) error { return nil }))
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		t.Fatal(err)
	}
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	return all
}

func sameFacts(t *testing.T, i *host.Instance, all []told) {
	t.Helper()
	differences := 0
	for _, one := range all {
		var got findings
		if err := i.Inspect(t.Context(), "all", one.frame, &got); err != nil {
			t.Fatal(err)
		}
		same := func(a, b sdk.Finding) bool { return a.Summary == b.Summary && a.Src == b.Src && a.Dst == b.Dst }
		if !slices.EqualFunc(got, one.want, same) {
			if differences++; differences < 5 {
				t.Errorf("of %d facts of kind %s it was given %d, or others", len(one.want), one.want[0].Src, len(got))
			}
		}
	}
	if len(all) < 100 {
		t.Errorf("%d batches only", len(all))
	}
}
