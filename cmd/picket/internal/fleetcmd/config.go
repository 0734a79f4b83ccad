package fleetcmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// maxConfigFile is as much as the server takes.
const maxConfigFile = 1 << 20

// targetConfig is what all machines, a group or one machine are to run, as the API tells it.
type targetConfig struct {
	Target      string
	Version     int64
	By, Comment string
	Created     time.Time
	Own, Runs   []configured
}

type configured struct {
	Plugin, Version, Runtime string
	Config                   json.RawMessage
	Secrets                  []string `json:"secrets_set"`
	Grants                   []permission
	Interval                 string
	Limits                   json.RawMessage
	From                     string
	Over                     []string
}

// configFile is what somebody writes and applies: all that a target itself says, and the version it was made from.
type configFile struct {
	Version int64          `json:"version"`
	Plugins []wantedPlugin `json:"plugins"`
}

// wantedPlugin is one plugin of a file, as the API takes it.
type wantedPlugin struct {
	Plugin   string            `json:"plugin"`
	Version  string            `json:"version,omitempty"`
	Runtime  string            `json:"runtime,omitempty"`
	Config   json.RawMessage   `json:"config,omitempty"`
	Secrets  map[string]string `json:"secrets,omitempty"` // one that is left out keeps its value
	Grants   any               `json:"grants,omitempty"`
	Interval string            `json:"interval,omitempty"`
	Limits   json.RawMessage   `json:"limits,omitempty"`
}

type configVersion struct {
	Version     int64
	State       string
	By, Comment string
	Created     time.Time
}

type configDiff struct {
	Against int64
	Version configVersion
	Changes []struct {
		Instance, Plugin, Change string
		Fields                   []struct{ Path, From, To string }
	}
}

// Config is `picket config`: what machines are to run.
func Config() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{
		Use:   "config",
		Short: "What machines are to run: show, compare, change and restore it",
		Long: "Asks a running picketd over its API. A TARGET is all, group:NAME, or a machine by its name or id. Each change is a\n" +
			"version; the last 200 are kept. Of secrets only that they are set, or differ, is ever shown.",
	}
	s.flags(cmd)
	cmd.AddCommand(configShowCmd(s), configHistoryCmd(s), configDiffCmd(s), configApplyCmd(s), configRestoreCmd(s))
	return cmd
}

// target is what the API calls whom somebody means.
func (s *server) target(ctx context.Context, word string) (string, error) {
	if word == everybody || word == "group:"+everybody {
		return "agents", nil
	}
	if word == "agents" || strings.HasPrefix(word, "group:") {
		return word, nil
	}
	ids, err := s.agentIDs(ctx, []string{word})
	if err != nil {
		return "", fmt.Errorf("%w; a group is written group:%s", err, word)
	}
	return ids[0], nil
}

func configPath(target string) string { return "/config/" + url.PathEscape(target) }

func versionPath(target string, version int64) string {
	return configPath(target) + "/versions/" + strconv.FormatInt(version, 10)
}

func (s *server) config(ctx context.Context, target string) (c targetConfig, err error) {
	return c, s.call(ctx, http.MethodGet, configPath(target), nil, nil, &c)
}

// compare says what is different in a version against another one, or against the one before for 0.
func (s *server) compare(ctx context.Context, target string, version, against int64) (d configDiff, err error) {
	q := url.Values{}
	if against > 0 {
		q.Set("against", strconv.FormatInt(against, 10))
	}
	return d, s.call(ctx, http.MethodGet, versionPath(target, version), q, nil, &d)
}

func configShowCmd(s *server) *cobra.Command {
	var forApply bool
	cmd := &cobra.Command{Use: "show TARGET", Short: "What runs there, and where each part of it was said", Args: cobra.ExactArgs(1),
		Example: "  picket config show group:web\n" +
			"  picket config show group:web --for-apply > web.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := s.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			c, err := s.config(cmd.Context(), target)
			if err != nil {
				return err
			}
			if forApply {
				return columns.JSON(cmd.OutOrStdout(), fileOf(c))
			}
			return s.show(cmd, func(p *columns.Printer) {
				p.Line(columns.S(columns.Bold, args[0]), columns.C(": "+said(c)))
				printRuns(p, c)
			})
		}}
	cmd.Flags().BoolVar(&forApply, "for-apply", false, "print what is said for the target itself, as a file that picket config apply reads")
	return cmd
}

