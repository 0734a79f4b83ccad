package agents

import (
	"context"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Desired is what an agent should run.
type Desired struct {
	Version     int64
	Assignments []store.Assignment
}

// Watch returns a channel that is closed when what agents should run may be different. Take it before looking.
func (a *Agents) Watch() <-chan struct{} { return a.cfg.Store.WatchConfig() }

// Config returns what the agent should run. When the agent has that version already it waits up to wait for a newer
// one; changed is false when none came.
func (a *Agents) Config(ctx context.Context, agentID string, have int64, wait time.Duration) (d Desired, changed bool, err error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		next := a.cfg.Store.WatchConfig() // before looking, so that a change in between is not missed
		agent, err := a.cfg.Store.KnownAgent(ctx, agentID)
		if err != nil {
			return Desired{}, false, err
		}
		if agent.ConfigVersion != have {
			list, err := a.cfg.Store.NodeAssignments(ctx, agent.Tenant, store.NodeAgent, agent.ID)
			return Desired{Version: agent.ConfigVersion, Assignments: list}, true, err
		}
		if wait <= 0 {
			return Desired{}, false, nil
		}
		select {
		case <-next:
		case <-deadline.C:
			return Desired{}, false, nil
		case <-ctx.Done():
			return Desired{}, false, ctx.Err()
		}
	}
}
