package plugincmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/kit"
)

// replayer is `picket plugin replay` and `picket replay`.
type replayer struct {
	node
	dir     string // of the plugin; "" takes what is installed
	plugin  string
	runtime string
	configs []string
	secrets []string
	timeout time.Duration
	asJSON  bool
	alerted *traced // what an alert says, when it is one that is replayed
	cmd     *cobra.Command
}

// Replay returns `picket replay`.
func Replay() *cobra.Command {
	cmd := replayCmd()
	cmd.GroupID = ""
	return cmd
}

func replayCmd() *cobra.Command {
	r := replayer{}
	cmd := &cobra.Command{
		Use:   "replay CRASH|CAPTURE|ALERT|FINDING",
		Short: "Give a plugin the same input again: of a crash, of a capture, of an alert",
		Long: `Give a plugin the same input again.

A crash leaves what the plugin was given since its last snapshot, and that snapshot, in the data folder of its server or
agent; "list" shows what is there. The same bytes get the same input, or with --dir those of a source folder or a build:
so you see whether a change cures it. It exits with 1 when the plugin crashes again.

A capture is read by the engine of production, and shown to the detector in --dir, or to the installed one that --plugin
names. An alert stands for the capture and the detector that it came from. One of an agent's live traffic stands for the packets that the
server has of it, which may be fewer than the detector was shown. All that it was shown since its last snapshot, and that snapshot, the
agent keeps for the newest findings: give it the finding on the agent's machine, where --data names its data folder.

The plugin runs here, without confinement, with what it was granted.`,
		Example: "  picket plugin replay list --data .picket\n  picket plugin replay acme-odd-20261122-034600-123 --dir .\n  picket plugin replay --dir . scan.pcap",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.cmd = cmd
			return r.run(cmd.Context(), args[0])
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.dir, "dir", "", "the plugin's source folder, or what picket plugin build made of it, instead of the bytes that are installed")
	f.StringVar(&r.plugin, "plugin", "", "the installed plugin, for a capture without --dir")
	f.StringVar(&r.runtime, "runtime", "", "process or wasm, when it can be both (default: as it ran, or process)")
	f.StringArrayVar(&r.configs, "config", nil, "a file with the configuration as JSON, or one setting as NAME=VALUE; instead of the one of the crash")
	f.StringArrayVar(&r.secrets, "secret", nil, "a secret as NAME=FILE: a crash keeps none")
	f.DurationVar(&r.timeout, "timeout", 30*time.Second, "how long one call may take; then it hangs")
	f.BoolVar(&r.asJSON, "json", false, "print findings and the verdict as JSON")
	return cmd
}

func (r *replayer) run(ctx context.Context, what string) error {
	if what == "list" {
		return r.list()
	}
	if info, err := os.Stat(what); err == nil && info.Mode().IsRegular() {
		return r.capture(ctx, what, what)
	}
	for _, dir := range r.crashFolders() {
		if path := filepath.Join(dir, what); filepath.Base(what) == what && exists(filepath.Join(path, "crash.json")) {
			return r.crash(ctx, path)
		}
	}
	if path := r.foundInput([]string{what}); path != "" {
		return r.found(ctx, path, []string{what})
	}
	if strings.Count(what, "-") == 4 && len(what) == 36 {
		return r.alert(ctx, what)
	}
	return fmt.Errorf("%q is neither a capture, nor an alert, nor a crash in %s: `picket plugin replay list --data %s` shows what crashed there", what, r.data, r.data)
}

// crashFolders are those of a server or agent, and of the agent that picketd --dev runs.
func (r *replayer) crashFolders() []string {
	return []string{filepath.Join(r.data, "plugins", "crashes"), filepath.Join(r.data, "agent", "plugins", "crashes")}
}

func (r *replayer) list() error {
	if _, err := os.Stat(r.data); err != nil {
		return noDataFolder(r.data, err)
	}
	var all []crashlog.Record
	for _, dir := range r.crashFolders() {
		all = append(all, crashlog.List(dir)...)
	}
	if r.asJSON {
		return columns.JSON(r.cmd.OutOrStdout(), all)
	}
	p := columns.New(r.cmd.OutOrStdout())
	if len(all) == 0 {
		p.Line(columns.S(columns.Dim, "nothing crashed in "+r.data))
		return nil
	}
	var rows [][]columns.Cell
	for _, x := range all {
		rows = append(rows, []columns.Cell{columns.C(x.ID), columns.S(columns.Dim, stamp(x.Time)), columns.C(x.Plugin + " " + x.Version), columns.S(columns.Dim, firstLine(x.Reason))})
	}
	p.Table(rows)
	return nil
}

