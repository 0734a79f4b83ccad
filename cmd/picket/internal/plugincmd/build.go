package plugincmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
)

func buildCmd() *cobra.Command {
	var out string
	var platforms []string
	cmd := &cobra.Command{
		Use:   "build DIR...",
		Short: "Build plugins: every runtime that plugin.yaml lists, and release.json beside them",
		Long: `Build plugins: every runtime that plugin.yaml lists, and release.json beside them.

The same source gives the same bytes wherever it is built: paths, version control and the time of day stay out.`,
		Example: "  picket plugin build --out build plugins/detectors/portscan",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			b, err := newBuilder(out, platforms)
			if err != nil {
				return err
			}
			b.report = progress(cmd)
			plugins, err := b.read(dirs)
			if err != nil {
				return err
			}
			if err := b.build(cmd.Context(), plugins); err != nil {
				return err
			}
			p := columns.New(cmd.OutOrStdout())
			for _, plugin := range plugins {
				p.Line(columns.C(plugin.dir))
			}
			return nil
		},
	}
	buildFlags(cmd, &out, &platforms, "build")
	return cmd
}

func buildFlags(cmd *cobra.Command, out *string, platforms *[]string, where string) {
	cmd.Flags().StringVar(out, "out", where, "where the artifacts go; keep it, an unchanged build is then quick")
	platformFlag(cmd, platforms)
}

func platformFlag(cmd *cobra.Command, platforms *[]string) {
	cmd.Flags().StringSliceVar(platforms, "platform", []string{runtime.GOOS + "/" + runtime.GOARCH}, "platforms of the process artifact, as OS/ARCH")
}

// progress prints a line for each artifact as it gets ready, on stderr, so that a long build shows that it lives.
func progress(cmd *cobra.Command) func(plugin, what string, size int64, took time.Duration) {
	var mu sync.Mutex
	p := columns.New(cmd.ErrOrStderr())
	return func(plugin, what string, size int64, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		p.Line(columns.S(columns.Dim, fmt.Sprintf("    built %-20s %-20s %9s %6.1f s", plugin, what, columns.Bytes(size), took.Seconds())))
	}
}

// builder turns source folders into submissions.
type builder struct {
	out       string
	platforms []platform
	env       []string // of the tools; nil: that of this program
	debug     bool     // not optimised and with all that a debugger reads
	report    func(plugin, what string, size int64, took time.Duration)
	packs     packs
}

type platform struct{ os, arch string }

func newBuilder(out string, platforms []string) (*builder, error) {
	abs, err := filepath.Abs(out)
	if err != nil {
		return nil, err
	}
	b := &builder{out: abs}
	for _, s := range platforms {
		goos, goarch, ok := strings.Cut(s, "/")
		if !ok || goos == "" || goarch == "" {
			return nil, usage.Errorf("--platform %q: want OS/ARCH, for example linux/arm64", s)
		}
		b.platforms = append(b.platforms, platform{goos, goarch})
	}
	if !slices.Contains(b.platforms, platform{runtime.GOOS, runtime.GOARCH}) {
		return nil, usage.Errorf("--platform must include %s/%s: the plugin is asked here what it is", runtime.GOOS, runtime.GOARCH)
	}
	return b, nil
}

// plugin is one source folder on its way.
type plugin struct {
	src      string
	dir      string // its folder below out
	lang     language
	manifest *registry.Manifest
	readme   []byte
	pages    pages
	targets  []target
	publish.Submission
}

// target is one artifact to build.
type target struct {
	plugin *plugin
	path   string
	registry.Artifact
}

// read reads the manifests of all folders, so that a mistake in one shows before anything is built.
func (b *builder) read(dirs []string) ([]*plugin, error) {
	var plugins []*plugin
	for _, dir := range dirs {
		p, err := b.readOne(dir)
		if err != nil {
			return nil, err
		}
		same := func(q *plugin) bool { return q.manifest.ID == p.manifest.ID }
		if i := slices.IndexFunc(plugins, same); i >= 0 {
			return nil, fmt.Errorf("%s and %s are both %s", plugins[i].src, dir, p.manifest.ID)
		}
		plugins = append(plugins, p)
	}
	return plugins, nil
}

