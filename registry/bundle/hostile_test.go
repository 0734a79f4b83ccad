package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
)

// entry is a tar entry of a hostile bundle.
type entry struct {
	name, link string
	kind       byte
	data       []byte
}

func tarOf(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		hdr := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Size: int64(len(e.data)), Mode: 0o644}
		if e.kind != tar.TypeReg {
			hdr.Size = 0
		}
		if err := w.WriteHeader(hdr); err != nil {
			tb.Fatal(err)
		}
		if hdr.Size > 0 {
			if _, err := w.Write(e.data); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func manifestOf(tb testing.TB, files ...File) []byte {
	tb.Helper()
	data, err := json.Marshal(Manifest{Schema: Schema, RootSHA256: strings.Repeat("a", 64), Created: time.Now(), Files: files})
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func fileOf(path string, data []byte) File {
	return File{Path: path, SHA256: registry.Digest(data), Size: int64(len(data))}
}

// TestAttackHostileBundles: nothing lands outside of the folder, and nothing more than was announced.
func TestAttackHostileBundles(t *testing.T) {
	blob := []byte("some bytes")
	good := fileOf(registry.StorePath(registry.Digest(blob)), blob)
	stamp := fileOf("metadata/timestamp.json", blob)
	huge := good
	huge.Size = registry.MaxArtifact + 1
	first := func(files ...File) entry { return entry{name: manifestName, data: manifestOf(t, files...)} }
	named := func(name string) []entry { return []entry{first(fileOf(name, blob)), {name: name, data: blob}} }
	many := make([]File, 0, 1000)
	for range 1000 {
		many = append(many, File{Path: "metadata/timestamp.json", SHA256: stamp.SHA256, Size: 1})
	}
	for name, entries := range map[string][]entry{
		"nothing":                          {},
		"no manifest":                      {{name: good.Path, data: blob}},
		"a manifest that is a link":        {{name: manifestName, kind: tar.TypeSymlink, link: "/etc/passwd"}},
		"a manifest that is no JSON":       {{name: manifestName, data: []byte("{")}},
		"a manifest of another schema":     {{name: manifestName, data: bytes.Replace(manifestOf(t), []byte(`"schema":1`), []byte(`"schema":2`), 1)}},
		"a member twice":                   {{name: manifestName, data: bytes.Replace(manifestOf(t), []byte(`"schema":1`), []byte(`"schema":1,"schema":1`), 1)}},
		"a path upwards":                   named("../outside"),
		"a path upwards in the store":      named("store/sha256/../../outside"),
		"an absolute path":                 named("/tmp/outside"),
		"a backslash":                      named(`metadata\timestamp.json`),
		"a dot file":                       named(".border/node/seen.json"),
		"a name that is not the digest":    named("store/sha256/" + strings.Repeat("b", 64)),
		"a target under another digest":    named("targets/plugins/acme/agent/1.0.0/" + strings.Repeat("b", 64) + ".release.json"),
		"a role with a slash":              named("metadata/1.ns/../x.json"),
		"a file twice":                     {first(stamp, stamp), {name: stamp.Path, data: blob}, {name: stamp.Path, data: blob}},
		"a thousand times one file":        {first(many...)},
		"an artifact beyond the limit":     {first(huge), {name: good.Path, data: blob}},
		"a timestamp of megabytes":         {first(File{Path: stamp.Path, SHA256: stamp.SHA256, Size: 1 << 20})},
		"a size below zero":                {first(File{Path: stamp.Path, SHA256: stamp.SHA256, Size: -1})},
		"a link in the place of a file":    {first(good), {name: good.Path, kind: tar.TypeSymlink, link: "/etc/passwd"}},
		"a hard link":                      {first(good), {name: good.Path, kind: tar.TypeLink, link: manifestName}},
		"a FIFO":                           {first(good), {name: good.Path, kind: tar.TypeFifo}},
		"a folder":                         {first(good), {name: good.Path, kind: tar.TypeDir}},
		"an entry that is not announced":   {first(good), {name: good.Path, data: blob}, {name: "metadata/timestamp.json", data: blob}},
		"entries in another order":         {first(good, stamp), {name: stamp.Path, data: blob}, {name: good.Path, data: blob}},
		"one that ends too early":          {first(good, stamp), {name: good.Path, data: blob}},
		"other bytes of the same length":   {first(good), {name: good.Path, data: []byte("SOME BYTES")}},
		"more bytes than it announces":     {first(good), {name: good.Path, data: append(blob, blob...)}},
		"fewer bytes than it announces":    {first(good), {name: good.Path, data: blob[:4]}},
		"a manifest in the second place":   {first(good), {name: manifestName, data: manifestOf(t)}},
		"a device":                         {first(good), {name: good.Path, kind: tar.TypeChar}},
		"a root digest that is no digest":  {{name: manifestName, data: bytes.Replace(manifestOf(t), []byte(strings.Repeat("a", 64)), []byte("../../x"), 1)}},
		"a release with a path for its id": {{name: manifestName, data: bytes.Replace(manifestOf(t), []byte(`"releases":null`), []byte(`"releases":[{"id":"../x","version":"1.0.0","descriptor_sha256":"a"}]`), 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			file, dir := filepath.Join(base, "b.tar"), filepath.Join(base, "in", "side")
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, tarOf(t, entries...), 0o600)); err != nil {
				t.Fatal(err)
			}
			if _, err := unpack(t.Context(), file, dir); err == nil {
				t.Error("it was unpacked")
			}
			outside, _ := filepath.Glob(filepath.Join(base, "*"))
			inside, _ := filepath.Glob(filepath.Join(base, "in", "*"))
			if len(outside) != 2 || len(inside) != 1 {
				t.Errorf("outside: %v, %v", outside, inside)
			}
		})
	}
	t.Run("a good one", func(t *testing.T) {
		file, dir := filepath.Join(t.TempDir(), "b.tar"), t.TempDir()
		if err := os.WriteFile(file, tarOf(t, first(good, stamp), entry{name: good.Path, data: blob}, entry{name: stamp.Path, data: blob}), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(t.Context(), file, dir); err != nil {
			t.Error(err)
		}
	})
}

// A sparse file announces gigabytes and has none: what is written is bounded by what the first entry announces.
func TestAttackEndlessBundle(t *testing.T) {
	blob := []byte("x")
	f := fileOf(registry.StorePath(registry.Digest(blob)), blob)
	f.Size = 100 << 20
	head := tarOf(t, entry{name: manifestName, data: manifestOf(t, f)})
	var b bytes.Buffer
	b.Write(head[:len(head)-1024]) // without the end
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: f.Path, Typeflag: tar.TypeReg, Size: 8 << 30, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(io.MultiReader(&b, zeros{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Next(); err == nil {
		t.Error("a file of 8 GB was taken for one of 100 MB")
	}
	if _, err := NewReader(zeros{}); err == nil {
		t.Error("zeros are a bundle")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzReader(f *testing.F) {
	blob := []byte("some bytes")
	good := fileOf(registry.StorePath(registry.Digest(blob)), blob)
	f.Add(tarOf(f, entry{name: manifestName, data: manifestOf(f, good)}, entry{name: good.Path, data: blob}))
	f.Add(tarOf(f, entry{name: manifestName, data: manifestOf(f)}))
	f.Add([]byte(strings.Repeat("\x00", 2048)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			file, body, err := r.Next()
			if err != nil {
				return
			}
			if !filepath.IsLocal(file.Path) || strings.ContainsAny(file.Path, "\\\x00") {
				t.Fatalf("the name %q came out", file.Path)
			}
			if read, _ := io.Copy(io.Discard, body); read > file.Size {
				t.Fatalf("%d bytes came out of %d", read, file.Size)
			}
			if n > len(r.Manifest.Files) {
				t.Fatalf("more files than announced: %d", n)
			}
		}
	})
}
