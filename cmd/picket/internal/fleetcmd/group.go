package fleetcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// everybody is the group that all machines are in.
const everybody = "all"

const groupsPath = "/groups"

// mostMembers bounds what is printed of a group.
const mostMembers = 10_000

// machineGroup is a group as the API tells it.
type machineGroup struct {
	Name, Parent, Description string
	Rules                     []string
	Version                   int64
	Counts                    machineCounts
	By                        string
	Updated                   time.Time
}

type machineCounts struct{ Online, Late, Offline int }

func (n machineCounts) total() int { return n.Online + n.Late + n.Offline }

// cell says how many there are, and how many of them are not well.
func (n machineCounts) cell() columns.Cell {
	text, style := columns.Count(n.total(), "machine"), columns.Plain
	if n.Late > 0 {
		text, style = text+fmt.Sprintf(", %d late", n.Late), columns.Warn
	}
	if n.Offline > 0 {
		text, style = text+fmt.Sprintf(", %d offline", n.Offline), columns.Bad
	}
	return columns.S(style, text)
}

// Group is `picket group`: which machines belong together.
func Group() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Which machines belong together: groups, their rules, who is in them",
		Long: "Asks a running picketd over its API. A machine has one home group, and may be in others besides: by hand, or by a\n" +
			"group's rules. `picket config` says what a group runs.",
	}
	s.flags(cmd)
	cmd.AddCommand(groupListCmd(s), groupShowCmd(s), groupCreateCmd(s), groupChangeCmd(s), groupMoveCmd(s), groupDeleteCmd(s), groupMatchCmd(s), groupMembersCmd(s),
		groupJoinCmd(s), groupLeaveCmd(s), groupHomeCmd(s))
	return cmd
}

type groupList struct {
	All   machineCounts
	Items []machineGroup
}

func groupListCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "The groups as a tree, with how many machines are in each", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l groupList
			if err := s.call(cmd.Context(), http.MethodGet, groupsPath, nil, nil, &l); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { p.Table(treeRows(l)) })
		}}
}

// treeRows puts each group below its parent, with lines that show where it hangs.
func treeRows(l groupList) [][]columns.Cell {
	below := map[string][]machineGroup{}
	for _, g := range l.Items {
		below[g.Parent] = append(below[g.Parent], g)
	}
	rows := [][]columns.Cell{{columns.S(columns.Bold, everybody), l.All.cell()}}
	var add func(parent, before string)
	add = func(parent, before string) {
		list := below[parent]
		delete(below, parent) // no answer makes this endless
		for i, g := range list {
			branch, next := "├ ", "│ "
			if i == len(list)-1 {
				branch, next = "└ ", "  "
			}
			rows = append(rows, []columns.Cell{columns.C(before + branch + g.Name), g.Counts.cell(), columns.C(strings.Join(g.Rules, " ")), columns.S(columns.Dim, g.Description)})
			add(g.Name, before+next)
		}
	}
	add(everybody, "")
	return rows
}

func (s *server) group(ctx context.Context, name string) (g machineGroup, err error) {
	return g, s.call(ctx, http.MethodGet, groupsPath+"/"+url.PathEscape(name), nil, nil, &g)
}

func groupShowCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "show GROUP", Short: "One group: its rules, and what its machines run and where that was said", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := s.group(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			raw := s.last
			c, err := s.config(cmd.Context(), "group:"+g.Name)
			if err != nil {
				return err
			}
			if err := s.keep(map[string]json.RawMessage{"group": raw, "config": s.last}); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				printGroup(p, g)
				printRuns(p, c)
			})
		}}
}

func printGroup(p *columns.Printer, g machineGroup) {
	p.Line(columns.S(columns.Bold, g.Name), columns.C(" below "+g.Parent+": "), g.Counts.cell())
	if g.Description != "" {
		p.Line(columns.C("  " + g.Description))
	}
	for _, r := range g.Rules {
		p.Line(columns.S(columns.Dim, "  takes in "), columns.C(r))
	}
}

