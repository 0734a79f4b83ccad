package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// takeRevocations fetches the list that the security role vouches for and adds it to what this node knows.
func (c *Client) takeRevocations(ctx context.Context, v *view, up *updater.Updater) error {
	var err error
	if v.list, err = revocationsTarget(up); err != nil {
		return refusal(registry.NotVouched, "%s: %w", registry.RevocationsPath, err)
	}
	return c.mergeRevocations(ctx, v)
}

func (c *Client) mergeRevocations(ctx context.Context, v *view) error {
	data, err := c.fetchTarget(ctx, registry.RevocationsPath, v.list.digest, v.list.length)
	if err != nil {
		return err
	}
	offered, err := registry.ParseRevocations(data)
	if err != nil {
		return &registry.Refusal{Reason: registry.BadMetadata, Err: err}
	}
	if err := v.checkRevokers(offered); err != nil {
		return err
	}
	known, err := c.readRevocations()
	if err != nil {
		return local(err)
	}
	if known.Merge(offered) > 0 {
		data, err := known.Encode()
		if err == nil {
			err = durable.WriteFile(c.home("revocations.json"), data, 0o600)
		}
		if err != nil {
			return local(err)
		}
	}
	v.revoked = known
	return nil
}

// checkRevokers wants the offline keys to have signed the list: the online key that published it may only repeat it.
func (v *view) checkRevokers(list *registry.Revocations) error {
	if v.revokers == nil {
		return nil
	}
	keys, err := tufrules.PublicKeys(v.set.Targets[metadata.TARGETS].Signed.Delegations.Keys, v.revokers.KeyIDs)
	if err != nil {
		return &registry.Refusal{Reason: registry.BadMetadata, Err: err}
	}
	payload, err := list.Payload()
	if err == nil {
		err = registry.VerifyStatement(registry.StatementRevocations, payload, list.Signatures, keys, v.revokers.Threshold)
	}
	if err != nil {
		return refusal(registry.BadSignature, "%s: the offline keys of revokers did not sign it: %w", registry.RevocationsPath, err)
	}
	return nil
}

// readRevocations returns what this node knows to be withdrawn.
func (c *Client) readRevocations() (*registry.Revocations, error) {
	data, err := durable.ReadFile(c.home("revocations.json"), 2*registry.MaxRevocations)
	if errors.Is(err, fs.ErrNotExist) {
		return &registry.Revocations{Schema: registry.RevocationsSchema}, nil
	}
	if err != nil {
		return nil, err
	}
	return registry.ParseRevocations(data)
}

// vouched is a target that go-tuf found.
type vouched struct {
	digest string
	length int64
}

// revocationsTarget asks go-tuf itself, so that only the first and terminating role can answer.
func revocationsTarget(up *updater.Updater) (t vouched, err error) {
	defer recoverTo(&err)
	info, err := up.GetTargetInfo(registry.RevocationsPath)
	if err != nil {
		return vouched{}, err
	}
	if info.Length > registry.MaxRevocations {
		return vouched{}, fmt.Errorf("%d bytes are more than %d", info.Length, registry.MaxRevocations)
	}
	return vouched{digest: hex.EncodeToString(info.Hashes["sha256"]), length: info.Length}, nil
}
