// Package registrycmd is `picket registry`: it makes a registry, signs it again, withdraws plugins and checks every
// byte of one.
package registrycmd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
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
	cmd.AddCommand(initCmd(), timestampCmd(), revokeCmd(), verifyCmd())
	return cmd
}

// folders are the flags that every signing command has.
type folders struct{ dir, keys string }

func (f *folders) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "", "the registry's folder")
	cmd.Flags().StringVar(&f.keys, "keys", "", "the folder of its private keys")
	require(cmd, "dir", "keys")
}

func initCmd() *cobra.Command {
	var f folders
	var development bool
	var roles []string
	cmd := &cobra.Command{
		Use:   "init --dir DIR --keys DIR [--development]",
		Short: "Make an empty registry and its keys",
		Long: `Make an empty registry and its keys.

Without --development the root has three keys of which two must sign. Move the root and targets keys to a safe place
afterwards; publishing needs the official, snapshot and timestamp keys. Hand root.json, or the digest that is printed,
to the machines that shall trust this registry.`,
		Example: "  picket registry init --dir registry --keys registry-keys --expire timestamp=168h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt := publish.Options{Development: development}
			var err error
			if opt.Roles, err = roleSpecs(roles, development); err != nil {
				return err
			}
			if err := publish.Init(f.dir, f.keys, opt); err != nil {
				return err
			}
			return printRoot(cmd, f, development)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&development, "development", false, "mark the root as development trust: one key per role, refused by release builds")
	cmd.Flags().StringArrayVar(&roles, "expire", nil, "how long a role's signature lasts, as ROLE=DURATION (168h); repeatable")
	return cmd
}

// roleSpecs reads --expire.
func roleSpecs(flags []string, development bool) (map[string]publish.RoleSpec, error) {
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
	columns.New(cmd.OutOrStdout()).Table([][]columns.Cell{
		{columns.S(columns.Dim, "registry"), columns.C(f.dir)},
		{columns.S(columns.Dim, "keys"), columns.C(f.keys)},
		{columns.S(columns.Dim, "root SHA-256"), columns.C(report.RootSHA256)},
		{columns.S(columns.Dim, "trust"), trust},
	})
	return nil
}

func timestampCmd() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use:   "timestamp --dir DIR --keys DIR",
		Short: "Sign the timestamp again, and what else is past half of its life",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := publish.RefreshTimestamp(cmd.Context(), f.dir, f.keys, nil)
			if err != nil {
				return err
			}
			p := columns.New(cmd.OutOrStdout())
			p.Line(columns.C("signed " + strings.Join(done.Signed, ", ") + "; fresh until " + done.Expires.UTC().Format(time.RFC3339)))
			if len(done.Waiting) > 0 {
				p.Line(columns.S(columns.Warn, "due, but their keys are elsewhere: "+strings.Join(done.Waiting, ", ")))
			}
			return nil
		},
	}
	f.flags(cmd)
	return cmd
}

func revokeCmd() *cobra.Command {
	var f folders
	var reason string
	cmd := &cobra.Command{
		Use:     "revoke --dir DIR --keys DIR --reason TEXT PLUGIN VERSIONS",
		Short:   "Withdraw versions of a plugin from every node",
		Example: `  picket registry revoke --dir registry --keys registry-keys --reason "Leaks its token." acme/snmp "<1.4.2"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := publish.Open(cmd.Context(), f.dir, f.keys, nil)
			if err != nil {
				return err
			}
			defer p.Close()
			rev := registry.Revocation{Plugin: args[0], Versions: args[1], Reason: reason, Time: time.Now().UTC().Truncate(time.Second)}
			if err := p.Revoke(rev); err != nil {
				return err
			}
			columns.New(cmd.OutOrStdout()).Line(columns.C("revoked " + args[0] + " " + args[1] + "; nodes stop it at their next refresh"))
			return nil
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "one sentence that operators will read")
	require(cmd, "reason")
	return cmd
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
