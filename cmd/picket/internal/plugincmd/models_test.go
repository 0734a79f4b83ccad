package plugincmd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
)

func TestModelFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "words.txt")
	if err := os.WriteFile(file, []byte("the words"), 0o600); err != nil {
		t.Fatal(err)
	}
	models, err := readModels([]string{"acme/words=" + file})
	if err != nil || len(models) != 1 || models["acme/words"] != file {
		t.Errorf("%v, %v", models, err)
	}
	for _, bad := range []string{"acme/words", "words=" + file, "acme/words=" + file + ".not", "acme/words=" + filepath.Dir(file), "=" + file} {
		if _, err := readModels([]string{bad}); !errors.As(err, new(*usage.Error)) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	m := &registry.Manifest{ID: "acme/odd", Requires: []registry.Requirement{{Plugin: "acme/words", Version: "^1"}}}
	if err := checkModels(m, models); err != nil {
		t.Error(err)
	}
	if err := checkModels(&registry.Manifest{ID: "acme/odd"}, models); err == nil || !strings.Contains(err.Error(), "requires") {
		t.Errorf("a model that production would not open: %v", err)
	}
}

// The kit takes models from the flags, from what kit.json names, and from beside what the gates of a registry run.
func TestModelsOfATest(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	m := &registry.Manifest{ID: "acme/odd", Requires: []registry.Requirement{{Plugin: "acme/words"}, {Plugin: "acme/table"}}}
	named, given, beside := put("testdata/words.txt"), put("other.txt"), put("models/acme/table")
	how := plan{Models: map[string]string{"acme/words": "words.txt"}}
	source, release := &plugin{manifest: m, src: dir, dir: dir}, &plugin{manifest: m, dir: dir}

	got, err := (&tester{}).modelsFor(source, how)
	if err != nil || got["acme/words"] != named || got["acme/table"] != "" {
		t.Errorf("a source folder: %v, %v", got, err)
	}
	got, err = (&tester{modelFlags: []string{"acme/words=" + given}}).modelsFor(source, how)
	if err != nil || got["acme/words"] != given {
		t.Errorf("a flag counts more: %v, %v", got, err)
	}
	got, err = (&tester{}).modelsFor(release, plan{Models: map[string]string{"acme/words": "gone.txt"}})
	if err != nil || got["acme/table"] != beside || got["acme/words"] != "" {
		t.Errorf("a release: %v, %v", got, err)
	}
	for _, bad := range []string{"../other.txt", "/etc/passwd"} {
		if _, err := (&tester{}).modelsFor(source, plan{Models: map[string]string{"acme/words": bad}}); err == nil {
			t.Errorf("%s lies below testdata", bad)
		}
	}
	if _, err := (&tester{}).modelsFor(source, plan{Models: map[string]string{"acme/secret": "words.txt"}}); err == nil {
		t.Error("what is not required is handed over")
	}
}
