package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// shop is where the market's texts come from.
func (c *Catalogue) shop() (Shop, error) {
	switch {
	case c.cfg.Shop != nil:
		return c.cfg.Shop, nil
	case c.cfg.Registry != nil:
		return shelf{c.cfg.Registry, defaultRegistry}, nil
	}
	return nil, ErrNoShop
}

// defaultRegistry is the name of the one registry of a server that has one.
const defaultRegistry = "own"

// Browse searches the market.
func (c *Catalogue) Browse(ctx context.Context, q MarketQuery) (MarketPage, error) {
	shop, err := c.shop()
	if err != nil {
		return MarketPage{}, err
	}
	have, err := c.presence(ctx)
	if err != nil {
		return MarketPage{}, err
	}
	if q.Installed == nil {
		p, err := shop.Search(ctx, q)
		return marked(p, have), err
	}
	return c.browseInstalled(ctx, shop, q, have)
}

// browseInstalled filters by what only this server knows, so it pages over what the shop found by itself.
func (c *Catalogue) browseInstalled(ctx context.Context, shop Shop, q MarketQuery, have map[string]*Presence) (MarketPage, error) {
	offset, limit := q.Offset, q.Limit
	if limit == 0 {
		limit = 30
	}
	out := MarketPage{Items: []Hit{}, Facets: map[string]map[string]int{"kind": {}, "tag": {}, "tier": {}}}
	q.Offset, q.Limit = 0, 100
	for {
		p, err := shop.Search(ctx, q)
		if err != nil {
			return MarketPage{}, err
		}
		out.DidYouMean = p.DidYouMean
		for _, h := range p.Items {
			h.Installed = have[h.ID]
			if (h.Installed != nil) != *q.Installed {
				continue
			}
			if out.Total >= offset && len(out.Items) < limit {
				out.Items = append(out.Items, h)
			}
			out.Total++
			out.Facets["kind"][h.Kind]++
			if h.Tier != "" {
				out.Facets["tier"][h.Tier]++
			}
			for _, t := range h.Tags {
				out.Facets["tag"][t]++
			}
		}
		if q.Offset += len(p.Items); len(p.Items) == 0 || q.Offset >= p.Total {
			return out, nil
		}
	}
}

func marked(p MarketPage, have map[string]*Presence) MarketPage {
	p.Items = markedHits(p.Items, have)
	if p.Facets == nil {
		p.Facets = map[string]map[string]int{}
	}
	return p
}

func markedHits(list []Hit, have map[string]*Presence) []Hit {
	list = notNil(list)
	for i := range list {
		list[i].Installed = have[list[i].ID]
	}
	return list
}

// presence says of each plugin where it is.
func (c *Catalogue) presence(ctx context.Context) (map[string]*Presence, error) {
	out := map[string]*Presence{}
	if c.cfg.Registry != nil {
		for _, i := range c.cfg.Registry.AllInstalled() {
			out[i.ID] = &Presence{Version: i.Version}
		}
	}
	rows, err := c.rows(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if !r.Enabled {
			continue
		}
		if out[r.Plugin] == nil {
			out[r.Plugin] = &Presence{}
		}
		out[r.Plugin].Version, out[r.Plugin].Enabled = r.Version, true
	}
	instances, err := c.instances(ctx, rows)
	for _, i := range instances {
		if p := out[i.Plugin]; p != nil {
			p.Nodes++
		}
	}
	return out, err
}

// Front is the first page of the market.
func (c *Catalogue) Front(ctx context.Context) (MarketFront, error) {
	shop, err := c.shop()
	if err != nil {
		return MarketFront{}, err
	}
	f, err := shop.Front(ctx)
	if err != nil {
		return MarketFront{}, err
	}
	have, err := c.presence(ctx)
	if err != nil {
		return MarketFront{}, err
	}
	f.Kinds = notNil(f.Kinds)
	f.Popular, f.New, f.Updated = markedHits(f.Popular, have), markedHits(f.New, have), markedHits(f.Updated, have)
	f.Recommended, err = c.recommend(ctx, shop, have)
	return f, err
}

