// Package bundle carries part of a registry to where it cannot be reached. Export verifies releases online and writes
// them into one tar file; Verify looks at such a file at the border of a site, without a network; Import verifies it
// again and publishes what it brings in the site's own registry, under the site's own root, with the authors' signed
// metadata beside it as evidence.
//
// A bundle is not trusted for anything: it is a slice of the registry's own files, and the same client verifies them as
// verifies the registry. What the first entry, bundle.json, says only bounds what is read.
package bundle

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/registry/internal/tufrules"
	"github.com/picketwatch/picket/sdk"
)

// Schema is the version of the format.
const Schema = 1

// The bounds of a bundle.
const (
	maxManifest = 64 << 20
	maxFiles    = 500_000
	maxTotal    = 256 << 30
)

// Manifest is bundle.json, the first entry of a bundle.
type Manifest struct {
	Schema     int       `json:"schema"`
	RootSHA256 string    `json:"root_sha256"`         // that the exporting node pinned
	Created    time.Time `json:"created"`             // as whoever made it says
	Snapshot   int64     `json:"snapshot"`            // its version
	Continues  bool      `json:"continues,omitempty"` // files that earlier bundles brought are not in it
	Releases   []Release `json:"releases"`
	Files      []File    `json:"files"` // in the order in which they follow
}

// Release is one that the bundle was made for.
type Release struct {
	ID         string `json:"id"`
	Version    string `json:"version"`
	Descriptor string `json:"descriptor_sha256"`
	Card       string `json:"card_sha256,omitempty"`
}

// File is an entry of the bundle and a path in the registry.
type File struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// manifestName is the first entry.
const manifestName = "bundle.json"

func (m *Manifest) check() error {
	if m.Schema != Schema {
		return fmt.Errorf("this build reads schema %d, not %d", Schema, m.Schema)
	}
	if !registry.ValidDigest(m.RootSHA256) {
		return errors.New("root_sha256 is not a SHA-256")
	}
	if len(m.Files) > maxFiles || len(m.Releases) > maxFiles {
		return fmt.Errorf("more than %d files or releases", maxFiles)
	}
	for _, r := range m.Releases {
		if !sdk.ValidID(r.ID) || !registry.ValidDigest(r.Descriptor) {
			return fmt.Errorf("release %q has no valid id and digest", r.ID)
		}
	}
	total, seen := int64(0), make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if err := f.check(); err != nil {
			return err
		}
		if seen[f.Path] {
			return fmt.Errorf("%s appears twice", f.Path)
		}
		seen[f.Path] = true
		total += f.Size
	}
	if total > maxTotal {
		return fmt.Errorf("%d bytes are more than the %d that a bundle may have", total, int64(maxTotal))
	}
	return nil
}

var metadataName = regexp.MustCompile(`^metadata/(?:timestamp|[1-9][0-9]{0,15}\.([a-z0-9-]{1,80}))\.json$`)

// check allows only what a registry has: no other name can come out of a bundle.
func (f File) check() error {
	limit := int64(0)
	switch match := metadataName.FindStringSubmatch(f.Path); {
	case match != nil && match[1] == "":
		limit = tufrules.MaxTimestamp
	case match != nil:
		limit = tufrules.MaxSize(match[1])
	case strings.HasPrefix(f.Path, "store/") && f.Path == registry.StorePath(path.Base(f.Path)) && path.Base(f.Path) == f.SHA256:
		limit = registry.MaxArtifact
	case f.targetOf() != "":
		limit = registry.MaxRevocations
	default:
		return fmt.Errorf("%q is no file of a registry", f.Path)
	}
	if !registry.ValidDigest(f.SHA256) || f.Size < 1 || f.Size > limit {
		return fmt.Errorf("%s: no digest, or a size that is not between 1 and %d", f.Path, limit)
	}
	return nil
}

// targetOf returns the target whose bytes the file holds, "" when it is none. The name carries the digest.
func (f File) targetOf() string {
	hashed, ok := strings.CutPrefix(f.Path, "targets/")
	if !ok {
		return ""
	}
	dir, name := path.Split(hashed)
	digest, base, ok := strings.Cut(name, ".")
	target := dir + base
	if !ok || digest != f.SHA256 {
		return ""
	}
	if _, _, err := registry.ParseTargetPath(target); err != nil && target != registry.RevocationsPath {
		return ""
	}
	return target
}

// Reader goes through a bundle.
type Reader struct {
	Manifest Manifest

	tar  *tar.Reader
	next int
}

// NewReader reads the first entry. Nothing after it is read beyond what it announces.
func NewReader(r io.Reader) (*Reader, error) {
	t := tar.NewReader(r)
	hdr, err := t.Next()
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	if hdr.Name != manifestName || hdr.Typeflag != tar.TypeReg || hdr.Size > maxManifest {
		return nil, fmt.Errorf("read bundle: it does not begin with %s", manifestName)
	}
	data, err := io.ReadAll(io.LimitReader(t, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	b := &Reader{tar: t}
	if err := strict.JSON(data, maxManifest, &b.Manifest); err != nil {
		return nil, fmt.Errorf("read bundle: %s: %w", manifestName, err)
	}
	if err := b.Manifest.check(); err != nil {
		return nil, fmt.Errorf("read bundle: %s: %w", manifestName, err)
	}
	return b, nil
}

// Next returns the next file and its bytes, of which there are at most as many as it announces; who reads them compares
// the digest. At the end it returns io.EOF, or an error when something is left.
func (b *Reader) Next() (File, io.Reader, error) {
	hdr, err := b.tar.Next()
	switch {
	case errors.Is(err, io.EOF) && b.next < len(b.Manifest.Files):
		return File{}, nil, fmt.Errorf("read bundle: it ends before %s", b.Manifest.Files[b.next].Path)
	case errors.Is(err, io.EOF):
		return File{}, nil, io.EOF
	case err != nil:
		return File{}, nil, fmt.Errorf("read bundle: %w", err)
	case b.next == len(b.Manifest.Files):
		return File{}, nil, fmt.Errorf("read bundle: %q is not announced", hdr.Name)
	}
	want := b.Manifest.Files[b.next]
	if hdr.Name != want.Path || hdr.Typeflag != tar.TypeReg || hdr.Size != want.Size {
		return File{}, nil, fmt.Errorf("read bundle: %q, which is not the file that is announced there (%s)", hdr.Name, want.Path)
	}
	b.next++
	return want, io.LimitReader(b.tar, want.Size), nil
}

// write writes a bundle. open returns the bytes of a file.
func write(w io.Writer, m *Manifest, open func(File) (io.ReadCloser, error)) error {
	if err := m.check(); err != nil {
		return err
	}
	first, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := t.WriteHeader(header(manifestName, int64(len(first)), m.Created)); err != nil {
		return err
	}
	if _, err := t.Write(first); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := writeFile(t, f, m.Created, open); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return t.Close()
}

func writeFile(t *tar.Writer, f File, created time.Time, open func(File) (io.ReadCloser, error)) error {
	r, err := open(f)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.WriteHeader(header(f.Path, f.Size, created)); err != nil {
		return err
	}
	_, err = io.Copy(t, r)
	return err
}

func header(name string, size int64, at time.Time) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size, Mode: 0o644, ModTime: at.Truncate(time.Second), Format: tar.FormatPAX}
}
