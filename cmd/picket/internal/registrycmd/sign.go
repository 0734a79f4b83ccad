package registrycmd

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/keyfile"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
)

// result is what a command that changes a registry says with --json.
type result struct {
	Done    bool             `json:"done"` // false: the change waits for signatures
	Text    string           `json:"text"`
	Changes []publish.Change `json:"changes,omitempty"`
	Waiting []publish.Wait   `json:"waiting,omitempty"`
}

// confirm asks on a terminal. Scripts said what they want by calling.
func confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes || !keyfile.Interactive() {
		return nil
	}
	fmt.Fprint(cmd.ErrOrStderr(), question+" [y/N] ")
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was signed")
	}
	return nil
}

func pending(err error) bool {
	var p *publish.PendingError
	return errors.As(err, &p)
}

// finish says how a change ended: done, or waiting for signatures, which is no failure.
func finish(cmd *cobra.Command, f folders, err error, format string, args ...any) error {
	if err != nil && !pending(err) {
		return err
	}
	if err != nil {
		return printPending(cmd, f, err)
	}
	text := fmt.Sprintf(format, args...)
	if f.asJSON {
		return columns.JSON(cmd.OutOrStdout(), result{Done: true, Text: text})
	}
	columns.New(cmd.OutOrStdout()).Line(columns.C(text))
	return nil
}

func printPending(cmd *cobra.Command, f folders, err error) error {
	p, openErr := f.open(cmd)
	if openErr != nil {
		return openErr
	}
	defer p.Close()
	s, statusErr := p.Status()
	if statusErr != nil {
		return statusErr
	}
	if f.asJSON {
		return columns.JSON(cmd.OutOrStdout(), result{Text: err.Error(), Changes: s.Changes, Waiting: s.Waiting})
	}
	out := columns.New(cmd.OutOrStdout())
	printChanges(out, s.Changes, s.Waiting)
	out.Line(columns.S(columns.Warn, "This waits for signatures. "), columns.C("Next: picket registry sign --dir "+f.dir+" --keys "+f.keys+" --export FILE"))
	return nil
}

func printChanges(p *columns.Printer, changes []publish.Change, waiting []publish.Wait) {
	p.Line(columns.S(columns.Bold, "What changes"))
	for _, c := range changes {
		style := columns.Plain
		if c.Warn {
			style = columns.Warn
		}
		p.Line(columns.S(columns.Dim, "  "+c.Role+": "), columns.S(style, c.Text))
	}
	p.Line(columns.S(columns.Bold, "Signatures"))
	rows := make([][]columns.Cell, 0, len(waiting))
	for _, w := range waiting {
		state := columns.S(columns.Good, "enough")
		if len(w.Signed) < w.Threshold {
			state = columns.S(columns.Warn, fmt.Sprintf("%d more of %s", w.Threshold-len(w.Signed), strings.Join(publish.ShortIDs(w.Missing), ", ")))
		}
		rows = append(rows, []columns.Cell{columns.C("  " + w.Role), columns.C(fmt.Sprintf("%d of %d", len(w.Signed), w.Threshold)), state})
	}
	p.Table(rows)
}

func signCmd() *cobra.Command {
	var f folders
	var export, request, out string
	var imports []string
	var discard bool
	cmd := &cobra.Command{
		Use:   "sign --dir DIR --keys DIR [--export FILE | --import FILE... | --discard]",
		Short: "Show what waits for signatures, sign it, and carry it between machines",
		Long: `Show what waits for signatures, sign it, and carry it between machines.

Where the registry is: --export writes the change for those who hold keys elsewhere, --import takes what they signed. The
change comes into force with the last signature it needs. On a machine of its own, without the registry:

  picket registry sign --request FILE --root root.json --keys DIR --out SIGNED

which checks the file from the root down, says in plain words what changes, and asks before it signs.`,
		Example: "  picket registry sign --dir registry --keys online --export change.json\n" +
			"  picket registry sign --request change.json --root root.json --keys /media/alice --out alice.json\n" +
			"  picket registry sign --dir registry --keys online --import alice.json --import bob.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if request != "" {
				return signRequest(cmd, f, request, out)
			}
			if f.dir == "" || f.keys == "" {
				return usage.Errorf("name the registry with --dir and the keys with --keys, or a change to sign with --request")
			}
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			switch {
			case discard:
				return finish(cmd, f, p.Discard(), "the change was dropped")
			case export != "":
				return exportDraft(cmd, f, p, export)
			}
			return signHere(cmd, f, p, imports)
		},
	}
	cmd.Flags().StringVar(&f.dir, "dir", "", "the registry's folder")
	cmd.Flags().StringVar(&f.keys, "keys", "", "where the private keys lie: folders and files, separated by "+string(os.PathListSeparator))
	cmd.Flags().StringVar(&f.root, "root", "", "the root.json to trust")
	cmd.Flags().StringVar(&f.passphrase, "passphrase-file", "", "a file with the passphrase of the keys (default: ask on a terminal)")
	cmd.Flags().StringVar(&export, "export", "", "write the change that waits into this file")
	cmd.Flags().StringArrayVar(&imports, "import", nil, "take the signatures in this file; repeatable")
	cmd.Flags().StringVar(&request, "request", "", "a change that was exported, to sign without the registry")
	cmd.Flags().StringVar(&out, "out", "", "where to write it signed")
	cmd.Flags().BoolVar(&discard, "discard", false, "drop the change")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask before signing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func exportDraft(cmd *cobra.Command, f folders, p *publish.Publisher, file string) error {
	d, err := p.Export()
	if err != nil {
		return err
	}
	if d == nil {
		return errors.New("no change waits for signatures")
	}
	data, err := d.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return err
	}
	return finish(cmd, f, nil, "wrote %s; hand it to those who hold the keys", file)
}

