// Package registrycmd is `picket registry`: it makes a registry, signs it again, withdraws plugins and checks every
// byte of one.
package registrycmd

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/keyfile"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry/publish"
)

// New returns the command with its sub-commands.
func New() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Make and keep a signed plugin registry",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(initCmd(), keyCmd(), statusCmd(), signCmd(), rotateCmd(), renewCmd(), timestampCmd(), claimCmd(), admitCmd(), acceptCmd(),
		confirmCmd(), dropCmd(), yankCmd(), revokeCmd(), verifyCmd(), serveCmd(),
		mirrorCmd(), nodeCmd(), reportsCmd(), bundleCmd())
	return cmd
}

// folders are the flags that every signing command has.
type folders struct {
	dir, keys, root, passphrase string
	yes, asJSON                 bool
}

func (f *folders) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "", "the registry's folder")
	cmd.Flags().StringVar(&f.keys, "keys", "", "where the private keys lie: folders and files, separated by "+string(os.PathListSeparator))
	cmd.Flags().StringVar(&f.root, "root", "", "the root.json that the registry must descend from (default: the one beside the keys)")
	cmd.Flags().StringVar(&f.passphrase, "passphrase-file", "", "a file with the passphrase of the keys (default: ask on a terminal)")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask before signing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	require(cmd, "dir", "keys")
}

func (f *folders) open(cmd *cobra.Command) (*publish.Publisher, error) {
	return publish.OpenConfig(cmd.Context(), f.config(cmd))
}

func (f *folders) config(cmd *cobra.Command) publish.Config {
	return publish.Config{Dir: f.dir, Keys: f.keys, RootFile: f.root, Unlock: keyfile.Unlock(cmd, f.passphrase)}
}

func initCmd() *cobra.Command {
	var f folders
	var development, oneFolder bool
	var roles, public, thresholds []string
	var offline string
	cmd := &cobra.Command{
		Use:   "init --dir DIR --keys DIR --offline-keys DIR",
		Short: "Make an empty registry and its keys",
		Long: `Make an empty registry and its keys.

The keys of snapshot, timestamp, recent and security go into --keys and belong on the machine that serves the registry.
Those of root, targets, official, claimed and revokers go into --offline-keys: a folder on removable media, say. Keys that
people made on their own machines (picket registry key new) are named with --key ROLE=FILE.pub; the registry then
appears once enough of them have signed (picket registry sign). Hand root.json, or the digest that is printed, to the
machines that shall trust this registry. docs/registry-keys.md has the whole ceremony.`,
		Example: "  picket registry init --dir registry --keys online --offline-keys /media/keys --threshold root=2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if offline == "" && !development && !oneFolder {
				return usage.Errorf("name another folder for the keys that must not lie on the server: --offline-keys DIR " +
					"(or --one-folder on a machine that signs and serves nothing)")
			}
			opt := publish.Options{Development: development, OfflineKeys: offline}
			var err error
			if opt.Roles, err = roleSpecs(roles, thresholds, development); err != nil {
				return err
			}
			if opt.Public, err = publicKeys(public); err != nil {
				return err
			}
			err = publish.Init(f.dir, f.keys, opt)
			if pending(err) {
				return printPending(cmd, f, err)
			}
			if err != nil {
				return err
			}
			return printRoot(cmd, f, development)
		},
	}
	cmd.Flags().StringVar(&f.dir, "dir", "", "the registry's folder")
	cmd.Flags().StringVar(&f.keys, "keys", "", "the folder of the keys that the server needs")
	cmd.Flags().StringVar(&offline, "offline-keys", "", "the folder of all other keys")
	cmd.Flags().BoolVar(&oneFolder, "one-folder", false, "keep all keys in --keys")
	cmd.Flags().BoolVar(&development, "development", false, "mark the root as development trust: one key per role, refused by release builds")
	cmd.Flags().StringArrayVar(&roles, "expire", nil, "how long a role's signature lasts, as ROLE=DURATION (168h); repeatable")
	cmd.Flags().StringArrayVar(&thresholds, "threshold", nil, "how many of a role's keys must sign, as ROLE=N; repeatable")
	cmd.Flags().StringArrayVar(&public, "key", nil, "a key that somebody else holds, as ROLE=FILE.pub; repeatable")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("offline-keys", "one-folder")
	require(cmd, "dir", "keys")
	return cmd
}

// publicKeys reads --key.
func publicKeys(flags []string) (map[string][]ed25519.PublicKey, error) {
	keys := map[string][]ed25519.PublicKey{}
	for _, s := range flags {
		role, file, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usage.Errorf("--key %q: want ROLE=FILE.pub", s)
		}
		key, err := publish.LoadPublicKey(file)
		if err != nil {
			return nil, err
		}
		keys[role] = append(keys[role], key)
	}
	return keys, nil
}

