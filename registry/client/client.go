// Package client is a node's side of the registry: an address and a pinned root of trust go in, verified bytes come
// out. It keeps what it has seen (Dir), so that an older state of the registry is refused, and it starts what is
// installed without asking anybody.
//
// go-tuf does the verification of metadata; this package keeps it on a short lead: an own fetcher with deadlines and
// size limits, metadata checked for our own rules before go-tuf sees it, a fresh Updater for each refresh under a lock,
// and durable writes. Every no is a *registry.Refusal.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
)

// Config says where the registry is and whom to trust. One of RootSHA256, RootFile and Root names the root of trust;
// once it is pinned in Dir all may be empty, and another one is refused.
type Config struct {
	Dir  string // this node's own state, created with mode 0700
	Base string // http(s)://host/path, file:///path, or a folder
	Name string // of a registry beside the first one, which has none; see OpenMulti

	RootSHA256 string // of the root.json to fetch and pin, as an enrolment token carries it
	RootFile   string // a root.json on this machine
	Root       []byte // a root.json built into the program

	AllowDevelopment bool // accept a root that is marked as development trust
	Release          bool // this is a distributed build: refuse a development root whatever AllowDevelopment says

	// AllowRecent accepts plugins of namespaces that only the registry's online key vouches for; see policy.Ceiling.
	AllowRecent bool

	// Overridden reports whether a revoked release may start all the same, because a person said so and the node's owner
	// lets people say so; see policy.Ceiling. Nothing revoked is ever installed. nil: none may.
	Overridden func(id, version string) bool

	// Staleness is how old the knowledge of the registry may become before nothing new is installed from it.
	Staleness policy.Staleness

	HTTP    *http.Client     // nil: an own client with short timeouts
	Timeout time.Duration    // for one metadata file or descriptor; default 30 s
	Now     func() time.Time // nil: time.Now
}

// Release is one version of a plugin that the registry offers.
type Release struct {
	ID         string
	Version    string
	Role       string               // who vouches for it
	Via        string               // who vouches for the role: registry.ViaOfficial, ViaClaimed or ViaRecent
	Yanked     string               // why it was taken off the shelf; "" when it was not
	Digest     string               // of the descriptor
	Descriptor *registry.Descriptor // nil when Refused is set
	Revoked    *registry.Revocation // set when it must not run
	Refused    *registry.Refusal    // set when its descriptor is missing or broken: it cannot be installed
}

// Verified is a release that passed every check just now.
type Verified struct {
	ID         string
	Version    string
	Role       string
	Via        string
	KeyIDs     []string
	Digest     string
	Registry   string // the name of the registry that vouches for it, "" for the first
	Descriptor *registry.Descriptor
}

// Installed is a plugin that plugins.lock pins on this node.
type Installed struct {
	registry.Locked
	Descriptor *registry.Descriptor
	Runtimes   []string // those whose bytes for this platform are on disk
}

// Artifact is something that may run: File holds exactly the bytes whose digest was verified, sealed against change.
type Artifact struct {
	ID         string
	Version    string
	Runtime    string
	Digest     string
	Size       int64
	File       *os.File // read-only, at offset 0; the caller closes it
	Descriptor *registry.Descriptor
	Locked     registry.Locked
}

// Close releases the file.
func (a *Artifact) Close() error { return a.File.Close() }

// Status is what the client knows about the registry, for pages and `explain`.
type Status struct {
	Name        string // of a registry beside the first one
	Base        string
	RootSHA256  string    // the pinned root
	RootVersion int64     // the newest root in its chain; 0 before the first refresh of a node that pinned by digest
	Trust       string    // "development", "release", or "unknown" before the root was fetched
	Refreshed   time.Time // the last successful refresh, zero when never
	Expires     time.Time // when what is known becomes too old to install from
	Revocations int
	Freshness   Freshness
	Problem     string // with several registries: why this one could not be asked the last time
}

const defaultTimeout = 30 * time.Second

// Client verifies and installs plugins on one node. It is safe for concurrent use, also by several processes on the
// same Dir.
type Client struct {
	cfg Config
	src source
	pin pin

	// refreshing makes the refreshes of this process queue up. It is taken before mu and held while the network is
	// waited for; starting a plugin never takes it.
	refreshing sync.Mutex

	mu   sync.Mutex // guards root and view
	root *trustedRoot
	view *view // what the last refresh of this process verified; nil before it

	sealed *sealedFiles // shared by the registries of a node

	listing listing
}

