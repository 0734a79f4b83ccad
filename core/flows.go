package core

import (
	"context"
	"errors"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/traffic"
)

// Agents record, too, each batch for a moment: a capture whose turn it is waits for a place among them.
const (
	recordPatience = 30 * time.Second
	recordRetry    = 100 * time.Millisecond
)

// recordFlows keeps what a capture holds in the store of flows.
func (c *Core) recordFlows(ctx context.Context, x traffic.Capture) (traffic.Recorder, error) {
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	for {
		r, err := c.flows.Record(ctx, x.Tenant, x.ID)
		if err == nil {
			return r, nil
		}
		var busy *store.BusyError
		if !errors.As(err, &busy) {
			return nil, err // and no recorder, which a nil pointer would be
		}
		select {
		case <-time.After(recordRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}