// signHere signs what waits with the keys at hand and takes signatures that came back.
func signHere(cmd *cobra.Command, f folders, p *publish.Publisher, imports []string) error {
	s, err := p.Status()
	if err != nil {
		return err
	}
	out := columns.New(cmd.OutOrStdout())
	if len(s.Changes) == 0 {
		if !f.asJSON {
			printNewcomers(out, s)
		}
		return finish(cmd, f, nil, "no change waits for signatures")
	}
	if !f.asJSON {
		printChanges(out, s.Changes, s.Waiting)
	}
	var back []*publish.Draft
	for _, file := range imports {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		d, err := publish.ParseDraft(data)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		back = append(back, d)
	}
	if err := confirm(cmd, f.yes, "Sign this?"); err != nil {
		return err
	}
	err = p.Import(back...)
	p.Close()
	return finish(cmd, f, err, "signed; the change is in force")
}

// signRequest is for a machine that has keys and no registry.
func signRequest(cmd *cobra.Command, f folders, request, out string) error {
	if f.keys == "" || out == "" {
		return usage.Errorf("--request needs --keys and --out")
	}
	data, err := os.ReadFile(request)
	if err != nil {
		return err
	}
	d, err := publish.ParseDraft(data)
	if err != nil {
		return err
	}
	var root []byte
	if f.root != "" {
		if root, err = os.ReadFile(f.root); err != nil {
			return fmt.Errorf("read root of trust: %w", err)
		}
	}
	r, err := publish.OpenDraft(d, root, f.keys, keyfile.Unlock(cmd, f.passphrase))
	if err != nil {
		return err
	}
	p := columns.New(cmd.OutOrStdout())
	if !f.asJSON {
		if root == nil && !d.Founding {
			p.Line(columns.S(columns.Warn, "Compare the root of this registry with the one you know: "+r.RootSHA256))
		}
		printChanges(p, r.Changes, r.Waiting)
	}
	if !r.Signs() {
		return errors.New("none of the keys here can sign any of this, or they all have")
	}
	if err := confirm(cmd, f.yes, "Sign this?"); err != nil {
		return err
	}
	signed, err := r.Sign()
	if err != nil {
		return err
	}
	if data, err = signed.Encode(); err != nil {
		return err
	}
	if err := os.WriteFile(out, data, 0o644); err != nil {
		return err
	}
	if f.asJSON {
		return columns.JSON(cmd.OutOrStdout(), result{Done: true, Text: "signed into " + out, Changes: r.Changes, Waiting: r.Waiting})
	}
	p.Line(columns.C("signed into " + out + "; send it back to where the registry is"))
	return nil
}

