package client

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// File is a file of the registry that this client has verified and keeps.
type File struct {
	Path  string // in the registry: metadata/7.snapshot.json
	Local string // where its bytes lie on this machine
}

// Collection is part of a registry, verified just now: the metadata that everything hangs on, and some releases with
// all that belongs to them.
type Collection struct {
	Snapshot int64
	Files    []File
	Releases []*Verified
	Cards    map[string]string // digests of cards, by descriptor

	paths map[string]bool // of Files
}

// Collect verifies and fetches releases for all platforms, with whatever they need, so that they can be carried to where
// this registry cannot be reached. Without any wants it is everything that is neither revoked nor yanked.
func (c *Client) Collect(ctx context.Context, wants []Want) (*Collection, error) {
	v, err := c.refresh(ctx)
	if err != nil {
		return nil, err
	}
	out := &Collection{Snapshot: v.set.Snapshot.Signed.Version, Cards: map[string]string{}, paths: map[string]bool{}}
	if len(wants) == 0 {
		out.Releases, err = c.everything(ctx, v)
	} else {
		out.Releases, err = c.closure(ctx, v, wants)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range out.Releases {
		if err := c.collectRelease(ctx, out, r); err != nil {
			return nil, refuse(err, r.ID, r.Version)
		}
	}
	return out, c.collectMetadata(ctx, v, out)
}

func (c *Client) everything(ctx context.Context, v *view) ([]*Verified, error) {
	entries, err := c.allEntries(ctx, v)
	if err != nil {
		return nil, err
	}
	var out []*Verified
	for _, e := range entries {
		if c.barred(v, e, false) != "" {
			continue
		}
		d, err := c.descriptor(ctx, e)
		if broken(err) {
			continue // nobody can install it
		}
		if err != nil {
			return nil, refuse(err, e.id, e.version)
		}
		out = append(out, c.verified(e, d))
	}
	return out, nil
}

// closure follows requirements to the newest release in each range. What fits together in the end the node decides that
// installs; more than it takes does no harm.
func (c *Client) closure(ctx context.Context, v *view, wants []Want) ([]*Verified, error) {
	var out []*Verified
	queue := slices.Clone(wants)
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		r, err := c.resolve(ctx, v, w.ID, w.Version)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o *Verified) bool { return o.Digest == r.Digest }) {
			continue
		}
		out = append(out, r)
		if len(out) > maxClosure {
			return nil, fmt.Errorf("more than %d releases need one another", maxClosure)
		}
		for _, need := range r.Descriptor.Manifest.Requires {
			queue = append(queue, Want{ID: need.Plugin, Version: need.Version})
		}
	}
	return out, nil
}

const maxClosure = 10_000

func (c *Client) collectRelease(ctx context.Context, out *Collection, r *Verified) error {
	path := registry.HashedPath(registry.TargetPath(r.ID, r.Version), r.Digest)
	out.add("targets/"+path, c.storePath(r.Digest))
	for _, a := range r.Descriptor.Artifacts {
		if err := c.download(ctx, a, func(int64) {}); err != nil {
			return err
		}
		out.add(registry.StorePath(a.SHA256), c.storePath(a.SHA256))
	}
	for _, f := range r.Descriptor.Stored() {
		if slices.ContainsFunc(r.Descriptor.Artifacts, func(a registry.Artifact) bool { return a.SHA256 == f.SHA256 }) {
			continue
		}
		if _, err := c.Blob(ctx, r.Descriptor, f.SHA256); err != nil {
			return err
		}
		out.add(registry.StorePath(f.SHA256), c.storePath(f.SHA256))
	}
	return c.collectCard(ctx, out, r)
}

