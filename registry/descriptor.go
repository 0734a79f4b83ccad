package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/picketwatch/picket/registry/internal/strict"
)

// Sizes that a reader accepts at most.
const (
	MaxDescriptor = 1 << 20
	MaxArtifact   = 512 << 20
	MaxModels     = 1 << 30 // of all models and data packs that one process opens
	MaxReadme     = 1 << 20
	MaxChangelog  = 1 << 20
	MaxPage       = 256 << 10
)

// DescriptorSchema is the version of the descriptor format.
const DescriptorSchema = 1

// What the abi field of an artifact says today.
const (
	ABIProcess = "picket-process/1" // go-plugin handshake, gRPC control
	ABIWASM    = "picket-guest/1"   // wasip1 reactor with picket_alloc, picket_free, picket_call
	ABIFile    = "picket-file/1"    // a file that plugins read
	ABIAgent   = "picket-agent/1"   // the agent's programs for one platform, packed as agentpack says
)

// Descriptor is release.json, the only thing about a release that TUF signs. Everything else is named by digest.
type Descriptor struct {
	Schema          int             `json:"schema"`
	Manifest        Manifest        `json:"manifest"`
	ConfigSchema    json.RawMessage `json:"config_schema,omitempty"` // JSON Schema of the configuration
	Rules           json.RawMessage `json:"rules,omitempty"`         // detectors: what they can find, as describe printed it
	Artifacts       []Artifact      `json:"artifacts"`
	ReadmeSHA256    string          `json:"readme_sha256,omitempty"`
	ChangelogSHA256 string          `json:"changelog_sha256,omitempty"`
	Screenshots     []Screenshot    `json:"screenshots,omitempty"` // in the order of the manifest
	// Page is the HTML that manifest.page names. It is signed with the rest, so a mirror cannot change it.
	Page string `json:"page,omitempty"`
}

