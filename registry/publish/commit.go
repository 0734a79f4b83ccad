package publish

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// change is what has been altered in memory and not been written yet.
type change struct {
	roles   map[string]bool // whose version has been raised
	given   map[string]bool // signed by somebody else: written as they are
	oldRoot *rootMeta       // set when the root is among them, except when a registry is founded
	list    *registry.Revocations
	resumed bool // it goes on from the draft
}

func newChange() *change {
	return &change{roles: map[string]bool{}, given: map[string]bool{}}
}

// online are the roles whose keys the registry's server has. The others' keys lie elsewhere; what lacks their
// signatures becomes a draft.
var online = []string{tufrules.RoleSecurity, tufrules.RoleRecent, metadata.SNAPSHOT, metadata.TIMESTAMP}

// IsOnline reports whether the keys of a role belong on the registry's server.
func IsOnline(role string) bool { return slices.Contains(online, role) }

// touch makes ready to sign a new version of a role. A version is raised once, however often the role is altered.
func (p *Publisher) touch(role string) error {
	if role == metadata.ROOT {
		return p.touchRoot()
	}
	m := p.state.targets
	if role != metadata.TARGETS {
		var err error
		if m, err = p.state.role(role); err != nil {
			return err
		}
	}
	if !p.change.roles[role] {
		m.Signed.Version++
		p.change.roles[role] = true
	}
	delete(p.change.given, role)
	m.Signed.Expires = p.expiry(role)
	m.ClearSignatures()
	return nil
}

func (p *Publisher) touchRoot() error {
	if !p.change.roles[metadata.ROOT] {
		old, err := clone(p.state.root)
		if err != nil {
			return err
		}
		p.change.oldRoot, p.change.roles[metadata.ROOT] = old, true
		p.state.root.Signed.Version++
	}
	p.state.root.Signed.Expires = p.expiry(metadata.ROOT)
	p.state.root.ClearSignatures()
	return nil
}

func clone(m *rootMeta) (*rootMeta, error) {
	data, err := m.ToBytes(false)
	if err != nil {
		return nil, err
	}
	return tufrules.Root(data)
}

// commit signs new versions of the named roles and writes them.
func (p *Publisher) commit(roles ...string) error {
	for _, role := range roles {
		if err := p.touch(role); err != nil {
			return err
		}
	}
	return p.finish()
}

// finish signs what has been altered with the keys at hand. When that is enough, everything is written, the timestamp
// last. When it is not, the rest waits in a draft, the registry stays as it is, and the error is a *PendingError.
func (p *Publisher) finish() error {
	if err := p.signOffline(); err != nil {
		return err
	}
	if waiting := p.incomplete(); len(waiting) > 0 {
		return p.suspend(waiting)
	}
	if err := p.signOnline(); err != nil {
		return p.keepDraft(err)
	}
	if err := p.write(); err != nil {
		return err
	}
	resumed := p.change.resumed
	p.change = newChange()
	if p.founding {
		if err := p.pinFirstRoot(); err != nil {
			return err
		}
	}
	if !resumed {
		return nil
	}
	return p.dropDraft()
}

// keepDraft writes what offline keys have signed into the draft before an error of the online ones is passed on.
func (p *Publisher) keepDraft(err error) error {
	for role := range p.change.roles {
		if !IsOnline(role) {
			return errors.Join(err, p.saveDraft())
		}
	}
	return err
}

// signOffline signs everything but the online roles, with what is at hand.
func (p *Publisher) signOffline() error {
	for _, role := range p.changed() {
		if IsOnline(role) || p.change.given[role] {
			continue
		}
		ids, _, err := p.state.keys(role)
		if err != nil {
			return err
		}
		if role == metadata.ROOT {
			if old := p.change.oldRoot; old != nil {
				ids = slices.Concat(ids, old.Signed.Roles[metadata.ROOT].KeyIDs)
			}
			slices.Sort(ids)
			err = sign(p.ring, role, p.state.root, slices.Compact(ids))
		} else {
			err = sign(p.ring, role, p.targetsOf(role), ids)
		}
		if err != nil {
			return err
		}
	}
	return p.signList()
}

// incomplete names the offline roles that lack signatures, in the order of trust.
func (p *Publisher) incomplete() []string {
	var waiting []string
	for _, role := range p.changed() {
		if !IsOnline(role) && p.verify(role) != nil {
			waiting = append(waiting, role)
		}
	}
	if p.change.list != nil && p.verifyList(p.change.list) != nil {
		waiting = append(waiting, tufrules.RoleRevokers)
	}
	return waiting
}

