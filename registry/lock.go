package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// LockSchema is the version of plugins.lock.
const LockSchema = 1

// MaxLock bounds plugins.lock.
const MaxLock = 16 << 20

// Lock is plugins.lock: exactly what a node runs. A locked digest starts without asking anybody.
type Lock struct {
	Schema  int      `json:"schema"`
	Plugins []Locked `json:"plugins"` // ordered by id
}

// Locked pins one plugin. Artifacts lists those of all platforms, so that the file can be shared between machines.
type Locked struct {
	ID         string   `json:"id"`
	Version    string   `json:"version"`
	Descriptor string   `json:"descriptor_sha256"`
	Role       string   `json:"role"` // who vouched for it when it was installed
	KeyIDs     []string `json:"key_ids"`
	Via        string   `json:"via,omitempty"` // ViaOfficial, ViaClaimed or ViaRecent: who vouched for the namespace
	// Registry is the name of the one that it came from, on nodes with several; "" is the first one.
	Registry  string     `json:"registry,omitempty"`
	Artifacts []Artifact `json:"artifacts"`
	Grants    string     `json:"grants_sha256,omitempty"` // see GrantsDigest
	// Kept are other releases of the plugin that may be started here without asking anybody: the one before, for a
	// rollback, and one that is being tried. At most MaxKept; Grants of the plugin hold for them too.
	Kept []Locked `json:"kept,omitempty"`
}

// Who vouches for a namespace: the project itself, the maintainers' offline keys, or the registry's online key alone.
const (
	ViaOfficial = "official"
	ViaClaimed  = "claimed"
	ViaRecent   = "recent"
)

// MaxKept is how many releases of a plugin a node keeps beside the one that it runs.
const MaxKept = 3

// Release returns the entry of one version: p itself or one that is kept beside it.
func (p Locked) Release(version string) (Locked, bool) {
	if p.Version == version {
		return p, true
	}
	for _, k := range p.Kept {
		if k.Version == version {
			k.ID, k.Grants = p.ID, p.Grants
			return k, true
		}
	}
	return Locked{}, false
}

// Keep returns p with another release kept beside it, the last one first.
func (p Locked) Keep(other Locked) Locked {
	other.Kept, other.Grants = nil, ""
	kept := []Locked{other}
	for _, k := range p.Kept {
		if k.Version != other.Version && k.Version != p.Version {
			kept = append(kept, k)
		}
	}
	p.Kept = kept[:min(len(kept), MaxKept)]
	return p
}

// ParseLock reads plugins.lock.
func ParseLock(data []byte) (*Lock, error) {
	var l Lock
	if err := strict.JSON(data, MaxLock, &l); err != nil {
		return nil, fmt.Errorf("read plugins.lock: %w", err)
	}
	if l.Schema != LockSchema {
		return nil, fmt.Errorf("read plugins.lock: this build reads schema %d, not %d", LockSchema, l.Schema)
	}
	for i, p := range l.Plugins {
		if !sdk.ValidID(p.ID) || checkVersion(p.Version) != nil || !ValidDigest(p.Descriptor) {
			return nil, fmt.Errorf("read plugins.lock: entry %d (%q) has no valid id, version and descriptor digest", i, p.ID)
		}
		if err := checkKept(p); err != nil {
			return nil, fmt.Errorf("read plugins.lock: entry %d (%q): %w", i, p.ID, err)
		}
		if i > 0 && l.Plugins[i-1].ID >= p.ID {
			return nil, fmt.Errorf("read plugins.lock: entries are not ordered, or %q appears twice", p.ID)
		}
	}
	return &l, nil
}

func checkKept(p Locked) error {
	if len(p.Kept) > MaxKept {
		return fmt.Errorf("%d releases are kept, at most %d are", len(p.Kept), MaxKept)
	}
	for _, k := range p.Kept {
		if k.ID != p.ID || checkVersion(k.Version) != nil || !ValidDigest(k.Descriptor) || len(k.Kept) > 0 {
			return fmt.Errorf("the kept release %q has no valid id, version and descriptor digest", k.Version)
		}
	}
	return nil
}

// Encode returns the file's bytes, indented so that a person can review a change.
func (l *Lock) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Find returns the entry of a plugin.
func (l *Lock) Find(id string) (Locked, bool) {
	i, ok := l.search(id)
	if !ok {
		return Locked{}, false
	}
	return l.Plugins[i], true
}

// Put adds or replaces an entry.
func (l *Lock) Put(p Locked) {
	i, ok := l.search(p.ID)
	if ok {
		l.Plugins[i] = p
		return
	}
	l.Plugins = slices.Insert(l.Plugins, i, p)
}

// Remove takes an entry out, with all that is kept of the plugin, and reports whether there was one.
func (l *Lock) Remove(id string) bool {
	i, ok := l.search(id)
	if ok {
		l.Plugins = slices.Delete(l.Plugins, i, i+1)
	}
	return ok
}

func (l *Lock) search(id string) (int, bool) {
	return slices.BinarySearchFunc(l.Plugins, id, func(p Locked, id string) int { return strings.Compare(p.ID, id) })
}

// GrantsDigest identifies a set of grants whatever their order and whatever their reasons say.
func GrantsDigest(grants []sdk.Permission) string {
	lines := make([]string, 0, len(grants))
	for _, g := range grants {
		args, _ := json.Marshal(g.Args) // map keys are sorted; strings always encode
		lines = append(lines, g.Cap+" "+string(args))
	}
	slices.Sort(lines)
	return Digest([]byte(strings.Join(lines, "\n")))
}
