// Package hosttest prepares what tests of a plugin host need: the helper programs, and the test itself as a plugin.
package hosttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/picketwatch/picket/core/kernel/config"
)

// Programs is a folder with picket-launch, a stand-in for picket-wasm that only knows its version, and the test of one
// package as a static program: a confined plugin finds no libraries.
type Programs struct {
	once sync.Once
	dir  string
	err  error
}

// Plugin is the name of the test's own program in the folder.
const Plugin = "plugin"

// Dir builds the programs at the first call. The test's package is the one in the working folder.
func (p *Programs) Dir(tb testing.TB) string {
	tb.Helper()
	p.once.Do(func() { p.err = p.build() })
	if p.err != nil {
		tb.Fatal(p.err)
	}
	return p.dir
}

// Read returns the test's own program. Dir, or Use, was called before.
func (p *Programs) Read() ([]byte, error) { return os.ReadFile(filepath.Join(p.dir, Plugin)) }

// Use takes a folder that another process has built.
func (p *Programs) Use(dir string) { p.once.Do(func() { p.dir = dir }) }

// Remove removes the folder. TestMain calls it.
func (p *Programs) Remove() {
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

func (p *Programs) build() (err error) {
	if p.dir, err = os.MkdirTemp("", "picket-helpers-"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(p.dir, "picket-launch"), "github.com/picketwatch/picket/cmd/picket-launch"},
		{"test", "-c", "-o", filepath.Join(p.dir, Plugin), "."},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
	}
	standIn := "#!/bin/sh\n[ \"$1\" = --version ] && echo " + config.Version + " && exit\nexit 1\n"
	return os.WriteFile(filepath.Join(p.dir, "picket-wasm"), []byte(standIn), 0o755)
}
