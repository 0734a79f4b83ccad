package fleetcmd

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// rollout is one as the API tells it.
type rollout struct {
	ID            string        `json:"id"`
	Plugin        string        `json:"plugin"` // "" when it brings a configuration
	Target        string        `json:"target,omitempty"`
	Version       string        `json:"version"`
	Group         string        `json:"group"`
	CanaryPercent int           `json:"canary_percent"`
	Soak          string        `json:"soak"`
	MaxFailures   int           `json:"max_failures"`
	State         string        `json:"state"`
	Reason        string        `json:"reason,omitempty"`
	By            string        `json:"by"`
	Created       time.Time     `json:"created"`
	Nodes         []rolloutNode `json:"nodes"`
}

type rolloutNode struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	From   string `json:"from"`
	To     string `json:"to"`
	Canary bool   `json:"canary"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// brings says what it brings to whom.
func (r rollout) brings() (what, whom string) {
	if r.Plugin == "" {
		return "configuration " + r.Version, targetName(r.Target)
	}
	return r.Plugin + " " + r.Version, r.Group
}

const rolloutsPath = "/fleet/rollouts"

func rolloutCmd(s *server) *cobra.Command {
	cmd := usage.Group(&cobra.Command{Use: "rollout", Short: "Bring another version to agents: to some first, to all once those did well"})
	cmd.AddCommand(startCmd(s), rolloutsCmd(s), showCmd(s))
	for _, m := range []struct{ name, short string }{
		{"pause", "Hold a rollout where it is"}, {"halt", "Stop it, and bring every agent back to what it had"},
		{"finish", "Do not wait for the canaries any longer"},
	} {
		cmd.AddCommand(&cobra.Command{Use: m.name + " ROLLOUT", Short: m.short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.move(cmd, args[0], m.name, map[string]any{}) }})
	}
	var grant []string
	resume := &cobra.Command{Use: "resume ROLLOUT", Short: "Go on; with --grant when it waits for grants", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.move(cmd, args[0], "resume", map[string]any{"grants": grants(grant)})
		}}
	resume.Flags().StringSliceVar(&grant, "grant", nil, "a capability that you grant, or all")
	cmd.AddCommand(resume)
	return cmd
}

func (s *server) move(cmd *cobra.Command, id, move string, in any) error {
	var r rollout
	if err := s.call(cmd.Context(), http.MethodPost, rolloutsPath+"/"+url.PathEscape(id)+"/"+move, nil, in, &r); err != nil {
		return err
	}
	return s.show(cmd, func(p *columns.Printer) { printRollout(p, r) })
}

func startCmd(s *server) *cobra.Command {
	var group, soak string
	var canary, failures int
	var grant []string
	cmd := &cobra.Command{Use: "start PLUGIN@VERSION", Short: "Begin a rollout", Args: cobra.ExactArgs(1),
		Example: "  picket fleet rollout start acme/host@1.3.0 --canary 20 --soak 30m --token-file token",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, version := splitVersion(args[0])
			if version == "" {
				return usage.Errorf("name the version, PLUGIN@VERSION")
			}
			in := map[string]any{"plugin": id, "version": version, "canary_percent": canary, "soak": soak, "max_failures": failures, "grants": grants(grant)}
			if group != "" {
				in["group"] = group
			}
			var r rollout
			if err := s.call(cmd.Context(), http.MethodPost, rolloutsPath, nil, in, &r); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printRollout(p, r) })
		}}
	cmd.Flags().StringVar(&group, "group", "", "the group of agents (default all)")
	cmd.Flags().StringVar(&soak, "soak", "10m", "how long the first agents must do well")
	cmd.Flags().IntVar(&canary, "canary", 10, "how many per cent of the agents go first, at least one")
	cmd.Flags().IntVar(&failures, "max-failures", 0, "agents that may fail before all go back")
	cmd.Flags().StringSliceVar(&grant, "grant", nil, "a capability that the version asks for beyond what was granted, or all")
	return cmd
}

func rolloutsCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Rollouts, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page struct {
				Items []rollout `json:"items"`
			}
			if err := s.call(cmd.Context(), http.MethodGet, rolloutsPath, nil, nil, &page); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				rows := make([][]columns.Cell, 0, len(page.Items))
				for _, r := range page.Items {
					what, whom := r.brings()
					rows = append(rows, []columns.Cell{columns.S(columns.Dim, r.ID), columns.C(what), columns.C(whom),
						columns.S(stateStyle(r.State), r.State), columns.C(r.Reason)})
				}
				p.Table(rows)
			})
		}}
}

func showCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "show ROLLOUT", Short: "How a rollout goes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r rollout
			if err := s.call(cmd.Context(), http.MethodGet, rolloutsPath+"/"+url.PathEscape(args[0]), nil, nil, &r); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printRollout(p, r) })
		}}
}

func printRollout(p *columns.Printer, r rollout) {
	what, whom := r.brings()
	p.Line(columns.S(columns.Bold, what), columns.C(" to "+whom+": "), columns.S(stateStyle(r.State), r.State), columns.S(columns.Dim, "  "+r.ID))
	if r.Reason != "" {
		p.Line(columns.C("  " + r.Reason))
	}
	rows := make([][]columns.Cell, 0, len(r.Nodes))
	for _, n := range r.Nodes {
		first := ""
		if n.Canary {
			first = "canary"
		}
		rows = append(rows, []columns.Cell{columns.C("  " + n.Name), columns.S(columns.Dim, first), columns.C(fmt.Sprintf("%s → %s", n.From, n.To)),
			columns.S(stateStyle(n.State), n.State), columns.C(n.Reason)})
	}
	p.Table(rows)
}
