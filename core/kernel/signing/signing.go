// Package signing signs and verifies what travels between an agent and its server: requests as HTTP Message
// Signatures (RFC 9421) over a Content-Digest (RFC 9530), and commands and configurations as Ed25519 over canonical JSON.
// One of these and a key go in; a signature, or the reason of a refusal, comes out. It links no database and no cgo, because
// the agent uses it too.
//
// The profile is narrow on purpose. A request carries exactly one signature. It covers, in this order, "@method",
// "@path", "@query" and "content-digest", also when there is no body; its parameters are created, nonce, keyid, alg
// ("ed25519") and tag ("picket-agent"), and no others.
package signing

import (
	"errors"
	"fmt"
	"time"
)

// Tag keeps a signature made for another protocol from being accepted here.
const Tag = "picket-agent"

// DefaultWindow is how far a request's creation time may lie from the server's clock.
const DefaultWindow = 2 * time.Minute

const (
	algorithm  = "ed25519"
	label      = "picket"
	maxHeader  = 4096 // of each of the three header fields, in bytes
	nonceBytes = 16
	maxNonce   = 128
	minNonce   = 16
)

// covered are the components of every signature, in order.
var covered = [...]string{"@method", "@path", "@query", "content-digest"}

// Reason says why a request or a command was refused.
type Reason string

const (
	Unsigned     Reason = "unsigned"      // no signature at all
	Malformed    Reason = "malformed"     // a header field that does not parse
	Uncovered    Reason = "uncovered"     // not the components or parameters that the profile asks for
	Stale        Reason = "stale"         // created too long ago
	Future       Reason = "future"        // created too far ahead
	UnknownKey   Reason = "unknown_key"   // nobody has this key id
	BadSignature Reason = "bad_signature" // the signature does not fit
	BadDigest    Reason = "bad_digest"    // the body is not what was signed
	Replayed     Reason = "replayed"      // this very request was seen before
	WrongAgent   Reason = "wrong_agent"   // a command for somebody else
	Expired      Reason = "expired"       // a command past its time
	Older        Reason = "older"         // a configuration from before the one in use
)

// Refusal is the error for a request or a command that must not be acted on.
type Refusal struct {
	Reason Reason
	KeyID  string // claimed, not proven, unless Reason is BadDigest or Replayed
	Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "signature refused: " + string(r.Reason)
	}
	return "signature refused: " + string(r.Reason) + ": " + r.Detail
}

// ErrUnknownKey is what a lookup returns when nobody has the key id.
var ErrUnknownKey = errors.New("unknown key")

// ReasonOf returns the reason of a refusal, and false when err is none.
func ReasonOf(err error) (Reason, bool) {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason, true
	}
	return "", false
}

func refuse(reason Reason, keyID, format string, args ...any) error {
	return &Refusal{Reason: reason, KeyID: keyID, Detail: fmt.Sprintf(format, args...)}
}
