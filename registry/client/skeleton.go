package client

import (
	"context"
	"errors"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

var errSoon = errors.New("not built yet")

// Client verifies and installs plugins on one node. It is safe for concurrent use.
type Client struct{}

// Open prepares the client; it does not use the network.
func Open(cfg Config) (*Client, error) { return nil, errSoon }

// Close releases what the client holds open.
func (c *Client) Close() error { return nil }

// Refresh brings the metadata and the revocations up to date.
func (c *Client) Refresh(ctx context.Context) error { return errSoon }

// Status says what the client knows about the registry.
func (c *Client) Status() Status { return Status{} }

// List returns what the registry offers, ordered by id and falling version.
func (c *Client) List(ctx context.Context) ([]Release, error) { return nil, errSoon }

// Resolve finds the highest version in a range ("" means the newest that is no prerelease).
func (c *Client) Resolve(ctx context.Context, id, versionRange string) (*Verified, error) {
	return nil, errSoon
}

// Install verifies a release, fetches its artifact for this platform and pins it in plugins.lock.
// It needs a reachable registry whose signatures are fresh, and does next to nothing when the release is installed.
func (c *Client) Install(ctx context.Context, id, version, runtime string) (*Installed, error) {
	return nil, errSoon
}

// Installed returns what plugins.lock says about a plugin.
func (c *Client) Installed(id string) (*Installed, bool) { return nil, false }

// AllInstalled returns everything that plugins.lock pins, ordered by id.
func (c *Client) AllInstalled() []*Installed { return nil }

// OpenVerified returns the bytes to run. It hashes them again each time and works without the registry.
func (c *Client) OpenVerified(ctx context.Context, id, runtime string) (*Artifact, error) {
	return nil, errSoon
}

// RecordGrants pins the operator's grants in plugins.lock. Other grants than the recorded ones need a fresh registry.
func (c *Client) RecordGrants(ctx context.Context, id string, grants []sdk.Permission) error {
	return errSoon
}

// Readme returns the README of an installed or offered plugin, nil when it has none.
func (c *Client) Readme(ctx context.Context, d *registry.Descriptor) ([]byte, error) {
	return nil, errSoon
}