func rotateCmd() *cobra.Command {
	var f folders
	var add, remove []string
	var threshold int
	cmd := &cobra.Command{
		Use:   "rotate --dir DIR --keys DIR ROLE",
		Short: "Change the keys of a role",
		Long: `Change the keys of a role: root, targets, security, revokers, official, claimed, recent, snapshot or timestamp.

--remove takes a key away (its public half, its id, or the first eight digits of that), --add gives one that was made with picket registry
key new, --threshold says how many must sign. Without --add and --remove every key of the role that is at hand is
replaced by a new one beside it. Old and new root keys sign a change of root; nodes that slept follow it step by step.
What needs keys that are elsewhere waits for picket registry sign. Authors change their keys with picket registry claim.`,
		Example: "  picket registry rotate timestamp --dir registry --keys online --remove 3f2a9c01 --add new-timestamp.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			change := publish.KeyChange{Threshold: threshold}
			for _, gone := range remove {
				if strings.HasSuffix(gone, ".pub") {
					key, err := publish.LoadPublicKey(gone)
					if err != nil {
						return err
					}
					gone = registry.KeyID(key)
				}
				change.Remove = append(change.Remove, gone)
			}
			for _, file := range add {
				key, err := publish.LoadPublicKey(file)
				if err != nil {
					return err
				}
				change.Add = append(change.Add, key)
			}
			if len(add)+len(remove) == 0 && threshold == 0 {
				if change, err = p.ReplaceKeys(args[0]); err != nil {
					return err
				}
			}
			if err := confirm(cmd, f.yes, "Change the keys of "+args[0]+"?"); err != nil {
				return err
			}
			err = p.Rotate(args[0], change)
			p.Close()
			return finish(cmd, f, err, "%s has new keys; what the old ones sign from now on is refused", args[0])
		},
	}
	f.flags(cmd)
	cmd.Flags().StringArrayVar(&add, "add", nil, "the public half of a key to add; repeatable")
	cmd.Flags().StringArrayVar(&remove, "remove", nil, "the id or the public half of a key to remove; repeatable")
	cmd.Flags().IntVar(&threshold, "threshold", 0, "how many keys must sign (default: as many as before)")
	return cmd
}

func renewCmd() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use:   "renew --dir DIR --keys DIR [ROLE...]",
		Short: "Sign roles again before their signatures expire, those of offline keys included",
		Long: `Sign roles again before their signatures expire, those of offline keys included.

Without roles: every offline role past half of its life. What the server's keys sign, picket registry timestamp renews.`,
		Example: "  picket registry renew --dir registry --keys online targets claimed",
		RunE: func(cmd *cobra.Command, roles []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			due, err := p.RenewOffline(roles...)
			p.Close()
			if err == nil && len(due) == 0 {
				return finish(cmd, f, nil, "nothing is due")
			}
			return finish(cmd, f, err, "signed again: %s", strings.Join(due, ", "))
		},
	}
	f.flags(cmd)
	return cmd
}

func timestampCmd() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use:   "timestamp --dir DIR --keys DIR",
		Short: "Sign the timestamp again, and what else is past half of its life",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			done, err := p.Renew()
			if err != nil {
				return err
			}
			if f.asJSON {
				return columns.JSON(cmd.OutOrStdout(), done)
			}
			out := columns.New(cmd.OutOrStdout())
			out.Line(columns.C("signed " + strings.Join(done.Signed, ", ") + "; fresh until " + done.Expires.UTC().Format(time.RFC3339)))
			if len(done.Waiting) > 0 {
				out.Line(columns.S(columns.Warn, "due, but their keys are elsewhere: "+strings.Join(done.Waiting, ", ")+" (picket registry renew)"))
			}
			return nil
		},
	}
	f.flags(cmd)
	return cmd
}

func statusCmd() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use:   "status --dir DIR --keys DIR",
		Short: "Show the roles with their keys and dates, and what waits",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer p.Close()
			s, err := p.Status()
			if err != nil {
				return err
			}
			if f.asJSON {
				return columns.JSON(cmd.OutOrStdout(), s)
			}
			printStatus(columns.New(cmd.OutOrStdout()), s)
			return nil
		},
	}
	f.flags(cmd)
	return cmd
}

func printStatus(p *columns.Printer, s *publish.Status) {
	if s.RootSHA256 == "" {
		p.Line(columns.S(columns.Warn, "This registry is being founded."))
	} else {
		p.Line(columns.C(fmt.Sprintf("root %d  %s", s.RootVersion, s.RootSHA256)))
	}
	rows := [][]columns.Cell{{columns.S(columns.Dim, "ROLE"), columns.S(columns.Dim, "WHERE"), columns.S(columns.Dim, "SIGNS"), columns.S(columns.Dim, "VERSION"),
		columns.S(columns.Dim, "UNTIL"), columns.S(columns.Dim, "KEYS")}}
	for _, r := range s.Roles {
		where, until, version := "offline", "", ""
		if r.Online {
			where = "online"
		}
		if r.Version > 0 {
			until, version = r.Expires.UTC().Format("2006-01-02 15:04"), fmt.Sprint(r.Version)
		}
		rows = append(rows, []columns.Cell{columns.C(r.Name), columns.C(where), columns.C(fmt.Sprintf("%d of %d", r.Threshold, len(r.KeyIDs))), columns.C(version),
			columns.C(until), columns.C(strings.Join(publish.ShortIDs(r.KeyIDs), " "))})
	}
	p.Table(rows)
	if len(s.Claimed) > 0 {
		p.Line(columns.C(fmt.Sprintf("confirmed namespaces: %s", strings.Join(s.Claimed, ", "))))
	}
	printNewcomers(p, s)
	if len(s.Changes) > 0 {
		p.Line(columns.S(columns.Warn, "A change waits for signatures."))
		printChanges(p, s.Changes, s.Waiting)
	}
}

