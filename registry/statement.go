package registry

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Signature is one key's signature over a statement: a claim, a list of revocations.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // hexadecimal
}

// maxStatementSignatures bounds what a verifier looks at.
const maxStatementSignatures = 64

// KeyID names an Ed25519 public key as the registry's metadata does: the SHA-256 of its canonical description.
func KeyID(public ed25519.PublicKey) string {
	return Digest([]byte(`{"keytype":"ed25519","keyval":{"public":"` + hex.EncodeToString(public) + `"},"scheme":"ed25519"}`))
}

// ParsePublicKey reads an Ed25519 public key of 64 lower-case hexadecimal digits.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	if !ValidDigest(s) { // the same shape
		return nil, errors.New("not an Ed25519 public key (64 lower-case hexadecimal digits)")
	}
	return hex.DecodeString(s)
}

// statement is what is really signed. The kind keeps a signature over one sort of statement from passing for another.
func statement(kind string, payload []byte) []byte {
	return append([]byte("picket "+kind+"/1\n"), payload...)
}

// SignStatement signs a statement of a kind.
func SignStatement(kind string, payload []byte, key ed25519.PrivateKey) Signature {
	public := key.Public().(ed25519.PublicKey)
	return Signature{KeyID: KeyID(public), Sig: hex.EncodeToString(ed25519.Sign(key, statement(kind, payload)))}
}

// Signers returns the ids of those keys that signed a statement, each once.
func Signers(kind string, payload []byte, sigs []Signature, keys []ed25519.PublicKey) []string {
	if len(sigs) > maxStatementSignatures {
		return nil
	}
	message := statement(kind, payload)
	var ids []string
	for _, key := range keys {
		id := KeyID(key)
		valid := func(s Signature) bool {
			raw, err := hex.DecodeString(s.Sig)
			return s.KeyID == id && err == nil && ed25519.Verify(key, message, raw)
		}
		if len(key) == ed25519.PublicKeySize && !slices.Contains(ids, id) && slices.ContainsFunc(sigs, valid) {
			ids = append(ids, id)
		}
	}
	return ids
}

// VerifyStatement wants a threshold of distinct keys to have signed a statement.
func VerifyStatement(kind string, payload []byte, sigs []Signature, keys []ed25519.PublicKey, threshold int) error {
	if threshold < 1 || threshold > len(keys) {
		return fmt.Errorf("a threshold of %d cannot be met by %d keys", threshold, len(keys))
	}
	if n := len(Signers(kind, payload, sigs, keys)); n < threshold {
		return fmt.Errorf("%d of its keys signed, %d must", n, threshold)
	}
	return nil
}
