package plugincmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
)

// rebuildCmd is what the gate of that name runs. It is a program of its own run, so that what it reads and builds stays
// apart from the keys of a registry.
func rebuildCmd() *cobra.Command {
	var sources string
	var clone bool
	var cache string
	cmd := &cobra.Command{
		Use:   "rebuild --sources DIR RELEASE",
		Short: "Build a release in Go again from its source and print the digests of what comes out",
		Long: `Build a release in Go again from its source and print the digests of what comes out.

RELEASE is a folder with release.json and artifacts. The source is a checkout in SOURCES/NAMESPACE/NAME, or with --clone
what the manifest names. Building runs no code of the release: cgo is off, and the tools see no network, no settings and
no module cache but a scratch one, filled from the modules that this machine has.`,
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := built(args[0], "")
			if err != nil {
				return err
			}
			scratch, err := os.MkdirTemp("", "picket-rebuild-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(scratch)
			dir, err := checkout(cmd.Context(), sources, clone, p.manifest, filepath.Join(scratch, "source"))
			if err != nil {
				return err
			}
			digests, err := buildAgain(cmd.Context(), p, dir, scratch, cmp.Or(cache, filepath.Join(scratch, "cache")))
			if err != nil {
				return err
			}
			return columns.JSON(cmd.OutOrStdout(), digests)
		},
	}
	cmd.Flags().StringVar(&sources, "sources", "", "a folder of checkouts, as NAMESPACE/NAME")
	cmd.Flags().BoolVar(&clone, "clone", false, "fetch the source that the manifest names")
	cmd.Flags().StringVar(&cache, "build-cache", "", "a folder for what is compiled on the way (default: a new one)")
	return cmd
}

func checkout(ctx context.Context, sources string, clone bool, m *registry.Manifest, into string) (string, error) {
	if dir := filepath.Join(sources, filepath.FromSlash(m.ID)); sources != "" && exists(dir) {
		return filepath.EvalSymlinks(dir) // Go looks for the module above it
	}
	switch {
	case m.Source == nil:
		return "", errors.New("it names no source, and there is no checkout of it here")
	case !clone:
		return "", errors.New("there is no checkout of its source here")
	}
	ctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	for _, args := range [][]string{
		{"init", "--quiet", into},
		{"-C", into, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", m.Source.Repo, m.Source.Commit},
		{"-C", into, "checkout", "--quiet", "--detach", m.Source.Commit},
	} {
		git := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=" + os.DevNull, "-c", "core.symlinks=false", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always"}, args...)...)
		git.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=1"}
		if out, err := git.CombinedOutput(); err != nil {
			return "", fmt.Errorf("fetch %s at %s: %w: %s", m.Source.Repo, m.Source.Commit, err, firstLine(string(bytes.TrimSpace(out))))
		}
	}
	return filepath.Join(into, filepath.FromSlash(m.Source.Subdir)), nil
}

const cloneTimeout = 5 * time.Minute

// buildAgain returns the digests of what the source gives on the platforms of the release.
func buildAgain(ctx context.Context, r *plugin, dir, scratch, cache string) ([]string, error) {
	env, err := apart(ctx, scratch, cache)
	if err != nil {
		return nil, err
	}
	if err := sameToolchain(ctx, r, env); err != nil {
		return nil, err
	}
	b := &builder{out: filepath.Join(scratch, "out"), env: env, report: func(string, string, int64, time.Duration) {}}
	for _, a := range r.targets {
		if pf := (platform{a.OS, a.Arch}); a.Runtime == registry.RuntimeProcess && !slices.Contains(b.platforms, pf) {
			b.platforms = append(b.platforms, pf)
		}
	}
	plugins, err := b.read([]string{dir})
	if err != nil {
		return nil, err
	}
	p, m := plugins[0], r.manifest
	if _, isGo := p.lang.(goLang); !isGo {
		return nil, fmt.Errorf("only Go is built again, not %s", p.lang.name())
	}
	if p.manifest.ID != m.ID || p.manifest.Version != m.Version {
		return nil, fmt.Errorf("the source is of %s %s", p.manifest.ID, p.manifest.Version)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	targets := make([]*target, len(p.targets))
	for i := range p.targets {
		targets[i] = &p.targets[i]
	}
	if err := b.compileAll(ctx, targets); err != nil {
		return nil, fmt.Errorf("%s", firstLine(err.Error()))
	}
	var digests []string
	for _, t := range targets {
		digests = append(digests, t.SHA256)
	}
	return digests, nil
}

// apart is the environment of a build that sees nothing of the machine but its compiler and its downloaded modules.
func apart(ctx context.Context, scratch, cache string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("the Go tools are not here: %w", err)
	}
	have := filepath.Join(strings.TrimSpace(string(out)), "cache", "download")
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "GOPATH=" + filepath.Join(scratch, "go"), "GOMODCACHE=" + filepath.Join(scratch, "modules"),
		"GOCACHE=" + cache, "GOPROXY=file://" + filepath.ToSlash(have) + ",off", "GOSUMDB=off", "GOENV=off",
		"GOFLAGS=-modcacherw", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
	}, nil
}

// sameToolchain refuses to compare what other compilers built: it would differ, and nobody is to blame.
func sameToolchain(ctx context.Context, r *plugin, env []string) error {
	d := &registry.Descriptor{Manifest: *r.manifest}
	files := map[string]string{}
	for _, t := range r.targets {
		d.Artifacts = append(d.Artifacts, t.Artifact)
		files[t.SHA256] = t.path
	}
	stated := gates.GoToolchain(gates.Release{Descriptor: d, Files: files})
	if stated == "" {
		return errors.New("it does not say which Go built it")
	}
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	if have := strings.TrimPrefix(strings.TrimSpace(string(out)), "go"); have != stated {
		return fmt.Errorf("it was built with Go %s, here is %s", stated, have)
	}
	return nil
}