// Publisher is who offers plugins under a namespace.
func (c *Catalogue) Publisher(ctx context.Context, namespace string) (Publisher, error) {
	shop, err := c.shop()
	if err != nil {
		return Publisher{}, err
	}
	if !sdk.ValidID(namespace + "/x") {
		return Publisher{}, store.ErrNotFound
	}
	p, err := shop.Publisher(ctx, namespace)
	if err != nil {
		return Publisher{}, err
	}
	have, err := c.presence(ctx)
	p.Keys, p.Plugins = notNil(p.Keys), markedHits(p.Plugins, have)
	return p, err
}

// Reviews is what nodes that have a plugin say.
func (c *Catalogue) Reviews(ctx context.Context, id string) ([]Review, error) {
	shop, err := c.shop()
	if err != nil {
		return nil, err
	}
	if !sdk.ValidID(id) {
		return nil, store.ErrNotFound
	}
	return shop.Reviews(ctx, id)
}

// Review says what this server thinks of a plugin that it has.
func (c *Catalogue) Review(ctx context.Context, id string, stars int, text string) error {
	shop, err := c.shop()
	if err != nil {
		return err
	}
	in, ok := c.cfg.Registry.Installed(id)
	if !ok {
		return invalid("path", "%s is not installed on this server: only a node that has a plugin can review it", id)
	}
	return shop.Review(ctx, id, in.Version, stars, strings.TrimSpace(text))
}

// Complain tells the registry that something is wrong with a plugin.
func (c *Catalogue) Complain(ctx context.Context, id, version, reason, text, contact string) error {
	shop, err := c.shop()
	if err != nil {
		return err
	}
	return shop.Report(ctx, id, version, reason, strings.TrimSpace(text), strings.TrimSpace(contact))
}

// Offer is all there is to know of a plugin. What decides about installing is what this server verifies itself; where it
// cannot, the offer says so.
func (c *Catalogue) Offer(ctx context.Context, id, version string) (Offer, error) {
	shop, err := c.shop()
	if err != nil {
		return Offer{}, err
	}
	if !sdk.ValidID(id) {
		return Offer{}, store.ErrNotFound
	}
	o, err := shop.Offer(ctx, id, version)
	if err != nil {
		return Offer{}, err
	}
	have, err := c.presence(ctx)
	if err != nil {
		return Offer{}, err
	}
	o.Installed = have[id]
	if o.Overrides, err = c.overridesOf(ctx, id); err != nil {
		return Offer{}, err
	}
	o.Releases, o.Requires, o.Permissions, o.Rules, o.Screenshots = notNil(o.Releases), notNil(o.Requires), []sdk.Permission{}, []Rule{}, []Screenshot{}
	o.Trust = OfferTrust{Via: o.Via, Keys: []string{}, Chain: []TrustLink{}}
	v, err := c.cfg.Registry.Resolve(ctx, id, o.Version)
	if err != nil {
		o.Unverified = err.Error()
		return o, nil
	}
	c.describe(ctx, &o, v)
	return o, nil
}

