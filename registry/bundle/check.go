package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Config says which bundle is looked at, and under which root.
type Config struct {
	File string

	RootSHA256 string // of the registry that the bundle is from
	RootFile   string // the same as a file; one of the two is needed the first time

	// Dir remembers what was seen, so that an older bundle is refused and one that continues an earlier one is whole.
	// Empty: nothing is remembered.
	Dir string

	// MaxAge is how long ago the signatures in a bundle may have run out; 0: DefaultMaxAge.
	MaxAge time.Duration

	AllowRecent      bool // take releases of namespaces that only the registry's online key vouches for
	AllowDevelopment bool
	Release          bool
	Now              func() time.Time
}

// DefaultMaxAge is the age from which nodes refuse to install, too.
const DefaultMaxAge = 30 * 24 * time.Hour

// Checked is a bundle whose every byte was verified.
type Checked struct {
	Manifest *Manifest          `json:"-"`
	Root     string             `json:"root_sha256"`
	Created  time.Time          `json:"created"` // as whoever made it says
	Known    time.Time          `json:"known"`   // until when its signatures held, now if they still do
	Releases []*client.Verified `json:"-"`

	client *client.Client
	dir    string // where the files lie
	remove []string
}

// Close removes what was unpacked.
func (b *Checked) Close() {
	if b.client != nil {
		b.client.Close()
	}
	for _, dir := range b.remove {
		os.RemoveAll(dir)
	}
}

// Verify unpacks a bundle and verifies it as a node verifies a registry. The signatures of a registry's online keys hold
// for days only and a bundle may be longer on its way: they are held against the last moment at which all of them were
// good, which must not be longer ago than MaxAge. Close the result.
func Verify(ctx context.Context, cfg Config) (*Checked, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	b := &Checked{}
	if err := b.verify(ctx, cfg); err != nil {
		b.Close()
		return nil, fmt.Errorf("bundle %s: %w", filepath.Base(cfg.File), err)
	}
	return b, nil
}

func (b *Checked) verify(ctx context.Context, cfg Config) error {
	node := cfg.Dir
	if node == "" {
		dir, err := os.MkdirTemp("", "picket-bundle-")
		if err != nil {
			return err
		}
		b.remove, node = append(b.remove, dir), filepath.Join(dir, "node")
	}
	if err := os.MkdirAll(node, 0o700); err != nil {
		return err
	}
	var err error
	if b.dir, err = os.MkdirTemp(node, "unpacked-"); err != nil {
		return err
	}
	b.remove = append(b.remove, b.dir)
	if b.Manifest, err = unpack(ctx, cfg.File, b.dir); err != nil {
		return err
	}
	b.Created = b.Manifest.Created
	if b.Known, err = b.knownUntil(cfg.Now().UTC()); err != nil {
		return err
	}
	if age := cfg.Now().Sub(b.Known); age > cfg.MaxAge {
		return &registry.Refusal{Reason: registry.Stale, Err: fmt.Errorf("its signatures ran out on %s, %d days ago; at most %d days are allowed",
			b.Known.Format(time.DateOnly), int(age.Hours()/24), int(cfg.MaxAge.Hours()/24))}
	}
	b.client, err = client.Open(client.Config{
		Dir: node, Base: b.dir, RootSHA256: cfg.RootSHA256, RootFile: cfg.RootFile, AllowDevelopment: cfg.AllowDevelopment,
		Release: cfg.Release, AllowRecent: cfg.AllowRecent, Now: func() time.Time { return b.Known },
	})
	if err != nil {
		return err
	}
	if err := b.client.Refresh(ctx); err != nil {
		return err
	}
	b.Root = b.client.Status().RootSHA256
	return b.releases(ctx)
}

func (b *Checked) releases(ctx context.Context) error {
	for _, r := range b.Manifest.Releases {
		v, err := b.client.Resolve(ctx, r.ID, "sha256:"+r.Descriptor)
		if err == nil {
			err = b.client.Complete(ctx, v)
		}
		if err != nil && b.Manifest.Continues {
			return fmt.Errorf("%w (it was made with --since: it is whole only where the earlier bundles were imported)", err)
		}
		if err != nil {
			return err
		}
		b.Releases = append(b.Releases, v)
	}
	return nil
}

// knownUntil is the last moment at which no signature of the online keys had run out. Nothing is verified yet: a lie here
// is found when they are held against it, or makes the bundle look older than it is.
func (b *Checked) knownUntil(now time.Time) (time.Time, error) {
	known := now
	for _, f := range b.Manifest.Files {
		name, ok := strings.CutPrefix(f.Path, "metadata/")
		if !ok {
			continue
		}
		data, err := durable.ReadFile(filepath.Join(b.dir, filepath.FromSlash(f.Path)), f.Size)
		if err != nil {
			return time.Time{}, err
		}
		expires, err := expiry(name, data)
		if err != nil {
			return time.Time{}, &registry.Refusal{Reason: registry.BadMetadata, Err: fmt.Errorf("%s: %w", f.Path, err)}
		}
		if !expires.IsZero() && expires.Before(known) {
			known = expires.Add(-time.Second)
		}
	}
	return known, nil
}

// expiry returns the date of a file that an online key signs, and zero for others.
func expiry(name string, data []byte) (time.Time, error) {
	role := strings.TrimSuffix(name, ".json")
	if _, after, versioned := strings.Cut(role, "."); versioned {
		role = after
	}
	switch role {
	case metadata.TIMESTAMP:
		m, err := tufrules.Timestamp(data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	case metadata.SNAPSHOT:
		m, err := tufrules.Snapshot(data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	case tufrules.RoleSecurity, tufrules.RoleRecent:
		m, err := tufrules.Targets(role, data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	}
	return time.Time{}, nil
}

// unpack writes the files of a bundle below dir. No name can lead out of it, and no more bytes are written than the
// first entry announces.
func unpack(ctx context.Context, file, dir string) (*Manifest, error) {
	f, err := openBundle(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for {
		entry, data, err := r.Next()
		if errors.Is(err, io.EOF) {
			return &r.Manifest, nil
		}
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := unpackFile(root, entry, data); err != nil {
			return nil, err
		}
	}
}

func unpackFile(root *os.Root, f File, data io.Reader) error {
	name := filepath.FromSlash(f.Path)
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), data)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != f.Size || got != f.SHA256 {
		return &registry.Refusal{Reason: registry.DigestMismatch, Err: fmt.Errorf("%s has %d bytes with SHA-256 %s, announced are %d with %s", f.Path, n, got, f.Size, f.SHA256)}
	}
	return out.Close()
}
