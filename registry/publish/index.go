package publish

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// nextIndex is the index of a change that has not happened yet: it is written in full before the timestamp, which makes
// the change, and only renamed after it. A crash or a full disk in between leaves an index that fits.
const nextIndex = ".catalogue.next"

// indexer makes the index of a change out of the one before it. Among thousands of namespaces it looks again at those
// only that the change is about; the lines of the others stay as they are.
type indexer struct {
	p       *Publisher
	revoked *registry.Revocations
	seen    map[string]time.Time // when releases came in; nil: those that the old index does not have come in now
	lines   map[string][]byte    // of the old index, by plugin
	signers *cardSigners         // nil until a card is looked at
	dirty   map[string]bool      // namespaces to look at
}

// prepareIndex writes the index of the change that is about to be committed and leads from one version of the snapshot
// to another, or to the same. It only helps people to choose: where none can be made, because it would be too large for
// example, the change goes on without, so that nothing keeps a registry from withdrawing a release. Nodes then walk over
// the namespaces, and `picket registry verify` says that the index is of an older state.
func (p *Publisher) prepareIndex(from, to int64) error {
	if from == to {
		head, err := indexHead(p.path(registry.IndexPath))
		if err == nil && p.fits(head, to) == nil {
			return nil
		}
	}
	next := filepath.Join(p.dir, nextIndex)
	data, err := p.makeIndex(from, to)
	if err != nil {
		if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return durable.WriteFile(next, data, 0o644)
}

func (p *Publisher) makeIndex(from, to int64) ([]byte, error) {
	x, err := p.newIndexer(from)
	if err != nil {
		return nil, err
	}
	for ns := range x.dirty {
		if err := x.renew(ns); err != nil {
			return nil, fmt.Errorf("%s: %w", ns, err)
		}
	}
	return x.seal(to)
}

// installIndex puts the index in place that was written before a commit, or removes it when that did not happen.
func installIndex(dir string, snapshot int64) error {
	next := filepath.Join(dir, nextIndex)
	head, err := indexHead(next)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || head.Snapshot != snapshot {
		return os.Remove(next)
	}
	if err := durable.Rename(next, filepath.Join(dir, registry.IndexPath)); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// newIndexer starts from the present index if that is ours and describes the present state, else from nothing.
func (p *Publisher) newIndexer(from int64) (*indexer, error) {
	list := p.change.list
	if list == nil {
		var err error
		if list, err = p.revocations(); err != nil {
			return nil, err
		}
	}
	x := &indexer{p: p, revoked: list, dirty: map[string]bool{}}
	var err error
	if x.lines, err = p.oldIndex(from); err != nil {
		return x, x.startAnew()
	}
	for role := range p.change.roles {
		x.concerns(role)
	}
	if p.change.list != nil {
		for _, rev := range list.Revoked {
			x.dirty[namespaceOf(rev.Plugin)] = true
		}
	}
	return x, nil
}

func (x *indexer) startAnew() (err error) {
	x.lines = map[string][]byte{}
	for _, role := range x.p.state.releaseRoles() {
		x.dirty[namespaceOfRole(role)] = true
	}
	x.seen, err = x.p.firstSeen()
	return err
}

// concerns marks the namespaces for which an altered role may change something.
func (x *indexer) concerns(role string) {
	switch {
	case role == tufrules.RoleOfficial || strings.HasPrefix(role, tufrules.RoleNamespacePrefix):
		x.dirty[namespaceOfRole(role)] = true
	case role == tufrules.RoleClaimed || role == tufrules.RoleRecent || role == metadata.TARGETS:
		for id, line := range x.lines {
			if !x.stillVouched(namespaceOf(id), line) {
				x.dirty[namespaceOf(id)] = true
			}
		}
	}
}

// stillVouched reports whether the same keys vouch for a plugin as its line says.
func (x *indexer) stillVouched(ns string, line []byte) bool {
	var says struct {
		Via      string
		Releases []struct {
			KeyIDs []string `json:"key_ids"`
		}
	}
	via, keyIDs, err := x.p.vouching(ns)
	return err == nil && json.Unmarshal(line, &says) == nil && says.Via == via && len(says.Releases) > 0 &&
		slices.Equal(says.Releases[0].KeyIDs, keyIDs)
}

// vouching says who vouches for a namespace.
func (p *Publisher) vouching(ns string) (via string, keyIDs []string, err error) {
	role, err := p.roleFor(ns)
	if err != nil {
		return "", nil, err
	}
	parent, d, err := p.state.delegation(role)
	if err != nil {
		return "", nil, err
	}
	switch parent {
	case p.state.targets:
		via = registry.ViaOfficial
	case p.state.roles[tufrules.RoleClaimed]:
		via = registry.ViaClaimed
	default:
		via = registry.ViaRecent
	}
	return via, d.KeyIDs, nil
}

// renew writes the lines of a namespace anew.
func (x *indexer) renew(ns string) error {
	old := map[string]*registry.IndexPlugin{}
	for id, line := range x.lines {
		if namespaceOf(id) != ns {
			continue
		}
		var p registry.IndexPlugin
		if json.Unmarshal(line, &p) == nil {
			old[id] = &p
		}
		delete(x.lines, id)
	}
	via, keyIDs, err := x.p.vouching(ns)
	if err != nil { // nobody does any more
		return nil
	}
	role, err := x.p.roleFor(ns)
	if err != nil {
		return err
	}
	m, err := x.p.state.role(role)
	if err != nil {
		return err
	}
	plugins := map[string]*registry.IndexPlugin{}
	for path, t := range m.Signed.Targets {
		id, r, err := x.release(path, t, role, keyIDs, old)
		if err != nil {
			return err
		}
		if plugins[id] == nil {
			plugins[id] = &registry.IndexPlugin{ID: id, Via: via}
		}
		plugins[id].Releases = append(plugins[id].Releases, r)
	}
	for id, plugin := range plugins {
		x.describe(plugin, role)
		if plugin.Kind == "" { // no descriptor can be read: `picket registry verify` names the damage
			continue
		}
		if x.lines[id], err = registry.EncodeIndexPlugin(plugin); err != nil {
			return err
		}
	}
	return nil
}

func (x *indexer) release(path string, t *metadata.TargetFiles, role string, keyIDs []string, old map[string]*registry.IndexPlugin) (id string, r registry.IndexRelease, err error) {
	id, version, err := registry.ParseTargetPath(path)
	if err != nil {
		return "", r, err
	}
	r = registry.IndexRelease{
		Version: version, Descriptor: hex.EncodeToString(t.Hashes["sha256"]), Length: t.Length, Role: role, KeyIDs: keyIDs,
		Published: x.published(id, version, hex.EncodeToString(t.Hashes["sha256"]), old), Channel: registry.ChannelOf(version),
	}
	if r.Yanked, err = tufrules.Yanked(t); err != nil {
		return "", r, err
	}
	if rev, is := x.revoked.Find(registry.Subject{ID: id, Version: version, Descriptor: r.Descriptor, KeyIDs: keyIDs}); is {
		r.Revoked = rev.Reason
	}
	if r.Card, r.Tier, err = x.card(r.Descriptor); err != nil {
		r.Card, r.Tier = "", "" // one that cannot be read is as good as none
	}
	return id, r, nil
}

func (x *indexer) published(id, version, digest string, old map[string]*registry.IndexPlugin) time.Time {
	if p := old[id]; p != nil {
		if r, ok := p.Release(version); ok && r.Descriptor == digest {
			return r.Published
		}
	}
	if at, ok := x.seen[digest]; ok {
		return at
	}
	return x.p.now().UTC().Truncate(time.Second)
}

// describe fills in what the manifest of the newest release says, or of the next one that can be read.
func (x *indexer) describe(plugin *registry.IndexPlugin, role string) {
	slices.SortFunc(plugin.Releases, func(a, b registry.IndexRelease) int {
		v, errV := semver.StrictNewVersion(a.Version)
		w, errW := semver.StrictNewVersion(b.Version)
		if errV != nil || errW != nil { // ParseTargetPath let neither pass
			return strings.Compare(b.Version, a.Version)
		}
		return w.Compare(v)
	})
	for _, r := range append([]registry.IndexRelease{plugin.Newest()}, plugin.Releases...) {
		d, err := x.p.descriptor(role, registry.TargetPath(plugin.ID, r.Version))
		if err != nil {
			continue
		}
		plugin.Describe(d)
		break
	}
	claim, err := x.p.ClaimOf(namespaceOf(plugin.ID))
	if err == nil && claim != nil {
		plugin.Contact = claim.Statement.Contact
	}
}

func (x *indexer) seal(snapshot int64) ([]byte, error) {
	head := &registry.Index{Schema: registry.IndexSchema, Snapshot: snapshot, Time: x.p.now().UTC().Truncate(time.Second)}
	var err error
	if head.RootSHA256, err = x.p.anchorSHA256(); err != nil {
		return nil, err
	}
	lines := make([][]byte, 0, len(x.lines))
	for _, id := range slices.Sorted(maps.Keys(x.lines)) {
		lines = append(lines, x.lines[id])
	}
	data, err := registry.JoinIndex(head, lines)
	if err != nil {
		return nil, err
	}
	keys, err := x.p.snapshotKeys()
	if err != nil {
		return nil, err
	}
	file, err := registry.SealIndex(data, keys...)
	if err == nil && len(file) > registry.MaxIndex {
		err = fmt.Errorf("%d bytes, at most %d are allowed", len(file), registry.MaxIndex)
	}
	return file, err
}

// anchorSHA256 is RootSHA256, also while a registry is being founded.
func (p *Publisher) anchorSHA256() (string, error) {
	if p.state.anchor != nil {
		return p.RootSHA256(), nil
	}
	data, err := p.state.root.ToBytes(false)
	return registry.Digest(data), err
}
