package plugincmd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// verdict is what verification said about one artifact.
type verdict struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Runtime string `json:"runtime"`
	SHA256  string `json:"sha256,omitempty"`
	Author  string `json:"author,omitempty"` // with --author-root-sha256: the role that signed it first, and who vouched for that
	Problem string `json:"problem,omitempty"`
}

func verifyCmd() *cobra.Command {
	var n node
	var asJSON bool
	var authorRoot string
	cmd := &cobra.Command{
		Use:   "verify [PLUGIN...]",
		Short: "Hash what is installed here again, as every start does",
		Long: `Hash what is installed here again, as every start does.

On a site whose registry takes releases from bundles, --author-root-sha256 names the root of the registry that they come
from first. Then the signatures are checked too from that root down to the author's, which the site keeps as evidence.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := n.open()
			if err != nil {
				return err
			}
			defer c.Close()
			verdicts, err := verifyInstalled(cmd, c, ids, authorRoot)
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
	cmd.Flags().StringVar(&authorRoot, "author-root-sha256", "", "the root of the registry that the releases come from first")
	return cmd
}

func verifyInstalled(cmd *cobra.Command, c *client.Multi, ids []string, authorRoot string) ([]verdict, error) {
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
			p, _ := locked.Find(id)
			v.Version = p.Version
			a, err := c.OpenVerified(cmd.Context(), id, r)
			if err == nil {
				v.SHA256 = a.Digest
				a.Close()
				if authorRoot != "" {
					v.Author, err = author(cmd, c, authorRoot, p)
				}
			}
			if err != nil {
				v.Problem = err.Error()
			}
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}

// author says who signed a release in the registry that it comes from first.
func author(cmd *cobra.Command, c *client.Multi, root string, p registry.Locked) (string, error) {
	a, err := c.Author(cmd.Context(), root, p.ID, p.Version, p.Descriptor)
	if err != nil {
		return "", err
	}
	if a.Via == registry.ViaOfficial {
		return a.Role, nil
	}
	return a.Role + ", " + a.Via, nil
}

func printVerdicts(p *columns.Printer, verdicts []verdict) {
	rows := [][]columns.Cell{header("PLUGIN", "VERSION", "RUNTIME", "STATE", "SHA-256", "AUTHOR")}
	bad := 0
	for _, v := range verdicts {
		state, detail := columns.S(columns.Good, "ok"), v.SHA256
		if v.Problem != "" {
			bad++
			state, detail = columns.S(columns.Bad, "refused"), v.Problem
		}
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, v.ID), columns.C(v.Version), columns.C(v.Runtime), state, columns.C(detail), columns.C(v.Author)})
	}
	if !slices.ContainsFunc(verdicts, func(v verdict) bool { return v.Author != "" }) {
		for i := range rows {
			rows[i] = rows[i][:5]
		}
	}
	p.Table(rows)
	p.Line(columns.S(columns.Dim, fmt.Sprintf("%d artifacts, %d refused", len(verdicts), bad)))
}
