package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// drafted returns a store with two values and a draft over it that changed one and added another.
func drafted(t *testing.T) (base *Dir, draft *Draft, own string) {
	t.Helper()
	root := t.TempDir()
	path := filepath.Join(root, "live")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	base, own = Open(path), filepath.Join(root, "draft")
	put(t, base, "kept", "old")
	put(t, base, "changed", "old")
	draft, err := NewDraft(base, own)
	if err != nil {
		t.Fatal(err)
	}
	put(t, draft, "changed", "new")
	put(t, draft, "added", "")
	return base, draft, own
}

type store interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

func put(t *testing.T, s store, key, value string) {
	t.Helper()
	if err := s.Put(key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// is checks what a store holds; "-" stands for nothing.
func is(t *testing.T, s store, want map[string]string) {
	t.Helper()
	for key, value := range want {
		got, err := s.Get(key)
		if err != nil || (got == nil) != (value == "-") || got != nil && string(got) != value {
			t.Errorf("%s: %q, %v, want %q", key, got, err, value)
		}
	}
}

func TestADraftKeepsToItself(t *testing.T) {
	base, draft, own := drafted(t)
	is(t, base, map[string]string{"kept": "old", "changed": "old", "added": "-"})
	is(t, draft, map[string]string{"kept": "old", "changed": "new", "added": ""})
	put(t, base, "kept", "later")
	is(t, draft, map[string]string{"kept": "later"})
	draft.Discard()
	is(t, base, map[string]string{"kept": "later", "changed": "old", "added": "-"})
	if _, err := os.Stat(own); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left something behind: %v", err)
	}
	if err := errors.Join(draft.Put("late", nil), draft.Commit()); !errors.Is(err, errNotInCharge) {
		t.Errorf("used after its end: %v", err)
	}
	is(t, base, map[string]string{"late": "-", "changed": "old"})
}

func TestADraftIsTakenOver(t *testing.T) {
	base, draft, own := drafted(t)
	put(t, base, "kept", "later")
	if err := draft.Commit(); err != nil {
		t.Fatal(err)
	}
	is(t, base, map[string]string{"kept": "later", "changed": "new", "added": ""})
	put(t, draft, "after", "yes")
	draft.Discard() // too late
	is(t, base, map[string]string{"after": "yes", "changed": "new"})
	is(t, draft, map[string]string{"after": "yes", "changed": "new"})
	for _, left := range []string{own, base.path + committed} {
		if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", left, err)
		}
	}
}

// A host that died after the decision takes the values over at its next start.
func TestATakeOverIsFinishedLater(t *testing.T) {
	base, _, own := drafted(t)
	if err := os.Rename(own, base.path+committed); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := base.TakeCharge(); err != nil {
			t.Fatal(err)
		}
	}
	is(t, base, map[string]string{"kept": "old", "changed": "new", "added": ""})
}

// What could not be moved yet is still there for the one in charge.
func TestATakeOverThatStopsHalfway(t *testing.T) {
	base, draft, _ := drafted(t)
	obstacle := filepath.Join(base.path, "stuck")
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, draft, "stuck", "new")
	if err := draft.Commit(); err != nil {
		t.Fatal(err)
	}
	is(t, draft, map[string]string{"kept": "old", "changed": "new", "added": "", "stuck": "new"})
	draft.Discard()
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if _, err := base.TakeCharge(); err != nil {
		t.Fatal(err)
	}
	is(t, base, map[string]string{"changed": "new", "added": "", "stuck": "new"})
	if err := draft.Put("changed", nil); !errors.Is(err, errNotInCharge) {
		t.Errorf("the process before stores: %v", err)
	}
}

func TestADraftHasNoMoreRoomThanTheStore(t *testing.T) {
	base, draft, _ := drafted(t)
	big := strings.Repeat("x", MaxValue)
	for i := range MaxTotal/MaxValue - 1 {
		put(t, base, "big"+string(rune('a'+i)), big)
	}
	if err := draft.Put("more", []byte(big)); err == nil {
		t.Error("a draft stores more than fits into the store")
	}
	put(t, draft, "biga", big) // in the place of the other one
}

