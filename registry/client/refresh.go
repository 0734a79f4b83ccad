package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	tufconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Refresh brings the metadata and the revocations up to date, or says why the registry cannot be trusted now.
func (c *Client) Refresh(ctx context.Context) error {
	_, err := c.refresh(ctx)
	return err
}

// freshView returns the view of the last refresh, or of a new one when that has expired.
func (c *Client) freshView(ctx context.Context) (*view, error) {
	c.mu.Lock()
	v := c.view
	c.mu.Unlock()
	if v != nil && c.cfg.Now().Before(v.expires) {
		return v, nil
	}
	return c.refresh(ctx)
}

// maxRefresh bounds a whole refresh, in timeouts of one file: a slow registry must not keep a node busy for hours.
const maxRefresh = 10

func (c *Client) refresh(ctx context.Context) (*view, error) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, maxRefresh*c.cfg.Timeout)
	defer cancel()
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c.removeStages()
	root, err := c.currentRoot(ctx)
	if err != nil {
		return nil, err
	}
	v, err := c.update(ctx, root)
	if err != nil {
		return nil, err
	}
	if err := c.writeSeen(seen{Refreshed: c.cfg.Now().UTC(), Expires: v.expires}); err != nil {
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	c.mu.Lock()
	c.view = v
	c.mu.Unlock()
	return v, nil
}

// lock takes this node's lock, which all processes on the same folder respect.
func (c *Client) lock(ctx context.Context) (unlock func(), err error) {
	unlock, err = durable.Lock(ctx, c.path("lock"))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &registry.Refusal{Reason: registry.Busy, Err: err}
	case err != nil:
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	return unlock, nil
}

// removeStages clears what a process left that died during a refresh. Under the node's lock there is no other one.
func (c *Client) removeStages() {
	stale, _ := filepath.Glob(c.path("stage-*"))
	for _, dir := range stale {
		os.RemoveAll(dir)
	}
}

// currentRoot loads the chain anew, because another process may have extended it, and fetches the pinned root if this
// node has none yet.
func (c *Client) currentRoot(ctx context.Context) (*trustedRoot, error) {
	root, err := c.openRoot()
	if err == nil && root == nil {
		root, err = c.fetchRoot(ctx)
	}
	if err != nil {
		return nil, err
	}
	c.trust(root)
	return root, nil
}

func (c *Client) trust(root *trustedRoot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.root = root
}

// trusted returns the newest root, nil when none is known yet.
func (c *Client) trusted() *trustedRoot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.root
}

