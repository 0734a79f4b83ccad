package catalogue

import (
	"context"
	"slices"
)

// Need is something that is known of the network and that plugins are for, with the reason in words.
type Need struct {
	Because string
	Query   MarketQuery
	Kinds   []string // that help; empty means any
	Without string   // a tag that no help has
}

// Bounds of the shelf. Each need is a question to every registry.
const (
	maxRecommended = 6
	maxForOneNeed  = 2
	maxNeedsAsked  = 12
)

// recommend names what fits the needs, the most pressing first, and is not installed yet.
func (c *Catalogue) recommend(ctx context.Context, shop Shop, have map[string]*Presence) ([]Recommendation, error) {
	out := []Recommendation{}
	if c.cfg.Needs == nil {
		return out, nil
	}
	needs, err := c.cfg.Needs(ctx)
	if err != nil {
		return out, err
	}
	seen := map[string]bool{}
	for _, need := range needs[:min(len(needs), maxNeedsAsked)] {
		need.Query.Sort, need.Query.Limit = "installs", 20
		page, err := shop.Search(ctx, need.Query)
		if err != nil {
			return out, err
		}
		n := 0
		for _, h := range page.Items {
			if have[h.ID] != nil || seen[h.ID] || h.Revoked != "" || h.Yanked != "" || len(need.Kinds) > 0 && !slices.Contains(need.Kinds, h.Kind) ||
				need.Without != "" && slices.Contains(h.Tags, need.Without) {
				continue
			}
			seen[h.ID] = true
			out = append(out, Recommendation{Plugin: h, Because: need.Because})
			if len(out) == maxRecommended {
				return out, nil
			}
			if n++; n == maxForOneNeed {
				break
			}
		}
	}
	return out, nil
}
