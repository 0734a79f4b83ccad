package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
)

// The orders of a search.
const (
	SortRelevance = "relevance"
	SortInstalls  = "installs"
	SortRating    = "rating"
	SortNew       = "new"
	SortName      = "name"
)

// The bounds of a query.
const (
	MaxLimit     = 100
	defaultLimit = 20
	maxQueryText = 200
	maxOffset    = 100_000
)

// Query is a search. What is empty does not narrow it.
type Query struct {
	Text      string
	Kind      string
	Technique string // T1071 includes T1071.001
	Protocol  string // a tag, or a word of the name, such as snmp
	Tag       string
	Publisher string // namespace
	Tier      string
	Sort      string // default: relevance with a text, installs without
	Offset    int
	Limit     int // default 20, at most MaxLimit
}

// Result is a page of what was found. Facets say how many there would be under each other choice.
type Result struct {
	Items      []Hit                     `json:"items"`
	Total      int                       `json:"total"`
	Facets     map[string]map[string]int `json:"facets"` // kind, tag, tier
	DidYouMean string                    `json:"did_you_mean,omitempty"`
}

// ErrQuery says that a query makes no sense.
var ErrQuery = errors.New("query")

// ParseQuery reads a query from the parameters of a request.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{
		Text: v.Get("q"), Kind: v.Get("kind"), Technique: v.Get("technique"), Protocol: v.Get("protocol"), Tag: v.Get("tag"),
		Publisher: v.Get("publisher"), Tier: v.Get("tier"), Sort: v.Get("sort"),
	}
	var err error
	if q.Offset, err = number(v, "offset"); err != nil {
		return q, err
	}
	q.Limit, err = number(v, "limit")
	return q, err
}

func number(v url.Values, name string) (int, error) {
	text := v.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %s: %.20q is not a number", ErrQuery, name, text)
	}
	return n, nil
}

func (q *Query) check() error {
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	if q.Sort == "" {
		q.Sort = SortInstalls
		if q.Text != "" {
			q.Sort = SortRelevance
		}
	}
	for name, text := range map[string]string{"q": q.Text, "kind": q.Kind, "technique": q.Technique, "protocol": q.Protocol, "tag": q.Tag,
		"publisher": q.Publisher, "tier": q.Tier} {
		if len(text) > maxQueryText {
			return fmt.Errorf("%w: %s: longer than %d bytes", ErrQuery, name, maxQueryText)
		}
	}
	switch {
	case !slices.Contains([]string{SortRelevance, SortInstalls, SortRating, SortNew, SortName}, q.Sort):
		return fmt.Errorf("%w: sort: must be %s, %s, %s, %s or %s", ErrQuery, SortRelevance, SortInstalls, SortRating, SortNew, SortName)
	case q.Limit < 0 || q.Limit > MaxLimit:
		return fmt.Errorf("%w: limit: at most %d", ErrQuery, MaxLimit)
	case q.Offset < 0 || q.Offset > maxOffset:
		return fmt.Errorf("%w: offset: at most %d", ErrQuery, maxOffset)
	}
	return nil
}

// The facets, and how many values of each are counted out.
const (
	facetKind = "kind"
	facetTag  = "tag"
	facetTier = "tier"

	maxFacetValues = 60
)

// found is a plugin that fits a query.
type found struct {
	plugin *registry.IndexPlugin
	score  float64
	first  time.Time
}

// Search finds plugins.
func (s *Server) Search(ctx context.Context, q Query) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	return s.current().Search(q, s.counts)
}

// Search finds plugins. counts may be nil.
func (c *Catalogue) Search(q Query, counts Counts) (Result, error) {
	if err := q.check(); err != nil {
		return Result{}, err
	}
	r := Result{Items: []Hit{}, Facets: map[string]map[string]int{facetKind: {}, facetTag: {}, facetTier: {}}}
	var m match
	if q.Text != "" {
		m = c.engine.find(q.Text)
		r.DidYouMean = m.correct
	}
	var all []found
	for i := range c.index.Plugins {
		p := &c.index.Plugins[i]
		f := found{plugin: p, first: c.first[i]}
		if q.Text != "" {
			if f.score = m.scores[i]; f.score == 0 {
				continue
			}
		}
		if p.Newest().Withdrawn() {
			f.score /= withdrawnPenalty
		}
		if q.admits(p, r.Facets) {
			all = append(all, f)
		}
	}
	order(all, q.Sort, counts)
	r.Total = len(all)
	for _, f := range all[min(q.Offset, len(all)):min(q.Offset+q.Limit, len(all))] {
		h := c.Hit(f.plugin, counts)
		h.Score = math.Round(f.score*100) / 100
		r.Items = append(r.Items, h)
	}
	r.Facets[facetTag] = commonest(r.Facets[facetTag], maxFacetValues)
	return r, nil
}

