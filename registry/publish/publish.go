// Package publish is the signing side of the registry: built plugins and keys go in, a folder that any static web
// server can serve comes out. A Publisher signs only on top of a state whose signatures it has checked, and the
// timestamp is written last, so that a reader sees the old state or the new one.
package publish

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Publisher changes one registry. It holds the registry's lock until Close.
type Publisher struct {
	dir     string
	keysDir string // the first of the places with keys
	ring    keyring
	files   map[string]string // where each key came from
	roles   map[string]RoleSpec
	now     func() time.Time
	state   *state
	change  *change
	unlock  func()

	founding    bool // the registry is a draft yet
	snapshotDue bool
}

func newPublisher(dir, keysDir string, ring keyring, roles map[string]RoleSpec, now func() time.Time) *Publisher {
	return &Publisher{dir: dir, keysDir: keysDir, ring: ring, roles: roles, now: orNow(now), change: newChange()}
}

// Open takes the lock of a registry and checks all of its signatures. keys is a folder, or a list of folders and key
// files separated as in PATH; the root that belongs to the keys lies in one of the folders. now may be nil.
func Open(ctx context.Context, dir, keys string, now func() time.Time) (*Publisher, error) {
	return OpenConfig(ctx, Config{Dir: dir, Keys: keys, Now: now})
}

// Config says which registry is changed, and with which keys.
type Config struct {
	Dir  string
	Keys string // folders and key files, separated as in PATH
	// RootFile is the root that the registry must descend from; empty: root.json beside the keys.
	RootFile string
	Unlock   Unlock           // asks for passphrases; nil: keys under one are not at hand
	Now      func() time.Time // nil: time.Now
}

// OpenConfig is Open with everything that can be said.
func OpenConfig(ctx context.Context, cfg Config) (*Publisher, error) {
	k := &Keeper{cfg: cfg, keys: keyFolder{}}
	return k.open(ctx)
}

// prepare makes a Publisher that has its keys and no state yet.
func (cfg Config) prepare(ring keyring, files map[string]string) (*Publisher, error) {
	home, err := cfg.home()
	if err != nil {
		return nil, err
	}
	roles, err := readCeremony(home)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // offline media may hold keys and nothing else
		return nil, err
	}
	p := newPublisher(cfg.Dir, home, ring, roles, cfg.Now)
	p.files = files
	return p, nil
}

// home is the first key folder that has the root in it; without one, the first place of all.
func (cfg Config) home() (string, error) {
	places := filepath.SplitList(cfg.Keys)
	for _, place := range places {
		if _, err := os.Stat(filepath.Join(place, pinnedRoot)); err == nil {
			return place, nil
		}
	}
	if len(places) > 0 {
		return places[0], nil
	}
	if cfg.RootFile == "" {
		return "", errors.New("no folder of keys was named")
	}
	return filepath.Dir(cfg.RootFile), nil
}

// open finishes what a crash interrupted and reads the state, unless it is known already.
func (p *Publisher) open(rootFile string) error {
	if err := replay(p.dir); err != nil {
		return fmt.Errorf("open registry %s: %w", p.dir, err)
	}
	if rootFile == "" {
		rootFile = filepath.Join(p.keysDir, pinnedRoot)
	}
	root, err := durable.ReadFile(rootFile, tufrules.MaxRoot)
	if errors.Is(err, fs.ErrNotExist) {
		if founding, foundErr := p.openFounding(); founding || foundErr != nil {
			return foundErr
		}
	}
	if err != nil {
		return fmt.Errorf("read the root that belongs to these keys: %w", err)
	}
	if !p.state.stillThere(root) {
		if p.state, err = load(p.dir, root); err != nil {
			return fmt.Errorf("open registry %s: %w; it is not signed on top of this state", p.dir, err)
		}
	}
	return installIndex(p.dir, p.state.snapshot.Signed.Version)
}

// openFounding opens a registry that waits for its first signatures.
func (p *Publisher) openFounding() (bool, error) {
	d, err := p.Pending()
	if err != nil || d == nil || !d.Founding {
		return false, err
	}
	p.founding = true
	p.state = &state{dir: p.dir, roles: map[string]*targetsMeta{}}
	p.firstTop(0)
	return true, nil
}

