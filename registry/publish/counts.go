package publish

import (
	"context"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// WriteCounts signs what nodes said of the registry's plugins, beside the index. No node depends on it, so that nothing
// else is signed again.
func (p *Publisher) WriteCounts(source string, plugins []registry.PluginCounts) error {
	keys, err := p.snapshotKeys()
	if err != nil {
		return err
	}
	data, err := registry.SignCounts(registry.Counts{
		Schema: registry.CountsSchema, RootSHA256: p.RootSHA256(), Source: source, Time: p.now().UTC().Truncate(time.Second), Plugins: plugins,
	}, keys...)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(p.dir, registry.CountsPath), data, 0o644)
}

// WriteCounts is Publisher.WriteCounts.
func (k *Keeper) WriteCounts(ctx context.Context, source string, plugins []registry.PluginCounts) error {
	return k.Change(ctx, func(p *Publisher) error { return p.WriteCounts(source, plugins) })
}
