package registry

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// CardSchema is the version of the format of cards.
const CardSchema = 1

// MaxCard bounds the file of a card.
const MaxCard = 1 << 20

// StatementCard is the kind of statement that a card is.
const StatementCard = "card"

// Card is what the registry found out about a release before it published it. It helps people to choose and is never
// believed for installing.
type Card struct {
	Schema     int             `json:"schema"`
	RootSHA256 string          `json:"root_sha256"` // the registry that says it
	ID         string          `json:"id"`
	Version    string          `json:"version"`
	Descriptor string          `json:"descriptor_sha256"`
	Time       time.Time       `json:"time"`
	Tier       string          `json:"tier"`
	Gates      []Gate          `json:"gates"`
	Resources  *Resources      `json:"resources,omitempty"`
	Quality    []QualityFigure `json:"quality,omitempty"`
	SBOM       string          `json:"sbom_sha256,omitempty"` // CycloneDX, in the store
}

// The tiers of a card.
const (
	TierGold   = "gold"   // every gate passed
	TierSilver = "silver" // there are warnings
	TierBronze = "bronze" // a gate was not checked
	TierNone   = "none"   // a gate failed
)

// The states of a gate.
const (
	GatePassed     = "passed"
	GateWarning    = "warning"
	GateFailed     = "failed"
	GateNotChecked = "not checked"
)

// The names of the gates, in the order of a card.
const (
	GateArchive         = "archive"
	GateSize            = "size"
	GateImports         = "imports"
	GatePermissions     = "permissions"
	GateSecrets         = "secrets"
	GateLicence         = "licence"
	GateSBOM            = "sbom"
	GateVulnerabilities = "vulnerabilities"
	GateRebuild         = "rebuild"
	GateConformance     = "conformance"
	GateResources       = "resources"
	GateQuality         = "quality"
)

// GateNames lists every gate in the order of a card.
var GateNames = []string{
	GateArchive, GateSize, GateImports, GatePermissions, GateSecrets, GateLicence, GateSBOM, GateVulnerabilities, GateRebuild,
	GateConformance, GateResources, GateQuality,
}

// Gate is the result of one check at publishing. A gate that does not concern a kind of release is left out of its
// card; one that could not run is there, as not checked.
type Gate struct {
	Name     string   `json:"name"`
	State    string   `json:"state"`
	Summary  string   `json:"summary"`
	Details  []string `json:"details,omitempty"`
	Evidence string   `json:"evidence_sha256,omitempty"` // what the gate saw, in the store
}

// Resources is what a release costs, as measured on one machine.
type Resources struct {
	CPUMillisPerSecond float64 `json:"cpu_millis_per_second"`
	MemoryBytes        float64 `json:"memory_bytes"`
	StartMillis        float64 `json:"start_millis"`
	NanosPerRecord     float64 `json:"nanos_per_record"`
	Machine            string  `json:"machine"`
}

// QualityFigure is how well a detector or a model did on one public data set.
type QualityFigure struct {
	Dataset               string  `json:"dataset"`
	Family                string  `json:"family,omitempty"` // of attacks
	Precision             float64 `json:"precision"`
	Recall                float64 `json:"recall"`
	FalsePositivesPerHour float64 `json:"false_positives_per_hour"`
	Captures              int     `json:"captures"`
	Source                string  `json:"source"` // where the data set can be had
}

// TierOf returns the tier that gates earn: each of them counts, and what was not looked at counts as bronze at most.
func TierOf(gates []Gate) string {
	has := func(state string) bool {
		return slices.ContainsFunc(gates, func(g Gate) bool { return g.State == state })
	}
	switch {
	case len(gates) == 0 || has(GateFailed):
		return TierNone
	case has(GateNotChecked):
		return TierBronze
	case has(GateWarning):
		return TierSilver
	}
	return TierGold
}

// SignedCard is the file of a card.
type SignedCard struct {
	Card       Card        `json:"card"`
	Signatures []Signature `json:"signatures"`
}

// SignCard signs a card with a key of the registry's snapshot role and returns its file.
func SignCard(c Card, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := encode(&c)
	if err != nil {
		return nil, err
	}
	s := SignedCard{Card: c}
	for _, key := range keys {
		s.Signatures = append(s.Signatures, SignStatement(StatementCard, payload, key))
	}
	data, err := encode(&s)
	if err != nil {
		return nil, err
	}
	_, err = ParseCard(data)
	return data, err
}

