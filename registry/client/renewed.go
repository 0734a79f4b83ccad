package client

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// renewed returns what was kept under a timestamp that the registry signed again, every few hours, for the snapshot that
// is known: what hangs on that by hashes is the same, and only a date is new. nil means that there is more to read, or
// that the timestamp is not what it should be, which the whole way says.
func (c *Client) renewed(root *trustedRoot, old, fresh []byte) (*view, error) {
	v := c.keptView(root)
	if v == nil || !bytes.Equal(v.timestamp, old) {
		return nil, nil
	}
	next, err := follow(root, old, fresh, c.now())
	if err != nil || !sameSnapshot(v.set.Timestamp, next) {
		return nil, nil //nolint:nilerr // the whole way says what is wrong
	}
	// It was seen, so it must not be forgotten, whatever becomes of the rest.
	if err := durable.WriteFile(c.home("metadata/timestamp.json"), fresh, 0o600); err != nil {
		return nil, local(err)
	}
	v.set.Timestamp, v.timestamp = next, fresh
	v.expires = earliest(root.meta.Signed.Expires, next.Signed.Expires, v.set.Snapshot.Signed.Expires,
		v.set.Targets[metadata.TARGETS].Signed.Expires, v.set.Targets[tufrules.RoleSecurity].Signed.Expires)
	_ = c.keepTimestamp(v) // what cannot be kept is read again next time
	return v, nil
}

// follow has go-tuf hold a timestamp against the one before: signed by the root's keys, newer, not out of date.
func follow(root *trustedRoot, old, fresh []byte, now time.Time) (m *metadata.Metadata[metadata.TimestampType], err error) {
	defer recoverTo(&err)
	if _, err := tufrules.Timestamp(fresh); err != nil {
		return nil, err
	}
	set, err := trustedmetadata.New(root.data)
	if err != nil {
		return nil, err
	}
	set.RefTime = now
	if _, err := set.UpdateTimestamp(old); err != nil {
		return nil, err
	}
	return set.UpdateTimestamp(fresh)
}

func sameSnapshot(a, b *metadata.Metadata[metadata.TimestampType]) bool {
	x, y := a.Signed.Meta["snapshot.json"], b.Signed.Meta["snapshot.json"]
	return x.Version == y.Version && x.Length == y.Length && x.Hashes["sha256"].String() == y.Hashes["sha256"].String()
}

// keepTimestamp writes the first line of what is kept anew.
func (c *Client) keepTimestamp(v *view) error {
	head := *v.head
	head.Files["timestamp.json"], head.Expires = registry.Digest(v.timestamp), v.expires
	first, err := json.Marshal(head)
	if err != nil {
		return err
	}
	return durable.WriteFile(c.home(keptFile), append(first, v.kept...), 0o600)
}
