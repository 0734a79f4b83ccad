package registrycmd

import (
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/server"
)

func nodeCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Say whose receipts and reviews a registry counts"}
	cmd.AddCommand(nodeAddCmd(), nodeListCmd(), nodeRemoveCmd())
	return usage.Group(cmd)
}

func nodeAddCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "add --dir DIR NAME KEY",
		Short: "Count a node; KEY is its public key, in hexadecimal or as a .pub file",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := nodeKey(args[1])
			if err != nil {
				return err
			}
			nodes, err := server.ReadNodes(dir)
			if err != nil {
				return err
			}
			node := server.Node{Name: args[0], Key: key, Added: time.Now().UTC().Truncate(time.Second)}
			if err := server.WriteNodes(dir, append(nodes, node)); err != nil {
				return err
			}
			return finish(cmd, folders{}, nil, "the receipts of %s count", args[0])
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}

// nodeKey reads a public key from an argument or from the file that it names.
func nodeKey(arg string) (string, error) {
	if _, err := registry.ParsePublicKey(arg); err == nil {
		return arg, nil
	}
	if _, err := os.Stat(arg); err != nil {
		return "", usage.Errorf("%q is neither a public key of 64 hexadecimal digits nor a file", arg)
	}
	key, err := publish.LoadPublicKey(arg)
	return hex.EncodeToString(key), err
}

func nodeListCmd() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list --dir DIR",
		Short: "List the nodes that count",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			nodes, err := server.ReadNodes(dir)
			if err != nil {
				return err
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), nodes)
			}
			var rows [][]columns.Cell
			for _, n := range nodes {
				rows = append(rows, []columns.Cell{columns.C(n.Name), columns.S(columns.Dim, n.Key), columns.C(n.Added.Format(time.DateOnly))})
			}
			columns.New(cmd.OutOrStdout()).Table(rows)
			return nil
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func nodeRemoveCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "remove --dir DIR NAME",
		Short: "Take no more receipts and reviews of a node; those it gave stay",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := server.ReadNodes(dir)
			if err != nil {
				return err
			}
			left := slices.DeleteFunc(slices.Clone(nodes), func(n server.Node) bool { return n.Name == args[0] })
			if len(left) == len(nodes) {
				return fmt.Errorf("no node %q here; `picket registry node list` names them", args[0])
			}
			if err := server.WriteNodes(dir, left); err != nil {
				return err
			}
			return finish(cmd, folders{}, nil, "%s no longer counts", args[0])
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}

func reportsCmd() *cobra.Command {
	var dir string
	var asJSON, read bool
	cmd := &cobra.Command{
		Use:   "reports --dir DIR",
		Short: "Show what people complained about",
		Long: `Show what people complained about. A registry keeps 200 reports about one plugin and 10,000 in all, and then takes no
more until somebody has read them: stop the server and say so with --read, which shows and forgets them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reports, err := server.ReadReports(dir)
			if err != nil {
				return err
			}
			if read {
				if err := server.ClearReports(dir); err != nil {
					return err
				}
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), reports)
			}
			p := columns.New(cmd.OutOrStdout())
			for _, r := range reports {
				p.Line(columns.S(columns.Dim, r.Time.Format(time.RFC3339)), columns.C("  "+r.ID+" "+r.Version+"  "), columns.S(columns.Warn, r.Reason),
					columns.S(columns.Dim, "  "+r.Contact))
				p.Line(columns.C("  " + strings.ReplaceAll(r.Text, "\n", "\n  ")))
			}
			p.Line(columns.S(columns.Dim, columns.Count(len(reports), "report")))
			return nil
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&read, "read", false, "forget them afterwards")
	return cmd
}

func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "the registry's folder")
	require(cmd, "dir")
}
