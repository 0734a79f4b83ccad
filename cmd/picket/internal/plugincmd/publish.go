package plugincmd

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry/publish"
)

func publishCmd() *cobra.Command {
	var dir, keys, out string
	var platforms []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "publish --registry DIR --keys DIR PLUGINDIR...",
		Short:   "Build plugins and sign them into a registry, leaving alone what did not change",
		Example: "  picket plugin publish --registry registry --keys registry-keys plugins/detectors/*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			if out == "" {
				out = filepath.Clean(dir) + "-build"
			}
			b, err := newBuilder(out, platforms)
			if err != nil {
				return err
			}
			b.report = progress(cmd)
			p, err := publish.Open(cmd.Context(), dir, keys, nil)
			if err != nil {
				return err
			}
			defer p.Close()
			plugins, err := b.read(dirs)
			if err != nil {
				return err
			}
			for _, plugin := range plugins {
				if err := p.Accepts(plugin.manifest.Namespace()); err != nil {
					return fmt.Errorf("publish %s: %w", plugin.manifest.ID, err)
				}
			}
			if err := b.build(cmd.Context(), plugins); err != nil {
				return err
			}
			subs := make([]publish.Submission, len(plugins))
			for i := range plugins {
				subs[i] = plugins[i].Submission
			}
			done, err := p.Add(cmd.Context(), subs)
			if err != nil {
				return err
			}
			if len(done.New)+len(done.Replaced) == 0 {
				if _, err := p.Renew(); err != nil { // so that what was built last week installs today
					return err
				}
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), done)
			}
			printPublished(columns.New(cmd.OutOrStdout()), plugins, done, dir, p.Development())
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "registry", "", "the registry's folder")
	cmd.Flags().StringVar(&keys, "keys", "", "the folder of its private keys")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	buildFlags(cmd, &out, &platforms, "")
	cmd.Flags().Lookup("out").Usage = "where the artifacts are built (default: the registry's folder with -build appended)"
	require(cmd, "registry", "keys")
	return cmd
}

func printPublished(p *columns.Printer, plugins []*plugin, done publish.Added, dir string, development bool) {
	rows := make([][]columns.Cell, 0, len(plugins))
	for _, plugin := range plugins {
		m := plugin.manifest
		state := columns.S(columns.Good, "signed")
		if slices.Contains(done.Unchanged, m.ID+" "+m.Version) {
			state = columns.S(columns.Dim, "unchanged")
		}
		var artifacts []string
		for _, t := range plugin.targets {
			artifacts = append(artifacts, t.Runtime+" "+columns.Bytes(t.Size))
		}
		rows = append(rows, []columns.Cell{columns.C("    " + m.ID), columns.C(m.Version), state, columns.S(columns.Dim, strings.Join(artifacts, ", "))})
	}
	p.Table(rows)
	trust := ""
	if development {
		trust = ", development trust"
	}
	p.Line(columns.S(columns.Dim, fmt.Sprintf("    %d plugins, %d signed now, in %s%s", len(plugins), len(done.New)+len(done.Replaced), dir, trust)))
}
