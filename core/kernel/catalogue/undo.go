package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// undo is what it takes to go back.
type undo struct {
	Instance string            `json:"instance,omitempty"` // of the assignment that the installation writes
	Before   *store.Assignment `json:"before,omitempty"`   // what it replaces; nil when it is new
	Wrote    *store.Assignment `json:"wrote,omitempty"`    // what it writes: what differs from both was somebody else's doing
	Plugins  []undoPlugin      `json:"plugins,omitempty"`  // what is pinned on the server

	Uninstall bool `json:"uninstall,omitempty"` // there is no way back: it is carried through
}

type undoPlugin struct {
	ID     string `json:"id"`
	Before string `json:"before,omitempty"` // the version that was pinned; "" when there was none
}

// pinnedNow notes what is pinned of a plugin.
func (c *Catalogue) pinnedNow(id string) undoPlugin {
	p := undoPlugin{ID: id}
	if in, ok := c.cfg.Registry.Installed(id); ok {
		p.Before = in.Version
	}
	return p
}

// takeBack makes everything as it was before an installation, and says what it took back. The caller holds change.
func (c *Catalogue) takeBack(ctx context.Context, u undo) ([]string, error) {
	undone := []string{}
	if u.Instance != "" {
		said, ours, err := c.restore(ctx, u)
		if err != nil || !ours {
			return []string{said}, err
		}
		undone = append(undone, said)
	}
	solver, _ := c.cfg.Registry.(Solver)
	keep, _ := c.cfg.Registry.(Keeper)
	var failed error
	for _, p := range slices.Backward(u.Plugins) {
		in, ok := c.cfg.Registry.Installed(p.ID)
		switch {
		case !ok || in.Version == p.Before: // it never came
		case p.Before != "" && keep != nil:
			failed = errors.Join(failed, keep.Prefer(ctx, p.ID, p.Before))
			undone = append(undone, fmt.Sprintf("%s is at %s again", p.ID, p.Before))
		case p.Before == "" && c.needed(p.ID, u.Plugins):
			undone = append(undone, fmt.Sprintf("%s %s stays: something else needs it by now", p.ID, in.Version))
		case p.Before == "" && solver != nil:
			failed = errors.Join(failed, solver.Remove(ctx, p.ID))
			undone = append(undone, fmt.Sprintf("%s %s was removed again", p.ID, in.Version))
		}
	}
	if u.Before != nil && u.Before.NodeType == store.NodeServer {
		failed = errors.Join(failed, c.recordGrants(ctx, *u.Before))
	}
	if err := c.apply(ctx); err != nil {
		failed = errors.Join(failed, err)
	}
	return undone, failed
}

// needed reports whether a plugin that an installation did not bring requires one that it did.
func (c *Catalogue) needed(id string, brought []undoPlugin) bool {
	return slices.ContainsFunc(c.cfg.Registry.AllInstalled(), func(in *client.Installed) bool {
		return in.Descriptor != nil && !slices.ContainsFunc(brought, func(p undoPlugin) bool { return p.ID == in.ID }) &&
			slices.ContainsFunc(in.Descriptor.Manifest.Requires, func(r registry.Requirement) bool { return r.Plugin == id })
	})
}

// restore puts the assignment back that an installation replaced, or takes out the one that it wrote. What somebody did
// to it meanwhile counts more: who switched a plugin off does not find it on again. ours is false when it is to be left
// as it is, with all that is installed for it.
func (c *Catalogue) restore(ctx context.Context, u undo) (said string, ours bool, err error) {
	rows, err := c.cfg.Store.ListAssignments(ctx, c.cfg.Tenant)
	if err != nil {
		return "", false, err
	}
	at := slices.IndexFunc(rows, func(r store.Assignment) bool { return r.Instance == u.Instance })
	switch {
	case at < 0 && u.Before != nil:
		return fmt.Sprintf("%s was disabled meanwhile and stays so", u.Instance), true, nil
	case at >= 0 && u.Wrote != nil && !sameWish(rows[at], *u.Wrote) && (u.Before == nil || !sameWish(rows[at], *u.Before)):
		return fmt.Sprintf("%s was changed meanwhile and stays as somebody set it", u.Instance), false, nil
	case u.Before != nil:
		before := *u.Before
		before.Updated = c.cfg.Now()
		return fmt.Sprintf("%s runs with its old settings", u.Instance), true, c.cfg.Store.PutAssignment(ctx, before)
	}
	err = c.cfg.Store.DeleteAssignment(ctx, c.cfg.Tenant, u.Instance)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err == nil {
		err = c.apply(ctx) // it stops before its bytes go
	}
	return fmt.Sprintf("%s was stopped and is not enabled", u.Instance), true, err
}

// sameWish reports whether two assignments ask for the same, whichever version that is: a host that goes back to the
// version before changes no more than that.
func sameWish(a, b store.Assignment) bool {
	return a.Enabled == b.Enabled && a.Runtime == b.Runtime && a.Interval == b.Interval && a.Limits == b.Limits && maps.Equal(a.Secrets, b.Secrets) &&
		sameJSON(a.Config, b.Config) && sameJSON(a.Grants, b.Grants)
}

// sameJSON compares what was written with what the store gave back.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return bytes.Equal(a, b) || json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