// replayVerdict is what came of a replay.
type replayVerdict struct {
	Crash    string        `json:"crash,omitempty"`
	Plugin   string        `json:"plugin"`
	Version  string        `json:"version"`
	Steps    int           `json:"calls"`
	Done     int           `json:"answered"`
	Crashed  bool          `json:"crashed"`
	Hung     bool          `json:"hung,omitempty"`
	Error    string        `json:"error,omitempty"` // of the last call that failed, whether or not it crashed
	Log      string        `json:"log,omitempty"`
	Findings []sdk.Finding `json:"findings,omitempty"`
	Samples  int           `json:"samples,omitempty"`
	Note     string        `json:"note,omitempty"`
	Again    *bool         `json:"found_again,omitempty"` // of an alert: whether its finding is among those
}

func (v *replayVerdict) Sample(sdk.Sample) error     { v.Samples++; return nil }
func (v *replayVerdict) Sighting(sdk.Sighting) error { return nil }
func (v *replayVerdict) Finding(f sdk.Finding) error { v.Findings = append(v.Findings, f); return nil }

// crash gives a plugin the input of a crash again.
func (r *replayer) crash(ctx context.Context, path string) error {
	rec, err := crashlog.Load(path)
	if err != nil {
		return fmt.Errorf("read the crash %s: %w", filepath.Base(path), err)
	}
	if r.runtime == "" {
		r.runtime = rec.Runtime
	}
	s, done, err := r.subject(ctx, rec.Plugin, rec.Version, rec.Digest)
	if err != nil {
		return err
	}
	defer done()
	v := replayVerdict{Crash: rec.ID, Plugin: rec.Plugin, Version: s.version, Steps: len(rec.Steps)}
	if rec.Cut {
		v.Note = "not all of its calls were kept: it was too much, or it was what is in files"
	}
	if err := r.feed(ctx, s.Subject, rec, &v); err != nil {
		return err
	}
	return r.print(&v, rec)
}

// feed starts the plugin as it was and makes the calls.
func (r *replayer) feed(ctx context.Context, s kit.Subject, rec crashlog.Record, v *replayVerdict) error {
	cfg := abi.InstanceConfig{Instance: "replay", Plugin: rec.Plugin, Config: rec.Config, Grants: rec.Grants, Generation: 1}
	var err error
	if cfg.Secrets, err = readSecrets(r.secrets); err != nil {
		return err
	}
	for _, name := range rec.Secrets {
		if _, given := cfg.Secrets[name]; !given {
			cfg.Secrets[name] = "replay"
			v.Note = strings.TrimSpace(v.Note + " the secret " + name + " was not kept; a placeholder stands for it (--secret gives one).")
		}
	}
	if len(r.configs) > 0 {
		if cfg.Config, err = readConfig(r.configs); err != nil {
			return err
		}
	}
	if len(cfg.Config) == 0 {
		cfg.Config = json.RawMessage("{}")
	}
	session, err := s.Start(ctx)
	if err != nil {
		v.Crashed, v.Error = true, err.Error()
		return ctx.Err()
	}
	defer session.Close() // it may have crashed, which is what we want to know
	calls := []func(ctx context.Context) error{func(ctx context.Context) error { return session.Configure(ctx, cfg) }}
	if rec.State != nil {
		calls = append(calls, func(ctx context.Context) error { return session.Restore(ctx, "replay", rec.State) })
	}
	before := len(calls)
	for i := range rec.Steps {
		calls = append(calls, func(ctx context.Context) error { return step(ctx, session, rec.Steps[i], v) })
	}
	for i, call := range calls {
		one, cancel := context.WithTimeout(ctx, r.timeout)
		err := call(one)
		hung := one.Err() != nil && ctx.Err() == nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.Error = err.Error()
		}
		v.Log = session.Log()
		if v.Hung = hung; hung || err != nil && gone(ctx, session) {
			v.Crashed, v.Log = !hung, session.Log()
			return nil
		}
		v.Done = max(0, i+1-before)
	}
	return nil
}

