package plugincmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/registry/gates"
)

// check runs the gates over plugins that were built here, several beside one another, and puts what they found into
// their submissions.
func (b *builder) check(ctx context.Context, plugins []*plugin, cfg gates.Config, slots int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, slots)
	var wg sync.WaitGroup
	for _, p := range plugins {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			found, err := gates.Check(ctx, releaseOf(p.Submission), cfg, nil)
			if err == nil {
				err = found.Refused()
			}
			if err != nil {
				cancel(fmt.Errorf("%s: %w", p.manifest.ID, err))
				return
			}
			p.Card, p.Evidence = found.Card, found.Evidence
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// testOwn is a gates.Tester for plugins of one's own: it runs them as `picket plugin test` does, unconfined.
func testOwn(cmd *cobra.Command, plugins []*plugin) gates.Tester {
	return func(ctx context.Context, r gates.Release) ([]byte, error) {
		p := sourceOf(plugins, r)
		if p == nil {
			return nil, fmt.Errorf("%s was not built here", r.Descriptor.Manifest.ID)
		}
		t := &tester{stdout: cmd.ErrOrStderr(), stderr: cmd.ErrOrStderr(), asJSON: true}
		report, err := t.conformance(ctx, p)
		if err != nil {
			return nil, err
		}
		return json.Marshal(report)
	}
}

// withOwnPython gives a plugin of one's own the interpreter of its folder: what is measured lies elsewhere.
func withOwnPython(plugins []*plugin) func(gates.Release) []string {
	return func(r gates.Release) []string {
		p := sourceOf(plugins, r)
		if p == nil {
			return nil
		}
		lang, ok := p.lang.(pythonLang)
		if !ok {
			return nil
		}
		python, err := lang.interpreter()
		if err == nil {
			python, err = filepath.Abs(python)
		}
		if err != nil {
			return nil // running it says why
		}
		return append(os.Environ(), "PICKET_PYTHON="+python)
	}
}

func sourceOf(plugins []*plugin, r gates.Release) *plugin {
	i := slices.IndexFunc(plugins, func(p *plugin) bool { return p.Descriptor == r.Descriptor })
	if i < 0 {
		return nil
	}
	return plugins[i]
}

// testdataOf is a digest of the captures, states and cases that a test run of one's own plugin takes from its folder.
func testdataOf(plugins []*plugin) func(gates.Release) string {
	return func(r gates.Release) string {
		sum := sha256.New()
		if p := sourceOf(plugins, r); p != nil {
			// What cannot be read fails in the test run, which then is not kept.
			_ = fs.WalkDir(os.DirFS(p.src), "testdata", func(name string, e fs.DirEntry, err error) error {
				if err == nil && e.Type().IsRegular() {
					digest, size, _ := hashFile(filepath.Join(p.src, filepath.FromSlash(name)))
					fmt.Fprintf(sum, "%s %d %s\n", digest, size, name)
				}
				return err
			})
		}
		return hex.EncodeToString(sum.Sum(nil))
	}
}
