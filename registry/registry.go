// Package registry holds the formats of the signed plugin registry and nothing that touches a network or a key:
// plugin.yaml goes in and a Manifest comes out, release.json goes in and a Descriptor comes out, plugins.lock goes in
// and a Lock comes out. Whatever is not understood completely is refused.
//
// A registry is a folder that any static web server can serve:
//
//	metadata/            TUF metadata with consistent snapshots: 1.root.json, 7.snapshot.json, timestamp.json, …
//	targets/             release descriptors, plugins/<namespace>/<name>/<version>/<sha256>.release.json
//	store/sha256/<hex>   artifacts and READMEs, named by the digest of their bytes
//
// TUF vouches for the descriptors; a descriptor vouches for the artifacts by their digests. Package client verifies and
// installs, package publish signs, package policy reads what a node allows at most, and package registrytest is a
// registry that lies.
package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// RevocationsPath is the target that lists what must no longer run.
const RevocationsPath = "security/revocations.json"

// TrustField is the field in the signed part of root.json that names the trust a root deserves. A root without it is
// an ordinary one; TrustDevelopment marks a root whose keys lie about on a developer's disk.
const (
	TrustField       = "x-picket-trust"
	TrustDevelopment = "development"
)

// TargetPath returns the path of the release descriptor of id at version.
func TargetPath(id, version string) string {
	return "plugins/" + id + "/" + version + "/release.json"
}

// ParseTargetPath takes a release descriptor's path apart.
func ParseTargetPath(target string) (id, version string, err error) {
	parts := strings.Split(target, "/")
	if len(parts) != 5 || parts[0] != "plugins" || parts[4] != "release.json" {
		return "", "", fmt.Errorf("%q is not plugins/<namespace>/<name>/<version>/release.json", target)
	}
	id, version = parts[1]+"/"+parts[2], parts[3]
	if !sdk.ValidID(id) {
		return "", "", fmt.Errorf("%q does not name a plugin id", target)
	}
	if err := checkVersion(version); err != nil {
		return "", "", fmt.Errorf("%q: %w", target, err)
	}
	return id, version, nil
}

// HashedPath puts a digest into a target's file name, as consistent snapshots want it.
func HashedPath(target, digest string) string {
	dir, base := path.Split(target)
	return dir + digest + "." + base
}

// StorePath returns where the bytes with this digest lie, relative to the registry.
func StorePath(digest string) string { return "store/sha256/" + digest }

// Digest returns the lower-case hexadecimal SHA-256 of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ValidDigest reports whether s is a lower-case hexadecimal SHA-256.
func ValidDigest(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
