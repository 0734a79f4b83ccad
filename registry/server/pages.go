package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
)

// ErrNotFound says that the registry has no such plugin, release or namespace.
var ErrNotFound = errors.New("not in this registry")

// Front is the first page of a registry.
type Front struct {
	Kinds   []KindCount `json:"kinds"`
	Popular []Hit       `json:"popular"`
	New     []Hit       `json:"new"`
	Updated []Hit       `json:"updated"`
}

// KindCount is how many plugins of a kind there are.
type KindCount struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// onFront is how many plugins each shelf of the front page shows.
const onFront = 12

// Front returns the first page.
func (s *Server) Front(ctx context.Context) (Front, error) {
	if err := ctx.Err(); err != nil {
		return Front{}, err
	}
	return s.current().Front(s.counts), nil
}

// Front returns the first page. counts may be nil.
func (c *Catalogue) Front(counts Counts) Front {
	kinds := map[string]int{}
	var all []found
	for i := range c.index.Plugins {
		p := &c.index.Plugins[i]
		kinds[p.Kind]++
		if !p.Newest().Withdrawn() {
			all = append(all, found{plugin: p, first: c.first[i]})
		}
	}
	f := Front{Kinds: []KindCount{}, Popular: []Hit{}, New: []Hit{}, Updated: []Hit{}}
	for kind, n := range kinds {
		f.Kinds = append(f.Kinds, KindCount{kind, n})
	}
	slices.SortFunc(f.Kinds, func(a, b KindCount) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Kind, b.Kind)) })
	order(all, SortInstalls, counts)
	f.Popular = c.hits(all, counts)
	order(all, SortNew, counts)
	f.New = c.hits(all, counts)
	all = slices.DeleteFunc(all, func(f found) bool { return !f.plugin.Newest().Published.After(f.first) })
	slices.SortStableFunc(all, func(a, b found) int { return b.plugin.Newest().Published.Compare(a.plugin.Newest().Published) })
	f.Updated = c.hits(all, counts)
	return f
}

func (c *Catalogue) hits(all []found, counts Counts) []Hit {
	out := make([]Hit, 0, onFront)
	for _, f := range all[:min(len(all), onFront)] {
		out = append(out, c.Hit(f.plugin, counts))
	}
	return out
}

// Plugin is all that the registry says about one plugin, and about one of its releases.
type Plugin struct {
	Hit
	Shown       string                  `json:"shown"` // the version that the rest is about
	Releases    []registry.IndexRelease `json:"releases"`
	Readme      string                  `json:"readme,omitempty"`    // Markdown, written by the author
	Changelog   string                  `json:"changelog,omitempty"` // likewise
	Manifest    registry.Manifest       `json:"manifest"`
	Requires    []registry.Requirement  `json:"requires"`
	Screenshots []registry.Screenshot   `json:"screenshots"`
	Card        *registry.Card          `json:"card,omitempty"`
}

// Plugin returns the page of a plugin. version may be empty.
func (s *Server) Plugin(ctx context.Context, id, version string) (Plugin, error) {
	p, r, err := s.release(ctx, id, version)
	if err != nil {
		return Plugin{}, err
	}
	d, err := descriptor(s.root, id, r)
	if err != nil && s.cfg.Upstream != nil {
		path := registry.HashedPath(registry.TargetPath(id, r.Version), r.Descriptor)
		if err = s.cfg.Upstream.Fetch(ctx, "targets/"+path); err == nil {
			d, err = descriptor(s.root, id, r)
		}
	}
	if err != nil {
		return Plugin{}, fmt.Errorf("the descriptor of %s %s is damaged: %w", id, r.Version, err)
	}
	out := Plugin{
		Hit: s.current().Hit(p, s.counts), Shown: r.Version, Releases: p.Releases, Manifest: d.Manifest,
		Requires: list(d.Manifest.Requires), Screenshots: list(d.Screenshots),
		Readme:    s.text(ctx, d.ReadmeSHA256, registry.MaxReadme),
		Changelog: s.text(ctx, d.ChangelogSHA256, registry.MaxChangelog),
	}
	if r.Card != "" {
		s.ensure(ctx, registry.StorePath(r.Card))
	}
	if out.Card, err = cardOf(s.root, r); err != nil {
		s.cfg.Log.Warn("a card cannot be read", "plugin", id, "version", r.Version, "error", err)
	}
	return out, nil
}

// release finds a release in the index.
func (s *Server) release(ctx context.Context, id, version string) (*registry.IndexPlugin, registry.IndexRelease, error) {
	p, ok := s.current().index.Find(id)
	if !ok || ctx.Err() != nil {
		return nil, registry.IndexRelease{}, cmp.Or(ctx.Err(), fmt.Errorf("%.80s: %w", id, ErrNotFound))
	}
	if version == "" {
		return p, p.Newest(), nil
	}
	r, ok := p.Release(version)
	if !ok {
		return nil, r, fmt.Errorf("%s %.64s: %w", id, version, ErrNotFound)
	}
	return p, r, nil
}

// text reads a file of a release from the store, "" when it has none or it is damaged.
func (s *Server) text(ctx context.Context, digest string, maxBytes int64) string {
	if digest == "" {
		return ""
	}
	s.ensure(ctx, registry.StorePath(digest))
	data, err := readDigest(s.root, registry.StorePath(digest), digest, maxBytes)
	if err != nil {
		s.cfg.Log.Warn("a file of a release cannot be read", "digest", digest, "error", err)
	}
	return string(data)
}

// Publisher is who offers plugins under a namespace.
type Publisher struct {
	Namespace string         `json:"namespace"`
	Via       string         `json:"via"`
	Contact   string         `json:"contact,omitempty"`
	Keys      []PublisherKey `json:"keys"`
	Plugins   []Hit          `json:"plugins"`
}

// PublisherKey is a key that signs a namespace's releases now.
type PublisherKey struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"` // as claimed; where the claim is not at hand, the first release
}

// Publisher returns the page of a namespace.
func (s *Server) Publisher(ctx context.Context, ns string) (Publisher, error) {
	sh := s.current()
	out := Publisher{Namespace: ns, Keys: []PublisherKey{}, Plugins: []Hit{}}
	var since time.Time
	var keys []string
	for i := range sh.index.Plugins {
		p := &sh.index.Plugins[i]
		if !strings.HasPrefix(p.ID, ns+"/") {
			continue
		}
		out.Via, out.Contact, keys = p.Via, p.Contact, p.Releases[0].KeyIDs
		if since.IsZero() || sh.first[i].Before(since) {
			since = sh.first[i]
		}
		out.Plugins = append(out.Plugins, sh.Hit(p, s.counts))
	}
	if len(out.Plugins) == 0 || ctx.Err() != nil {
		return Publisher{}, cmp.Or(ctx.Err(), fmt.Errorf("namespace %.40s: %w", ns, ErrNotFound))
	}
	if claim, err := claimOf(s.root, ns); err == nil {
		since = claim.Statement.Time
	}
	for _, id := range keys {
		out.Keys = append(out.Keys, PublisherKey{id, since})
	}
	return out, nil
}