// verify reports whether nodes will accept the signatures of an altered role.
func (p *Publisher) verify(role string) error {
	if role == metadata.ROOT {
		var old error
		if p.change.oldRoot != nil {
			old = p.change.oldRoot.VerifyDelegate(metadata.ROOT, p.state.root)
		}
		return errors.Join(old, p.state.root.VerifyDelegate(metadata.ROOT, p.state.root))
	}
	m := p.targetsOf(role)
	if role == metadata.TARGETS {
		return p.state.root.VerifyDelegate(role, m)
	}
	parent, _, err := p.state.delegation(role)
	if err != nil {
		return err
	}
	return parent.VerifyDelegate(role, m)
}

// changed lists the altered roles with those first that others hang on.
func (p *Publisher) changed() []string {
	order := []string{metadata.ROOT, metadata.TARGETS, tufrules.RoleSecurity, tufrules.RoleOfficial, tufrules.RoleClaimed, tufrules.RoleRecent}
	place := func(role string) int {
		if i := slices.Index(order, role); i >= 0 {
			return i
		}
		return len(order)
	}
	return slices.SortedFunc(maps.Keys(p.change.roles), func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

// signOnline signs what the server's keys are for.
func (p *Publisher) signOnline() error {
	if p.change.list != nil {
		data, err := p.change.list.Encode()
		if err != nil {
			return err
		}
		if err := p.putTarget(tufrules.RoleSecurity, registry.RevocationsPath, data); err != nil {
			return err
		}
		if err := p.touch(tufrules.RoleSecurity); err != nil {
			return err
		}
	}
	if p.change.roles[tufrules.RoleClaimed] {
		if err := p.tidyRecent(); err != nil {
			return err
		}
	}
	for _, role := range p.changed() {
		if !IsOnline(role) {
			continue
		}
		ids, threshold, err := p.state.keys(role)
		if err != nil {
			return err
		}
		if !p.ring.has(ids, threshold) {
			return &MissingKeysError{Role: role, Threshold: threshold, KeyIDs: ids}
		}
		if err := sign(p.ring, role, p.targetsOf(role), ids); err != nil {
			return err
		}
	}
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if r := p.state.root.Signed.Roles[role]; !p.ring.has(r.KeyIDs, r.Threshold) {
			return &MissingKeysError{Role: role, Threshold: r.Threshold, KeyIDs: r.KeyIDs}
		}
	}
	return nil
}

// write writes the altered roles under names that nobody asks for yet, then the timestamp that makes them known. A new
// root is known as soon as it is there, and may bring the key of the timestamp with it: the two are written through a
// journal.
func (p *Publisher) write() error {
	var last []journaled
	for _, role := range p.changed() {
		data, version, err := p.encode(role)
		if err != nil {
			return err
		}
		if role == metadata.ROOT {
			last = append(last, journaled{fmt.Sprintf("%d.root.json", version), data}, journaled{"root.json", data})
			continue
		}
		p.state.snapshot.Signed.Meta[role+".json"] = metaFile(version, data)
		if err := p.writeVersioned(role, version, data); err != nil {
			return err
		}
	}
	if err := p.writeSnapshot(); err != nil {
		return err
	}
	p.state.timestamp.Signed.Version++
	p.state.timestamp.Signed.Expires = p.expiry(metadata.TIMESTAMP)
	data, err := p.sealTimestamp()
	if err != nil {
		return err
	}
	if len(last) == 0 {
		err = durable.WriteFile(p.metadataPath("timestamp.json"), data, 0o644)
	} else {
		err = p.journal(append(last, journaled{"timestamp.json", data}))
	}
	if err != nil {
		return err
	}
	p.state.signed = data
	return installIndex(p.dir, p.state.snapshot.Signed.Version)
}

// writeSnapshot writes the snapshot if anything below it has changed, and beside it the index that goes with it.
func (p *Publisher) writeSnapshot() error {
	signed := &p.state.snapshot.Signed
	before := signed.Version
	if len(p.changed()) == 0 && !p.snapshotDue {
		return p.prepareIndex(before, before)
	}
	signed.Version++
	signed.Expires = p.expiry(metadata.SNAPSHOT)
	version := signed.Version
	indexed := make(chan error, 1)
	go func() { indexed <- p.prepareIndex(before, version) }() // each reads what the other does not change
	data, err := p.sealSnapshot()
	if err = errors.Join(err, <-indexed); err != nil {
		return err
	}
	p.state.timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": metaFile(version, data)}
	return p.writeVersioned(metadata.SNAPSHOT, version, data)
}

// encode returns the bytes of an altered role, after making sure that a node will take them.
func (p *Publisher) encode(role string) (data []byte, version int64, err error) {
	if role == metadata.ROOT {
		version = p.state.root.Signed.Version
		data, err = p.state.root.ToBytes(false)
	} else {
		m := p.targetsOf(role)
		version = m.Signed.Version
		data, err = m.ToBytes(false)
	}
	if err == nil {
		err = tufrules.Check(role, data)
	}
	if err == nil {
		err = p.verify(role)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("sign %s: %w", role, err)
	}
	return data, version, nil
}

// sealSnapshot signs the snapshot.
func (p *Publisher) sealSnapshot() ([]byte, error) {
	m := p.state.snapshot
	m.ClearSignatures()
	if err := sign(p.ring, metadata.SNAPSHOT, m, p.state.root.Signed.Roles[metadata.SNAPSHOT].KeyIDs); err != nil {
		return nil, err
	}
	data, err := m.ToBytes(false)
	if err == nil {
		err = tufrules.OwnSnapshot(m, data)
	}
	if err != nil {
		return nil, fmt.Errorf("sign snapshot: %w", err)
	}
	return data, nil
}

// sealTimestamp signs the timestamp.
func (p *Publisher) sealTimestamp() ([]byte, error) {
	m := p.state.timestamp
	m.ClearSignatures()
	if err := sign(p.ring, metadata.TIMESTAMP, m, p.state.root.Signed.Roles[metadata.TIMESTAMP].KeyIDs); err != nil {
		return nil, err
	}
	data, err := m.ToBytes(false)
	if err == nil {
		err = tufrules.Check(metadata.TIMESTAMP, data)
	}
	if err != nil {
		return nil, fmt.Errorf("sign timestamp: %w", err)
	}
	return data, nil
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// keepVersions is how many old versions of a role stay for clients that are in the middle of a refresh.
const keepVersions = 8

func (p *Publisher) writeVersioned(role string, version int64, data []byte) error {
	if err := durable.WriteFile(p.metadataPath(fmt.Sprintf("%d.%s.json", version, role)), data, 0o644); err != nil {
		return err
	}
	p.state.note(role, version)
	if strings.HasPrefix(role, tufrules.RoleNamespacePrefix) { // one of thousands, and written by its owner: look for the one that goes
		os.Remove(p.metadataPath(fmt.Sprintf("%d.%s.json", version-keepVersions, role)))
		return nil
	}
	entries, err := os.ReadDir(p.path("metadata"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, isRole := strings.CutSuffix(e.Name(), "."+role+".json")
		v, err := strconv.ParseInt(number, 10, 64)
		if isRole && err == nil && v <= version-keepVersions {
			os.Remove(p.metadataPath(e.Name())) // a leftover costs only its bytes
		}
	}
	return nil
}

// journaled is a file of metadata that must appear together with others.
type journaled struct {
	Name string          `json:"name"`
	Data json.RawMessage `json:"data"`
}

const journalFile = ".journal.json"

// journal writes several files so that a crash between two of them is made good by the next one who opens the registry.
func (p *Publisher) journal(files []journaled) error {
	data, err := json.Marshal(files)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(p.dir, journalFile), data, 0o600); err != nil {
		return err
	}
	return replay(p.dir)
}

// replay finishes what journal began. The bytes are those that were signed, with the white space that JSON lets go.
func replay(dir string) error {
	data, err := durable.ReadFile(filepath.Join(dir, journalFile), 4*tufrules.MaxRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var files []journaled
	if err := json.Unmarshal(data, &files); err != nil {
		return fmt.Errorf("read %s: %w", journalFile, err)
	}
	for _, f := range files {
		if f.Name != filepath.Base(f.Name) {
			return fmt.Errorf("read %s: %q is no file name", journalFile, f.Name)
		}
		if err := durable.WriteFile(filepath.Join(dir, "metadata", f.Name), f.Data, 0o644); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, journalFile)); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
