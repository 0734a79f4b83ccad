package catalogue

import (
	"context"
	"encoding/json"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// Tally says how many instances there are on all nodes, without their cards.
type Tally struct {
	Ready, Total int
	ByHand       bool // a person enabled one of them
	Notifies     bool // a notifier is enabled
}

// Tally counts the instances. Agents are gone through a few hundred at a time, because what thousands of them say of themselves
// is more than should be held at once.
func (c *Catalogue) Tally(ctx context.Context) (Tally, error) {
	var t Tally
	cards := c.offered(ctx)
	c.addUnsigned(cards)
	rows, err := c.rows(ctx)
	if err != nil {
		return t, err
	}
	for _, r := range rows {
		if p := cards[r.Plugin]; p != nil && p.Kind == sdk.KindNotifier && r.Enabled {
			t.Notifies = true
		}
	}
	states := map[string]pluginhost.State{}
	for _, s := range c.cfg.Host.Instances() {
		states[s.Instance] = s.State
	}
	t.add(onServer(rows), states)
	for cursor := ""; ; {
		list, next, err := c.cfg.Store.ListAgents(ctx, c.cfg.Tenant, store.Page{Cursor: cursor, Limit: 250})
		if err != nil {
			return t, err
		}
		for _, a := range list {
			t.add(store.ForAgent(rows, a), statesIn(a.Status))
		}
		if next == "" {
			return t, nil
		}
		cursor = next
	}
}

func (t *Tally) add(wanted []store.Assignment, states map[string]pluginhost.State) {
	for _, r := range wanted {
		t.Total++
		if states[r.Instance] == pluginhost.Ready {
			t.Ready++
		}
		t.ByHand = t.ByHand || r.CreatedBy != "" && r.CreatedBy != "system"
	}
}

// statesIn is reported for who wants nothing but the states.
func statesIn(status json.RawMessage) map[string]pluginhost.State {
	var said struct {
		Plugins []struct {
			Instance string           `json:"instance"`
			State    pluginhost.State `json:"state"`
		} `json:"plugins"`
	}
	if len(status) == 0 || json.Unmarshal(status, &said) != nil {
		return nil
	}
	states := make(map[string]pluginhost.State, len(said.Plugins))
	for _, p := range said.Plugins {
		states[p.Instance] = p.State
	}
	return states
}