func step(ctx context.Context, s kit.Session, x crashlog.Step, v *replayVerdict) error {
	switch x.Call {
	case "Inspect":
		return s.Inspect(ctx, "replay", x.Capture, x.Frame, v)
	case "Flush":
		return s.Flush(ctx, "replay", v)
	case "Collect":
		if x.Collect != nil {
			return s.Collect(ctx, "replay", *x.Collect, v)
		}
	case "Discover":
		if x.Scope != nil {
			return s.Discover(ctx, "replay", *x.Scope, v)
		}
	case "Notify":
		if x.Notice != nil {
			_, err := s.Notify(ctx, "replay", *x.Notice)
			return err
		}
	}
	return fmt.Errorf("the record holds a call %q without its input", x.Call)
}

// gone reports whether the process has ended, or ends just now.
func gone(ctx context.Context, s kit.Session) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.Describe(ctx)
	return err != nil
}

func (r *replayer) print(v *replayVerdict, rec crashlog.Record) error {
	var failed error
	switch {
	case v.Hung:
		failed = fmt.Errorf("%s hangs: a call was not answered within %s", v.Plugin, r.timeout)
	case v.Crashed:
		failed = fmt.Errorf("%s crashes again", v.Plugin)
	}
	if r.asJSON {
		return errors.Join(columns.JSON(r.cmd.OutOrStdout(), v), failed)
	}
	p := columns.New(r.cmd.OutOrStdout())
	p.Line(columns.S(columns.Bold, v.Plugin+" "+v.Version), columns.S(columns.Dim, fmt.Sprintf("  crashed on %s as %s: %s", stamp(rec.Time), rec.Version, firstLine(rec.Reason))))
	if v.Note != "" {
		p.Line(columns.S(columns.Warn, v.Note))
	}
	p.Line(columns.C(fmt.Sprintf("%d of %s answered, %s, %s", v.Done, columns.Count(v.Steps, "call"), columns.Count(len(v.Findings), "finding"), columns.Count(v.Samples, "sample"))))
	if failed != nil {
		p.Line(columns.S(columns.Bad, "it ended: "), columns.C(v.Error))
		p.Line(columns.C(stackOf(v.Log)))
		return failed
	}
	if v.Error != "" {
		p.Line(columns.S(columns.Warn, "a call failed, without a crash: "), columns.C(v.Error))
	}
	p.Line(columns.S(columns.Good, "It does not crash."))
	return nil
}

// stackOf is the part of a log that tells where a program ended, or the end of the log.
func stackOf(log string) string {
	lines := strings.Split(log, "\n")
	for i, line := range lines { // the kit writes them as a structured log
		if _, text, ok := strings.Cut(line, " msg="); ok {
			if plain, err := strconv.Unquote(text); err == nil {
				text = plain
			}
			lines[i] = text
		}
	}
	log = strings.Join(lines, "\n")
	const most = 8 << 10
	for _, mark := range []string{"panic:", "fatal error:", "Traceback (most recent", "panicked at", "wasm error:"} {
		if i := strings.LastIndex(log, mark); i >= 0 {
			log = log[i:]
			return strings.TrimSpace(log[:min(len(log), most)])
		}
	}
	return strings.TrimSpace(log[max(0, len(log)-most):])
}

// --- what was found in live traffic ---

// foundInput is the newest folder with the input of one of the findings, "" when there is none.
func (r *replayer) foundInput(ids []string) string {
	var newest crashlog.Record
	path := ""
	for _, dir := range []string{filepath.Join(r.data, "plugins", "found"), filepath.Join(r.data, "agent", "plugins", "found")} {
		for _, rec := range crashlog.List(dir) {
			if rec.Time.After(newest.Time) && slices.ContainsFunc(rec.Found, func(f sdk.Finding) bool { return slices.Contains(ids, f.ID) }) {
				newest, path = rec, filepath.Join(dir, rec.ID)
			}
		}
	}
	return path
}

