package plugincmd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// runner is `picket plugin run`.
type runner struct {
	dir, data, out string
	configs        []string
	secrets        []string
	models         []string
	grants         []string
	runtime        string
	interval       time.Duration
	scope          string
	captures       []string
	notice         bool
	debug          bool

	cmd    *cobra.Command
	screen screen
	kind   sdk.Kind
	hinted sync.Once
}

func runCmd() *cobra.Command {
	var r runner
	cmd := &cobra.Command{
		Use:   "run [DIR]",
		Short: "Try a plugin in a running picketd --dev, built anew on every save",
		Long: `Try a plugin in a running picketd --dev: it is built, runs on the server with the permissions that its plugin.yaml
asks for (the node's policy.yaml still holds), and what it says, measures and finds is printed here. When a file in its
folder is saved it is built again, and the new build takes over from the old one with its state. A build that fails
changes nothing. Ctrl-C ends it, and nothing of it stays.

The plugin is not signed, so only a server that was started with --dev takes it, never a release build; its page says so.

A collector and a discovery work every few seconds. A detector sees the captures that the server analyses: --capture
gives it one with each build. A notifier gets a test notice with each build when you say --notice.

A plugin in Python runs with the interpreter that the node's policy.yaml names, and without one with that of its .venv.

With --debug the plugin is built for a debugger and runs without confinement and with deadlines of an hour; the line
to attach with is printed.`,
		Example: "  picketd --dev &\n  picket plugin run .\n  picket plugin run --config port=23 --capture scan.pcap odd-port\n" +
			"  picket plugin run --config url=http://127.0.0.1:9000/ --notice tell",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.dir, r.cmd = ".", cmd
			if len(args) == 1 {
				r.dir = args[0]
			}
			r.screen.p = columns.New(cmd.OutOrStdout())
			return r.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.data, "data", ".picket", "the data folder of the running picketd --dev")
	f.StringArrayVar(&r.configs, "config", nil, "a file with the configuration as JSON, or one setting as NAME=VALUE; several may be given")
	f.StringArrayVar(&r.secrets, "secret", nil, "a secret as NAME=FILE, the file holds its value")
	f.StringArrayVar(&r.models, "model", nil, "a model or data pack that it requires, as NAMESPACE/NAME=FILE; others are those that are installed on the server")
	f.StringSliceVar(&r.grants, "grant", []string{"all"}, "the permissions to grant, or all that it asks for")
	f.StringVar(&r.runtime, "runtime", "", "process or wasm, when it can be both")
	f.DurationVar(&r.interval, "interval", 0, "how often a collector or a discovery works (default 5s and 30s)")
	f.StringVar(&r.scope, "scope", "", "where a discovery may look, such as 192.0.2.0/24 (default: at this machine)")
	f.StringArrayVar(&r.captures, "capture", nil, "a capture to analyse with each build of a detector")
	f.BoolVar(&r.notice, "notice", false, "send a test notice with each build of a notifier")
	f.BoolVar(&r.debug, "debug", false, "for a debugger: not optimised, not confined, long deadlines")
	f.StringVar(&r.out, "out", "", "where the artifacts go (default: a folder for this plugin in your cache)")
	return cmd
}

func (r *runner) run(ctx context.Context) error {
	src, err := filepath.Abs(r.dir)
	if err != nil {
		return err
	}
	if r.out == "" {
		if r.out, err = buildCache(src, r.debug); err != nil {
			return err
		}
	}
	if err := r.check(ctx); err != nil {
		return err
	}
	seen := fingerprint(src)
	t, files, err := r.build(ctx)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = adminsock.RunTrial(ctx, r.data, t, readers(files), func(e adminsock.Event) {
		if e.Type == "session" {
			r.screen.note("running in " + r.data + ": " + e.Page + " (unsigned, development). Save a file to build anew, Ctrl-C ends it")
			watching.Go(func() { r.watch(ctx, src, e.Session, seen) })
			watching.Go(func() { r.show(ctx, e.Session) })
		}
		r.screen.show(e)
	})
	if ctx.Err() != nil {
		return nil // as asked for
	}
	return err
}

