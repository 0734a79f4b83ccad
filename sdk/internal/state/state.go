// Package state is the small key-value store of an instance: one file per key in a folder of its own, replaced as a
// whole or not at all.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/picketwatch/picket/sdk"
)

const (
	// MaxKey is the longest key in bytes.
	MaxKey = 128
	// MaxValue is the largest value in bytes.
	MaxValue = 1 << 20
	// MaxKeys is the largest number of keys.
	MaxKeys = 1024
	// MaxTotal is the size of all values in bytes.
	MaxTotal = 16 << 20
)

// Dir is a store in a folder. Its methods may be called at the same time.
type Dir struct {
	path string

	put    sync.Mutex // one Put at a time, so that two do not share the same room; guards what follows
	holder *Seat      // the only one that may store; the folder itself can always be stored into
}

// Seat is the store as the process has it that is in charge: it stores until another takes its place. It may read on then.
type Seat struct{ dir *Dir }

var errNotInCharge = errors.New("this process is not in charge any more")

// TakeCharge finishes what an earlier take-over had decided, and returns the store for a process that is in charge from now
// on. Whoever was before can store nothing more.
func (d *Dir) TakeCharge() (*Seat, error) {
	d.put.Lock()
	defer d.put.Unlock()
	if err := merge(d.path); err != nil {
		return nil, err
	}
	d.holder = &Seat{d}
	return d.holder, nil
}

// Get returns the value of a key, nil when there is none.
func (s *Seat) Get(key string) ([]byte, error) { return s.dir.Get(key) }

// Put stores a value. It is on disk when Put returns.
func (s *Seat) Put(key string, value []byte) error { return s.dir.putAs(s, key, value) }

// Open returns the store in the folder, which must exist when it is used. An empty path gives a store that refuses.
func Open(path string) *Dir { return &Dir{path: path} }

// Get returns the value of a key, nil when there is none.
func (d *Dir) Get(key string) ([]byte, error) {
	name, err := d.file(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxValue {
		return nil, fmt.Errorf("read state %q: not a file of at most %d bytes", key, MaxValue)
	}
	value, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", key, err)
	}
	return value, nil
}

// Put stores a value, whoever is in charge. It is on disk when Put returns.
func (d *Dir) Put(key string, value []byte) error { return d.putAs(nil, key, value) }

func (d *Dir) putAs(s *Seat, key string, value []byte) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	d.put.Lock()
	defer d.put.Unlock()
	if s != nil && s != d.holder {
		return fmt.Errorf("store state %q: %w", key, errNotInCharge)
	}
	if err := d.roomFor(filepath.Base(name), len(value)); err != nil {
		return fmt.Errorf("store state %q: %w", key, err)
	}
	if err := replace(name, value); err != nil {
		return fmt.Errorf("store state %q: %w", key, err)
	}
	return nil
}

// roomFor counts what is there instead of remembering it: during an upgrade two processes share the store.
func (d *Dir) roomFor(name string, size int) error {
	if err := Fits(0, 0, size); err != nil {
		return err
	}
	keys, total := 0, 0
	err := d.each(func(other string, size int) {
		if other != name {
			keys, total = keys+1, total+size
		}
	})
	if err != nil {
		return err
	}
	return Fits(keys, total, size)
}

// each tells the name and the size of every value's file.
func (d *Dir) each(tell func(name string, size int)) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		tell(e.Name(), int(info.Size()))
	}
	return nil
}

// Fits says why a value has no room beside as many other keys with values of total bytes.
func Fits(keys, total, size int) error {
	switch {
	case size > MaxValue:
		return sdk.Errorf(sdk.Unsupported, "%d bytes are more than %d", size, MaxValue)
	case keys >= MaxKeys:
		return sdk.Errorf(sdk.Unsupported, "there are %d keys already", keys)
	case total+size > MaxTotal:
		return sdk.Errorf(sdk.Unsupported, "with %d bytes more the values would have %d, at most %d are allowed", size, total+size, MaxTotal)
	}
	return nil
}

// replace writes a new file beside the old one and renames it, so that a crash leaves one of them whole.
func replace(name string, value []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(value); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

// syncFolder puts the names in a folder on disk. Tests exchange it.
var syncFolder = func(path string) error {
	if runtime.GOOS == "windows" {
		return nil // there is no such call
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// file names the file of a key: the key itself where it makes a fine name, else what it hashes to.
func (d *Dir) file(key string) (string, error) {
	if d.path == "" {
		return "", sdk.Errorf(sdk.Unsupported, "this instance has no folder for its state")
	}
	if err := CheckKey(key); err != nil {
		return "", err
	}
	if !plain(key) {
		sum := sha256.Sum256([]byte(key))
		key = "%" + hex.EncodeToString(sum[:])
	}
	return filepath.Join(d.path, key), nil
}

// CheckKey refuses an empty key and one that is too long.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return sdk.Errorf(sdk.Unsupported, "state key %.140q: it must have 1 to %d bytes", key, MaxKey)
	}
	return nil
}

func plain(key string) bool {
	if key[0] == '.' || len(key) > 100 {
		return false
	}
	for i := range len(key) {
		c := key[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}