func printNewcomers(p *columns.Printer, s *publish.Status) {
	if len(s.Recent) == 0 {
		return
	}
	p.Line(columns.S(columns.Bold, "Namespaces that nobody has confirmed"), columns.S(columns.Dim, "  (picket registry confirm NAME, or drop NAME)"))
	for _, n := range s.Recent {
		p.Line(columns.C(fmt.Sprintf("  %s: claimed on %s by %s with key %s, %d releases", n.Namespace, n.Since.Format(time.DateOnly), n.Contact,
			strings.Join(publish.ShortIDs(n.KeyIDs), ", "), n.Releases)))
	}
}

func keyCmd() *cobra.Command {
	cmd := usage.Group(&cobra.Command{Use: "key", Short: "Make and show keys"})
	var passphrase string
	var plain, asJSON bool
	makeKey := &cobra.Command{
		Use:   "new FILE.pem",
		Short: "Make an Ed25519 key; its public half goes beside it as FILE.pub",
		Long: `Make an Ed25519 key; its public half goes beside it as FILE.pub, for others to use.

The private half is written with mode 0600 under a passphrase, which is asked for on a terminal or read from
--passphrase-file. --plain writes it without: whoever reads that file, or a backup of it, has the key.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if filepath.Ext(args[0]) != ".pem" {
				return usage.Errorf("the name of a key file ends in .pem")
			}
			secret, err := newPassphrase(cmd, passphrase, plain)
			if err != nil {
				return err
			}
			public, err := publish.NewKey(args[0], secret)
			if err != nil {
				return err
			}
			return printKey(cmd, args[0], public, plain, asJSON)
		},
	}
	makeKey.Flags().StringVar(&passphrase, "passphrase-file", "", "a file with the passphrase")
	makeKey.Flags().BoolVar(&plain, "plain", false, "no passphrase")
	makeKey.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	makeKey.MarkFlagsMutuallyExclusive("passphrase-file", "plain")
	show := &cobra.Command{
		Use:   "show FILE.pub",
		Short: "Show the id of a public key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			public, err := publish.LoadPublicKey(args[0])
			if err != nil {
				return err
			}
			return printKey(cmd, args[0], public, false, asJSON)
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(makeKey, show)
	return cmd
}

const minPassphrase = 10

func newPassphrase(cmd *cobra.Command, file string, plain bool) (secret []byte, err error) {
	switch {
	case plain:
		return nil, nil
	case file != "":
		secret, err = keyfile.Passphrase(file)
	case !keyfile.Interactive():
		return nil, usage.Errorf("name a file with a passphrase (--passphrase-file), or accept a key without one (--plain)")
	default:
		fmt.Fprint(cmd.ErrOrStderr(), "new passphrase: ")
		if secret, err = term.ReadPassword(int(os.Stdin.Fd())); err != nil {
			return nil, err
		}
		fmt.Fprint(cmd.ErrOrStderr(), "\nonce more: ")
		again, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil || string(again) != string(secret) {
			return nil, errors.Join(err, errors.New("the two are not the same"))
		}
	}
	if err == nil && len(secret) < minPassphrase {
		err = fmt.Errorf("a passphrase has at least %d characters", minPassphrase)
	}
	return secret, err
}

func printKey(cmd *cobra.Command, file string, public ed25519.PublicKey, plain, asJSON bool) error {
	id := registry.KeyID(public)
	if asJSON {
		return columns.JSON(cmd.OutOrStdout(), map[string]any{"file": file, "key_id": id, "public": fmt.Sprintf("%x", public)})
	}
	p := columns.New(cmd.OutOrStdout())
	p.Table([][]columns.Cell{{columns.S(columns.Dim, "file"), columns.C(file)}, {columns.S(columns.Dim, "key id"), columns.C(id)}})
	if plain {
		p.Line(columns.S(columns.Warn, "This key has no passphrase: whoever reads the file, or a backup of it, can sign as you."))
	}
	return nil
}
