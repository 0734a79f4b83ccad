package publish

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// commit signs new versions of the named targets roles, then of snapshot and timestamp, and writes them in that order.
func (p *Publisher) commit(roles ...string) error {
	for _, role := range roles {
		if err := p.commitTargets(role); err != nil {
			return err
		}
	}
	snapshot := p.state.snapshot
	snapshot.Signed.Version++
	snapshot.Signed.Expires = p.expiry(metadata.SNAPSHOT)
	rootRole := p.state.root.Signed.Roles[metadata.SNAPSHOT]
	data, err := seal(p.ring, metadata.SNAPSHOT, snapshot, rootRole.KeyIDs, rootRole.Threshold)
	if err != nil {
		return err
	}
	if err := p.writeVersioned(metadata.SNAPSHOT, snapshot.Signed.Version, data); err != nil {
		return err
	}
	return p.commitTimestamp(metaFile(snapshot.Signed.Version, data))
}

func (p *Publisher) commitTargets(role string) error {
	m, ids, threshold := p.state.targets, []string(nil), 0
	if role == metadata.TARGETS {
		r := p.state.root.Signed.Roles[metadata.TARGETS]
		ids, threshold = r.KeyIDs, r.Threshold
	} else {
		d, ok := p.state.delegation(role)
		if !ok {
			return fmt.Errorf("sign %s: nobody delegates to it", role)
		}
		m, ids, threshold = p.state.roles[role], d.KeyIDs, d.Threshold
	}
	m.Signed.Version++
	m.Signed.Expires = p.expiry(role)
	data, err := seal(p.ring, role, m, ids, threshold)
	if err != nil {
		return err
	}
	p.state.snapshot.Signed.Meta[role+".json"] = metaFile(m.Signed.Version, data)
	return p.writeVersioned(role, m.Signed.Version, data)
}

func (p *Publisher) commitTimestamp(snapshot *metadata.MetaFiles) error {
	ts := p.state.timestamp
	ts.Signed.Version++
	ts.Signed.Expires = p.expiry(metadata.TIMESTAMP)
	ts.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": snapshot}
	role := p.state.root.Signed.Roles[metadata.TIMESTAMP]
	data, err := seal(p.ring, metadata.TIMESTAMP, ts, role.KeyIDs, role.Threshold)
	if err != nil {
		return err
	}
	return durable.WriteFile(p.metadataPath("timestamp.json"), data, 0o644)
}

// seal signs metadata and makes sure that a client will take it.
func seal[T metadata.Roles](ring keyring, role string, m *metadata.Metadata[T], ids []string, threshold int) ([]byte, error) {
	if err := sign(ring, role, m, ids, threshold); err != nil {
		return nil, err
	}
	data, err := m.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", role, err)
	}
	if err := tufrules.Check(role, data); err != nil {
		return nil, fmt.Errorf("sign %s: %w", role, err)
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
