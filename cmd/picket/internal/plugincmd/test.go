package plugincmd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/kit"
)

// tester is `picket plugin test`.
type tester struct {
	asJSON, saveState bool
	modelFlags        []string
	models            map[string]string // files by their id
	tier              string
	stdout, stderr    io.Writer
}

func testCmd() *cobra.Command {
	var t tester
	cmd := &cobra.Command{
		Use:   "test [--tier TIER] FOLDER|ARTIFACT...",
		Short: "Run the conformance kit, and a plugin's own tests",
		Long: `Run the conformance kit over a plugin: a source folder, which is built first and whose own tests run too, a folder
that ` + "`picket plugin build`" + ` made, or one artifact with plugin.yaml or release.json beside it.

What passes gives a tier: bronze (life cycle and configuration), silver (also robustness, permissions, secrets), gold
(also determinism, both runtimes, state over versions, own cases). A check that fails fails the command.

testdata/kit.json, if there, says how to test: {"config": {...}, "secrets": {...}, "scope": [...], "one_runtime": "why",
"models": {"acme/names": "names.onnx"}}. Files of models lie below testdata; --model gives others in their place.
In it ${kit.http} stands for the URL of a server that takes everything, ${kit.file} for a file, ${kit.dir} for its folder.`,
		Example: "  picket plugin test .\n  picket plugin test --json --tier gold build/acme-hello",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			t.stdout, t.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if kit.Tier(t.tier).Rank() < 0 {
				return usage.Errorf("--tier %q: want bronze, silver or gold", t.tier)
			}
			if _, err := readModels(t.modelFlags); err != nil {
				return err
			}
			var errs []error
			for _, path := range paths {
				errs = append(errs, t.run(cmd, path))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "print the report as JSON")
	cmd.Flags().StringVar(&t.tier, "tier", "", "fail below this tier: bronze, silver or gold")
	cmd.Flags().StringArrayVar(&t.modelFlags, "model", nil, "a model or data pack that it requires, as NAMESPACE/NAME=FILE; several may be given")
	cmd.Flags().BoolVar(&t.saveState, "save-state", false, "save the state of this version to testdata/state, for the tests of later ones")
	return cmd
}

// run tests one plugin.
func (t *tester) run(cmd *cobra.Command, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is nothing at %s: name a plugin's folder, or what `picket plugin build` made of one", path)
	}
	if err != nil {
		return err
	}
	var p *plugin
	var own *kit.Check
	switch {
	case info.IsDir() && exists(filepath.Join(path, "plugin.yaml")):
		out, err := os.MkdirTemp("", "picket-test-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(out)
		if p, err = t.build(cmd, path, out); err != nil {
			return err
		}
		if own, err = t.ownTests(cmd.Context(), p); err != nil {
			return err
		}
	case info.IsDir():
		p, err = built(path, "")
	default:
		p, err = built(filepath.Dir(path), filepath.Base(path))
	}
	if err != nil {
		return err
	}
	report, err := t.conformance(cmd.Context(), p)
	if err != nil {
		return fmt.Errorf("test %s: %w", p.manifest.ID, err)
	}
	if own != nil {
		report.Add(*own)
	}
	if t.asJSON {
		err = columns.JSON(t.stdout, report)
	} else {
		printReport(columns.New(t.stdout), report)
	}
	return errors.Join(err, t.verdict(report))
}

func (t *tester) verdict(r kit.Report) error {
	if n := len(r.Failed()); n > 0 {
		return fmt.Errorf("%s fails %d checks", r.Plugin, n)
	}
	if want := kit.Tier(t.tier); r.Tier.Rank() < want.Rank() {
		return fmt.Errorf("%s does not reach %s", r.Plugin, want)
	}
	return nil
}

func (t *tester) build(cmd *cobra.Command, dir, out string) (*plugin, error) {
	b, err := newBuilder(out, []string{runtime.GOOS + "/" + runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	b.report = progress(cmd)
	plugins, err := b.read([]string{dir})
	if err != nil {
		return nil, err
	}
	return plugins[0], b.build(cmd.Context(), plugins)
}

// built reads what `picket plugin build` made; with a file name, only that artifact is meant.
func built(dir, only string) (*plugin, error) {
	data, err := os.ReadFile(filepath.Join(dir, "release.json"))
	if err != nil {
		return nil, fmt.Errorf("%s holds neither plugin.yaml nor release.json: name a plugin's folder, what `picket plugin build` made of one, or make one with `picket plugin new --kind KIND NAMESPACE/NAME`", dir)
	}
	d, err := registry.ParseDescriptor(data)
	if err != nil {
		return nil, err
	}
	p := &plugin{manifest: &d.Manifest, dir: dir}
	p.lang = goLang{}
	if d.Manifest.Interpreter != "" {
		p.lang = pythonLang{dir}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		digest, _, err := hashFile(path)
		if err != nil || only != "" && e.Name() != only {
			continue
		}
		for _, a := range d.Artifacts {
			if a.SHA256 == digest {
				p.targets = append(p.targets, target{plugin: p, path: path, Artifact: a})
			}
		}
	}
	if len(p.targets) == 0 {
		return nil, fmt.Errorf("%s: no file is an artifact that release.json names", dir)
	}
	return p, nil
}

// ownTests runs what the author wrote.
func (t *tester) ownTests(ctx context.Context, p *plugin) (*kit.Check, error) {
	c := &kit.Check{ID: "own-tests", Title: "its own tests", Tier: kit.Gold, Outcome: kit.Pass}
	run, err := p.lang.ownTests(p)
	if err != nil {
		return nil, err
	}
	if run == nil {
		c.Outcome, c.Lacking, c.Detail = kit.Skip, true, "there are none"
		return c, nil
	}
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if run.Env == nil {
		run.Env = os.Environ()
	}
	// Case folders are read by this very program, the engine that production uses.
	if self, err := os.Executable(); err == nil && os.Getenv("PICKET_BIN") == "" {
		run.Env = append(run.Env, "PICKET_BIN="+self)
	}
	begin := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := run.Run(); err != nil {
		c.Outcome, c.Detail = kit.Fail, strings.TrimSpace(out.String())
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return nil, fmt.Errorf("run the tests of %s: %w", p.manifest.ID, err)
		}
	}
	c.Took = time.Since(begin)
	return c, nil
}

// plan is testdata/kit.json.
type plan struct {
	Config     json.RawMessage   `json:"config"`
	Secrets    map[string]string `json:"secrets"`
	Scope      []netip.Prefix    `json:"scope"`
	OneRuntime string            `json:"one_runtime"`
	Models     map[string]string `json:"models"` // by id: a file below testdata
}

func readPlan(src string, world *strings.Replacer) (plan, error) {
	var p plan
	if src == "" {
		return p, nil
	}
	data, err := os.ReadFile(filepath.Join(src, "testdata", "kit.json"))
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	dec := json.NewDecoder(strings.NewReader(world.Replace(string(data))))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, fmt.Errorf("testdata/kit.json: %w", err)
	}
	return p, nil
}

// conformance runs the kit over each artifact that runs here.
func (t *tester) conformance(ctx context.Context, p *plugin) (kit.Report, error) {
	dir, err := os.MkdirTemp("", "picket-kit-")
	if err != nil {
		return kit.Report{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "sample")
	if err := os.WriteFile(file, []byte("A file for a test.\n"), 0o644); err != nil {
		return kit.Report{}, err
	}
	everything := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 64<<20))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	}))
	defer everything.Close()
	plan, err := readPlan(cmp.Or(p.src, p.dir), strings.NewReplacer("${kit.http}", everything.URL, "${kit.file}", file, "${kit.dir}", dir))
	if err != nil {
		return kit.Report{}, err
	}
	if t.models, err = t.modelsFor(p, plan); err != nil {
		return kit.Report{}, err
	}
	o := kit.Options{
		Config: plan.Config, Secrets: plan.Secrets, Scope: sdk.Scope{Prefixes: plan.Scope}, OneRuntime: plan.OneRuntime,
		Permissions: p.manifest.Permissions,
	}
	if o.Permissions == nil {
		o.Permissions = []sdk.Permission{} // it asks for nothing, so it gets nothing
	}
	subjects, about, err := t.subjects(ctx, p, dir)
	if err != nil {
		return kit.Report{}, err
	}
	if p.src != "" {
		if o.Cases, err = kit.ReadCases(ctx, filepath.Join(p.src, "testdata"), about.Subscription); err != nil {
			return kit.Report{}, fmt.Errorf("its cases: %w", err)
		}
		o.StateDir = filepath.Join(p.src, "testdata", "state")
		if t.saveState {
			o.SaveState = p.manifest.Version
		}
	}
	o.Done = t.done
	report := kit.Run(ctx, subjects, o)
	report.Plugin, report.Kind, report.Version = p.manifest.ID, p.manifest.Kind, p.manifest.Version
	return report, ctx.Err()
}

