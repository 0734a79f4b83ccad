package broker

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func modelFile(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // what the host may do is not what the plugin may
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestModel(t *testing.T) {
	gone := modelFile(t, "gone")
	gone.Close()
	r := startWith(t, Config{}, Model{ID: "acme/words", Version: "1.2.0", Digest: "ab", File: modelFile(t, "the words")},
		Model{ID: "acme/gone", Version: "1.0.0", File: gone})
	first, err := r.Model("acme/words")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := r.Model("acme/words")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := io.CopyN(io.Discard, first.Closer.(*os.File), 4); err != nil { // by the descriptor itself
		t.Error(err)
	}
	if data, err := io.ReadAll(second.Closer.(*os.File)); err != nil || string(data) != "the words" {
		t.Errorf("one open model moves another: %q, %v", data, err)
	}
	if data, err := first.Bytes(); err != nil || string(data) != "the words" || first.Version != "1.2.0" || first.Digest != "ab" {
		t.Errorf("%q of %+v, %v", data, first, err)
	}
	if _, err := first.Closer.(*os.File).WriteAt([]byte("x"), 0); err == nil {
		t.Error("the plugin writes with a descriptor of its own")
	}
	if _, err := r.Model("acme/gone"); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("one that the host has closed: %v", err)
	}
	if list, _ := r.Use(); len(list) != 0 {
		t.Errorf("what it requires counts as a use of a permission: %+v", list)
	}
}

// What the manifest does not name is refused and noted, as a model and as a path.
func TestModelOfAnother(t *testing.T) {
	r := startWith(t, Config{}, Model{ID: "acme/words", File: modelFile(t, "the words")})
	if _, err := r.Model("acme/secret"); sdk.ClassOf(err) != sdk.PermissionDenied || !strings.Contains(err.Error(), "requires") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Open("acme/secret"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("got %v", err)
	}
	if u := find(t, r.Broker, capModel, "acme/secret"); u.Denied != 2 || u.Count != 0 {
		t.Errorf("noted as %+v", u)
	}
	for _, bad := range []string{"/etc/hostname", "words", "acme/words/more", ""} {
		if _, err := r.Model(bad); sdk.ClassOf(err) != sdk.Internal {
			t.Errorf("model %q: %v", bad, err)
		}
	}
}
