package fleetcmd

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// quotaNames are what can be bounded, in the order in which it is printed.
var quotaNames = []string{"users", "agents", "tokens", "series", "capture_bytes", "flows"}

type tenant struct {
	ID, Name, State string
	Quotas, Use     map[string]int64
	Refused         map[string]uint64
}

// Tenant is `picket tenant`: who shares the server.
func Tenant() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{Use: "tenant", Short: "Who shares a running server: create, bound, suspend and remove tenants",
		Long: "Asks a running picketd over its API. A token of an administrator of the operator is needed; `picket token create` makes one.\n" +
			"A tenant is named by its name or its id."}
	s.flags(cmd)
	cmd.AddCommand(tenantListCmd(s), tenantShowCmd(s), tenantCreateCmd(s), tenantQuotaCmd(s), tenantInviteCmd(s),
		tenantMoveCmd(s, "suspend", "Let nobody of a tenant in; what it has stays"), tenantMoveCmd(s, "resume", "Let a suspended tenant in again"), tenantDeleteCmd(s))
	return cmd
}

func (s *server) tenants(ctx context.Context) (list []tenant, err error) {
	var page struct{ Items []tenant }
	err = s.call(ctx, http.MethodGet, "/tenants", nil, nil, &page)
	return page.Items, err
}

// tenantPath finds a tenant by its name or id.
func (s *server) tenantPath(ctx context.Context, word string) (string, error) {
	list, err := s.tenants(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, t := range list {
		if t.Name == word || t.ID == word {
			return "/tenants/" + url.PathEscape(t.ID), nil
		}
		names = append(names, t.Name)
	}
	return "", fmt.Errorf("there is no tenant %s; there are %s", word, strings.Join(names, ", "))
}

func tenantListCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Tenants, and what they have of what they may", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := s.tenants(cmd.Context())
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, t := range list {
					row := []columns.Cell{columns.C(t.Name), columns.S(tenantStyle(t.State), t.State)}
					for _, q := range quotaNames {
						row = append(row, columns.C(q+" "+useOf(t, q)))
					}
					rows = append(rows, append(row, columns.S(columns.Dim, t.ID)))
				}
				p.Table(rows)
			})
		}}
}

func tenantStyle(state string) columns.Style {
	if state == "active" {
		return columns.Good
	}
	return columns.Bad
}

// useOf is how much there is of what may be; without a bound, how much there is.
func useOf(t tenant, quota string) string {
	if most := t.Quotas[quota]; most > 0 {
		return fmt.Sprintf("%d/%d", t.Use[quota], most)
	}
	return strconv.FormatInt(t.Use[quota], 10)
}

func tenantShowCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "show TENANT", Short: "One of them: use, quotas, and what the quotas kept out since the server was started", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := s.tenantPath(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.tenantAnswer(cmd, http.MethodGet, path, nil)
		}}
}

// tenantAnswer sends a request that is answered with a tenant, and prints that.
func (s *server) tenantAnswer(cmd *cobra.Command, method, path string, in any) error {
	var t tenant
	if err := s.call(cmd.Context(), method, path, nil, in, &t); err != nil {
		return err
	}
	return s.show(cmd, func(p *columns.Printer) {
		rows := [][]columns.Cell{{columns.C("name"), columns.C(t.Name)}, {columns.C("id"), columns.C(t.ID)}, {columns.C("state"), columns.S(tenantStyle(t.State), t.State)}}
		for _, q := range quotaNames {
			row := []columns.Cell{columns.C(q), columns.C(useOf(t, q))}
			if n := t.Refused[q]; n > 0 {
				row = append(row, columns.S(columns.Bad, fmt.Sprintf("refused %d times", n)))
			}
			rows = append(rows, row)
		}
		p.Table(rows)
	})
}

