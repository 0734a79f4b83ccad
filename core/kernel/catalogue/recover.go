package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
)

// recoverInstalls settles what was under way when picketd stopped: an installation is taken back, an uninstallation
// carried through.
func (c *Catalogue) recoverInstalls(ctx context.Context) error {
	c.change.Lock()
	defer c.change.Unlock()
	rows, err := c.cfg.Store.RunningInstalls(ctx, c.cfg.Tenant)
	if err != nil {
		return err
	}
	for _, row := range slices.Backward(rows) { // the newest first: it may rest on what an older one had done
		_, err := c.settleInstall(ctx, row)
		if unended := new(unendedError); errors.As(err, &unended) { // what is installed beside it starts all the same
			c.cfg.Log.Error("go on with what was begun; it is tried again at the next start", "error", err)
		} else if err != nil {
			return err
		}
	}
	_, err = c.cfg.Store.PruneInstalls(ctx, c.cfg.Now().Add(-keepInstalls))
	return err
}

// settleInstalls does the same for what a full disk left of one plugin's, before something else is done with it: a later
// restart would take that back with it. The caller has begun, so no installation of it is at work, and what is not left but
// under way in commit ends before change is free.
func (c *Catalogue) settleInstalls(ctx context.Context, id string) error {
	if rows, err := c.unsettled(ctx, id); err != nil || len(rows) == 0 {
		return err
	}
	c.change.Lock()
	defer c.change.Unlock()
	rows, err := c.unsettled(ctx, id)
	if err != nil {
		return err
	}
	for _, row := range slices.Backward(rows) {
		job, err := c.settleInstall(ctx, row)
		if err != nil {
			return err
		}
		if job.State == InstallStuck {
			return fmt.Errorf("an earlier installation has to be taken back first, or the plugin uninstalled: %s", job.Error)
		}
	}
	return nil
}

// unsettled lists what has not ended of one plugin, the oldest first.
func (c *Catalogue) unsettled(ctx context.Context, id string) ([]store.Install, error) {
	rows, err := c.cfg.Store.RunningInstalls(ctx, c.cfg.Tenant)
	return slices.DeleteFunc(rows, func(r store.Install) bool { return r.Plugin != id }), err
}

// settleOthers is settleInstalls for whoever changes a plugin by hand. While an installation is at work that one knows
// what to do when somebody comes in between.
func (c *Catalogue) settleOthers(ctx context.Context, id string) error {
	if c.begin(id) != nil {
		return nil
	}
	defer c.end(id)
	return c.settleInstalls(ctx, id)
}

// settleInstall settles one of them. The caller holds change.
func (c *Catalogue) settleInstall(ctx context.Context, row store.Install) (InstallJob, error) {
	j := &installation{c: c}
	if err := json.Unmarshal(row.Body, &j.job); err != nil {
		return j.job, fmt.Errorf("read installation %s: %w", row.ID, err)
	}
	if err := json.Unmarshal([]byte(row.Undo["undo"]), &j.undo); err != nil {
		return j.job, fmt.Errorf("read installation %s: %w", row.ID, err)
	}
	if j.undo.Uninstall {
		return j.job, j.carryThrough(ctx)
	}
	j.goBack(ctx, errors.New(interruptedReason))
	if err := j.end(ctx, j.job.State); err != nil {
		return j.job, err
	}
	c.record(ctx, audit.Entry{Tenant: c.cfg.Tenant, Actor: "system", Action: "plugin.installed", Object: "plugin:" + j.job.Plugin, Outcome: audit.Failed,
		Detail: j.job.Version + ", job " + j.job.ID + ": " + j.job.Error})
	return j.job, nil
}

// unendedError says that an uninstallation could not be carried through this time.
type unendedError struct{ error }

func (e *unendedError) Unwrap() error { return e.error }

// carryThrough ends an uninstallation that was cut off, and writes down what whoever asked for it did.
func (j *installation) carryThrough(ctx context.Context) error {
	out, err := j.c.uninstall(ctx, j.job.Plugin)
	if err == nil {
		err = j.end(ctx, InstallDone)
	}
	if err != nil {
		return &unendedError{fmt.Errorf("uninstall %s: %w", j.job.Plugin, err)}
	}
	j.c.record(ctx, audit.Entry{Tenant: j.c.cfg.Tenant, Actor: "system", Action: "plugin.uninstall", Object: "plugin:" + j.job.Plugin,
		Detail: strings.TrimSpace(fmt.Sprintf("asked for by %s, carried through later: %s", j.job.By, strings.Join(out.Stopped, " ")))})
	return nil
}

// agree brings what is pinned on the server to what is stored: a change of version that was cut off between the two has
// not happened. Both versions are kept, so that nobody has to be asked.
func (c *Catalogue) agree(ctx context.Context) error {
	keep, ok := c.cfg.Registry.(Keeper)
	if !ok {
		return nil
	}
	rows, err := c.cfg.Store.NodeAssignments(ctx, c.cfg.Tenant, store.NodeServer, "")
	if err != nil {
		return err
	}
	for _, r := range rows {
		in, ok := c.cfg.Registry.Installed(r.Plugin)
		if !ok {
			continue
		}
		if _, kept := in.Release(r.Version); kept && in.Version != r.Version {
			if err := keep.Prefer(ctx, r.Plugin, r.Version); err != nil {
				return err
			}
		}
		if err := c.recordGrants(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// recordGrants pins on the server what an assignment grants. Other grants than the pinned ones need a registry that
// answers; the way back must not, so that is put off to the next start. What a plugin may do is what is stored.
func (c *Catalogue) recordGrants(ctx context.Context, row store.Assignment) error {
	grants, err := grantsOf(row)
	if err != nil {
		return err
	}
	err = c.cfg.Registry.RecordGrants(ctx, row.Plugin, grants)
	if no, ok := asRefusal(err); ok && no.Reason != registry.DiskFull && no.Reason != registry.BadLocalState && no.Reason != registry.Busy {
		c.cfg.Log.Warn("the grants of a plugin are not recorded in plugins.lock yet", "plugin", row.Plugin, "problem", err)
		return nil
	}
	return err
}
