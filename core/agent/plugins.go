package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
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

	mu      sync.Mutex // guards all below
	want    desired
	missing map[string]error // by plugin: why it is not installed as wanted
}

func newPlugins(dir string, r Registry, log *slog.Logger) *plugins {
	return &plugins{registry: r, dir: dir, log: log, wake: make(chan struct{}, 1), want: desired{Version: -1}, missing: map[string]error{}}
}

func (p *plugins) path() string { return filepath.Join(p.dir, "assignments.json") }

// resume starts what ran before, without asking anybody.
func (p *plugins) resume(ctx context.Context) error {
	var d desired
	err := loadJSON(p.path(), &d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = p.host.Apply(ctx, d.Assignments)
	}
	if err != nil { // the server still has it
		p.log.Warn("the kept configuration cannot be used; waiting for the server's", "problem", err)
		return nil
	}
	p.mu.Lock()
	p.want = d
	p.mu.Unlock()
	p.signal()
	return nil
}

// set makes d what should run.
func (p *plugins) set(ctx context.Context, d desired) error {
	if err := saveJSON(p.path(), d); err != nil {
		return err
	}
	p.mu.Lock()
	p.want = d
	p.mu.Unlock()
	p.install(ctx) // before Apply, so that a first start does not begin with a refusal
	if err := p.host.Apply(ctx, d.Assignments); err != nil {
		return err
	}
	p.host.Recheck() // what was refused for lack of its plugin
	return nil
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
		if err != nil {
			p.log.Warn("the registry could not be refreshed; what is installed keeps running", "problem", err)
		}
		if missing := p.install(ctx); missing == 0 && err == nil {
			wait.reset()
			next = jittered(refreshEvery)
		} else {
			next = wait.after(err)
		}
		p.host.Recheck()
	}
}

// refreshEvery bounds how late a revocation arrives while the registry can be reached.
const refreshEvery = 10 * time.Minute

// install brings every wanted plugin onto this machine and returns how many are missing. Plugins that are there need
// no network.
func (p *plugins) install(ctx context.Context) (missing int) {
	p.mu.Lock()
	list := slices.Clone(p.want.Assignments)
	p.mu.Unlock()
	found := map[string]error{}
	for _, a := range list {
		if err := p.installOne(ctx, a); err != nil {
			found[a.Plugin] = err
			p.log.Warn("plugin cannot be installed", "plugin", a.Plugin, "version", a.Version, "problem", err)
		}
	}
	for id, grants := range grantsByPlugin(list) {
		if found[id] != nil {
			continue
		}
		if err := p.registry.RecordGrants(ctx, id, grants); err != nil {
			found[id] = err
			p.log.Warn("new grants cannot be accepted now", "plugin", id, "problem", err)
		}
	}
	p.mu.Lock()
	p.missing = found
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

// OpenVerified implements pluginhost.Verifier: the registry's answer, except that a plugin whose installation failed
// is refused with the reason of that.
func (p *plugins) OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error) {
	p.mu.Lock()
	missing := p.missing[id]
	p.mu.Unlock()
	var no *registry.Refusal
	if errors.As(missing, &no) && no.Reason != registry.Unreachable && no.Reason != registry.Expired {
		return nil, no.For(id, "") // the registry says no; an old version must not run in place of the wanted one
	}
	art, err := p.registry.OpenVerified(ctx, id, runtime)
	if err != nil && missing != nil && errors.As(err, &no) && no.Reason == registry.NotInstalled {
		return nil, refusalOf(missing).For(id, "")
	}
	return art, err
}

func refusalOf(err error) *registry.Refusal {
	var no *registry.Refusal
	if errors.As(err, &no) {
		return no
	}
	return &registry.Refusal{Reason: registry.NotInstalled, Err: err}
}
