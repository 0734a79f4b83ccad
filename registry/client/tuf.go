package client

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	tufconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// update lets go-tuf work on a copy of the node's metadata and then takes over, durably, what it accepted: also when
// the refresh failed later on, since a newer timestamp that was seen must not be forgotten.
func (c *Client) update(ctx context.Context, root *trustedRoot) (*view, error) {
	stage, err := os.MkdirTemp(c.home(""), "stage-")
	if err != nil {
		return nil, local(err)
	}
	defer os.RemoveAll(stage)
	if err := copyMetadata(c.home("metadata"), stage); err != nil {
		return nil, local(err)
	}
	fetcher := &tufFetcher{ctx: ctx, client: c}
	v, up, err := c.runUpdater(stage, root, fetcher)
	if keepErr := c.keep(stage, root); keepErr != nil {
		return nil, keepErr
	}
	if err != nil {
		return nil, c.explain(ctx, err, root, fetcher)
	}
	if err := c.takeRevocations(ctx, v, up); err != nil {
		return nil, err
	}
	v.rootVersion = root.meta.Signed.Version
	v.upstream = c.upstream(ctx, v)
	if v.timestamp, err = os.ReadFile(c.home("metadata/timestamp.json")); err != nil {
		return nil, local(err)
	}
	_ = c.keepView(v, root) // what cannot be kept is read again next time
	return v, nil
}

// runUpdater makes one refresh with an Updater of its own: go-tuf's works once and is not safe for concurrent use.
func (c *Client) runUpdater(stage string, root *trustedRoot, f *tufFetcher) (v *view, up *updater.Updater, err error) {
	defer recoverTo(&err)
	up, err = updater.New(&tufconfig.UpdaterConfig{
		MaxRootRotations:      1,
		MaxDelegations:        32,
		RootMaxLength:         tufrules.MaxRoot,
		TimestampMaxLength:    tufrules.MaxTimestamp,
		SnapshotMaxLength:     tufrules.MaxSnapshot,
		TargetsMaxLength:      tufrules.MaxTargets,
		Fetcher:               f,
		LocalTrustedRoot:      root.data,
		LocalMetadataDir:      stage,
		LocalTargetsDir:       filepath.Join(stage, "targets"),
		RemoteMetadataURL:     fetcherBase,
		RemoteTargetsURL:      fetcherBase,
		PrefixTargetsWithHash: true,
	})
	if err != nil {
		return nil, nil, err
	}
	up.UnsafeSetRefTime(c.now())
	if err := up.Refresh(); err != nil {
		return nil, nil, err
	}
	v, err = newView(up)
	return v, up, err
}

// fetcherBase is where go-tuf believes the metadata to be; tufFetcher takes it off again.
const fetcherBase = "registry:/"

// tufFetcher is go-tuf's only way out. It bounds time and size, checks every file for our rules before go-tuf parses
// it, and remembers what a message needs.
type tufFetcher struct {
	ctx    context.Context
	client *Client
	last   string // the file that was asked for last
}

// DownloadFile implements go-tuf's fetcher.Fetcher.
func (f *tufFetcher) DownloadFile(name string, maxLength int64, _ time.Duration) ([]byte, error) {
	name, err := url.PathUnescape(strings.TrimPrefix(name, fetcherBase))
	if err != nil {
		return nil, refusal(registry.BadMetadata, "file name %q: %w", name, err)
	}
	f.last = name
	role, _ := splitName(name)
	if role == metadata.ROOT { // followRoots has been there
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: name}
	}
	data, err := f.client.fetch(f.ctx, "metadata/"+name, min(maxLength, tufrules.MaxSize(role)))
	if errors.Is(err, errMissing) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: name}
	}
	if err != nil {
		return nil, err
	}
	if err := tufrules.Check(role, data); err != nil {
		return nil, refusal(registry.BadMetadata, "%s: %w", name, err)
	}
	return data, nil
}

// splitName takes "7.snapshot.json" apart.
func splitName(name string) (role string, version int64) {
	role = strings.TrimSuffix(name, ".json")
	if number, rest, ok := strings.Cut(role, "."); ok {
		if v, err := strconv.ParseInt(number, 10, 64); err == nil {
			return rest, v
		}
	}
	return role, 0
}
