package sdkbundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func sample(t *testing.T, inTar string) fstest.MapFS {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: inTar, Mode: 0o644, Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{
		"README": file("none"), "VERSION": file("9.9.9\n"), "go.version": file("v9.9.9\n"), "go.sum": file("sum\n"),
		"go/" + GoModule + "/@v/list": file("v9.9.9\n"), "rust/picket-sdk.tar": file(b.String()), "python/a.whl": file("wheel"),
	}
}

func TestPathUnpacksOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	b, err := open(sample(t, "Cargo.toml"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := b.Path()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go/" + GoModule + "/@v/list", "rust/picket-sdk/Cargo.toml", "python/a.whl"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	if crate, err := Crate(dir); err != nil || filepath.Base(crate) != "picket-sdk" {
		t.Errorf("the crate is at %q, %v", crate, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mark"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := b.Path(); err != nil || again != dir {
		t.Errorf("%q, %v", again, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "mark")); err != nil {
		t.Error("unpacked anew though it was there")
	}
	if err := b.Extract(dir); err == nil {
		t.Error("unpacked over a folder that holds something")
	}
}

func TestGoEnvKeepsWhatWasSet(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	b, err := open(sample(t, "Cargo.toml"))
	if err != nil {
		t.Fatal(err)
	}
	env, err := b.GoEnv(append(os.Environ(), "GOPROXY=https://modules.example.com,off", "GONOSUMDB=example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if len(env) != 2 || !strings.HasPrefix(env[0], "GOPROXY=file:///") || !strings.HasSuffix(env[0], "9.9.9/go,https://modules.example.com,off") ||
		env[1] != "GONOSUMDB=example.com,"+GoModule {
		t.Errorf("%q", env)
	}
	twice, err := b.GoEnv(append(os.Environ(), env...))
	if err != nil || twice[0] != env[0] || twice[1] != env[1] {
		t.Errorf("a second time it grows: %q, %v", twice, err)
	}
}

func TestABundleWithoutOrWithABadSDK(t *testing.T) {
	if _, err := open(fstest.MapFS{"README": {}}); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	b, err := open(sample(t, "../../evil"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Extract(filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("got %v", err)
	}
}