// found gives a detector what it was shown when it found something, and says whether it finds that again.
func (r *replayer) found(ctx context.Context, path string, ids []string) error {
	rec, err := crashlog.Load(path)
	if err != nil {
		return fmt.Errorf("read the input of a finding: %w", err)
	}
	if r.runtime == "" {
		r.runtime = rec.Runtime
	}
	s, done, err := r.subject(ctx, rec.Plugin, rec.Version, rec.Digest)
	if err != nil {
		return err
	}
	defer done()
	v := replayVerdict{Plugin: rec.Plugin, Version: s.version, Steps: len(rec.Steps)}
	if rec.Cut {
		v.Note = "not all of its calls were kept: it was too much, or it was what is in files"
	}
	if err := r.feed(ctx, s.Subject, rec, &v); err != nil {
		return err
	}
	again := slices.ContainsFunc(rec.Found, func(was sdk.Finding) bool {
		return slices.Contains(ids, was.ID) && slices.ContainsFunc(v.Findings, func(is sdk.Finding) bool {
			return is.Rule == was.Rule && is.Src == was.Src && is.Dst == was.Dst && is.Summary == was.Summary
		})
	})
	v.Again = &again
	if r.asJSON {
		return columns.JSON(r.cmd.OutOrStdout(), v)
	}
	p := columns.New(r.cmd.OutOrStdout())
	for _, f := range v.Findings {
		p.Line(columns.S(columns.Warn, fmt.Sprintf("%-8s ", f.Severity)), columns.C(f.Rule+": "+f.Summary))
	}
	p.Line(columns.S(columns.Dim, fmt.Sprintf("%s %s: %d of %s answered, as on %s in live traffic", v.Plugin, v.Version, v.Done, columns.Count(v.Steps, "call"), stamp(rec.Time))))
	switch {
	case v.Error != "":
		p.Line(columns.S(columns.Bad, "it ended: "), columns.C(v.Error))
	case again:
		p.Line(columns.S(columns.Good, "The finding is among them."))
	default:
		p.Line(columns.S(columns.Warn, "The finding is not among them: the code or the configuration has changed since."))
	}
	return nil
}

// --- captures and alerts ---

func (r *replayer) capture(ctx context.Context, path, name string) error {
	if r.dir == "" && r.plugin == "" {
		return usage.Errorf("say which detector is to see the capture: its folder with --dir, or an installed one with --plugin")
	}
	s, done, err := r.subject(ctx, r.plugin, "", "")
	if err != nil {
		return err
	}
	defer done()
	if s.manifest.Kind != sdk.KindDetector {
		return fmt.Errorf("%s is a %s: only a detector looks at captures", s.manifest.ID, s.manifest.Kind)
	}
	about, err := subscriptionOf(ctx, s.Subject, s.manifest.ID)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "picket-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := caseOf(path, name, folder); err != nil {
		return err
	}
	if self, err := os.Executable(); err == nil && os.Getenv("PICKET_BIN") == "" {
		os.Setenv("PICKET_BIN", self)
	}
	cases, err := kit.ReadCases(ctx, folder, about)
	if err != nil {
		return err
	}
	o := kit.Options{Permissions: s.manifest.Permissions, Timeout: r.timeout}
	if o.Permissions == nil {
		o.Permissions = []sdk.Permission{}
	}
	if o.Config, err = readConfig(r.configs); err != nil {
		return err
	}
	if o.Config == nil && r.alerted != nil && s.manifest.ID == r.alerted.Detector {
		o.Config = r.alerted.Config
	}
	if o.Secrets, err = readSecrets(r.secrets); err != nil {
		return err
	}
	var findings []sdk.Finding
	for _, c := range cases {
		if findings, err = c.Run(ctx, s.Subject, o); err != nil {
			return fmt.Errorf("%s over %s: %w", s.manifest.ID, name, err)
		}
	}
	again := r.alerted.among(findings)
	if r.asJSON {
		return columns.JSON(r.cmd.OutOrStdout(), replayVerdict{Plugin: s.manifest.ID, Version: s.version, Findings: findings, Again: again})
	}
	p := columns.New(r.cmd.OutOrStdout())
	for _, f := range findings {
		p.Line(columns.S(columns.Warn, fmt.Sprintf("%-8s ", f.Severity)), columns.C(f.Rule+": "+f.Summary))
	}
	p.Line(columns.S(columns.Dim, fmt.Sprintf("%s %s: %s in %s", s.manifest.ID, s.version, columns.Count(len(findings), "finding"), name)))
	switch {
	case again == nil:
	case *again:
		p.Line(columns.S(columns.Good, "The finding of the alert is among them."))
	case r.alerted.Agent != "":
		p.Line(columns.S(columns.Warn, "The finding of the alert is not among them: it rests on more than the packets that were kept, or the code or the configuration has changed since."))
	default:
		p.Line(columns.S(columns.Warn, "The finding of the alert is not among them: the code or the configuration has changed since."))
	}
	return nil
}

