package registrytest

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
	"github.com/picketwatch/picket/registry/publish"
)

// KeyOf returns a private key that a role has now, from the folder of keys.
func (r *Registry) KeyOf(tb testing.TB, role string) ed25519.PrivateKey {
	tb.Helper()
	ids := r.roleKeys(tb, role)
	for _, key := range readKeys(tb, r.Keys) {
		if slices.Contains(ids, registry.KeyID(key.Public().(ed25519.PublicKey))) {
			return key
		}
	}
	tb.Fatalf("no key of %s is in %s", role, r.Keys)
	return nil
}

func readKeys(tb testing.TB, places string) []ed25519.PrivateKey {
	tb.Helper()
	var keys []ed25519.PrivateKey
	for _, place := range filepath.SplitList(places) {
		names, err := filepath.Glob(filepath.Join(place, "*.pem"))
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range names {
			key, err := publish.LoadKey(name, nil)
			if err != nil {
				tb.Fatal(err)
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// roleKeys returns the ids of a role's keys.
func (r *Registry) roleKeys(tb testing.TB, role string) []string {
	tb.Helper()
	p, err := publish.Open(tb.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Close()
	ids, _, err := p.RoleKeys(role)
	if err != nil {
		tb.Fatal(err)
	}
	return ids
}

// Change opens the registry for one change by its own people. A change that waits for signatures is an error.
func (r *Registry) Change(tb testing.TB, change func(*publish.Publisher) error) {
	tb.Helper()
	p, err := publish.Open(tb.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Close()
	if err := change(p); err != nil {
		tb.Fatal(err)
	}
}

// Rotate replaces every key of a role that is in the folder of keys.
func (r *Registry) Rotate(tb testing.TB, role string) {
	tb.Helper()
	r.Change(tb, func(p *publish.Publisher) error {
		c, err := p.ReplaceKeys(role)
		if err != nil {
			return err
		}
		return p.Rotate(role, c)
	})
}

// Author is somebody with a namespace and a key.
type Author struct {
	Namespace string
	Key       ed25519.PrivateKey
}

// Claim has a new author claim a namespace; it is among the recent ones then.
func (r *Registry) Claim(tb testing.TB, ns string) *Author {
	tb.Helper()
	a := &Author{ns, NewKey(tb)}
	claim, err := publish.NewClaim(publish.ClaimRequest{RootSHA256: r.RootSHA256(tb), Namespace: ns, Contact: "dev@" + ns + ".example",
		Keys: []ed25519.PrivateKey{a.Key}, Now: r.Now()})
	if err != nil {
		tb.Fatal(err)
	}
	r.Change(tb, func(p *publish.Publisher) error { return p.Admit(claim, false) })
	return a
}

// NewKey makes a key.
func NewKey(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// Confirm has the maintainers vouch for a namespace.
func (r *Registry) Confirm(tb testing.TB, ns string) {
	tb.Helper()
	r.Change(tb, func(p *publish.Publisher) error { return p.Confirm(ns) })
}

// Upload has an author publish releases: they sign, the registry takes it.
func (r *Registry) Upload(tb testing.TB, a *Author, plugins ...Plugin) {
	tb.Helper()
	r.Change(tb, func(p *publish.Publisher) error { return p.Accept(tb.Context(), a.Sign(tb, r, p, plugins...)) })
}

// Sign is the author's part of an upload.
func (a *Author) Sign(tb testing.TB, r *Registry, p *publish.Publisher, plugins ...Plugin) publish.Upload {
	tb.Helper()
	current, _, err := p.NamespaceFile(a.Namespace)
	if err != nil {
		tb.Fatal(err)
	}
	subs := make([]publish.Submission, 0, len(plugins))
	for _, plugin := range plugins {
		subs = append(subs, plugin.Submission(tb))
	}
	up, err := publish.SignUpload(a.Namespace, current, []ed25519.PrivateKey{a.Key}, r.Now(), subs...)
	if err != nil {
		tb.Fatal(err)
	}
	return up
}

// NewKeys has an author change their key: with the old one's signature, or without when it is lost. Releases that keep
// refuses are not vouched for by the new key.
func (r *Registry) NewKeys(tb testing.TB, a *Author, lost bool, keep func(id, version, descriptor string) bool) {
	tb.Helper()
	r.Change(tb, func(p *publish.Publisher) error {
		current, ids, err := p.NamespaceFile(a.Namespace)
		if err != nil {
			return err
		}
		next := NewKey(tb)
		req := publish.ClaimRequest{RootSHA256: r.RootSHA256(tb), Namespace: a.Namespace, Contact: "dev@" + a.Namespace + ".example",
			Keys: []ed25519.PrivateKey{next}, Now: r.Now(), Current: current, OldIDs: ids, Keep: keep}
		if !lost {
			req.Old = []ed25519.PrivateKey{a.Key}
		}
		claim, err := publish.NewClaim(req)
		if err != nil {
			return err
		}
		a.Key = next
		return p.Admit(claim, lost)
	})
}

// Thief has stolen one key, and stands in the registry's server besides: what the server's present keys sign, the thief
// can have signed too.
type Thief struct {
	Dir    string // the registry that the thief serves, a copy of the true one
	Stolen ed25519.PrivateKey
	Online map[string]ed25519.PrivateKey // the server's present keys, by role
	Victim string                        // the plugin of the project that the thief would like to replace
}

// Thief makes a copy of the registry for a thief.
func (r *Registry) Thief(tb testing.TB, stolen ed25519.PrivateKey) *Thief {
	tb.Helper()
	t := &Thief{Dir: filepath.Join(tb.TempDir(), "stolen"), Stolen: stolen, Online: map[string]ed25519.PrivateKey{}, Victim: Victim}
	if err := os.CopyFS(t.Dir, os.DirFS(r.Dir)); err != nil {
		tb.Fatal(err)
	}
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP, tufrules.RoleSecurity, tufrules.RoleRecent} {
		t.Online[role] = r.KeyOf(tb, role)
	}
	return t
}

// Strike signs, as a role, what a thief of that role's key wants most. Nodes refuse it, since the role has other keys
// now; before the rotation they would not.
func (t *Thief) Strike(tb testing.TB, role string) {
	tb.Helper()
	f := &Registry{Dir: t.Dir}
	switch role {
	case metadata.ROOT:
		t.root(tb, f)
		return
	case metadata.TIMESTAMP:
		ts := read(tb, metadata.Timestamp(), f.metadata("timestamp.json"))
		ts.Signed.Version += 1000
		ts.Signed.Expires = ts.Signed.Expires.Add(10 * 365 * 24 * time.Hour)
		ts.ClearSignatures()
		signWith(tb, ts, t.Stolen)
		write(tb, ts, f.metadata("timestamp.json"))
		return
	case metadata.SNAPSHOT:
		t.publish(tb, f, nil, t.Stolen)
		return
	case tufrules.RoleRevokers:
		t.list(tb, f)
		return
	}
	var m *metadata.Metadata[metadata.TargetsType]
	if m = read(tb, metadata.Targets(), f.newest(tb, role)); role == tufrules.RoleSecurity {
		m.Signed.Expires = m.Signed.Expires.Add(10 * 365 * 24 * time.Hour)
	}
	m.Signed.Version++
	switch ns, isNamespace := strings.CutPrefix(role, tufrules.RoleNamespacePrefix); {
	case role == tufrules.RoleOfficial:
		t.release(tb, f, m, t.Victim)
	case isNamespace:
		t.release(tb, f, m, ns+"/agent")
	case m.Signed.Delegations != nil:
		t.hijack(tb, m)
	}
	m.ClearSignatures()
	signWith(tb, m, t.Stolen)
	file := write(tb, m, f.metadata(fmt.Sprintf("%d.%s.json", m.Signed.Version, role)))
	t.publish(tb, f, map[string]*metadata.MetaFiles{role + ".json": metaFile(m.Signed.Version, file)}, t.Online[metadata.SNAPSHOT])
}

// release has a role vouch for a program of the thief's.
func (t *Thief) release(tb testing.TB, f *Registry, m *metadata.Metadata[metadata.TargetsType], id string) {
	tb.Helper()
	data := encodeDescriptor(tb, id, "66.6.6")
	path := registry.TargetPath(id, "66.6.6")
	m.Signed.Targets[path] = f.putTarget(tb, path, data)
}

// hijack gives every delegation the thief's own key.
func (t *Thief) hijack(tb testing.TB, m *metadata.Metadata[metadata.TargetsType]) {
	tb.Helper()
	key, err := metadata.KeyFromPublicKey(NewKey(tb).Public())
	if err != nil {
		tb.Fatal(err)
	}
	id, err := key.ID()
	if err != nil {
		tb.Fatal(err)
	}
	m.Signed.Delegations.Keys = map[string]*metadata.Key{id: key}
	for i := range m.Signed.Delegations.Roles {
		m.Signed.Delegations.Roles[i].KeyIDs, m.Signed.Delegations.Roles[i].Threshold = []string{id}, 1
	}
}

// list publishes an empty list of revocations, signed by the stolen key of a revoker.
func (t *Thief) list(tb testing.TB, f *Registry) {
	tb.Helper()
	list := &registry.Revocations{Schema: registry.RevocationsSchema, Revoked: []registry.Revocation{
		{Plugin: Other, Versions: "*", Reason: "A thief says so.", Time: time.Unix(0, 0).UTC()}}}
	payload, err := list.Payload()
	if err != nil {
		tb.Fatal(err)
	}
	list.Signatures = []registry.Signature{registry.SignStatement(registry.StatementRevocations, payload, t.Stolen)}
	data, err := list.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	m := read(tb, metadata.Targets(), f.newest(tb, tufrules.RoleSecurity))
	m.Signed.Version++
	m.Signed.Targets[registry.RevocationsPath] = f.putTarget(tb, registry.RevocationsPath, data)
	m.ClearSignatures()
	signWith(tb, m, t.Online[tufrules.RoleSecurity])
	file := write(tb, m, f.metadata(fmt.Sprintf("%d.security.json", m.Signed.Version)))
	t.publish(tb, f, map[string]*metadata.MetaFiles{"security.json": metaFile(m.Signed.Version, file)}, t.Online[metadata.SNAPSHOT])
}

// root offers a next root that names the thief's keys and is signed by the stolen one.
func (t *Thief) root(tb testing.TB, f *Registry) {
	tb.Helper()
	root := read(tb, metadata.Root(), f.metadata("root.json"))
	root.Signed.Version++
	key, err := metadata.KeyFromPublicKey(t.Stolen.Public())
	if err != nil {
		tb.Fatal(err)
	}
	for name, role := range root.Signed.Roles {
		role.KeyIDs, role.Threshold = nil, 1
		if err := root.Signed.AddKey(key, name); err != nil {
			tb.Fatal(err)
		}
	}
	for id := range root.Signed.Keys {
		if own, err := key.ID(); err == nil && id != own {
			delete(root.Signed.Keys, id)
		}
	}
	root.ClearSignatures()
	signWith(tb, root, t.Stolen)
	write(tb, root, f.metadata(fmt.Sprintf("%d.root.json", root.Signed.Version)))
}

// publish makes the thief's files known.
func (t *Thief) publish(tb testing.TB, f *Registry, files map[string]*metadata.MetaFiles, snapshotKey ed25519.PrivateKey) {
	tb.Helper()
	now := read(tb, metadata.Timestamp(), f.metadata("timestamp.json"))
	snapshot := read(tb, metadata.Snapshot(), f.metadata(fmt.Sprintf("%d.snapshot.json", now.Signed.Meta["snapshot.json"].Version)))
	snapshot.Signed.Version++
	for name, info := range files {
		snapshot.Signed.Meta[name] = info
	}
	snapshot.ClearSignatures()
	signWith(tb, snapshot, snapshotKey)
	file := write(tb, snapshot, f.metadata(fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version)))
	now.Signed.Version++
	now.Signed.Meta["snapshot.json"] = metaFile(snapshot.Signed.Version, file)
	now.ClearSignatures()
	signWith(tb, now, t.Online[metadata.TIMESTAMP])
	write(tb, now, f.metadata("timestamp.json"))
}

// FastForward signs a timestamp and a snapshot with the server's present keys whose versions leave the true ones far
// behind.
func (t *Thief) FastForward(tb testing.TB) {
	tb.Helper()
	f := &Registry{Dir: t.Dir}
	now := read(tb, metadata.Timestamp(), f.metadata("timestamp.json"))
	snapshot := read(tb, metadata.Snapshot(), f.metadata(fmt.Sprintf("%d.snapshot.json", now.Signed.Meta["snapshot.json"].Version)))
	snapshot.Signed.Version += 1 << 40
	snapshot.ClearSignatures()
	signWith(tb, snapshot, t.Online[metadata.SNAPSHOT])
	file := write(tb, snapshot, f.metadata(fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version)))
	now.Signed.Version += 1 << 40
	now.Signed.Meta["snapshot.json"] = metaFile(snapshot.Signed.Version, file)
	now.ClearSignatures()
	signWith(tb, now, t.Online[metadata.TIMESTAMP])
	write(tb, now, f.metadata("timestamp.json"))
}

// OldSnapshot signs a newer timestamp that names the snapshot of an older one.
func (r *Registry) OldSnapshot(tb testing.TB, older []byte) {
	tb.Helper()
	old, err := metadata.Timestamp().FromBytes(older)
	if err != nil {
		tb.Fatal(err)
	}
	ts := read(tb, metadata.Timestamp(), r.metadata("timestamp.json"))
	key := r.KeyOf(tb, metadata.TIMESTAMP)
	ts.Signed.Version++
	ts.Signed.Meta = old.Signed.Meta
	ts.ClearSignatures()
	signWith(tb, ts, key)
	write(tb, ts, r.metadata("timestamp.json"))
}

// SetNow sets the clock of a registry that no constructor made.
func (r *Registry) SetNow(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
}

// resignSnapshot changes the snapshot and signs it and the timestamp, with the real keys and none of the publisher's
// checks.
func (r *Registry) resignSnapshot(tb testing.TB, change func(*metadata.SnapshotType)) {
	tb.Helper()
	ts := read(tb, metadata.Timestamp(), r.metadata("timestamp.json"))
	snapshot := read(tb, metadata.Snapshot(), r.metadata(fmt.Sprintf("%d.snapshot.json", ts.Signed.Meta["snapshot.json"].Version)))
	root := read(tb, metadata.Root(), r.metadata("root.json"))
	find := func(role string) ed25519.PrivateKey {
		for _, key := range readKeys(tb, r.Keys) {
			if slices.Contains(root.Signed.Roles[role].KeyIDs, registry.KeyID(key.Public().(ed25519.PublicKey))) {
				return key
			}
		}
		tb.Fatalf("no key of %s", role)
		return nil
	}
	snapshot.Signed.Version++
	change(&snapshot.Signed)
	snapshot.ClearSignatures()
	signWith(tb, snapshot, find("snapshot"))
	file := write(tb, snapshot, r.metadata(fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version)))
	ts.Signed.Version++
	ts.Signed.Meta["snapshot.json"] = metaFile(snapshot.Signed.Version, file)
	ts.ClearSignatures()
	signWith(tb, ts, find("timestamp"))
	write(tb, ts, r.metadata("timestamp.json"))
}

// SignTargets signs a file of targets anew and returns its bytes, whatever it says.
func SignTargets(tb testing.TB, m *metadata.Metadata[metadata.TargetsType], keys ...ed25519.PrivateKey) []byte {
	tb.Helper()
	m.ClearSignatures()
	for _, key := range keys {
		signWith(tb, m, key)
	}
	data, err := m.ToBytes(false)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
