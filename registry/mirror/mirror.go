// Package mirror keeps a copy of another registry in a folder: whole, or as far as anybody asked for it. It has no keys
// and signs nothing. What it takes hangs by digests on a timestamp that registry/client verified against a pinned root,
// so a mirror can be behind or say no, and cannot say anything that the registry did not; and the nodes that use it check
// again.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Config says what is copied where.
type Config struct {
	Dir        string // the copy; any web server can serve it
	From       string // http(s)://host/path, or a folder
	RootSHA256 string // of the root to trust; may be empty once it is pinned in Dir
	HTTP       *http.Client
	Now        func() time.Time

	// MaxBytes bounds what Fetch keeps, 0 does not: what was not asked for longest goes then. All copies everything.
	MaxBytes int64
	Locks    []string     // plugins.lock files of nodes; what they pin stays
	Log      *slog.Logger // nil: nowhere
}

// Mirror is a copy of a registry. It is safe for concurrent use.
type Mirror struct {
	cfg    Config
	client *client.Client
	source source

	syncing sync.Mutex // one at a time

	mu      sync.Mutex
	current *metadata.Metadata[metadata.SnapshotType] // of the last Sync; nil before it
	busy    map[string]*fetching                      // files that somebody fetches

	bytes   atomic.Int64 // in the folder, about
	tidying sync.Mutex   // guards what follows
	tidied  time.Time    // when no room could be made; zero when it could
}

// stateDir is the mirror's own memory of what it has verified, beside what the server keeps; nobody is served it.
const stateDir = ".server/upstream"

