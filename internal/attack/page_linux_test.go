package attack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
)

// cell is what became of one attack in one runtime at one level.
type cell struct {
	Attack, Runtime string
	Level           confine.Level
	OK, Skipped     bool
}

// record writes down what becomes of the test, for the page.
func record(t *testing.T, attack, runtime string, level confine.Level) {
	t.Helper()
	t.Cleanup(func() {
		c := cell{attack, runtime, level, !t.Failed() && !t.Skipped(), t.Skipped()}
		data, err := json.Marshal(c)
		if err == nil {
			err = os.WriteFile(filepath.Join(programs, "results", attack+"-"+runtime+"-"+string(level)), data, 0o644) //nolint:gosec // two users read it
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func checkPage() int { return 0 }
