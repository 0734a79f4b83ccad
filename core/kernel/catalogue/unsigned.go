package catalogue

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// TrustUnsigned marks the card of a plugin under development, which nobody vouches for.
const TrustUnsigned = "unsigned"

// Unsigned is a plugin that its author tries on this server. Nothing of it is stored.
type Unsigned struct {
	Descriptor *registry.Descriptor
	Readme     []byte
	Assignment store.Assignment
	Debug      bool // unconfined and with long deadlines, for a debugger
	// Interpreter is the author's, "" without one. The node's policy comes first.
	Interpreter string
}

func (u Unsigned) host() (pluginhost.Assignment, error) {
	a, err := HostAssignment(u.Assignment)
	a.Debug, a.Interpreter = u.Debug, u.Interpreter
	return a, err
}

// Try checks how a plugin under development is to run on the server, as Enable does for one of the registry: its
// manifest says what it needs, the node's ceiling holds.
func (c *Catalogue) Try(d *registry.Descriptor, w Wish) (store.Assignment, error) {
	row := store.Assignment{Tenant: c.cfg.Tenant, Instance: d.Manifest.ID + "@dev", Plugin: d.Manifest.ID, Version: d.Manifest.Version,
		NodeType: store.NodeServer, Enabled: true, CreatedBy: w.By, Created: c.cfg.Now(), Updated: c.cfg.Now()}
	var bad InvalidError
	row.Runtime = pickRuntime(d, w.Runtime, true, &bad)
	row.Interval = interval(d.Manifest.Kind, w.Interval, &bad)
	row.Config, row.Secrets = checkConfig(d.ConfigSchema, w, nil, &bad)
	grants := pickGrants(d.Manifest.Permissions, w, &bad)
	if len(bad.Fields) > 0 {
		return row, &bad
	}
	if err := c.underCeiling(d, grants, row.Config); err != nil {
		return row, err
	}
	var err error
	row.Grants, err = json.Marshal(grants)
	return row, err
}

// Reload makes the plugin host run what is enabled now, after a plugin under development came, changed or went.
func (c *Catalogue) Reload(ctx context.Context, id string) error {
	c.change.Lock()
	defer c.change.Unlock()
	err := c.apply(ctx)
	c.changed(id)
	return err
}

func (c *Catalogue) unsigned() []Unsigned {
	if c.cfg.Unsigned == nil {
		return nil
	}
	return c.cfg.Unsigned()
}

func (c *Catalogue) unsignedOf(id string) (Unsigned, bool) {
	for _, u := range c.unsigned() {
		if u.Descriptor.Manifest.ID == id {
			return u, true
		}
	}
	return Unsigned{}, false
}

// withUnsigned adds what authors try on the server to what is stored. While its author works on it, the server's own
// instance of a signed release rests: two of them would find everything twice.
func (c *Catalogue) withUnsigned(rows []store.Assignment) []store.Assignment {
	for _, u := range c.unsigned() {
		id := u.Descriptor.Manifest.ID
		rows = slices.DeleteFunc(slices.Clone(rows), func(r store.Assignment) bool { return r.Plugin == id && r.NodeType == store.NodeServer })
		rows = append(rows, u.Assignment)
	}
	return rows
}

// rows returns all that is meant to run, anywhere.
func (c *Catalogue) rows(ctx context.Context) ([]store.Assignment, error) {
	rows, err := c.cfg.Store.ListAssignments(ctx, c.cfg.Tenant)
	return c.withUnsigned(rows), err
}

// addUnsigned puts the cards of plugins under development in the place of the registry's.
func (c *Catalogue) addUnsigned(cards map[string]*Plugin) {
	for _, u := range c.unsigned() {
		p := emptyCard(u.Descriptor.Manifest.ID)
		p.Trust, p.Version = TrustUnsigned, u.Descriptor.Manifest.Version
		p.Versions = []string{p.Version}
		fill(p, u.Descriptor)
		cards[p.ID] = p
	}
}

// unsignedOfKind returns the instances under development of a kind.
func (c *Catalogue) unsignedOfKind(kind sdk.Kind) []string {
	var out []string
	for _, u := range c.unsigned() {
		if u.Descriptor.Manifest.Kind == kind {
			out = append(out, u.Assignment.Instance)
		}
	}
	return out
}

// isUnsigned reports whether an instance belongs to a plugin under development.
func (c *Catalogue) isUnsigned(instance string) bool {
	return slices.ContainsFunc(c.unsigned(), func(u Unsigned) bool { return u.Assignment.Instance == instance })
}
