package publish

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// cardsDir holds which card a release has, by the digest of its descriptor. Nobody asks for it from outside: the index
// says it too, and is signed.
const cardsDir = ".cards"

// cardEntry is a file of cardsDir.
type cardEntry struct {
	Card string `json:"card_sha256"`
	Tier string `json:"tier"`
}

// storeCard signs what the gates found about a submission and puts it and its evidence into the store. The release need
// not be published yet: a card that nothing refers to does no harm.
func (p *Publisher) storeCard(sub Submission, descriptor string) error {
	if sub.Card == nil {
		return nil
	}
	for _, data := range sub.Evidence {
		if len(data) > MaxEvidence {
			return fmt.Errorf("evidence of %s: %d bytes, at most %d are allowed", sub.Descriptor.Manifest.ID, len(data), MaxEvidence)
		}
		if err := durable.WriteFile(p.path(registry.StorePath(registry.Digest(data))), data, 0o644); err != nil {
			return err
		}
	}
	m := sub.Descriptor.Manifest
	card := *sub.Card
	card.Schema, card.RootSHA256, card.Time = registry.CardSchema, p.RootSHA256(), p.now().UTC().Truncate(time.Second)
	card.ID, card.Version, card.Descriptor, card.Tier = m.ID, m.Version, descriptor, registry.TierOf(card.Gates)
	if _, _, err := p.signCard(card); err != nil {
		return fmt.Errorf("sign the card of %s %s: %w", m.ID, m.Version, err)
	}
	return nil
}

// signCard puts a card into the store and notes that it is that of its release.
func (p *Publisher) signCard(card registry.Card) (digest, tier string, err error) {
	keys, err := p.snapshotKeys()
	if err != nil {
		return "", "", err
	}
	data, err := registry.SignCard(card, keys...)
	if err != nil {
		return "", "", err
	}
	entry := cardEntry{registry.Digest(data), card.Tier}
	if err := durable.WriteFile(p.path(registry.StorePath(entry.Card)), data, 0o644); err != nil {
		return "", "", err
	}
	return entry.Card, entry.Tier, p.writeCardEntry(card.Descriptor, entry)
}

func (p *Publisher) writeCardEntry(descriptor string, entry cardEntry) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(p.dir, cardsDir), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(p.dir, cardsDir, descriptor), data, 0o644)
}

// snapshotKeys are the private keys of the snapshot role: an online one, which says what the registry itself states.
func (p *Publisher) snapshotKeys() ([]ed25519.PrivateKey, error) {
	r := p.state.root.Signed.Roles[metadata.SNAPSHOT]
	var keys []ed25519.PrivateKey
	for _, id := range r.KeyIDs {
		if key, ok := p.ring[id]; ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, &MissingKeysError{Role: metadata.SNAPSHOT, Threshold: r.Threshold, KeyIDs: r.KeyIDs}
	}
	return keys, nil
}

// cardOf returns the digest of the card of a release and the tier on it, both empty when there is none.
func (p *Publisher) cardOf(descriptor string) (digest, tier string, err error) {
	data, err := durable.ReadFile(filepath.Join(p.dir, cardsDir, descriptor), 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	var entry cardEntry
	if err := json.Unmarshal(data, &entry); err != nil || !registry.ValidDigest(entry.Card) {
		return "", "", fmt.Errorf("read %s/%s: not the name of a card", cardsDir, descriptor)
	}
	return entry.Card, entry.Tier, nil
}

// readCard returns the card of a release, nil when there is none.
func (p *Publisher) readCard(descriptor string) (*registry.SignedCard, error) {
	digest, _, err := p.cardOf(descriptor)
	if err != nil || digest == "" {
		return nil, err
	}
	data, err := durable.ReadFile(p.path(registry.StorePath(digest)), registry.MaxCard)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return registry.ParseCard(data)
}

// MaxEvidence bounds one piece of evidence, an SBOM for example.
const MaxEvidence = 8 << 20

// storeNewCard gives a release that is published already another card, when the gates have found something else since.
func (p *Publisher) storeNewCard(sub Submission, descriptor string) (stored bool, err error) {
	if sub.Card == nil {
		return false, nil
	}
	have, err := p.readCard(descriptor)
	if err != nil {
		return false, err
	}
	if have != nil && sameFindings(have.Card.Gates, sub.Card.Gates) {
		return false, nil
	}
	return true, p.storeCard(sub, descriptor)
}

// sameFindings leaves summaries out: they hold measured times, which are never twice the same.
func sameFindings(a, b []registry.Gate) bool {
	return slices.EqualFunc(a, b, func(g, h registry.Gate) bool {
		return g.Name == h.Name && g.State == h.State && slices.Equal(g.Details, h.Details)
	})
}
