package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// DraftSchema is the version of the format of drafts.
const DraftSchema = 1

const maxDraft = 64 << 20

// Draft is a change that waits for the signatures of offline keys. It travels as a file: each holder of a key reads on
// their own machine what it changes, signs, and sends it back. Base holds the registry's present metadata, so that what
// changes is computed where it is signed and not believed.
type Draft struct {
	Schema   int               `json:"schema"`
	Founding bool              `json:"founding,omitempty"` // there is no registry yet
	Made     time.Time         `json:"made"`
	Files    []DraftFile       `json:"files"`
	List     json.RawMessage   `json:"revocations,omitempty"`
	Roots    []json.RawMessage `json:"roots,omitempty"` // the chain, from the pinned one
	Base     []DraftFile       `json:"base,omitempty"`  // what Files replace
	BaseList json.RawMessage   `json:"base_revocations,omitempty"`
	Claims   []json.RawMessage `json:"claims,omitempty"` // of the namespaces that it is about
}

// DraftFile is one role's metadata.
type DraftFile struct {
	Role     string          `json:"role"`
	Metadata json.RawMessage `json:"metadata"`
}

// PendingError says that a change waits for signatures.
type PendingError struct {
	Roles []string // that lack signatures
	Path  string   // of the draft
}

func (e *PendingError) Error() string {
	return fmt.Sprintf("the change waits for signatures of %s, whose keys are not all at hand; `picket registry sign --export` writes it for those who have them",
		strings.Join(e.Roles, ", "))
}

const draftName = ".draft.json"

func (p *Publisher) draftPath() string { return filepath.Join(p.dir, draftName) }

// suspend keeps the change as a draft and goes back to the state on the disk.
func (p *Publisher) suspend(waiting []string) error {
	if err := p.saveDraft(); err != nil {
		return err
	}
	return &PendingError{Roles: waiting, Path: p.draftPath()}
}

// draft returns the change as a draft.
func (p *Publisher) draft() (*Draft, error) {
	d := &Draft{Schema: DraftSchema, Founding: p.founding, Made: p.now().UTC().Truncate(time.Second)}
	for _, role := range p.changed() {
		if IsOnline(role) && !p.founding {
			continue
		}
		data, err := p.rawRole(role)
		if err != nil {
			return nil, err
		}
		d.Files = append(d.Files, DraftFile{role, data})
	}
	if p.change.list != nil {
		data, err := p.change.list.Encode()
		if err != nil {
			return nil, err
		}
		d.List = data
	}
	return d, nil
}

func (p *Publisher) saveDraft() error {
	if _, err := os.Stat(p.draftPath()); err == nil && !p.change.resumed {
		return errors.New("another change waits for signatures; sign it first (`picket registry sign`), or drop it with --discard")
	}
	d, err := p.draft()
	if err != nil {
		return err
	}
	if err := p.writeDraft(d); err != nil {
		return err
	}
	p.change = newChange()
	if p.founding {
		return nil
	}
	fresh, err := load(p.dir, p.state.anchor)
	if err != nil {
		return err
	}
	p.state = fresh
	return nil
}

func (p *Publisher) writeDraft(d *Draft) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return durable.WriteFile(p.draftPath(), append(data, '\n'), 0o600)
}

func (p *Publisher) rawRole(role string) ([]byte, error) {
	if role == metadata.ROOT {
		return p.state.root.ToBytes(false)
	}
	return p.targetsOf(role).ToBytes(false)
}

// Pending returns the draft of this registry, nil when nothing waits.
func (p *Publisher) Pending() (*Draft, error) {
	data, err := durable.ReadFile(p.draftPath(), maxDraft)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ParseDraft(data)
}

// ParseDraft reads a draft.
func ParseDraft(data []byte) (*Draft, error) {
	var d Draft
	if err := strict.JSON(data, maxDraft, &d); err != nil {
		return nil, fmt.Errorf("read draft: %w", err)
	}
	if d.Schema != DraftSchema {
		return nil, fmt.Errorf("read draft: this build reads schema %d, not %d", DraftSchema, d.Schema)
	}
	return &d, nil
}

