// Package keyfile reads private keys for commands that sign, and asks people for passphrases.
package keyfile

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/registry/publish"
)

// Unlock asks for the passphrase of a key, once for each file. A passphrase file answers instead of a person.
func Unlock(cmd *cobra.Command, file string) publish.Unlock {
	if file != "" {
		return func(string) ([]byte, error) { return Passphrase(file) }
	}
	if !Interactive() {
		return nil
	}
	return func(path string) ([]byte, error) {
		fmt.Fprintf(cmd.ErrOrStderr(), "passphrase of %s: ", path)
		defer fmt.Fprintln(cmd.ErrOrStderr())
		return term.ReadPassword(int(os.Stdin.Fd()))
	}
}

// Passphrase reads a file that holds one.
func Passphrase(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	return []byte(strings.TrimRight(string(data), "\r\n")), nil
}

// Interactive reports whether somebody can be asked.
func Interactive() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// Load reads the keys of several files, each once.
func Load(cmd *cobra.Command, files []string, passphrase string) ([]ed25519.PrivateKey, error) {
	keys := make([]ed25519.PrivateKey, 0, len(files))
	for _, file := range files {
		key, err := publish.LoadKey(file, Unlock(cmd, passphrase))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k ed25519.PrivateKey) bool { return k.Equal(key) }) {
			return nil, fmt.Errorf("%s holds a key that was named before", file)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
