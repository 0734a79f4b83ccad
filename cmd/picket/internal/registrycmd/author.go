package registrycmd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/keyfile"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
)

func claimCmd() *cobra.Command {
	var c claimFlags
	cmd := &cobra.Command{
		Use:   "claim --root FILE --key FILE.pem --contact TEXT --out FILE NAMESPACE",
		Short: "As an author: claim a namespace, or change its keys",
		Long: `As an author: claim a namespace, or change its keys.

The claim says which keys sign the namespace's releases and who can be reached, and is signed by each of those keys. Hand
it to whoever runs the registry (picket registry admit). To change the keys of a namespace that you have, add --change
with the registry's folder or address and --old-key; without the old key the people of the registry will want to hear
from you another way. --only names the releases that the new keys shall vouch for; without it all stay.`,
		Example: "  picket registry claim acme --root root.json --key acme.pem --contact dev@acme.example --out acme.claim.json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&c.root, "root", "", "the root.json of the registry")
	f.StringArrayVar(&c.keys, "key", nil, "a private key that signs releases from now on; repeatable")
	f.IntVar(&c.threshold, "threshold", 1, "how many of them sign a release")
	f.StringVar(&c.contact, "contact", "", "how people reach you; it is published")
	f.StringVar(&c.out, "out", "", "the file to write")
	f.StringVar(&c.change, "change", "", "the registry's folder, when the namespace exists")
	f.StringArrayVar(&c.old, "old-key", nil, "a private key that the namespace has until now; repeatable")
	f.StringArrayVar(&c.only, "only", nil, "with --change: a release that stays, as NAMESPACE/NAME@VERSION; repeatable")
	f.StringVar(&c.passphrase, "passphrase-file", "", "a file with the passphrase of the keys (default: ask on a terminal)")
	f.BoolVar(&c.asJSON, "json", false, "print JSON")
	require(cmd, "root", "key", "contact", "out")
	return cmd
}

type claimFlags struct {
	root, contact, out, change, passphrase string
	keys, old, only                        []string
	threshold                              int
	asJSON                                 bool
}

func (c claimFlags) run(cmd *cobra.Command, ns string) error {
	if err := registry.CheckNamespace(ns, nil, nil); err != nil {
		return err
	}
	root, err := os.ReadFile(c.root)
	if err != nil {
		return fmt.Errorf("read root of trust: %w", err)
	}
	r := publish.ClaimRequest{RootSHA256: registry.Digest(root), Namespace: ns, Contact: c.contact, Threshold: c.threshold, Now: time.Now()}
	if r.Keys, err = keyfile.Load(cmd, c.keys, c.passphrase); err != nil {
		return err
	}
	if r.Old, err = keyfile.Load(cmd, c.old, c.passphrase); err != nil {
		return err
	}
	if c.change == "" && len(c.old)+len(c.only) > 0 {
		return usage.Errorf("--old-key and --only go with --change")
	}
	if c.change != "" {
		if r.Current, r.OldIDs, err = publish.ReadNamespace(c.change, root, ns); err != nil {
			return err
		}
		if len(c.only) > 0 {
			r.Keep = func(id, version, _ string) bool { return slices.Contains(c.only, id+"@"+version) }
		}
	}
	claim, err := publish.NewClaim(r)
	if err != nil {
		return err
	}
	data, err := claim.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.out, data, 0o644); err != nil {
		return err
	}
	return finish(cmd, folders{asJSON: c.asJSON}, nil, "wrote %s; hand it to whoever runs the registry, who enters it with picket registry admit", c.out)
}

