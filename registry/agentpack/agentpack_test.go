package agentpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var longAgo = time.Unix(1, 0)

func programs(t *testing.T, goos string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range Programs {
		if err := os.WriteFile(filepath.Join(dir, Name(p, goos)), []byte("I am "+p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatIsPackedComesOut(t *testing.T) {
	for _, goos := range []string{"linux", "windows"} {
		dir := programs(t, goos)
		var one, two bytes.Buffer
		if err := Write(&one, dir, goos); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, Name(Programs[0], goos)), longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
		if err := Write(&two, dir, goos); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Error("the same programs gave other bytes")
		}
		got := map[string]string{}
		err := Read(&one, goos, func(name string, _ int64, r io.Reader) error {
			b, err := io.ReadAll(r)
			got[name] = string(b)
			return err
		})
		if err != nil || len(got) != len(Programs) || got[Name("picket-wasm", goos)] != "I am picket-wasm" {
			t.Errorf("%s: %v, %v", goos, got, err)
		}
	}
	if err := Write(io.Discard, programs(t, "linux"), "windows"); err == nil {
		t.Error("packed programs of another system")
	}
}

func TestNothingElseComesOut(t *testing.T) {
	good := func(h *tar.Header) {}
	for name, c := range map[string]struct {
		change func(*tar.Header)
		says   string
	}{
		"a path out of it": {func(h *tar.Header) { h.Name = "picket-agent/../../etc/passwd" }, "does not belong"},
		"another folder":   {func(h *tar.Header) { h.Name = "bin/picket-agent" }, "does not belong"},
		"an absolute path": {func(h *tar.Header) { h.Name = "/picket-agent/picket-agent" }, "does not belong"},
		"another file":     {func(h *tar.Header) { h.Name = "picket-agent/run-me" }, "does not belong"},
		"a link":           {func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/bin/sh", 0 }, "does not belong"},
		"twice":            {good, "does not belong"},
		"one is missing":   {nil, "lacks picket-launch"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			zip := gzip.NewWriter(&b)
			pack := tar.NewWriter(zip)
			put := func(change func(*tar.Header)) {
				h := &tar.Header{Name: "picket-agent/picket-agent", Mode: 0o755, Size: 1, Typeflag: tar.TypeReg}
				change(h)
				if err := pack.WriteHeader(h); err != nil {
					t.Fatal(err)
				}
				if _, err := pack.Write([]byte("x")[:h.Size]); err != nil {
					t.Fatal(err)
				}
			}
			put(good)
			if c.change != nil {
				put(c.change)
			}
			if err := pack.Close(); err != nil {
				t.Fatal(err)
			}
			if err := zip.Close(); err != nil {
				t.Fatal(err)
			}
			err := Read(&b, "linux", func(_ string, _ int64, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
	if err := Read(strings.NewReader("no gzip"), "linux", nil); err == nil {
		t.Error("read what is no archive")
	}
}
