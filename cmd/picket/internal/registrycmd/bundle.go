package registrycmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/keyfile"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/registry/bundle"
	"github.com/picketwatch/picket/registry/client"
)

func bundleCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry plugins to a site that cannot reach the registry",
		Long: `Carry plugins to a site that cannot reach the registry.

export verifies releases online and writes them into one file; verify looks at such a file without a network; import
verifies it again and publishes what it brings in the site's own registry, under the site's own root. docs/air-gap.md
shows all of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(exportCmd(), verifyBundleCmd(), importCmd())
	return cmd
}

// trust names the registry that a bundle is from, by its root.
type trust struct {
	root, rootSHA256            string
	recent, development, asJSON bool
}

func (t *trust) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.rootSHA256, "root-sha256", "", "the SHA-256 of the root.json of the registry that the bundle is from")
	cmd.Flags().StringVar(&t.root, "root", "", "that root.json itself, instead of --root-sha256")
	cmd.Flags().BoolVar(&t.recent, "recent", false, "take releases of namespaces too that no maintainer has confirmed yet")
	cmd.Flags().BoolVar(&t.development, "dev", false, "allow a registry with a development root")
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "print JSON")
}

func (t *trust) check() error {
	if t.root != "" && t.rootSHA256 != "" {
		return usage.Errorf("--root and --root-sha256 both say which root to trust: give one of them")
	}
	return nil
}

// defaultMaxAge is in days.
const defaultMaxAge = 30

func exportCmd() *cobra.Command {
	var t trust
	var from, plugins, out, state string
	var since []string
	cmd := &cobra.Command{
		Use:   "export --from URL|DIR --root-sha256 DIGEST --out FILE",
		Short: "Verify releases and write them into a bundle",
		Example: "  picket registry bundle export --from https://plugins.example.org --root-sha256 DIGEST --plugins picket/host,acme/agent@^1 --out plugins.tar\n" +
			"  picket registry bundle export --from https://plugins.example.org --root-sha256 DIGEST --plugins all --since plugins.tar --out more.tar",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.check(); err != nil {
				return err
			}
			if state == "" {
				dir, err := os.MkdirTemp("", "picket-export-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				state = filepath.Join(dir, "node")
			}
			c, err := client.Open(client.Config{
				Dir: state, Base: from, RootFile: t.root, RootSHA256: t.rootSHA256, AllowRecent: t.recent,
				AllowDevelopment: t.development, Release: config.IsRelease(),
			})
			if err != nil {
				return err
			}
			defer c.Close()
			m, err := bundle.Export(cmd.Context(), c, wantsOf(plugins), since, out, time.Now())
			if err != nil {
				return err
			}
			if t.asJSON {
				return columns.JSON(cmd.OutOrStdout(), m)
			}
			p := columns.New(cmd.OutOrStdout())
			printReleases(p, m.Releases)
			p.Line(columns.S(columns.Good, "wrote "), columns.C(out), columns.S(columns.Dim, fmt.Sprintf("  %d releases, %d files, %s", len(m.Releases), len(m.Files), size(m.Files))))
			return nil
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&from, "from", "", "the registry: an address or a folder")
	cmd.Flags().StringVar(&plugins, "plugins", "all", "PLUGIN[@VERSION],… with what they need, or all")
	cmd.Flags().StringSliceVar(&since, "since", nil, "bundles that the site has imported: what they brought is left out")
	cmd.Flags().StringVar(&out, "out", "", "the bundle to write")
	cmd.Flags().StringVar(&state, "state", "", "a folder that remembers what was seen, so that an older state of the registry is refused (default: none)")
	require(cmd, "from", "out")
	return cmd
}

// wantsOf reads --plugins; all is no wish in particular.
func wantsOf(list string) []client.Want {
	if list == "all" {
		return nil
	}
	var wants []client.Want
	for _, item := range strings.Split(list, ",") {
		id, version, _ := strings.Cut(strings.TrimSpace(item), "@")
		wants = append(wants, client.Want{ID: id, Version: version})
	}
	return wants
}

func printReleases(p *columns.Printer, list []bundle.Release) {
	var rows [][]columns.Cell
	for _, r := range list {
		rows = append(rows, []columns.Cell{columns.S(columns.Bold, r.ID), columns.C(r.Version), columns.S(columns.Dim, r.Descriptor)})
	}
	p.Table(rows)
}

func size(files []bundle.File) string {
	total := int64(0)
	for _, f := range files {
		total += f.Size
	}
	return fmt.Sprintf("%.1f MB", float64(total)/1e6)
}

func (t *trust) config(file string, maxAge int) bundle.Config {
	return bundle.Config{
		File: file, RootSHA256: t.rootSHA256, RootFile: t.root, MaxAge: time.Duration(maxAge) * 24 * time.Hour,
		AllowRecent: t.recent, AllowDevelopment: t.development, Release: config.IsRelease(),
	}
}

func verifyBundleCmd() *cobra.Command {
	var t trust
	var maxAge int
	cmd := &cobra.Command{
		Use:   "verify FILE --root-sha256 DIGEST",
		Short: "Verify a bundle without a network, and say what is in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(); err != nil {
				return err
			}
			if t.root == "" && t.rootSHA256 == "" {
				return usage.Errorf("name the root of the registry that the bundle is from: --root-sha256 DIGEST or --root FILE")
			}
			b, err := bundle.Verify(cmd.Context(), t.config(args[0], maxAge))
			if err != nil {
				return err
			}
			defer b.Close()
			if t.asJSON {
				return columns.JSON(cmd.OutOrStdout(), struct {
					*bundle.Checked
					Releases []bundle.Release `json:"releases"`
				}{b, b.Manifest.Releases})
			}
			p := columns.New(cmd.OutOrStdout())
			printReleases(p, b.Manifest.Releases)
			p.Line(columns.S(columns.Good, "verified "), columns.C(args[0]), columns.S(columns.Dim, "  "+knownText(b.Known)))
			return nil
		},
	}
	t.flags(cmd)
	maxAgeFlag(cmd, &maxAge)
	return cmd
}

func maxAgeFlag(cmd *cobra.Command, days *int) {
	cmd.Flags().IntVar(days, "max-age", defaultMaxAge, "how many days ago its signatures may have run out")
}

func knownText(known time.Time) string {
	if age := time.Since(known); age > time.Hour {
		return fmt.Sprintf("its signatures held until %s, %d days ago", known.Format(time.DateOnly), int(age.Hours()/24))
	}
	return "its signatures hold today"
}

func importCmd() *cobra.Command {
	var t trust
	var f folders
	var maxAge int
	cmd := &cobra.Command{
		Use:   "import FILE --dir SITE --keys KEYS --root-sha256 DIGEST",
		Short: "Verify a bundle and publish what it brings in the site's registry",
		Long: `Verify a bundle and publish what it brings in the site's registry.

