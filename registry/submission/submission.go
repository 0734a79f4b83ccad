// Package submission is what an author hands in: a release goes in as an archive, and comes out as an upload that a
// registry can accept. The archive is a plain tar. Its first entry says what follows, byte for byte, and is signed by a
// key of the namespace; nothing after it is read beyond what it declares, so a stranger costs a registry one small read.
package submission

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/registry/internal/tufrules"
	"github.com/picketwatch/picket/sdk"
)

// StatementPublish is the kind of statement that an intent is.
const StatementPublish = "publish"

// Schema is the version of the archive's format.
const Schema = 1

// The names of the entries.
const (
	intentName      = "intent.json"
	metadataName    = "metadata.json"
	releaseName     = "release.json"
	readmeName      = "README.md"
	changelogName   = "CHANGELOG.md"
	planName        = "kit.json"
	screenshotsName = "screenshots/"
	blobsName       = "blobs/"
)

const (
	maxIntent  = 64 << 10
	maxEntries = 128
	maxPlan    = 64 << 10
	// MaxArchive bounds all entries together.
	MaxArchive = 2 << 30
)

// How old an intent may be, since archives travel by post too, and how far ahead its author's clock.
const (
	maxAge   = 30 * 24 * time.Hour
	maxAhead = 24 * time.Hour
)

// Intent is an author's word that exactly these entries shall be published.
type Intent struct {
	Schema     int       `json:"schema"`
	RootSHA256 string    `json:"root_sha256"` // the registry that it is for
	Namespace  string    `json:"namespace"`
	Time       time.Time `json:"time"`
	Entries    []Entry   `json:"entries"` // in the order of the archive
}

// Entry is one file of the archive.
type Entry struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// SignedIntent is intent.json.
type SignedIntent struct {
	Intent     Intent               `json:"intent"`
	Signatures []registry.Signature `json:"signatures"`
}

func (i *Intent) payload() ([]byte, error) { return json.Marshal(i) }

// Verify wants a key of the namespace to have signed the intent, for this registry, not long ago.
func (s *SignedIntent) Verify(rootSHA256 string, keys []ed25519.PublicKey, now time.Time) error {
	payload, err := s.Intent.payload()
	if err != nil {
		return err
	}
	if err := registry.VerifyStatement(StatementPublish, payload, s.Signatures, keys, 1); err != nil {
		return fmt.Errorf("the namespace %s: %w: sign with the key that it was claimed with", s.Intent.Namespace, err)
	}
	if s.Intent.RootSHA256 != rootSHA256 {
		return fmt.Errorf("it is for another registry (root %.8s, here %.8s)", s.Intent.RootSHA256, rootSHA256)
	}
	if age := now.Sub(s.Intent.Time); age > maxAge || age < -maxAhead {
		return fmt.Errorf("it was signed on %s: older than %d days or ahead of the clock; pack it again", s.Intent.Time.Format(time.DateOnly), int(maxAge.Hours()/24))
	}
	return nil
}

// parseIntent reads intent.json. Who signed it is for Verify.
func parseIntent(data []byte) (*SignedIntent, error) {
	var s SignedIntent
	if err := strict.JSON(data, maxIntent, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", intentName, err)
	}
	if err := s.Intent.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", intentName, err)
	}
	return &s, nil
}

func (i *Intent) check() error {
	switch {
	case i.Schema != Schema:
		return fmt.Errorf("this build reads schema %d, not %d", Schema, i.Schema)
	case !registry.ValidDigest(i.RootSHA256):
		return errors.New("root_sha256 is not a SHA-256")
	case !sdk.ValidID(i.Namespace + "/x"):
		return errors.New("namespace is none")
	case len(i.Entries) > maxEntries:
		return fmt.Errorf("%d entries, at most %d are allowed", len(i.Entries), maxEntries)
	case len(i.Entries) < 2 || i.Entries[0].Name != metadataName || i.Entries[1].Name != releaseName:
		return fmt.Errorf("the first entries must be %s and %s", metadataName, releaseName)
	}
	total, seen := int64(0), map[string]bool{}
	for _, e := range i.Entries {
		if err := e.check(); err != nil {
			return err
		}
		if folded := strings.ToLower(e.Name); seen[folded] {
			return fmt.Errorf("entry %s appears twice", e.Name)
		} else {
			seen[folded] = true
		}
		total += e.Size // 128 times 512 MiB do not overflow
	}
	if total > MaxArchive {
		return fmt.Errorf("%d bytes, at most %d are allowed", total, int64(MaxArchive))
	}
	return nil
}

// check allows exactly the names that an archive can have, so that none leads out of a folder.
func (e Entry) check() error {
	maxSize, known := e.limit()
	switch {
	case !known:
		return fmt.Errorf("entry %q: not a name that an archive has", e.Name)
	case !registry.ValidDigest(e.SHA256):
		return fmt.Errorf("entry %s: its sha256 is none", e.Name)
	case e.Size < 0 || e.Size > maxSize:
		return fmt.Errorf("entry %s: %d bytes, at most %d are allowed", e.Name, e.Size, maxSize)
	}
	if digest, blob := strings.CutPrefix(e.Name, blobsName); blob && digest != e.SHA256 {
		return fmt.Errorf("entry %s: its name is not its sha256", e.Name)
	}
	return nil
}

// limit returns how large an entry may be.
func (e Entry) limit() (maxSize int64, known bool) {
	switch e.Name {
	case metadataName:
		return tufrules.MaxSize(tufrules.RoleNamespacePrefix), true
	case releaseName:
		return registry.MaxDescriptor, true
	case readmeName:
		return registry.MaxReadme, true
	case changelogName:
		return registry.MaxChangelog, true
	case planName:
		return maxPlan, true
	}
	if digest, ok := strings.CutPrefix(e.Name, blobsName); ok {
		return registry.MaxArtifact, registry.ValidDigest(digest)
	}
	if name, ok := strings.CutPrefix(e.Name, screenshotsName); ok {
		return registry.MaxScreenshot, name != "" && name == path.Base(name) && name[0] != '.' && len(name) <= 64
	}
	return 0, false
}
