// Package tokencmd is `picket token`: it asks a running server for an API token through the socket in its data folder,
// and prints the token's secret.
package tokencmd

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/adminsock"
)

// roles are those of the server; it has the last word.
var roles = []string{"PUB", "IT", "SUP", "ADM", "AUTHOR", "RESEARCHER", "APPROVER"}

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make API tokens for a running server"}
	cmd.AddCommand(create())
	return cmd
}

func create() *cobra.Command {
	var dir, role, name string
	var scopes []string
	cmd := &cobra.Command{
		Use:   "create --data DIR --role ROLE",
		Short: "Make an API token and print its secret, which is shown only once",
		Long: "Asks the picketd that runs on the data folder, through its admin.sock, which only the user that picketd\n" +
			"runs as and root may use. With the server stopped, use `picketd token create`.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if role = strings.ToUpper(role); !slices.Contains(roles, role) {
				return usage.Errorf("--role must be one of %s", strings.Join(roles, ", "))
			}
			if name == "" {
				name = "made by " + whoami()
			}
			token, err := adminsock.CreateToken(cmd.Context(), dir, adminsock.TokenRequest{Role: role, Name: name, Scopes: scopes})
			if errors.Is(err, adminsock.ErrNotRunning) {
				return fmt.Errorf("%w; start it, or use `picketd token create --data %s --role %s` while it is stopped", err, dir, role)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "data", "/var/lib/picket", "the server's data folder")
	cmd.Flags().StringVar(&role, "role", "", "what the token may do: one of "+strings.Join(roles, ", "))
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "a permission of the role that it may, for example metrics:read; without any, all of them")
	cmd.Flags().StringVar(&name, "name", "", "what the token is for")
	return cmd
}

func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "the command line"
}
