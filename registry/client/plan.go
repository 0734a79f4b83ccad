package client

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/solve"
	"github.com/picketwatch/picket/sdk"
)

// Want is a plugin that somebody asks for.
type Want struct {
	ID      string
	Version string // a version, a range, or sha256:DIGEST of one descriptor; "" is the newest that is no prerelease
	Runtime string // "" is the first that the release has for this machine
}

// PlanOptions say how much may change.
type PlanOptions struct {
	Keep bool // an installed version that fits stays; without it what was asked for becomes the newest
}

// Plan is what InstallAll would do. It changes nothing by itself.
type Plan struct {
	Steps []Step // ordered by plugin; empty when everything is there
}

// Step is one release on its way to this node.
type Step struct {
	Release  *Verified
	Registry string // the name of the one that offers it, "" for the first
	Artifact registry.Artifact
	Replaces string   // the version that the node runs now, "" when the plugin is new
	Because  []string // the plugins that need it; empty when it was asked for itself
	Fetch    int64    // bytes that are not on this node yet

	exact bool // asked for by its digest, which finds a yanked release too
}

// Plan chooses versions of what is asked for and of everything that it needs, so that they fit together and with what
// is installed. When none do, the error has the reason Unsolvable and wraps a *solve.Conflict.
func (c *Client) Plan(ctx context.Context, wants []Want, opt PlanOptions) (*Plan, error) {
	return plan(ctx, c, c, wants, opt)
}

// InstallAll fetches everything that a plan names and pins it in one change of plugins.lock. Whatever goes wrong before
// that change leaves the node as it was; bytes that came in are used by the next attempt. progress may be nil.
func (c *Client) InstallAll(ctx context.Context, p *Plan, progress func(Progress)) ([]*Installed, error) {
	return installAll(ctx, c, c, p, progress)
}

// owners tells whose plugins a namespace holds on this node.
type owners interface {
	owner(ctx context.Context, id string) (*Client, error)
}

// owner of everything is the one registry that there is.
func (c *Client) owner(context.Context, string) (*Client, error) { return c, nil }

func plan(ctx context.Context, node *Client, who owners, wants []Want, opt PlanOptions) (*Plan, error) {
	lock, err := node.readLock()
	if err != nil {
		return nil, local(err)
	}
	s := &offers{who: who, node: node, lock: lock, found: map[string]offered{}, wants: map[string]Want{}, exact: map[string]string{}}
	p := solve.Problem{Keep: opt.Keep}
	for _, w := range wants {
		version, err := s.ask(ctx, w)
		if err != nil {
			return nil, refuse(err, w.ID, w.Version)
		}
		p.Wants = append(p.Wants, registry.Requirement{Plugin: w.ID, Version: version})
	}
	p.Installed = s.present()
	choices, err := solve.Solve(ctx, s, p)
	var conflict *solve.Conflict
	switch {
	case errors.As(err, &conflict):
		return nil, &registry.Refusal{Reason: registry.Unsolvable, Err: conflict}
	case err != nil:
		return nil, asPlanError(err)
	}
	return s.steps(ctx, choices)
}

func asPlanError(err error) error {
	var no *registry.Refusal
	if errors.As(err, &no) {
		return no
	}
	return &registry.Refusal{Reason: registry.Unsolvable, Err: err}
}

// offers is what the registries of a node have, as the solver asks for it.
type offers struct {
	who   owners
	node  *Client
	lock  *registry.Lock
	wants map[string]Want
	exact map[string]string  // by plugin: the descriptor that was asked for by its digest
	found map[string]offered // by plugin and version
}

// offered is one release and who offers it.
type offered struct {
	client *Client
	entry  entry
}

// ask checks one wish by itself first: a plugin that is revoked, yanked or not there is refused with its own reason, not
// with a conflict.
func (s *offers) ask(ctx context.Context, w Want) (versionRange string, err error) {
	if !sdk.ValidID(w.ID) {
		return "", refusal(registry.NotVouched, "%q is not a plugin's id (namespace/name)", w.ID)
	}
	c, err := s.who.owner(ctx, w.ID)
	if err != nil {
		return "", err
	}
	v, err := c.freshView(ctx)
	if err != nil {
		return "", err
	}
	space, err := c.namespaceOf(ctx, v, w.ID)
	if err != nil {
		return "", err
	}
	e, err := v.pick(space, w.ID, w.Version, c.lockedDigests(w.ID))
	if err != nil {
		return "", err
	}
	if err := c.checkVia(e.via); err != nil {
		return "", err
	}
	s.wants[w.ID] = w
	if strings.HasPrefix(w.Version, byDigest) {
		s.exact[w.ID] = e.digest
		return e.version, nil
	}
	return w.Version, nil
}

// present lists what is installed. What somebody already lacks does not stand in the way of something else.
func (s *offers) present() []solve.Installed {
	var out []solve.Installed
	for _, p := range s.lock.Plugins {
		in := solve.Installed{ID: p.ID, Version: p.Version}
		if d, err := s.node.lockedDescriptor(p); err == nil {
			for _, r := range d.Manifest.Requires {
				if other, ok := s.lock.Find(r.Plugin); ok && fits(r.Version, other.Version) {
					in.Needs = append(in.Needs, r)
				}
			}
		}
		out = append(out, in)
	}
	return out
}

