package fleetcmd

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

func disableCmd(s *server) *cobra.Command {
	var node string
	cmd := &cobra.Command{Use: "disable PLUGIN", Short: "Stop a plugin, everywhere or where --node says; it stays installed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := pluginPath("/plugins", args[0], "/disable")
			if err != nil {
				return err
			}
			var left struct{ Instances []running }
			if err := s.call(cmd.Context(), http.MethodPost, path, nil, map[string]string{"node": node}, &left); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				if len(left.Instances) == 0 {
					p.Line(columns.C(args[0] + " runs nowhere any more"))
				}
				for _, r := range left.Instances {
					p.Line(columns.C(r.where() + " goes on with " + args[0] + " " + r.Version))
				}
			})
		}}
	cmd.Flags().StringVar(&node, "node", "", "server, the id of an agent, group:NAME, or agents for all, as it was installed (default everywhere)")
	return cmd
}

func uninstallCmd(s *server) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "uninstall PLUGIN", Short: "Stop a plugin everywhere and take it off the server", Args: cobra.ExactArgs(1),
		Long: "Stops a plugin everywhere and takes it off the server, unless something else that is installed needs it. Its settings and\n" +
			"grants are gone then.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := pluginPath("/plugins", args[0], "/uninstall")
			if err != nil {
				return err
			}
			if !yes {
				return usage.Errorf("this stops %s on every node and forgets its settings and grants: give --yes to carry it out", args[0])
			}
			var out struct{ Stopped, Left []string }
			if err := s.call(cmd.Context(), http.MethodPost, path, nil, nil, &out); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				p.Line(columns.C("uninstalled " + args[0]))
				if len(out.Left) > 0 {
					p.Line(columns.S(columns.Dim, "nothing needs "+strings.Join(out.Left, ", ")+" any more"))
				}
			})
		}}
	cmd.Flags().BoolVar(&yes, "yes", false, "carry it out")
	return cmd
}