// UseKey adds a private key to those at hand.
func (p *Publisher) UseKey(key ed25519.PrivateKey) {
	p.ring[registry.KeyID(key.Public().(ed25519.PublicKey))] = key
}

// Close releases the registry's lock.
func (p *Publisher) Close() {
	if p.unlock != nil {
		p.unlock()
		p.unlock = nil
	}
}

// RootSHA256 is the digest of the root that this registry is pinned by.
func (p *Publisher) RootSHA256() string { return registry.Digest(p.state.anchor) }

// Development reports whether the registry stands on a development root.
func (p *Publisher) Development() bool {
	development, err := tufrules.IsDevelopment(p.state.root)
	return err == nil && development
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
	changed := map[string]bool{}
	done, err := p.stage(ctx, subs, changed)
	if err == nil {
		err = p.publish(changed, done, subs)
	}
	if err != nil {
		return Added{}, err
	}
	return done, nil
}

// stage stores releases and lists them in their roles, which it notes in changed.
func (p *Publisher) stage(ctx context.Context, subs []Submission, changed map[string]bool) (done Added, err error) {
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
		case recarded:
			done.Unchanged = append(done.Unchanged, label)
		case replaced:
			done.Replaced = append(done.Replaced, label)
		case fresh:
			done.New = append(done.New, label)
		}
		changed[role] = true
	}
	return done, nil
}

// publish signs what was staged.
func (p *Publisher) publish(changed map[string]bool, done Added, subs []Submission) error {
	if len(changed) == 0 && len(p.change.roles) == 0 {
		return nil
	}
	if err := p.commit(slices.Sorted(maps.Keys(changed))...); err != nil {
		return err
	}
	if err := p.log(subs...); err != nil {
		return err
	}
	if len(done.Replaced) > 0 {
		return p.sweep()
	}
	return nil
}

type outcome int

const (
	fresh outcome = iota
	replaced
	unchanged
	recarded // unchanged, but the gates have found something else
)

func (p *Publisher) add(ctx context.Context, sub Submission) (role string, o outcome, err error) {
	manifest := sub.Descriptor.Manifest
	if role, err = p.roleFor(manifest.Namespace()); err != nil {
		return "", 0, err
	}
	data, err := sub.Descriptor.Encode()
	if err != nil {
		return "", 0, err
	}
	path, digest := registry.TargetPath(manifest.ID, manifest.Version), registry.Digest(data)
	o = fresh
	m, err := p.state.role(role)
	if err != nil {
		return "", 0, err
	}
	if have, ok := m.Signed.Targets[path]; ok {
		switch {
		case hex.EncodeToString(have.Hashes["sha256"]) == digest && p.complete(sub.Descriptor):
			fresh, err := p.storeNewCard(sub, digest)
			if fresh {
				return role, recarded, err
			}
			return role, unchanged, err
		case p.Development():
			o = replaced
		default:
			return "", 0, errors.New("this version is published with other content and releases do not change; raise version in plugin.yaml")
		}
	}
	if err := p.store(ctx, sub); err != nil {
		return "", 0, err
	}
	if err := p.storeCard(sub, digest); err != nil {
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
	if _, _, err := p.state.delegation(role); err != nil {
		return "", fmt.Errorf("this registry has no namespace %q; claim it (`picket registry claim --help`), or choose an id under picket/ to try a plugin in a registry of your own", namespace)
	}
	return role, nil
}

// roleOf returns the role that vouches for a plugin.
func (p *Publisher) roleOf(id string) (string, error) {
	ns, _, _ := strings.Cut(id, "/")
	return p.roleFor(ns)
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
	m, err := p.state.role(role)
	if err != nil {
		return err
	}
	m.Signed.Targets[path] = t
	return nil
}

func (p *Publisher) path(rel string) string          { return filepath.Join(p.dir, filepath.FromSlash(rel)) }
func (p *Publisher) metadataPath(name string) string { return filepath.Join(p.dir, "metadata", name) }
