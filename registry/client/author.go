package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Evidence is ROLE.chain.json in a folder of evidence (see registry.EvidenceDir): which versions of the files beside it vouch for a role.
type Evidence struct {
	Anchor        int64  `json:"anchor"` // version of the root that the folder is named by
	Root          int64  `json:"root"`   // newest version of the root
	Targets       int64  `json:"targets"`
	Parent        string `json:"parent,omitempty"` // claimed or recent; empty for the project's own
	ParentVersion int64  `json:"parent_version,omitempty"`
	Role          string `json:"role"`
	Version       int64  `json:"version"`
}

// MaxEvidence bounds a file of that kind.
const MaxEvidence = 16 << 10

// Author is who signed a release in the registry that it came from first.
type Author struct {
	Root   string   // digest of that registry's root
	Role   string   // of the author
	Via    string   // who vouched for the author
	KeyIDs []string // of the author's keys that the role has
}

// Author checks the signatures from the root of the registry where a release came from first, which the caller trusts,
// down to its author's over just this descriptor. Dates play no part: what counts is who signed, not whether they would
// sign again.
func (c *Client) Author(ctx context.Context, rootSHA256, id, version, descriptor string) (*Author, error) {
	a, err := c.author(ctx, rootSHA256, id, version, descriptor)
	if err != nil {
		return nil, refuse(asRefusal(err), id, version)
	}
	return a, nil
}

func (c *Client) author(ctx context.Context, anchor, id, version, descriptor string) (a *Author, err error) {
	defer recoverTo(&err)
	if !registry.ValidDigest(anchor) {
		return nil, refusal(registry.RootMismatch, "%q is not the SHA-256 of a root", anchor)
	}
	role := tufrules.RoleOfficial
	if ns := namespaceOf(id); ns != firstNamespace {
		role = tufrules.RoleNamespacePrefix + ns
	}
	data, err := c.fetch(ctx, registry.EvidencePath(anchor, role+".chain.json"), MaxEvidence)
	if errors.Is(err, errMissing) {
		return nil, refusal(registry.NotVouched, "the registry has no evidence of who signed it under the root %.16s…", anchor)
	}
	if err != nil {
		return nil, err
	}
	var e Evidence
	if err := strict.JSON(data, MaxEvidence, &e); err != nil {
		return nil, refusal(registry.BadMetadata, "%s.chain.json: %w", role, err)
	}
	if e.Role != role {
		return nil, refusal(registry.BadMetadata, "%s.chain.json speaks of role %q", role, e.Role)
	}
	w := &witness{c: c, ctx: ctx, anchor: anchor}
	root, err := w.root(e)
	if err != nil {
		return nil, err
	}
	targets, err := w.targets(metadata.TARGETS, e.Targets, root.VerifyDelegate)
	if err != nil {
		return nil, err
	}
	parent, via := targets, registry.ViaOfficial
	if role != tufrules.RoleOfficial {
		if e.Parent != tufrules.RoleClaimed && e.Parent != tufrules.RoleRecent {
			return nil, refusal(registry.BadMetadata, "role %q vouches for no namespace", e.Parent)
		}
		if parent, err = w.targets(e.Parent, e.ParentVersion, targets.VerifyDelegate); err != nil {
			return nil, err
		}
		via = e.Parent
	}
	own, err := w.targets(role, e.Version, parent.VerifyDelegate)
	if err != nil {
		return nil, err
	}
	t := own.Signed.Targets[registry.TargetPath(id, version)]
	if t == nil || hex.EncodeToString(t.Hashes["sha256"]) != descriptor {
		return nil, refusal(registry.NotVouched, "its author signed another descriptor for this version, or none")
	}
	a = &Author{Root: anchor, Role: role, Via: via}
	for _, d := range parent.Signed.Delegations.Roles {
		if d.Name == role {
			a.KeyIDs = d.KeyIDs
		}
	}
	return a, nil
}

// witness reads evidence, file by file.
type witness struct {
	c      *Client
	ctx    context.Context
	anchor string
}

func (w *witness) read(role string, version int64) ([]byte, error) {
	name := fmt.Sprintf("%d.%s.json", version, role)
	data, err := w.c.fetch(w.ctx, registry.EvidencePath(w.anchor, name), tufrules.MaxSize(role))
	if errors.Is(err, errMissing) {
		return nil, refusal(registry.BadMetadata, "the evidence %s is missing", name)
	}
	return data, err
}

// root walks from the root that the caller trusts to the newest.
func (w *witness) root(e Evidence) (*metadata.Metadata[metadata.RootType], error) {
	if e.Root < e.Anchor || e.Root-e.Anchor > maxRotations {
		return nil, refusal(registry.BadMetadata, "its roots go from %d to %d", e.Anchor, e.Root)
	}
	var newest *metadata.Metadata[metadata.RootType]
	for version := e.Anchor; version <= e.Root; version++ {
		data, err := w.read(metadata.ROOT, version)
		if err != nil {
			return nil, err
		}
		if newest == nil && registry.Digest(data) != w.anchor {
			return nil, refusal(registry.RootMismatch, "its first root is not the one with SHA-256 %s", w.anchor)
		}
		next, err := tufrules.Root(data)
		if err != nil {
			return nil, refusal(registry.BadMetadata, "%d.root.json: %w", version, err)
		}
		if newest == nil {
			err = selfSigned(next)
		} else {
			err = verifySuccessor(newest, next)
		}
		if err != nil {
			return nil, refusal(registry.BadSignature, "%d.root.json: %w", version, err)
		}
		newest = next
	}
	return newest, nil
}

// targets reads the file of a role that its delegator must have delegated to and whose signatures must hold.
func (w *witness) targets(role string, version int64, verify func(string, any) error) (*metadata.Metadata[metadata.TargetsType], error) {
	data, err := w.read(role, version)
	if err != nil {
		return nil, err
	}
	m, err := tufrules.Targets(role, data)
	if err != nil {
		return nil, refusal(registry.BadMetadata, "%s.json: %w", role, err)
	}
	if err := verify(role, m); err != nil {
		return nil, refusal(registry.BadSignature, "%s.json: %w", role, err)
	}
	return m, nil
}

// Encode returns the file of the evidence.
func (e Evidence) Encode() ([]byte, error) { return json.Marshal(e) }
