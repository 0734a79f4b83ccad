package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// Registry is what the agent needs of the signed registry; registry/client is one.
type Registry interface {
	Refresh(ctx context.Context) error
	Status() client.Status
	Install(ctx context.Context, id, version, runtime string) (*client.Installed, error)
	Installed(id string) (*client.Installed, bool)
	RecordGrants(ctx context.Context, id string, grants []sdk.Permission) error
	OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error)
}

// desired is what the server wants this agent to run, as kept in assignments.json. It holds secrets of plugins.
type desired struct {
	Version     int64                   `json:"version"`
	Assignments []pluginhost.Assignment `json:"assignments"`
}

// plugins brings what should run and what is installed together. It stands between the plugin host and the registry,
// so that an instance that cannot be started says why its plugin could not be installed.
type plugins struct {
	registry Registry
	host     *pluginhost.Host
	dir      string
	log      *slog.Logger
	wake     chan struct{} // something has to be installed

	working sync.Mutex // held while what is wanted is installed and applied, so that nothing is applied half installed

	mu      sync.Mutex // guards all below
	want    desired
	applied map[string]pluginhost.Assignment // by instance: what the host was given, if its plugin was there
	blocked map[string]error                 // by plugin: why it is not here as wanted
	held    map[string]string                // by instance: what it waits for while it runs as before
}

func newPlugins(dir string, r Registry, log *slog.Logger) *plugins {
	return &plugins{registry: r, dir: dir, log: log, wake: make(chan struct{}, 1), want: desired{Version: -1}}
}

func (p *plugins) path() string { return filepath.Join(p.dir, "assignments.json") }

// resume starts what ran before, without asking anybody.
func (p *plugins) resume(ctx context.Context) {
	var d desired
	err := loadJSON(p.path(), &d)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		p.mu.Lock()
		p.want = d
		p.mu.Unlock()
		err = p.apply(ctx)
	}
	if err != nil { // the server still has it
		p.log.Warn("the kept configuration cannot be used; waiting for the server's", "problem", err)
		p.mu.Lock()
		p.want = desired{Version: -1}
		p.mu.Unlock()
	}
}

// set makes d what should run.
func (p *plugins) set(ctx context.Context, d desired) error {
	if err := saveJSON(p.path(), d); err != nil {
		return err
	}
	p.working.Lock()
	defer p.working.Unlock()
	p.mu.Lock()
	p.want = d
	p.mu.Unlock()
	blocked, err := p.reconcile(ctx)
	if blocked > 0 {
		p.signal() // run tries again, soon and then ever more rarely
	}
	return err
}

// reconcile installs what is wanted, applies it, and returns how many plugins could not be had. It runs under working.
func (p *plugins) reconcile(ctx context.Context) (blocked int, err error) {
	blocked = p.install(ctx)
	return blocked, p.apply(ctx)
}

// apply hands the host what should run. An instance whose new settings need something that cannot be had now (a version
// that is not installed, grants that cannot be recorded) goes on as before instead of stopping.
func (p *plugins) apply(ctx context.Context) error {
	p.mu.Lock()
	list := slices.Clone(p.want.Assignments)
	held, applied := map[string]string{}, map[string]pluginhost.Assignment{}
	for i, a := range list {
		why := p.blocked[a.Plugin]
		if before, ok := p.applied[a.Instance]; why != nil && ok && before.Plugin == a.Plugin {
			list[i] = before
			list[i].Interval = a.Interval
			held[a.Instance] = fmt.Sprintf("%s goes on with its old settings: %s", a.Instance, why)
		} else if why != nil {
			continue // it is refused, so there is nothing that it could go on with
		}
		applied[a.Instance] = list[i]
	}
	oldHeld, oldApplied := p.held, p.applied
	p.held, p.applied = held, applied // before Apply, because the host asks OpenVerified from then on
	p.mu.Unlock()
	if err := p.host.Apply(ctx, list); err != nil {
		p.mu.Lock()
		p.held, p.applied = oldHeld, oldApplied
		p.mu.Unlock()
		return err
	}
	p.host.Recheck() // what was refused may be installed now, what runs may be revoked
	return nil
}

