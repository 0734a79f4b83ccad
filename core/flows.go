package core

import (
	"context"

	"github.com/picketwatch/picket/core/services/traffic"
)

// recordFlows keeps what a capture holds in the store of flows.
func (c *Core) recordFlows(ctx context.Context, capture string) (traffic.Recorder, error) {
	r, err := c.flows.Record(ctx, c.tenant, capture)
	if err != nil {
		return nil, err // and no recorder, which a nil pointer would be
	}
	return r, nil
}
