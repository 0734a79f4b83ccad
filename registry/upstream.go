package registry

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"

	"github.com/picketwatch/picket/registry/internal/strict"
)

// EvidenceDir is where a site's registry keeps the signed metadata of the registries that its releases are from: a folder
// for each, named by the digest of its root. Whoever trusts that root can check who signed a release first, whatever the
// site says.
const EvidenceDir = "evidence"

// EvidencePath names a file of evidence in a registry.
func EvidencePath(root, name string) string { return EvidenceDir + "/" + root + "/" + name }

// UpstreamPath is where a site's registry says how old its knowledge is of the registry that it takes releases from.
const UpstreamPath = "upstream.json"

// MaxUpstream bounds upstream.json.
const MaxUpstream = 16 << 10

// StatementUpstream is the kind of statement that upstream.json is.
const StatementUpstream = "upstream"

// Upstream is what it says, signed by a key of the site registry's snapshot role.
type Upstream struct {
	RootSHA256 string    `json:"root_sha256"` // of the site's registry
	Source     string    `json:"source"`      // the root of the registry that the releases are from
	Known      time.Time `json:"known"`       // until when the signatures of that registry held which came with the last bundle
}

type signedUpstream struct {
	Upstream   json.RawMessage `json:"upstream"`
	Signatures []Signature     `json:"signatures"`
}

// SignUpstream returns the bytes of upstream.json.
func SignUpstream(u Upstream, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := json.Marshal(u)
	if err != nil {
		return nil, err
	}
	s := signedUpstream{Upstream: payload}
	for _, key := range keys {
		s.Signatures = append(s.Signatures, SignStatement(StatementUpstream, payload, key))
	}
	return json.Marshal(s)
}

// OpenUpstream reads upstream.json and wants one of the keys to have signed it.
func OpenUpstream(data []byte, keys []ed25519.PublicKey) (*Upstream, error) {
	var s signedUpstream
	if err := strict.JSON(data, MaxUpstream, &s); err != nil {
		return nil, fmt.Errorf("read %s: %w", UpstreamPath, err)
	}
	if err := VerifyStatement(StatementUpstream, s.Upstream, s.Signatures, keys, 1); err != nil {
		return nil, fmt.Errorf("read %s: %w", UpstreamPath, err)
	}
	var u Upstream
	if err := strict.JSON(s.Upstream, MaxUpstream, &u); err != nil {
		return nil, fmt.Errorf("read %s: %w", UpstreamPath, err)
	}
	return &u, nil
}