// said is when and by whom a target's own word was given.
func said(c targetConfig) string {
	if c.Version == 0 {
		return "nothing is said for it itself"
	}
	text := fmt.Sprintf("version %d by %s, %s", c.Version, c.By, c.Created.Local().Format(time.DateTime))
	if c.Comment != "" {
		text += ": " + c.Comment
	}
	return text
}

func fileOf(c targetConfig) configFile {
	f := configFile{Version: c.Version, Plugins: []wantedPlugin{}}
	for _, p := range c.Own {
		caps := []string{}
		for _, g := range p.Grants {
			if !slices.Contains(caps, g.Cap) {
				caps = append(caps, g.Cap)
			}
		}
		f.Plugins = append(f.Plugins, wantedPlugin{Plugin: p.Plugin, Version: p.Version, Runtime: p.Runtime, Config: p.Config, Grants: caps, Interval: p.Interval, Limits: p.Limits})
	}
	return f
}

// printRuns prints each plugin with its settings, and beside each where it was said.
func printRuns(p *columns.Printer, c targetConfig) {
	if len(c.Runs) == 0 {
		p.Line(columns.S(columns.Dim, "  nothing runs there"))
	}
	var rows [][]columns.Cell
	for _, r := range c.Runs {
		from := columns.S(columns.Dim, "from "+targetName(r.From))
		if r.From == c.Target {
			from = columns.C("from here")
		}
		over := ""
		for _, o := range r.Over {
			over += ", not " + targetName(o)
		}
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, r.Plugin), columns.C(r.Version), from, columns.S(columns.Dim, strings.TrimPrefix(over, ", "))})
		settings := r.settings()
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			rows = append(rows, []columns.Cell{columns.C("  " + name), columns.C(settings[name]), from})
		}
	}
	p.Table(rows)
}

// settings are all of a plugin by their paths. Of a secret there is only that it is set.
func (c configured) settings() map[string]string {
	out := map[string]string{}
	if c.Interval != "" {
		out["interval"] = c.Interval
	}
	for _, name := range c.Secrets {
		out["secrets."+name] = "set"
	}
	for name, raw := range map[string]json.RawMessage{"config": c.Config, "limits": c.Limits} {
		var tree any
		if json.Unmarshal(raw, &tree) == nil && tree != nil {
			flatten(name, tree, out)
		}
	}
	return out
}

func flatten(path string, v any, out map[string]string) {
	if tree, ok := v.(map[string]any); ok {
		for name, below := range tree {
			flatten(path+"."+name, below, out)
		}
		return
	}
	raw, err := json.Marshal(v)
	if err == nil {
		out[path] = string(raw)
	}
}

func configHistoryCmd(s *server) *cobra.Command {
	var most int
	cmd := &cobra.Command{Use: "history TARGET", Short: "The versions of what it was to run, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := s.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			items, err := s.all(cmd.Context(), configPath(target)+"/versions", most)
			if err != nil {
				return err
			}
			list, err := read[configVersion](items)
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, v := range list {
					rows = append(rows, []columns.Cell{columns.C(strconv.FormatInt(v.Version, 10)), columns.C(v.Created.Local().Format(time.DateTime)), columns.C(v.By),
						versionState(v.State), columns.S(columns.Dim, v.Comment)})
				}
				p.Table(rows)
			})
		}}
	cmd.Flags().IntVar(&most, "limit", 200, "how many")
	return cmd
}

func versionState(state string) columns.Cell {
	switch state {
	case "staged":
		return columns.S(columns.Warn, "a rollout brings it")
	case "dropped":
		return columns.S(columns.Bad, "a rollout took it back")
	}
	return columns.S(columns.Good, state)
}

func configDiffCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "diff TARGET [[FROM] TO]", Short: "What a version changed, or what is different between two", Args: cobra.RangeArgs(1, 3),
		Long: "Without a version: what the newest one changed. With one: what that one changed. With two: what is different in the second.",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := s.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var versions [2]int64 // against, and of what
			for i, word := range args[1:] {
				if versions[2-len(args[1:])+i], err = versionNumber(word); err != nil {
					return err
				}
			}
			if len(args) == 1 {
				if versions[1], err = s.newest(cmd.Context(), target); err != nil {
					return err
				}
			}
			d, err := s.compare(cmd.Context(), target, versions[1], versions[0])
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printDiff(p, d) })
		}}
}

func versionNumber(word string) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 1 {
		return 0, usage.Errorf("%q is no version: `picket config history TARGET` lists them", word)
	}
	return n, nil
}

func (s *server) newest(ctx context.Context, target string) (int64, error) {
	var page struct{ Items []configVersion }
	if err := s.call(ctx, http.MethodGet, configPath(target)+"/versions", url.Values{"limit": {"1"}}, nil, &page); err != nil {
		return 0, err
	}
	if len(page.Items) == 0 {
		return 0, errors.New("nothing was ever said for it itself, so there is nothing to compare")
	}
	return page.Items[0].Version, nil
}

var signs = map[string]columns.Cell{"added": columns.S(columns.Good, "+ "), "removed": columns.S(columns.Bad, "- "), "changed": columns.S(columns.Warn, "~ ")}

func printDiff(p *columns.Printer, d configDiff) {
	before := "nothing"
	if d.Against > 0 {
		before = fmt.Sprintf("version %d", d.Against)
	}
	p.Line(columns.S(columns.Bold, fmt.Sprintf("version %d", d.Version.Version)), columns.C(fmt.Sprintf(" by %s against %s", d.Version.By, before)),
		columns.S(columns.Dim, strings.TrimRight("  "+d.Version.Comment, " ")))
	if len(d.Changes) == 0 {
		p.Line(columns.S(columns.Dim, "  nothing is different"))
	}
	for _, c := range d.Changes {
		p.Line(signs[c.Change], columns.C(c.Plugin+" "+c.Change))
		var rows [][]columns.Cell
		for _, f := range c.Fields {
			rows = append(rows, []columns.Cell{columns.C("    " + f.Path), columns.S(columns.Bad, cmp.Or(f.From, "–")), columns.C("→"), columns.S(columns.Good, cmp.Or(f.To, "–"))})
		}
		p.Table(rows)
	}
}

// staging is how a change is brought to some machines first.
type staging struct {
	comment, soak    string
	canary, failures int
	cmd              *cobra.Command
}

func (g *staging) flags(cmd *cobra.Command) {
	g.cmd = cmd
	cmd.Flags().StringVar(&g.comment, "comment", "", "why; it is kept with the version")
	cmd.Flags().IntVar(&g.canary, "canary", 10, "bring it to this many per cent of the machines first, at least one, and to the rest when those did well")
	cmd.Flags().StringVar(&g.soak, "soak", "10m", "with --canary: how long the first must do well")
	cmd.Flags().IntVar(&g.failures, "max-failures", 0, "with --canary: machines that may fail or go quiet before all go back")
}

// body adds what the flags say to a request.
func (g *staging) body(in map[string]any) (map[string]any, error) {
	in["comment"] = g.comment
	if g.cmd.Flags().Changed("canary") {
		in["rollout"] = map[string]any{"canary_percent": g.canary, "soak": g.soak, "max_failures": g.failures}
		return in, nil
	}
	for _, name := range []string{"soak", "max-failures"} {
		if g.cmd.Flags().Changed(name) {
			return nil, usage.Errorf("--%s needs --canary too", name)
		}
	}
	return in, nil
}

