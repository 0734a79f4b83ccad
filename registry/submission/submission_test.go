package submission_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/submission"
)

type author struct {
	*registrytest.Author
	r *registrytest.Registry
}

func newAuthor(tb testing.TB) author {
	tb.Helper()
	r := registrytest.NewRelease(tb)
	return author{r.Claim(tb, "acme"), r}
}

func release(tb testing.TB) publish.Submission {
	tb.Helper()
	sub := registrytest.Plugin{ID: "acme/agent", Readme: []byte("# Agent\n"), WASM: []byte("guest"), Process: []byte("program")}.Submission(tb)
	sub.Changelog = []byte("# 1.0.0\n")
	sub.Plan = []byte(`{"config": {}}`)
	sub.Descriptor.ChangelogSHA256 = registry.Digest(sub.Changelog)
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 4, 3))); err != nil {
		tb.Fatal(err)
	}
	shot, err := registry.ReadScreenshot("a.png", picture.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	sub.Descriptor.Manifest.Screenshots = []registry.ScreenshotFile{{File: "a.png", Alt: "A picture"}}
	sub.Descriptor.Screenshots = []registry.Screenshot{shot}
	sub.Screenshots = [][]byte{picture.Bytes()}
	return sub
}

// pack writes an archive as its author would.
func (a author) pack(tb testing.TB, sub publish.Submission, keys ...ed25519.PrivateKey) []byte {
	tb.Helper()
	if keys == nil {
		keys = []ed25519.PrivateKey{a.Key}
	}
	var out bytes.Buffer
	a.r.Change(tb, func(p *publish.Publisher) error {
		current, _, err := p.NamespaceFile("acme")
		if err != nil {
			return err
		}
		return submission.Write(&out, submission.Request{RootSHA256: a.r.RootSHA256(tb), Current: current, Keys: keys, Now: a.r.Now(), Release: sub})
	})
	return out.Bytes()
}

func (a author) trust(s *submission.SignedIntent) error {
	return s.Verify(mustRoot(a.r), []ed25519.PublicKey{a.Key.Public().(ed25519.PublicKey)}, a.r.Now())
}

func mustRoot(r *registrytest.Registry) string {
	data, err := os.ReadFile(r.RootFile())
	if err != nil {
		return ""
	}
	return registry.Digest(data)
}

func TestArchiveToUpload(t *testing.T) {
	a := newAuthor(t)
	sub := release(t)
	up, err := submission.Read(t.Context(), bytes.NewReader(a.pack(t, sub)), t.TempDir(), a.trust)
	if err != nil {
		t.Fatal(err)
	}
	got := up.Releases[0]
	if string(got.Readme) != "# Agent\n" || string(got.Changelog) != "# 1.0.0\n" || string(got.Plan) != `{"config": {}}` || len(got.Screenshots) != 1 || len(got.Artifacts) != 2 {
		t.Errorf("%+v", got)
	}
	a.r.Change(t, func(p *publish.Publisher) error { return p.Accept(t.Context(), up) })
	report, err := publish.Verify(a.r.Dir, nil, a.r.Now())
	if err != nil || len(report.Releases) != 1 || report.Releases[0].Problem != "" {
		t.Errorf("%+v, %v", report, err)
	}
}

// Nobody but the namespace's owner gets beyond the first read.
func TestStrangersAreToldSoAtOnce(t *testing.T) {
	a := newAuthor(t)
	sub := release(t)
	for name, c := range map[string]struct {
		data []byte
		now  time.Duration
		root string
		want string
	}{
		"a stranger's key":       {data: a.pack(t, sub, registrytest.NewKey(t)), want: "keys signed"},
		"for another registry":   {data: a.pack(t, sub), root: strings.Repeat("0", 64), want: "another registry"},
		"from last year":         {data: a.pack(t, sub), now: 400 * 24 * time.Hour, want: "pack it again"},
		"from the day after":     {data: a.pack(t, sub), now: -48 * time.Hour, want: "pack it again"},
		"a change of the intent": {data: bytes.Replace(a.pack(t, sub), []byte(`"size":8`), []byte(`"size":9`), 1), want: "keys signed"},
	} {
		t.Run(name, func(t *testing.T) {
			root := c.root
			if root == "" {
				root = a.r.RootSHA256(t)
			}
			r := &counting{r: bytes.NewReader(c.data)}
			_, err := submission.Read(t.Context(), r, t.TempDir(), func(s *submission.SignedIntent) error {
				return s.Verify(root, []ed25519.PublicKey{a.Key.Public().(ed25519.PublicKey)}, a.r.Now().Add(c.now))
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if r.n > 64<<10 {
				t.Errorf("%d bytes were read", r.n)
			}
		})
	}
}

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// entry is one entry of a tar taken apart.
type entry struct {
	h    *tar.Header
	data []byte
}

func apart(t *testing.T, data []byte) []entry {
	t.Helper()
	var list []entry
	in := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, entry{h, body})
	}
}

