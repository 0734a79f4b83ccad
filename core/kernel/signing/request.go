package signing

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// SignRequest sets Content-Digest, Signature-Input and Signature. body must be what the request will send; it may be
// empty. Sign last: method and URL must not change afterwards.
func SignRequest(req *http.Request, body []byte, key ed25519.PrivateKey, keyID string, now time.Time) error {
	nonce := make([]byte, nonceBytes)
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("make nonce: %w", err)
	}
	digest := sha256.Sum256(body)
	req.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":")

	input := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, name := range covered {
		input.Items = append(input.Items, httpsfv.NewItem(name))
	}
	input.Params.Add("created", now.Unix())
	input.Params.Add("nonce", base64.RawURLEncoding.EncodeToString(nonce))
	input.Params.Add("keyid", keyID)
	input.Params.Add("alg", algorithm)
	input.Params.Add("tag", Tag)
	return attach(req, input, key)
}

// attach signs the request as input says and sets the two header fields.
func attach(req *http.Request, input httpsfv.InnerList, key ed25519.PrivateKey) error {
	base, err := signatureBase(req, input)
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	inputs, signatures := httpsfv.NewDictionary(), httpsfv.NewDictionary()
	inputs.Add(label, input)
	signatures.Add(label, httpsfv.NewItem(ed25519.Sign(key, []byte(base))))
	for name, field := range map[string]*httpsfv.Dictionary{"Signature-Input": inputs, "Signature": signatures} {
		text, err := httpsfv.Marshal(field)
		if err != nil {
			return fmt.Errorf("sign request: %s: %w", name, err)
		}
		req.Header.Set(name, text)
	}
	return nil
}

// ReplayGuard remembers requests for as long as they would be accepted, also across a restart. Remember reports whether the
// nonce is new for the key, and may refuse the request.
type ReplayGuard interface {
	Remember(ctx context.Context, keyID, nonce string, created time.Time) (fresh bool, err error)
}

// Verifier verifies requests. The zero value uses DefaultWindow.
type Verifier struct {
	Window time.Duration
}

// VerifyRequest returns the id of the key that signed the request. lookup returns ErrUnknownKey when nobody has the
// id. The error is a *Refusal, or what lookup or replay failed with. The nonce is remembered only after the signature
// was found good, so that strangers cannot fill the guard.
func (v Verifier) VerifyRequest(req *http.Request, body []byte, lookup func(keyID string) (ed25519.PublicKey, error),
	replay ReplayGuard, now time.Time) (string, error) {
	h, err := v.VerifyHeaders(req, lookup, now)
	if err != nil {
		return h.KeyID(), err
	}
	return h.KeyID(), h.VerifyBody(req.Context(), body, replay)
}

// Headers are a request's headers whose signature was found good; its body has not been looked at.
type Headers struct {
	sig    signature
	header http.Header
}

// KeyID is who signed, or claims to have when the headers were refused.
func (h Headers) KeyID() string { return h.sig.keyID }

// VerifyHeaders is the part of VerifyRequest that needs no body, so that nobody's body is read before it is known who
// sends it. Nothing is remembered: the request counts only once VerifyBody is content too.
func (v Verifier) VerifyHeaders(req *http.Request, lookup func(keyID string) (ed25519.PublicKey, error), now time.Time) (Headers, error) {
	sig, err := parseSignature(req.Header)
	if err != nil {
		return Headers{}, err
	}
	h := Headers{sig: sig, header: req.Header}
	window := v.Window
	if window <= 0 {
		window = DefaultWindow
	}
	if age := now.Sub(sig.created); age > window {
		return h, refuse(Stale, sig.keyID, "created %s ago; is the agent's clock right?", age.Round(time.Second))
	} else if age < -window {
		return h, refuse(Future, sig.keyID, "created %s ahead; is the agent's clock right?", -age.Round(time.Second))
	}
	return h, sig.check(req, lookup)
}

// VerifyBody checks that body is what was signed, and only then remembers the nonce.
func (h Headers) VerifyBody(ctx context.Context, body []byte, replay ReplayGuard) error {
	id := h.sig.keyID
	if err := checkDigest(h.header, body); err != nil {
		return refuse(BadDigest, id, "%s", err)
	}
	fresh, err := replay.Remember(ctx, id, h.sig.nonce, h.sig.created)
	if err != nil {
		return fmt.Errorf("remember nonce: %w", err)
	}
	if !fresh {
		return refuse(Replayed, id, "this request was seen before")
	}
	return nil
}

// signature is what the two header fields say.
type signature struct {
	input   httpsfv.InnerList
	bytes   []byte
	keyID   string
	nonce   string
	created time.Time
}

