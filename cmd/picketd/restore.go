package main

import (
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core"
	"github.com/picketwatch/picket/core/kernel/backup"
	"github.com/picketwatch/picket/core/kernel/config"
)

func restoreCommand() *cobra.Command {
	var dir, file, key, phrase string
	cmd := &cobra.Command{
		Use:   "restore BACKUP --data DIR",
		Short: "Unpack a backup into a new data folder, after all of it was checked",
		Long: "Unpacks a backup into a data folder that does not exist yet, or is empty. All of it is read and compared with its digests first.\n" +
			"The key of the secrets at rest is in no backup: put the server's own back beside the data folder.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := config.Load(file)
			if err != nil {
				return err
			}
			override(cmd, "data", &settings.Data, dir)
			keys, err := backupKeys(key, phrase)
			if err != nil {
				return err
			}
			report, err := core.Restore(cmd.Context(), args[0], settings.Data, keys)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Restored a %s backup of %s, made by picketd %s: %d files, %d bytes, into %s.\n", report.Head.Mode,
				report.Head.Created.Format("2006-01-02 15:04 MST"), report.Head.Version, report.Files, report.Bytes, settings.Data)
			if _, err := os.Stat(settings.SecretKeyFile()); err != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "The key of its secrets is not at %s: copy it there before the server starts.\n", settings.SecretKeyFile())
			}
			return nil
		},
	}
	preset := config.Default()
	cmd.Flags().StringVar(&file, "config", "", "settings file (default: "+config.DefaultFile+", if it is there)")
	cmd.Flags().StringVar(&dir, "data", preset.Data, "data folder")
	cmd.Flags().StringVar(&key, "key-file", "", "a `FILE` with the key of age that opens the backup")
	cmd.Flags().StringVar(&phrase, "passphrase-file", "", "a `FILE` with the passphrase that opens the backup")
	return cmd
}

func backupKeys(keyFile, phraseFile string) (keys []age.Identity, err error) {
	phrase := ""
	if phraseFile != "" {
		raw, err := os.ReadFile(phraseFile)
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		phrase = strings.TrimRight(string(raw), "\r\n")
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
