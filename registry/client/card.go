package client

import (
	"context"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// CardDigest returns the digest of the card that the registry's index names for a release, "" when it names none.
func (c *Client) CardDigest(ctx context.Context, id, version, descriptor string) (string, error) {
	x, err := c.Index(ctx)
	if err != nil {
		return "", err
	}
	for i := range x.Plugins {
		if x.Plugins[i].ID != id {
			continue
		}
		if r, ok := x.Plugins[i].Release(version); ok && r.Descriptor == descriptor {
			return r.Card, nil
		}
	}
	return "", nil
}

// Card returns the card with a digest if the registry signed it for this release. It helps to choose and decides
// nothing.
func (c *Client) Card(ctx context.Context, id, version, descriptor, digest string) (*registry.Card, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	data, err := c.blob(ctx, digest, registry.MaxCard)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	role := v.set.Root.Signed.Roles[metadata.SNAPSHOT]
	keys, err := tufrules.PublicKeys(v.set.Root.Signed.Keys, role.KeyIDs)
	if err != nil {
		return nil, refuse(refusal(registry.BadMetadata, "%w", err), id, version)
	}
	signed, err := registry.ParseCard(data)
	if err == nil {
		err = signed.Verify(c.trusted().anchor, keys)
	}
	if err != nil {
		return nil, refuse(refusal(registry.BadSignature, "its card: %w", err), id, version)
	}
	if card := signed.Card; card.ID != id || card.Version != version || card.Descriptor != descriptor {
		return nil, refuse(refusal(registry.DescriptorMismatch, "its card speaks of %s %s", card.ID, card.Version), id, version)
	}
	return &signed.Card, nil
}

// blob returns a small file of the store, from this node or from the registry, and keeps it.
func (c *Client) blob(ctx context.Context, digest string, maxBytes int64) ([]byte, error) {
	if !registry.ValidDigest(digest) {
		return nil, refusal(registry.BadMetadata, "%q is not a SHA-256", digest)
	}
	if data, err := c.fromStore(digest, maxBytes); err == nil {
		return data, nil
	}
	data, err := c.fetch(ctx, registry.StorePath(digest), maxBytes)
	if err != nil {
		return nil, asRefusal(err)
	}
	if registry.Digest(data) != digest {
		return nil, refusal(registry.DigestMismatch, "a file of the store has other bytes than its name says")
	}
	if err := durable.WriteFile(c.storePath(digest), data, 0o444); err != nil {
		return nil, local(err)
	}
	return data, nil
}

// Evidence returns a file that a card refers to.
func (c *Client) Evidence(ctx context.Context, digest string) ([]byte, error) {
	data, err := c.blob(ctx, digest, maxEvidence)
	if err != nil {
		return nil, refuse(err, "", "")
	}
	return data, nil
}

// StoredFile names the file in this node's store that should have a digest. Whoever reads it compares.
func (c *Client) StoredFile(digest string) string { return c.storePath(digest) }
