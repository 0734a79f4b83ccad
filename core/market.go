package core

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/server"
)

// voice is what a registry says of itself: in this process, or over HTTP.
type voice interface {
	Search(ctx context.Context, q server.Query) (server.Result, error)
	Front(ctx context.Context) (server.Front, error)
	Plugin(ctx context.Context, id, version string) (server.Plugin, error)
	Publisher(ctx context.Context, ns string) (server.Publisher, error)
	Reviews(ctx context.Context, id string) ([]registry.Review, error)
	Review(ctx context.Context, data []byte) error
	Report(ctx context.Context, r server.Report) error
}

// stall is one registry in the market.
type stall struct {
	voice
	name string
	pins policy.Registry // what the node's owner said of it; empty for the first one
}

// market shows the registries of this server as one. It implements catalogue.Shop.
type market struct {
	stalls    []stall // in the order in which they are asked
	key       ed25519.PrivateKey
	installed func(id string) (*client.Installed, bool)
	root      func() string
	names     func(ctx context.Context) map[string]string // of nodes, by the ids of their keys
}

// mine drops what a registry offers in a namespace that the node's owner gave to another one.
func (m *market) mine(s stall, id string) bool {
	ns, _, _ := strings.Cut(id, "/")
	if len(s.pins.Namespaces) > 0 {
		return s.pins.Covers(ns)
	}
	return !slices.ContainsFunc(m.stalls, func(o stall) bool { return o.name != s.name && o.pins.Covers(ns) })
}

// Search implements catalogue.Shop. With several registries it asks each for what the page could need, and merges. One
// that does not answer is left out: the others are no worse for that.
func (m *market) Search(ctx context.Context, q catalogue.MarketQuery) (catalogue.MarketPage, error) {
	query := server.Query{Text: q.Text, Kind: q.Kind, Technique: q.Technique, Protocol: q.Protocol, Tag: q.Tag, Publisher: q.Publisher,
		Tier: q.Tier, Sort: q.Sort, Offset: q.Offset, Limit: q.Limit}
	if len(m.stalls) == 1 {
		r, err := m.stalls[0].Search(ctx, query)
		return catalogue.MarketPage{Items: m.hits(m.stalls[0], r.Items), Total: r.Total, Facets: r.Facets, DidYouMean: r.DidYouMean}, askedWrong(err)
	}
	out := catalogue.MarketPage{Items: []catalogue.Hit{}, Facets: map[string]map[string]int{}}
	var failed error
	answered := 0
	for _, s := range m.stalls {
		r, err := m.upTo(ctx, s, query, q.Offset+cmp.Or(q.Limit, 20))
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		answered++
		out.Total += r.Total
		out.DidYouMean = cmp.Or(out.DidYouMean, r.DidYouMean)
		addFacets(out.Facets, r.Facets)
		for _, h := range m.hits(s, r.Items) {
			if slices.ContainsFunc(out.Items, func(o catalogue.Hit) bool { return o.ID == h.ID }) {
				out.Total-- // who comes first has the namespace
				continue
			}
			out.Items = append(out.Items, h)
		}
	}
	if answered == 0 {
		return out, askedWrong(failed)
	}
	sortHits(out.Items, q)
	from := min(q.Offset, len(out.Items))
	out.Items = out.Items[from:min(len(out.Items), from+cmp.Or(q.Limit, 20))]
	return out, nil
}

// upTo asks for the first n of what a registry finds. One that says it has more and sends nothing has no more.
func (m *market) upTo(ctx context.Context, s stall, q server.Query, n int) (server.Result, error) {
	var all server.Result
	for first := true; ; first = false {
		q.Offset, q.Limit = len(all.Items), min(server.MaxLimit, n-len(all.Items))
		r, err := s.Search(ctx, q)
		if err != nil {
			return r, err
		}
		r.Items = r.Items[:min(len(r.Items), q.Limit)]
		if first {
			all = r
		} else {
			all.Items = append(all.Items, r.Items...)
		}
		if len(r.Items) == 0 || len(all.Items) >= n || len(all.Items) >= r.Total {
			return all, nil
		}
	}
}