--root-sha256 is the root of the registry that the bundle is from; it is needed the first time and remembered then, like
everything else that the border has seen: an older bundle than the last one is refused. The metadata that the authors
signed is kept beside the site's own, so that picket plugin verify --author-root-sha256 can check it on any node.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(); err != nil {
				return err
			}
			r, err := bundle.Import(cmd.Context(), t.config(args[0], maxAge),
				bundle.Site{Dir: f.dir, Keys: f.keys, Root: f.root, Unlock: keyfile.Unlock(cmd, f.passphrase)})
			if err != nil {
				return err
			}
			if t.asJSON {
				return columns.JSON(cmd.OutOrStdout(), r)
			}
			p := columns.New(cmd.OutOrStdout())
			for _, list := range []struct {
				word  string
				items []string
			}{{"new", r.New}, {"replaced", r.Replaced}, {"yanked or put back", r.Yanked}} {
				for _, item := range list.items {
					p.Line(columns.S(columns.Good, list.word+" "), columns.C(item))
				}
			}
			p.Line(columns.S(columns.Dim, fmt.Sprintf("%d were there already, %d withdrawals are new, %s", len(r.Unchanged), r.Revoked, knownText(r.Known))))
			return nil
		},
	}
	t.flags(cmd)
	maxAgeFlag(cmd, &maxAge)
	cmd.Flags().StringVar(&f.dir, "dir", "", "the folder of the site's registry")
	cmd.Flags().StringVar(&f.keys, "keys", "", "where the site's private keys lie: folders and files, separated by "+string(os.PathListSeparator))
	cmd.Flags().StringVar(&f.root, "site-root", "", "the root.json that the site's registry must descend from (default: the one beside the keys)")
	cmd.Flags().StringVar(&f.passphrase, "passphrase-file", "", "a file with the passphrase of the keys (default: ask on a terminal)")
	require(cmd, "dir", "keys")
	return cmd
}