// withdrawnPenalty puts what nobody new should install behind the rest.
const withdrawnPenalty = 20

// admits reports whether a plugin passes the filters, and counts it for each facet whose own filter alone could keep it
// out: so the page can say how many there would be under another choice.
func (q *Query) admits(p *registry.IndexPlugin, facets map[string]map[string]int) bool {
	if !q.others(p) {
		return false
	}
	tier := p.Newest().Tier
	kind, tag, tiered := q.Kind == "" || q.Kind == p.Kind, q.Tag == "" || hasFold(p.Tags, q.Tag), q.Tier == "" || q.Tier == tier
	if tag && tiered {
		facets[facetKind][p.Kind]++
	}
	if kind && tiered {
		for _, t := range p.Tags {
			facets[facetTag][strings.ToLower(t)]++
		}
	}
	if kind && tag && tier != "" {
		facets[facetTier][tier]++
	}
	return kind && tag && tiered
}

func (q *Query) others(p *registry.IndexPlugin) bool {
	ns, name, _ := strings.Cut(p.ID, "/")
	technique := func(t string) bool {
		return strings.EqualFold(t, q.Technique) || strings.HasPrefix(strings.ToUpper(t), strings.ToUpper(q.Technique)+".")
	}
	return (q.Publisher == "" || q.Publisher == ns) &&
		(q.Technique == "" || slices.ContainsFunc(p.Techniques, technique)) &&
		(q.Protocol == "" || hasFold(p.Tags, q.Protocol) || hasFold(strings.Split(name, "-"), q.Protocol))
}

func hasFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(v string) bool { return strings.EqualFold(v, s) })
}

// order sorts what was found; what is equal goes by installs, then by name.
func order(all []found, by string, counts Counts) {
	type rank struct {
		installs int
		rating   float64
	}
	ranks := make(map[string]rank, len(all))
	for _, f := range all {
		n, r := counts.of(f.plugin.ID)
		ranks[f.plugin.ID] = rank{n, r.weighed()}
	}
	slices.SortFunc(all, func(a, b found) int {
		x, y := ranks[a.plugin.ID], ranks[b.plugin.ID]
		first := 0
		switch by {
		case SortRelevance:
			first = cmp.Compare(b.score, a.score)
		case SortRating:
			first = cmp.Compare(y.rating, x.rating)
		case SortNew:
			first = b.first.Compare(a.first)
		case SortName:
			first = strings.Compare(a.plugin.Title, b.plugin.Title)
		}
		if by == SortInstalls || by == SortRating {
			first = cmp.Or(boolCompare(a.plugin.Newest().Withdrawn(), b.plugin.Newest().Withdrawn()), first)
		}
		return cmp.Or(first, cmp.Compare(y.installs, x.installs), strings.Compare(a.plugin.ID, b.plugin.ID))
	})
}

// boolCompare puts false before true.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// A plugin with one review of five stars does not go before one with a hundred of 4.8: each starts as if it had a few
// middling ones.
const (
	priorReviews = 5
	priorStars   = 3
)

func (r Rating) weighed() float64 {
	return (r.Stars*float64(r.Count) + priorReviews*priorStars) / float64(r.Count+priorReviews)
}

// commonest keeps the n values that are counted most.
func commonest(counts map[string]int, n int) map[string]int {
	if len(counts) <= n {
		return counts
	}
	values := make([]string, 0, len(counts))
	for v := range counts {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	kept := make(map[string]int, n)
	for _, v := range values[:n] {
		kept[v] = counts[v]
	}
	return kept
}
