package fleetcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// Agent is `picket agent`: orders to machines.
func Agent() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Let machines in, order something from them, watch it, cancel it",
		Long: "Asks a running picketd over its API. What is dangerous waits until a second person approves it on the page Commands;\n" +
			"a token cannot.",
	}
	s.flags(cmd)
	cmd.AddCommand(agentTypesCmd(s), agentRunCmd(s), agentOrdersCmd(s), agentShowCmd(s), agentCancelCmd(s), enrolmentCmd(s))
	return cmd
}

type machineOrder struct {
	ID, Type, Target, State string
	Machines                int
	CreatedBy               string    `json:"created_by"`
	Created                 time.Time `json:"created_at"`
	DecidedBy               string    `json:"decided_by"`
	Reason                  string
	Progress                map[string]int
}

type machineCommand struct {
	ID, Agent, State, Output string
}

func agentTypesCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "types", Short: "What machines can be ordered to do", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct {
				Types []struct{ Name, Summary, Danger string }
			}
			if err := s.call(cmd.Context(), http.MethodGet, "/commands/types", nil, nil, &out); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, t := range out.Types {
					rows = append(rows, []columns.Cell{columns.C(t.Name), columns.C(t.Danger), columns.S(columns.Dim, t.Summary)})
				}
				p.Table(rows)
			})
		}}
}

func agentRunCmd(s *server) *cobra.Command {
	var agents, labels []string
	var group, args, expires string
	var follow bool
	cmd := &cobra.Command{
		Use:   "run TYPE [PROGRAM ARGUMENT...]",
		Short: "Order something from one machine or many",
		Example: "  picket agent run diagnose --agent web-1 --follow\n" +
			"  picket agent run update-agent --group canaries\n" +
			"  picket agent run exec --agent web-1 --follow -- /usr/local/bin/rotate --all",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			in, err := orderOf(words, args, expires, group, labels)
			if err != nil {
				return err
			}
			if (len(agents) > 0) == (group != "") {
				return usage.Errorf("say which machines: --agent, or --group (all for every one)")
			}
			if len(agents) > 0 {
				if in["agents"], err = s.agentIDs(cmd.Context(), agents); err != nil {
					return err
				}
			}
			var o machineOrder
			if err := s.call(cmd.Context(), http.MethodPost, "/commands", nil, in, &o); err != nil {
				return err
			}
			if !follow {
				return s.show(cmd, func(p *columns.Printer) { printOrder(p, o) })
			}
			return s.follow(cmd, o)
		},
	}
	cmd.Flags().StringSliceVar(&agents, "agent", nil, "a machine, by name or id")
	cmd.Flags().StringVar(&group, "group", "", "all machines of a group and of those below it")
	cmd.Flags().StringSliceVar(&labels, "label", nil, "only machines with this label, as KEY=VALUE")
	cmd.Flags().StringVar(&args, "args", "", "arguments as JSON")
	cmd.Flags().StringVar(&expires, "expires", "", "how long it waits for machines that are away, such as 1h")
	cmd.Flags().BoolVar(&follow, "follow", false, "print what it prints, and end as it does")
	return cmd
}

// orderOf is the body of a request.
func orderOf(words []string, args, expires, group string, labels []string) (map[string]any, error) {
	in := map[string]any{"type": words[0]}
	switch {
	case len(words) > 1 && words[0] != "exec":
		return nil, usage.Errorf("%s takes its arguments as JSON: --args '{…}'", words[0])
	case len(words) > 1:
		in["args"] = map[string]any{"path": words[1], "args": words[2:]}
	case args != "":
		if !json.Valid([]byte(args)) {
			return nil, usage.Errorf("--args %s is no JSON", args)
		}
		in["args"] = json.RawMessage(args)
	}
	if expires != "" {
		in["expires_in"] = expires
	}
	if group != "" {
		in["group"] = group
	}
	with, err := labelsOf(labels)
	if err != nil {
		return nil, err
	}
	if len(with) > 0 {
		in["labels"] = with
	}
	return in, nil
}

func labelsOf(flags []string) (map[string]string, error) {
	with := map[string]string{}
	for _, l := range flags {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, usage.Errorf("--label %q: want KEY=VALUE", l)
		}
		with[k] = v
	}
	return with, nil
}

