package plugincmd

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/gatecheck"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/registry/publish"
)

func packCmd() *cobra.Command {
	var a submitter
	var options gatecheck.Options
	var work, out string
	var platforms []string
	cmd := &cobra.Command{
		Use:   "pack --registry URL|DIR --key FILE.pem [--out FILE] PLUGINDIR",
		Short: "Build a plugin and sign it into one file, for a registry that takes it in by hand",
		Long: `Build a plugin and sign it into one file, for a registry that takes it in by hand (picket registry accept).

The gates look at it here first, so that nothing is carried about that would be refused. The registry, or a copy of its
folder, says on top of what to sign.`,
		Example: "  picket plugin pack --registry https://registry.example --root root.json --key acme.pem --out agent.tar agent",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			b, err := newBuilder(work, platforms)
			if err != nil {
				return err
			}
			b.report = progress(cmd)
			plugins, err := b.read(dirs)
			if err != nil {
				return err
			}
			c, err := a.open()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := b.build(cmd.Context(), plugins); err != nil {
				return err
			}
			sub := plugins[0].Submission
			if err := lookAt(cmd, options, sub); err != nil {
				return err
			}
			m := sub.Descriptor.Manifest
			if out == "" {
				out = filepath.Base(strings.ReplaceAll(m.ID, "/", "-")) + "-" + m.Version + ".tar"
			}
			if err := a.pack(cmd.Context(), cmd, c, sub, out); err != nil {
				return err
			}
			columns.New(cmd.OutOrStdout()).Line(columns.S(columns.Good, "packed "), columns.C(m.ID+" "+m.Version), columns.S(columns.Dim, "  "+out))
			return nil
		},
	}
	cmd.Flags().StringVar(&a.registry, "registry", "", "the registry's address, or a copy of its folder")
	a.flags(cmd)
	options.Flags(cmd)
	cmd.Flags().StringVar(&out, "out", "", "the file to write (default: NAMESPACE-NAME-VERSION.tar)")
	cmd.Flags().StringVar(&work, "build", "build", "where the artifacts are built")
	platformFlag(cmd, &platforms)
	require(cmd, "registry", "key")
	return cmd
}

// lookAt runs the gates and shows what they found.
func lookAt(cmd *cobra.Command, options gatecheck.Options, sub publish.Submission) error {
	cfg, err := options.Config()
	if err != nil {
		return err
	}
	found, err := gates.Check(cmd.Context(), releaseOf(sub), cfg, nil)
	if err != nil {
		return err
	}
	gatecheck.Print(columns.New(cmd.OutOrStdout()), found.Card.Gates)
	if err := found.Refused(); err != nil {
		return fmt.Errorf("%s: %w", sub.Descriptor.Manifest.ID, err)
	}
	return nil
}

func releaseOf(sub publish.Submission) gates.Release {
	return gates.Release{Descriptor: sub.Descriptor, Files: sub.Artifacts, Readme: sub.Readme, Changelog: sub.Changelog, Plan: sub.Plan}
}

func ownsOne(ids []string, keys []ed25519.PrivateKey) bool {
	return slices.ContainsFunc(keys, func(k ed25519.PrivateKey) bool {
		return slices.Contains(ids, registry.KeyID(k.Public().(ed25519.PublicKey)))
	})
}
