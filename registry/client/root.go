package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// pin is the root of trust that the configuration names: its digest, and its bytes unless only the digest is known.
type pin struct {
	digest string
	data   []byte
}

func readPin(cfg Config) (pin, error) {
	given := 0
	for _, set := range []bool{cfg.RootSHA256 != "", cfg.RootFile != "", len(cfg.Root) > 0} {
		if set {
			given++
		}
	}
	if given > 1 {
		return pin{}, errors.New("name one root of trust: its digest, a file or the built-in one")
	}
	switch {
	case given == 0:
		return pin{}, nil
	case cfg.RootSHA256 != "":
		digest := strings.ToLower(cfg.RootSHA256)
		if !registry.ValidDigest(digest) {
			return pin{}, fmt.Errorf("the root's digest %q is not a SHA-256 in hexadecimal", cfg.RootSHA256)
		}
		return pin{digest: digest}, nil
	case cfg.RootFile != "":
		data, err := durable.ReadFile(cfg.RootFile, tufrules.MaxRoot)
		if err != nil {
			return pin{}, fmt.Errorf("read root of trust: %w", err)
		}
		return pin{digest: registry.Digest(data), data: data}, nil
	default:
		return pin{digest: registry.Digest(cfg.Root), data: cfg.Root}, nil
	}
}

// trustedRoot is the newest root of the chain that starts at the pinned one.
type trustedRoot struct {
	data        []byte
	meta        *metadata.Metadata[metadata.RootType]
	anchor      string // digest of the root that was pinned first
	development bool
}

// ErrNoRoot is in the chain of the error of Open when nobody said whom to trust, and the folder holds nothing of that either.
var ErrNoRoot = errors.New("this node has no root of trust yet; name its digest or a root.json")

// openRoot loads the chain of roots that this node has seen, or starts it. It returns nil when only a digest is known
// and nothing was fetched yet.
func (c *Client) openRoot() (*trustedRoot, error) {
	chain, err := c.readChain()
	if err != nil {
		return nil, local(err)
	}
	if len(chain) == 0 {
		switch {
		case c.pin.digest == "":
			return nil, ErrNoRoot
		case c.pin.data == nil:
			return nil, nil
		}
		return c.startChain(c.pin.data)
	}
	newest, err := c.checkRoot(chain[len(chain)-1])
	if err != nil {
		return nil, err
	}
	newest.anchor = registry.Digest(chain[0])
	if !c.pinMatches(chain, newest) {
		return nil, refusal(registry.RootMismatch, "this node trusts the root with SHA-256 %s, its configuration names %s",
			newest.anchor, c.pin.digest)
	}
	return newest, nil
}

// pinMatches accepts any root of the chain, so that a token or a build that is older or newer than the node's first
// contact works, and a direct successor of the newest one, as a new build brings it.
func (c *Client) pinMatches(chain [][]byte, newest *trustedRoot) bool {
	if c.pin.digest == "" {
		return true
	}
	if slices.ContainsFunc(chain, func(data []byte) bool { return registry.Digest(data) == c.pin.digest }) {
		return true
	}
	if c.pin.data == nil {
		return false
	}
	next, err := tufrules.Root(c.pin.data)
	return err == nil && verifySuccessor(newest.meta, next) == nil
}

func verifySuccessor(old, next *metadata.Metadata[metadata.RootType]) (err error) {
	defer recoverTo(&err)
	if next.Signed.Version != old.Signed.Version+1 {
		return fmt.Errorf("version %d does not follow %d", next.Signed.Version, old.Signed.Version)
	}
	return errors.Join(old.VerifyDelegate(metadata.ROOT, next), next.VerifyDelegate(metadata.ROOT, next))
}

