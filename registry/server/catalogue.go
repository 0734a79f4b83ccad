package server

import (
	"slices"
	"time"

	"github.com/picketwatch/picket/registry"
)

// Catalogue is an index that can be searched. A server makes one of its own folder; whoever uses a registry that is
// nothing but files makes one of what client.Index returns.
type Catalogue struct {
	index  *registry.Index
	engine *engine
	first  []time.Time // when the first release of each plugin came out, as ordered in index
}

// Counts says how many nodes have a plugin, and what they think of it. What nobody counts is zero.
type Counts func(id string) (installs int, rating Rating)

// NewCatalogue prepares an index, which must not change any more.
func NewCatalogue(x *registry.Index) *Catalogue {
	x = withoutAgents(x)
	c := &Catalogue{index: x, engine: newEngine(x.Plugins), first: make([]time.Time, len(x.Plugins))}
	for i, p := range x.Plugins {
		c.first[i] = p.Releases[0].Published
		for _, r := range p.Releases {
			if r.Published.Before(c.first[i]) {
				c.first[i] = r.Published
			}
		}
	}
	return c
}

// withoutAgents leaves out the agent's own releases: nobody installs them as a plugin.
func withoutAgents(x *registry.Index) *registry.Index {
	agent := func(p registry.IndexPlugin) bool { return p.Kind == string(registry.KindAgent) }
	if !slices.ContainsFunc(x.Plugins, agent) {
		return x
	}
	plugins := *x
	plugins.Plugins = slices.DeleteFunc(slices.Clone(x.Plugins), agent)
	return &plugins
}

// Index returns what the catalogue was made of.
func (c *Catalogue) Index() *registry.Index { return c.index }

// Hit makes the entry of a plugin. counts may be nil.
func (c *Catalogue) Hit(p *registry.IndexPlugin, counts Counts) Hit {
	newest := p.Newest()
	installs, rating := counts.of(p.ID)
	return Hit{
		ID: p.ID, Kind: p.Kind, Title: p.Title, Summary: p.Summary, License: p.License, Homepage: p.Homepage,
		Tags: list(p.Tags), Techniques: list(p.Techniques), Metrics: list(p.Metrics), Runtimes: list(p.Runtimes), Via: p.Via, Contact: p.Contact,
		Version: newest.Version, Published: newest.Published, Tier: newest.Tier, Installs: installs, Rating: rating,
		Yanked: newest.Yanked, Revoked: newest.Revoked,
	}
}

func (c Counts) of(id string) (int, Rating) {
	if c == nil {
		return 0, Rating{}
	}
	return c(id)
}
