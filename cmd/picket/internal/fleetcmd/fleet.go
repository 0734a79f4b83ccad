package fleetcmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// New returns the command.
func New() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "What runs on which node of a running server, and what changes there",
		Long: "Asks a running picketd over its API. An administrator's token may change things; `picket token create` makes one.\n" +
			"`picket plugin` works on one node alone, without a server.",
	}
	s.flags(cmd)
	cmd.AddCommand(listCmd(s), lockCmd(s), updatesCmd(s), overrideCmd(s), searchCmd(s), installCmd(s), updateCmd(s), rollbackCmd(s), rolloutCmd(s),
		disableCmd(s), uninstallCmd(s))
	return cmd
}

func listCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Which version of what runs where", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var f fleet
			if err := s.call(cmd.Context(), http.MethodGet, "/fleet", nil, nil, &f); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) { printFleet(p, f) })
		}}
}

func printFleet(p *columns.Printer, f fleet) {
	var rows [][]columns.Cell
	for _, plugin := range f.Plugins {
		for _, v := range plugin.Versions {
			for _, n := range v.Nodes {
				rows = append(rows, []columns.Cell{columns.C(plugin.ID), columns.C(v.Version), columns.C(n.Name), columns.S(stateStyle(n.State), n.State),
					columns.S(columns.Dim, n.Reason)})
			}
		}
	}
	p.Table(rows)
	if len(rows) == 0 {
		p.Line(columns.S(columns.Dim, "no plugin runs anywhere"))
	}
}

func stateStyle(state string) columns.Style {
	switch state {
	case "ready", "updated", "done", "rolled back":
		return columns.Good
	case "refused", "revoked", "quarantined", "failed", "halted":
		return columns.Bad
	}
	return columns.Warn
}

func lockCmd(s *server) *cobra.Command {
	return &cobra.Command{Use: "lock", Short: "Print plugins.lock of the whole fleet, with the artifacts of all platforms", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lock json.RawMessage
			if err := s.call(cmd.Context(), http.MethodGet, "/fleet/lock", nil, nil, &lock); err != nil {
				return err
			}
			return columns.JSON(cmd.OutOrStdout(), lock)
		}}
}

func updatesCmd(s *server) *cobra.Command {
	var auto, group string
	var cooldown int
	cmd := &cobra.Command{Use: "updates PLUGIN", Short: "Show or set how a plugin is kept up to date", Args: cobra.ExactArgs(1),
		Example: "  picket fleet updates acme/host --auto patch --cooldown-days 7 --token-file token",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := pluginPath("/plugins", args[0], "/updates")
			if err != nil {
				return err
			}
			var got updatePolicy
			if !cmd.Flags().Changed("auto") {
				err = s.call(cmd.Context(), http.MethodGet, path, nil, nil, &got)
			} else {
				err = s.call(cmd.Context(), http.MethodPut, path, nil, map[string]any{"auto": auto, "cooldown_days": cooldown, "group": group}, &got)
			}
			if err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				p.Line(columns.C(fmt.Sprintf("%s, releases at least %d days old, group %s", got.Auto, got.CooldownDays, got.Group)))
				if got.Waiting != "" {
					p.Line(columns.S(columns.Warn, got.Waiting))
				}
			})
		}}
	cmd.Flags().StringVar(&auto, "auto", "", "off, patch or minor")
	cmd.Flags().StringVar(&group, "group", "", "the agents that follow (default all)")
	cmd.Flags().IntVar(&cooldown, "cooldown-days", 7, "how old a release must be")
	return cmd
}

func overrideCmd(s *server) *cobra.Command {
	var reason, node string
	var end bool
	cmd := &cobra.Command{Use: "override PLUGIN@VERSION --reason TEXT", Short: "Let a revoked version run on, where the node's own policy allows it",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, version := splitVersion(args[0])
			path, err := pluginPath("/plugins", id, "/override-revocation")
			if err != nil {
				return err
			}
			if end {
				return s.call(cmd.Context(), http.MethodDelete, path, url.Values{"version": {version}}, nil, nil)
			}
			if version == "" || strings.TrimSpace(reason) == "" {
				return usage.Errorf("name the version, PLUGIN@VERSION, and give --reason: both are recorded")
			}
			return s.call(cmd.Context(), http.MethodPost, path, nil, map[string]string{"version": version, "reason": reason, "node": node}, nil)
		}}
	cmd.Flags().StringVar(&reason, "reason", "", "why it must run on; it is recorded and shown")
	cmd.Flags().StringVar(&node, "node", "", "server or the id of an agent (default every node)")
	cmd.Flags().BoolVar(&end, "end", false, "take the override back")
	return cmd
}
