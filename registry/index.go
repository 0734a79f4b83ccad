package registry

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// IndexPath is where the index lies in a registry's folder.
const IndexPath = "catalogue.json"

// MaxIndex bounds the index: some 50,000 releases are a third of it.
const MaxIndex = 64 << 20

// IndexSchema is the version of the index's format.
const IndexSchema = 1

// StatementIndex is the kind of statement that an index is.
const StatementIndex = "index"

// The channels of a release.
const (
	ChannelStable = "stable"
	ChannelBeta   = "beta" // a prerelease
)

// Index is catalogue.json: what the registry offers, in one file, so that nobody has to walk over thousands of
// namespaces to list and search. The registry's online key signs it, and no more than helping people to choose is asked
// of it: what may run is decided by TUF alone.
type Index struct {
	Schema     int           `json:"schema"`
	RootSHA256 string        `json:"root_sha256"` // the registry that it describes
	Snapshot   int64         `json:"snapshot"`    // the version of the snapshot that it describes
	Time       time.Time     `json:"time"`
	Plugins    []IndexPlugin `json:"plugins"` // ordered by id
}

// IndexPlugin is one plugin as the manifest of its newest release describes it.
type IndexPlugin struct {
	ID         string         `json:"id"`
	Kind       string         `json:"kind"`
	Title      string         `json:"title"`
	Summary    string         `json:"summary"`
	License    string         `json:"license"`
	Homepage   string         `json:"homepage,omitempty"`
	Tags       []string       `json:"tags,omitempty"`
	Techniques []string       `json:"techniques,omitempty"`
	Metrics    []string       `json:"metrics,omitempty"`
	Runtimes   []string       `json:"runtimes,omitempty"`
	Via        string         `json:"via"`               // ViaOfficial, ViaClaimed or ViaRecent
	Contact    string         `json:"contact,omitempty"` // of the author, as claimed
	Releases   []IndexRelease `json:"releases"`          // newest first
}

// IndexRelease is one version of a plugin.
type IndexRelease struct {
	Version    string    `json:"version"`
	Descriptor string    `json:"descriptor"` // digest
	Length     int64     `json:"length"`     // of the descriptor
	Role       string    `json:"role"`       // who vouches for it
	KeyIDs     []string  `json:"key_ids"`
	Published  time.Time `json:"published"`
	Channel    string    `json:"channel"`
	Yanked     string    `json:"yanked,omitempty"`  // why
	Revoked    string    `json:"revoked,omitempty"` // why
	Tier       string    `json:"tier,omitempty"`    // as the card says
	Card       string    `json:"card,omitempty"`    // digest of the card in the store
}

// ChannelOf returns the channel of a version.
func ChannelOf(version string) string {
	if v, err := semver.StrictNewVersion(version); err == nil && v.Prerelease() == "" {
		return ChannelStable
	}
	return ChannelBeta
}

// Describe fills in what a manifest says about the plugin.
func (p *IndexPlugin) Describe(d *Descriptor) {
	m := d.Manifest
	p.Kind, p.Title, p.Summary, p.License, p.Homepage = string(m.Kind), m.Title, m.Summary, m.License, m.Homepage
	p.Tags, p.Techniques, p.Metrics, p.Runtimes = m.Tags, m.Techniques, m.Metrics, m.Runtimes
}

// Newest returns the release that a card shows and that somebody gets who names no version: the highest that is neither
// withdrawn nor a prerelease, else the highest that is not withdrawn, else the highest.
func (p *IndexPlugin) Newest() IndexRelease {
	if i := slices.IndexFunc(p.Releases, func(r IndexRelease) bool { return !r.Withdrawn() && r.Channel == ChannelStable }); i >= 0 {
		return p.Releases[i]
	}
	if i := slices.IndexFunc(p.Releases, func(r IndexRelease) bool { return !r.Withdrawn() }); i >= 0 {
		return p.Releases[i]
	}
	return p.Releases[0]
}

// Release returns one version.
func (p *IndexPlugin) Release(version string) (IndexRelease, bool) {
	i := slices.IndexFunc(p.Releases, func(r IndexRelease) bool { return r.Version == version })
	if i < 0 {
		return IndexRelease{}, false
	}
	return p.Releases[i], true
}

// Withdrawn reports whether nobody new should get the release.
func (r IndexRelease) Withdrawn() bool { return r.Yanked != "" || r.Revoked != "" }

