package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// longAgo marks a file that must not, or must, be written again.
var longAgo = time.Unix(1e9, 0)

// cacheKey is the key of all caches here.
var cacheKey = bytes.Repeat([]byte("k"), 32)

func keyPipe(tb testing.TB) *os.File {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write(cacheKey); err != nil {
		tb.Fatal(err)
	}
	return r
}

// compiledFiles returns the content of the cache's files by their path.
func compiledFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Machine code that somebody changed on disk is never run: it is compiled anew.
func TestTamperedCacheIsRebuilt(t *testing.T) {
	flows := sdktest.SampleFlows()
	want := inProcess(t, flows)
	use := func() {
		t.Helper()
		p, _ := start(t, "wasm")
		i := configure(t, p, `{"limit": 7}`)
		var got findings
		for rest := flows; len(rest) > 0; {
			n := min(records.BatchGuest, len(rest))
			if err := i.Inspect(testContext(t), "c", records.AppendFlows(nil, rest[:n]), &got); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := i.Flush(testContext(t), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if err := p.Stop(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	use()
	good := compiledFiles(t, cacheDir())
	change := func(file string, content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, tamper := range map[string]func(file string, content []byte){
		"a byte flipped in the code": func(file string, content []byte) {
			if !strings.HasSuffix(file, ".mac") {
				bad := bytes.Clone(content)
				bad[len(bad)/2] ^= 1
				change(file, bad)
			}
		},
		"a byte flipped in the MAC": func(file string, content []byte) {
			if strings.HasSuffix(file, ".mac") {
				bad := bytes.Clone(content)
				bad[0] ^= 1
				change(file, bad)
			}
		},
		"no MAC": func(file string, _ []byte) {
			if strings.HasSuffix(file, ".mac") {
				os.Remove(file)
			} else if err := os.Chtimes(file, longAgo, longAgo); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for file, content := range good {
			tamper(file, content)
		}
		use()
		now := compiledFiles(t, cacheDir())
		if len(now) != len(good) {
			t.Errorf("%s: %d files, want %d", what, len(now), len(good))
		}
		for file, content := range good {
			if !bytes.Equal(now[file], content) {
				t.Errorf("%s: %s was not rebuilt", what, filepath.Base(file))
			}
			if info, err := os.Stat(file); err != nil || info.ModTime().Equal(longAgo) {
				t.Errorf("%s: %s was used without a MAC (%v)", what, filepath.Base(file), err)
			}
		}
	}

	// What is right is used again, not compiled again.
	var code string
	for file := range good {
		if !strings.HasSuffix(file, ".mac") {
			code = file
			if err := os.Chtimes(file, longAgo, longAgo); err != nil {
				t.Fatal(err)
			}
		}
	}
	use()
	if info, err := os.Stat(code); err != nil || !info.ModTime().Equal(longAgo) {
		t.Errorf("compiled again though nothing was wrong (%v)", err)
	}
}

func TestVersion(t *testing.T) {
	if out, code := runRunner(t, "--version"); code != 0 || strings.TrimSpace(out) != config.Version {
		t.Errorf("exit code %d, printed %q", code, out)
	}
}