// caseOf makes a case folder of a capture: the kit knows how to read one.
func caseOf(path, name, folder string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	ext := ".pcap" // a stored capture has no name; its first bytes say what it is
	for _, known := range []string{".pcapng", ".pcap.gz", ".pcap.zst", ".pcapng.gz", ".pcapng.zst"} {
		if strings.HasSuffix(name, known) {
			ext = known
		}
	}
	at := filepath.Join(folder, "capture")
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	return os.Symlink(abs, filepath.Join(at, "input"+ext))
}

func subscriptionOf(ctx context.Context, s kit.Subject, id string) (sdk.Subscription, error) {
	session, err := s.Start(ctx)
	if err != nil {
		return sdk.Subscription{}, err
	}
	defer session.Close()
	all, err := session.Describe(ctx)
	if err != nil {
		return sdk.Subscription{}, err
	}
	for _, d := range all {
		if d.ID == id {
			return d.Subscription, nil
		}
	}
	return sdk.Subscription{}, fmt.Errorf("the program does not serve %s", id)
}

// traced is what the server says of an alert: where it comes from, and how its detector is set now.
type traced struct {
	Detector, Rule, Title, Capture, File string
	Agent                                string // in whose live traffic it was found, as Findings
	Findings                             []string
	Src, Dst                             string // of a live alert
	Config                               json.RawMessage
}

// hostOf leaves the port out: findings that tell it and others may be one alert.
func hostOf(end string) string {
	if x, err := netip.ParseAddrPort(end); err == nil {
		return x.Addr().String()
	}
	return end
}

// among reports whether the finding of an alert is one of those; nil when there is no alert.
func (t *traced) among(findings []sdk.Finding) *bool {
	if t == nil {
		return nil
	}
	again := slices.ContainsFunc(findings, func(f sdk.Finding) bool {
		if t.Agent != "" { // the packets that were kept are not all that the detector was shown: it may count fewer
			return f.Rule == t.Rule && hostOf(f.Src) == hostOf(t.Src) && hostOf(f.Dst) == hostOf(t.Dst)
		}
		return f.Rule == t.Rule && f.Summary == t.Title
	})
	return &again
}

// alert asks the running server where an alert comes from.
func (r *replayer) alert(ctx context.Context, id string) error {
	text, err := adminsock.Trace(ctx, r.data, adminsock.TraceRequest{Alert: id})
	if errors.Is(err, adminsock.ErrNotRunning) {
		return fmt.Errorf("%w: an alert is looked up in the picketd that raised it; start it, or replay the capture itself", err)
	}
	if err != nil {
		return err
	}
	var from traced
	if err := json.Unmarshal([]byte(text), &from); err != nil {
		return fmt.Errorf("the answer of picketd is not understood: %w", err)
	}
	if path := r.foundInput(from.Findings); from.Agent != "" && path != "" {
		return r.found(ctx, path, from.Findings)
	}
	if from.Agent != "" && from.File == "" {
		return fmt.Errorf("it was found in the live traffic of agent %s, and the server has none of its packets: give its finding, %s, to picket replay on that machine, with the agent's data folder; the newest are kept there",
			from.Agent, strings.Join(from.Findings[max(0, len(from.Findings)-1):], ""))
	}
	r.alerted = &from
	if r.plugin == "" {
		r.plugin = from.Detector
	}
	if !r.asJSON {
		columns.New(r.cmd.OutOrStdout()).Line(columns.S(columns.Dim, fmt.Sprintf("%s: %s (%s, %s)", from.Capture, from.Title, from.Detector, from.Rule)))
	}
	return r.capture(ctx, from.File, from.Capture)
}

// --- what is run ---

// replayed is the program that gets the input.
type replayed struct {
	kit.Subject
	manifest *registry.Manifest
	version  string
}

