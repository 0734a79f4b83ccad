package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// explain turns what go-tuf said into a refusal.
func (c *Client) explain(ctx context.Context, err error, root *trustedRoot, f *tufFetcher) error {
	var r *registry.Refusal
	var status *metadata.ErrDownloadHTTP
	role, _ := splitName(f.last)
	switch reason, text := classify(role, err); {
	case errors.As(err, &r):
		return r
	case errors.As(err, &status):
		return refusal(registry.BadMetadata, "%s is missing", f.last)
	case reason == registry.BadSignature && c.otherRoot(ctx, root):
		return otherRootRefusal(root)
	case reason == registry.Expired:
		return refusal(reason, "%s", text) // names the file itself
	default:
		return refusal(reason, "%s: %s", f.last, text)
	}
}

// classify says why go-tuf refused something, and what it said without the name of the error's type.
func classify(role string, err error) (registry.Reason, string) {
	online := role == metadata.TIMESTAMP || role == metadata.SNAPSHOT
	var expired *metadata.ErrExpiredMetadata
	var version *metadata.ErrBadVersionNumber
	var unsigned *metadata.ErrUnsignedMetadata
	var hash *metadata.ErrLengthOrHashMismatch
	switch {
	case errors.As(err, &expired):
		return registry.Expired, expired.Msg
	case errors.As(err, &version) && online:
		return registry.Rollback, version.Msg
	case errors.As(err, &version):
		return registry.MixAndMatch, version.Msg
	case errors.As(err, &hash):
		return registry.MixAndMatch, hash.Msg
	case errors.As(err, &unsigned):
		return registry.BadSignature, unsigned.Msg
	default:
		return registry.BadMetadata, err.Error()
	}
}

// otherRoot reports whether the registry stands on another root than this node: the same version, other bytes.
func (c *Client) otherRoot(ctx context.Context, root *trustedRoot) bool {
	name := fmt.Sprintf("metadata/%d.root.json", root.meta.Signed.Version)
	data, err := c.fetch(ctx, name, tufrules.MaxRoot)
	return err == nil && registry.Digest(data) != registry.Digest(root.data)
}
