package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Draft is a store that reads from another one and keeps to itself what is put into it, until that is taken over or thrown
// away. Its methods may be called at the same time.
type Draft struct {
	base *Dir

	mu   sync.RWMutex // guards all below; held for writing by whoever changes something
	own  *Dir         // nil once it was taken over: then it is the other store
	gone bool
}

// committed ends the name of the folder of a draft that is taken over: from then on Merge can finish the work. No instance
// has a name like that.
const committed = "%taken-over"

// NewDraft makes a draft over a store, with its own values in a folder. What an earlier draft left there is lost.
func NewDraft(base *Dir, folder string) (*Draft, error) {
	if err := os.RemoveAll(folder); err != nil {
		return nil, fmt.Errorf("draft of the state: %w", err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, fmt.Errorf("draft of the state: %w", err)
	}
	return &Draft{base: base, own: Open(folder)}, nil
}

var errDiscarded = errors.New("this process is not in charge any more")

// Get returns the value of a key, nil when there is none.
func (d *Draft) Get(key string) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.gone {
		return nil, fmt.Errorf("read state %q: %w", key, errDiscarded)
	}
	if d.own != nil {
		if value, err := d.own.Get(key); value != nil || err != nil {
			return value, err
		}
	}
	return d.base.Get(key)
}

// Put stores a value. It is on disk when Put returns.
func (d *Draft) Put(key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return fmt.Errorf("store state %q: %w", key, errDiscarded)
	}
	if d.own == nil {
		return d.base.Put(key, value)
	}
	name, err := d.own.file(key)
	if err == nil {
		err = d.roomFor(filepath.Base(name), len(value))
	}
	if err == nil {
		err = replace(name, value)
	}
	if err != nil {
		return fmt.Errorf("store state %q: %w", key, err)
	}
	return nil
}

// roomFor counts both stores as what they will be together.
func (d *Draft) roomFor(name string, size int) error {
	sizes := map[string]int{}
	for _, dir := range []*Dir{d.base, d.own} {
		if err := dir.each(func(name string, size int) { sizes[name] = size }); err != nil {
			return err
		}
	}
	delete(sizes, name)
	total := 0
	for _, n := range sizes {
		total += n
	}
	return Fits(len(sizes), total, size)
}

// Commit puts everything into the other store, which the draft is from then on. After an error either nothing has happened
// and the draft goes on, or it was decided and Merge finishes it later; the values are there in both cases.
func (d *Draft) Commit() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil || d.gone {
		return nil
	}
	d.base.put.Lock()
	defer d.base.put.Unlock()
	to := d.base.path + committed
	if err := Merge(d.base.path); err != nil {
		return err
	}
	if err := os.Rename(d.own.path, to); err != nil {
		return fmt.Errorf("take over the state: %w", err)
	}
	d.own = Open(to)
	if Merge(d.base.path) == nil {
		d.own = nil
	}
	return nil
}

// Discard throws away what was put into a draft that was not taken over. Nothing can be read or stored then.
func (d *Draft) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil || d.gone || strings.HasSuffix(d.own.path, committed) {
		return
	}
	d.gone = true
	os.RemoveAll(d.own.path)
}

// Merge finishes what a Commit into the store in this folder had decided before the host died.
func Merge(path string) error {
	from := path + committed
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take over the state: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // a value that was being written when its writer died
		}
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(path, e.Name())); err != nil {
			return fmt.Errorf("take over the state: %w", err)
		}
	}
	return os.RemoveAll(from)
}
