// Package state is the small key-value store of an instance: one file per key in a folder of its own, replaced as a
// whole or not at all.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/sdk"
)

const (
	// MaxValue is the largest value.
	MaxValue = 1 << 20
	// MaxKeys is the largest number of keys.
	MaxKeys = 256
	maxKey  = 100
)

// Dir is a store in a folder.
type Dir struct{ path string }

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
		return nil, fmt.Errorf("read state %s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxValue {
		return nil, fmt.Errorf("read state %s: not a file of at most %d bytes", key, MaxValue)
	}
	value, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read state %s: %w", key, err)
	}
	return value, nil
}

// Put stores a value. It is on disk when Put returns.
func (d *Dir) Put(key string, value []byte) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	if len(value) > MaxValue {
		return fmt.Errorf("store state %s: %d bytes are more than %d", key, len(value), MaxValue)
	}
	if err := d.roomFor(name); err != nil {
		return fmt.Errorf("store state %s: %w", key, err)
	}
	if err := replace(name, value); err != nil {
		return fmt.Errorf("store state %s: %w", key, err)
	}
	return nil
}

func (d *Dir) roomFor(name string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	entries, err := os.ReadDir(d.path)
	if err == nil && len(entries) >= MaxKeys {
		err = fmt.Errorf("there are %d keys already", MaxKeys)
	}
	return err
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
	return os.Rename(f.Name(), name)
}

func (d *Dir) file(key string) (string, error) {
	if d.path == "" {
		return "", sdk.Errorf(sdk.Unsupported, "this instance has no folder for its state")
	}
	if !validKey(key) {
		return "", fmt.Errorf("state key %q: letters, digits and . _ - within %d bytes, not beginning with a dot", key, maxKey)
	}
	return filepath.Join(d.path, key), nil
}

func validKey(key string) bool {
	if key == "" || len(key) > maxKey || key[0] == '.' {
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
