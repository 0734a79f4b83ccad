package plugincmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry/client"
)

// verdict is what verification said about one artifact.
type verdict struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Runtime string `json:"runtime"`
	SHA256  string `json:"sha256,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func verifyCmd() *cobra.Command {
	var n node
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [PLUGIN...]",
		Short: "Hash what is installed here again, as every start does",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := n.open()
			if err != nil {
				return err
			}
			defer c.Close()
			verdicts, err := verifyInstalled(cmd, c, ids)
			if err != nil {
				return err
			}
			if asJSON {
				err = columns.JSON(cmd.OutOrStdout(), verdicts)
			} else {
				printVerdicts(columns.New(cmd.OutOrStdout()), verdicts)
			}
			for _, v := range verdicts {
				if err == nil && v.Problem != "" {
					err = errors.New("not everything that is installed may start")
				}
			}
			return err
		},
	}
	n.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func verifyInstalled(cmd *cobra.Command, c *client.Client, ids []string) ([]verdict, error) {
	locked, err := c.Lock()
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		for _, p := range locked.Plugins {
			ids = append(ids, p.ID)
		}
	}
	verdicts := []verdict{}
	for _, id := range ids {
		runtimes := []string{"process"}
		if in, ok := c.Installed(id); ok {
			runtimes = in.Runtimes
		}
		for _, r := range runtimes {
			v := verdict{ID: id, Runtime: r}
			if p, ok := locked.Find(id); ok {
				v.Version = p.Version
			}
			a, err := c.OpenVerified(cmd.Context(), id, r)
			if err != nil {
				v.Problem = err.Error()
			} else {
				v.SHA256 = a.Digest
				a.Close()
			}
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}

func printVerdicts(p *columns.Printer, verdicts []verdict) {
	rows := [][]columns.Cell{header("PLUGIN", "VERSION", "RUNTIME", "STATE", "SHA-256")}
	bad := 0
	for _, v := range verdicts {
		state, detail := columns.S(columns.Good, "ok"), v.SHA256
		if v.Problem != "" {
			bad++
			state, detail = columns.S(columns.Bad, "refused"), v.Problem
		}
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, v.ID), columns.C(v.Version), columns.C(v.Runtime), state, columns.C(detail)})
	}
	p.Table(rows)
	p.Line(columns.S(columns.Dim, fmt.Sprintf("%d artifacts, %d refused", len(verdicts), bad)))
}
