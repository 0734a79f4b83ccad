package pluginhost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/config"
)

// helperPatience is how long a helper may take to say its version, on a machine that is busy starting.
const helperPatience = 20 * time.Second

// CheckHelper makes sure that a helper program is in the folder and of this program's own version: the two speak with
// each other in ways that may change from one version to the next.
func CheckHelper(dir, name string) error {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("helper program %s is missing from %s: install Picket anew: %w", name, dir, err)
	}
	if info.Mode()&0o111 == 0 {
		return fmt.Errorf("helper program %s cannot be executed: install Picket anew", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{}, "/", time.Second
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("helper program %s does not say its version, this program is %s: install Picket anew: %w", path, config.Version, err)
	}
	if got := strings.TrimSpace(string(out)); got != config.Version {
		return fmt.Errorf("helper program %s has version %.40q, this program has %q: install Picket anew, all programs of one version",
			path, got, config.Version)
	}
	return nil
}

const guestKeySize = 32

// readGuestKey returns the key that vouches for compiled guests. Without one, or with one that others may have seen, a
// new one is made: it costs compiling again.
func readGuestKey(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0 && info.Size() == guestKeySize {
		return os.ReadFile(path)
	}
	key := make([]byte, guestKeySize)
	rand.Read(key) // never fails
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return key, os.WriteFile(path, key, 0o600)
}

// keyPipe is a pipe with the key in it, which a guest's runner empties.
func keyPipe(key []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for the key of the compiled guests: %w", err)
	}
	defer w.Close()
	if _, err := w.Write(key); err != nil { // fits into the pipe
		return nil, errors.Join(fmt.Errorf("pipe for the key of the compiled guests: %w", err), r.Close())
	}
	return r, nil
}
