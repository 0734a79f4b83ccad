// Package publish is the signing side of the registry: built plugins and keys go in, a folder that any static web
// server can serve comes out. A Publisher signs only on top of a state whose signatures it has checked, and the
// timestamp is written last, so that a reader sees the old state or the new one.
package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Publisher changes one registry. It holds the registry's lock until Close.
type Publisher struct {
	dir     string
	keysDir string
	ring    keyring
	roles   map[string]RoleSpec
	now     func() time.Time
	state   *state
	unlock  func()
}

// Open takes the lock of a registry and checks all of its signatures. now may be nil.
func Open(ctx context.Context, dir, keysDir string, now func() time.Time) (*Publisher, error) {
	ring, err := loadKeys(keysDir)
	if err != nil {
		return nil, err
	}
	roles, err := readCeremony(keysDir)
	if err != nil {
		return nil, err
	}
	root, err := durable.ReadFile(filepath.Join(keysDir, pinnedRoot), tufrules.MaxRoot)
	if err != nil {
		return nil, fmt.Errorf("read the root that belongs to these keys: %w", err)
	}
	unlock, err := durable.Lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, err
	}
	state, err := load(dir, root)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("open registry %s: %w; it is not signed on top of this state", dir, err)
	}
	return &Publisher{dir: dir, keysDir: keysDir, ring: ring, roles: roles, now: orNow(now), state: state, unlock: unlock}, nil
}

// Close releases the registry's lock.
func (p *Publisher) Close() {
	if p.unlock != nil {
		p.unlock()
		p.unlock = nil
	}
}

// Development reports whether the registry stands on a development root.
func (p *Publisher) Development() bool {
	development, err := tufrules.IsDevelopment(p.state.root)
	return err == nil && development
}

// Submission is a release on its way into the registry.
type Submission struct {
	Descriptor *registry.Descriptor
	Artifacts  map[string]string // digest → file that holds those bytes
	Readme     []byte
}

// Added says what Add did, by plugin and version.
type Added struct {
	New       []string `json:"new"`
	Replaced  []string `json:"replaced"` // development registries only
	Unchanged []string `json:"unchanged"`
}

// Add publishes releases in one signed step. A release that is there already with the same content is left alone; one
// with other content is refused, except in a development registry, where work in progress keeps its version.
func (p *Publisher) Add(ctx context.Context, subs []Submission) (Added, error) {
	var done Added
	changed := map[string]bool{}
	for _, sub := range subs {
		role, outcome, err := p.add(ctx, sub)
		if err != nil {
			return Added{}, fmt.Errorf("publish %s %s: %w", sub.Descriptor.Manifest.ID, sub.Descriptor.Manifest.Version, err)
		}
		label := sub.Descriptor.Manifest.ID + " " + sub.Descriptor.Manifest.Version
		switch outcome {
		case unchanged:
			done.Unchanged = append(done.Unchanged, label)
			continue
		case replaced:
			done.Replaced = append(done.Replaced, label)
		case fresh:
			done.New = append(done.New, label)
		}
		changed[role] = true
	}
	if len(changed) == 0 {
		return done, nil
	}
	if err := p.commit(slices.Sorted(maps.Keys(changed))...); err != nil {
		return Added{}, err
	}
	if len(done.Replaced) > 0 {
		return done, p.sweep()
	}
	return done, nil
}

type outcome int

const (
	fresh outcome = iota
	replaced
	unchanged
)

func (p *Publisher) add(ctx context.Context, sub Submission) (role string, o outcome, err error) {
	m := sub.Descriptor.Manifest
	if role, err = p.roleFor(m.Namespace()); err != nil {
		return "", 0, err
	}
	if sub.Readme != nil && registry.Digest(sub.Readme) != sub.Descriptor.ReadmeSHA256 {
		return "", 0, errors.New("the README is not the one that the descriptor names")
	}
	data, err := sub.Descriptor.Encode()
	if err != nil {
		return "", 0, err
	}
	path, digest := registry.TargetPath(m.ID, m.Version), registry.Digest(data)
	o = fresh
	if have, ok := p.state.roles[role].Signed.Targets[path]; ok {
		switch {
		case hex.EncodeToString(have.Hashes["sha256"]) == digest && p.complete(sub.Descriptor):
			return role, unchanged, nil
		case p.Development():
			o = replaced
		default:
			return "", 0, errors.New("this version is published with other content and releases do not change; raise version in plugin.yaml")
		}
	}
	if err := p.store(ctx, sub); err != nil {
		return "", 0, err
	}
	return role, o, p.putTarget(role, path, data)
}

// Accepts reports whether the registry publishes plugins of a namespace.
func (p *Publisher) Accepts(namespace string) error {
	_, err := p.roleFor(namespace)
	return err
}

func (p *Publisher) roleFor(namespace string) (string, error) {
	role := tufrules.RoleNamespacePrefix + namespace
	if namespace == "picket" {
		role = tufrules.RoleOfficial
	}
	if p.state.roles[role] == nil {
		return "", fmt.Errorf("this registry has no namespace %q; choose an id under picket/ to try a plugin in a registry of your own", namespace)
	}
	return role, nil
}

// complete reports whether the store holds everything that a descriptor names, by name and size.
func (p *Publisher) complete(d *registry.Descriptor) bool {
	for _, a := range d.Artifacts {
		info, err := os.Stat(p.path(registry.StorePath(a.SHA256)))
		if err != nil || info.Size() != a.Size {
			return false
		}
	}
	if d.ReadmeSHA256 != "" {
		_, err := os.Stat(p.path(registry.StorePath(d.ReadmeSHA256)))
		return err == nil
	}
	return true
}

func (p *Publisher) store(ctx context.Context, sub Submission) error {
	for _, a := range sub.Descriptor.Artifacts {
		src, ok := sub.Artifacts[a.SHA256]
		if !ok {
			return fmt.Errorf("the artifact %s for %s/%s is missing", a.Runtime, a.OS, a.Arch)
		}
		if err := p.storeFile(ctx, src, a); err != nil {
			return err
		}
	}
	if sub.Readme == nil {
		return nil
	}
	return durable.WriteFile(p.path(registry.StorePath(sub.Descriptor.ReadmeSHA256)), sub.Readme, 0o644)
}

// storeFile copies an artifact and checks on the way that it is the one that was described.
func (p *Publisher) storeFile(ctx context.Context, src string, a registry.Artifact) error {
	in, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	defer in.Close()
	out, err := durable.Create(p.path(registry.StorePath(a.SHA256)), 0o644)
	if err != nil {
		return err
	}
	defer out.Abort()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, a.Size+1))
	if err != nil {
		return fmt.Errorf("store artifact %s: %w", src, err)
	}
	if n != a.Size || hex.EncodeToString(sum.Sum(nil)) != a.SHA256 {
		return fmt.Errorf("store artifact %s: its bytes are not those that were described; build again", src)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return out.Commit()
}

// putTarget writes a target's bytes and lists it in a role; commit signs.
func (p *Publisher) putTarget(role, path string, data []byte) error {
	t, err := metadata.TargetFile().FromBytes(path, data, "sha256")
	if err != nil {
		return err
	}
	name := p.path(targetFile(path, t))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	p.state.roles[role].Signed.Targets[path] = t
	return nil
}

func (p *Publisher) path(rel string) string          { return filepath.Join(p.dir, filepath.FromSlash(rel)) }
func (p *Publisher) metadataPath(name string) string { return filepath.Join(p.dir, "metadata", name) }
