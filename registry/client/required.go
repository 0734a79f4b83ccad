package client

import (
	"context"
	"errors"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
)

// Required finds the model or data pack that a release requires, among what plugins.lock pins on this node: the release
// that the node uses when it lies in the range, else the youngest that is kept and does. instead may name another kept
// one by the version that would be taken; it and its answer may be nothing. The answer is nil for a plugin, which is not
// read. What must not be used is refused, as OpenRelease does; its bytes are not read here.
func (c *Client) Required(ctx context.Context, need registry.Requirement, instead func(version string) string) (*Installed, error) {
	entry, err := c.chosen(need, instead)
	if err != nil {
		return nil, refuse(err, need.Plugin, "")
	}
	return c.requiredFile(ctx, entry)
}

// chosen finds what Required says, whoever vouched for it.
func (c *Client) chosen(need registry.Requirement, instead func(version string) string) (registry.Locked, error) {
	var none registry.Locked
	lock, err := c.readLock()
	if err != nil {
		return none, err
	}
	current, ok := lock.Find(need.Plugin)
	if !ok {
		return none, refusal(registry.NotInstalled, "version %s is required, but it is not in this node's plugins.lock", need.Version)
	}
	entry, ok := fitting(current, need.Version)
	if !ok {
		return none, refusal(registry.NotInstalled, "version %s is required, but %s is installed on this node", need.Version, strings.Join(versions(current), ", "))
	}
	if instead == nil {
		return entry, nil
	}
	if other, ok := current.Release(instead(entry.Version)); ok && fits(need.Version, other.Version) {
		entry = other
	}
	return entry, nil
}

// node is a Client or a Multi.
type node interface {
	owners
	Resolve(ctx context.Context, id, versionRange string) (*Verified, error)
	Required(ctx context.Context, need registry.Requirement, instead func(version string) string) (*Installed, error)
	Installed(id string) (*Installed, bool)
}

// maxBrought bounds the files that come with a release. Files may require files, and publishers say which.
const maxBrought = 64

// bringing is what one installation brings along.
type bringing struct {
	ids   []string // under way: those that this is for
	files int
}

// required brings the models and data packs that a release requires and the node lacks. Where it has other versions of one
// they are used by something else, and go on being. Those that require each other come once.
func (b *bringing) required(ctx context.Context, n node, d *registry.Descriptor) error {
	b.ids = append(b.ids, d.Manifest.ID)
	defer func() { b.ids = b.ids[:len(b.ids)-1] }()
	for _, need := range d.Manifest.Requires {
		if slices.Contains(b.ids, need.Plugin) {
			continue
		}
		_, err := n.Required(ctx, need, nil)
		var no *registry.Refusal
		if !errors.As(err, &no) || no.Reason != registry.NotInstalled {
			continue // it is there; whether it may be used the start says
		}
		if err := b.bring(ctx, n, need); err != nil {
			return err
		}
	}
	return nil
}

func (b *bringing) bring(ctx context.Context, n node, need registry.Requirement) error {
	found, err := n.Resolve(ctx, need.Plugin, need.Version)
	if err != nil || !found.Descriptor.Manifest.IsFile() {
		return err
	}
	if b.files++; b.files > maxBrought {
		return refuse(refusal(registry.Unsolvable, "it is one of more than %d files that %s would bring along", maxBrought, b.ids[0]), need.Plugin, found.Version)
	}
	c, err := n.owner(ctx, need.Plugin)
	if err != nil {
		return refuse(err, need.Plugin, found.Version)
	}
	w := wish{need.Plugin, found.Version, registry.RuntimeFile, c.pinRelease}
	if _, there := n.Installed(need.Plugin); there {
		w.pin = c.pinBeside
	}
	_, err = c.install(ctx, n, w, b)
	return err
}

func (c *Client) requiredFile(ctx context.Context, entry registry.Locked) (*Installed, error) {
	d, err := c.lockedDescriptor(entry)
	if err != nil {
		return nil, refuse(err, entry.ID, entry.Version)
	}
	if !d.Manifest.IsFile() {
		return nil, nil
	}
	if _, _, err := c.startable(ctx, entry, registry.RuntimeFile); err != nil {
		return nil, refuse(err, entry.ID, entry.Version)
	}
	return &Installed{Locked: entry, Descriptor: d, Runtimes: []string{registry.RuntimeFile}}, nil
}

// fitting prefers the release that the node uses to those that it keeps.
func fitting(current registry.Locked, versionRange string) (registry.Locked, bool) {
	for _, version := range versions(current) { // what is kept: the last one first
		if fits(versionRange, version) {
			return current.Release(version)
		}
	}
	return registry.Locked{}, false
}

// versions lists what a node has of a plugin, the one that it uses first.
func versions(p registry.Locked) []string {
	have := []string{p.Version}
	for _, k := range p.Kept {
		have = append(have, k.Version)
	}
	return have
}

// startable holds a locked release against everything that can be asked without reading its bytes, and returns which of
// them it would be.
func (c *Client) startable(ctx context.Context, entry registry.Locked, runtime string) (*registry.Descriptor, registry.Artifact, error) {
	var none registry.Artifact
	if err := ctx.Err(); err != nil {
		return nil, none, &registry.Refusal{Reason: registry.Unreachable, Err: err}
	}
	if entry.Registry != c.cfg.Name {
		return nil, none, refusal(registry.Confusion, "it was installed from the registry %q, which this node no longer has", entry.Registry)
	}
	if err := c.checkTrust(); err != nil {
		return nil, none, err
	}
	revoked, err := c.readRevocations()
	if err != nil {
		return nil, none, err
	}
	subject := registry.Subject{ID: entry.ID, Version: entry.Version, Descriptor: entry.Descriptor, KeyIDs: entry.KeyIDs}
	if rev, is := revoked.Find(subject); is && !c.overridden(entry) {
		return nil, none, refusal(registry.Revoked, "withdrawn on %s: %s", rev.Time.UTC().Format("2006-01-02 15:04 MST"), rev.Reason)
	}
	if err := c.checkVia(entry.Via); err != nil {
		return nil, none, err
	}
	d, err := c.lockedDescriptor(entry)
	if err != nil {
		return nil, none, err
	}
	want, ok := d.Artifact(runtime, goruntime.GOOS, goruntime.GOARCH)
	if !ok {
		return nil, none, refusal(registry.NoArtifact, "it has no %s artifact for %s/%s", runtime, goruntime.GOOS, goruntime.GOARCH)
	}
	if !slices.Contains(entry.Artifacts, want) {
		return nil, none, refusal(registry.DescriptorMismatch, "plugins.lock does not pin the %s artifact that the descriptor names", runtime)
	}
	return d, want, nil
}
