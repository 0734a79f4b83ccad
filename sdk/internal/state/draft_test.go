package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
	if err := errors.Join(draft.Put("late", nil), draft.Commit()); !errors.Is(err, errDiscarded) {
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
	if err := errors.Join(Merge(base.path), Merge(base.path)); err != nil {
		t.Fatal(err)
	}
	is(t, base, map[string]string{"kept": "old", "changed": "new", "added": ""})
}

// What could not be moved yet is still there for the one in charge.
func TestATakeOverThatStopsHalfway(t *testing.T) {
	base, draft, _ := drafted(t)
	obstacle := filepath.Join(base.path, "added")
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(); err != nil {
		t.Fatal(err)
	}
	is(t, draft, map[string]string{"kept": "old", "changed": "new", "added": ""})
	draft.Discard()
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if err := Merge(base.path); err != nil {
		t.Fatal(err)
	}
	is(t, base, map[string]string{"changed": "new", "added": ""})
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