// waiting says what could not be applied yet, ordered by instance.
func (p *plugins) waiting() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []string{}
	for _, instance := range slices.Sorted(maps.Keys(p.held)) {
		out = append(out, p.held[instance])
	}
	return out
}

// version is that of the configuration in use, -1 when there is none.
func (p *plugins) version() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want.Version
}

func (p *plugins) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run keeps the registry's metadata fresh, which is how revocations arrive, and tries again what could not be
// installed.
func (p *plugins) run(ctx context.Context) {
	wait := patience{base: 2 * time.Second, most: 5 * time.Minute}
	next := time.Duration(0)
	problem := ""
	for {
		select {
		case <-p.wake:
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
		err := p.registry.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if text := fmt.Sprint(err); err != nil && text != problem {
			p.log.Warn("the registry could not be refreshed; what is installed keeps running", "problem", err)
			problem = text
		} else if err == nil {
			problem = ""
		}
		p.working.Lock()
		blocked, applyErr := p.reconcile(ctx)
		p.working.Unlock()
		if ctx.Err() != nil {
			return
		}
		if applyErr != nil {
			p.log.Error("the configuration cannot be applied", "problem", applyErr)
		}
		if blocked == 0 && err == nil {
			wait.reset()
			next = jittered(refreshEvery)
		} else {
			next = wait.after(err)
		}
	}
}

// refreshEvery bounds how late a revocation arrives while the registry can be reached.
const refreshEvery = 10 * time.Minute

// install brings every wanted plugin onto this machine, records what was granted to it, and returns how many plugins
// are blocked. What is there already needs no network.
func (p *plugins) install(ctx context.Context) (blocked int) {
	p.mu.Lock()
	list, before := slices.Clone(p.want.Assignments), p.blocked
	p.mu.Unlock()
	found := map[string]error{}
	for _, a := range list {
		if err := p.installOne(ctx, a); err != nil {
			found[a.Plugin] = err
		}
	}
	for id, grants := range grantsByPlugin(list) {
		if found[id] != nil {
			continue
		}
		if err := p.registry.RecordGrants(ctx, id, grants); err != nil {
			found[id] = fmt.Errorf("its new grants cannot be recorded: %w", err)
		}
	}
	for id, err := range found {
		if before[id] == nil || before[id].Error() != err.Error() {
			p.log.Warn("plugin is not here as wanted", "plugin", id, "problem", err)
		}
	}
	p.mu.Lock()
	p.blocked = found
	p.mu.Unlock()
	return len(found)
}

func (p *plugins) installOne(ctx context.Context, a pluginhost.Assignment) error {
	in, ok := p.registry.Installed(a.Plugin)
	if ok && (a.Version == "" || in.Version == a.Version) && slices.Contains(in.Runtimes, a.Runtime) {
		return nil
	}
	in, err := p.registry.Install(ctx, a.Plugin, a.Version, a.Runtime)
	if err == nil {
		p.log.Info("plugin installed", "plugin", in.ID, "version", in.Version, "runtime", a.Runtime)
	}
	return err
}

// grantsByPlugin joins the grants of all instances of a plugin: plugins.lock pins them by plugin.
func grantsByPlugin(list []pluginhost.Assignment) map[string][]sdk.Permission {
	out := map[string][]sdk.Permission{}
	for _, a := range list {
		out[a.Plugin] = append(out[a.Plugin], a.Grants...)
	}
	return out
}

// OpenVerified implements pluginhost.Verifier: the registry's answer, except that a plugin that is not here as wanted
// is refused with the reason of that, unless it goes on as before.
func (p *plugins) OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error) {
	p.mu.Lock()
	why := p.blocked[id]
	for instance := range p.held {
		if p.applied[instance].Plugin == id {
			why = nil
		}
	}
	p.mu.Unlock()
	if why == nil {
		return p.registry.OpenVerified(ctx, id, runtime)
	}
	var no *registry.Refusal
	if !errors.As(why, &no) {
		no = &registry.Refusal{Reason: registry.NotInstalled, Err: why}
	}
	return nil, no.For(id, "")
}
