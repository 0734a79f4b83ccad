package publish

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// NamespaceFile returns the newest file of a namespace and the ids of the keys that sign it, for whoever makes a claim
// that changes them or an upload.
func (p *Publisher) NamespaceFile(ns string) (data []byte, keyIDs []string, err error) {
	role := tufrules.RoleNamespacePrefix + ns
	_, d, err := p.state.delegation(role)
	if err != nil {
		return nil, nil, err
	}
	data, err = readPinned(p.dir, role, p.state.snapshot.Signed.Meta)
	return data, slices.Clone(d.KeyIDs), err
}

// NamespaceKeys returns the public keys that sign a namespace.
func (p *Publisher) NamespaceKeys(ns string) ([]ed25519.PublicKey, error) {
	parent, d, err := p.state.delegation(tufrules.RoleNamespacePrefix + ns)
	if err != nil {
		return nil, fmt.Errorf("this registry has no namespace %q: claim it first (`picket registry claim`)", ns)
	}
	return tufrules.PublicKeys(parent.Signed.Delegations.Keys, d.KeyIDs)
}

// Published returns the digest of a release's descriptor, "" when the registry has no such release.
func (p *Publisher) Published(id, version string) (digest string, err error) {
	role, err := p.roleOf(id)
	if err != nil {
		return "", err
	}
	m, err := p.state.role(role)
	if err != nil {
		return "", err
	}
	if t := m.Signed.Targets[registry.TargetPath(id, version)]; t != nil {
		return hex.EncodeToString(t.Hashes["sha256"]), nil
	}
	return "", nil
}

// Upload is a release as its author hands it in: the namespace's next file, signed, and what it names that is new.
type Upload struct {
	Namespace string
	Metadata  []byte
	Releases  []Submission
}

// SignUpload makes an upload out of the namespace's newest file. Like a claim it needs no registry.
func SignUpload(ns string, current []byte, keys []ed25519.PrivateKey, now time.Time, releases ...Submission) (Upload, error) {
	role := tufrules.RoleNamespacePrefix + ns
	m, err := tufrules.Targets(role, current)
	if err != nil {
		return Upload{}, err
	}
	m.Signed.Version++
	m.Signed.Expires = now.UTC().Add(NamespaceExpiry).Truncate(time.Second)
	m.ClearSignatures()
	for _, sub := range releases {
		data, err := sub.Descriptor.Encode()
		if err != nil {
			return Upload{}, err
		}
		path := registry.TargetPath(sub.Descriptor.Manifest.ID, sub.Descriptor.Manifest.Version)
		if m.Signed.Targets[path], err = metadata.TargetFile().FromBytes(path, data, "sha256"); err != nil {
			return Upload{}, err
		}
	}
	ring, ids := keyring{}, []string(nil)
	for _, key := range keys {
		id := registry.KeyID(key.Public().(ed25519.PublicKey))
		ring[id], ids = key, append(ids, id)
	}
	if err := sign(ring, role, m, ids); err != nil {
		return Upload{}, err
	}
	data, err := m.ToBytes(false)
	return Upload{Namespace: ns, Metadata: data, Releases: releases}, err
}

// Accept takes an upload. The author's signatures are checked and kept as they are; this registry only adds what the
// online keys say. A release that is there neither changes nor goes: yank it, or revoke it. After an error the Publisher
// is of no more use: close it, and open another.
func (p *Publisher) Accept(ctx context.Context, up Upload) error {
	next, err := p.checkUpload(up)
	if err == nil {
		err = p.storeUpload(ctx, up)
	}
	if err != nil {
		return fmt.Errorf("accept upload to %s: %w", up.Namespace, err)
	}
	role := tufrules.RoleNamespacePrefix + up.Namespace
	p.state.roles[role], p.change.roles[role], p.change.given[role] = next, true, true
	if err := p.finish(); err != nil {
		return err
	}
	return p.log(up.Releases...)
}

