package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

var head = Head{Mode: Full, Version: "1.2.3", Created: time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)}

func make1(t *testing.T, files map[string]string, to ...age.Recipient) []byte {
	t.Helper()
	dir := t.TempDir()
	var out bytes.Buffer
	w, err := NewWriter(t.Context(), &out, head, to...)
	must(t, err)
	for name, content := range files {
		path := filepath.Join(dir, "x")
		must(t, os.WriteFile(path, []byte(content), 0o600))
		must(t, w.Add(name, path))
	}
	must(t, w.Close())
	return out.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	return id
}

var files = map[string]string{"control.db": "state", "telemetry/20261104.duckdb": strings.Repeat("samples ", 100_000), "keys/command.pem": ""}

func TestThereAndBack(t *testing.T) {
	key := identity(t)
	for name, c := range map[string]struct {
		raw  []byte
		keys []age.Identity
	}{
		"plain":     {make1(t, files), nil},
		"encrypted": {make1(t, files, key.Recipient()), []age.Identity{identity(t), key}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			report, err := Extract(t.Context(), bytes.NewReader(c.raw), c.keys, dir)
			must(t, err)
			if report.Head.Mode != Full || report.Head.Version != "1.2.3" || report.Files != 3 || report.Encrypted != (c.keys != nil) {
				t.Errorf("%+v", report)
			}
			for name, want := range files {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if must(t, err); string(got) != want {
					t.Errorf("%s is another", name)
				}
			}
		})
	}
}

// Nothing is left of a backup that is not as it was made, and the words say what is wrong with it.
func TestRefused(t *testing.T) {
	key := identity(t)
	plain, sealed := make1(t, files), make1(t, files, key.Recipient())
	phrase, err := Recipient("", "correct horse battery")
	must(t, err)
	keyed := make1(t, map[string]string{"a": "b"}, phrase...)
	wrong, err := Keys(nil, "incorrect horse battery")
	must(t, err)
	flip := func(raw []byte, at int) []byte {
		raw = bytes.Clone(raw)
		raw[at] ^= 1
		return raw
	}
	cases := map[string]struct {
		raw  []byte
		keys []age.Identity
		want error
	}{
		"no key":           {sealed, nil, ErrEncrypted},
		"wrong key":        {sealed, []age.Identity{identity(t)}, ErrKey},
		"wrong passphrase": {keyed, wrong, ErrKey},
		"empty":            {nil, nil, ErrCut},
		"something else":   {[]byte("PK\x03\x04 a zip file"), nil, ErrForeign},
		"more behind":      {append(bytes.Clone(plain), 'x'), nil, nil},
	}
	for i := range 40 {
		at := 5 + i*(len(plain)-6)/40
		cases[fmt.Sprint("altered at ", at)] = struct {
			raw  []byte
			keys []age.Identity
			want error
		}{flip(plain, at), nil, nil}
		cases[fmt.Sprint("cut off at ", at)] = struct {
			raw  []byte
			keys []age.Identity
			want error
		}{plain[:at], nil, ErrCut}
		at = 25 + i*(len(sealed)-26)/40
		cases[fmt.Sprint("encrypted, altered at ", at)] = struct {
			raw  []byte
			keys []age.Identity
			want error
		}{flip(sealed, at), []age.Identity{key}, nil}
		cases[fmt.Sprint("encrypted, cut off at ", at)] = struct {
			raw  []byte
			keys []age.Identity
			want error
		}{sealed[:at], []age.Identity{key}, nil}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			_, err := Extract(t.Context(), bytes.NewReader(c.raw), c.keys, dir)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if c.want == nil && !errors.Is(err, ErrAltered) && !errors.Is(err, ErrCut) && !errors.Is(err, ErrKey) && !errors.Is(err, ErrForeign) {
				t.Errorf("says %v", err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Error("something is left")
			}
		})
	}
}

// Whoever makes an archive by hand cannot write outside the folder.
func TestHostileNames(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "../evil", Typeflag: tar.TypeReg}, {Name: "/etc/evil", Typeflag: tar.TypeReg}, {Name: "a/../../evil", Typeflag: tar.TypeReg},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		{Name: "a//b", Typeflag: tar.TypeReg}, {Name: "dir/", Typeflag: tar.TypeDir}, {Name: `a\b`, Typeflag: tar.TypeReg},
	} {
		t.Run(h.Name, func(t *testing.T) {
			var out bytes.Buffer
			w, err := NewWriter(t.Context(), &out, head)
			must(t, err)
			must(t, w.tar.WriteHeader(&h))
			must(t, w.Close())
			_, err = Extract(t.Context(), &out, nil, filepath.Join(t.TempDir(), "new"))
			if !errors.Is(err, ErrAltered) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	var out bytes.Buffer
	w, err := NewWriter(f.Context(), &out, head)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = Read(t.Context(), bytes.NewReader(raw), nil, nil)
	})
}