func configApplyCmd(s *server) *cobra.Command {
	var g staging
	cmd := &cobra.Command{Use: "apply TARGET FILE", Short: "Make a file all that is said for a target; - is standard input", Args: cobra.ExactArgs(2),
		Long: "Makes a file, as `picket config show TARGET --for-apply` prints it, all that is said for a target: what is not in it is not\n" +
			"said any more. The file knows which version it was made from; when somebody changed that meanwhile nothing is done, and\n" +
			"what they changed is shown. A secret that the file leaves out keeps its value.",
		Example: "  picket config show group:web --for-apply > web.json\n" +
			"  picket config apply group:web web.json --comment 'measure less often' --canary 10 --soak 30m",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readConfigFile(args[1], cmd.InOrStdin())
			if err != nil {
				return err
			}
			in, err := g.body(map[string]any{"plugins": file.Plugins})
			if err != nil {
				return err
			}
			target, err := s.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.changeConfig(cmd, http.MethodPut, configPath(target), target, file.Version, in)
		}}
	g.flags(cmd)
	return cmd
}

func readConfigFile(path string, stdin io.Reader) (configFile, error) {
	var f configFile
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return f, fmt.Errorf("read the configuration: %w", err)
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxConfigFile+1))
	if err != nil {
		return f, fmt.Errorf("read the configuration: %w", err)
	}
	if len(raw) > maxConfigFile {
		return f, fmt.Errorf("%s has more than %d MB", path, maxConfigFile>>20)
	}
	var there struct {
		Version *int64
		Plugins *[]json.RawMessage
	}
	if err := json.Unmarshal(raw, &there); err != nil {
		return f, fmt.Errorf("%s is no configuration: %w", path, err)
	}
	if there.Version == nil || there.Plugins == nil {
		return f, fmt.Errorf("%s has no version or no plugins: `picket config show TARGET --for-apply` writes such a file", path)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return f, fmt.Errorf("%s is no configuration: %w", path, err)
	}
	return f, nil
}

// changeConfig makes another version of what is at one, shows what is different in it, or what somebody else changed meanwhile.
func (s *server) changeConfig(cmd *cobra.Command, method, path, target string, at int64, in any) error {
	var done struct {
		Version int64
		Rollout *rollout
	}
	err := s.change(cmd.Context(), method, path, at, in, &done)
	if overtaken(err) {
		return s.explainConflict(cmd, target, at)
	}
	if err != nil {
		return err
	}
	answer := s.last
	d, err := s.compare(cmd.Context(), target, done.Version, at)
	if err != nil {
		return err
	}
	s.last = answer
	return s.show(cmd, func(p *columns.Printer) {
		printDiff(p, d)
		if done.Rollout != nil {
			printRollout(p, *done.Rollout)
			p.Line(columns.S(columns.Dim, "picket fleet rollout show "+done.Rollout.ID+" says how it goes"))
		}
	})
}

func (s *server) explainConflict(cmd *cobra.Command, target string, at int64) error {
	now, err := s.config(cmd.Context(), target)
	if err != nil {
		return err
	}
	if now.Version > 0 {
		d, err := s.compare(cmd.Context(), target, now.Version, at)
		if err != nil {
			return err
		}
		printDiff(columns.New(cmd.ErrOrStderr()), d)
	}
	return fmt.Errorf("nothing was done: %s is at version %d now, and yours was made from %d; `picket config show %s --for-apply` writes what is there, make your change in that",
		targetName(target), now.Version, at, targetName(target))
}

func configRestoreCmd(s *server) *cobra.Command {
	var g staging
	var yes bool
	cmd := &cobra.Command{Use: "restore TARGET VERSION", Short: "Go back to a version, which is a new version; without --yes, show what that changes", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := versionNumber(args[1])
			if err != nil {
				return err
			}
			in, err := g.body(map[string]any{})
			if err != nil {
				return err
			}
			target, err := s.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			now, err := s.config(cmd.Context(), target)
			if err != nil {
				return err
			}
			if yes {
				return s.changeConfig(cmd, http.MethodPost, versionPath(target, version)+"/restore", target, now.Version, in)
			}
			d, err := s.compare(cmd.Context(), target, version, now.Version)
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				printDiff(p, d)
				p.Line(columns.S(columns.Dim, "nothing was changed: give --yes to go back to it"))
			})
		}}
	g.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "carry it out")
	return cmd
}