// What the store got after the draft's process had read or changed a key is not put away.
func TestADraftThatWasOvertaken(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(base *Dir, draft *Draft)
		late bool
	}{
		{"changed in both", func(base *Dir, _ *Draft) { put(t, base, "changed", "newer") }, true},
		{"changed back", func(base *Dir, _ *Draft) { put(t, base, "changed", "newer"); put(t, base, "changed", "old") }, false},
		{"added to both", func(base *Dir, _ *Draft) { put(t, base, "added", "newer") }, true},
		{"changed before the draft's", func(base *Dir, draft *Draft) { put(t, base, "kept", "newer"); put(t, draft, "kept", "mine") }, false},
		{"read, changed, and then changed by the draft", func(base *Dir, draft *Draft) {
			is(t, draft, map[string]string{"kept": "old"})
			put(t, base, "kept", "newer")
			put(t, draft, "kept", "mine")
		}, true},
		{"read anew before the draft's", func(base *Dir, draft *Draft) {
			is(t, draft, map[string]string{"kept": "old"})
			put(t, base, "kept", "newer")
			is(t, draft, map[string]string{"kept": "newer"})
			put(t, draft, "kept", "mine")
		}, false},
		{"not there when it was read", func(base *Dir, draft *Draft) {
			is(t, draft, map[string]string{"late": "-"})
			put(t, base, "late", "")
			put(t, draft, "late", "mine")
		}, true},
		{"only read by the draft", func(base *Dir, draft *Draft) {
			is(t, draft, map[string]string{"kept": "old"})
			put(t, base, "kept", "newer")
		}, false},
		{"after too many keys", func(base *Dir, draft *Draft) {
			for i := range maxSeen + 1 {
				is(t, draft, map[string]string{"none" + strconv.Itoa(i): "-"})
			}
			put(t, draft, "kept", "mine")
			put(t, base, "kept", "newer")
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, draft, own := drafted(t)
			c.do(base, draft)
			err := draft.Commit()
			if errors.Is(err, ErrOvertaken) != c.late {
				t.Fatalf("taken over: %v", err)
			}
			if !c.late {
				return
			}
			is(t, draft, map[string]string{"changed": "new"}) // it goes on as it was
			draft.Discard()
			if _, err := os.Stat(own); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it left something behind: %v", err)
			}
		})
	}
}

// Who was in charge stores nothing after the take-over, also what it began to store before.
func TestWhoIsNotInChargeStoresNothing(t *testing.T) {
	base, draft, _ := drafted(t)
	old, err := base.TakeCharge()
	if err != nil {
		t.Fatal(err)
	}
	put(t, old, "kept", "by the old one")
	stored, over := make(chan error, 1), make(chan struct{})
	go func() {
		for done := false; !done; {
			select {
			case <-over:
				done = true
			default:
				done = old.Put("kept", []byte("and again")) != nil
			}
		}
		stored <- old.Put("changed", []byte("late"))
	}()
	err = draft.Commit()
	close(over)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-stored; !errors.Is(err, errNotInCharge) {
		t.Errorf("the old one stores: %v", err)
	}
	is(t, old, map[string]string{"changed": "new"}) // it may read
	next, err := NewDraft(base, filepath.Join(t.TempDir(), "next"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, draft, "changed", "newer")
	put(t, next, "changed", "newest")
	if err := next.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := draft.Put("changed", []byte("late")); !errors.Is(err, errNotInCharge) {
		t.Errorf("a draft that was taken over, and then replaced, stores: %v", err)
	}
	is(t, base, map[string]string{"changed": "newest"})
}

// The rename that decides is on disk before the first value moves, and the last value before the proof of it goes.
func TestATakeOverIsOnDisk(t *testing.T) {
	base, draft, own := drafted(t)
	root, to, real := filepath.Dir(base.path), base.path+committed, syncFolder
	t.Cleanup(func() { syncFolder = real })
	there := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	broken := errors.New("the disk is broken")
	var steps []string
	fail := true
	syncFolder = func(path string) error {
		steps = append(steps, fmt.Sprint(filepath.Base(path), " draft:", there(own), " decided:", there(to), " moved:", there(filepath.Join(base.path, "added"))))
		if fail {
			return broken
		}
		return real(path)
	}
	if err := draft.Commit(); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	fail = false
	is(t, base, map[string]string{"changed": "old", "added": "-"})
	put(t, draft, "more", "of it")
	if err := draft.Commit(); err != nil {
		t.Fatal(err)
	}
	decided := filepath.Base(root) + " draft:false decided:true moved:false"
	want := []string{decided, "draft draft:true decided:false moved:false", decided, "live draft:false decided:true moved:true"}
	if !slices.Equal(steps, want) {
		t.Errorf("got %q\nwant %q", steps, want)
	}
	is(t, base, map[string]string{"changed": "new", "added": "", "more": "of it"})
}