// Encode returns the file of a draft.
func (d *Draft) Encode() ([]byte, error) {
	data, err := json.Marshal(d)
	return append(data, '\n'), err
}

// resume takes the draft back into memory, so that the next change or signature goes on from there.
func (p *Publisher) resume() error {
	d, err := p.Pending()
	if err != nil || d == nil {
		return err
	}
	if err := p.overlay(d); err != nil {
		return fmt.Errorf("the change that waits for signatures: %w", err)
	}
	p.change.resumed = true
	return nil
}

func (p *Publisher) overlay(d *Draft) error {
	for _, f := range d.Files {
		if err := p.overlayFile(f); err != nil {
			return err
		}
	}
	if p.state.root == nil || p.state.targets == nil {
		return errors.New("it does not hold root and targets")
	}
	if len(d.List) > 0 {
		list, err := registry.ParseRevocations(d.List)
		if err != nil {
			return err
		}
		p.change.list = list
	}
	return nil
}

// errStale says that the registry went on without a draft.
var errStale = errors.New("the registry has changed since it was made; drop it with `picket registry sign --discard` and make the change again")

func (p *Publisher) overlayFile(f DraftFile) error {
	if f.Role == metadata.SNAPSHOT || f.Role == metadata.TIMESTAMP {
		return fmt.Errorf("%s does not belong into a draft", f.Role)
	}
	if f.Role == metadata.ROOT {
		next, err := tufrules.Root(f.Metadata)
		if err != nil {
			return err
		}
		if !p.founding {
			if next.Signed.Version != p.state.root.Signed.Version+1 {
				return fmt.Errorf("root: %w", errStale)
			}
			p.change.oldRoot = p.state.root
		}
		p.state.root, p.change.roles[metadata.ROOT] = next, true
		return nil
	}
	next, err := tufrules.Targets(f.Role, f.Metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Role, err)
	}
	if !p.founding {
		version := int64(0)
		if info := p.state.snapshot.Signed.Meta[f.Role+".json"]; info != nil {
			version = info.Version
		}
		if next.Signed.Version != version+1 {
			return fmt.Errorf("%s: %w", f.Role, errStale)
		}
	}
	if f.Role == metadata.TARGETS {
		p.state.targets = next
	} else {
		p.state.roles[f.Role] = next
	}
	p.change.roles[f.Role] = true
	if strings.HasPrefix(f.Role, tufrules.RoleNamespacePrefix) {
		p.change.given[f.Role] = true
	}
	return nil
}