// Find returns the entry of a plugin.
func (x *Index) Find(id string) (*IndexPlugin, bool) {
	i, ok := slices.BinarySearchFunc(x.Plugins, id, func(p IndexPlugin, id string) int { return strings.Compare(p.ID, id) })
	if !ok {
		return nil, false
	}
	return &x.Plugins[i], true
}

// The file is the signed bytes in an envelope that is always spelled the same, so that nobody has to parse what no key
// has signed.
const (
	indexOpening       = `{"index":`
	indexClosing       = `,"signatures":`
	maxIndexSignatures = 64 << 10 // bytes
)

// EncodeIndex returns the bytes of an index, each plugin on its own line, without signatures yet; see SealIndex.
func EncodeIndex(x *Index) ([]byte, error) {
	lines := make([][]byte, 0, len(x.Plugins))
	for i := range x.Plugins {
		line, err := EncodeIndexPlugin(&x.Plugins[i])
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return JoinIndex(x, lines)
}

// EncodeIndexPlugin returns the line of one plugin.
func EncodeIndexPlugin(p *IndexPlugin) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("index %s: %w", p.ID, err)
	}
	line, err := encode(p)
	return bytes.TrimSuffix(line, []byte("\n")), err
}

// JoinIndex puts the lines of plugins, ordered by id, under the head of x, whose own plugins do not count. Who changes
// one line among thousands keeps the others as they are.
func JoinIndex(x *Index, lines [][]byte) ([]byte, error) {
	head := *x
	head.Plugins = []IndexPlugin{}
	out, err := encode(&head)
	if err != nil {
		return nil, err
	}
	out = bytes.TrimSuffix(out, []byte("]}\n"))
	size := len(out) + len("\n]}")
	for _, line := range lines {
		size += len(line) + len("\n,")
	}
	out = slices.Grow(out, size-len(out))
	for i, line := range lines {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, '\n'), line...)
	}
	return append(out, "\n]}"...), nil
}

// SplitIndex returns the lines of plugins in what JoinIndex made.
func SplitIndex(index []byte) ([][]byte, error) {
	_, rest, ok := bytes.Cut(index, []byte("\n"))
	body, end := bytes.CutSuffix(rest, []byte("\n]}"))
	switch {
	case !ok:
		return nil, errors.New("read index: not one line for each plugin")
	case bytes.Equal(rest, []byte("]}")):
		return nil, nil
	case !end:
		return nil, errors.New("read index: it does not end")
	}
	lines := bytes.Split(body, []byte("\n"))
	for i := range lines[:len(lines)-1] {
		lines[i] = bytes.TrimSuffix(lines[i], []byte(","))
	}
	return lines, nil
}

// indexPayload is what is signed: the digest, since Ed25519 goes over a message of megabytes twice, with a slower hash.
func indexPayload(index []byte) []byte { return []byte(Digest(index)) }

// SealIndex signs the bytes of an index and returns the file.
func SealIndex(index []byte, keys ...ed25519.PrivateKey) ([]byte, error) {
	sigs := make([]Signature, 0, len(keys))
	payload := indexPayload(index)
	for _, key := range keys {
		sigs = append(sigs, SignStatement(StatementIndex, payload, key))
	}
	tail, err := encode(sigs)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(index)+len(tail)+64)
	out = append(append(out, indexOpening...), index...)
	out = append(append(out, indexClosing...), bytes.TrimSuffix(tail, []byte("\n"))...)
	return append(out, "}\n"...), nil
}

// OpenIndex returns the signed bytes in catalogue.json and wants a threshold of keys, those of the role snapshot, to
// have signed them.
func OpenIndex(data []byte, keys []ed25519.PublicKey, threshold int) ([]byte, error) {
	if len(data) > MaxIndex {
		return nil, fmt.Errorf("read %s: more than %d bytes", IndexPath, MaxIndex)
	}
	index, ok := bytes.CutPrefix(data, []byte(indexOpening))
	end := bytes.LastIndex(index, []byte(indexClosing))
	if !ok || end < 0 {
		return nil, fmt.Errorf("read %s: not an index with its signatures", IndexPath)
	}
	var sigs []Signature
	tail := bytes.TrimSuffix(index[end+len(indexClosing):], []byte("}\n"))
	if err := strict.JSON(tail, maxIndexSignatures, &sigs); err != nil {
		return nil, fmt.Errorf("read %s: signatures: %w", IndexPath, err)
	}
	if err := VerifyStatement(StatementIndex, indexPayload(index[:end]), sigs, keys, threshold); err != nil {
		return nil, fmt.Errorf("read %s: %w", IndexPath, err)
	}
	return index[:end], nil
}

