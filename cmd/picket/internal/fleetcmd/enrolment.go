package fleetcmd

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

const enrolmentsPath = "/agents/tokens"

// mostTokens bounds how many tokens are listed.
const mostTokens = 2000

type enrolmentToken struct {
	ID, Name, State string
	Uses            int
	MaxUses         int `json:"max_uses"`
	Labels          map[string]string
	Group, By       string
	Expires         time.Time
}

// enrolmentCmd is `picket agent token`: what lets machines in.
func enrolmentCmd(s *server) *cobra.Command {
	cmd := usage.Group(&cobra.Command{Use: "token", Short: "Tokens that let machines in: make, list and revoke them"})
	cmd.AddCommand(enrolmentCreateCmd(s), enrolmentListCmd(s), enrolmentUsesCmd(s), enrolmentRevokeCmd(s))
	return cmd
}

func enrolmentCreateCmd(s *server) *cobra.Command {
	var name, expires, group string
	var uses int
	var labels []string
	cmd := &cobra.Command{Use: "create", Short: "Make a token and print it, which is done only once", Args: cobra.NoArgs,
		Example: "  picket agent token create --name rack-3 --uses 20 --expires 24h --group servers --label rack=3 > token\n" +
			"  picket-agent --server https://picket.example:8443 --data /var/lib/picket-agent --token-file token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := map[string]any{"name": name, "expires_in": expires, "group": group}
			if uses > 0 {
				in["max_uses"] = uses
			}
			with, err := labelsOf(labels)
			if err != nil {
				return err
			}
			if len(with) > 0 {
				in["labels"] = with
			}
			var made struct {
				ID, Token, Command string
				Expires            time.Time
			}
			if err := s.call(cmd.Context(), http.MethodPost, enrolmentsPath, nil, in, &made); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s lets in %s until %s; it is not shown again\n", made.ID, columns.Count(max(uses, 1), "machine"), made.Expires.Local().Format(time.DateTime))
			return s.show(cmd, func(p *columns.Printer) { p.Line(columns.C(made.Token)) })
		}}
	cmd.Flags().StringVar(&name, "name", "", "what the machine is called, or what the token is for when it lets in more than one")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many machines it lets in")
	cmd.Flags().StringVar(&expires, "expires", "1h", "how long it is good, at most a year (8760h)")
	cmd.Flags().StringVar(&group, "group", "", "the home of the machines (default all)")
	cmd.Flags().StringSliceVar(&labels, "label", nil, "a label that each of them gets, as KEY=VALUE")
	return cmd
}

func enrolmentListCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Tokens, newest first; their text is never shown again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			items, err := s.all(cmd.Context(), enrolmentsPath, mostTokens)
			if err != nil {
				return err
			}
			list, err := read[enrolmentToken](items)
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, t := range list {
					var labels []string
					for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
						labels = append(labels, k+"="+t.Labels[k])
					}
					rows = append(rows, []columns.Cell{columns.S(columns.Dim, t.ID), columns.S(tokenStyle(t.State), t.State), columns.C(fmt.Sprintf("%d of %d", t.Uses, t.MaxUses)),
						columns.C(t.Expires.Local().Format(time.DateTime)), columns.C(t.Group), columns.C(t.Name), columns.S(columns.Dim, strings.Join(labels, " "))})
				}
				p.Table(rows)
			})
		}}
}

func tokenStyle(state string) columns.Style {
	switch state {
	case "open":
		return columns.Good
	case "revoked":
		return columns.Bad
	}
	return columns.Dim
}

func enrolmentUsesCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "uses TOKEN-ID", Short: "The machines that a token let in, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var page struct {
				Items []struct {
					ID, Name, Address string
					Time              time.Time
				}
			}
			if err := s.call(cmd.Context(), http.MethodGet, enrolmentsPath+"/"+url.PathEscape(args[0])+"/uses", nil, nil, &page); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, m := range page.Items {
					rows = append(rows, []columns.Cell{columns.C(m.Name), columns.C(m.Address), columns.C(m.Time.Local().Format(time.DateTime)), columns.S(columns.Dim, m.ID)})
				}
				p.Table(rows)
			})
		}}
}

func enrolmentRevokeCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "revoke TOKEN-ID", Short: "Keep a token from letting anybody else in; who is in stays", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.call(cmd.Context(), http.MethodDelete, enrolmentsPath+"/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			if err := s.keep(map[string]string{"revoked": args[0]}); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { p.Line(columns.C("revoked " + args[0])) })
		}}
}