// describe replaces the registry's word by what was verified.
func (c *Catalogue) describe(ctx context.Context, o *Offer, v *client.Verified) {
	m := v.Descriptor.Manifest
	o.Title, o.Summary, o.Kind, o.License, o.Homepage = m.Title, m.Summary, string(m.Kind), m.License, m.Homepage
	o.Tags, o.Techniques, o.Metrics, o.Runtimes = notNil(m.Tags), notNil(m.Techniques), notNil(m.Metrics), notNil(m.Runtimes)
	o.Requires, o.Permissions, o.ConfigSchema = notNil(m.Requires), notNil(m.Permissions), v.Descriptor.ConfigSchema
	o.Model, o.Data = m.Model, m.Data
	for _, r := range rulesOf(v.Descriptor) {
		o.Rules = append(o.Rules, Rule{ID: r.ID, Purpose: r.Purpose, Techniques: notNil(r.Techniques), Severity: r.Severity, FalsePositives: notNil(r.FalsePositives)})
	}
	for i, s := range v.Descriptor.Screenshots {
		o.Screenshots = append(o.Screenshots, Screenshot{URL: pictureURL(v.ID, v.Version, i), Alt: altOf(m, i), Width: s.Width, Height: s.Height})
	}
	o.Changelog = c.blob(ctx, v.Descriptor, v.Descriptor.ChangelogSHA256)
	if text, err := c.cfg.Registry.Readme(ctx, v.Descriptor); err == nil {
		o.Readme = strings.ToValidUTF8(string(text), "")
	}
	if o.Card != nil && o.Card.Descriptor != v.Digest {
		o.Card = nil // it speaks of other bytes
	}
	st := c.cfg.Registry.Status()
	o.Via = v.Via
	o.Trust = OfferTrust{Via: v.Via, Role: v.Role, Keys: notNil(v.KeyIDs), Root: st.RootSHA256, Development: st.Trust == registry.TrustDevelopment,
		Chain: c.chain(ctx, v)}
}

func altOf(m registry.Manifest, i int) string {
	if i < len(m.Screenshots) {
		return m.Screenshots[i].Alt
	}
	return ""
}

// Evidence is a registry client that tells how a release is vouched for, and fetches what its descriptor names by digest;
// registry/client is one.
type Evidence interface {
	Chain(ctx context.Context, v *client.Verified) ([]client.Link, error)
	Blob(ctx context.Context, d *registry.Descriptor, digest string) ([]byte, error)
}

func (c *Catalogue) chain(ctx context.Context, v *client.Verified) []TrustLink {
	out := []TrustLink{}
	e, ok := c.cfg.Registry.(Evidence)
	if !ok {
		return out
	}
	links, err := e.Chain(ctx, v)
	if err != nil {
		c.cfg.Log.Warn("read who vouches for a plugin", "plugin", v.ID, "error", err)
	}
	for _, l := range links {
		out = append(out, TrustLink(l))
	}
	return out
}

// blob is a text that a descriptor names, "" when it names none or it cannot be had.
func (c *Catalogue) blob(ctx context.Context, d *registry.Descriptor, digest string) string {
	e, ok := c.cfg.Registry.(Evidence)
	if !ok || digest == "" {
		return ""
	}
	data, err := e.Blob(ctx, d, digest)
	if err != nil {
		c.cfg.Log.Warn("read a text of a plugin", "plugin", d.Manifest.ID, "error", err)
	}
	return strings.ToValidUTF8(string(data), "")
}

func pictureURL(id, version string, number int) string {
	return fmt.Sprintf("/api/v1/market/plugins/%s/screenshots/%d?version=%s", id, number, url.QueryEscape(version))
}

// Picture returns a screenshot of a release and its type.
func (c *Catalogue) Picture(ctx context.Context, id, version string, number int) ([]byte, string, error) {
	e, ok := c.cfg.Registry.(Evidence)
	if !ok {
		return nil, "", store.ErrNotFound
	}
	v, err := c.cfg.Registry.Resolve(ctx, id, version)
	if err != nil {
		return nil, "", err
	}
	if number < 0 || number >= len(v.Descriptor.Screenshots) {
		return nil, "", store.ErrNotFound
	}
	data, err := e.Blob(ctx, v.Descriptor, v.Descriptor.Screenshots[number].SHA256)
	if err != nil {
		return nil, "", err
	}
	kind, ok := kindOfPicture(data)
	if !ok {
		return nil, "", store.ErrNotFound
	}
	return data, kind, nil
}

func kindOfPicture(data []byte) (string, bool) {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png", true
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "image/webp", true
	}
	return "", false
}
