package plugincmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry/client"
)

// offer is one line of `plugin list`.
type offer struct {
	ID        string   `json:"id"`
	Version   string   `json:"version"`
	Kind      string   `json:"kind"`
	Runtimes  []string `json:"runtimes"`
	Title     string   `json:"title"`
	Role      string   `json:"role"`
	Registry  string   `json:"registry,omitempty"`  // of the node's policy; empty for the first one
	Installed string   `json:"installed,omitempty"` // the version that this node pins
	Revoked   string   `json:"revoked,omitempty"`   // why
}

func listCmd() *cobra.Command {
	var n node
	var asJSON, all, installedOnly bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what the registry offers and what is installed here",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := n.open()
			if err != nil {
				return err
			}
			defer c.Close()
			var offers []offer
			if installedOnly {
				offers = fromLock(c)
			} else {
				releases, err := c.List(cmd.Context())
				if err != nil {
					return err
				}
				offers = fromRegistry(c, releases, all)
				for _, r := range releases {
					if r.Refused != nil {
						fmt.Fprintln(cmd.ErrOrStderr(), "left out:", r.Refused)
					}
				}
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), offers)
			}
			printOffers(columns.New(cmd.OutOrStdout()), offers, c.Statuses())
			return nil
		},
	}
	n.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every version, not only the newest")
	cmd.Flags().BoolVar(&installedOnly, "installed", false, "only what is installed; needs no registry")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func fromLock(c *client.Multi) []offer {
	offers := []offer{}
	for _, in := range c.AllInstalled() {
		m := in.Descriptor.Manifest
		offers = append(offers, offer{ID: in.ID, Version: in.Version, Kind: string(m.Kind), Runtimes: in.Runtimes, Title: m.Title, Role: in.Role, Registry: in.Registry, Installed: in.Version})
	}
	return offers
}

// fromRegistry keeps the newest version of each plugin that may run, and revoked ones only if there is no other.
func fromRegistry(c *client.Multi, releases []client.Release, all bool) []offer {
	offers := []offer{}
	for _, r := range releases {
		if r.Refused != nil {
			continue // told apart
		}
		m := r.Descriptor.Manifest
		o := offer{ID: r.ID, Version: r.Version, Kind: string(m.Kind), Runtimes: m.Runtimes, Title: m.Title, Role: r.Role, Registry: c.From(r.ID)}
		if in, ok := c.Installed(r.ID); ok {
			o.Installed = in.Version
		}
		if r.Revoked != nil {
			o.Revoked = r.Revoked.Reason
		}
		last := len(offers) - 1
		switch {
		case all || last < 0 || offers[last].ID != o.ID:
			offers = append(offers, o)
		case offers[last].Revoked != "" && o.Revoked == "":
			offers[last] = o
		}
	}
	return offers
}

func printOffers(p *columns.Printer, offers []offer, statuses []client.Status) {
	rows := [][]columns.Cell{header("PLUGIN", "VERSION", "KIND", "RUNTIMES", "HERE", "TITLE")}
	for _, o := range offers {
		here := columns.S(columns.Dim, "-")
		switch {
		case o.Revoked != "":
			here = columns.S(columns.Bad, "revoked")
		case o.Installed == o.Version:
			here = columns.S(columns.Good, "installed")
		case o.Installed != "":
			here = columns.S(columns.Warn, "has "+o.Installed)
		}
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, o.ID), columns.C(o.Version), columns.C(o.Kind),
			columns.C(strings.Join(o.Runtimes, ", ")), here, columns.C(o.Title)})
	}
	p.Table(rows)
	for _, s := range statuses {
		p.Line(columns.S(columns.Dim, strings.TrimPrefix(s.Name+": ", ": ")+s.Base+", "+trustWord(s)))
		switch {
		case s.Problem != "":
			p.Line(columns.S(columns.Bad, s.Problem))
		case s.Freshness.State != client.FreshnessFine:
			p.Line(columns.S(columns.Warn, fmt.Sprintf("what is known here is of %s: %s", s.Freshness.Known.Format(time.DateOnly), s.Freshness.State)))
		}
	}
}

func header(names ...string) []columns.Cell {
	cells := make([]columns.Cell, len(names))
	for i, name := range names {
		cells[i] = columns.S(columns.Dim, name)
	}
	return cells
}