func (s signature) check(req *http.Request, lookup func(string) (ed25519.PublicKey, error)) error {
	key, err := lookup(s.keyID)
	if errors.Is(err, ErrUnknownKey) {
		return refuse(UnknownKey, s.keyID, "key id is not known here")
	}
	if err != nil {
		return fmt.Errorf("look up key: %w", err)
	}
	base, err := signatureBase(req, s.input)
	if err != nil {
		return refuse(Malformed, s.keyID, "%s", err)
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, []byte(base), s.bytes) {
		return refuse(BadSignature, s.keyID, "it does not fit the key")
	}
	return nil
}

func parseSignature(h http.Header) (signature, error) {
	inputs, err := dictionary(h, "Signature-Input")
	if err != nil {
		return signature{}, err
	}
	signatures, err := dictionary(h, "Signature")
	if err != nil {
		return signature{}, err
	}
	names := inputs.Names()
	if len(names) != 1 || len(signatures.Names()) != 1 || signatures.Names()[0] != names[0] {
		return signature{}, refuse(Malformed, "", "want exactly one signature")
	}
	member, _ := inputs.Get(names[0])
	input, ok := member.(httpsfv.InnerList)
	if !ok {
		return signature{}, refuse(Malformed, "", "Signature-Input is not a list of components")
	}
	member, _ = signatures.Get(names[0])
	item, ok := member.(httpsfv.Item)
	if !ok {
		return signature{}, refuse(Malformed, "", "Signature is not a byte sequence")
	}
	raw, ok := item.Value.([]byte)
	if !ok || len(raw) != ed25519.SignatureSize {
		return signature{}, refuse(Malformed, "", "Signature is not an Ed25519 signature")
	}
	s := signature{input: input, bytes: raw}
	if err := s.readParams(); err != nil {
		return signature{}, err
	}
	return s, s.checkCovered()
}

// readParams takes exactly the parameters of the profile.
func (s *signature) readParams() error {
	var alg, tag string
	var created int64
	for _, name := range s.input.Params.Names() {
		value, _ := s.input.Params.Get(name)
		ok := false
		switch name {
		case "created":
			created, ok = value.(int64)
		case "nonce":
			s.nonce, ok = value.(string)
		case "keyid":
			s.keyID, ok = value.(string)
		case "alg":
			alg, ok = value.(string)
		case "tag":
			tag, ok = value.(string)
		}
		if !ok {
			return refuse(Uncovered, "", "parameter %q is not part of the profile or has the wrong type", name)
		}
	}
	switch {
	case created <= 0:
		return refuse(Uncovered, s.keyID, "parameter created is missing")
	case s.keyID == "" || len(s.keyID) > 128:
		return refuse(Uncovered, "", "parameter keyid is missing or too long")
	case len(s.nonce) < minNonce || len(s.nonce) > maxNonce:
		return refuse(Uncovered, s.keyID, "parameter nonce must have %d to %d characters", minNonce, maxNonce)
	case alg != algorithm:
		return refuse(Uncovered, s.keyID, "parameter alg must be %q", algorithm)
	case tag != Tag:
		return refuse(Uncovered, s.keyID, "parameter tag must be %q", Tag)
	}
	s.created = time.Unix(created, 0)
	return nil
}

func (s *signature) checkCovered() error {
	if len(s.input.Items) != len(covered) {
		return refuse(Uncovered, s.keyID, "want the components %s", strings.Join(covered[:], ", "))
	}
	for i, item := range s.input.Items {
		if name, ok := item.Value.(string); !ok || name != covered[i] || len(item.Params.Names()) != 0 {
			return refuse(Uncovered, s.keyID, "want the components %s", strings.Join(covered[:], ", "))
		}
	}
	return nil
}

func dictionary(h http.Header, name string) (*httpsfv.Dictionary, error) {
	values := h.Values(name)
	if len(values) == 0 {
		return nil, refuse(Unsigned, "", "header %s is missing", name)
	}
	if len(values) > 1 || len(values[0]) > maxHeader {
		return nil, refuse(Malformed, "", "header %s must be one line of at most %d bytes", name, maxHeader)
	}
	d, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return nil, refuse(Malformed, "", "header %s does not parse", name)
	}
	return d, nil
}

func checkDigest(h http.Header, body []byte) error {
	d, err := dictionary(h, "Content-Digest")
	if err != nil {
		return errors.New("header Content-Digest is missing or does not parse")
	}
	member, _ := d.Get("sha-256")
	item, ok := member.(httpsfv.Item)
	if !ok {
		return errors.New("header Content-Digest has no sha-256")
	}
	claimed, _ := item.Value.([]byte)
	actual := sha256.Sum256(body)
	if subtle.ConstantTimeCompare(claimed, actual[:]) != 1 {
		return errors.New("the body is not what was signed")
	}
	return nil
}