// build builds all plugins. The first artifact for each platform is built before the others, which then find their
// common packages compiled instead of all compiling them at once.
func (b *builder) build(ctx context.Context, plugins []*plugin) error {
	b.packs = packs{}
	var first, rest []*target
	seen := map[platform]bool{}
	for _, p := range plugins {
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return err
		}
		for i := range p.targets {
			t := &p.targets[i]
			if key := (platform{t.OS, t.Arch}); !seen[key] {
				seen[key] = true
				first = append(first, t)
			} else {
				rest = append(rest, t)
			}
		}
	}
	for _, targets := range [][]*target{first, rest} {
		if err := b.compileAll(ctx, targets); err != nil {
			return err
		}
	}
	for _, p := range plugins {
		if err := p.describe(ctx); err != nil {
			return fmt.Errorf("build %s: %w", p.manifest.ID, err)
		}
	}
	return nil
}

// manifestOf reads the plugin.yaml of a source folder.
func manifestOf(dir string) (*registry.Manifest, error) {
	const makeOne = "`picket plugin new --kind KIND NAMESPACE/NAME`"
	path := filepath.Join(dir, "plugin.yaml")
	data, err := os.ReadFile(path)
	switch info, statErr := os.Stat(dir); {
	case errors.Is(statErr, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no folder %s; %s makes a plugin", dir, makeOne)
	case statErr == nil && !info.IsDir():
		return nil, fmt.Errorf("%s is a file: name the folder in which plugin.yaml lies", dir)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is not a plugin's folder, it has no plugin.yaml: name the one that has, or make a plugin with %s", dir, makeOne)
	case err != nil:
		return nil, fmt.Errorf("read the plugin's manifest: %w", err)
	}
	m, err := registry.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (b *builder) readOne(dir string) (*plugin, error) {
	src, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	m, err := manifestOf(dir)
	if err != nil {
		return nil, err
	}
	p := &plugin{src: src, manifest: m, dir: filepath.Join(b.out, strings.ReplaceAll(m.ID, "/", "-"))}
	if p.readme, err = readIf(filepath.Join(src, "README.md"), registry.MaxReadme); err != nil {
		return nil, err
	}
	if p.pages, err = readPages(src, m); err != nil {
		return nil, err
	}
	if p.lang, err = languageOf(src, m); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	for _, runtimeName := range m.Runtimes {
		if m.Kind == registry.KindAgent {
			if err := p.addAgents(); err != nil {
				return nil, err
			}
			continue
		}
		if runtimeName == registry.RuntimeFile {
			p.add(m.File, registry.Artifact{Runtime: runtimeName, OS: registry.AnyPlatform, Arch: registry.AnyPlatform, ABI: registry.ABIFile})
			continue
		}
		if runtimeName == registry.RuntimeWASM {
			p.add("wasm", registry.Artifact{Runtime: runtimeName, OS: "wasip1", Arch: "wasm", ABI: registry.ABIWASM})
			continue
		}
		if m.Interpreter != "" {
			p.add("process-any.pyz", registry.Artifact{Runtime: runtimeName, OS: registry.AnyPlatform, Arch: registry.AnyPlatform, ABI: registry.ABIProcess})
			continue
		}
		for _, pf := range b.platforms {
			p.add("process-"+pf.os+"-"+pf.arch, registry.Artifact{Runtime: runtimeName, OS: pf.os, Arch: pf.arch, ABI: registry.ABIProcess})
		}
	}
	return p, nil
}

func (p *plugin) add(name string, a registry.Artifact) {
	p.targets = append(p.targets, target{plugin: p, path: filepath.Join(p.dir, name), Artifact: a})
}

// compileAll builds targets beside one another, as many as there are processors, and stops at the first failure.
func (b *builder) compileAll(ctx context.Context, targets []*target) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for _, t := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := b.compile(ctx, t); err != nil {
				cancel(fmt.Errorf("build %s for %s/%s: %w", t.plugin.manifest.ID, t.OS, t.Arch, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// compile makes one artifact. The output stays where it is from one build to the next, so that a linker has nothing to
// do when nothing changed.
func (b *builder) compile(ctx context.Context, t *target) error {
	begin := time.Now()
	before, _, _ := hashFile(t.path) // "" when there is none yet
	err := b.packs.compile(ctx, b, t)
	if err != nil {
		return err
	}
	if t.SHA256, t.Size, err = hashFile(t.path); err != nil {
		return err
	}
	if t.SHA256 == before {
		return nil // nothing to report
	}
	b.report(t.plugin.manifest.ID, t.Runtime+" "+t.OS+"/"+t.Arch, t.Size, time.Since(begin))
	return nil
}

func hashFile(path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), size, err
}