// modelsFor are the files that stand for what the plugin requires.
func (t *tester) modelsFor(p *plugin, how plan) (map[string]string, error) {
	models, err := readModels(t.modelFlags)
	if err != nil {
		return nil, err
	}
	for _, need := range p.manifest.Requires {
		path := filepath.Join(p.dir, "models", filepath.FromSlash(need.Plugin)) // beside what the gates of a registry run
		if _, given := models[need.Plugin]; !given && p.src == "" && exists(path) {
			models[need.Plugin] = path
		}
	}
	for id, name := range how.Models {
		if _, given := models[id]; given {
			continue
		}
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("testdata/kit.json: the model %s lies at %q, which is not below testdata", id, name)
		}
		path := filepath.Join(cmp.Or(p.src, p.dir), "testdata", name)
		if exists(path) { // what is built has no testdata: there --model gives them
			models[id] = path
		}
	}
	return models, checkModels(p.manifest, models)
}

// slowCheck is what a check takes that is told of at once: an author should see that something happens.
const slowCheck = time.Second

func (t *tester) done(c kit.Check) {
	if c.Took >= slowCheck {
		columns.New(t.stderr).Line(columns.S(columns.Dim, fmt.Sprintf("    checked %-20s %-20s %6.1f s", c.ID, c.Runtime, c.Took.Seconds())))
	}
}