func addFacets(into, from map[string]map[string]int) {
	for name, values := range from {
		if into[name] == nil {
			into[name] = map[string]int{}
		}
		for v, n := range values {
			into[name][v] += n
		}
	}
}

// sortHits orders what several registries found as each of them orders its own.
func sortHits(list []catalogue.Hit, q catalogue.MarketQuery) {
	by := q.Sort
	if by == "" && q.Text != "" {
		by = server.SortRelevance
	}
	slices.SortStableFunc(list, func(a, b catalogue.Hit) int {
		first := 0
		switch by {
		case server.SortRelevance:
			first = cmp.Compare(b.Score, a.Score)
		case server.SortRating:
			first = cmp.Compare(b.Rating.Stars*math.Log1p(float64(b.Rating.Count)), a.Rating.Stars*math.Log1p(float64(a.Rating.Count)))
		case server.SortNew:
			first = b.Published.Compare(a.Published)
		case server.SortName:
			first = strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title))
		}
		return cmp.Or(first, cmp.Compare(b.Installs, a.Installs), strings.Compare(a.ID, b.ID))
	})
}

func (m *market) hits(s stall, list []server.Hit) []catalogue.Hit {
	out := make([]catalogue.Hit, 0, len(list))
	for _, h := range list {
		if m.mine(s, h.ID) {
			out = append(out, hitOf(s, h))
		}
	}
	return out
}

func hitOf(s stall, h server.Hit) catalogue.Hit {
	return catalogue.Hit{ID: h.ID, Kind: h.Kind, Title: h.Title, Summary: h.Summary, License: h.License, Homepage: h.Homepage, Tags: h.Tags,
		Techniques: h.Techniques, Metrics: h.Metrics, Runtimes: h.Runtimes, Via: h.Via, Contact: h.Contact, Version: h.Version, Published: h.Published,
		Tier: h.Tier, Installs: h.Installs, Rating: catalogue.Rating(h.Rating), Yanked: h.Yanked, Revoked: h.Revoked, Score: h.Score, Registry: s.name}
}

// onShelf is how many plugins each shelf of the front page shows.
const onShelf = 12

// Front implements catalogue.Shop.
func (m *market) Front(ctx context.Context) (catalogue.MarketFront, error) {
	var f catalogue.MarketFront
	var failed error
	answered := 0
	kinds := map[string]int{}
	for _, s := range m.stalls {
		x, err := s.Front(ctx)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		answered++
		for _, k := range x.Kinds {
			kinds[k.Kind] += k.Count
		}
		f.Popular = append(f.Popular, m.hits(s, x.Popular)...)
		f.New = append(f.New, m.hits(s, x.New)...)
		f.Updated = append(f.Updated, m.hits(s, x.Updated)...)
	}
	if answered == 0 {
		return f, failed
	}
	for _, kind := range sortedKeys(kinds) {
		f.Kinds = append(f.Kinds, catalogue.KindCount{Kind: kind, Count: kinds[kind]})
	}
	if len(m.stalls) > 1 {
		sortHits(f.Popular, catalogue.MarketQuery{Sort: server.SortInstalls})
		sortHits(f.New, catalogue.MarketQuery{Sort: server.SortNew})
		sortHits(f.Updated, catalogue.MarketQuery{Sort: server.SortNew})
	}
	f.Popular, f.New, f.Updated = f.Popular[:min(onShelf, len(f.Popular))], f.New[:min(onShelf, len(f.New))], f.Updated[:min(onShelf, len(f.Updated))]
	return f, nil
}

// Offer implements catalogue.Shop.
func (m *market) Offer(ctx context.Context, id, version string) (catalogue.Offer, error) {
	return ask(m, id, func(s stall) (catalogue.Offer, error) {
		p, err := s.Plugin(ctx, id, version)
		if err != nil {
			return catalogue.Offer{}, err
		}
		o := catalogue.Offer{Hit: hitOf(s, p.Hit), Readme: p.Readme, Changelog: p.Changelog, Card: p.Card}
		o.Version = p.Shown
		for _, r := range p.Releases {
			o.Releases = append(o.Releases, catalogue.OfferedRelease{Version: r.Version, Published: r.Published, Channel: r.Channel,
				Descriptor: r.Descriptor, Tier: r.Tier, Yanked: r.Yanked, Revoked: r.Revoked})
			if r.Version == p.Shown {
				o.Published, o.Tier, o.Yanked, o.Revoked = r.Published, r.Tier, r.Yanked, r.Revoked
			}
		}
		return o, nil
	})
}

