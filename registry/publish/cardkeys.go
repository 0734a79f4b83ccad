package publish

import (
	"crypto/ed25519"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// cardSigners are the keys of the snapshot: those that nodes look for on a card, and those that signed cards before.
type cardSigners struct {
	now    []ed25519.PublicKey
	former []ed25519.PublicKey
}

func (p *Publisher) cardSigners() (*cardSigners, error) {
	now, _, err := p.state.indexKeys()
	if err != nil {
		return nil, err
	}
	s := &cardSigners{now: now}
	for _, key := range p.ring { // a change of keys that broke off leaves cards under keys that nodes never heard of
		s.former = append(s.former, key.Public().(ed25519.PublicKey))
	}
	roots, _, err := rootChain(p.dir, p.state.anchor)
	if err != nil {
		return nil, err
	}
	for _, data := range roots {
		root, err := tufrules.Root(data)
		if err != nil {
			return nil, err
		}
		keys, err := tufrules.PublicKeys(root.Signed.Keys, root.Signed.Roles[metadata.SNAPSHOT].KeyIDs)
		if err != nil {
			return nil, err
		}
		s.former = append(s.former, keys...)
	}
	return s, nil
}

// card returns the card of a release under a signature that nodes take. One from before the keys of the snapshot changed
// is signed again; what it says, and of when it is, stays.
func (x *indexer) card(descriptor string) (digest, tier string, err error) {
	digest, tier, err = x.p.cardOf(descriptor)
	if err != nil || digest == "" {
		return "", "", err
	}
	signed, err := x.p.readCard(descriptor)
	if err != nil {
		return "", "", err
	}
	if signed == nil {
		return "", "", fmt.Errorf("the card %s is not in the store", digest)
	}
	if x.signers == nil {
		if x.signers, err = x.p.cardSigners(); err != nil {
			return "", "", err
		}
	}
	root := x.p.RootSHA256()
	if signed.Verify(root, x.signers.now) == nil {
		return digest, tier, nil
	}
	if err := signed.Verify(root, x.signers.former); err != nil {
		return "", "", err
	}
	return x.p.signCard(signed.Card)
}