// Open prepares the client; it does not use the network. It refuses a root of trust other than the pinned one.
func Open(cfg Config) (*Client, error) {
	if cfg.Dir == "" {
		return nil, errors.New("open registry client: no folder for its state")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	src, err := newSource(cfg.Base, cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("open registry client: %w", err)
	}
	c := &Client{cfg: cfg, src: src, sealed: &sealedFiles{}}
	if err := c.prepareDir(); err != nil {
		return nil, fmt.Errorf("open registry client: %w", err)
	}
	if c.pin, err = readPin(cfg); err != nil {
		return nil, fmt.Errorf("open registry client: %w", err)
	}
	if c.root, err = c.openRoot(); err != nil {
		return nil, err
	}
	return c, nil
}

// prepareDir makes the folders of the node's state. Others must not be able to write there: what lies in it decides
// what is trusted.
func (c *Client) prepareDir() error {
	for _, dir := range []string{c.path("store/sha256"), c.home("metadata"), c.home("roots")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	info, err := os.Stat(c.cfg.Dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write %s (mode %o); run: chmod 700 %s", c.cfg.Dir, info.Mode().Perm(), c.cfg.Dir)
	}
	return nil
}

// Close releases what the client holds open. Artifacts that were handed out stay open.
func (c *Client) Close() error { return c.sealed.close() }

// Status says what the client knows about the registry.
func (c *Client) Status() Status {
	s := Status{Base: c.cfg.Base, Trust: "unknown"}
	if root := c.trusted(); root != nil {
		s.RootSHA256, s.RootVersion, s.Trust = root.anchor, root.meta.Signed.Version, "release"
		if root.development {
			s.Trust = registry.TrustDevelopment
		}
	}
	if seen, err := c.readSeen(); err == nil {
		s.Refreshed, s.Expires = seen.Refreshed, seen.Expires
	}
	s.Freshness = c.Freshness()
	if revoked, err := c.readRevocations(); err == nil {
		s.Revocations = len(revoked.Revoked)
	}
	return s
}

// List returns what the registry offers, ordered by id and falling version. It refreshes first when nothing was
// verified yet or what was verified has expired. A release whose descriptor is missing or broken is in the list with
// the refusal: what one publisher did wrong must not hide the others. A registry that does not answer is an error.
func (c *Client) List(ctx context.Context) ([]Release, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := c.allEntries(ctx, v)
	if err != nil {
		return nil, err
	}
	out := make([]Release, 0, len(entries))
	for _, e := range entries {
		r := Release{ID: e.id, Version: e.version, Role: e.role, Via: e.via, Yanked: e.yanked, Digest: e.digest}
		if r.Descriptor, err = c.descriptor(ctx, e); err != nil {
			err = refuse(err, e.id, e.version)
			if !errors.As(err, &r.Refused) || r.Refused.Reason != registry.DescriptorMismatch && r.Refused.Reason != registry.Oversized {
				return nil, err
			}
		}
		if rev, revoked := v.revoked.Find(e.subject()); revoked {
			r.Revoked = &rev
		}
		out = append(out, r)
	}
	return out, nil
}

// Resolve finds the highest version in a range; "" means the newest that is no prerelease, and sha256:DIGEST exactly
// the release with that descriptor. A yanked release is found by its digest alone, or by its version on a node that
// has it installed.
func (c *Client) Resolve(ctx context.Context, id, versionRange string) (*Verified, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, refuse(err, id, versionRange)
	}
	return c.resolve(ctx, v, id, versionRange)
}

func (c *Client) resolve(ctx context.Context, v *view, id, versionRange string) (*Verified, error) {
	space, err := c.namespaceOf(ctx, v, id)
	if err != nil {
		return nil, refuse(err, id, versionRange)
	}
	e, err := v.pick(space, id, versionRange, c.lockedDigests(id))
	if err != nil {
		return nil, refuse(err, id, versionRange)
	}
	if err := c.usable(e); err != nil {
		return nil, refuse(err, e.id, e.version)
	}
	d, err := c.descriptor(ctx, e)
	if err != nil {
		return nil, refuse(err, e.id, e.version)
	}
	return c.verified(e, d), nil
}

func (c *Client) verified(e entry, d *registry.Descriptor) *Verified {
	return &Verified{ID: e.id, Version: e.version, Role: e.role, Via: e.via, KeyIDs: slices.Clone(e.keyIDs), Digest: e.digest, Registry: c.cfg.Name,
		Descriptor: d}
}

// usable wants fresh signatures by somebody whom this node accepts.
func (c *Client) usable(e entry) error {
	if c.now().After(e.expires) {
		return refusal(registry.Expired, "the signature of role %s is out of date", e.role)
	}
	return c.checkVia(e.via)
}

// checkVia refuses what only the registry's online key vouches for, unless the node's owner allows that: who breaks
// into the registry's server has that key.
func (c *Client) checkVia(via string) error {
	if via != registry.ViaRecent || c.cfg.AllowRecent {
		return nil
	}
	return refusal(registry.RecentOnly, "its namespace is new: the registry's online key vouches for it, no maintainer has confirmed it yet")
}

// lockedDigests are the descriptors that this node pins of a plugin.
func (c *Client) lockedDigests(id string) map[string]bool {
	lock, err := c.readLock()
	if err != nil {
		return nil
	}
	entry, ok := lock.Find(id)
	if !ok {
		return nil
	}
	digests := map[string]bool{entry.Descriptor: true}
	for _, k := range entry.Kept {
		digests[k.Descriptor] = true
	}
	return digests
}

// path is a file of this node: plugins.lock, the store.
func (c *Client) path(rel string) string { return filepath.Join(c.cfg.Dir, filepath.FromSlash(rel)) }

// home is a file of what this node knows about this registry.
func (c *Client) home(rel string) string {
	if c.cfg.Name == "" {
		return c.path(rel)
	}
	return filepath.Join(c.cfg.Dir, "registries", c.cfg.Name, filepath.FromSlash(rel))
}

// refuse names the plugin in a refusal. Everything that is no refusal yet is trouble with this node's own files.
func refuse(err error, id, version string) error {
	var r *registry.Refusal
	if !errors.As(err, &r) {
		r = local(err)
	}
	return r.For(id, version)
}

func refusal(reason registry.Reason, format string, args ...any) *registry.Refusal {
	return &registry.Refusal{Reason: reason, Err: fmt.Errorf(format, args...)}
}