// readChain returns the roots in roots/, oldest first, after checking that each vouches for the next.
func (c *Client) readChain() ([][]byte, error) {
	entries, err := os.ReadDir(c.home("roots"))
	if err != nil {
		return nil, err
	}
	var versions []int64
	for _, e := range entries {
		if number, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if v, err := strconv.ParseInt(number, 10, 64); err == nil {
				versions = append(versions, v)
			}
		}
	}
	slices.Sort(versions)
	var chain [][]byte
	var last *metadata.Metadata[metadata.RootType]
	for _, v := range versions {
		data, err := durable.ReadFile(c.rootPath(v), tufrules.MaxRoot)
		if err != nil {
			return nil, err
		}
		m, err := tufrules.Root(data)
		if err == nil && last != nil {
			err = verifySuccessor(last, m)
		}
		if err != nil {
			return nil, fmt.Errorf("roots/%d.json: %w", v, err)
		}
		chain, last = append(chain, data), m
	}
	return chain, nil
}

func (c *Client) rootPath(version int64) string {
	return c.home(fmt.Sprintf("roots/%d.json", version))
}

// startChain pins a root for good.
func (c *Client) startChain(data []byte) (*trustedRoot, error) {
	root, err := c.checkRoot(data)
	if err != nil {
		return nil, err
	}
	if err := selfSigned(root.meta); err != nil {
		return nil, refusal(registry.BadSignature, "the pinned root does not carry its own signatures: %w", err)
	}
	root.anchor = registry.Digest(data)
	if err := durable.WriteFile(c.rootPath(root.meta.Signed.Version), data, 0o600); err != nil {
		return nil, local(err)
	}
	return root, nil
}

func selfSigned(m *metadata.Metadata[metadata.RootType]) (err error) {
	defer recoverTo(&err)
	return m.VerifyDelegate(metadata.ROOT, m)
}

// checkRoot applies our rules to a root, the one about development trust included.
func (c *Client) checkRoot(data []byte) (*trustedRoot, error) {
	m, err := tufrules.Root(data)
	if err != nil {
		return nil, refusal(registry.BadMetadata, "root.json: %w", err)
	}
	development, err := tufrules.IsDevelopment(m)
	if err != nil {
		return nil, &registry.Refusal{Reason: registry.BadMetadata, Err: err}
	}
	if development && c.cfg.Release {
		return nil, refusal(registry.DevelopmentRoot, "its root of trust is for development, and this is a release build")
	}
	if development && !c.cfg.AllowDevelopment {
		return nil, refusal(registry.DevelopmentRoot, "its root of trust is for development, which this node does not allow")
	}
	return &trustedRoot{data: data, meta: m, development: development}, nil
}

// oldRoots bounds how far back a pinned digest is looked for.
const oldRoots = 64

// fetchRoot gets the root whose digest is pinned. The registry may have rotated since the digest was handed out, so
// older versions are tried too.
func (c *Client) fetchRoot(ctx context.Context) (*trustedRoot, error) {
	newest, err := c.fetch(ctx, "metadata/root.json", tufrules.MaxRoot)
	if err != nil {
		return nil, asRefusal(err)
	}
	if registry.Digest(newest) == c.pin.digest {
		return c.startChain(newest)
	}
	mismatch := refusal(registry.RootMismatch, "its root.json has SHA-256 %s, this node pins %s", registry.Digest(newest), c.pin.digest)
	m, err := tufrules.Root(newest)
	if err != nil {
		return nil, mismatch
	}
	for v := m.Signed.Version; v > 0 && v > m.Signed.Version-oldRoots; v-- {
		data, err := c.fetch(ctx, fmt.Sprintf("metadata/%d.root.json", v), tufrules.MaxRoot)
		if errors.Is(err, errMissing) {
			break
		}
		if err != nil {
			return nil, asRefusal(err)
		}
		if registry.Digest(data) == c.pin.digest {
			return c.startChain(data)
		}
	}
	return nil, mismatch
}

// maxRotations bounds how many roots one refresh follows. A node that slept longer needs another refresh.
const maxRotations = 256

