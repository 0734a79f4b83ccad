package fleetcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/sdk/config"
)

func searchCmd(s *server) *cobra.Command {
	var kind, tag, sort string
	var limit int
	cmd := &cobra.Command{Use: "search [WORDS]", Short: "Find plugins, models and data packs in the server's market",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, v := range map[string]string{"q": strings.Join(args, " "), "kind": kind, "tag": tag, "sort": sort} {
				if v != "" {
					q.Set(name, v)
				}
			}
			var page marketPage
			if err := s.call(cmd.Context(), http.MethodGet, "/market/plugins", q, nil, &page); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printHits(p, page) })
		}}
	cmd.Flags().StringVar(&kind, "kind", "", "collector, discovery, detector, notifier, model or data")
	cmd.Flags().StringVar(&tag, "tag", "", "only with this tag")
	cmd.Flags().StringVar(&sort, "sort", "", "relevance, installs, rating, new or name")
	cmd.Flags().IntVar(&limit, "limit", 30, "how many at most, up to 100")
	return cmd
}

func printHits(p *columns.Printer, page marketPage) {
	rows := make([][]columns.Cell, 0, len(page.Items))
	for _, h := range page.Items {
		mark := columns.C("")
		switch {
		case h.Revoked != "":
			mark = columns.S(columns.Bad, "revoked")
		case h.Yanked != "":
			mark = columns.S(columns.Warn, "yanked")
		case h.Installed != nil:
			mark = columns.S(columns.Good, "installed "+h.Installed.Version)
		}
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, h.ID), columns.C(h.Version), columns.C(h.Kind), columns.C(h.Summary), mark})
	}
	p.Table(rows)
	if page.DidYouMean != "" {
		p.Line(columns.S(columns.Dim, "did you mean "+page.DidYouMean+"?"))
	}
	p.Line(columns.S(columns.Dim, fmt.Sprintf("%d of %d", len(page.Items), page.Total)))
}

func installCmd(s *server) *cobra.Command {
	var node, configFile, interval string
	var grant []string
	var yes bool
	cmd := &cobra.Command{Use: "install PLUGIN[@VERSION]", Short: "Install a plugin with all that it needs, and run it", Args: cobra.ExactArgs(1),
		Long: "Installs a plugin with all that it needs, and runs it: whole or not at all. It first shows what would be installed and\n" +
			"what the plugin asks for; with --grant you grant that, and --yes carries it out.",
		Example: "  picket fleet install acme/host@^1.2 --node group:prod --grant all --yes --token-file token",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, version := splitVersion(args[0])
			plan, err := s.plan(cmd.Context(), id, version, node)
			if err != nil {
				return err
			}
			if len(plan.Conflicts) > 0 {
				return errors.New(strings.Join(plan.Conflicts, "; "))
			}
			given, err := readConfig(configFile)
			if err != nil {
				return err
			}
			if !yes {
				return s.show(cmd, func(p *columns.Printer) { printPlan(p, id, plan, settings(plan, given)) })
			}
			in := map[string]any{"version": plan.Version, "node": node, "grants": grants(grant)}
			if interval != "" {
				in["interval"] = interval
			}
			if given != nil {
				in["config"] = given
			}
			job, err := s.install(cmd.Context(), id, in, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				p.Line(columns.S(columns.Good, fmt.Sprintf("%s %s runs on %s", id, job.Version, job.Node)))
			})
		}}
	cmd.Flags().StringVar(&node, "node", "", "server, the id of an agent, group:NAME, or agents for all (default where the kind belongs)")
	cmd.Flags().StringVar(&configFile, "config", "", "a JSON file with the plugin's configuration")
	cmd.Flags().StringVar(&interval, "interval", "", "how often a collector or a discovery works, for example 10s")
	cmd.Flags().StringSliceVar(&grant, "grant", nil, "a capability that you grant, or all; may be given several times")
	cmd.Flags().BoolVar(&yes, "yes", false, "carry it out")
	return cmd
}

func readConfig(file string) (json.RawMessage, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if !json.Valid(raw) {
		return nil, usage.Errorf("%s is not JSON", file)
	}
	return raw, nil
}

// settings are those that the plugin would run with: those given, else those that it has, and the defaults of the rest. The
// server says what is wrong with them.
func settings(plan installPlan, given json.RawMessage) json.RawMessage {
	if given == nil {
		given = plan.Config
	}
	full, err := config.WithDefaults(plan.Schema, given)
	if err != nil {
		return given
	}
	return full
}

func (s *server) plan(ctx context.Context, id, version, node string) (plan installPlan, err error) {
	path, err := pluginPath("/market/plugins", id, "/plan")
	if err != nil {
		return plan, err
	}
	in := map[string]string{}
	if version != "" {
		in["version"] = version
	}
	if node != "" {
		in["node"] = node
	}
	err = s.call(ctx, http.MethodPost, path, nil, in, &plan)
	return plan, err
}

func printPlan(p *columns.Printer, id string, plan installPlan, settings json.RawMessage) {
	p.Line(columns.S(columns.Bold, fmt.Sprintf("%s %s on %s", id, plan.Version, plan.Node)))
	for _, i := range plan.Install {
		p.Line(columns.C(fmt.Sprintf("  fetch  %s %s from the registry %s, %d bytes: %s", i.ID, i.Version, i.Registry, i.Size, i.Because)))
	}
	for _, x := range plan.Permissions.Added {
		p.Line(columns.S(columns.Warn, fmt.Sprintf("  asks   %s: %s", x.say(settings), x.Reason)))
	}
	for _, x := range plan.Permissions.Kept {
		p.Line(columns.C(fmt.Sprintf("  keeps  %s", x.say(settings))))
	}
	for _, x := range plan.Changes {
		p.Line(columns.C("  config " + x))
	}
	p.Line(columns.S(columns.Dim, "Grant what it asks for with --grant, and carry it out with --yes."))
}

// The states of a job and of its steps.
const (
	jobRunning = "running"
	jobDone    = "done"
)

// pollEvery is how often a job is asked how far it is.
const pollEvery = 500 * time.Millisecond

// install starts a job and follows it to its end.
func (s *server) install(ctx context.Context, id string, in any, progress io.Writer) (installJob, error) {
	var job installJob
	path, err := pluginPath("/market/plugins", id, "/install")
	if err != nil {
		return job, err
	}
	var begun struct {
		ID string `json:"id"`
	}
	if err := s.call(ctx, http.MethodPost, path, nil, in, &begun); err != nil {
		return job, err
	}
	for said := ""; ; {
		if err := s.call(ctx, http.MethodGet, "/market/installs/"+url.PathEscape(begun.ID), nil, nil, &job); err != nil {
			return job, err
		}
		if text := now(job); text != said {
			fmt.Fprintln(progress, text)
			said = text
		}
		switch job.State {
		case jobDone:
			return job, nil
		case jobRunning:
		default:
			return job, fmt.Errorf("%s: %s (%s)", job.State, job.Error, strings.Join(job.Undone, "; "))
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return job, ctx.Err()
		}
	}
}

// now is the step that a job is at.
func now(job installJob) string {
	for _, step := range job.Steps {
		if step.State == jobRunning {
			if step.Total > 0 {
				return fmt.Sprintf("%s: %d of %d %s", step.Name, step.Done, step.Total, step.Text)
			}
			return strings.TrimSpace(step.Name + " " + step.Text)
		}
	}
	return job.State
}
