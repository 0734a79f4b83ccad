package catalogue

import (
	"context"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Page returns the HTML that the plugin's newest release carries for its own page. It is the author's: show it only in a
// frame that can reach nothing.
func (c *Catalogue) Page(ctx context.Context, id string) (string, error) {
	all, err := c.List(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if p.ID != id {
			continue
		}
		if d := c.descriptor(ctx, id, p.Version); d != nil && d.Page != "" {
			return d.Page, nil
		}
	}
	return "", store.ErrNotFound
}

// PageNodes returns the nodes whose series of a metric the plugin may show on a page of its own: those that it runs on, as
// long as the metric is its own. A metric is its own when its newest release names it and no other plugin that is enabled
// anywhere does; what the server measures itself is nobody's. A series does not say which plugin sent it, so what two plugins
// claim is shown to neither.
func (c *Catalogue) PageNodes(ctx context.Context, id, metric string) (map[string]bool, error) {
	all, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	nodes, known := map[string]bool{}, false
	for _, p := range all {
		names := slices.Contains(p.Metrics, metric) && !strings.HasPrefix(metric, ownMetrics)
		switch {
		case p.ID == id && !names:
			return nil, nil
		case p.ID == id:
			known = true
			for _, i := range p.Instances {
				nodes[i.Node.ID] = true
			}
		case names && len(p.Instances) > 0:
			return nil, nil
		}
	}
	if !known {
		return nil, store.ErrNotFound
	}
	return nodes, nil
}

// ownMetrics begins the names of what the server and the agents measure of plugins.
const ownMetrics = "picket."
