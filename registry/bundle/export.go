package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// Export verifies releases in a client's registry and writes them into a bundle at file. Without any wants it takes
// everything that may be installed. since are the bundles that the site has already: what they brought is left out. The
// client must know its root of trust.
func Export(ctx context.Context, c *client.Client, wants []client.Want, since []string, file string, now time.Time) (*Manifest, error) {
	known := map[File]bool{}
	roots := map[string]string{}
	for _, name := range since {
		m, err := readManifest(name)
		if err != nil {
			return nil, err
		}
		roots[name] = m.RootSHA256
		for _, f := range m.Files {
			known[f] = true
		}
	}
	part, err := c.Collect(ctx, wants)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Schema: Schema, RootSHA256: c.Status().RootSHA256, Created: now.UTC().Truncate(time.Second), Snapshot: part.Snapshot, Continues: len(since) > 0}
	for name, root := range roots {
		if root != m.RootSHA256 {
			return nil, fmt.Errorf("%s is of a registry with another root of trust (%.16s…)", name, root)
		}
	}
	for _, r := range part.Releases {
		m.Releases = append(m.Releases, Release{ID: r.ID, Version: r.Version, Descriptor: r.Digest, Card: part.Cards[r.Digest]})
	}
	local := map[string]string{}
	for _, f := range part.Files {
		entry, err := describe(f)
		if err != nil {
			return nil, err
		}
		if !known[entry] || alwaysAlong(entry.Path) {
			m.Files = append(m.Files, entry)
			local[entry.Path] = f.Local
		}
	}
	out, err := durable.Create(file, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	if err := write(out, m, func(f File) (io.ReadCloser, error) { return os.Open(local[f.Path]) }); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	return m, out.Commit()
}

// alwaysAlong tells what comes in every bundle, known or not: metadata and the list of what is revoked are small, and
// nothing can be verified without them.
func alwaysAlong(file string) bool {
	return strings.HasPrefix(file, "metadata/") || strings.HasPrefix(file, "targets/"+path.Dir(registry.RevocationsPath)+"/")
}

// describe hashes a file as it will be carried.
func describe(f client.File) (File, error) {
	r, err := os.Open(f.Local)
	if err != nil {
		return File{}, err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return File{}, err
	}
	return File{Path: f.Path, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: n}, nil
}

func readManifest(path string) (*Manifest, error) {
	f, err := openBundle(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r.Manifest, nil
}

// openBundle refuses what would block or never end.
func openBundle(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open bundle: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	return f, nil
}