// agentIDs finds machines by name or id.
func (s *server) agentIDs(ctx context.Context, wanted []string) ([]string, error) {
	found := map[string][]string{}
	for cursor := ""; ; {
		var page struct {
			Items []struct{ ID, Name string }
			Next  string `json:"next_cursor"`
		}
		if err := s.call(ctx, http.MethodGet, "/agents", url.Values{"limit": {"500"}, "cursor": {cursor}}, nil, &page); err != nil {
			return nil, err
		}
		for _, a := range page.Items {
			found[a.ID] = []string{a.ID}
			found[a.Name] = append(found[a.Name], a.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	var ids []string
	for _, w := range wanted {
		switch list := found[w]; len(list) {
		case 0:
			return nil, fmt.Errorf("there is no machine %s", w)
		case 1:
			ids = append(ids, list[0])
		default:
			return nil, fmt.Errorf("%d machines are called %s: name one by its id, such as %s", len(list), w, list[0])
		}
	}
	return ids, nil
}

func printOrder(p *columns.Printer, o machineOrder) {
	p.Line(columns.C(fmt.Sprintf("%s %s for %s: %s", o.ID, o.Type, o.Target, cmp.Or(o.Reason, stateWords(o)))))
}

// stateWords says how far an order is.
func stateWords(o machineOrder) string {
	if o.State != "given" {
		if o.State == "waiting" {
			return "waits for a second person to approve it on the page Commands"
		}
		return o.State
	}
	var words []string
	for _, state := range []string{"queued", "sent", "done", "failed", "refused", "cancelled", "expired"} {
		if n := o.Progress[state]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(words, ", ")
}

// errNotDone ends the program with exit code 1 once all has been said.
var errNotDone = errors.New("not every machine did it")

// follow prints the output of one machine as it comes, and of many how far they are.
func (s *server) follow(cmd *cobra.Command, o machineOrder) error {
	ctx, said := cmd.Context(), ""
	for {
		if err := s.call(ctx, http.MethodGet, "/commands/"+o.ID, nil, nil, &o); err != nil {
			return err
		}
		if text := stateWords(o); text != said && (o.Machines > 1 || o.State != "given") {
			said = text
			fmt.Fprintln(cmd.ErrOrStderr(), text)
		}
		if o.State == "given" && o.Machines == 1 {
			return s.followOne(ctx, cmd.OutOrStdout(), o.ID)
		}
		open := o.Progress["queued"] + o.Progress["sent"] + o.Progress["waiting"]
		if o.State != "waiting" && open == 0 {
			if o.Progress["done"] < o.Machines {
				return errNotDone
			}
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) followOne(ctx context.Context, out io.Writer, order string) error {
	var page struct{ Items []machineCommand }
	if err := s.call(ctx, http.MethodGet, "/commands/"+order+"/machines", nil, nil, &page); err != nil {
		return err
	}
	if len(page.Items) != 1 {
		return errNotDone // the machine was forgotten meanwhile
	}
	c, from := page.Items[0], 0
	for {
		var more struct {
			State, Output string
			Next          int
			Ended         bool
			Truncated     bool `json:"output_truncated"`
		}
		path := "/agents/" + url.PathEscape(c.Agent) + "/commands/" + url.PathEscape(c.ID) + "/output"
		if err := s.call(ctx, http.MethodGet, path, url.Values{"from": {strconv.Itoa(from)}, "wait": {"20s"}}, nil, &more); err != nil {
			return err
		}
		fmt.Fprint(out, more.Output)
		from = more.Next
		if !more.Ended {
			continue
		}
		if more.Truncated {
			fmt.Fprintln(out, "\n(it printed more than is kept)")
		}
		if more.State != "done" {
			return fmt.Errorf("%s: %s", c.ID, more.State)
		}
		return nil
	}
}

func agentOrdersCmd(s *server) *cobra.Command {
	var state string
	cmd := &cobra.Command{Use: "orders", Short: "What was ordered, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page struct{ Items []machineOrder }
			q := url.Values{}
			if state != "" {
				q.Set("state", state)
			}
			if err := s.call(cmd.Context(), http.MethodGet, "/commands", q, nil, &page); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, o := range page.Items {
					rows = append(rows, []columns.Cell{columns.S(columns.Dim, o.ID), columns.C(o.Type), columns.C(o.Target), columns.C(stateWords(o)), columns.S(columns.Dim, o.CreatedBy)})
				}
				p.Table(rows)
			})
		}}
	cmd.Flags().StringVar(&state, "state", "", "waiting, given, denied, cancelled or expired")
	return cmd
}

func agentShowCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "show ORDER", Short: "What became of an order on each machine", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var page struct{ Items []machineCommand }
			if err := s.call(cmd.Context(), http.MethodGet, "/commands/"+url.PathEscape(args[0])+"/machines", url.Values{"limit": {"500"}}, nil, &page); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, c := range page.Items {
					first, _, _ := strings.Cut(c.Output, "\n")
					rows = append(rows, []columns.Cell{columns.C(c.Agent), columns.S(stateStyle(c.State), c.State), columns.S(columns.Dim, first)})
				}
				p.Table(rows)
			})
		}}
}

func agentCancelCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "cancel ORDER", Short: "End what has not begun, and stop the rest", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var o machineOrder
			if err := s.call(cmd.Context(), http.MethodPost, "/commands/"+url.PathEscape(args[0])+"/cancel", nil, nil, &o); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printOrder(p, o) })
		}}
}