// subjects are the artifacts that run on this machine.
func (t *tester) subjects(ctx context.Context, p *plugin, dir string) ([]kit.Subject, *abi.Description, error) {
	var subjects []kit.Subject
	for i := range p.targets {
		target := &p.targets[i]
		start := kit.Program{ID: p.manifest.ID, Runtime: target.Runtime}
		switch {
		case target.Runtime == registry.RuntimeWASM:
			runner, err := helper("picket-wasm")
			if err != nil {
				return nil, nil, err
			}
			start.Command = guestCommand(runner, target.path, filepath.Join(dir, "compiled"))
		case target.OS == runtime.GOOS && target.Arch == runtime.GOARCH, target.OS == registry.AnyPlatform:
			command, err := p.lang.command(target)
			if err != nil {
				return nil, nil, err
			}
			start.Command = processCommand(command, p.lang.environ())
		default:
			continue
		}
		start.StateDir = filepath.Join(dir, fmt.Sprint("state-", i))
		if err := os.Mkdir(start.StateDir, 0o700); err != nil {
			return nil, nil, err
		}
		start.Watch = watchWith(start.StateDir, t.models)
		subjects = append(subjects, kit.Process(start))
	}
	about, err := p.ask(ctx)
	return subjects, about, err
}

func processCommand(command, env []string) func() (*exec.Cmd, func(), error) {
	return func() (*exec.Cmd, func(), error) {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append([]string{}, env...)
		return cmd, func() {}, nil
	}
}

// guestCommand hands the guest over as an open file, as the host does. It is compiled once, into cache.
func guestCommand(runner, path, cache string) func() (*exec.Cmd, func(), error) {
	key := make([]byte, guestKeySize)
	_, _ = rand.Read(key) // it never fails
	return func() (*exec.Cmd, func(), error) {
		guest, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		read, write, err := os.Pipe()
		if err != nil {
			guest.Close()
			return nil, nil, err
		}
		_, err = write.Write(key)
		write.Close()
		done := func() { guest.Close(); read.Close() }
		if err != nil {
			done()
			return nil, nil, err
		}
		cmd := exec.Command(runner, "--guest-fd", "3", "--cache", cache, "--cache-key-fd", "4")
		cmd.Env, cmd.ExtraFiles = []string{}, []*os.File{guest, read}
		return cmd, done, nil
	}
}

// guestKeySize is the size of the key under which picket-wasm keeps compiled guests.
const guestKeySize = 32

// printReport prints a line for each check, and what is worth more than a line below it.
func printReport(p *columns.Printer, r kit.Report) {
	tier := string(r.Tier)
	if tier == "" {
		tier = "no tier"
	}
	p.Line(columns.C(strings.TrimSpace(r.Plugin+" "+r.Version)+": "), columns.S(columns.Good, tier))
	var rows [][]columns.Cell
	for _, c := range r.Checks {
		style, word := columns.Good, string(c.Outcome)
		detail := ""
		switch {
		case c.Outcome == kit.Fail:
			style, detail = columns.Bad, firstLine(c.Detail)
		case c.Lacking:
			style, word, detail = columns.Warn, "not shown", firstLine(c.Detail)
		case c.Outcome == kit.Skip:
			style, word, detail = columns.Dim, "-", firstLine(c.Detail)
		}
		rows = append(rows, []columns.Cell{
			columns.C("    " + c.ID), columns.S(columns.Dim, string(c.Tier)), columns.S(columns.Dim, c.Runtime),
			columns.S(style, word), columns.S(columns.Dim, detail),
		})
	}
	p.Table(rows)
	for _, c := range r.Cards {
		p.Line(columns.S(columns.Dim, "    "+c.String()))
	}
	for _, c := range r.Failed() {
		p.Line(columns.S(columns.Bad, c.ID+" "+c.Runtime+": "), columns.C(c.Detail))
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
