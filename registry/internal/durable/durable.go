// Package durable writes files that survive a crash: a reader sees the old content or the new one, never a part, and
// what was written before a return is on the disk after a power cut.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces path with data. The folder must exist.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
}

// File is a file under construction. Write to it, then Commit; Abort after Commit does nothing.
type File struct {
	tmp  *os.File
	path string
	mode fs.FileMode
}

// Create starts a file that will replace path.
func Create(path string, mode fs.FileMode) (*File, error) {
	if err := Step(OpCreate, path); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &File{tmp: tmp, path: path, mode: mode}, nil
}

func (f *File) Write(p []byte) (int, error) {
	if err := Step(OpWrite, f.path); err != nil {
		return 0, err
	}
	return f.tmp.Write(p)
}

// Commit makes the content durable and puts it in place.
func (f *File) Commit() error {
	err := errors.Join(f.tmp.Chmod(f.mode), f.sync(), f.tmp.Close())
	name := f.tmp.Name()
	f.tmp = nil
	if err == nil {
		err = Rename(name, f.path)
	}
	if err != nil {
		os.Remove(name)
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return SyncDir(filepath.Dir(f.path))
}

func (f *File) sync() error {
	if err := Step(OpSync, f.path); err != nil {
		return err
	}
	return f.tmp.Sync()
}

// Rename is os.Rename as a step of its own. It is durable after SyncDir.
func Rename(from, to string) error {
	if err := Step(OpRename, to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Remove is os.Remove as a step of its own. It is durable after SyncDir.
func Remove(path string) error {
	if err := Step(OpRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

// Abort removes an uncommitted file.
func (f *File) Abort() {
	if f.tmp == nil {
		return
	}
	f.tmp.Close()
	os.Remove(f.tmp.Name())
	f.tmp = nil
}

// ReadFile reads a regular file of at most maxBytes. A FIFO or a device would block or never end.
func ReadFile(path string, maxBytes int64) ([]byte, error) {
	return readFile(path, maxBytes, os.Stat, os.Open)
}

// ReadFileIn is ReadFile for a file of a folder that no link leads out of.
func ReadFileIn(dir *os.Root, name string, maxBytes int64) ([]byte, error) {
	return readFile(name, maxBytes, dir.Stat, dir.Open)
}

func readFile(name string, maxBytes int64, stat func(string) (os.FileInfo, error), open func(string) (*os.File, error)) ([]byte, error) {
	info, err := stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data bytes.Buffer
	data.Grow(int(min(info.Size(), maxBytes)) + bytes.MinRead) // one piece instead of one for each doubling
	if _, err := data.ReadFrom(io.LimitReader(f, maxBytes+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > maxBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxBytes)
	}
	return data.Bytes(), nil
}