// CheckUpload says whether Accept would take an upload as far as its signatures and its list of releases go. Nothing is
// written. Gates run after it, so that only authors cost the registry more than a look.
func (p *Publisher) CheckUpload(up Upload) error {
	if _, err := p.checkUpload(up); err != nil {
		return fmt.Errorf("upload to %s: %w", up.Namespace, err)
	}
	return nil
}

func (p *Publisher) checkUpload(up Upload) (*targetsMeta, error) {
	role := tufrules.RoleNamespacePrefix + up.Namespace
	parent, d, err := p.state.delegation(role)
	if err != nil {
		return nil, fmt.Errorf("this registry has no namespace %q: claim it first (`picket registry claim`)", up.Namespace)
	}
	m, err := p.state.role(role)
	if err != nil {
		return nil, err
	}
	next, err := tufrules.Targets(role, up.Metadata)
	if err != nil {
		return nil, err
	}
	if err := parent.VerifyDelegate(role, next); err != nil {
		return nil, fmt.Errorf("its keys did not sign it: %w", err)
	}
	if next.Signed.Version != m.Signed.Version+1 {
		return nil, fmt.Errorf("version %d does not follow %d; sign on top of the newest state", next.Signed.Version, m.Signed.Version)
	}
	if left := next.Signed.Expires.Sub(p.now()); left < minUploadLife || left > NamespaceExpiry+minUploadLife {
		return nil, fmt.Errorf("its signature would last until %s; between a day and %d days is allowed, see this machine's clock",
			next.Signed.Expires.Format(time.DateOnly), int(NamespaceExpiry.Hours()/24))
	}
	if err := checkKept(m, next); err != nil {
		return nil, err
	}
	return next, checkNew(up, d, m, next)
}

// minUploadLife is how long a namespace's file lasts at least, so that nobody's clock makes it end as it comes in.
const minUploadLife = 24 * time.Hour

// checkKept wants every release that is there to stay as it is.
func checkKept(m, next *targetsMeta) error {
	for path, t := range m.Signed.Targets {
		now := next.Signed.Targets[path]
		if now == nil {
			return fmt.Errorf("%s is gone; releases are yanked or revoked, not removed", path)
		}
		if t.Length != now.Length || hex.EncodeToString(t.Hashes["sha256"]) != hex.EncodeToString(now.Hashes["sha256"]) {
			return fmt.Errorf("%s has other content; releases do not change, raise version in plugin.yaml", path)
		}
	}
	return nil
}

// checkNew wants each release that is new to be handed in, to lie in the namespace, and nothing else to be handed in.
func checkNew(up Upload, d *metadata.DelegatedRole, m, next *targetsMeta) error {
	handed := map[string]bool{}
	for _, sub := range up.Releases {
		data, err := sub.Descriptor.Encode()
		if err != nil {
			return err
		}
		path := registry.TargetPath(sub.Descriptor.Manifest.ID, sub.Descriptor.Manifest.Version)
		t := next.Signed.Targets[path]
		if t == nil || hex.EncodeToString(t.Hashes["sha256"]) != registry.Digest(data) || t.Length != int64(len(data)) {
			return fmt.Errorf("%s is handed in, but not what is signed", path)
		}
		handed[path] = true
	}
	for path := range next.Signed.Targets {
		if m.Signed.Targets[path] != nil {
			continue
		}
		if !tufrules.Allows(d, path) {
			return fmt.Errorf("%s is outside of the namespace", path)
		}
		if !handed[path] {
			return fmt.Errorf("%s is signed, but its descriptor was not handed in", path)
		}
	}
	return nil
}

// storeUpload writes what the releases of an upload consist of, under names that nobody asks for yet.
func (p *Publisher) storeUpload(ctx context.Context, up Upload) error {
	for _, sub := range up.Releases {
		if err := p.store(ctx, sub); err != nil {
			return err
		}
		data, err := sub.Descriptor.Encode()
		if err != nil {
			return err
		}
		if err := p.storeCard(sub, registry.Digest(data)); err != nil {
			return err
		}
		path := registry.TargetPath(sub.Descriptor.Manifest.ID, sub.Descriptor.Manifest.Version)
		name := p.path(filepath.FromSlash("targets/" + registry.HashedPath(path, registry.Digest(data))))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