// check finds what would stand in the way before anything is built.
func (r *runner) check(ctx context.Context) error {
	m, err := manifestOf(r.dir)
	if err != nil {
		return err
	}
	if err := r.fits(m); err != nil {
		return err
	}
	r.kind = m.Kind
	if r.debug {
		r.runtime = registry.RuntimeProcess
		r.screen.attach = "dlv attach"
		if m.Interpreter == registry.InterpreterPython {
			r.screen.attach = "python3 -m debugpy --listen 127.0.0.1:5678 --pid"
		}
	}
	err = adminsock.TakesTrials(ctx, r.data)
	if errors.Is(err, adminsock.ErrNotRunning) {
		return fmt.Errorf("%w: start `picketd --dev --data %s` first, or name another data folder with --data", err, r.data)
	}
	return err
}

// fits refuses flags that mean nothing to this plugin.
func (r *runner) fits(m *registry.Manifest) error {
	switch {
	case r.runtime != "" && !slices.Contains(m.Runtimes, r.runtime):
		return usage.Errorf("--runtime %s: plugin.yaml of %s says runtimes: [%s]", r.runtime, m.ID, strings.Join(m.Runtimes, ", "))
	case r.debug && (r.runtime == registry.RuntimeWASM || !slices.Contains(m.Runtimes, registry.RuntimeProcess)):
		return usage.Errorf("--debug: a debugger attaches to a process, and %s would run as a guest", m.ID)
	case len(r.captures) > 0 && m.Kind != sdk.KindDetector:
		return usage.Errorf("--capture: only a detector looks at captures, and %s is a %s", m.ID, m.Kind)
	case r.notice && m.Kind != sdk.KindNotifier:
		return usage.Errorf("--notice: only a notifier gets notices, and %s is a %s", m.ID, m.Kind)
	case r.scope != "" && m.Kind != sdk.KindDiscovery:
		return usage.Errorf("--scope: only a discovery has one, and %s is a %s", m.ID, m.Kind)
	}
	for _, path := range r.captures {
		if !exists(path) {
			return usage.Errorf("--capture: there is no file %s", path)
		}
	}
	return nil
}

// buildCache keeps the builds of a folder apart from the author's own, so that a save does not cause another.
func buildCache(src string, debug bool) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w; name a folder with --out", err)
	}
	sum := sha256.Sum256([]byte(src + strconv.FormatBool(debug)))
	return filepath.Join(cache, "picket", "run", hex.EncodeToString(sum[:8])), nil
}

// build makes the artifacts and says how the plugin should run.
func (r *runner) build(ctx context.Context) (t adminsock.Trial, files []string, err error) {
	b, err := newBuilder(r.out, []string{runtime.GOOS + "/" + runtime.GOARCH})
	if err != nil {
		return t, nil, err
	}
	b.report, b.debug = progress(r.cmd), r.debug
	plugins, err := b.read([]string{r.dir})
	if err != nil {
		return t, nil, err
	}
	p := plugins[0]
	p.only(cmp.Or(r.runtime, registry.RuntimeProcess)) // what does not run need not be waited for
	if err := b.build(ctx, plugins); err != nil {
		return t, nil, err
	}
	if t.Config, err = readConfig(r.configs); err != nil {
		return t, nil, err
	}
	if t.Secrets, err = readSecrets(r.secrets); err != nil {
		return t, nil, err
	}
	var models []string
	if t.Models, models, err = r.offerModels(p.manifest); err != nil {
		return t, nil, err
	}
	if t.Descriptor, err = p.Descriptor.Encode(); err != nil {
		return t, nil, err
	}
	for _, target := range p.targets {
		t.Artifacts, files = append(t.Artifacts, target.SHA256), append(files, target.path)
	}
	if p.manifest.Interpreter != "" {
		if t.Interpreter, err = (pythonLang{p.src}).executable(ctx); err != nil {
			return t, nil, err
		}
	}
	files = append(files, models...)
	t.Readme, t.Runtime, t.Interval, t.Scope, t.Debug = p.readme, r.runtime, r.interval, r.scope, r.debug
	if len(r.grants) == 1 && r.grants[0] == "all" {
		t.GrantAll = true
	} else {
		t.Grants = r.grants
	}
	return t, files, nil
}

