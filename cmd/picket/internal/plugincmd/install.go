package plugincmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry/client"
)

func installCmd() *cobra.Command {
	var n node
	var runtimeName string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "install PLUGIN[@VERSION]...",
		Short: "Verify plugins, fetch them and pin them in plugins.lock",
		Long: `Verify plugins, fetch them and pin them in plugins.lock.

VERSION is a version or a range such as ^1.2; without it the newest that is no prerelease is taken.`,
		Example: "  picket plugin install --data /var/lib/picket picket/portscan@^0.1 --runtime wasm",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := n.open()
			if err != nil {
				return err
			}
			defer c.Close()
			var done []*client.Installed
			for _, arg := range args {
				id, versionRange := splitVersion(arg)
				in, err := c.Install(cmd.Context(), id, versionRange, runtimeName)
				if err != nil {
					return err
				}
				done = append(done, in)
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), done)
			}
			p := columns.New(cmd.OutOrStdout())
			for _, in := range done {
				p.Line(columns.S(columns.Good, "installed "), columns.C(fmt.Sprintf("%s %s", in.ID, in.Version)),
					columns.S(columns.Dim, fmt.Sprintf("  %s, vouched for by %s", strings.Join(in.Runtimes, " and "), in.Role)))
			}
			return nil
		},
	}
	n.flags(cmd)
	cmd.Flags().StringVar(&runtimeName, "runtime", "process", "process or wasm")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