func tenantCreateCmd(s *server) *cobra.Command {
	var administrator string
	var quotas []string
	cmd := &cobra.Command{Use: "create NAME", Short: "Let somebody else share the server", Args: cobra.ExactArgs(1),
		Example: "  picket tenant create acme --quota agents=50 --quota series=20000 --administrator ada --token-file T",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"name": args[0]}
			if len(quotas) > 0 {
				all, err := withQuotas(map[string]int64{}, quotas)
				if err != nil {
					return err
				}
				in["quotas"] = all
			}
			if err := s.tenantAnswer(cmd, http.MethodPost, "/tenants", in); err != nil || administrator == "" {
				return err
			}
			return s.invite(cmd, args[0], administrator)
		}}
	cmd.Flags().StringArrayVar(&quotas, "quota", nil, "a bound, as NAME=NUMBER; names: "+strings.Join(quotaNames, ", "))
	cmd.Flags().StringVar(&administrator, "administrator", "", "invite this first administrator, and print the link")
	return cmd
}

// withQuotas changes those that are named; the others stay, and those that are missing are no bound.
func withQuotas(have map[string]int64, words []string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, q := range quotaNames {
		out[q] = have[q]
	}
	for _, word := range words {
		name, text, ok := strings.Cut(word, "=")
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || n < 0 || !slices.Contains(quotaNames, name) {
			return nil, usage.Errorf("%q is no quota: NAME=NUMBER, where 0 is no bound and NAME one of %s", word, strings.Join(quotaNames, ", "))
		}
		out[name] = n
	}
	return out, nil
}

func tenantQuotaCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "quota TENANT NAME=NUMBER...", Short: "Bound what a tenant may have; what it has already stays, 0 is no bound", Args: cobra.MinimumNArgs(2),
		Example: "  picket tenant quota acme agents=50 flows=0 --token-file T",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := s.tenantPath(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var t tenant
			if err := s.call(cmd.Context(), http.MethodGet, path, nil, nil, &t); err != nil {
				return err
			}
			all, err := withQuotas(t.Quotas, args[1:])
			if err != nil {
				return err
			}
			return s.tenantAnswer(cmd, http.MethodPut, path+"/quotas", all)
		}}
}

func tenantInviteCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "invite TENANT NAME", Short: "Print a link that lets an administrator of a tenant in, once", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return s.invite(cmd, args[0], args[1]) }}
}

func (s *server) invite(cmd *cobra.Command, name, administrator string) error {
	path, err := s.tenantPath(cmd.Context(), name)
	if err != nil {
		return err
	}
	var made struct {
		Link    string
		Expires time.Time
	}
	if err := s.call(cmd.Context(), http.MethodPost, path+"/administrators", nil, map[string]string{"username": administrator}, &made); err != nil {
		return err
	}
	return s.show(cmd, func(p *columns.Printer) {
		p.Line(columns.C(made.Link), columns.S(columns.Dim, "until "+made.Expires.Local().Format(time.DateTime)))
	})
}

func tenantMoveCmd(s *server, move, short string) *cobra.Command {
	return &cobra.Command{Use: move + " TENANT", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := s.tenantPath(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.tenantAnswer(cmd, http.MethodPost, path+"/"+move, nil)
		}}
}

func tenantDeleteCmd(s *server) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "delete TENANT", Short: "Remove a suspended tenant with its people, machines, alerts, devices, captures and flows", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := s.tenantPath(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !yes {
				var t tenant
				if err := s.call(cmd.Context(), http.MethodGet, path, nil, nil, &t); err != nil {
					return err
				}
				return usage.Errorf("with %s go %s, %s, %s, its alerts, devices and captures, for good: give --yes", t.Name,
					columns.Count(int(t.Use["users"]), "user"), columns.Count(int(t.Use["agents"]), "machine"), columns.Count(int(t.Use["flows"]), "flow"))
			}
			if err := s.call(cmd.Context(), http.MethodDelete, path, nil, nil, nil); err != nil {
				return err
			}
			if err := s.keep(map[string]string{"removed": args[0]}); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { p.Line(columns.C("removed " + args[0])) })
		}}
	cmd.Flags().BoolVar(&yes, "yes", false, "remove it without asking")
	return cmd
}
