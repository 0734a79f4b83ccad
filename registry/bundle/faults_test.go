package bundle_test

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/picketwatch/picket/registry/bundle"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/publish"
)

// TestAttackDiskFullDuringAnImport lets the disk be full from some steps of an import on. The site's registry is in order
// afterwards, and importing again finishes the work.
func TestAttackDiskFullDuringAnImport(t *testing.T) {
	g := newGap(t)
	file := g.export(t, "first.tar", nil)
	root, err := os.ReadFile(g.inside.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := errors.Join(os.CopyFS(empty+"/dir", os.DirFS(g.inside.Dir)), copyKeys(g.inside.Keys, empty+"/keys")); err != nil {
		t.Fatal(err)
	}
	steps := 0
	restore := durable.Intercept(func(durable.Op, string) error { steps++; return nil })
	g.carry(t, file)
	restore()
	if steps < 50 {
		t.Fatalf("only %d steps: the test does not see them", steps)
	}
	stride := 7
	if testing.Short() {
		stride = 41
	}
	for failing := 0; failing < steps; failing += stride {
		here := t.TempDir()
		if err := errors.Join(os.CopyFS(here+"/dir", os.DirFS(empty+"/dir")), copyKeys(empty+"/keys", here+"/keys")); err != nil {
			t.Fatal(err)
		}
		site := bundle.Site{Dir: here + "/dir", Keys: here + "/keys"}
		n := 0
		restore := durable.Intercept(func(durable.Op, string) error {
			if n++; n > failing {
				return syscall.ENOSPC
			}
			return nil
		})
		_, err := bundle.Import(t.Context(), g.config(file), site)
		restore()
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %d of %d: %v", failing, steps, err)
		}
		if report, err := publish.Verify(site.Dir, root, g.inside.Now()); err != nil || !report.OK() {
			t.Fatalf("step %d of %d: the site's registry is not in order: %v, %+v", failing, steps, err, report)
		}
		r, err := bundle.Import(t.Context(), g.config(file), site)
		if err != nil {
			t.Fatalf("step %d of %d: and again: %v", failing, steps, err)
		}
		if all := slices.Concat(r.New, r.Replaced, r.Unchanged); len(all) != 3 {
			t.Errorf("step %d of %d: and again: %+v", failing, steps, r)
		}
	}
}

// copyKeys copies a folder of keys, which nobody else may read.
func copyKeys(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	entries, err := os.ReadDir(to)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Chmod(to+"/"+e.Name(), 0o600); err != nil {
			return err
		}
	}
	return os.Chmod(to, 0o700)
}
