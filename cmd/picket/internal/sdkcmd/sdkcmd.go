// Package sdkcmd is `picket sdk`: the SDK that this program carries, for tools other than `picket plugin`.
package sdkcmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/sdkbundle"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// New returns the command with its sub-commands.
func New() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sdk",
		Short: "Show and unpack the SDK that picket carries",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pathCmd(), extractCmd(), envCmd())
	return cmd
}

func pathCmd() *cobra.Command {
	var lang string
	cmd := &cobra.Command{
		Use:   "path",
		Short: "Print where the SDK lies, unpacking it into the user's cache the first time",
		Example: "  pip install \"$(picket sdk path --lang python)\"\n" +
			"  cargo add --path \"$(picket sdk path --lang rust)\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := sdkbundle.Open()
			if err != nil {
				return err
			}
			dir, err := b.Path()
			if err != nil {
				return err
			}
			switch lang {
			case "", "go":
			case "python":
				dir, err = sdkbundle.Wheel(dir)
			case "rust":
				dir, err = sdkbundle.Crate(dir)
			default:
				err = usage.Errorf("--lang %q: want go, python or rust", lang)
			}
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), dir)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "", "python for the wheel, rust for the crate's folder")
	return cmd
}

func extractCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "extract DIR",
		Short: "Unpack the SDK into an empty folder",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := sdkbundle.Open()
			if err != nil {
				return err
			}
			return b.Extract(args[0])
		},
	}
}

func envCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "env",
		Short:   "Print the settings with which plain go commands find the SDK",
		Example: "  eval \"$(picket sdk env)\" && go test ./...",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := sdkbundle.Open()
			if err != nil {
				return err
			}
			env, err := b.GoEnv(os.Environ())
			for _, v := range env {
				fmt.Fprintf(cmd.OutOrStdout(), "export %s\n", v)
			}
			return err
		},
	}
}
