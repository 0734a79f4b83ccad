// Package token reads and writes the enrolment token: "pkt_" and base64url of a small JSON object that names the
// server, a one-time secret and the hash of the root of trust that the agent pins. Both sides use it; it links nothing.
package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	prefix  = "pkt_"
	maxSize = 4096
)

// Enrolment is what a token says.
type Enrolment struct {
	Server     string `json:"server"`      // base URL
	Secret     string `json:"secret"`      // one-time
	RootSHA256 string `json:"root_sha256"` // of root.json, hex; empty: the agent must be given the root
}

// String returns the token's text. It holds a secret: do not log it.
func (e Enrolment) String() string {
	raw, err := json.Marshal(e)
	if err != nil {
		panic("token: three strings did not marshal: " + err.Error())
	}
	return prefix + base64.RawURLEncoding.EncodeToString(raw)
}

// Parse reads a token's text. Its errors never repeat the token.
func Parse(text string) (Enrolment, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok {
		return Enrolment{}, fmt.Errorf("enrolment token does not begin with %q", prefix)
	}
	if len(body) > maxSize {
		return Enrolment{}, errors.New("enrolment token is too long")
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return Enrolment{}, errors.New("enrolment token is damaged; was it copied in full?")
	}
	var e Enrolment
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return Enrolment{}, errors.New("enrolment token is damaged; was it copied in full?")
	}
	return e, e.check()
}

func (e Enrolment) check() error {
	u, err := url.Parse(e.Server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("enrolment token names no server")
	}
	if e.Secret == "" {
		return errors.New("enrolment token holds no secret")
	}
	if e.RootSHA256 != "" {
		if sum, err := hex.DecodeString(e.RootSHA256); err != nil || len(sum) != 32 {
			return errors.New("enrolment token holds no SHA-256 of a root")
		}
	}
	return nil
}