func together(t *testing.T, list []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range list {
		if err := w.WriteHeader(e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// resign makes the intent fit what an author with bad intentions changed.
func (a author) resign(t *testing.T, list []entry, change func(*submission.Intent)) []entry {
	t.Helper()
	var s submission.SignedIntent
	if err := json.Unmarshal(list[0].data, &s); err != nil {
		t.Fatal(err)
	}
	s.Intent.Entries = nil
	for _, e := range list[1:] {
		s.Intent.Entries = append(s.Intent.Entries, submission.Entry{Name: e.h.Name, SHA256: registry.Digest(e.data), Size: int64(len(e.data))})
	}
	if change != nil {
		change(&s.Intent)
	}
	payload, err := json.Marshal(s.Intent)
	if err != nil {
		t.Fatal(err)
	}
	s.Signatures = []registry.Signature{registry.SignStatement(submission.StatementPublish, payload, a.Key)}
	if list[0].data, err = json.Marshal(s); err != nil {
		t.Fatal(err)
	}
	list[0].h.Size = int64(len(list[0].data))
	return list
}

// An author whose key was stolen, or who means harm, gets no further than what a release is.
func TestHostileArchives(t *testing.T) {
	a := newAuthor(t)
	good := a.pack(t, release(t))
	plain := func(name string, data []byte) entry {
		return entry{&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}, data}
	}
	for name, c := range map[string]struct {
		make func(list []entry) []byte
		want string
	}{
		"an entry too many": {func(l []entry) []byte {
			return together(t, append(l, plain("extra", []byte("x"))))
		}, "there is more"},
		"an entry too few": {func(l []entry) []byte { return together(t, l[:len(l)-1]) }, "missing"},
		"cut in the middle": {func(l []entry) []byte {
			data := together(t, l)
			return data[:len(data)-3*512-10]
		}, ""},
		"entries in another order": {func(l []entry) []byte {
			l[1], l[2] = l[2], l[1]
			return together(t, l)
		}, "stands where"},
		"other bytes": {func(l []entry) []byte {
			l[3].data = bytes.Repeat([]byte("x"), len(l[3].data))
			return together(t, l)
		}, "other bytes"},
		"a path upwards": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l, plain("screenshots/../../x.png", nil)), nil))
		}, "not a name"},
		"an absolute path": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l, plain("/etc/passwd", nil)), nil))
		}, "not a name"},
		"a blob under another's name": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l, plain("blobs/"+strings.Repeat("a", 64), []byte("x"))), nil))
		}, "not its sha256"},
		"a blob that nothing names": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l, plain("blobs/"+registry.Digest([]byte("x")), []byte("x"))), nil))
		}, "no artifact"},
		"an entry twice": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l, plain("readme.MD", nil)), func(i *submission.Intent) { i.Entries[len(i.Entries)-1].Name = "README.md" }))
		}, "twice"},
		"a link": {func(l []entry) []byte {
			a.resign(t, l, nil)
			h := l[len(l)-1].h
			l[len(l)-1] = entry{&tar.Header{Typeflag: tar.TypeSymlink, Name: h.Name, Linkname: "/etc/passwd", Mode: 0o777}, nil}
			return together(t, l)
		}, "not a plain file"},
		"a device": {func(l []entry) []byte {
			a.resign(t, l, nil)
			h := l[len(l)-1].h
			l[len(l)-1] = entry{&tar.Header{Typeflag: tar.TypeChar, Name: h.Name, Mode: 0o644}, nil}
			return together(t, l)
		}, "not a plain file"},
		"extended headers": {func(l []entry) []byte {
			l[1].h = &tar.Header{Typeflag: tar.TypeReg, Name: l[1].h.Name, Size: l[1].h.Size, Format: tar.FormatPAX, PAXRecords: map[string]string{"PICKET.x": "y"}}
			return together(t, l)
		}, "not a plain file"},
		"a size that is huge": {func(l []entry) []byte {
			return together(t, a.resign(t, l, func(i *submission.Intent) { i.Entries[2].Size = 1 << 40 }))
		}, "at most"},
		"a size that is negative": {func(l []entry) []byte {
			return together(t, a.resign(t, l, func(i *submission.Intent) { i.Entries[2].Size = -1 }))
		}, "at most"},
		"more than a server holds": {func(l []entry) []byte {
			return together(t, a.resign(t, l, func(i *submission.Intent) {
				for n := range 5 {
					digest := registry.Digest([]byte{byte(n)})
					i.Entries = append(i.Entries, submission.Entry{Name: "blobs/" + digest, SHA256: digest, Size: registry.MaxArtifact})
				}
			}))
		}, "at most"},
		"thousands of entries": {func(l []entry) []byte {
			return together(t, a.resign(t, l, func(i *submission.Intent) {
				for n := range 200 {
					digest := registry.Digest(fmt.Append(nil, n))
					i.Entries = append(i.Entries, submission.Entry{Name: "blobs/" + digest, SHA256: digest, Size: 1})
				}
			}))
		}, "at most"},
		"another's release": {func(l []entry) []byte {
			return together(t, a.resign(t, l, func(i *submission.Intent) { i.Namespace = "zebra" }))
		}, "not of the namespace"},
		"a picture of another size": {func(l []entry) []byte {
			l[2].data = bytes.Replace(l[2].data, []byte(`"width":4`), []byte(`"width":5`), 1)
			return together(t, a.resign(t, l, nil))
		}, "4×3"},
		"another README": {func(l []entry) []byte {
			l[3].data = []byte("# Other\n")
			return together(t, a.resign(t, l, nil))
		}, "README.md is not the one"},
		"no README": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l[:3:3], l[4:]...), nil))
		}, "README.md is not the one"},
		"no release": {func(l []entry) []byte {
			return together(t, a.resign(t, append(l[:2:2], l[3:]...), nil))
		}, "the first entries"},
		"no intent": {func(l []entry) []byte { return together(t, l[1:]) }, "intent.json"},
		"nothing":   {func([]entry) []byte { return nil }, "no archive"},
		"not a tar": {func([]entry) []byte { return bytes.Repeat([]byte("PK\x03\x04"), 1000) }, "no archive"},
		"a zeroed end": {func(l []entry) []byte {
			return append(together(t, l), make([]byte, 1<<20)...)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := submission.Read(t.Context(), bytes.NewReader(c.make(apart(t, good))), dir, a.trust)
			if name == "a zeroed end" { // tar is padded; what follows its end is not looked at
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// An archive that never ends is left at the size that it declared.
func TestEndlessArchive(t *testing.T) {
	a := newAuthor(t)
	list := apart(t, a.pack(t, release(t)))
	data := together(t, a.resign(t, list, nil))
	data = data[:len(data)-2*512] // without the end
	endless := &counting{r: io.MultiReader(bytes.NewReader(data), zeros{1})}
	if _, err := submission.Read(t.Context(), endless, t.TempDir(), a.trust); err == nil {
		t.Error("read to the end of what has none")
	}
	if endless.n > len(data)+64<<10 {
		t.Errorf("%d bytes were read, %d declared", endless.n, len(data))
	}
}

type zeros struct{ fill byte }

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = z.fill
	}
	return len(p), nil
}

func TestWriteRefuses(t *testing.T) {
	a := newAuthor(t)
	sub := release(t)
	a.r.Change(t, func(p *publish.Publisher) error {
		current, _, err := p.NamespaceFile("acme")
		if err != nil {
			return err
		}
		req := submission.Request{RootSHA256: a.r.RootSHA256(t), Current: current, Keys: []ed25519.PrivateKey{a.Key}, Now: a.r.Now(), Release: sub}
		for _, path := range sub.Artifacts {
			if err := os.WriteFile(path, []byte("changed since"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := submission.Write(io.Discard, req); err == nil || !strings.Contains(err.Error(), "build again") {
			t.Errorf("artifacts that changed since: %v", err)
		}
		clear(req.Release.Artifacts)
		if err := submission.Write(io.Discard, req); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("no artifacts: %v", err)
		}
		return nil
	})
}

func FuzzRead(f *testing.F) {
	a := newAuthor(f)
	sub := registrytest.Plugin{ID: "acme/agent", Readme: []byte("x")}.Submission(f)
	f.Add(a.pack(f, sub))
	f.Add([]byte("intent.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		in := &counting{r: io.MultiReader(bytes.NewReader(data), io.LimitReader(zeros{0}, 1<<20))}
		up, err := submission.Read(t.Context(), in, dir, func(*submission.SignedIntent) error { return nil })
		if err == nil {
			if _, err := up.Releases[0].Descriptor.Encode(); err != nil {
				t.Error("an upload came out that is not in order")
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !registry.ValidDigest(e.Name()) {
				t.Errorf("a file %q was written", e.Name())
			}
		}
	})
}