// offerModels says which files come as models, and where they lie. They are read anew with each build.
func (r *runner) offerModels(m *registry.Manifest) (offer []adminsock.TrialModel, paths []string, err error) {
	models, err := readModels(r.models)
	if err != nil {
		return nil, nil, err
	}
	if err := checkModels(m, models); err != nil {
		return nil, nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(models)) {
		digest, size, err := hashFile(models[id])
		if err != nil {
			return nil, nil, err
		}
		offer, paths = append(offer, adminsock.TrialModel{ID: id, SHA256: digest, Size: size}), append(paths, models[id])
	}
	return offer, paths, nil
}

// only leaves out the artifacts for other runtimes.
func (p *plugin) only(runtimeName string) {
	var targets []target
	for _, t := range p.targets {
		if t.Runtime == runtimeName {
			targets = append(targets, t)
		}
	}
	if len(targets) > 0 {
		p.targets, p.manifest.Runtimes = targets, []string{runtimeName}
	}
}

// readConfig joins files and single settings, later ones over earlier ones.
func readConfig(list []string) (json.RawMessage, error) {
	if len(list) == 0 {
		return nil, nil
	}
	all := map[string]any{}
	for _, text := range list {
		name, value, single := strings.Cut(text, "=")
		if single && !exists(text) {
			set(all, strings.Split(name, "."), settingValue(value))
			continue
		}
		data, err := os.ReadFile(text)
		if err != nil {
			return nil, usage.Errorf("--config %q is neither NAME=VALUE nor a file: %s", text, err)
		}
		if err := json.Unmarshal(data, &all); err != nil {
			return nil, usage.Errorf("--config %s: want an object in JSON: %s", text, err)
		}
	}
	return json.Marshal(all)
}

// settingValue takes JSON as what it says, and anything else as text.
func settingValue(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		return v
	}
	return text
}

func set(tree map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		below, ok := tree[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			tree[name] = below
		}
		tree = below
	}
	tree[path[len(path)-1]] = value
}

func readSecrets(list []string) (map[string]string, error) {
	secrets := map[string]string{}
	for _, text := range list {
		name, file, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usage.Errorf("--secret %q: want NAME=FILE; a value on the command line could be read by everybody here", text)
		}
		value, err := os.ReadFile(file)
		if err != nil {
			return nil, usage.Errorf("--secret %s: %s", name, err)
		}
		secrets[name] = strings.TrimRight(string(value), "\r\n")
	}
	return secrets, nil
}

// readers reads files one after the other, each opened when it is its turn.
func readers(files []string) io.Reader {
	var all []io.Reader
	for _, f := range files {
		all = append(all, &lateFile{path: f})
	}
	return io.MultiReader(all...)
}

type lateFile struct {
	path string
	f    *os.File
}

func (l *lateFile) Read(p []byte) (n int, err error) {
	if l.f == nil {
		if l.f, err = os.Open(l.path); err != nil {
			return 0, err
		}
	}
	n, err = l.f.Read(p)
	if err != nil {
		l.f.Close()
	}
	return n, err
}

// watchEvery is how often the folder is looked at; no file system event is missed that way, and none is needed.
const watchEvery = 300 * time.Millisecond

// watch builds anew when something in the folder was saved.
func (r *runner) watch(ctx context.Context, src, session string, seen string) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := fingerprint(src)
		if now == seen {
			continue
		}
		for { // an editor may still be writing
			time.Sleep(watchEvery / 3)
			again := fingerprint(src)
			if again == now {
				break
			}
			now = again
		}
		seen = now
		r.screen.note("saved: building")
		if err := r.swap(ctx, session); err != nil && ctx.Err() == nil {
			r.screen.problem("the build before goes on: " + err.Error())
		}
	}
}

func (r *runner) swap(ctx context.Context, session string) error {
	t, files, err := r.build(ctx)
	if err != nil {
		return err
	}
	if err := adminsock.SwapTrial(ctx, r.data, session, t, readers(files)); err != nil {
		return err
	}
	r.show(ctx, session)
	return nil
}