// roleSpecs reads --expire and --threshold.
func roleSpecs(flags, thresholds []string, development bool) (map[string]publish.RoleSpec, error) {
	defaults := publish.DefaultRoles(development)
	specs := map[string]publish.RoleSpec{}
	for _, s := range flags {
		role, text, ok := strings.Cut(s, "=")
		spec, known := defaults[role]
		d, err := time.ParseDuration(text)
		if !ok || !known || err != nil || d < time.Minute {
			return nil, usage.Errorf("--expire %q: want ROLE=DURATION, for example timestamp=168h", s)
		}
		spec.Expiry = d
		specs[role] = spec
	}
	for _, s := range thresholds {
		role, text, ok := strings.Cut(s, "=")
		spec, known := specs[role]
		if !known {
			spec, known = defaults[role]
		}
		n, err := strconv.Atoi(text)
		if !ok || !known || err != nil || n < 1 {
			return nil, usage.Errorf("--threshold %q: want ROLE=N, for example root=2", s)
		}
		spec.Threshold, spec.Keys = n, max(spec.Keys, n)
		specs[role] = spec
	}
	return specs, nil
}

func printRoot(cmd *cobra.Command, f folders, development bool) error {
	report, err := publish.Verify(f.dir, nil, time.Now())
	if err != nil {
		return err
	}
	trust := columns.S(columns.Good, "release")
	if development {
		trust = columns.S(columns.Warn, "development (release builds refuse it)")
	}
	if f.asJSON {
		return columns.JSON(cmd.OutOrStdout(), map[string]any{"root_sha256": report.RootSHA256, "development": development})
	}
	columns.New(cmd.OutOrStdout()).Table([][]columns.Cell{
		{columns.S(columns.Dim, "registry"), columns.C(f.dir)},
		{columns.S(columns.Dim, "keys"), columns.C(f.keys)},
		{columns.S(columns.Dim, "root SHA-256"), columns.C(report.RootSHA256)},
		{columns.S(columns.Dim, "trust"), trust},
	})
	return nil
}

func verifyCmd() *cobra.Command {
	var dir, rootFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify --dir DIR [--root FILE]",
		Short: "Check every signature and every byte of a registry",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var root []byte
			if rootFile != "" {
				var err error
				if root, err = os.ReadFile(rootFile); err != nil {
					return fmt.Errorf("read root of trust: %w", err)
				}
			}
			report, err := publish.Verify(dir, root, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				err = columns.JSON(cmd.OutOrStdout(), report)
			} else {
				printReport(columns.New(cmd.OutOrStdout()), report, rootFile != "")
			}
			if err == nil && !report.OK() {
				err = errors.New("the registry is not in order; `picket registry timestamp` renews what expired")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the registry's folder")
	cmd.Flags().StringVar(&rootFile, "root", "", "the root.json to start from (default: the folder's own first one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	require(cmd, "dir")
	return cmd
}

func printReport(p *columns.Printer, r *publish.Report, pinned bool) {
	trust := columns.C("release trust")
	if r.Development {
		trust = columns.S(columns.Warn, "development trust")
	}
	origin := columns.C("")
	if !pinned {
		origin = columns.S(columns.Dim, "  (the folder's own root; name the right one with --root)")
	}
	p.Line(columns.C("root "+strconv.FormatInt(r.RootVersion, 10)+"  "+r.RootSHA256+"  "), trust, origin)
	rows := [][]columns.Cell{{columns.S(columns.Dim, "ROLE"), columns.S(columns.Dim, "VERSION"), columns.S(columns.Dim, "FRESH UNTIL")}}
	for _, role := range r.Roles {
		until := columns.S(columns.Good, role.Expires.UTC().Format(time.RFC3339))
		if role.Expired {
			until = columns.S(columns.Bad, role.Expires.UTC().Format(time.RFC3339)+" expired")
		}
		rows = append(rows, []columns.Cell{columns.C(role.Name), columns.C(strconv.FormatInt(role.Version, 10)), until})
	}
	p.Table(rows)
	rows = [][]columns.Cell{{columns.S(columns.Dim, "PLUGIN"), columns.S(columns.Dim, "VERSION"), columns.S(columns.Dim, "ROLE"),
		columns.S(columns.Dim, "STATE"), columns.S(columns.Dim, "ARTIFACTS")}}
	for _, rel := range r.Releases {
		state, detail := columns.S(columns.Good, "ok"), rel.Platform
		if rel.Problem != "" {
			state, detail = columns.S(columns.Bad, "broken"), rel.Problem
		}
		rows = append(rows, []columns.Cell{columns.C(rel.ID), columns.C(rel.Version), columns.C(rel.Role), state, columns.C(detail)})
	}
	p.Table(rows)
	if r.Index != "" {
		p.Line(columns.S(columns.Bad, "index: "), columns.C(r.Index))
	}
	p.Line(columns.S(columns.Dim, fmt.Sprintf("%d releases, %d revocations", len(r.Releases), r.Revocations)))
}

// require marks flags as needed.
func require(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that was not declared: a mistake in this file, seen at the first run
		}
	}
}
