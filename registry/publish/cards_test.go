package publish_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// cardFile returns the card of the one release in the registry.
func cardFile(t *testing.T, r *registrytest.Registry) *registry.SignedCard {
	t.Helper()
	report := verify(t, r)
	if len(report.Releases) != 1 {
		t.Fatalf("%d releases", len(report.Releases))
	}
	data, err := os.ReadFile(filepath.Join(r.Dir, ".cards", report.Releases[0].Digest))
	if err != nil {
		t.Fatal(err)
	}
	var entry struct {
		Card string `json:"card_sha256"`
	}
	if err := json.Unmarshal(data, &entry); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(filepath.Join(r.Dir, "store", "sha256", entry.Card)); err != nil {
		t.Fatal(err)
	}
	card, err := registry.ParseCard(data)
	if err != nil {
		t.Fatal(err)
	}
	return card
}

func withCard(sub publish.Submission, state string) publish.Submission {
	sbom := []byte(`{"bomFormat":"CycloneDX"}`)
	sub.Card = &registry.Card{SBOM: registry.Digest(sbom), Gates: []registry.Gate{{Name: registry.GateSBOM, State: state, Summary: "3 components"}}}
	sub.Evidence = [][]byte{sbom}
	return sub
}

// The publisher signs what the gates found, and says of whom. A release that stays gets a new card only when they found
// something else.
func TestCardsArePublished(t *testing.T) {
	r := registrytest.New(t)
	p := publisher(t, r)
	sub := registrytest.Plugin{ID: "picket/a"}.Submission(t)
	add := func(sub publish.Submission) {
		t.Helper()
		if _, err := p.Add(t.Context(), []publish.Submission{sub}); err != nil {
			t.Fatal(err)
		}
	}
	add(withCard(sub, registry.GatePassed))
	card := cardFile(t, r)
	report := verify(t, r).Releases[0]
	if c := card.Card; c.ID != "picket/a" || c.Version != "1.0.0" || c.Descriptor != report.Digest || c.Tier != registry.TierGold || c.RootSHA256 != r.RootSHA256(t) {
		t.Errorf("card %+v", c)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "store", "sha256", card.Card.SBOM)); err != nil {
		t.Error(err)
	}
	stamp := func() string {
		data, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "timestamp.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := stamp()
	add(withCard(sub, registry.GatePassed))
	add(sub)
	if stamp() != before {
		t.Error("signed again although nothing was found anew")
	}
	add(withCard(sub, registry.GateWarning))
	if c := cardFile(t, r).Card; c.Tier != registry.TierSilver || stamp() == before {
		t.Errorf("the new finding is not on the card: %+v", c)
	}
	add(withCard(registrytest.Plugin{ID: "picket/a", Process: []byte("new")}.Submission(t), registry.GatePassed))
	if c := cardFile(t, r).Card; c.Tier != registry.TierGold {
		t.Errorf("a replaced release keeps the old card: %+v", c)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "store", "sha256", card.Card.SBOM)); err != nil {
		t.Error("evidence was swept away")
	}
}

// Nodes look for the key of the snapshot that there is now on a card, so cards are signed again when it changes, and only
// those that the registry had signed.
func TestCardsOutliveTheirKey(t *testing.T) {
	r := registrytest.New(t)
	r.Change(t, func(p *publish.Publisher) error {
		_, err := p.Add(t.Context(), []publish.Submission{
			withCard(registrytest.Plugin{ID: "picket/a"}.Submission(t), registry.GateWarning),
			withCard(registrytest.Plugin{ID: "picket/b"}.Submission(t), registry.GateWarning),
		})
		return err
	})
	shown := func(id string) (registry.IndexRelease, *registry.SignedCard) {
		t.Helper()
		p, ok := r.Index(t).Find(id)
		if !ok || len(p.Releases) != 1 {
			t.Fatalf("the index has %+v", p)
		}
		if p.Releases[0].Card == "" {
			return p.Releases[0], nil
		}
		data, err := os.ReadFile(filepath.Join(r.Dir, "store", "sha256", p.Releases[0].Card))
		if err != nil {
			t.Fatal(err)
		}
		card, err := registry.ParseCard(data)
		if err != nil {
			t.Fatal(err)
		}
		key := r.KeyOf(t, "snapshot").Public().(ed25519.PublicKey)
		if err := card.Verify(r.RootSHA256(t), []ed25519.PublicKey{key}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		return p.Releases[0], card
	}
	before, card := shown("picket/a")
	other, _ := shown("picket/b")

	// Somebody puts a better card of picket/b into the folder, signed with a key of their own.
	forged := *card
	forged.Card.ID, forged.Card.Descriptor = "picket/b", other.Descriptor
	forged.Card.Gates = []registry.Gate{{Name: registry.GateSBOM, State: registry.GatePassed, Summary: "Fine."}}
	forged.Card.Tier = registry.TierOf(forged.Card.Gates)
	data, err := registry.SignCard(forged.Card, registrytest.NewKey(t))
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(r.Dir, "store", "sha256", registry.Digest(data)), data, 0o644),
			os.WriteFile(filepath.Join(r.Dir, ".cards", other.Descriptor), fmt.Appendf(nil, `{"card_sha256":%q,"tier":"gold"}`, registry.Digest(data)), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}

	for range 2 {
		r.Advance(time.Hour)
		r.Rotate(t, "snapshot")
		after, again := shown("picket/a")
		if again == nil || after.Card == before.Card || after.Tier != registry.TierSilver || !again.Card.Time.Equal(card.Card.Time) {
			t.Errorf("after the key changed: %+v, %+v", after, again)
		}
		if r, card := shown("picket/b"); card != nil || r.Tier != "" {
			t.Errorf("a forged card was signed: %+v", card)
		}
	}
}

// Pages and pictures come along, and nobody writes under a digest that is another's.
func TestPagesOfARelease(t *testing.T) {
	r := registrytest.NewRelease(t)
	p := publisher(t, r)
	sub := registrytest.Plugin{ID: "picket/a", Readme: []byte("read me")}.Submission(t)
	sub.Changelog = []byte("# 1.0.0\nFirst.\n")
	sub.Descriptor.ChangelogSHA256 = registry.Digest(sub.Changelog)
	if _, err := p.Add(t.Context(), []publish.Submission{sub}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if report := verify(t, r); !report.OK() {
		t.Errorf("%+v", report.Releases)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "store", "sha256", sub.Descriptor.ChangelogSHA256), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, r); report.OK() {
		t.Error("a changelog with other bytes is in order")
	}
	author := r.Claim(t, "acme")
	evil := registrytest.Plugin{ID: "acme/evil", Readme: []byte("mine")}.Submission(t)
	evil.Descriptor.ReadmeSHA256 = sub.Descriptor.Artifacts[0].SHA256 // of somebody else's program
	if err := accept(t, r, signUpload(t, r, "acme", author.Key, evil)); err == nil || !strings.Contains(err.Error(), "README") {
		t.Errorf("accepted: %v", err)
	}
	if report := verify(t, r); len(report.Releases) != 1 || strings.Contains(report.Releases[0].Problem, "process") {
		t.Errorf("somebody else's bytes were replaced: %+v", report.Releases)
	}
}
