package state

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestPutAndGet(t *testing.T) {
	d := Open(t.TempDir())
	if v, err := d.Get("a"); v != nil || err != nil {
		t.Fatalf("a missing key gave %q, %v", v, err)
	}
	for _, v := range []string{"one", "two", ""} {
		if err := d.Put("a", []byte(v)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Get("a"); err != nil || got == nil || string(got) != v {
			t.Errorf("got %q, %v, want %q", got, err, v)
		}
	}
	left, err := os.ReadDir(d.path)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files, %v: something was left behind", len(left), err)
	}
}

// A key is any text; it never becomes a path.
func TestKeysStayInTheFolder(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "own")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := Open(dir)
	keys := []string{".", "..", "../secret", "a/b", "a\x00b", ".hidden", "10.0.0.1:22", "%41", "ä", string(make([]byte, MaxKey))}
	for i, key := range keys {
		if v, err := d.Get(key); v != nil || err != nil {
			t.Errorf("Get(%q) before there is any: %q, %v", key, v, err)
		}
		if err := d.Put(key, fmt.Append(nil, i)); err != nil {
			t.Errorf("Put(%q): %v", key, err)
		}
	}
	for i, key := range keys {
		if v, err := d.Get(key); err != nil || string(v) != fmt.Sprint(i) {
			t.Errorf("Get(%q) = %q, %v, want %d", key, v, err, i)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != len(keys) {
		t.Errorf("%d files for %d keys, %v", len(files), len(keys), err)
	}
	if around, err := os.ReadDir(root); err != nil || len(around) != 2 {
		t.Errorf("%d files around the folder, %v", len(around), err)
	}
	for _, key := range []string{"", string(make([]byte, MaxKey+1))} {
		if err := d.Put(key, nil); sdk.ClassOf(err) != sdk.Unsupported {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
}

func TestBounds(t *testing.T) {
	d := Open(t.TempDir())
	if err := d.Put("big", make([]byte, MaxValue+1)); err == nil {
		t.Error("a value over the limit was stored")
	}
	for i := range MaxTotal / MaxValue {
		if err := d.Put(fmt.Sprint("k", i), make([]byte, MaxValue)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put("one-more", []byte("x")); err == nil {
		t.Error("a byte over the limit of all was stored")
	}
	if err := d.Put("k0", []byte("x")); err != nil {
		t.Errorf("replacing a value of a full store: %v", err)
	}
	if err := d.Put("one-more", []byte("x")); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if Fits(MaxKeys, 0, 0) == nil || Fits(MaxKeys-1, 0, 0) != nil {
		t.Error("the number of keys is not bounded as it should be")
	}
	if err := Open("").Put("a", nil); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a store without a folder: %v", err)
	}
}