func admitCmd() *cobra.Command {
	var f folders
	var lost bool
	cmd := &cobra.Command{
		Use:   "admit --dir DIR --keys DIR CLAIM",
		Short: "Enter an author's claim: a new namespace at once, under the online key",
		Long: `Enter an author's claim: a new namespace at once, under the online key.

A name that looks like one that exists, or like the project's, is refused. Until maintainers confirm the namespace
(picket registry confirm), only machines whose policy.yaml says "recent: allow" run what it offers. A claim that changes
the keys of a namespace must be signed by its old keys; --lost admits one that is not, after you have reached its owner
another way. What maintainers confirmed, maintainers change: such a claim waits for their signatures.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			claim, err := registry.ParseClaim(data)
			if err != nil {
				return err
			}
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			if lost {
				if err := confirm(cmd, f.yes, "Did you reach the owner of "+claim.Statement.Namespace+" another way?"); err != nil {
					return err
				}
			}
			err = p.Admit(claim, lost)
			p.Close()
			return finish(cmd, f, err, "namespace %s is entered for the key %s", claim.Statement.Namespace, claim.Signatures[0].KeyID)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&lost, "lost", false, "the old keys are lost or stolen")
	return cmd
}

func confirmCmd() *cobra.Command {
	var f folders
	var all bool
	cmd := &cobra.Command{
		Use:   "confirm --dir DIR --keys DIR NAMESPACE...",
		Short: "As a maintainer: vouch for new namespaces with the offline keys",
		RunE: func(cmd *cobra.Command, names []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			s, err := p.Status()
			if err != nil {
				return err
			}
			if all {
				for _, n := range s.Recent {
					names = append(names, n.Namespace)
				}
			}
			if len(names) == 0 {
				printNewcomers(columns.New(cmd.OutOrStdout()), s)
				return usage.Errorf("name the namespaces to confirm, or --all")
			}
			if !f.asJSON {
				printNewcomers(columns.New(cmd.OutOrStdout()), s)
			}
			if err := confirm(cmd, f.yes, "Confirm "+strings.Join(names, ", ")+"?"); err != nil {
				return err
			}
			err = p.Confirm(names...)
			p.Close()
			return finish(cmd, f, err, "confirmed: %s", strings.Join(names, ", "))
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "confirm all that wait")
	return cmd
}

func dropCmd() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use:   "drop --dir DIR --keys DIR NAMESPACE",
		Short: "Remove a namespace that nobody confirmed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			if err := confirm(cmd, f.yes, "Remove "+args[0]+" and all that it offers?"); err != nil {
				return err
			}
			err = p.Drop(args[0])
			p.Close()
			return finish(cmd, f, err, "namespace %s is gone", args[0])
		},
	}
	f.flags(cmd)
	return cmd
}

func yankCmd() *cobra.Command {
	var f folders
	var reason string
	var undo bool
	cmd := &cobra.Command{
		Use:   "yank --dir DIR --keys DIR --reason TEXT PLUGIN VERSION",
		Short: "Take a release off the shelf; who has it keeps it",
		Long: `Take a release off the shelf; who has it keeps it.

Nobody is given a yanked release any more who does not name the digest of its descriptor. It goes on running where it is
installed: withdraw what is dangerous with picket registry revoke.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (reason == "") != undo {
				return usage.Errorf("give a --reason, or --undo")
			}
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			err = p.Yank(args[0], args[1], reason)
			p.Close()
			if undo {
				return finish(cmd, f, err, "%s %s is on the shelf again", args[0], args[1])
			}
			return finish(cmd, f, err, "%s %s is off the shelf", args[0], args[1])
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "one sentence that people will read")
	cmd.Flags().BoolVar(&undo, "undo", false, "put it back")
	return cmd
}

func revokeCmd() *cobra.Command {
	var f folders
	var reason, stolen, after string
	var digests []string
	cmd := &cobra.Command{
		Use:   "revoke --dir DIR --keys DIR --reason TEXT PLUGIN VERSIONS",
		Short: "Withdraw releases from every node",
		Long: `Withdraw releases from every node, which stops what runs of them at its next refresh and for good.

PLUGIN is namespace/name or namespace/*, VERSIONS a range. --descriptor narrows it to releases with these digests. With
--stolen-key ID --after TIME and a namespace instead: everything that this key vouched for, wherever it came from,
except what this registry had before that time.`,
		Example: `  picket registry revoke --dir registry --keys online:/media/keys --reason "Leaks its token." acme/snmp "<1.4.2"
  picket registry revoke --dir registry --keys online:/media/keys --reason "Its key was stolen." --stolen-key 3f2a… --after 2026-11-20T08:00:00Z acme`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (stolen == "") != (after == "") || (stolen == "") != (len(args) == 2) {
				return usage.Errorf("name PLUGIN and VERSIONS, or a namespace with --stolen-key and --after")
			}
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			var rev registry.Revocation
			if stolen == "" {
				rev = registry.Revocation{Plugin: args[0], Versions: args[1], Reason: reason, Time: time.Now().UTC().Truncate(time.Second), Descriptors: digests}
			} else if rev, err = stolenKey(cmd, f, p, args[0], stolen, after, reason); err != nil {
				return err
			}
			if err := confirm(cmd, f.yes, "Withdraw "+rev.String()+"?"); err != nil {
				return err
			}
			err = p.Revoke(rev)
			p.Close()
			return finish(cmd, f, err, "revoked %s; nodes stop it at their next refresh", rev)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "one sentence that operators will read")
	cmd.Flags().StringArrayVar(&digests, "descriptor", nil, "the digest of a release's descriptor; repeatable")
	cmd.Flags().StringVar(&stolen, "stolen-key", "", "the id of a namespace's key that was stolen")
	cmd.Flags().StringVar(&after, "after", "", "with --stolen-key: when it may have been stolen, as 2026-11-20T08:00:00Z")
	require(cmd, "reason")
	return cmd
}

func stolenKey(cmd *cobra.Command, f folders, p *publish.Publisher, ns, key, after, reason string) (registry.Revocation, error) {
	at, err := time.Parse(time.RFC3339, after)
	if err != nil {
		return registry.Revocation{}, usage.Errorf("--after %q: want a time such as 2026-11-20T08:00:00Z", after)
	}
	if !registry.ValidDigest(key) {
		return registry.Revocation{}, usage.Errorf("--stolen-key: want the whole id of a key, 64 hexadecimal digits")
	}
	rev, good, bad, err := p.StolenKey(ns, []string{key}, at, reason)
	if err == nil && !f.asJSON {
		out := columns.New(cmd.OutOrStdout())
		out.Line(columns.S(columns.Good, "stays good: "), columns.C(orNone(good)))
		out.Line(columns.S(columns.Bad, "withdrawn: "), columns.C(orNone(bad)), columns.S(columns.Dim, "  and whatever else the key signed"))
	}
	return rev, err
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
