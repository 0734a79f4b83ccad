package publish

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Keeper works on one registry again and again, as a server does that takes releases in. Keys are unlocked once. What
// was verified, or signed, the last time is still known while the folder has the very files that it came from;
// everything else is read and verified again. In between others may change the registry: nothing is locked then.
type Keeper struct {
	cfg Config

	mu   sync.Mutex // guards what follows
	keys keyFolder
	kept *state // nil while somebody works with it
}

// NewKeeper reads the keys, asking for their passphrases now and not when something is to be signed.
func NewKeeper(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, keys: keyFolder{}}
	if _, _, err := k.keys.load(cfg.Keys, cfg.Unlock); err != nil {
		return nil, err
	}
	return k, nil
}

// Reading is what can be asked of a registry that stays as it is.
type Reading interface {
	RootSHA256() string
	NamespaceKeys(ns string) ([]ed25519.PublicKey, error)
	Published(id, version string) (digest string, err error)
	CheckUpload(up Upload) error
	Required(need registry.Requirement) (file string, err error)
}

// Read lets do look at the registry, which is locked meanwhile.
func (k *Keeper) Read(ctx context.Context, do func(Reading) error) error {
	p, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	defer k.keep(p)
	return do(p)
}

// Change lets do change the registry. When do fails, memory may be ahead of the disk, so what was known is forgotten.
func (k *Keeper) Change(ctx context.Context, do func(*Publisher) error) error {
	p, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := do(p); err != nil {
		return err
	}
	k.keep(p)
	return nil
}

// Renew signs again what is due, as Publisher.Renew.
func (k *Keeper) Renew(ctx context.Context) (done Renewed, err error) {
	err = k.Change(ctx, func(p *Publisher) error {
		done, err = p.Renew()
		return err
	})
	return done, err
}

func (k *Keeper) open(ctx context.Context) (*Publisher, error) {
	k.mu.Lock()
	ring, files, err := k.keys.load(k.cfg.Keys, k.cfg.Unlock)
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	p, err := k.cfg.prepare(ring, files)
	if err != nil {
		return nil, err
	}
	if p.unlock, err = durable.Lock(ctx, filepath.Join(k.cfg.Dir, ".lock")); err != nil {
		return nil, err
	}
	k.mu.Lock()
	p.state, k.kept = k.kept, nil
	k.mu.Unlock()
	if err := p.open(k.cfg.RootFile); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// keep remembers what a Publisher knows, before it gives up the lock.
func (k *Keeper) keep(p *Publisher) {
	if p.founding || len(p.change.roles) > 0 || p.change.list != nil {
		return
	}
	// Those of authors are small, and in the end there would be thousands of them.
	maps.DeleteFunc(p.state.roles, func(role string, _ *targetsMeta) bool {
		return strings.HasPrefix(role, tufrules.RoleNamespacePrefix)
	})
	k.mu.Lock()
	k.kept = p.state
	k.mu.Unlock()
}

// stillThere reports whether the registry is as it was when this was verified: the trusted root, the roots that follow
// it, the timestamp byte for byte, and the files that hang on that.
func (s *state) stillThere(trustedRoot []byte) bool {
	if s == nil || !bytes.Equal(s.anchor, trustedRoot) {
		return false
	}
	chain, _, err := rootChain(s.dir, trustedRoot)
	if err != nil || registry.Digest(chain[len(chain)-1]) != s.newest {
		return false
	}
	timestamp, err := readMetadata(s.dir, "timestamp.json", tufrules.MaxTimestamp)
	if err != nil || !bytes.Equal(timestamp, s.signed) {
		return false
	}
	for _, f := range s.files {
		now, err := durable.Stat(filepath.Join(s.dir, "metadata", f.name))
		if err != nil || !now.Same(f.stamp) {
			return false
		}
	}
	return true
}

// read reads a role's file as readPinned does, and notes which file that was.
func (s *state) read(role string, meta map[string]*metadata.MetaFiles) ([]byte, error) {
	if info := meta[role+".json"]; info != nil {
		s.note(role, info.Version)
	}
	return readPinned(s.dir, role, meta)
}

// note takes the stamp of the file that a role is in now.
func (s *state) note(role string, version int64) {
	if strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
		return // forgotten with the role
	}
	name := fmt.Sprintf("%d.%s.json", version, role)
	stamp, _ := durable.Stat(filepath.Join(s.dir, "metadata", name)) // one that cannot be had fits no file
	if s.files == nil {
		s.files = map[string]fileOf{}
	}
	s.files[role] = fileOf{name, stamp}
}