func (p *Publisher) dropDraft() error {
	err := os.Remove(p.draftPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Discard drops the change that waits for signatures.
func (p *Publisher) Discard() error { return p.dropDraft() }

// Export returns the draft with everything that a signer on another machine needs to see what it changes.
func (p *Publisher) Export() (*Draft, error) {
	d, err := p.Pending()
	if err != nil || d == nil || d.Founding {
		return d, err
	}
	chain, _, err := rootChain(p.dir, p.state.anchor)
	if err != nil {
		return nil, err
	}
	for _, root := range chain {
		d.Roots = append(d.Roots, root)
	}
	for _, role := range append([]string{metadata.TARGETS}, releaseParents...) {
		if data, err := readPinned(p.dir, role, p.state.snapshot.Signed.Meta); err == nil {
			d.Base = append(d.Base, DraftFile{role, data})
		}
	}
	for _, f := range d.Files {
		if strings.HasPrefix(f.Role, tufrules.RoleNamespacePrefix) {
			if data, err := readPinned(p.dir, f.Role, p.state.snapshot.Signed.Meta); err == nil {
				d.Base = append(d.Base, DraftFile{f.Role, data})
			}
		}
	}
	if len(d.List) > 0 {
		list, err := p.revocations()
		if err != nil {
			return nil, err
		}
		if d.BaseList, err = list.Encode(); err != nil {
			return nil, err
		}
	}
	d.Claims, err = p.claimsOf(d)
	return d, err
}

// releaseParents are the roles whose present files a signer compares with.
var releaseParents = []string{tufrules.RoleOfficial, tufrules.RoleClaimed, tufrules.RoleRecent}

// Import takes the signatures of drafts that came back from other machines. Their content must be that of the draft
// that waits here; a signature that is not valid is left out.
func (p *Publisher) Import(back ...*Draft) error {
	if err := p.resume(); err != nil {
		return err
	}
	if len(p.change.roles) == 0 && p.change.list == nil {
		return errors.New("no change waits for signatures here")
	}
	for _, d := range back {
		if err := p.takeSignatures(d); err != nil {
			return err
		}
	}
	return p.finish()
}

// Sign adds the signatures of the keys at hand to the change that waits.
func (p *Publisher) Sign() error { return p.Import() }

func (p *Publisher) takeSignatures(d *Draft) error {
	for _, f := range d.Files {
		if IsOnline(f.Role) || !p.change.roles[f.Role] || p.change.given[f.Role] {
			continue
		}
		ours, err := p.rawRole(f.Role)
		if err != nil {
			return err
		}
		if f.Role == metadata.ROOT {
			theirs, err := tufrules.Root(f.Metadata)
			if err != nil {
				return err
			}
			if err := mergeSignatures(p.state.root, theirs, ours, f, p.signingKeys(f.Role)); err != nil {
				return err
			}
			continue
		}
		theirs, err := tufrules.Targets(f.Role, f.Metadata)
		if err != nil {
			return err
		}
		if err := mergeSignatures(p.targetsOf(f.Role), theirs, ours, f, p.signingKeys(f.Role)); err != nil {
			return err
		}
	}
	if len(d.List) == 0 || p.change.list == nil {
		return nil
	}
	return p.takeListSignatures(d.List)
}

// signingKeys are the keys whose signatures count for an altered role, by id.
func (p *Publisher) signingKeys(role string) map[string]*metadata.Key {
	keys := map[string]*metadata.Key{}
	add := func(all map[string]*metadata.Key, ids []string) {
		for _, id := range ids {
			keys[id] = all[id]
		}
	}
	if r, top := p.state.root.Signed.Roles[role]; top {
		add(p.state.root.Signed.Keys, r.KeyIDs)
		if old := p.change.oldRoot; old != nil && role == metadata.ROOT {
			add(old.Signed.Keys, old.Signed.Roles[role].KeyIDs)
		}
		return keys
	}
	if parent, d, err := p.state.delegation(role); err == nil {
		add(parent.Signed.Delegations.Keys, d.KeyIDs)
	}
	return keys
}

// mergeSignatures adds to ours what theirs has beyond it.
func mergeSignatures[T metadata.Roles](ours, theirs *metadata.Metadata[T], raw []byte, f DraftFile, keys map[string]*metadata.Key) error {
	same, err := sameSigned(raw, f.Metadata)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s: the draft that came back says something else than the one that waits here", f.Role)
	}
	for _, sig := range theirs.Signatures {
		have := slices.ContainsFunc(ours.Signatures, func(s metadata.Signature) bool { return s.KeyID == sig.KeyID })
		if key := keys[sig.KeyID]; !have && key != nil && validSignature(theirs, key) {
			ours.Signatures = append(ours.Signatures, sig)
		}
	}
	return nil
}

func sameSigned(a, b []byte) (bool, error) {
	var x, y struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		return false, err
	}
	return string(x.Signed) == string(y.Signed), nil
}

// validSignature asks go-tuf about one key, by way of a delegation to it alone.
func validSignature[T metadata.Roles](m *metadata.Metadata[T], key *metadata.Key) bool {
	alone := metadata.Root()
	return alone.Signed.AddKey(key, metadata.TIMESTAMP) == nil && alone.VerifyDelegate(metadata.TIMESTAMP, m) == nil
}
