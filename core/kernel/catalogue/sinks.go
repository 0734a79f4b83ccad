package catalogue

import (
	"context"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Sink is an instance of the server that is handed samples instead of alerts.
type Sink struct {
	Instance string
	Grants   sdk.Grants // as its configuration fills them in
}

// Sinks returns the notifiers that were granted metrics.read and are meant to run, whether or not they do just now. With an error come
// those with which nothing is wrong.
func (c *Catalogue) Sinks(ctx context.Context) ([]Sink, error) {
	rows, err := c.cfg.Store.NodeAssignments(ctx, c.cfg.Tenant, store.NodeServer, "")
	if err != nil {
		return nil, err
	}
	var out []Sink
	var errs []error
	for _, r := range c.withUnsigned(rows) {
		d, ok := c.descriptorOf(r)
		if !ok { // it may be a sink: what waits for it must not be taken for nobody's
			errs = append(errs, fmt.Errorf("%s: what its plugin says of itself cannot be read", r.Instance))
			continue
		}
		if d.Manifest.Kind != sdk.KindNotifier || r.NodeType != store.NodeServer {
			continue
		}
		grants, err := filledIn(r, d)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", r.Instance, err))
		case grants.Has(sdk.CapMetricsRead):
			out = append(out, Sink{r.Instance, grants})
		}
	}
	return out, errors.Join(errs...)
}

// filledIn are the grants of an assignment as its configuration fills them in.
func filledIn(r store.Assignment, d *registry.Descriptor) (sdk.Grants, error) {
	grants, err := grantsOf(r)
	if err != nil {
		return nil, err
	}
	full, err := config.WithDefaults(d.ConfigSchema, r.Config)
	if err != nil {
		return nil, err
	}
	return sdk.ExpandPermissions(grants, full)
}

func (c *Catalogue) descriptorOf(r store.Assignment) (*registry.Descriptor, bool) {
	if u, ok := c.unsignedOf(r.Plugin); ok {
		return u.Descriptor, true
	}
	if c.cfg.Registry == nil {
		return nil, false
	}
	i, ok := c.cfg.Registry.Installed(r.Plugin)
	if !ok {
		return nil, false
	}
	return i.Descriptor, true
}