// collectCard takes what the registry found out about a release along. A release without a card, or whose card does not
// hold, goes without.
func (c *Client) collectCard(ctx context.Context, out *Collection, r *Verified) error {
	digest, err := c.CardDigest(ctx, r.ID, r.Version, r.Digest)
	if err != nil || digest == "" {
		return nil
	}
	card, err := c.Card(ctx, r.ID, r.Version, r.Digest, digest)
	if err != nil {
		return nil
	}
	for _, e := range card.Evidence() {
		if _, err := c.blob(ctx, e, maxEvidence); err != nil {
			return err
		}
		out.add(registry.StorePath(e), c.storePath(e))
	}
	out.Cards[r.Digest] = digest
	out.add(registry.StorePath(digest), c.storePath(digest))
	return nil
}

// maxEvidence bounds one piece of evidence of a card.
const maxEvidence = 8 << 20

// collectMetadata adds the chain of roots, the roles, and the files of the namespaces that the releases are of.
func (c *Client) collectMetadata(ctx context.Context, v *view, out *Collection) error {
	data, err := c.fetchTarget(ctx, registry.RevocationsPath, v.list.digest, v.list.length)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(c.storePath(v.list.digest), data, 0o444); err != nil {
		return local(err)
	}
	out.add("targets/"+registry.HashedPath(registry.RevocationsPath, v.list.digest), c.storePath(v.list.digest))

	entries, err := os.ReadDir(c.home("roots"))
	if err != nil {
		return local(err)
	}
	for _, e := range entries {
		if number, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if _, err := strconv.ParseInt(number, 10, 64); err == nil {
				out.add("metadata/"+number+".root.json", filepath.Join(c.home("roots"), e.Name()))
			}
		}
	}
	for _, name := range keptFiles(&v.set) {
		role := strings.TrimSuffix(name, ".json")
		if err := c.addRole(out, role, c.home("metadata/"+name)); err != nil {
			return err
		}
	}
	spaces := map[string]bool{}
	for _, r := range out.Releases {
		if r.Via != registry.ViaOfficial && !spaces[r.Role] {
			spaces[r.Role] = true
			if err := c.addRole(out, r.Role, c.home("metadata/ns/"+r.Role+".json")); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRole names a file of metadata as the registry does, with its version.
func (c *Client) addRole(out *Collection, role, local string) error {
	data, err := durable.ReadFile(local, tufrules.MaxSize(role))
	if err != nil {
		return err
	}
	version, err := versionOf(role, data)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("metadata/%d.%s.json", version, role)
	if role == metadata.TIMESTAMP {
		name = "metadata/timestamp.json"
	}
	out.add(name, local)
	return nil
}

func versionOf(role string, data []byte) (int64, error) {
	switch role {
	case metadata.TIMESTAMP:
		m, err := tufrules.Timestamp(data)
		if err != nil {
			return 0, err
		}
		return m.Signed.Version, nil
	case metadata.SNAPSHOT:
		m, err := tufrules.Snapshot(data)
		if err != nil {
			return 0, err
		}
		return m.Signed.Version, nil
	}
	m, err := tufrules.Targets(role, data)
	if err != nil {
		return 0, err
	}
	return m.Signed.Version, nil
}

func (o *Collection) add(path, local string) {
	if !o.paths[path] {
		o.paths[path] = true
		o.Files = append(o.Files, File{path, local})
	}
}

// Complete reports why a release cannot be installed from what this client's source holds: it hashes every file that
// belongs to it.
func (c *Client) Complete(ctx context.Context, r *Verified) error {
	for _, a := range r.Descriptor.Artifacts {
		if err := c.download(ctx, a, func(int64) {}); err != nil {
			return refuse(err, r.ID, r.Version)
		}
	}
	for _, f := range r.Descriptor.Stored() {
		if slices.ContainsFunc(r.Descriptor.Artifacts, func(a registry.Artifact) bool { return a.SHA256 == f.SHA256 }) {
			continue
		}
		if _, err := c.Blob(ctx, r.Descriptor, f.SHA256); err != nil {
			return err
		}
	}
	return nil
}

// Revocations returns what this node knows to be withdrawn.
func (c *Client) Revocations() (*registry.Revocations, error) {
	list, err := c.readRevocations()
	if err != nil {
		return nil, local(err)
	}
	return list, nil
}
