package server

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// shelf is what a registry offers at one moment.
type shelf struct {
	*Catalogue
	stamp   durable.Stamp
	revoked *registry.Revocations
	keys    []ed25519.PublicKey // of the snapshot

	elsewhere map[string]tally // what nodes told the registry that this is a copy of, by plugin
	countsAt  durable.Stamp
}

func emptyShelf() *shelf {
	return &shelf{Catalogue: NewCatalogue(&registry.Index{}), revoked: &registry.Revocations{}}
}

func indexStamp(root *os.Root) (durable.Stamp, error) {
	info, err := root.Stat(registry.IndexPath)
	if err != nil {
		return durable.Stamp{}, err
	}
	return durable.StampOf(info), nil
}

// readShelf reads the index, which the key of the snapshot must have signed.
func readShelf(dir *os.Root) (*shelf, error) {
	at, err := indexStamp(dir)
	if err != nil {
		return nil, err
	}
	data, err := durable.ReadFileIn(dir, registry.IndexPath, registry.MaxIndex)
	if err != nil {
		return nil, err
	}
	top, err := durable.ReadFileIn(dir, "metadata/root.json", tufrules.MaxRoot)
	if err != nil {
		return nil, err
	}
	root, err := tufrules.Root(top)
	if err != nil {
		return nil, fmt.Errorf("root.json: %w", err)
	}
	role := root.Signed.Roles[metadata.SNAPSHOT]
	keys, err := tufrules.PublicKeys(root.Signed.Keys, role.KeyIDs)
	if err != nil {
		return nil, err
	}
	x, err := registry.ParseIndex(data, keys, role.Threshold)
	if err != nil {
		return nil, err
	}
	return &shelf{Catalogue: NewCatalogue(x), stamp: at, revoked: readRevocations(dir), keys: keys}, nil
}

// readRevocations reads the newest list for the times in it, which only the feed shows. Without it the feed shows the
// time at which a revocation was first seen.
func readRevocations(dir *os.Root) *registry.Revocations {
	none := &registry.Revocations{}
	entries, err := readDir(dir, "targets/security")
	if err != nil {
		return none
	}
	var newest os.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasSuffix(e.Name(), ".revocations.json") && (newest == nil || info.ModTime().After(newest.ModTime())) {
			newest = info
		}
	}
	if newest == nil {
		return none
	}
	data, err := durable.ReadFileIn(dir, "targets/security/"+newest.Name(), registry.MaxRevocations)
	if err != nil {
		return none
	}
	list, err := registry.ParseRevocations(data)
	if err != nil {
		return none
	}
	return list
}

func readDir(dir *os.Root, name string) ([]os.DirEntry, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// readDigest reads bytes whose digest is known.
func readDigest(dir *os.Root, name, digest string, maxBytes int64) ([]byte, error) {
	data, err := durable.ReadFileIn(dir, name, maxBytes)
	if err != nil {
		return nil, err
	}
	if registry.Digest(data) != digest {
		return nil, fmt.Errorf("%s does not have the digest that was signed", name)
	}
	return data, nil
}

// descriptor reads the descriptor of a release.
func descriptor(dir *os.Root, id string, r registry.IndexRelease) (*registry.Descriptor, error) {
	data, err := readDigest(dir, "targets/"+registry.HashedPath(registry.TargetPath(id, r.Version), r.Descriptor), r.Descriptor, registry.MaxDescriptor)
	if err != nil {
		return nil, err
	}
	d, err := registry.ParseDescriptor(data)
	if err == nil && (d.Manifest.ID != id || d.Manifest.Version != r.Version) {
		err = errors.New("it speaks of another release")
	}
	return d, err
}

// claimOf reads the contact and the time of a namespace's claim, which only the registry itself has.
func claimOf(dir *os.Root, ns string) (*registry.Claim, error) {
	data, err := durable.ReadFileIn(dir, ".claims/"+ns+".json", registry.MaxClaim)
	if err != nil {
		return nil, err
	}
	return registry.ParseClaim(data)
}

// cardOf reads the card of a release. It is as good as the index that names it.
func cardOf(dir *os.Root, r registry.IndexRelease) (*registry.Card, error) {
	if r.Card == "" {
		return nil, nil
	}
	data, err := readDigest(dir, registry.StorePath(r.Card), r.Card, registry.MaxCard)
	if err != nil {
		return nil, err
	}
	signed, err := registry.ParseCard(data)
	if err != nil {
		return nil, err
	}
	if signed.Card.Descriptor != r.Descriptor {
		return nil, errors.New("the card is of another release")
	}
	return &signed.Card, nil
}
