package catalogue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// shelf is the Shop of a server whose registry has no account of itself: it knows what was verified and nothing else,
// neither installs nor reviews nor cards.
type shelf struct {
	registry Registry
	name     string
}

// errNoVoice says that there is nobody to send a review to.
var errNoVoice = errors.New("its registry takes no reviews and no reports: it is a folder of signed files")

func (s shelf) hits(ctx context.Context) ([]Hit, error) {
	releases, err := s.registry.List(ctx)
	if err != nil {
		return nil, err
	}
	byID := map[string]*Hit{}
	var order []string
	for _, r := range releases { // by id and falling version
		h := byID[r.ID]
		if r.Descriptor == nil || r.Descriptor.Manifest.Kind == registry.KindAgent {
			continue
		}
		if h == nil {
			h = s.hit(r)
			byID[r.ID] = h
			order = append(order, r.ID)
			continue
		}
		if (h.Revoked != "" || h.Yanked != "" || prerelease(h.Version)) && r.Revoked == nil && r.Yanked == "" {
			if !prerelease(r.Version) || h.Revoked != "" || h.Yanked != "" {
				*h = *s.hit(r)
			}
		}
	}
	out := make([]Hit, 0, len(order))
	for _, id := range order {
		out = append(out, *byID[id])
	}
	return out, nil
}

func (s shelf) hit(r client.Release) *Hit {
	m := r.Descriptor.Manifest
	h := &Hit{ID: r.ID, Kind: string(m.Kind), Title: m.Title, Summary: m.Summary, License: m.License, Homepage: m.Homepage, Tags: notNil(m.Tags),
		Techniques: notNil(m.Techniques), Metrics: notNil(m.Metrics), Runtimes: notNil(m.Runtimes), Via: r.Via, Version: r.Version,
		Yanked: r.Yanked, Registry: s.name}
	if r.Revoked != nil {
		h.Revoked = r.Revoked.Reason
	}
	return h
}

func prerelease(version string) bool {
	v, err := semver.StrictNewVersion(version)
	return err != nil || v.Prerelease() != ""
}

// Search implements Shop: every word must be somewhere in what a release says of itself.
func (s shelf) Search(ctx context.Context, q MarketQuery) (MarketPage, error) {
	all, err := s.hits(ctx)
	if err != nil {
		return MarketPage{}, err
	}
	page := MarketPage{Items: []Hit{}, Facets: map[string]map[string]int{"kind": {}, "tag": {}, "tier": {}}}
	words := strings.Fields(strings.ToLower(q.Text))
	for _, h := range all {
		if !fitsQuery(h, q, words) {
			continue
		}
		page.Items = append(page.Items, h)
		page.Facets["kind"][h.Kind]++
		for _, t := range h.Tags {
			page.Facets["tag"][t]++
		}
	}
	if q.Sort == "name" {
		slices.SortFunc(page.Items, func(a, b Hit) int {
			return cmp.Or(strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)), strings.Compare(a.ID, b.ID))
		})
	}
	page.Total = len(page.Items)
	from := min(q.Offset, page.Total)
	page.Items = page.Items[from:min(page.Total, from+cmp.Or(q.Limit, 30))]
	return page, nil
}

func fitsQuery(h Hit, q MarketQuery, words []string) bool {
	namespace, _, _ := strings.Cut(h.ID, "/")
	text := strings.ToLower(strings.Join(slices.Concat([]string{h.ID, h.Title, h.Summary}, h.Tags, h.Techniques, h.Metrics), " "))
	has := func(list []string, want string) bool {
		return want == "" || slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, want) })
	}
	return (q.Kind == "" || q.Kind == h.Kind) && (q.Publisher == "" || q.Publisher == namespace) && (q.Tier == "" || q.Tier == h.Tier) &&
		has(h.Techniques, q.Technique) && has(h.Tags, q.Tag) && has(h.Tags, q.Protocol) &&
		!slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// Front implements Shop. Nobody counted and no dates are known, so nothing is popular or new.
func (s shelf) Front(ctx context.Context) (MarketFront, error) {
	all, err := s.hits(ctx)
	f := MarketFront{Kinds: []KindCount{}, Popular: []Hit{}, New: []Hit{}, Updated: []Hit{}, Recommended: []Recommendation{}}
	count := map[string]int{}
	for _, h := range all {
		count[h.Kind]++
	}
	for kind, n := range count {
		f.Kinds = append(f.Kinds, KindCount{kind, n})
	}
	slices.SortFunc(f.Kinds, func(a, b KindCount) int { return strings.Compare(a.Kind, b.Kind) })
	return f, err
}

// Offer implements Shop.
func (s shelf) Offer(ctx context.Context, id, version string) (Offer, error) {
	releases, err := s.registry.List(ctx)
	if err != nil {
		return Offer{}, err
	}
	all, err := s.hits(ctx)
	if err != nil {
		return Offer{}, err
	}
	var o Offer
	for _, h := range all {
		if h.ID == id {
			o.Hit = h
		}
	}
	for _, r := range releases {
		if r.ID != id || r.Descriptor == nil {
			continue
		}
		at := OfferedRelease{Version: r.Version, Channel: "stable", Descriptor: r.Digest, Yanked: r.Yanked}
		if prerelease(r.Version) {
			at.Channel = "beta"
		}
		if r.Revoked != nil {
			at.Revoked = r.Revoked.Reason
		}
		if r.Version == version {
			o.Hit = *s.hit(r)
		}
		o.Releases = append(o.Releases, at)
	}
	if len(o.Releases) == 0 || version != "" && o.Version != version {
		return Offer{}, store.ErrNotFound
	}
	return o, nil
}

// Publisher implements Shop.
func (s shelf) Publisher(ctx context.Context, namespace string) (Publisher, error) {
	all, err := s.hits(ctx)
	if err != nil {
		return Publisher{}, err
	}
	p := Publisher{Namespace: namespace, Keys: []PublisherKey{}, Plugins: []Hit{}}
	for _, h := range all {
		if strings.HasPrefix(h.ID, namespace+"/") {
			p.Plugins, p.Via = append(p.Plugins, h), h.Via
		}
	}
	if len(p.Plugins) == 0 {
		return Publisher{}, store.ErrNotFound
	}
	return p, nil
}

// Reviews implements Shop.
func (s shelf) Reviews(context.Context, string) ([]Review, error) { return nil, nil }

// Review implements Shop.
func (s shelf) Review(context.Context, string, string, int, string) error {
	return invalid("path", "%s", errNoVoice)
}

// Report implements Shop.
func (s shelf) Report(context.Context, string, string, string, string, string) error {
	return invalid("path", "%s", errNoVoice)
}