// Artifact names the bytes for one runtime and platform.
type Artifact struct {
	Runtime string `json:"runtime"`
	OS      string `json:"os"`   // as GOOS; "wasip1" for guests
	Arch    string `json:"arch"` // as GOARCH; "wasm" for guests
	ABI     string `json:"abi"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
}

// Encode returns the one encoding of a descriptor. ParseDescriptor accepts no other, so that a descriptor's digest
// depends on what it says alone.
func (d *Descriptor) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	return encode(d)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ParseDescriptor reads release.json. The bytes must be exactly what Encode gives for the content.
func ParseDescriptor(data []byte) (*Descriptor, error) {
	var d Descriptor
	if err := strict.JSON(data, MaxDescriptor, &d); err != nil {
		return nil, fmt.Errorf("read release.json: %w", err)
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("read release.json: %w", err)
	}
	canonical, err := encode(&d)
	if err != nil {
		return nil, fmt.Errorf("read release.json: %w", err)
	}
	if !bytes.Equal(data, canonical) {
		return nil, errors.New("read release.json: not in canonical form (a key twice, other spelling or spacing)")
	}
	return &d, nil
}

// AnyPlatform stands for every os and every arch: an archive of scripts runs wherever its interpreter does.
const AnyPlatform = "any"

// Artifact returns what a release has for a runtime on a platform. Guests, archives of scripts and files are for all.
func (d *Descriptor) Artifact(runtime, goos, goarch string) (Artifact, bool) {
	for _, a := range d.Artifacts {
		anywhere := runtime == RuntimeWASM || a.OS == AnyPlatform && a.Arch == AnyPlatform
		if a.Runtime == runtime && (anywhere || a.OS == goos && a.Arch == goarch) {
			return a, true
		}
	}
	return Artifact{}, false
}

func (d *Descriptor) check() error {
	if err := d.Manifest.check(); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	var p problems
	p.add(d.Schema == DescriptorSchema, "schema: this build reads %d, not %d", DescriptorSchema, d.Schema)
	p.add(len(d.ConfigSchema) == 0 || startsWith(d.ConfigSchema, '{'), "config_schema: must be an object")
	p.add(len(d.Rules) == 0 || startsWith(d.Rules, '['), "rules: must be a list")
	p.add(d.ReadmeSHA256 == "" || ValidDigest(d.ReadmeSHA256), "readme_sha256: not a SHA-256")
	p.add(d.ChangelogSHA256 == "" || ValidDigest(d.ChangelogSHA256), "changelog_sha256: not a SHA-256")
	d.checkScreenshots(&p)
	p.add(!d.Manifest.IsFile() || d.Manifest.Kind == KindAgent || len(d.Artifacts) == 1, "artifacts: a %s has one", d.Manifest.Kind)
	p.add(len(d.Page) <= MaxPage, "page: %d bytes, at most %d are allowed", len(d.Page), MaxPage)
	p.add((d.Page == "") == (d.Manifest.Page == ""), "page: must be there exactly when the manifest names one")
	p.add(len(d.Artifacts) > 0 && len(d.Artifacts) <= 64, "artifacts: name between 1 and 64")
	for i, a := range d.Artifacts {
		p.err(fmt.Sprintf("artifacts[%d]", i), a.check(&d.Manifest))
		same := func(b Artifact) bool { return a.Runtime == b.Runtime && a.OS == b.OS && a.Arch == b.Arch }
		p.add(!slices.ContainsFunc(d.Artifacts[:i], same), "artifacts[%d]: %s for %s/%s appears twice", i, a.Runtime, a.OS, a.Arch)
	}
	return p.join()
}

func (d *Descriptor) checkScreenshots(p *problems) {
	p.add(len(d.Screenshots) == len(d.Manifest.Screenshots), "screenshots: %d for the %d that the manifest names", len(d.Screenshots), len(d.Manifest.Screenshots))
	for i, s := range d.Screenshots {
		where := fmt.Sprintf("screenshots[%d]", i)
		p.err(where, s.check())
		p.add(i < len(d.Manifest.Screenshots) && s.File == d.Manifest.Screenshots[i].File, "%s.file: not the one that the manifest names there", where)
	}
}

// Stored is a file of a release in the store.
type Stored struct {
	Name   string // for people
	SHA256 string
	Size   int64 // 0: any up to Max
	Max    int64
}

// Stored lists every file that a release has in the store.
func (d *Descriptor) Stored() []Stored {
	var files []Stored
	for _, a := range d.Artifacts {
		files = append(files, Stored{a.Runtime + " for " + a.OS + "/" + a.Arch, a.SHA256, a.Size, a.Size})
	}
	if d.ReadmeSHA256 != "" {
		files = append(files, Stored{"README", d.ReadmeSHA256, 0, MaxReadme})
	}
	if d.ChangelogSHA256 != "" {
		files = append(files, Stored{"CHANGELOG", d.ChangelogSHA256, 0, MaxChangelog})
	}
	for _, s := range d.Screenshots {
		files = append(files, Stored{s.File, s.SHA256, s.Size, s.Size})
	}
	return files
}

func (a Artifact) check(m *Manifest) error {
	var p problems
	p.add(slices.Contains(m.Runtimes, a.Runtime), "runtime: the manifest does not list %q", a.Runtime)
	p.add(platformWord(a.OS) && platformWord(a.Arch), "os, arch: not a platform")
	p.add((a.Runtime == RuntimeWASM) == (a.OS == "wasip1" && a.Arch == "wasm"), "os, arch: %s/%s does not fit runtime %s", a.OS, a.Arch, a.Runtime)
	if m.Kind == KindAgent {
		p.add(a.ABI == ABIAgent && a.OS != AnyPlatform && a.Arch != AnyPlatform, "abi, os, arch: the agent is %s for one platform", ABIAgent)
	} else {
		file := a.OS == AnyPlatform && a.Arch == AnyPlatform && a.ABI == ABIFile
		p.add((a.Runtime == RuntimeFile) == (a.ABI == ABIFile) && (a.Runtime != RuntimeFile || file) && a.ABI != ABIAgent,
			"abi, os, arch: a file is %s for %s/%s", ABIFile, AnyPlatform, AnyPlatform)
	}
	p.err("abi", checkText(a.ABI, 40, true))
	p.add(ValidDigest(a.SHA256), "sha256: not a SHA-256")
	p.add(a.Size > 0 && a.Size <= MaxArtifact, "size: must be between 1 and %d", MaxArtifact)
	return p.join()
}

func platformWord(s string) bool {
	if s == "" || len(s) > 20 {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func startsWith(raw json.RawMessage, c byte) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == c
}