// update lets go-tuf work on a copy of the node's metadata and then takes over, durably, what it accepted: also when
// the refresh failed later on, since a newer timestamp that was seen must not be forgotten.
func (c *Client) update(ctx context.Context, root *trustedRoot) (*view, error) {
	stage, err := os.MkdirTemp(c.cfg.Dir, "stage-")
	if err != nil {
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	defer os.RemoveAll(stage)
	if err := copyMetadata(c.path("metadata"), stage); err != nil {
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	fetcher := &tufFetcher{ctx: ctx, client: c, roots: map[int64][]byte{}}
	v, up, err := c.runUpdater(stage, root, fetcher)
	if keepErr := c.keep(stage, root, fetcher); keepErr != nil {
		return nil, keepErr
	}
	if err != nil {
		return nil, c.explain(ctx, err, root, fetcher)
	}
	if err := c.takeRevocations(ctx, v, up); err != nil {
		return nil, err
	}
	return v, nil
}

// runUpdater makes one refresh with an Updater of its own: go-tuf's works once and is not safe for concurrent use.
func (c *Client) runUpdater(stage string, root *trustedRoot, f *tufFetcher) (v *view, up *updater.Updater, err error) {
	defer recoverTo(&err)
	up, err = updater.New(&tufconfig.UpdaterConfig{
		MaxRootRotations:      256,
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
	up.UnsafeSetRefTime(c.cfg.Now().UTC()) // the injected clock; in production it is the same clock
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
	roots  map[int64][]byte
	last   string // the file that was asked for last
}

// DownloadFile implements go-tuf's fetcher.Fetcher.
func (f *tufFetcher) DownloadFile(name string, maxLength int64, _ time.Duration) ([]byte, error) {
	name, err := url.PathUnescape(strings.TrimPrefix(name, fetcherBase))
	if err != nil {
		return nil, refusal(registry.BadMetadata, "file name %q: %w", name, err)
	}
	f.last = name
	data, err := f.client.fetch(f.ctx, "metadata/"+name, maxLength)
	if errors.Is(err, errMissing) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: name}
	}
	if err != nil {
		return nil, err
	}
	role, version := splitName(name)
	if err := tufrules.Check(role, data); err != nil {
		return nil, refusal(registry.BadMetadata, "%s: %w", name, err)
	}
	if role == metadata.ROOT {
		f.roots[version] = data
		if _, err := f.client.checkRoot(data); err != nil {
			return nil, err
		}
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

// copyMetadata fills the stage. A damaged file stops here: to go on without it would be to forget.
func copyMetadata(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		role, isMetadata := strings.CutSuffix(e.Name(), ".json")
		if !isMetadata {
			continue
		}
		data, err := durable.ReadFile(filepath.Join(from, e.Name()), tufrules.MaxTargets)
		if err != nil {
			return err
		}
		if err := tufrules.Check(role, data); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(from, e.Name()), err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// keep makes durable what go-tuf accepted: roots first, because the rest hangs on them.
func (c *Client) keep(stage string, root *trustedRoot, f *tufFetcher) error {
	if err := c.keepRoots(stage, root, f.roots); err != nil {
		return &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	entries, err := os.ReadDir(stage)
	if err != nil {
		return &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	for _, name := range inTrustOrder(entries) {
		if err := keepFile(filepath.Join(stage, name), filepath.Join(c.path("metadata"), name)); err != nil {
			return &registry.Refusal{Reason: registry.BadLocalState, Err: err}
		}
	}
	return nil
}

// keepRoots extends the chain up to the root that go-tuf arrived at.
func (c *Client) keepRoots(stage string, root *trustedRoot, fetched map[int64][]byte) error {
	data, err := os.ReadFile(filepath.Join(stage, "root.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // go-tuf did not get as far as its own root
	}
	if err != nil {
		return err
	}
	m, err := tufrules.Root(data)
	if err != nil {
		return err
	}
	for v := root.meta.Signed.Version + 1; v <= m.Signed.Version; v++ {
		if err := durable.WriteFile(c.rootPath(v), fetched[v], 0o600); err != nil {
			return err
		}
	}
	if m.Signed.Version == root.meta.Signed.Version {
		return nil
	}
	next, err := c.checkRoot(data)
	if err != nil {
		return err
	}
	next.anchor = root.anchor
	c.trust(next)
	return nil
}

// inTrustOrder lists metadata files so that a crash between two writes leaves what a refresh can continue from.
func inTrustOrder(entries []os.DirEntry) []string {
	order := []string{"timestamp.json", "snapshot.json", "targets.json"}
	var present, delegated []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case !strings.HasSuffix(name, ".json"), name == "root.json": // roots are kept as a chain
		case slices.Contains(order, name):
			present = append(present, name)
		default:
			delegated = append(delegated, name)
		}
	}
	slices.SortFunc(present, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return append(present, delegated...)
}

func keepFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(to); err == nil && string(have) == string(data) {
		return nil
	}
	return durable.WriteFile(to, data, 0o600)
}

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
		return refusal(registry.RootMismatch, "it stands on another root of trust than the one this node pinned (SHA-256 %s)", root.anchor)
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

// takeRevocations fetches the list that the security role vouches for and adds it to what this node knows.
func (c *Client) takeRevocations(ctx context.Context, v *view, up *updater.Updater) error {
	target, err := revocationsTarget(up)
	if err != nil {
		return refusal(registry.NotVouched, "%s: %w", registry.RevocationsPath, err)
	}
	data, err := c.fetchTarget(ctx, registry.RevocationsPath, target.digest, target.length)
	if err != nil {
		return err
	}
	offered, err := registry.ParseRevocations(data)
	if err != nil {
		return &registry.Refusal{Reason: registry.BadMetadata, Err: err}
	}
	known, err := c.readRevocations()
	if err != nil {
		return &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	if known.Merge(offered) > 0 {
		data, err := known.Encode()
		if err == nil {
			err = durable.WriteFile(c.path("revocations.json"), data, 0o600)
		}
		if err != nil {
			return &registry.Refusal{Reason: registry.BadLocalState, Err: err}
		}
	}
	v.revoked = known
	return nil
}

// readRevocations returns what this node knows to be withdrawn.
func (c *Client) readRevocations() (*registry.Revocations, error) {
	data, err := durable.ReadFile(c.path("revocations.json"), 2*registry.MaxRevocations)
	if errors.Is(err, fs.ErrNotExist) {
		return &registry.Revocations{Schema: registry.RevocationsSchema}, nil
	}
	if err != nil {
		return nil, err
	}
	return registry.ParseRevocations(data)
}

// seen is when the registry last passed every check, for people; nothing is decided by it.
type seen struct {
	Refreshed time.Time `json:"refreshed"`
	Expires   time.Time `json:"expires"`
}

func (c *Client) readSeen() (seen, error) {
	var s seen
	data, err := durable.ReadFile(c.path("seen.json"), 4<<10)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (c *Client) writeSeen(s seen) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.WriteFile(c.path("seen.json"), data, 0o600)
}