// followRoots walks from the newest root that this node knows to the newest of the registry, one version at a time:
// each must be signed by the one before and by itself. What was verified is kept at once, so that a walk which breaks
// off goes on where it stopped.
func (c *Client) followRoots(ctx context.Context, root *trustedRoot) (*trustedRoot, error) {
	for range maxRotations {
		version := root.meta.Signed.Version + 1
		name := fmt.Sprintf("metadata/%d.root.json", version)
		data, err := c.fetch(ctx, name, tufrules.MaxRoot)
		if errors.Is(err, errMissing) {
			return root, nil
		}
		if err != nil {
			return nil, asRefusal(err)
		}
		next, err := c.checkRoot(data)
		if err != nil {
			return nil, err
		}
		if err := verifySuccessor(root.meta, next.meta); err != nil {
			if c.otherRoot(ctx, root) {
				return nil, otherRootRefusal(root)
			}
			return nil, refusal(registry.BadSignature, "%d.root.json does not follow from the root before it: %w", version, err)
		}
		if err := durable.WriteFile(c.rootPath(version), data, 0o600); err != nil {
			return nil, local(err)
		}
		next.anchor = root.anchor
		c.trust(next)
		root = next
	}
	return root, nil
}

func otherRootRefusal(root *trustedRoot) error {
	return refusal(registry.RootMismatch, "it stands on another root of trust than the one this node pinned (SHA-256 %s)", root.anchor)
}

// forget drops the timestamp and the snapshot that this node remembers when a later root replaced the keys that signed
// them (5.3.11 of the specification). A thief of those keys can have signed a version so high that the true ones would
// look like a rollback for ever. acceptedUnder says which root was in force when the files were kept, so that a crash
// between the two steps forgets nothing and remembers nothing wrong.
func (c *Client) forget(root *trustedRoot) error {
	accepted, err := c.acceptedUnder()
	if err != nil || accepted == nil || !onlineKeysChanged(accepted, root.meta) {
		return err
	}
	for _, name := range []string{"timestamp.json", "snapshot.json"} {
		if err := os.Remove(c.home("metadata/" + name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return durable.SyncDir(c.home("metadata"))
}

func onlineKeysChanged(before, now *metadata.Metadata[metadata.RootType]) bool {
	for _, name := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
		a, b := before.Signed.Roles[name], now.Signed.Roles[name]
		if a.Threshold != b.Threshold || !slices.Equal(slices.Sorted(slices.Values(a.KeyIDs)), slices.Sorted(slices.Values(b.KeyIDs))) {
			return true
		}
	}
	return false
}

// acceptedUnder returns the root under which the kept metadata was accepted: the first of the chain on a node that did
// not write it down.
func (c *Client) acceptedUnder() (*metadata.Metadata[metadata.RootType], error) {
	chain, err := c.readChain()
	if err != nil || len(chain) == 0 {
		return nil, err
	}
	under := chain[0]
	data, err := durable.ReadFile(c.home("metadata/"+acceptedFile), 32)
	if err == nil {
		version, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("metadata/%s: %w", acceptedFile, err)
		}
		for _, data := range chain {
			if m, err := tufrules.Root(data); err == nil && m.Signed.Version == version {
				under = data
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return tufrules.Root(under)
}

const acceptedFile = "accepted-under-root"

func (c *Client) writeAccepted(root *trustedRoot) error {
	text := strconv.FormatInt(root.meta.Signed.Version, 10) + "\n"
	if have, err := os.ReadFile(c.home("metadata/" + acceptedFile)); err == nil && string(have) == text {
		return nil
	}
	return durable.WriteFile(c.home("metadata/"+acceptedFile), []byte(text), 0o600)
}

func (c *Client) fetch(ctx context.Context, path string, maxBytes int64) ([]byte, error) {
	return fetch(ctx, c.src, path, maxBytes, c.cfg.Timeout)
}

// asRefusal is for files that must exist.
func asRefusal(err error) error {
	var r *registry.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	case errors.Is(err, errMissing), errors.Is(err, fs.ErrNotExist):
		return &registry.Refusal{Reason: registry.Unreachable, Err: err}
	default:
		return &registry.Refusal{Reason: registry.BadMetadata, Err: err}
	}
}

// recoverTo turns a panic inside go-tuf, whose input is hostile, into an error.
func recoverTo(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("malformed metadata (%v)", r)
	}
}