// Versions implements solve.Source.
func (s *offers) Versions(ctx context.Context, id string) ([]solve.Version, error) {
	c, err := s.who.owner(ctx, id)
	if err != nil {
		return nil, missingIsNone(err)
	}
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, err
	}
	space, err := c.namespaceOf(ctx, v, id)
	if err != nil {
		return nil, err
	}
	if space.failed != nil {
		return nil, roleRefusal(*space.failed)
	}
	have := c.lockedDigests(id)
	var out []solve.Version
	for _, e := range space.entries {
		if e.id == id {
			s.found[id+" "+e.version] = offered{c, e}
			out = append(out, solve.Version{Version: e.version, Barred: c.barred(v, e, have[e.digest] || s.exact[id] == e.digest)})
		}
	}
	return out, nil
}

// missingIsNone lets a plugin that nobody vouches for have no versions, so that the conflict says who needs it.
func missingIsNone(err error) error {
	var no *registry.Refusal
	if errors.As(err, &no) && no.Reason == registry.NotVouched {
		return nil
	}
	return err
}

// barred says why a listed release must not be chosen. known is for those that the node has, or that were named by their
// digest: a yanked one stays good there.
func (c *Client) barred(v *view, e entry, known bool) string {
	if rev, is := v.revoked.Find(e.subject()); is {
		return "revoked: " + rev.Reason
	}
	if e.yanked != "" && !known {
		return "yanked: " + e.yanked
	}
	if c.now().After(e.expires) {
		return "signed too long ago by " + e.role
	}
	if err := c.checkVia(e.via); err != nil {
		return "vouched for by the registry's online key alone"
	}
	return ""
}

// Requires implements solve.Source.
func (s *offers) Requires(ctx context.Context, id, version string) ([]registry.Requirement, string, error) {
	o := s.found[id+" "+version]
	d, err := o.client.descriptor(ctx, o.entry)
	var no *registry.Refusal
	if errors.As(err, &no) && (no.Reason == registry.DescriptorMismatch || no.Reason == registry.Oversized) {
		return nil, "broken: " + no.Err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	if _, err := artifactHere(d, s.wants[id].Runtime); err != nil {
		return nil, err.Error(), nil
	}
	return d.Manifest.Requires, "", nil
}

// artifactHere chooses what of a release this machine would use.
func artifactHere(d *registry.Descriptor, runtime string) (registry.Artifact, error) {
	m := d.Manifest
	if !slices.Contains(m.Runtimes, registry.RuntimeFile) && !slices.Contains(m.Protocol, sdk.Protocol) {
		return registry.Artifact{}, fmt.Errorf("made for protocol %v of the contract, this build speaks %d", m.Protocol, sdk.Protocol)
	}
	runtimes := m.Runtimes
	if runtime != "" {
		runtimes = []string{runtime}
	}
	for _, r := range runtimes {
		if a, ok := d.Artifact(r, goruntime.GOOS, goruntime.GOARCH); ok {
			return a, nil
		}
	}
	if runtime != "" {
		return registry.Artifact{}, fmt.Errorf("without a %s artifact for %s/%s", runtime, goruntime.GOOS, goruntime.GOARCH)
	}
	return registry.Artifact{}, fmt.Errorf("not built for %s/%s", goruntime.GOOS, goruntime.GOARCH)
}

// steps turns a solution into what is to be done.
func (s *offers) steps(ctx context.Context, choices []solve.Choice) (*Plan, error) {
	p := &Plan{}
	for _, choice := range choices {
		w, wanted := s.wants[choice.ID]
		if !wanted && !choice.New && choice.Moved == "" {
			continue
		}
		if _, err := s.Versions(ctx, choice.ID); err != nil {
			return nil, refuse(err, choice.ID, choice.Version)
		}
		o, listed := s.found[choice.ID+" "+choice.Version]
		if !listed {
			continue // installed, and the registry has it no longer: it stays
		}
		d, err := o.client.descriptor(ctx, o.entry)
		if err != nil {
			return nil, refuse(err, choice.ID, choice.Version)
		}
		artifact, err := artifactHere(d, w.Runtime)
		if err != nil {
			return nil, refuse(refusal(registry.NoArtifact, "it is %w", err), choice.ID, choice.Version)
		}
		step := Step{
			Release: o.client.verified(o.entry, d), Registry: o.client.cfg.Name, Artifact: artifact, Because: choice.Because,
			exact: s.exact[choice.ID] != "",
		}
		if old, ok := s.lock.Find(choice.ID); ok {
			step.Replaces = old.Version
			if old.Descriptor == o.entry.digest && o.client.onDisk(artifact) {
				continue
			}
		}
		if !o.client.onDisk(artifact) {
			step.Fetch = artifact.Size
		}
		p.Steps = append(p.Steps, step)
	}
	return p, nil
}

// onDisk reports whether the store has a file of that name and size. Its bytes are hashed when they are used.
func (c *Client) onDisk(a registry.Artifact) bool {
	f, err := openRegular(c.storePath(a.SHA256))
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.Size() == a.Size
}

// fits reports whether a version lies in a range.
func fits(versionRange, version string) bool {
	constraint, err := parseRange(versionRange)
	if err != nil {
		return false
	}
	v, err := semver.StrictNewVersion(version)
	return err == nil && constraint.Check(v)
}
