package plugincmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// explanation is everything that decides whether a plugin runs here.
type explanation struct {
	ID         string              `json:"id"`
	Version    string              `json:"version"`
	Title      string              `json:"title"`
	Kind       sdk.Kind            `json:"kind"`
	License    string              `json:"license"`
	Installed  bool                `json:"installed"`
	Descriptor string              `json:"descriptor_sha256"`
	Artifacts  []registry.Artifact `json:"artifacts"`
	Role       string              `json:"role"`
	KeyIDs     []string            `json:"key_ids"`
	Root       string              `json:"root_sha256"`
	RootNow    int64               `json:"root_version"`
	Trust      string              `json:"trust"`
	Refreshed  time.Time           `json:"refreshed,omitzero"`
	FreshUntil time.Time           `json:"fresh_until,omitzero"`
	Reads      []modelRead         `json:"models,omitempty"` // what it requires, as it is installed
	Asks       []asked             `json:"permissions"`
	Ceiling    string              `json:"ceiling"`
	Grants     string              `json:"grants_sha256,omitempty"`
	Verdict    string              `json:"verdict"` // "" when it may start
	Unsigned   bool                `json:"unsigned,omitempty"`
	Running    []running           `json:"running,omitempty"` // what the server says of its instances
}

// asked is one permission of the manifest and what the node's ceiling says to it.
type asked struct {
	sdk.Permission
	Refused string `json:"refused_by_ceiling,omitempty"`
}

func explainCmd() *cobra.Command {
	var n node
	var asJSON bool
	var live liveServer
	cmd := &cobra.Command{
		Use:   "explain PLUGIN",
		Short: "Show why a plugin may run here, from its bytes to its confinement",
		Long: `Show the whole chain on which a plugin rests: its bytes, the descriptor that names them, who signed it, the models
and data packs that it reads, the root of trust, who granted what and when, and what the node's ceiling says. When a server runs on the data folder, or with
--server, also how each instance runs: how far it is confined, its limits, and what it used of its permissions.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := explainAll(cmd, &n, &live, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), e)
			}
			p := columns.New(cmd.OutOrStdout())
			if !e.Unsigned && e.Version != "" {
				printExplanation(p, e)
			}
			for _, r := range e.Running {
				r.print(p)
			}
			return nil
		},
	}
	n.flags(cmd)
	live.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explain takes what is installed here, and what the registry offers if it is not.
func explain(cmd *cobra.Command, n *node, c *client.Multi, arg string) (*explanation, error) {
	id, versionRange := splitVersion(arg)
	e := &explanation{ID: id}
	var d *registry.Descriptor
	if in, ok := c.Installed(id); ok && versionRange == "" {
		d, e.Installed, e.Grants = in.Descriptor, true, in.Grants
		e.Descriptor, e.Role, e.KeyIDs = in.Locked.Descriptor, in.Role, in.KeyIDs
		for _, r := range in.Runtimes {
			a, err := c.OpenVerified(cmd.Context(), id, r)
			if err != nil {
				e.Verdict = err.Error()
				continue
			}
			a.Close()
		}
		if err := e.readModels(cmd, c, d); err != nil {
			e.Verdict = err.Error()
		}
	} else {
		v, err := c.Resolve(cmd.Context(), id, versionRange)
		if err != nil {
			return nil, err
		}
		d, e.Descriptor, e.Role, e.KeyIDs = v.Descriptor, v.Digest, v.Role, v.KeyIDs
		e.Verdict = "it is not installed here"
	}
	m := d.Manifest
	e.Version, e.Title, e.Kind, e.License, e.Artifacts = m.Version, m.Title, m.Kind, m.License, d.Artifacts
	s := c.Status()
	e.Root, e.RootNow, e.Trust, e.Refreshed, e.FreshUntil = s.RootSHA256, s.RootVersion, trustWord(s), s.Refreshed, s.Expires
	return e, e.askCeiling(n, d)
}

// askCeiling compares permissions one by one. References to the configuration are judged when it is known, so here they
// count as allowed if the ceiling allows any value.
func (e *explanation) askCeiling(n *node, d *registry.Descriptor) error {
	ceiling, err := n.ceiling()
	if err != nil {
		return err
	}
	e.Ceiling = ceiling.Source()
	for _, p := range d.Manifest.Permissions {
		a := asked{Permission: p}
		if err := ceiling.Check(d, d.Manifest.Kind, []sdk.Permission{p}); err != nil {
			a.Refused = err.Error()
		}
		e.Asks = append(e.Asks, a)
	}
	return nil
}

func printExplanation(p *columns.Printer, e *explanation) {
	label := func(name, text string) []columns.Cell {
		return []columns.Cell{columns.S(columns.Dim, name), columns.C(text)}
	}
	p.Line(columns.S(columns.Bold, e.ID+" "+e.Version), columns.C("  "+e.Title), columns.S(columns.Dim, "  "+string(e.Kind)+", "+e.License))
	rows := [][]columns.Cell{}
	for _, a := range e.Artifacts {
		rows = append(rows, label("bytes", fmt.Sprintf("%s  %s %s/%s, %s", a.SHA256, a.Runtime, a.OS, a.Arch, columns.Bytes(a.Size))))
	}
	rows = append(rows,
		label("named by", e.Descriptor+"  release.json"),
		label("signed by", e.Role+", key "+shorten(e.KeyIDs)),
		label("root", fmt.Sprintf("%s  pinned, now version %d, %s", e.Root, e.RootNow, e.Trust)),
	)
	if !e.Refreshed.IsZero() {
		rows = append(rows, label("fresh", fmt.Sprintf("checked %s, good until %s", stamp(e.Refreshed), stamp(e.FreshUntil))))
	}
	for _, m := range e.Reads {
		rows = append(rows, label("reads", modelText(m)))
	}
	for _, a := range e.Asks {
		verdict := columns.S(columns.Good, "within the ceiling")
		if a.Refused != "" {
			verdict = columns.S(columns.Bad, "beyond the ceiling")
		}
		rows = append(rows, []columns.Cell{columns.S(columns.Dim, "may"), columns.C(a.String() + ": " + a.Reason), verdict})
	}
	if e.Grants != "" {
		rows = append(rows, label("grants", e.Grants+"  pinned in plugins.lock"))
	}
	rows = append(rows, label("ceiling", e.Ceiling))
	p.Table(rows)
	if e.Verdict == "" {
		p.Line(columns.S(columns.Good, "It may start: the bytes were hashed just now."))
		return
	}
	if e.elsewhere() {
		p.Line(columns.S(columns.Dim, "It is not installed in this data folder: what runs belongs to an agent, whose own data folder (--data) holds its chain."))
		return
	}
	p.Line(columns.S(columns.Warn, "It may not start: "+e.Verdict))
}

// elsewhere reports whether the plugin runs, but not on the node that was asked about.
func (e *explanation) elsewhere() bool {
	return !e.Installed && len(e.Running) > 0 && !slices.ContainsFunc(e.Running, func(r running) bool { return r.Node.Type == "server" })
}

func shorten(ids []string) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = id[:min(12, len(id))]
	}
	return strings.Join(short, ", ")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
