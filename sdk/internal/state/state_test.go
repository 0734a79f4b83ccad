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
		if got, err := d.Get("a"); err != nil || string(got) != v {
			t.Errorf("got %q, %v, want %q", got, err, v)
		}
	}
	left, err := os.ReadDir(d.path)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files, %v: something was left behind", len(left), err)
	}
}

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
	for _, key := range []string{"", ".", "..", "../secret", "a/b", "a\x00b", ".hidden", string(make([]byte, 200))} {
		if _, err := d.Get(key); err == nil {
			t.Errorf("Get(%q) was allowed", key)
		}
		if err := d.Put(key, nil); err == nil {
			t.Errorf("Put(%q) was allowed", key)
		}
	}
}

func TestBounds(t *testing.T) {
	d := Open(t.TempDir())
	if err := d.Put("big", make([]byte, MaxValue+1)); err == nil {
		t.Error("a value over the limit was stored")
	}
	for i := range MaxKeys {
		if err := d.Put(fmt.Sprint("k", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put("one-more", nil); err == nil {
		t.Error("a key over the limit was stored")
	}
	if err := d.Put("k0", []byte("x")); err != nil {
		t.Errorf("replacing a value of a full store: %v", err)
	}
	if err := Open("").Put("a", nil); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a store without a folder: %v", err)
	}
}
