package core

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/publish"
)

// source is where this server takes plugins from, and serves them from to its agents.
type source struct {
	dir         string // of the registry; "" when there is none
	keys        string // of the development registry, which this server signs itself
	client      *client.Multi
	development bool
}

// findRegistry decides which registry this server trusts.
//
//   - A release build takes the registry beside the program, under the root that was compiled in, --dev or not.
//   - With --dev, a development build copies the registry beside the program into its data folder and signs the copy's
//     timestamp itself.
//   - Without --dev it takes the registry in its data folder or beside the program, whose root must not be a
//     development one.
func (c *Core) findRegistry(ctx context.Context) (source, error) {
	beside := filepath.Join(c.cfg.Programs, "registry")
	own := c.folder.path("registry")
	switch {
	case config.IsRelease():
		if err := errors.Join(refuseDevelopment(own), refuseDevelopment(beside)); err != nil {
			return source{}, err
		}
		if config.RootSHA256 == "" {
			return source{}, errors.New("this release build carries no root of trust; install Picket anew")
		}
		if !isRegistry(beside) {
			return source{}, nil
		}
		return c.openRegistry(source{dir: beside}, client.Config{RootSHA256: config.RootSHA256})
	case c.cfg.Dev:
		return c.developmentRegistry(ctx, own, beside)
	case isRegistry(own):
		if err := refuseDevelopment(own); err != nil {
			return source{}, err
		}
		return c.openRegistry(source{dir: own}, client.Config{RootFile: rootFile(own)})
	case isRegistry(beside):
		if err := refuseDevelopment(beside); err != nil {
			c.cfg.Log.Warn("the registry beside the program is not used without --dev", "reason", err)
			return source{}, nil
		}
		return c.openRegistry(source{dir: beside}, client.Config{RootFile: rootFile(beside)})
	}
	return source{}, nil
}

// developmentRegistry brings the data folder's registry up to date with what was built.
func (c *Core) developmentRegistry(ctx context.Context, own, beside string) (source, error) {
	s := source{dir: own, keys: c.folder.path("registry-keys"), development: true}
	if isRegistry(beside) {
		if _, err := publish.Mirror(ctx, own, s.keys, beside, filepath.Join(c.cfg.Programs, "registry-keys"), c.cfg.Now); err != nil {
			return source{}, fmt.Errorf("copy the development registry: %w", err)
		}
	} else if !isRegistry(own) {
		c.cfg.Log.Warn("there is no registry beside the program: no plugin can be enabled", "looked in", beside)
		return source{}, nil
	} else if _, err := publish.RefreshTimestamp(ctx, own, s.keys, c.cfg.Now); err != nil {
		return source{}, fmt.Errorf("sign the development registry: %w", err)
	}
	return c.openRegistry(s, client.Config{RootFile: rootFile(own), AllowDevelopment: true})
}

func (c *Core) openRegistry(s source, cfg client.Config) (source, error) {
	ceiling, err := c.readCeiling()
	if err != nil {
		return source{}, err
	}
	cfg.AllowRecent, cfg.Staleness, cfg.Overridden = ceiling.AllowsRecent(), ceiling.Staleness(), c.overridden
	cfg.Dir, cfg.Base, cfg.Release, cfg.Now = c.folder.path("plugins", "installed"), s.dir, config.IsRelease(), c.cfg.Now
	opened, err := client.OpenMulti(cfg, ceiling.Registries())
	if err != nil {
		return source{}, fmt.Errorf("open registry %s: %w", s.dir, err)
	}
	s.client = opened
	return s, nil
}

// refuseDevelopment says no to a registry that anybody who has its data folder can sign.
func refuseDevelopment(dir string) error {
	if !isRegistry(dir) {
		return nil
	}
	development, err := isDevelopment(rootFile(dir))
	if err != nil {
		return fmt.Errorf("read the root of trust %s: %w", rootFile(dir), plain(err))
	}
	if !development {
		return nil
	}
	if config.IsRelease() {
		return fmt.Errorf("%s is a development root of trust, which a release build refuses: use a fresh data folder, or a development build", rootFile(dir))
	}
	return fmt.Errorf("%s is a development root of trust, which is refused without --dev: start with --dev, or use a fresh data folder", rootFile(dir))
}

// isDevelopment reads what a root says of itself. Nothing is trusted for saying nothing: whoever opens the registry
// checks its signatures, and its mark again.
func isDevelopment(root string) (bool, error) {
	data, err := os.ReadFile(root)
	if err != nil {
		return false, err
	}
	var doc struct {
		Signed map[string]json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return false, err
	}
	_, marked := doc.Signed[registry.TrustField]
	return marked, nil
}

func isRegistry(dir string) bool {
	_, err := os.Stat(rootFile(dir))
	return err == nil
}

