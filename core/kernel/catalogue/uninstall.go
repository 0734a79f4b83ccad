package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// Uninstalled is what became of an uninstallation.
type Uninstalled struct {
	Stopped []string `json:"stopped" nullable:"false" doc:"Instances that ran, or were meant to."`
	Left    []string `json:"left" nullable:"false" doc:"What it needed and nothing else needs now; uninstall it too, or keep it."`
}

// Uninstall stops a plugin everywhere and takes it off the server, unless something else there needs it. Agents stop it,
// too; the bytes that they verified stay theirs to sweep.
func (c *Catalogue) Uninstall(ctx context.Context, id, by string) (Uninstalled, error) {
	if c.cfg.Registry == nil {
		return Uninstalled{}, ErrNoShop
	}
	if err := c.begin(id); err != nil {
		return Uninstalled{}, err
	}
	defer c.end(id)
	if err := c.settleInstalls(ctx, id); err != nil { // all of it goes: nothing will be left to take back
		c.cfg.Log.Warn("uninstall", "plugin", id, "problem", err)
	}
	if err := c.mayGo(ctx, id); err != nil {
		return Uninstalled{}, err
	}
	job, err := c.newJob(id, "", "", by)
	if err != nil {
		return Uninstalled{}, err
	}
	j := &installation{c: c, job: job, undo: undo{Uninstall: true}}
	if err := j.save(ctx); err != nil { // from here on it is carried through, if need be after a restart
		return Uninstalled{}, err
	}
	c.change.Lock()
	defer c.change.Unlock()
	out, err := c.uninstall(ctx, id)
	if err != nil {
		return out, err
	}
	return out, j.end(ctx, InstallDone)
}

// mayGo checks that there is something to uninstall and that nothing else needs it.
func (c *Catalogue) mayGo(ctx context.Context, id string) error {
	rows, err := c.cfg.Store.ListAssignments(ctx, c.cfg.Tenant)
	if err != nil {
		return err
	}
	_, pinned := c.cfg.Registry.Installed(id)
	enabled := false
	for _, r := range rows {
		enabled = enabled || r.Plugin == id
	}
	if !pinned && !enabled {
		return invalid("path", "%s is not installed", id)
	}
	if users := c.usersOf(id); len(users) > 0 {
		return invalid("path", "%s needs it: uninstall that first", strings.Join(users, " and "))
	}
	return nil
}

// usersOf lists the installed plugins that require one.
func (c *Catalogue) usersOf(id string) (out []string) {
	for _, in := range c.cfg.Registry.AllInstalled() {
		if in.ID != id && slices.ContainsFunc(requirementsOf(in), func(r registry.Requirement) bool { return r.Plugin == id }) {
			out = append(out, in.ID)
		}
	}
	return out
}

func requirementsOf(in *client.Installed) []registry.Requirement {
	if in.Descriptor == nil {
		return nil
	}
	return in.Descriptor.Manifest.Requires
}

// uninstall is what may be done twice, once before a crash and once after it. The caller holds change.
func (c *Catalogue) uninstall(ctx context.Context, id string) (Uninstalled, error) {
	out := Uninstalled{Stopped: []string{}, Left: []string{}}
	stopped, err := c.stop(ctx, id, "")
	out.Stopped = append(out.Stopped, stopped...)
	if err != nil {
		return out, err
	}
	in, pinned := c.cfg.Registry.Installed(id)
	if pinned {
		remover, ok := c.cfg.Registry.(interface {
			Remove(ctx context.Context, ids ...string) error
		})
		if !ok {
			return out, errors.New("this server's registry client cannot take anything out of plugins.lock")
		}
		if err := remover.Remove(ctx, id); err != nil {
			return out, fmt.Errorf("take %s out of plugins.lock: %w", id, err)
		}
		out.Left, err = c.orphans(ctx, requirementsOf(in))
	}
	c.changed(id)
	return out, err
}

// orphans are those of the requirements that are installed, that nothing needs, and that nobody runs.
func (c *Catalogue) orphans(ctx context.Context, required []registry.Requirement) ([]string, error) {
	rows, err := c.cfg.Store.ListAssignments(ctx, c.cfg.Tenant)
	out := []string{}
	for _, r := range required {
		_, pinned := c.cfg.Registry.Installed(r.Plugin)
		runs := false
		for _, row := range rows {
			runs = runs || row.Plugin == r.Plugin
		}
		if pinned && !runs && len(c.usersOf(r.Plugin)) == 0 {
			out = append(out, r.Plugin)
		}
	}
	return out, err
}
