// Package usercmd is `picket user`: it asks a running server, through the socket in its data folder, to let somebody in
// again.
package usercmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core/kernel/adminsock"
)

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Let people in again at a running server"}
	var dir, name string
	reset := &cobra.Command{
		Use:   "reset --data DIR [--name admin]",
		Short: "Take a user's password and sessions away, and print a one-time link that lets them in again",
		Long: "Asks the picketd that runs on the data folder, through its admin.sock, which only the user that picketd\n" +
			"runs as and root may use. With the server stopped, use `picketd user reset`.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			link, err := adminsock.ResetUser(cmd.Context(), dir, adminsock.ResetRequest{Name: name})
			if errors.Is(err, adminsock.ErrNotRunning) {
				return fmt.Errorf("%w; start it, or use `picketd user reset --data %s` while it is stopped", err, dir)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n(the link works once, within 24 hours)\n", link)
			return err
		},
	}
	reset.Flags().StringVar(&dir, "data", "/var/lib/picket", "the server's data folder")
	reset.Flags().StringVar(&name, "name", "", "whose; default admin, or the only user there is")
	cmd.AddCommand(reset)
	return cmd
}