func groupCreateCmd(s *server) *cobra.Command {
	var parent, description string
	var rules []string
	cmd := &cobra.Command{Use: "create GROUP", Short: "Make a group", Args: cobra.ExactArgs(1),
		Example: "  picket group create europe\n" +
			"  picket group create web --parent europe --rule 'name~^web-' --rule label.site!=berlin",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"name": args[0], "description": description, "rules": some(rules)}
			if parent != "" {
				in["parent"] = parent
			}
			var g machineGroup
			if err := s.call(cmd.Context(), http.MethodPost, groupsPath, nil, in, &g); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printGroup(p, g) })
		}}
	cmd.Flags().StringVar(&parent, "parent", "", "the group above it (default all)")
	groupFlags(cmd, &description, &rules)
	return cmd
}

func groupFlags(cmd *cobra.Command, description *string, rules *[]string) {
	cmd.Flags().StringVar(description, "description", "", "what it is for")
	cmd.Flags().StringArrayVar(rules, "rule", nil, "a machine that fits all rules is in: os=linux, name~^web-, arch!=arm64, label.site=berlin")
}

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func groupChangeCmd(s *server) *cobra.Command {
	var description string
	var rules []string
	var noRules bool
	cmd := &cobra.Command{Use: "change GROUP", Short: "Change a group's description or rules; machines may join and leave by that", Args: cobra.ExactArgs(1),
		Long: "Changes what is given and leaves the rest. `picket group match` shows beforehand who would join and leave.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ruled := cmd.Flags().Changed("rule")
			if ruled && noRules {
				return usage.Errorf("give --rule or --no-rules")
			}
			if !ruled && !noRules && !cmd.Flags().Changed("description") {
				return usage.Errorf("say what to change: --description, --rule or --no-rules")
			}
			return s.changeGroup(cmd, args[0], func(g *machineGroup) {
				if ruled || noRules {
					g.Rules = rules
				}
				if cmd.Flags().Changed("description") {
					g.Description = description
				}
			})
		}}
	groupFlags(cmd, &description, &rules)
	cmd.Flags().BoolVar(&noRules, "no-rules", false, "nobody is in it by rule any more")
	return cmd
}

// changeGroup changes a group as it is now, or says what somebody else made of it meanwhile.
func (s *server) changeGroup(cmd *cobra.Command, name string, change func(*machineGroup)) error {
	g, err := s.group(cmd.Context(), name)
	if err != nil {
		return err
	}
	change(&g)
	in := map[string]any{"parent": g.Parent, "description": g.Description, "rules": some(g.Rules)}
	err = s.change(cmd.Context(), http.MethodPut, groupsPath+"/"+url.PathEscape(name), g.Version, in, &g)
	if overtaken(err) {
		now, err := s.group(cmd.Context(), name)
		if err != nil {
			return err
		}
		return fmt.Errorf("somebody changed %s at the same moment and nothing of yours was done; it is now below %s, with the rules [%s]: say it again if that is still right",
			name, now.Parent, strings.Join(now.Rules, " "))
	}
	if err != nil {
		return err
	}
	return s.show(cmd, func(p *columns.Printer) { printGroup(p, g) })
}

func groupMoveCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "move GROUP PARENT", Short: "Hang a group below another one, or below all", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.changeGroup(cmd, args[0], func(g *machineGroup) { g.Parent = args[1] })
		}}
}

func groupDeleteCmd(s *server) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "delete GROUP", Short: "Delete a group to which nothing is assigned", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := s.group(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !yes {
				return usage.Errorf("the machines of %s (%d, with those of the groups below it) and the groups below it move to %s: give --yes to carry it out", g.Name, g.Counts.total(), g.Parent)
			}
			if err := s.call(cmd.Context(), http.MethodDelete, groupsPath+"/"+url.PathEscape(g.Name), nil, nil, nil); err != nil {
				return err
			}
			if err := s.keep(map[string]string{"deleted": g.Name}); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { p.Line(columns.C("deleted " + g.Name)) })
		}}
	cmd.Flags().BoolVar(&yes, "yes", false, "carry it out")
	return cmd
}

