package registry

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// What a node tells the registry: that it installed or removed a release, and what its people think of it. Each
// statement is signed by the node's own key, so that a registry can count nodes instead of requests.

// MaxReceipt and MaxReview bound the files.
const (
	MaxReceipt = 4 << 10
	MaxReview  = 16 << 10
)

// How many stars a review gives.
const (
	minStars = 1
	maxStars = 5
)

// NodeStatementSchema is the version of the format of receipts and reviews.
const NodeStatementSchema = 1

// The kinds of statements that nodes sign.
const (
	StatementReceipt = "receipt"
	StatementReview  = "review"
)

// What a receipt says happened.
const (
	ActionInstalled = "installed"
	ActionRemoved   = "removed"
)

// maxReviewText bounds the text of a review, in bytes.
const maxReviewText = 2000

// Receipt is a node's word that it installed or removed a release.
type Receipt struct {
	Schema     int        `json:"schema"`
	RootSHA256 string     `json:"root_sha256"` // the registry that it is for
	Node       string     `json:"node"`        // id of the node's key
	ID         string     `json:"id"`
	Version    string     `json:"version"`
	Descriptor string     `json:"descriptor"` // digest
	Action     string     `json:"action"`     // ActionInstalled or ActionRemoved
	Time       time.Time  `json:"time"`
	Signature  *Signature `json:"signature,omitempty"`
}

// Review is what the people of a node think of a release that they have.
type Review struct {
	Schema     int        `json:"schema"`
	RootSHA256 string     `json:"root_sha256"`
	Node       string     `json:"node"`
	ID         string     `json:"id"`
	Version    string     `json:"version"`
	Descriptor string     `json:"descriptor"`
	Stars      int        `json:"stars"` // 1 to 5
	Text       string     `json:"text"`
	Time       time.Time  `json:"time"`
	Signature  *Signature `json:"signature,omitempty"`
}

// Sign fills in the schema and the node, and signs. The time is cut to seconds.
func (r *Receipt) Sign(key ed25519.PrivateKey) error {
	r.Schema, r.Node, r.Time, r.Signature = NodeStatementSchema, KeyID(key.Public().(ed25519.PublicKey)), r.Time.UTC().Truncate(time.Second), nil
	var err error
	if r.Signature, err = signNode(StatementReceipt, r, key); err != nil {
		return err
	}
	return r.check()
}

// Sign fills in the schema and the node, and signs. The time is cut to seconds.
func (r *Review) Sign(key ed25519.PrivateKey) error {
	r.Schema, r.Node, r.Time, r.Signature = NodeStatementSchema, KeyID(key.Public().(ed25519.PublicKey)), r.Time.UTC().Truncate(time.Second), nil
	var err error
	if r.Signature, err = signNode(StatementReview, r, key); err != nil {
		return err
	}
	return r.check()
}

// ParseReceipt reads a receipt. Its signature is not checked yet; see Verify.
func ParseReceipt(data []byte) (*Receipt, error) {
	var r Receipt
	if err := strict.JSON(data, MaxReceipt, &r); err != nil {
		return nil, fmt.Errorf("read receipt: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("read receipt: %w", err)
	}
	return &r, nil
}

// ParseReview reads a review. Its signature is not checked yet; see Verify.
func ParseReview(data []byte) (*Review, error) {
	var r Review
	if err := strict.JSON(data, MaxReview, &r); err != nil {
		return nil, fmt.Errorf("read review: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("read review: %w", err)
	}
	return &r, nil
}

// Encode returns the receipt's bytes.
func (r *Receipt) Encode() ([]byte, error) { return encode(r) }

// Encode returns the review's bytes.
func (r *Review) Encode() ([]byte, error) { return encode(r) }

// Verify wants the node's key to have signed the receipt.
func (r *Receipt) Verify(key ed25519.PublicKey) error {
	unsigned := *r
	unsigned.Signature = nil
	return verifyNode(StatementReceipt, &unsigned, r.Node, r.Signature, key)
}

// Verify wants the node's key to have signed the review.
func (r *Review) Verify(key ed25519.PublicKey) error {
	unsigned := *r
	unsigned.Signature = nil
	return verifyNode(StatementReview, &unsigned, r.Node, r.Signature, key)
}

func signNode(kind string, unsigned any, key ed25519.PrivateKey) (*Signature, error) {
	payload, err := encode(unsigned)
	if err != nil {
		return nil, err
	}
	sig := SignStatement(kind, payload, key)
	return &sig, nil
}

func verifyNode(kind string, unsigned any, node string, sig *Signature, key ed25519.PublicKey) error {
	payload, err := encode(unsigned)
	if err != nil {
		return err
	}
	if sig == nil || sig.KeyID != node || !slices.Contains(Signers(kind, payload, []Signature{*sig}, []ed25519.PublicKey{key}), node) {
		return errors.New("the node that it names did not sign it")
	}
	return nil
}

func (r *Receipt) check() error {
	var p problems
	checkNodeStatement(&p, r.Schema, r.RootSHA256, r.Node, r.ID, r.Version, r.Descriptor, r.Signature)
	p.add(r.Action == ActionInstalled || r.Action == ActionRemoved, "action: must be %s or %s", ActionInstalled, ActionRemoved)
	return p.join()
}

func (r *Review) check() error {
	var p problems
	checkNodeStatement(&p, r.Schema, r.RootSHA256, r.Node, r.ID, r.Version, r.Descriptor, r.Signature)
	p.add(r.Stars >= minStars && r.Stars <= maxStars, "stars: must be %d to %d", minStars, maxStars)
	p.add(len(r.Text) <= maxReviewText, "text: longer than %d bytes", maxReviewText)
	p.add(r.Text == strings.TrimSpace(r.Text), "text: begins or ends with white space")
	p.err("text", strict.CheckPrintable(r.Text, true))
	return p.join()
}

func checkNodeStatement(p *problems, schema int, root, node, id, version, descriptor string, sig *Signature) {
	p.add(schema == NodeStatementSchema, "schema: this build reads %d, not %d", NodeStatementSchema, schema)
	p.add(ValidDigest(root), "root_sha256: not a SHA-256")
	p.add(ValidDigest(node), "node: not a key id")
	p.add(sdk.ValidID(id), "id: must be namespace/name")
	p.err("version", checkVersion(version))
	p.add(ValidDigest(descriptor), "descriptor: not a SHA-256")
	p.add(sig != nil, "signature: is missing")
}
