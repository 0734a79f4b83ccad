package dga

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/kit"
	"github.com/picketwatch/picket/sdk/sdktest"
)

const sharedCaptures = "../../../../shared/pcaps"

// TestSharedCaptures looks at the shared captures that thresholds may be made with: each attack of this kind must be found, and
// nothing in ordinary traffic. PICKET_SIDE=test looks at those that judge them.
func TestSharedCaptures(t *testing.T) {
	if _, err := os.Stat(filepath.Join(sharedCaptures, "INDEX.tsv")); err != nil {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	table, err := os.ReadFile("../../../examples/datasets/split.tsv")
	if err != nil {
		t.Fatal(err)
	}
	wanted := os.Getenv("PICKET_SIDE")
	if wanted == "" {
		wanted = "tune"
	}
	looked := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		col := strings.Fields(line)
		file, side := col[0], col[3]
		if side != wanted || looked[file] {
			continue
		}
		looked[file] = true
		found := findIn(t, file)
		for _, f := range found {
			t.Logf("%s: %s %.2f: %s", file, f.Severity, f.Confidence, f.Summary)
		}
		attack, ordinary := strings.HasPrefix(file, "atk-dga_"), strings.HasPrefix(file, "benign-") || strings.HasPrefix(file, "neg-")
		if attack && len(found) == 0 || ordinary && len(found) > 0 {
			t.Errorf("%s: %d findings", file, len(found))
		}
	}
}

// findIn runs the detector over one shared capture.
func findIn(t *testing.T, file string) []sdk.Finding {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(sharedCaptures, file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "case"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(dir, "case", "input.pcap")); err != nil {
		t.Fatal(err)
	}
	cases, err := kit.ReadCases(t.Context(), dir, Plugin().Subscription)
	switch {
	case errors.Is(err, kit.ErrNoCommand):
		t.Skip(err)
	case err != nil:
		t.Logf("%s is not read to its end: %v", file, err)
		return nil
	}
	found, err := cases[0].Run(t.Context(), kit.InProcess(Plugin(), func(abi.InstanceConfig) (sdk.Host, func(), error) {
		h := sdktest.NewHost(t)
		h.Models = options.Models
		return h, func() {}, nil
	}), kit.Options{})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return found
}
