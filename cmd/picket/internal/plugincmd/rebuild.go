package plugincmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	var clone, own bool
	var cache string
	cmd := &cobra.Command{
		Use:   "rebuild --sources DIR RELEASE",
		Short: "Build a release again from its source and print the digests of what comes out",
		Long: `Build a release again from its source and print the digests of what comes out.

RELEASE is a folder with release.json and artifacts. The source is a checkout in SOURCES/NAMESPACE/NAME, or with --clone
what the manifest names. Building one in Go runs no code of the release: cgo is off, and the tools see no network, no
settings and no module cache but a scratch one, filled from the modules that this machine has. Cargo runs build scripts and
macros, so one in Rust is built again with --own only.`,
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
			if cache, err = filepath.Abs(cmp.Or(cache, filepath.Join(scratch, "cache"))); err != nil { // Go wants it whole
				return err
			}
			digests, err := again{scratch, cache, own}.build(cmd.Context(), p, dir)
			if err != nil {
				return err
			}
			return columns.JSON(cmd.OutOrStdout(), digests)
		},
	}
	cmd.Flags().StringVar(&sources, "sources", "", "a folder of checkouts, as NAMESPACE/NAME")
	cmd.Flags().BoolVar(&clone, "clone", false, "fetch the source that the manifest names")
	cmd.Flags().StringVar(&cache, "build-cache", "", "a folder for what is compiled on the way (default: a new one)")
	cmd.Flags().BoolVar(&own, "own", false, "it is your own, and its build may run code of it")
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
	if err := fetcher.fetch(ctx, m.Source.Repo, m.Source.Commit, into); err != nil {
		return "", fmt.Errorf("fetch %s at %s: %w", m.Source.Repo, m.Source.Commit, err)
	}
	return filepath.Join(into, filepath.FromSlash(m.Source.Subdir)), nil
}

// again builds releases again.
type again struct {
	scratch, cache string
	own            bool // its build may run code of it
}

// build returns the digests of what the source gives on the platforms of the release.
func (a again) build(ctx context.Context, r *plugin, dir string) ([]string, error) {
	b := &builder{out: filepath.Join(a.scratch, "out"), report: func(string, string, int64, time.Duration) {}}
	for _, t := range r.targets {
		if pf := (platform{t.OS, t.Arch}); t.Runtime == registry.RuntimeProcess && !slices.Contains(b.platforms, pf) {
			b.platforms = append(b.platforms, pf)
		}
	}
	plugins, err := b.read([]string{dir})
	if err != nil {
		return nil, err
	}
	p, m := plugins[0], r.manifest
	if b.env, err = a.environ(ctx, p.lang, r); err != nil {
		return nil, err
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
		what, why, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%s: %s", what, firstLine(why))
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

// environ is what the tools see that build a release again, or says why it is not built: what another compiler built
// would differ, and nobody is to blame.
func (a again) environ(ctx context.Context, lang language, r *plugin) (env []string, err error) {
	d := &registry.Descriptor{Manifest: *r.manifest}
	files := map[string]string{}
	for _, t := range r.targets {
		d.Artifacts = append(d.Artifacts, t.Artifact)
		files[t.SHA256] = t.path
	}
	release := gates.Release{Descriptor: d, Files: files}
	switch lang.(type) {
	case goLang:
		if env, err = apart(ctx, a.scratch, a.cache); err != nil {
			return nil, err
		}
		return env, sameCompiler(ctx, env, gates.GoToolchain(release), "go", "env", "GOVERSION")
	case pythonLang:
		return nil, nil // it is packed, not compiled
	case rustLang:
		if !a.own {
			return nil, errors.New("building it would run code of it (cargo's build scripts and macros)")
		}
		return nil, sameCompiler(ctx, nil, gates.RustToolchain(release), "rustc", "--version")
	}
	return nil, fmt.Errorf("%s is not built again", lang.name())
}

// versionWord is the version in what a compiler says about itself.
var versionWord = regexp.MustCompile(`[0-9]+\.[0-9]+[0-9.]*`)

func sameCompiler(ctx context.Context, env []string, stated, program string, args ...string) error {
	if stated == "" {
		return fmt.Errorf("it does not say which %s built it", program)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", program, err)
	}
	if have := versionWord.FindString(string(out)); have != stated {
		return fmt.Errorf("it was built with %s %s, here is %s", program, stated, have)
	}
	return nil
}