// matches is who rules would take in.
type matches struct {
	Total int
	Items []struct{ Name, OS, Arch string }
}

func groupMatchCmd(s *server) *cobra.Command {
	var group string
	cmd := &cobra.Command{Use: "match RULE...", Short: "Which machines rules would take in; nothing is changed", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"rules": args}
			if group != "" {
				in["group"] = group
			}
			var out struct{ Match, Leave matches }
			if err := s.call(cmd.Context(), http.MethodPost, groupsPath+"/match", nil, in, &out); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				printMatches(p, "in", out.Match)
				if group != "" {
					printMatches(p, "out of "+group, out.Leave)
				}
			})
		}}
	cmd.Flags().StringVar(&group, "group", "", "also say who would leave this group if these were its rules")
	return cmd
}

func printMatches(p *columns.Printer, where string, m matches) {
	p.Line(columns.S(columns.Bold, columns.Count(m.Total, "machine")), columns.C(" "+where))
	var rows [][]columns.Cell
	for _, a := range m.Items {
		rows = append(rows, []columns.Cell{columns.C("  " + a.Name), columns.S(columns.Dim, a.OS+"/"+a.Arch)})
	}
	p.Table(rows)
	if more := m.Total - len(m.Items); more > 0 {
		p.Line(columns.S(columns.Dim, fmt.Sprintf("  and %d more", more)))
	}
}

func groupMembersCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "members GROUP", Short: "The machines of a group and how each came there; all has everybody", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			items, err := s.all(cmd.Context(), groupsPath+"/"+url.PathEscape(args[0])+"/members", mostMembers)
			if err != nil {
				return err
			}
			list, err := read[struct{ ID, Name, OS, How string }](items)
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, m := range list {
					rows = append(rows, []columns.Cell{columns.C(m.Name), columns.C(how(m.How, args[0])), columns.C(m.OS), columns.S(columns.Dim, m.ID)})
				}
				p.Table(rows)
			})
		}}
}

// how says why a machine is in a group.
func how(how, group string) string {
	switch {
	case group == everybody && how != "home":
		return "every machine is"
	case how == "home":
		return "its home"
	case how == "below":
		return "in a group below"
	}
	return "by " + how
}

// each does something to machines that are named, and says to which.
func (s *server) each(cmd *cobra.Command, group string, names []string, method, did string) error {
	ids, err := s.agentIDs(cmd.Context(), names)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if err := s.call(cmd.Context(), method, groupsPath+"/"+url.PathEscape(group)+"/members/"+url.PathEscape(id), nil, nil, nil); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
	}
	if err := s.keep(map[string]any{"group": group, "machines": ids}); err != nil {
		return err
	}
	return s.show(cmd, func(p *columns.Printer) {
		p.Line(columns.C(fmt.Sprintf("%s %s %s", columns.Count(len(ids), "machine"), did, group)))
	})
}

func groupJoinCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "join GROUP MACHINE...", Short: "Put machines into a group besides their home, by hand", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.each(cmd, args[0], args[1:], http.MethodPut, "joined")
		}}
}

func groupLeaveCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "leave GROUP MACHINE...", Short: "Take machines out that were put in by hand; those of a rule stay as the rule says", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.each(cmd, args[0], args[1:], http.MethodDelete, "left")
		}}
}

func groupHomeCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "home GROUP MACHINE...", Short: "Make a group the home of machines; all is no group of its own", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := s.agentIDs(cmd.Context(), args[1:])
			if err != nil {
				return err
			}
			var out struct{ Done int }
			if err := s.call(cmd.Context(), http.MethodPost, "/agents/many/group", nil, map[string]any{"ids": ids, "group": args[0]}, &out); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				p.Line(columns.C(fmt.Sprintf("%s is the home of %s now", args[0], columns.Count(out.Done, "machine"))))
			})
		}}
}

// targetName is whose configuration is meant, for people.
func targetName(target string) string {
	if target == "agents" {
		return everybody
	}
	return cmp.Or(target, everybody)
}