// rootFile is the first root of a registry, from which the chain of its roots starts.
func rootFile(dir string) string { return filepath.Join(dir, "metadata", "1.root.json") }

// readCeiling reads what the owner of this machine allows at most.
func (c *Core) readCeiling() (*policy.Ceiling, error) {
	if file := c.cfg.Settings.Policy; file != "" {
		return policy.Load(file) // named, so it must be there
	}
	for _, file := range []string{"/etc/picket/policy.yaml", c.folder.path("policy.yaml")} {
		if _, err := os.Stat(file); err == nil {
			return policy.Load(file)
		}
	}
	return policy.Default(), nil
}

// overridden reports whether an administrator lets a revoked release run on here.
func (c *Core) overridden(id, version string) bool {
	return c.catalogue != nil && c.catalogue.Overridden(id, version)
}

const (
	refreshFirst = 10 * time.Second
	refreshEvery = 10 * time.Minute // when the settings say nothing
	// publishedPoll is how soon something new in a registry on this machine is noticed, which costs a look at one file.
	publishedPoll = 2 * time.Second
)

// keepFresh learns of new releases and revocations, and keeps the own development registry signed. Whoever publishes into
// a folder of this machine sees it on the page at once; a registry on the network is asked now and then.
func (c *Core) keepFresh(ctx context.Context) {
	if c.source.client == nil {
		return
	}
	seen := lastPublished(c.source.dir)
	every := cmp.Or(time.Duration(c.cfg.Settings.Registry.Refresh), refreshEvery)
	for wait := min(refreshFirst, every); untilPublished(ctx, c.source.dir, seen, wait); wait = every {
		if c.source.development {
			if _, err := publish.RefreshTimestamp(ctx, c.source.dir, c.source.keys, c.cfg.Now); err != nil {
				c.cfg.Log.Error("sign the development registry", "error", err)
			}
		}
		seen = lastPublished(c.source.dir) // before it is read: what comes meanwhile is another change
		if err := c.source.client.Refresh(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("refresh the registry", "error", err)
			c.catalogue.AuditRefusal(ctx, "system", "registry.refresh", err)
			continue
		}
		c.host.Recheck()
		c.live.Publish(c.tenant, "plugins", map[string]string{})
		c.heedRevocations(ctx)
		c.rollouts.Consider()
	}
}

// heedRevocations stops what this server has just learned to be withdrawn, here and on the agents. Whatever asked the
// registry for news calls it: what a plan refuses as revoked must not run on until the next look.
func (c *Core) heedRevocations(ctx context.Context) {
	n := c.revocations()
	if c.heeded.Swap(n) == n {
		return
	}
	c.host.Recheck()
	c.passOn(ctx)
}

// revocations counts what this server knows to be withdrawn. It only ever grows.
func (c *Core) revocations() (n int64) {
	for _, s := range c.source.client.Statuses() {
		n += int64(s.Revocations)
	}
	return n
}

// passOnWithin is how long an agent may be away and still be told when it comes.
const passOnWithin = time.Hour

// passOn tells every agent to ask the registry now: something was revoked. One that is not reached asks by itself a few
// minutes later, and verifies the same either way.
func (c *Core) passOn(ctx context.Context) {
	err := c.eachAgent(ctx, func(a store.Agent) {
		_, err := c.queue.Enqueue(ctx, queue.Order{Tenant: a.Tenant, AgentID: a.ID, Type: queue.RefreshRegistry, By: "system", TTL: passOnWithin})
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("tell an agent of a revocation", "agent", a.ID, "error", err)
		}
	})
	c.complain("tell the agents of a revocation", err)
}

// eachAgent does something with each agent of each tenant that is let in.
func (c *Core) eachAgent(ctx context.Context, do func(store.Agent)) error {
	for _, t := range c.control.Tenants() {
		for cursor := ""; ; {
			list, next, err := c.control.ListAgents(ctx, t.ID, store.Page{Cursor: cursor, Limit: 500})
			if err != nil {
				return err
			}
			for _, a := range list {
				if !a.Disabled {
					do(a)
				}
			}
			if next == "" {
				break
			}
			cursor = next
		}
	}
	return nil
}

// lastPublished tells one state of a registry in a folder from another: each change ends with a new timestamp.json. It is
// "" for one that is no folder.
func lastPublished(dir string) string {
	info, err := os.Stat(filepath.Join(dir, "metadata", "timestamp.json"))
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// untilPublished waits until a registry is to be read again: after the time, or once something was published. It is false
// when ctx ends.
func untilPublished(ctx context.Context, dir, seen string, wait time.Duration) bool {
	for due := time.Now().Add(wait); time.Now().Before(due) && lastPublished(dir) == seen; {
		if !sleep(ctx, min(publishedPoll, wait)) {
			return false
		}
	}
	return ctx.Err() == nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
