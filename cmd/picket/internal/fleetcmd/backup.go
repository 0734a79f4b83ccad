package fleetcmd

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/core/kernel/backup"
)

// Backup returns `picket backup`.
func Backup() *cobra.Command {
	s := newServer()
	cmd := &cobra.Command{Use: "backup", Short: "Make, list, download and check backups of a running server",
		Long: "Asks a running picketd over its API for backups; `picketd restore` unpacks one. An administrator's token is needed; `picket token create` makes one.\n" +
			"`verify` reads a file and needs no server."}
	s.flags(cmd)
	cmd.AddCommand(backupCreate(s), backupList(s), backupDownload(s), backupVerify(s))
	return cmd
}

type madeBackup struct {
	Name      string    `json:"name"`
	Mode      string    `json:"mode"`
	Created   time.Time `json:"created"`
	Size      int64     `json:"size"`
	Encrypted bool      `json:"encrypted"`
	Scheduled bool      `json:"scheduled"`
	State     string    `json:"state"`
}

type madeBackups struct {
	Items  []madeBackup `json:"items"`
	Failed string       `json:"failed"`
}

const backupPoll = 500 * time.Millisecond

func backupCreate(s *server) *cobra.Command {
	var order struct {
		Mode       string `json:"mode"`
		Recipient  string `json:"recipient,omitempty"`
		Passphrase string `json:"passphrase,omitempty"`
		Captures   bool   `json:"captures,omitempty"`
	}
	var phraseFile string
	cmd := &cobra.Command{Use: "create", Short: "Make a backup on the server and wait for it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if order.Passphrase, err = passphrase(phraseFile); err != nil {
				return err
			}
			var made madeBackup
			if err := s.call(cmd.Context(), http.MethodPost, "/admin/backups", nil, order, &made); err != nil {
				return err
			}
			for {
				var list madeBackups
				if err := s.call(cmd.Context(), http.MethodGet, "/admin/backups", nil, nil, &list); err != nil {
					return err
				}
				for _, b := range list.Items {
					if b.Name == made.Name && b.State == "done" {
						fmt.Fprintln(cmd.OutOrStdout(), b.Name)
						return nil
					}
				}
				if list.Failed != "" {
					return errors.New(list.Failed)
				}
				select {
				case <-time.After(backupPoll):
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				}
			}
		}}
	cmd.Flags().StringVar(&order.Mode, "mode", "full", "full, data (without samples) or config (without all that was measured and found)")
	cmd.Flags().StringVar(&order.Recipient, "recipient", "", "encrypt it for this `KEY` of age (age1…)")
	cmd.Flags().StringVar(&phraseFile, "passphrase-file", "", "encrypt it with the passphrase in this `FILE`")
	cmd.Flags().BoolVar(&order.Captures, "captures", false, "with the captures that people handed in")
	return cmd
}

func backupList(s *server) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Which backups the server keeps", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list madeBackups
			if err := s.call(cmd.Context(), http.MethodGet, "/admin/backups", nil, nil, &list); err != nil {
				return err
			}
			return s.show(cmd, func(p *columns.Printer) {
				var rows [][]columns.Cell
				for _, b := range list.Items {
					how := b.State
					if b.Encrypted {
						how += ", encrypted"
					}
					rows = append(rows, []columns.Cell{columns.C(b.Name), columns.C(fmt.Sprintf("%.1f MB", float64(b.Size)/1e6)), columns.S(columns.Dim, how)})
				}
				p.Table(rows)
				if len(rows) == 0 {
					p.Line(columns.S(columns.Dim, "no backup is kept"))
				}
			})
		}}
}

func backupDownload(s *server) *cobra.Command {
	var to string
	cmd := &cobra.Command{Use: "download NAME", Short: "Fetch a backup from the server", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if to == "" {
				to = args[0]
			}
			resp, err := s.api.Open(cmd.Context(), http.MethodGet, "/api/v1/admin/backups/"+url.PathEscape(args[0]), "", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			n, err := io.Copy(f, resp.Body)
			if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
				err = fmt.Errorf("%d of %d bytes came", n, resp.ContentLength)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(err, os.Remove(to))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", to, n)
			return nil
		}}
	cmd.Flags().StringVarP(&to, "output", "o", "", "write to this `FILE` (default: its name)")
	return cmd
}

func backupVerify(s *server) *cobra.Command {
	var keyFile, phraseFile string
	cmd := &cobra.Command{Use: "verify FILE", Short: "Read a backup from end to end and compare every digest", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := openKeys(keyFile, phraseFile)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := backup.Read(cmd.Context(), f, keys, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if s.asJSON {
				return columns.JSON(cmd.OutOrStdout(), r)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is whole: %s, made %s by picketd %s, %d files, %d bytes\n", args[0], r.Head.Mode,
				r.Head.Created.Format("2006-01-02 15:04 MST"), r.Head.Version, r.Files, r.Bytes)
			return nil
		}}
	cmd.Flags().StringVar(&keyFile, "key-file", "", "a `FILE` with the key of age that opens it")
	cmd.Flags().StringVar(&phraseFile, "passphrase-file", "", "a `FILE` with the passphrase that opens it")
	return cmd
}

func passphrase(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

func openKeys(keyFile, phraseFile string) ([]age.Identity, error) {
	phrase, err := passphrase(phraseFile)
	if err != nil {
		return nil, err
	}
	if keyFile == "" {
		return backup.Keys(nil, phrase)
	}
	f, err := os.Open(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	defer f.Close()
	return backup.Keys(f, phrase)
}