// subject is what --dir holds, or what is installed with the digest that is wanted.
func (r *replayer) subject(ctx context.Context, id, version, digest string) (s replayed, done func(), err error) {
	tmp, err := os.MkdirTemp("", "picket-replay-")
	if err != nil {
		return s, nil, err
	}
	clean := func() { os.RemoveAll(tmp) }
	defer func() {
		if err != nil { // the caller gets nothing to clean up
			clean()
			done = nil
		}
	}()
	if r.dir != "" {
		s, err = r.fromFolder(ctx, id, tmp)
		return s, clean, err
	}
	c, err := r.open()
	if err != nil {
		return s, nil, err
	}
	defer c.Close()
	a, err := r.installed(ctx, c, id, version, digest)
	if err != nil {
		return s, nil, err
	}
	clean = func() { a.Close(); os.RemoveAll(tmp) }
	command, err := r.commandFor(a, tmp)
	if err != nil {
		return s, nil, err
	}
	p := kit.Program{ID: id, Runtime: a.Runtime, Command: command, StateDir: filepath.Join(tmp, "state")}
	models, err := installedModels(ctx, c, a.Descriptor, tmp)
	if err != nil {
		return s, nil, err
	}
	p.Watch = watchWith(p.StateDir, models)
	s = replayed{Subject: kit.Process(p), manifest: &a.Descriptor.Manifest, version: a.Version}
	return s, clean, os.Mkdir(p.StateDir, 0o700)
}

func (r *replayer) fromFolder(ctx context.Context, id, tmp string) (s replayed, err error) {
	t := &tester{stdout: io.Discard, stderr: r.cmd.ErrOrStderr()}
	var p *plugin
	if exists(filepath.Join(r.dir, "plugin.yaml")) {
		p, err = t.build(r.cmd, r.dir, filepath.Join(tmp, "build"))
	} else {
		p, err = built(r.dir, "")
	}
	if err != nil {
		return s, err
	}
	if id != "" && p.manifest.ID != id {
		return s, fmt.Errorf("%s holds %s, and the input was given to %s", r.dir, p.manifest.ID, id)
	}
	how, err := readPlan(cmp.Or(p.src, p.dir), strings.NewReplacer())
	if err != nil {
		return s, err
	}
	if t.models, err = t.modelsFor(p, how); err != nil {
		return s, err
	}
	subjects, _, err := t.subjects(ctx, p, tmp)
	if err != nil {
		return s, err
	}
	i := slices.IndexFunc(subjects, func(x kit.Subject) bool { return x.Runtime() == r.runtime })
	if i < 0 && len(subjects) == 0 {
		return s, fmt.Errorf("%s has no artifact that runs on this machine", r.dir)
	}
	return replayed{Subject: subjects[max(i, 0)], manifest: p.manifest, version: p.manifest.Version}, nil
}

// installed returns the very bytes that are meant.
func (r *replayer) installed(ctx context.Context, c *client.Multi, id, version, digest string) (*client.Artifact, error) {
	runtimeName := r.runtime
	if in, ok := c.Installed(id); ok && runtimeName == "" && len(in.Runtimes) > 0 {
		runtimeName = in.Runtimes[0]
	}
	var a *client.Artifact
	var err error
	if version == "" {
		a, err = c.OpenVerified(ctx, id, runtimeName)
	} else {
		a, err = c.OpenRelease(ctx, id, version, runtimeName)
	}
	var refused *registry.Refusal
	if errors.As(err, &refused) && refused.Reason == registry.NotInstalled {
		return nil, fmt.Errorf("%s is not installed in %s: name its source folder with --dir", id, r.data)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; name the plugin's source folder with --dir", err)
	}
	if digest != "" && a.Digest != digest {
		a.Close()
		return nil, fmt.Errorf("%s %s is installed with other bytes than those that crashed (%s); name its source folder with --dir", id, version, digest)
	}
	return a, nil
}

// commandFor runs verified bytes from where they are sealed.
func (r *replayer) commandFor(a *client.Artifact, tmp string) (func() (*exec.Cmd, func(), error), error) {
	sealed := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), a.File.Fd())
	if a.Runtime == registry.RuntimeWASM {
		helperProgram, err := helper("picket-wasm")
		if err != nil {
			return nil, err
		}
		return guestCommand(helperProgram, sealed, filepath.Join(tmp, "compiled")), nil
	}
	if name := a.Descriptor.Manifest.Interpreter; name != "" {
		ceiling, err := r.ceiling()
		if err != nil {
			return nil, err
		}
		program, ok := ceiling.Interpreter(name)
		if !ok {
			return nil, fmt.Errorf("%s needs %s, and this node's policy.yaml names none under interpreters", a.ID, name)
		}
		return processCommand([]string{program, sealed}, pythonLang{}.environ()), nil
	}
	return processCommand([]string{sealed}, nil), nil
}
