package core

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is the server's data folder.
type folder struct {
	root string // absolute
	lock *os.File
}

func (f folder) path(elem ...string) string {
	return filepath.Join(append([]string{f.root}, elem...)...)
}

// claim makes the data folder ours: two servers on one folder would overwrite each other's state.
func claim(dir string) (folder, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return folder{}, fmt.Errorf("data folder %s: %w", dir, err)
	}
	f := folder{root: root}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return folder{}, fmt.Errorf("data folder %s cannot be made (%w): choose another with --data", root, plain(err))
	}
	// Others have no business in it; what was more open before is closed.
	if err := os.Chmod(root, 0o700); err != nil {
		return folder{}, fmt.Errorf("data folder %s is not ours (%w): run as its owner or choose another with --data", root, plain(err))
	}
	f.lock, err = os.OpenFile(f.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return folder{}, fmt.Errorf("data folder %s is not writable (%w): run as its owner or choose another with --data", root, plain(err))
	}
	if err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return folder{}, &InUseError{Dir: root}
		}
		return folder{}, fmt.Errorf("data folder %s cannot be locked (%w)", root, plain(err))
	}
	return f, nil
}

// InUseError says that another server runs on the data folder.
type InUseError struct{ Dir string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("data folder %s is in use by another picketd: stop that one or choose another folder with --data", e.Dir)
}

// release lets another server have the folder. The kernel does the same when this process dies.
func (f folder) release() { f.lock.Close() }

// plain drops the operation and the path from an error that stands in a sentence naming them.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
