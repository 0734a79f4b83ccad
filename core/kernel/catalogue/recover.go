package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
)

// recoverInstalls settles what was under way when picketd stopped: an installation is taken back, an uninstallation
// carried through.
func (c *Catalogue) recoverInstalls(ctx context.Context) error {
	rows, err := c.cfg.Store.RunningInstalls(ctx, c.cfg.Tenant)
	if err != nil {
		return err
	}
	for _, row := range slices.Backward(rows) { // the newest first: it may rest on what an older one had done
		if _, err := c.settleInstall(ctx, row); err != nil {
			return err
		}
	}
	_, err = c.cfg.Store.PruneInstalls(ctx, c.cfg.Now().Add(-keepInstalls))
	return err
}

// settleInstalls does the same for what a full disk left of one plugin's, before something else is done with it: a later
// restart would take that back with it. The caller has begun.
func (c *Catalogue) settleInstalls(ctx context.Context, id string) error {
	rows, err := c.cfg.Store.RunningInstalls(ctx, c.cfg.Tenant)
	if err != nil {
		return err
	}
	for _, row := range slices.Backward(rows) {
		if row.Plugin != id {
			continue
		}
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

// settleOthers is settleInstalls for whoever changes a plugin by hand. While an installation is at work that one knows
// what to do when somebody comes in between.
func (c *Catalogue) settleOthers(ctx context.Context, id string) error {
	if c.begin(id) != nil {
		return nil
	}
	defer c.end(id)
	return c.settleInstalls(ctx, id)
}

func (c *Catalogue) settleInstall(ctx context.Context, row store.Install) (InstallJob, error) {
	j := &installation{c: c}
	if err := json.Unmarshal(row.Body, &j.job); err != nil {
		return j.job, fmt.Errorf("read installation %s: %w", row.ID, err)
	}
	if err := json.Unmarshal([]byte(row.Undo["undo"]), &j.undo); err != nil {
		return j.job, fmt.Errorf("read installation %s: %w", row.ID, err)
	}
	if j.undo.Uninstall {
		_, err := c.uninstall(ctx, j.job.Plugin)
		if err != nil {
			return j.job, fmt.Errorf("uninstall %s: %w", j.job.Plugin, err)
		}
		return j.job, j.end(ctx, InstallDone)
	}
	j.fail(ctx, errors.New(interruptedReason))
	if err := j.end(ctx, j.job.State); err != nil {
		return j.job, err
	}
	c.record(ctx, audit.Entry{Tenant: c.cfg.Tenant, Actor: "system", Action: "plugin.installed", Object: "plugin:" + j.job.Plugin, Outcome: audit.Failed,
		Detail: j.job.Version + ", job " + j.job.ID + ": " + j.job.Error})
	return j.job, nil
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