// Open prepares a mirror; it does not use the network.
func Open(cfg Config) (*Mirror, error) {
	for _, dir := range []string{"metadata", "targets", "store/sha256", ".server"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, filepath.FromSlash(dir)), 0o755); err != nil {
			return nil, fmt.Errorf("mirror: %w", err)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mirror{cfg: cfg, busy: map[string]*fetching{}}
	var err error
	if m.source, err = newSource(cfg.From, cfg.HTTP); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	m.client, err = client.Open(client.Config{
		Dir: filepath.Join(cfg.Dir, filepath.FromSlash(stateDir)), Base: cfg.From, RootSHA256: cfg.RootSHA256,
		AllowDevelopment: true, // the nodes decide what they trust; a copy of a development registry is one still
		HTTP:             cfg.HTTP, Now: cfg.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if cfg.MaxBytes > 0 {
		if err := m.makeRoom(); err != nil {
			return nil, errors.Join(fmt.Errorf("mirror: %w", err), m.client.Close())
		}
	}
	return m, nil
}

// Close releases what the mirror holds open.
func (m *Mirror) Close() error { return m.client.Close() }

// state is what one verified timestamp stands for.
type state struct {
	timestamp []byte
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	roots     int64 // the newest version
}

// Sync brings the newest verified metadata into the folder, except for the files of namespaces: Fetch brings those, and
// what they vouch for, when somebody asks. A registry that cannot be verified leaves the folder as it is.
func (m *Mirror) Sync(ctx context.Context) error {
	m.syncing.Lock()
	defer m.syncing.Unlock()
	st, err := m.verified(ctx)
	if err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	if err := m.top(ctx, st); err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	return m.publish(ctx, st)
}

// verified asks the registry for its newest timestamp and has the client verify everything that decides about it.
func (m *Mirror) verified(ctx context.Context) (*state, error) {
	timestamp, err := m.client.Timestamp(ctx)
	if err != nil {
		return nil, err
	}
	ts, err := tufrules.Timestamp(timestamp)
	if err != nil {
		return nil, err
	}
	info := ts.Signed.Meta["snapshot.json"]
	data, err := m.metadata(ctx, metadata.SNAPSHOT, info)
	if err != nil {
		return nil, err
	}
	st := &state{timestamp: timestamp, roots: m.client.Status().RootVersion}
	st.snapshot, err = tufrules.Snapshot(data)
	return st, err
}

// top brings the roots, the roles that targets delegates to and the list of revocations.
func (m *Mirror) top(ctx context.Context, st *state) error {
	if err := m.rootChain(ctx, st.roots); err != nil {
		return err
	}
	for name, info := range st.snapshot.Signed.Meta {
		role := strings.TrimSuffix(name, ".json")
		if strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
			continue
		}
		data, err := m.metadata(ctx, role, info)
		if err != nil {
			return err
		}
		if role != tufrules.RoleSecurity {
			continue
		}
		security, err := tufrules.Targets(role, data)
		if err != nil {
			return err
		}
		for path, t := range security.Signed.Targets {
			if _, err := m.target(ctx, path, t, registry.MaxRevocations); err != nil {
				return err
			}
		}
	}
	return nil
}

// rootChain brings every root up to the newest, for nodes that pinned an older one. The newest are those that the
// client verified; the older ones must lead to them.
func (m *Mirror) rootChain(ctx context.Context, newest int64) error {
	var next *metadata.Metadata[metadata.RootType]
	for version := newest; version >= 1; version-- {
		path := fmt.Sprintf("metadata/%d.root.json", version)
		data, err := m.small(ctx, path, tufrules.MaxRoot, func(data []byte) error {
			root, err := tufrules.Root(data)
			switch {
			case err != nil:
				return err
			case root.Signed.Version != version:
				return fmt.Errorf("it is version %d", root.Signed.Version)
			case next == nil && registry.Digest(data) != registry.Digest(m.client.RootData()):
				return errors.New("it is not the root that was verified")
			case next != nil:
				err = root.VerifyDelegate(metadata.ROOT, next)
			}
			return err
		})
		if errors.Is(err, errMissing) && next != nil {
			return nil // the registry has forgotten the oldest ones
		}
		if err != nil {
			return err
		}
		if next, err = tufrules.Root(data); err != nil {
			return err
		}
	}
	return nil
}

// metadata brings the version of a role's file that is named by info.
func (m *Mirror) metadata(ctx context.Context, role string, info *metadata.MetaFiles) ([]byte, error) {
	return m.small(ctx, fmt.Sprintf("metadata/%d.%s.json", info.Version, role), min(info.Length, tufrules.MaxSize(role)), info.VerifyLengthHashes)
}

// target brings the bytes of a target.
func (m *Mirror) target(ctx context.Context, path string, t *metadata.TargetFiles, maxBytes int64) ([]byte, error) {
	digest := t.Hashes["sha256"].String()
	return m.small(ctx, "targets/"+registry.HashedPath(path, digest), min(t.Length, maxBytes), digestIs(digest))
}

func digestIs(digest string) func([]byte) error {
	return func(data []byte) error {
		if got := registry.Digest(data); got != digest {
			return fmt.Errorf("it has SHA-256 %s", got)
		}
		return nil
	}
}

// publish puts the files in place that change: all others are there by now.
func (m *Mirror) publish(ctx context.Context, st *state) error {
	root, err := durable.ReadFile(m.path(fmt.Sprintf("metadata/%d.root.json", st.roots)), tufrules.MaxRoot)
	if err == nil {
		err = m.replace("metadata/root.json", root)
	}
	if err == nil {
		err = m.replace("metadata/timestamp.json", st.timestamp)
	}
	if err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	m.mu.Lock()
	m.current = st.snapshot
	m.mu.Unlock()
	for _, f := range []struct {
		name string
		read func(context.Context) ([]byte, error)
	}{{registry.IndexPath, m.client.IndexFile}, {registry.CountsPath, m.client.CountsFile}} {
		data, err := f.read(ctx)
		if err != nil {
			continue // the registry has none that fits; the one that is here is of an older state, and says so
		}
		if err := m.replace(f.name, data); err != nil {
			return fmt.Errorf("mirror: %w", err)
		}
	}
	return nil
}

func (m *Mirror) path(rel string) string { return filepath.Join(m.cfg.Dir, filepath.FromSlash(rel)) }

// Progress is how far All has come.
type Progress struct {
	Files, Bytes           int64 // brought or found to be there
	TotalFiles, TotalBytes int64 // as far as known
}

// Copied says what All did.
type Copied struct {
	Releases int   `json:"releases"`
	Files    int64 `json:"files"`
	Bytes    int64 `json:"bytes"`
	Snapshot int64 `json:"snapshot"`
}

// All copies the whole registry, and shows the new state only when all of it is there. What an earlier try brought is
// not fetched again.
func (m *Mirror) All(ctx context.Context, progress func(Progress)) (Copied, error) {
	m.syncing.Lock()
	defer m.syncing.Unlock()
	st, err := m.verified(ctx)
	if err != nil {
		return Copied{}, fmt.Errorf("mirror: %w", err)
	}
	if err := m.top(ctx, st); err != nil {
		return Copied{}, fmt.Errorf("mirror: %w", err)
	}
	files, releases, err := m.wanted(ctx, st)
	if err != nil {
		return Copied{}, fmt.Errorf("mirror: %w", err)
	}
	var p Progress
	for _, f := range files {
		p.TotalFiles++
		p.TotalBytes += f.Size
	}
	for _, f := range files {
		before := p.Bytes
		err := m.store(ctx, f.SHA256, f.Max, func(done int64) {
			p.Bytes = before + done
			progress(p)
		})
		if err != nil {
			return Copied{}, fmt.Errorf("mirror: %s: %w", f.Name, err)
		}
		p.Files, p.Bytes = p.Files+1, before+f.Size
		progress(p)
	}
	if err := m.origin(ctx, st); err != nil {
		return Copied{}, fmt.Errorf("mirror: %w", err)
	}
	if err := m.publish(ctx, st); err != nil {
		return Copied{}, err
	}
	return Copied{Releases: releases, Files: p.Files, Bytes: p.Bytes, Snapshot: st.snapshot.Signed.Version}, nil
}

// wanted brings the files of all namespaces and all descriptors, and returns what those name in the store.
func (m *Mirror) wanted(ctx context.Context, st *state) (files []registry.Stored, releases int, err error) {
	have := map[string]bool{}
	add := func(f registry.Stored) {
		if !have[f.SHA256] {
			have[f.SHA256] = true
			files = append(files, f)
		}
	}
	for _, name := range sortedKeys(st.snapshot.Signed.Meta) {
		role := strings.TrimSuffix(name, ".json")
		if role != tufrules.RoleOfficial && !strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
			continue
		}
		data, err := m.metadata(ctx, role, st.snapshot.Signed.Meta[name])
		if err != nil {
			return nil, 0, err
		}
		targets, err := tufrules.Targets(role, data)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", role, err)
		}
		for _, path := range sortedKeys(targets.Signed.Targets) {
			data, err := m.target(ctx, path, targets.Signed.Targets[path], registry.MaxDescriptor)
			if err != nil {
				return nil, 0, err
			}
			d, err := registry.ParseDescriptor(data)
			if err != nil {
				return nil, 0, fmt.Errorf("%s: %w", path, err)
			}
			releases++
			for _, f := range d.Stored() {
				f.Name = d.Manifest.ID + " " + d.Manifest.Version + ": " + f.Name
				add(f)
			}
		}
	}
	return append(files, m.cards(ctx, have)...), releases, nil
}

// cards lists the cards of releases with their evidence. The index names them; a registry without one has none.
func (m *Mirror) cards(ctx context.Context, have map[string]bool) []registry.Stored {
	x, err := m.client.Index(ctx)
	if err != nil {
		return nil
	}
	var files []registry.Stored
	for i := range x.Plugins {
		for _, r := range x.Plugins[i].Releases {
			if r.Card == "" || have[r.Card] {
				continue
			}
			name := x.Plugins[i].ID + " " + r.Version + ": "
			card, err := m.client.Card(ctx, x.Plugins[i].ID, r.Version, r.Descriptor, r.Card)
			if err != nil {
				continue // the nodes would not show it either
			}
			for _, digest := range append(card.Evidence(), r.Card) {
				if !have[digest] {
					have[digest] = true
					files = append(files, registry.Stored{Name: name + "card", SHA256: digest, Max: maxEvidence})
				}
			}
		}
	}
	return files
}

// maxEvidence bounds a card and what it was made of.
const maxEvidence = 8 << 20

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
