package catalogue

import (
	"context"

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
