package plugincmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/registry"
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

// testOnce is a gates.Tester for plugins of one's own: it runs them as `picket plugin test` does, unconfined, and keeps
// the report beside what was built, so that what has not changed is not tested again.
func testOnce(cmd *cobra.Command, plugins []*plugin) gates.Tester {
	var one sync.Mutex // measurements beside one another would be of one another
	return func(ctx context.Context, r gates.Release) ([]byte, error) {
		one.Lock()
		defer one.Unlock()
		i := slices.IndexFunc(plugins, func(p *plugin) bool { return p.Descriptor == r.Descriptor })
		if i < 0 {
			return nil, fmt.Errorf("%s was not built here", r.Descriptor.Manifest.ID)
		}
		p := plugins[i]
		kept := filepath.Join(p.dir, "conformance-"+artifactsDigest(r.Descriptor)[:16]+".json")
		if data, err := os.ReadFile(kept); err == nil {
			return data, nil
		}
		t := &tester{stdout: cmd.ErrOrStderr(), stderr: cmd.ErrOrStderr(), asJSON: true}
		report, err := t.conformance(ctx, p)
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(report)
		if err != nil {
			return nil, err
		}
		for _, old := range oldReports(p.dir) {
			os.Remove(old) // of an earlier build
		}
		return data, os.WriteFile(kept, data, 0o644)
	}
}

func oldReports(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "conformance-*.json")) // the pattern is good
	return names
}

func artifactsDigest(d *registry.Descriptor) string {
	var all []string
	for _, a := range d.Artifacts {
		all = append(all, a.SHA256)
	}
	return registry.Digest([]byte(strings.Join(all, " ")))
}