// ParseCard reads the file of a card. Verify says who signed it.
func ParseCard(data []byte) (*SignedCard, error) {
	var s SignedCard
	if err := strict.JSON(data, MaxCard, &s); err != nil {
		return nil, fmt.Errorf("read card: %w", err)
	}
	if err := s.Card.check(); err != nil {
		return nil, fmt.Errorf("read card: %w", err)
	}
	return &s, nil
}

// Verify wants one of the registry's snapshot keys to have signed the card, and the card to be about this registry.
func (s *SignedCard) Verify(rootSHA256 string, keys []ed25519.PublicKey) error {
	payload, err := encode(&s.Card)
	if err != nil {
		return err
	}
	if err := VerifyStatement(StatementCard, payload, s.Signatures, keys, 1); err != nil {
		return fmt.Errorf("card of %s %s: %w", s.Card.ID, s.Card.Version, err)
	}
	if s.Card.RootSHA256 != rootSHA256 {
		return fmt.Errorf("card of %s %s: it is of another registry", s.Card.ID, s.Card.Version)
	}
	return nil
}

const (
	maxGateDetails = 64
	maxQuality     = 256
)

func (c *Card) check() error {
	var p problems
	p.add(c.Schema == CardSchema, "schema: this build reads %d, not %d", CardSchema, c.Schema)
	p.add(ValidDigest(c.RootSHA256), "root_sha256: not a SHA-256")
	p.add(sdk.ValidID(c.ID), "id: not a plugin's id")
	p.err("version", checkVersion(c.Version))
	p.add(ValidDigest(c.Descriptor), "descriptor_sha256: not a SHA-256")
	p.add(!c.Time.IsZero(), "time: is missing")
	p.add(c.Tier == TierOf(c.Gates), "tier: %q does not follow from the gates, which earn %q", c.Tier, TierOf(c.Gates))
	p.add(c.SBOM == "" || ValidDigest(c.SBOM), "sbom_sha256: not a SHA-256")
	for i, g := range c.Gates {
		p.err(fmt.Sprintf("gates[%d]", i), g.check())
		twice := slices.ContainsFunc(c.Gates[:i], func(h Gate) bool { return h.Name == g.Name })
		p.add(!twice, "gates: %s appears twice", g.Name)
	}
	if c.Resources != nil {
		p.err("resources", c.Resources.check())
	}
	p.add(len(c.Quality) <= maxQuality, "quality: at most %d", maxQuality)
	for i, q := range c.Quality {
		p.err(fmt.Sprintf("quality[%d]", i), q.check())
	}
	return p.join()
}

func (g Gate) check() error {
	var p problems
	p.add(slices.Contains(GateNames, g.Name), "name: %q is no gate", g.Name)
	p.add(slices.Contains([]string{GatePassed, GateWarning, GateFailed, GateNotChecked}, g.State), "state: %q is none", g.State)
	p.err("summary", checkText(g.Summary, 500, true))
	p.add(len(g.Details) <= maxGateDetails, "details: at most %d", maxGateDetails)
	for _, d := range g.Details {
		p.err("details", checkText(d, 500, true))
	}
	p.add(g.Evidence == "" || ValidDigest(g.Evidence), "evidence_sha256: not a SHA-256")
	return p.join()
}

func (r *Resources) check() error {
	var p problems
	for _, v := range []float64{r.CPUMillisPerSecond, r.MemoryBytes, r.StartMillis, r.NanosPerRecord} {
		p.add(v >= 0 && !math.IsInf(v, 0), "%v is not a measured value", v)
	}
	p.err("machine", checkText(r.Machine, 200, false))
	return p.join()
}

func (q QualityFigure) check() error {
	share := func(v float64) bool { return v >= 0 && v <= 1 }
	if !share(q.Precision) || !share(q.Recall) || q.FalsePositivesPerHour < 0 || q.Captures < 0 {
		return errors.New("precision and recall lie between 0 and 1, counts are not negative")
	}
	return errors.Join(checkText(q.Dataset, 200, true), checkText(q.Family, 100, false), checkText(q.Source, 300, false))
}

// Evidence lists the digests of the files in the store that the card refers to.
func (c *Card) Evidence() []string {
	var digests []string
	if c.SBOM != "" {
		digests = append(digests, c.SBOM)
	}
	for _, g := range c.Gates {
		if g.Evidence != "" && !slices.Contains(digests, g.Evidence) {
			digests = append(digests, g.Evidence)
		}
	}
	return digests
}
