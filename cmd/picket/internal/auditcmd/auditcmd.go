// Package auditcmd is `picket audit`: it asks a running server, through the socket in its data folder, whether its audit log
// is whole.
package auditcmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core/kernel/adminsock"
)

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Check the audit log of a running server"}
	var dir, since string
	verify := &cobra.Command{
		Use:   "verify --data DIR [--since END]",
		Short: "Say whether every line of the audit log is as it was written, and none is missing",
		Long: "Asks the picketd that runs on the data folder, through its admin.sock, which only the user that picketd\n" +
			"runs as and root may use. With the server stopped, use `picketd audit verify`. It fails when a line was\n" +
			"changed or removed, and says which.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := adminsock.VerifyAudit(cmd.Context(), dir, adminsock.AuditRequest{Since: since})
			if errors.Is(err, adminsock.ErrNotRunning) {
				return fmt.Errorf("%w; start it, or use `picketd audit verify --data %s` while it is stopped", err, dir)
			}
			if err != nil {
				return err
			}
			if report.Broken > 0 {
				return errors.New(report.String())
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), report)
			return err
		},
	}
	verify.Flags().StringVar(&dir, "data", "/var/lib/picket", "the server's data folder")
	verify.Flags().StringVar(&since, "since", "", "an end that an earlier run printed: the log must still hold it")
	cmd.AddCommand(verify)
	return cmd
}