// show gives a build something to do, where that does not come by itself.
func (r *runner) show(ctx context.Context, session string) {
	switch {
	case r.kind == sdk.KindDetector && len(r.captures) == 0:
		r.hint("it waits for a capture: give it one with --capture FILE, or drop one on the page Captures")
	case r.kind == sdk.KindDetector:
		r.analyse(ctx, session)
	case r.kind == sdk.KindNotifier && !r.notice:
		r.hint("it waits for a notice: --notice sends a test notice with each build, and so does the button on its page")
	case r.kind == sdk.KindNotifier:
		text, err := adminsock.SendNotice(ctx, r.data, session)
		if err == nil {
			r.screen.line(columns.Good, "notice", text)
		} else if ctx.Err() == nil {
			r.screen.problem("send a test notice: " + err.Error())
		}
	}
}

// hint says once what to do next.
func (r *runner) hint(text string) { r.hinted.Do(func() { r.screen.note(text) }) }

// analyse shows the captures to a detector.
func (r *runner) analyse(ctx context.Context, session string) {
	for _, path := range r.captures {
		f, err := os.Open(path)
		if err == nil {
			err = adminsock.AnalyseCapture(ctx, r.data, session, safeName(path), f)
			f.Close()
		}
		if err != nil && ctx.Err() == nil {
			r.screen.problem(fmt.Sprintf("analyse %s: %v", path, err))
		}
	}
}

// safeName is the name of a capture without what an address cannot hold.
func safeName(path string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, filepath.Base(path))
}

// What a build makes, and what belongs to tools, is no source.
var notSource = map[string]bool{"build": true, "target": true, "node_modules": true, "__pycache__": true, "testdata": true}

// fingerprint sums up names, sizes and times of the sources below a folder.
func fingerprint(src string) string {
	sum := sha256.New()
	_ = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went while we looked; the next look tells
		}
		hidden := path != src && strings.HasPrefix(d.Name(), ".")
		if d.IsDir() {
			if hidden || path != src && notSource[d.Name()] {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err == nil && !hidden && info.Mode().IsRegular() {
			fmt.Fprintf(sum, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil))
}

// screen prints what happens, one line each. Two goroutines use it.
type screen struct {
	mu     sync.Mutex
	p      *columns.Printer
	pid    int    // of the process that was told of last
	attach string // the command that a debugger is attached with, "" without one
}

func (s *screen) note(text string)    { s.line(columns.Dim, "", text) }
func (s *screen) problem(text string) { s.line(columns.Bad, "failed", text) }

func (s *screen) line(style columns.Style, word, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p.Line(columns.S(columns.Dim, time.Now().Format("15:04:05")+" "), columns.S(style, fmt.Sprintf("%-8s ", word)), columns.C(text))
}

var stateStyles = map[string]columns.Style{"ready": columns.Good, "degraded": columns.Warn, "backoff": columns.Bad,
	"quarantined": columns.Bad, "refused": columns.Bad, "revoked": columns.Bad}

func (s *screen) show(e adminsock.Event) {
	switch e.Type {
	case "state":
		text := e.Version
		if e.State == "ready" && e.PID > 0 {
			text += fmt.Sprintf(", process %d, confinement level %s", e.PID, e.Level)
		}
		if e.Text != "" {
			text += ": " + e.Text
		}
		style, ok := stateStyles[e.State]
		if !ok {
			style = columns.Dim
		}
		s.line(style, e.State, text)
		if s.attach != "" && e.State == "ready" && e.PID > 0 && e.PID != s.pid {
			s.pid = e.PID
			s.line(columns.Warn, "debug", fmt.Sprintf("unconfined, calls may take an hour. Attach with: %s %d", s.attach, e.PID))
		}
	case "log":
		style := map[string]columns.Style{"error": columns.Bad, "warn": columns.Warn}[e.Level]
		s.line(style, "log", e.Level+" "+e.Text)
	case "sample", "sighting":
		s.line(columns.Good, e.Type, e.Text)
	case "finding":
		s.line(columns.Warn, e.Type, e.Level+" "+e.Text)
	case "note":
		if e.Level == "warn" {
			s.line(columns.Warn, "kept", e.Text)
			return
		}
		s.note(e.Text)
	}
}