// Publisher implements catalogue.Shop.
func (m *market) Publisher(ctx context.Context, namespace string) (catalogue.Publisher, error) {
	return ask(m, namespace+"/", func(s stall) (catalogue.Publisher, error) {
		p, err := s.Publisher(ctx, namespace)
		if err != nil {
			return catalogue.Publisher{}, err
		}
		out := catalogue.Publisher{Namespace: p.Namespace, Via: p.Via, Contact: p.Contact, Plugins: m.hits(s, p.Plugins)}
		for _, k := range p.Keys {
			out.Keys = append(out.Keys, catalogue.PublisherKey(k))
		}
		return out, nil
	})
}

// Reviews implements catalogue.Shop.
func (m *market) Reviews(ctx context.Context, id string) ([]catalogue.Review, error) {
	return ask(m, id, func(s stall) ([]catalogue.Review, error) {
		list, err := s.Reviews(ctx, id)
		if err != nil {
			return nil, err
		}
		names := m.names(ctx)
		out := make([]catalogue.Review, 0, len(list))
		for _, r := range list {
			out = append(out, catalogue.Review{Node: cmp.Or(names[r.Node], r.Node[:min(12, len(r.Node))]), Version: r.Version, Stars: r.Stars, Text: r.Text, Time: r.Time})
		}
		return out, nil
	})
}

// Review implements catalogue.Shop: this server signs it as a node.
func (m *market) Review(ctx context.Context, id, version string, stars int, text string) error {
	in, ok := m.installed(id)
	if !ok {
		return store.ErrNotFound
	}
	for _, s := range m.stalls {
		if s.pins.Name != in.Registry {
			continue
		}
		if in.Registry != "" {
			return refusedBy(errors.New("the registry " + in.Registry + " does not know this server as a node"))
		}
		r := &registry.Review{RootSHA256: m.root(), ID: id, Version: version, Descriptor: in.Locked.Descriptor, Stars: stars, Text: text}
		if err := r.Sign(m.key); err != nil {
			return refusedBy(err)
		}
		data, err := r.Encode()
		if err != nil {
			return err
		}
		return refusedBy(s.Review(ctx, data))
	}
	return store.ErrNotFound
}

// Report implements catalogue.Shop.
func (m *market) Report(ctx context.Context, id, version, reason, text, contact string) error {
	_, err := ask(m, id, func(s stall) (struct{}, error) {
		return struct{}{}, s.Report(ctx, server.Report{ID: id, Version: version, Reason: reason, Text: text, Contact: contact})
	})
	return refusedBy(err)
}

// ask asks the registries that may speak of an id, one after the other, until one knows it.
func ask[T any](m *market, id string, do func(stall) (T, error)) (T, error) {
	var failed error
	for _, s := range m.stalls {
		if !m.mine(s, id) {
			continue
		}
		v, err := do(s)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, server.ErrNotFound) {
			failed = errors.Join(failed, err)
		}
	}
	var none T
	if failed != nil {
		return none, askedWrong(failed)
	}
	return none, store.ErrNotFound
}

// askedWrong makes what a registry says of a question an answer for whoever asked.
func askedWrong(err error) error {
	if errors.Is(err, server.ErrQuery) {
		return &catalogue.InvalidError{Fields: []catalogue.Field{{Location: "query", Message: err.Error()}}}
	}
	return err
}

// refusedBy is askedWrong for what was sent.
func refusedBy(err error) error {
	if errors.Is(err, server.ErrRefused) || errors.Is(err, errNotTaken) {
		return &catalogue.InvalidError{Fields: []catalogue.Field{{Location: "body", Message: err.Error()}}}
	}
	return err
}
