package registry

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/picketwatch/picket/registry/internal/strict"
)

// MaxClaim bounds the file of a claim.
const MaxClaim = 2 << 20

// ClaimSchema is the version of the format of claims.
const ClaimSchema = 1

// StatementClaim is the kind of statement that a claim is.
const StatementClaim = "claim"

// Claim is an author's word that a namespace shall be theirs: the keys that sign its releases, who can be reached about
// it, and a signature by each of those keys, which proves that the author has them. A claim for a namespace that exists
// replaces its keys; the old ones sign it too, unless they are lost.
type Claim struct {
	Statement  ClaimStatement  `json:"claim"`
	Signatures []Signature     `json:"signatures"`
	Metadata   json.RawMessage `json:"metadata"` // the namespace's TUF targets file, signed by the new keys
}

// ClaimStatement is the signed part of a claim.
type ClaimStatement struct {
	Schema     int       `json:"schema"`
	RootSHA256 string    `json:"root_sha256"` // the registry that it is for
	Namespace  string    `json:"namespace"`
	Keys       []string  `json:"keys"` // Ed25519 public keys, hexadecimal
	Threshold  int       `json:"threshold"`
	Contact    string    `json:"contact"`
	Time       time.Time `json:"time"`
	// Replaces are the ids of the keys that the namespace has now; empty when it is new. A claim that was used once does
	// not fit again.
	Replaces []string `json:"replaces,omitempty"`
}

// Payload returns the bytes that are signed.
func (s *ClaimStatement) Payload() ([]byte, error) { return encode(s) }

// PublicKeys returns the keys of the claim.
func (s *ClaimStatement) PublicKeys() ([]ed25519.PublicKey, error) {
	keys := make([]ed25519.PublicKey, 0, len(s.Keys))
	for i, text := range s.Keys {
		key, err := ParsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Encode returns the file of a claim.
func (c *Claim) Encode() ([]byte, error) { return encode(c) }

// ParseClaim reads a claim and checks that each of its keys signed it. Whether the name is free is the registry's
// business.
func ParseClaim(data []byte) (*Claim, error) {
	var c Claim
	if err := strict.JSON(data, MaxClaim, &c); err != nil {
		return nil, fmt.Errorf("read claim: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("read claim: %w", err)
	}
	return &c, nil
}

func (c *Claim) check() error {
	s := &c.Statement
	var p problems
	p.add(s.Schema == ClaimSchema, "schema: this build reads %d, not %d", ClaimSchema, s.Schema)
	p.add(ValidDigest(s.RootSHA256), "root_sha256: not a SHA-256")
	p.err("namespace", checkNamespaceSpelling(s.Namespace))
	p.err("contact", checkText(s.Contact, 200, true))
	p.add(len(s.Keys) >= 1 && len(s.Keys) <= 16, "keys: name between 1 and 16")
	p.add(s.Threshold >= 1 && s.Threshold <= len(s.Keys), "threshold: %d of %d keys makes no sense", s.Threshold, len(s.Keys))
	p.add(len(s.Replaces) <= 16, "replaces: at most 16")
	p.add(!s.Time.IsZero(), "time: is missing")
	for i, k := range s.Keys {
		p.add(!slices.Contains(s.Keys[:i], k), "keys: one appears twice")
	}
	if err := p.join(); err != nil {
		return err
	}
	keys, err := s.PublicKeys()
	if err != nil {
		return err
	}
	payload, err := s.Payload()
	if err != nil {
		return err
	}
	if err := VerifyStatement(StatementClaim, payload, c.Signatures, keys, len(keys)); err != nil {
		return fmt.Errorf("proof of possession: %w: every key of a claim signs it", err)
	}
	return nil
}
