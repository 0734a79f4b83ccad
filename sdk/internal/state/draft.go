package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Draft is a store that reads from another one and keeps to itself what is put into it, until that is taken over or thrown
// away. Its methods may be called at the same time.
type Draft struct {
	base *Dir
	seat *Seat // in charge of base after Commit

	mu      sync.RWMutex // guards all below; held for writing by whoever changes something
	own     *Dir         // nil once it was taken over: then it is the other store
	decided bool         // own is taken over, and could not be moved yet
	gone    bool

	look sync.Mutex // guards seen
	seen map[string]stamp
}

// stamp is what a value of the other store looked like when the draft last read it, or first put something in front of it.
type stamp struct {
	there, unreadable bool
	sum               [sha256.Size]byte
}

// maxSeen is how many keys are remembered that were only read: a process can ask for endless ones that do not exist.
const maxSeen = 4 * MaxKeys

// ErrOvertaken says that a draft holds something older than the store below it.
var ErrOvertaken = errors.New("the version in charge has stored something newer")

// committed ends the name of the folder of a draft that is taken over: from then on merge can finish the work. No instance
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
	return &Draft{base: base, seat: &Seat{base}, own: Open(folder), seen: map[string]stamp{}}, nil
}

// Get returns the value of a key, nil when there is none.
func (d *Draft) Get(key string) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.gone {
		return nil, fmt.Errorf("read state %q: %w", key, errNotInCharge)
	}
	if d.own == nil {
		return d.base.Get(key)
	}
	if value, err := d.own.Get(key); value != nil || err != nil {
		return value, err
	}
	value, err := d.base.Get(key)
	if !d.decided {
		d.saw(key, stampOf(value, err))
	}
	return value, err
}

// saw remembers what a value was that the process goes by from now on.
func (d *Draft) saw(key string, what stamp) {
	d.look.Lock()
	defer d.look.Unlock()
	if _, known := d.seen[key]; known || len(d.seen) < maxSeen {
		d.seen[key] = what
	}
}

func stampOf(value []byte, err error) stamp {
	if value == nil || err != nil {
		return stamp{unreadable: err != nil}
	}
	return stamp{there: true, sum: sha256.Sum256(value)}
}

// Put stores a value. It is on disk when Put returns.
func (d *Draft) Put(key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.gone:
		return fmt.Errorf("store state %q: %w", key, errNotInCharge)
	case d.own == nil:
		return d.seat.Put(key, value)
	}
	if d.decided {
		d.base.put.Lock()
		defer d.base.put.Unlock()
		if d.base.holder != d.seat {
			return fmt.Errorf("store state %q: %w", key, errNotInCharge)
		}
	}
	if err := d.putOwn(key, value); err != nil {
		return fmt.Errorf("store state %q: %w", key, err)
	}
	return nil
}

func (d *Draft) putOwn(key string, value []byte) error {
	name, err := d.own.file(key)
	if err != nil {
		return err
	}
	if err := d.roomFor(filepath.Base(name), len(value)); err != nil {
		return err
	}
	if !d.decided {
		d.covers(key)
	}
	return replace(name, value)
}

// covers remembers which value the draft is about to put one in front of.
func (d *Draft) covers(key string) {
	d.look.Lock()
	defer d.look.Unlock()
	if _, known := d.seen[key]; !known {
		d.seen[key] = stampOf(d.base.Get(key)) // there is room for it: at most MaxKeys are put
	}
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

// Commit puts everything into the other store, which the draft is from then on; nobody else can store there any more. After
// an error nothing has happened and the draft goes on. It is ErrOvertaken when the other store got a newer value for a key,
// after the draft's process had read or changed it.
func (d *Draft) Commit() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil || d.decided || d.gone {
		return nil
	}
	d.base.put.Lock()
	defer d.base.put.Unlock()
	if err := merge(d.base.path); err != nil {
		return err
	}
	if err := d.overtaken(); err != nil {
		return err
	}
	to := d.base.path + committed
	if err := decide(d.own.path, to); err != nil {
		return fmt.Errorf("take over the state: %w", err)
	}
	d.own, d.decided, d.base.holder = Open(to), true, d.seat
	if merge(d.base.path) == nil {
		d.own = nil
	}
	d.look.Lock()
	d.seen = nil
	d.look.Unlock()
	return nil
}

// overtaken says which of the draft's values is older than one of the other store.
func (d *Draft) overtaken() error {
	d.look.Lock()
	defer d.look.Unlock()
	var late []string
	for key, was := range d.seen {
		mine, err := d.own.Get(key)
		if err != nil {
			return err
		}
		if mine == nil {
			continue // it was only read
		}
		if stampOf(d.base.Get(key)) != was {
			late = append(late, key)
		}
	}
	if len(late) == 0 {
		return nil
	}
	return fmt.Errorf("take over the state: %w under %q, after this one had read or changed it", ErrOvertaken, slices.Min(late))
}

// decide renames the folder of a draft, which is on disk then, or not at all.
func decide(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	err := syncFolder(filepath.Dir(to))
	if err != nil && os.Rename(to, from) != nil {
		return nil // there is no way back: the next start would find it decided
	}
	return err
}

// Discard throws away what was put into a draft that was not taken over. Nothing can be read or stored then.
func (d *Draft) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil || d.decided || d.gone {
		return
	}
	d.gone = true
	os.RemoveAll(d.own.path)
}

// merge finishes what a Commit into the store in this folder had decided.
func merge(path string) error {
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
	if err := syncFolder(path); err != nil { // before the other folder, which is the proof, goes
		return fmt.Errorf("take over the state: %w", err)
	}
	return os.RemoveAll(from)
}