// ParseIndex reads catalogue.json; see OpenIndex.
func ParseIndex(data []byte, keys []ed25519.PublicKey, threshold int) (*Index, error) {
	index, err := OpenIndex(data, keys, threshold)
	if err != nil {
		return nil, err
	}
	var x Index
	if err := strict.JSON(index, MaxIndex, &x); err != nil {
		return nil, fmt.Errorf("read %s: %w", IndexPath, err)
	}
	if err := x.check(); err != nil {
		return nil, fmt.Errorf("read %s: %w", IndexPath, err)
	}
	return &x, nil
}

// IndexLineID returns the id of the plugin that a line of SplitIndex is about.
func IndexLineID(line []byte) (string, error) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":"`))
	id, _, end := bytes.Cut(rest, []byte(`"`))
	if !ok || !end || !sdk.ValidID(string(id)) {
		return "", errors.New("read index: a line does not begin with the id of a plugin")
	}
	return string(id), nil
}

func (x *Index) check() error {
	if x.Schema != IndexSchema {
		return fmt.Errorf("this build reads schema %d, not %d", IndexSchema, x.Schema)
	}
	if !ValidDigest(x.RootSHA256) || x.Snapshot < 1 {
		return errors.New("it does not name the root and the snapshot that it describes")
	}
	for i := range x.Plugins {
		if i > 0 && x.Plugins[i-1].ID >= x.Plugins[i].ID {
			return fmt.Errorf("plugins are not ordered, or %q appears twice", x.Plugins[i].ID)
		}
		if err := x.Plugins[i].check(); err != nil {
			return fmt.Errorf("%.80q: %w", x.Plugins[i].ID, err)
		}
	}
	return nil
}

// maxIndexReleases bounds the releases of one plugin.
const maxIndexReleases = 10_000

// check keeps text off a page that could deceive who reads it: the online key that signs an index can be stolen.
func (p *IndexPlugin) check() error {
	var bad problems
	bad.add(sdk.ValidID(p.ID), "id: must be namespace/name")
	bad.err("kind", checkText(p.Kind, 20, true))
	bad.err("title", checkText(p.Title, 80, true))
	bad.err("summary", checkText(p.Summary, 200, true))
	bad.err("license", checkText(p.License, 100, true))
	bad.err("homepage", checkHomepage(p.Homepage))
	bad.err("contact", checkText(p.Contact, 300, false))
	bad.add(slices.Contains([]string{ViaOfficial, ViaClaimed, ViaRecent}, p.Via), "via: unknown %.20q", p.Via)
	for _, list := range [][]string{p.Tags, p.Techniques, p.Metrics, p.Runtimes} {
		bad.add(len(list) <= 256, "a list has more than 256 entries")
		for _, v := range list {
			bad.err("a list", checkText(v, 100, true))
		}
	}
	bad.add(len(p.Releases) > 0 && len(p.Releases) <= maxIndexReleases, "releases: between 1 and %d", maxIndexReleases)
	var last *semver.Version
	for _, r := range p.Releases {
		v, err := semver.StrictNewVersion(r.Version)
		if err == nil {
			err = r.check()
		}
		if err == nil && last != nil && !v.LessThan(last) {
			err = errors.New("releases are not ordered, the newest first")
		}
		if err != nil {
			bad.err(fmt.Sprintf("release %.64q", r.Version), err)
			break
		}
		last = v
	}
	return bad.join()
}

func (r *IndexRelease) check() error {
	var bad problems
	bad.err("version", checkVersion(r.Version))
	bad.add(ValidDigest(r.Descriptor), "descriptor: not a SHA-256")
	bad.add(r.Length > 0 && r.Length <= MaxDescriptor, "length: between 1 and %d", MaxDescriptor)
	bad.err("role", checkText(r.Role, 80, true))
	bad.add(len(r.KeyIDs) > 0 && len(r.KeyIDs) <= maxStatementSignatures, "key_ids: between 1 and %d", maxStatementSignatures)
	bad.add(!slices.ContainsFunc(r.KeyIDs, func(id string) bool { return !ValidDigest(id) }), "key_ids: not all are key ids")
	bad.add(r.Channel == ChannelOf(r.Version), "channel: %.20q is not that of the version", r.Channel)
	bad.err("yanked", checkText(r.Yanked, 300, false))
	bad.err("revoked", checkText(r.Revoked, 300, false))
	bad.err("tier", checkText(r.Tier, 20, false))
	bad.add(r.Card == "" || ValidDigest(r.Card), "card: not a SHA-256")
	return bad.join()
}
