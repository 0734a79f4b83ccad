package core

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/receipts"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/server"
)

// openMarket opens the server of the registry in the folder, and puts those elsewhere beside it. Without it plugins are
// found and installed all the same: only counts, reviews and cards are missing.
func (c *Core) openMarket(cat *catalogue.Config) (err error) {
	if c.nodeKey, err = queue.LoadKey(c.folder.path("keys", "node.pem")); err != nil {
		return err
	}
	keys := c.source.keys
	if keys == "" {
		keys = c.cfg.Settings.Registry.Keys
	}
	m := &market{key: c.nodeKey, installed: c.source.client.Installed, root: c.rootSHA256, names: c.nodeNames}
	cfg := server.Config{Dir: c.source.dir, Nodes: c.nodes(), PublicURL: c.publicURL() + "/registry", Now: c.cfg.Now, Log: c.cfg.Log}
	in, keeper := c.openIntake(keys)
	if in != nil {
		cfg.Intake, cfg.WriteCounts = in, keeper.WriteCounts
	}
	c.intake = in
	c.shop, err = server.Open(cfg)
	if err != nil {
		c.cfg.Log.Warn("the registry is offered as files alone, without counts and reviews", "reason", err)
		c.shop = nil
		return nil
	}
	c.closeLater(func() { c.complain("close the registry's server", c.shop.Close()) })
	m.stalls = []stall{{voice: c.shop, name: ownRegistry}}
	for _, r := range c.ceiling.Registries() {
		if far := newRemote(r.URL); far != nil {
			m.stalls = append(m.stalls, stall{voice: far, name: r.Name, pins: r})
		}
	}
	cat.Shop = m
	return nil
}

// ownRegistry is how pages call the registry that this server serves.
const ownRegistry = "own"

// nodesFor is how long a list of the nodes' keys is used.
const nodesFor = 5 * time.Second

// nodes finds the key of an enrolled agent, or this server's own, by its id. Strangers ask it too, so it does not read
// the store for each.
func (c *Core) nodes() func(keyID string) (ed25519.PublicKey, bool) {
	var mu sync.Mutex
	var known map[string]ed25519.PublicKey
	var read time.Time
	return func(keyID string) (ed25519.PublicKey, bool) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); known == nil || now.Sub(read) > nodesFor {
			known, read = map[string]ed25519.PublicKey{}, now
			c.eachNode(context.Background(), func(key ed25519.PublicKey, _ string) { known[registry.KeyID(key)] = key })
		}
		key, ok := known[keyID]
		return key, ok
	}
}

// nodeNames are the names of the nodes by the ids of their keys.
func (c *Core) nodeNames(ctx context.Context) map[string]string {
	out := map[string]string{}
	c.eachNode(ctx, func(key ed25519.PublicKey, name string) { out[registry.KeyID(key)] = name })
	return out
}

func (c *Core) eachNode(ctx context.Context, do func(key ed25519.PublicKey, name string)) {
	do(c.nodeKey.Public().(ed25519.PublicKey), catalogue.ServerNode.Name)
	c.complain("read the keys of the agents", c.eachAgent(ctx, func(a store.Agent) {
		if len(a.PublicKey) == ed25519.PublicKeySize {
			do(a.PublicKey, a.Name)
		}
	}))
}

// takeReceipt passes the word of an agent on to the registry.
func (c *Core) takeReceipt(ctx context.Context, r *registry.Receipt) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	return refusedBy(c.shop.Receive(ctx, data))
}

// tellEvery is how often this server tells its registry what it has.
const tellEvery = 30 * time.Second

// tellRegistry tells the registry what is installed on this server, unless its owner's policy keeps that quiet.
func (c *Core) tellRegistry(ctx context.Context) {
	if c.shop == nil || !c.ceiling.SendsReceipts() {
		return
	}
	t := receipts.Teller{File: c.folder.path("plugins", "told.json"), Key: c.nodeKey, Registry: c.source.client, Send: c.takeReceipt, Now: c.cfg.Now}
	for problem := ""; ; {
		if err := t.Tell(ctx); err != nil && err.Error() != problem {
			problem = err.Error()
			c.cfg.Log.Warn("tell the registry what is installed here", "problem", err)
		}
		if !sleep(ctx, tellEvery) {
			return
		}
	}
}

// publishing hands releases in for the API.
type publishing struct{ intake *intake.Intake }

func (p publishing) Submit(ctx context.Context, archive io.Reader) (string, error) {
	job, err := p.intake.Submit(ctx, archive)
	var refused *intake.RefusedError
	switch {
	case errors.As(err, &refused):
		return "", &catalogue.InvalidError{Fields: []catalogue.Field{{Location: "body", Message: refused.Error()}}}
	case errors.Is(err, intake.ErrBusy):
		return "", api.ErrBacklog
	}
	return job.ID, err
}

func (p publishing) Job(_ context.Context, id string) (api.PublishJob, error) {
	job, ok := p.intake.Job(id)
	if !ok {
		return api.PublishJob{}, store.ErrNotFound
	}
	gates := job.Gates
	if gates == nil {
		gates = []registry.Gate{}
	}
	return api.PublishJob{ID: job.ID, State: job.State, Gates: gates, Problem: job.Problem, Plugin: job.Plugin, Version: job.Version}, nil
}
