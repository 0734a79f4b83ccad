package plugincmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry/client"
)

func installCmd() *cobra.Command {
	var n node
	var runtimeName string
	var asJSON, keep, dryRun bool
	cmd := &cobra.Command{
		Use:   "install PLUGIN[@VERSION]...",
		Short: "Verify plugins, fetch them and pin them in plugins.lock",
		Long: `Verify plugins, fetch them and pin them in plugins.lock.

VERSION is a version or a range such as ^1.2; without it the newest that is no prerelease is taken. What a plugin needs
comes along, in versions that fit together and with what is installed. All of it is installed or none; a download that
broke off goes on where it stopped.`,
		Example: "  picket plugin install --data /var/lib/picket picket/portscan@^0.1 --runtime wasm",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := n.open()
			if err != nil {
				return err
			}
			defer c.Close()
			wants := make([]client.Want, 0, len(args))
			for _, arg := range args {
				id, versionRange := splitVersion(arg)
				wants = append(wants, client.Want{ID: id, Version: versionRange, Runtime: runtimeName})
			}
			plan, err := c.Plan(cmd.Context(), wants, client.PlanOptions{Keep: keep})
			if err != nil {
				return err
			}
			if dryRun {
				return showPlan(cmd.OutOrStdout(), plan, asJSON)
			}
			done, err := carryOut(cmd.Context(), c, plan, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), installedNow(c, wants, done))
			}
			printInstalled(columns.New(cmd.OutOrStdout()), installedNow(c, wants, done))
			return nil
		},
	}
	n.flags(cmd)
	cmd.Flags().StringVar(&runtimeName, "runtime", "", "process, wasm or file (default: the first that a plugin has for this machine)")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave an installed version that fits in its place")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be installed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// installedNow lists what was installed, and what was asked for and is there already.
func installedNow(c *client.Multi, wants []client.Want, done []*client.Installed) []*client.Installed {
	seen := map[string]bool{}
	for _, in := range done {
		seen[in.ID] = true
	}
	for _, w := range wants {
		if in, ok := c.Installed(w.ID); ok && !seen[w.ID] {
			done = append(done, in)
		}
	}
	return done
}

func printInstalled(p *columns.Printer, done []*client.Installed) {
	for _, in := range done {
		line := fmt.Sprintf("  %s, vouched for by %s", strings.Join(in.Runtimes, " and "), in.Role)
		if in.Registry != "" {
			line += ", from the registry " + in.Registry
		}
		p.Line(columns.S(columns.Good, "installed "), columns.C(fmt.Sprintf("%s %s", in.ID, in.Version)), columns.S(columns.Dim, line))
	}
}

// planned is one line of a plan.
type planned struct {
	ID       string   `json:"id"`
	Version  string   `json:"version"`
	Replaces string   `json:"replaces,omitempty"`
	Because  []string `json:"because,omitempty"` // the plugins that need it
	Runtime  string   `json:"runtime"`
	Registry string   `json:"registry,omitempty"`
	Fetch    int64    `json:"fetch"` // bytes that are not here yet
}

func showPlan(w io.Writer, plan *client.Plan, asJSON bool) error {
	lines := []planned{}
	for _, s := range plan.Steps {
		lines = append(lines, planned{s.Release.ID, s.Release.Version, s.Replaces, s.Because, s.Artifact.Runtime, s.Registry, s.Fetch})
	}
	if asJSON {
		return columns.JSON(w, lines)
	}
	p := columns.New(w)
	if len(lines) == 0 {
		p.Line(columns.S(columns.Dim, "everything is installed already"))
		return nil
	}
	rows := [][]columns.Cell{header("PLUGIN", "VERSION", "INSTEAD OF", "RUNTIME", "TO FETCH", "BECAUSE OF")}
	for _, l := range lines {
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, l.ID), columns.C(l.Version), columns.C(dash(l.Replaces)), columns.C(l.Runtime),
			columns.C(megabytes(l.Fetch)), columns.C(dash(strings.Join(l.Because, ", ")))})
	}
	p.Table(rows)
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// carryOut installs with a progress bar where somebody sees it.
func carryOut(ctx context.Context, c *client.Multi, plan *client.Plan, out io.Writer) ([]*client.Installed, error) {
	bar := newBar(out)
	defer bar.clear()
	return c.InstallAll(ctx, plan, bar.show)
}

// bar draws how far an installation is on one line of a terminal.
type bar struct {
	w     io.Writer // nil: nobody sees it
	width int
	last  string
}

func newBar(w io.Writer) *bar {
	if f, isFile := w.(*os.File); isFile && term.IsTerminal(int(f.Fd())) {
		return &bar{w: w}
	}
	return &bar{}
}

const barWidth = 24

func (b *bar) show(p client.Progress) {
	if b.w == nil {
		return
	}
	part := 0
	if p.Total > 0 {
		part = int(p.Done * barWidth / p.Total)
	}
	line := fmt.Sprintf("%s%s %s of %s  %s %s %s", strings.Repeat("█", part), strings.Repeat("░", barWidth-part),
		megabytes(p.Done), megabytes(p.Total), p.State, p.ID, p.Version)
	if line == b.last {
		return
	}
	pad := max(0, b.width-len(line))
	b.last, b.width = line, len(line)
	fmt.Fprint(b.w, "\r", line, strings.Repeat(" ", pad))
}

func (b *bar) clear() {
	if b.w != nil && b.width > 0 {
		fmt.Fprint(b.w, "\r", strings.Repeat(" ", b.width), "\r")
	}
}
