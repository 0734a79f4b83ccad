package fleetcmd

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
)

const metricRulesPath = "/metric-rules"

// metricTerms are what a change of a rule has to say in full.
type metricTerms struct {
	Title    string `json:"title"`
	Expr     string `json:"expr"`
	Stays    string `json:"stays,omitempty"`
	For      int64  `json:"for"`
	Keep     int64  `json:"keep"`
	Every    int64  `json:"every"`
	Severity string `json:"severity"`
	NoData   string `json:"no_data,omitempty"`
	Summary  string `json:"summary,omitempty"`
	Group    string `json:"group,omitempty"`
	Enabled  bool   `json:"enabled"`
}

// metricRule is a rule over metrics as the API tells it.
type metricRule struct {
	metricTerms
	Name            string
	Problem         string
	Firing, Pending int
	Instances       []struct {
		Labels map[string]string
		Value  float64
		State  string
		Since  time.Time
	}
}

func (r metricRule) state() columns.Cell {
	switch {
	case !r.Enabled:
		return columns.S(columns.Dim, "off")
	case r.Problem != "":
		return columns.S(columns.Bad, "problem")
	case r.Firing > 0:
		return columns.S(columns.Bad, fmt.Sprintf("%d firing", r.Firing))
	case r.Pending > 0:
		return columns.S(columns.Warn, fmt.Sprintf("%d pending", r.Pending))
	}
	return columns.S(columns.Good, "quiet")
}

// MetricRule is `picket metric-rule`: which metrics raise alerts.
func MetricRule() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{
		Use:   "metric-rule",
		Short: "Rules that raise alerts from metrics: what they find, on and off",
		Long:  "Asks a running picketd over its API.",
	}
	s.flags(cmd)
	cmd.AddCommand(metricRuleListCmd(s), metricRuleShowCmd(s),
		metricRuleSwitchCmd(s, "enable", "Turn a rule on", true), metricRuleSwitchCmd(s, "disable", "Turn a rule off; its alerts end", false))
	return cmd
}

func metricRuleListCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "The rules, and whether they hold now", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l struct{ Items []metricRule }
			if err := s.call(cmd.Context(), http.MethodGet, metricRulesPath, nil, nil, &l); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, r := range l.Items {
					rows = append(rows, []columns.Cell{columns.C(r.Name), r.state(), columns.C(r.Severity), columns.C(cmp.Or(r.Group, everybody)), columns.S(columns.Dim, r.Title)})
				}
				p.Table(rows)
			})
		}}
}

func metricRulePath(name string) string { return metricRulesPath + "/" + url.PathEscape(name) }

func metricRuleShowCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "show RULE", Short: "One rule, and for what it holds now", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r metricRule
			if err := s.call(cmd.Context(), http.MethodGet, metricRulePath(args[0]), nil, nil, &r); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printMetricRule(p, r) })
		}}
}

func printMetricRule(p *columns.Printer, r metricRule) {
	p.Line(columns.S(columns.Bold, r.Name), columns.C(": "), r.state(), columns.C(", "+r.Severity+", "+r.Title))
	p.Line(columns.S(columns.Dim, "  finds "), columns.C(strings.Join(strings.Fields(r.Expr), " ")))
	if r.Stays != "" {
		p.Line(columns.S(columns.Dim, "  stays "), columns.C(strings.Join(strings.Fields(r.Stays), " ")))
	}
	if r.Problem != "" {
		p.Line(columns.S(columns.Bad, "  "+r.Problem))
	}
	var rows [][]columns.Cell
	for _, x := range r.Instances {
		rows = append(rows, []columns.Cell{columns.C("  " + x.State), columns.C(fmt.Sprintf("%g", x.Value)), columns.C(x.Since.UTC().Format(time.RFC3339)), columns.C(fmt.Sprint(x.Labels)[len("map"):])})
	}
	p.Table(rows)
}

func metricRuleSwitchCmd(s *server, verb, short string, on bool) *cobra.Command {
	return &cobra.Command{Use: verb + " RULE", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r metricRule
			if err := s.call(cmd.Context(), http.MethodGet, metricRulePath(args[0]), nil, nil, &r); err != nil {
				return err
			}
			r.Enabled = on
			if err := s.call(cmd.Context(), http.MethodPut, metricRulePath(args[0]), nil, r.metricTerms, &r); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printMetricRule(p, r) })
		}}
}
