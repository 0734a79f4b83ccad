package plugincmd

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/gatecheck"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
)

func publishCmd() *cobra.Command {
	var p publishing
	cmd := &cobra.Command{
		Use:   "publish --registry URL --key FILE.pem PLUGINDIR... | --registry DIR --keys DIR PLUGINDIR...",
		Short: "Build plugins and publish them: hand them in to a registry, or sign them into a folder of your own",
		Long: `Build plugins and publish them: hand them in to a registry, or sign them into a folder of your own.

With an address the release is signed with your namespace's key and sent; the registry checks it and says what its gates
found. With a folder and its keys it is signed into that folder, leaving alone what did not change. Either way the gates
look at it, and what they refuse is not published.`,
		Example: "  picket plugin publish --registry https://registry.example --root root.json --key acme.pem agent\n" +
			"  picket plugin publish --registry registry --keys registry-keys plugins/detectors/*",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error { return p.run(cmd, dirs) },
	}
	cmd.Flags().StringVar(&p.author.registry, "registry", "", "the registry's address, or its folder")
	cmd.Flags().StringVar(&p.keys, "keys", "", "with a folder: the folder of its private keys")
	cmd.Flags().BoolVar(&p.test, "test", false, "with a folder: these plugins are your own: run the conformance kit, and detectors over captures, unconfined")
	cmd.Flags().StringVar(&p.evidence, "evidence", "", "with a folder: where to keep what was found out, for the next time that the same bytes are published (default: evidence beside the artifacts)")
	cmd.Flags().BoolVar(&p.asJSON, "json", false, "print JSON")
	p.author.flags(cmd)
	p.gates.Flags(cmd)
	buildFlags(cmd, &p.out, &p.platforms, "")
	cmd.Flags().Lookup("out").Usage = "where the artifacts are built (default: the registry's folder with -build appended, or build)"
	require(cmd, "registry")
	return cmd
}

// publishing is `picket plugin publish`.
type publishing struct {
	author       submitter
	gates        gatecheck.Options
	keys, out    string
	evidence     string
	platforms    []string
	test, asJSON bool
}

func (p *publishing) run(cmd *cobra.Command, dirs []string) error {
	across := isAddress(p.author.registry)
	switch {
	case across && len(p.author.keys) == 0:
		return usage.Errorf("name the private key of your namespace: --key FILE.pem")
	case across && (p.keys != "" || p.test || p.evidence != ""):
		return usage.Errorf("--keys, --test and --evidence are for a registry in a folder; %s has keys of its own and tests by itself", p.author.registry)
	case !across && p.keys == "":
		return usage.Errorf("name the folder of the registry's private keys with --keys, or the address of a registry that you hand in to")
	}
	if p.out == "" {
		p.out = filepath.Clean(p.author.registry) + "-build"
		if across {
			p.out = "build"
		}
	}
	b, err := newBuilder(p.out, p.platforms)
	if err != nil {
		return err
	}
	b.report = progress(cmd)
	if across {
		return p.author.handIn(cmd, b, dirs, p.asJSON)
	}
	return p.sign(cmd, b, dirs)
}

// sign publishes into a folder.
func (p *publishing) sign(cmd *cobra.Command, b *builder, dirs []string) error {
	p.gates.Own = p.test
	cfg, err := p.gates.Config()
	if err != nil {
		return err
	}
	pub, err := publish.Open(cmd.Context(), p.author.registry, p.keys, nil)
	if err != nil {
		return err
	}
	defer pub.Close()
	plugins, err := b.read(dirs)
	if err != nil {
		return err
	}
	for _, plugin := range plugins {
		if err := pub.Accepts(plugin.manifest.Namespace()); err != nil {
			return fmt.Errorf("publish %s: %w", plugin.manifest.ID, err)
		}
	}
	if err := b.build(cmd.Context(), plugins); err != nil {
		return err
	}
	slots := runtime.NumCPU()
	if p.test {
		cfg.Test = testOwn(cmd, plugins)
		p.gates.Environ = withOwnPython(plugins)
		slots = 1 // measurements beside one another would be of one another
	}
	cfg = gatecheck.Kept{Dir: cmp.Or(p.evidence, filepath.Join(b.out, "evidence")), Given: testdataOf(plugins)}.Wrap(cfg, p.gates.Captures())
	if err := b.check(cmd.Context(), plugins, cfg, slots); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	subs := make([]publish.Submission, len(plugins))
	for i := range plugins {
		subs[i] = plugins[i].Submission
	}
	done, err := pub.Add(cmd.Context(), subs)
	if err != nil {
		return err
	}
	if len(done.New)+len(done.Replaced) == 0 {
		if _, err := pub.Renew(); err != nil { // so that what was built last week installs today
			return err
		}
	}
	if p.asJSON {
		return columns.JSON(cmd.OutOrStdout(), done)
	}
	printPublished(columns.New(cmd.OutOrStdout()), plugins, done, p.author.registry, pub.Development())
	return nil
}

// short names the gates of a card that did not pass, by their state, without those that are known to lack what they need.
func short(c *registry.Card, known []string) string {
	if c == nil {
		return ""
	}
	var words []string
	for _, state := range []string{registry.GateFailed, registry.GateWarning, registry.GateNotChecked} {
		var names []string
		for _, g := range c.Gates {
			if g.State == state && (state != registry.GateNotChecked || !slices.Contains(known, g.Name)) {
				names = append(names, g.Name)
			}
		}
		if len(names) > 0 {
			words = append(words, state+": "+strings.Join(names, ", "))
		}
	}
	return strings.Join(words, "; ")
}

// lackedByAll are the gates that checked none of several plugins: then they are named once.
func lackedByAll(plugins []*plugin) (names []string) {
	if len(plugins) < 2 || plugins[0].Card == nil {
		return nil
	}
	for _, g := range plugins[0].Card.Gates {
		if !slices.ContainsFunc(plugins, func(p *plugin) bool { return p.Card == nil || !lacks(p.Card, g.Name) }) {
			names = append(names, g.Name)
		}
	}
	return names
}

func lacks(c *registry.Card, gate string) bool {
	return slices.ContainsFunc(c.Gates, func(g registry.Gate) bool { return g.Name == gate && g.State == registry.GateNotChecked })
}

func printPublished(p *columns.Printer, plugins []*plugin, done publish.Added, dir string, development bool) {
	common := lackedByAll(plugins)
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
		tier := ""
		if plugin.Card != nil {
			tier = plugin.Card.Tier
		}
		rows = append(rows, []columns.Cell{columns.C("    " + m.ID), columns.C(m.Version), state, columns.C(tier), columns.S(columns.Dim, strings.Join(artifacts, ", ")), columns.S(columns.Dim, short(plugin.Card, common))})
	}
	p.Table(rows)
	if len(common) > 0 {
		p.Line(columns.S(columns.Dim, "    of all of them "+registry.GateNotChecked+": "+strings.Join(common, ", ")))
	}
	trust := ""
	if development {
		trust = ", development trust"
	}
	p.Line(columns.S(columns.Dim, fmt.Sprintf("    %d signed now of %d, in %s%s", len(done.New)+len(done.Replaced), len(plugins), dir, trust)))
}
