package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/receipts"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// Registry is what the agent needs of the signed registry; registry/client is one.
type Registry interface {
	Refresh(ctx context.Context) error
	Status() client.Status
	Resolve(ctx context.Context, id, versionRange string) (*client.Verified, error)
	Plan(ctx context.Context, wants []client.Want, opt client.PlanOptions) (*client.Plan, error)
	InstallAll(ctx context.Context, p *client.Plan, progress func(client.Progress)) ([]*client.Installed, error)
	Prefer(ctx context.Context, id, version string) error
	Installed(id string) (*client.Installed, bool)
	AllInstalled() []*client.Installed
	RecordGrants(ctx context.Context, id string, grants []sdk.Permission) error
	Install(ctx context.Context, id, version, runtime string) (*client.Installed, error)
	OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error)
	OpenRelease(ctx context.Context, id, version, runtime string) (*client.Artifact, error)
}

// desired is what the server wants this agent to run.
type desired struct {
	Version     int64                   `json:"version"`
	Issued      time.Time               `json:"issued,omitzero"` // when the server signed it
	Assignments []pluginhost.Assignment `json:"assignments"`
}

// kept is assignments.json: what the server wants, and what of it, or of what it wanted before, was in force. It holds
// secrets of plugins.
type kept struct {
	desired
	Applied []pluginhost.Assignment `json:"applied"`
	Trial   *trial                  `json:"trial,omitempty"`
}

// plugins brings what should run and what is installed together. It stands between the plugin host and the registry,
// so that an instance that cannot be started says why its plugin could not be installed.
type plugins struct {
	registry  Registry
	host      *pluginhost.Host
	dir       string
	log       *slog.Logger
	wake      chan struct{}             // something has to be installed
	took      func() int64              // how many requests the server took so far
	refreshed func(ctx context.Context) // the registry was asked for what is new
	teller    *receipts.Teller          // nil when nobody is told what this node has; run's alone

	working sync.Mutex // held while what is wanted is installed and applied, so that nothing is applied half installed
	written []byte     // what assignments.json holds, guarded by working

	mu      sync.Mutex // guards all below
	want    desired
	trial   *trial                           // nil when the server was reached under want
	applied map[string]pluginhost.Assignment // by instance: what the host was given, if its plugin was there
	blocked map[string]error                 // by plugin: why it is not here as wanted
	held    map[string]string                // by instance: what it waits for while it runs as before
	copies  copies
}

func newPlugins(dir string, r Registry, log *slog.Logger) *plugins {
	return &plugins{registry: r, dir: dir, log: log, wake: make(chan struct{}, 1), took: func() int64 { return 0 }, refreshed: func(context.Context) {}, want: desired{Version: -1}}
}

func (p *plugins) path() string { return filepath.Join(p.dir, "assignments.json") }

// resume starts what ran before, without asking anybody.
func (p *plugins) resume(ctx context.Context) {
	var k kept
	err := loadJSON(p.path(), &k)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		blocked := p.unpinned(k.Assignments)
		p.mu.Lock()
		p.want, p.blocked, p.applied, p.trial = k.desired, blocked, map[string]pluginhost.Assignment{}, k.Trial
		if p.trial != nil {
			p.trial.began, p.trial.took = time.Now(), p.took()
		}
		for _, a := range k.Applied {
			p.applied[a.Instance] = a
		}
		p.mu.Unlock()
		err = p.apply(ctx)
	}
	if err != nil { // the server still has it
		p.log.Warn("the kept configuration cannot be used; waiting for the server's", "problem", err)
		p.mu.Lock()
		p.want, p.trial = desired{Version: -1}, nil
		p.mu.Unlock()
	}
}

// unpinned returns the plugins that plugins.lock does not pin as they are wanted, with what they wait for: a version or
// grants that could not be had before the agent stopped must not come into force because it started again.
func (p *plugins) unpinned(list []pluginhost.Assignment) map[string]error {
	out := map[string]error{}
	for id, grants := range grantsByPlugin(list) {
		if in, ok := p.registry.Installed(id); ok && in.Grants != registry.GrantsDigest(grants) {
			out[id] = fmt.Errorf("the grants of %s are not recorded on this node yet", id)
		}
	}
	for _, a := range list {
		if in, ok := p.registry.Installed(a.Plugin); ok && a.Version != "" && in.Version != a.Version {
			out[a.Plugin] = fmt.Errorf("%s %s is not installed on this node yet", a.Plugin, a.Version)
		}
	}
	return out
}

// set makes d what should run.
func (p *plugins) set(ctx context.Context, d desired) error {
	p.working.Lock()
	defer p.working.Unlock()
	p.mu.Lock()
	before, t := p.trial, p.newTrial(d)
	p.trial = t
	p.mu.Unlock()
	if err := p.keep(d); err != nil {
		p.mu.Lock()
		p.trial = before
		p.mu.Unlock()
		return err
	}
	p.mu.Lock()
	p.want = d
	p.mu.Unlock()
	blocked, err := p.reconcile(ctx)
	if t != nil { // installing may have taken long
		p.mu.Lock()
		t.began, t.took = time.Now(), p.took()
		p.mu.Unlock()
	}
	if blocked > 0 {
		p.signal() // run tries again, soon and then ever more rarely
	}
	return err
}

// keep writes assignments.json, unless it holds this already.
func (p *plugins) keep(d desired) error {
	p.mu.Lock()
	k := kept{desired: d, Applied: []pluginhost.Assignment{}, Trial: p.trial}
	for _, instance := range slices.Sorted(maps.Keys(p.applied)) {
		k.Applied = append(k.Applied, p.applied[instance])
	}
	p.mu.Unlock()
	text, err := json.Marshal(k)
	if err != nil || bytes.Equal(text, p.written) {
		return err
	}
	if err := saveJSON(p.path(), k); err != nil {
		return err
	}
	p.written = text
	return nil
}

// reconcile installs what is wanted, applies it, and returns how many plugins could not be had. It runs under working.
func (p *plugins) reconcile(ctx context.Context) (blocked int, err error) {
	blocked = p.install(ctx)
	if err := p.apply(ctx); err != nil {
		return blocked, err
	}
	d := p.wanted()
	if d.Version < 0 {
		return blocked, nil // there is no configuration yet
	}
	return blocked, p.keep(d)
}

// apply hands the host what should run. An instance whose new settings need something that cannot be had now (a version
// that is not installed, grants that cannot be recorded) goes on as before instead of stopping.
func (p *plugins) apply(ctx context.Context) error {
	p.mu.Lock()
	list := make([]pluginhost.Assignment, 0, len(p.want.Assignments))
	held, applied := map[string]string{}, map[string]pluginhost.Assignment{}
	running := map[string]bool{} // plugins that an instance goes on with
	for _, a := range p.want.Assignments {
		before, ok := p.applied[a.Instance]
		running[a.Plugin] = running[a.Plugin] || ok && before.Plugin == a.Plugin
	}
	for _, a := range p.want.Assignments {
		why := p.blocked[a.Plugin]
		if before, ok := p.applied[a.Instance]; why != nil && ok && before.Plugin == a.Plugin {
			before.Interval = a.Interval
			a = before
			held[a.Instance] = fmt.Sprintf("%s goes on with its old settings: %s", a.Instance, why)
		} else if why != nil && running[a.Plugin] {
			held[a.Instance] = fmt.Sprintf("%s is not started: %s", a.Instance, why)
			continue // its siblings run on grants that are not its own
		} else if why != nil {
			list = append(list, a) // OpenVerified refuses it
			continue
		}
		list = append(list, a)
		applied[a.Instance] = a
	}
	oldHeld, oldApplied := p.held, p.applied
	oldCopies := p.copies
	list, p.copies = p.copies.spread(list)
	p.held, p.applied = held, applied // before Apply, because the host asks OpenVerified from then on
	p.mu.Unlock()
	if err := p.host.Apply(ctx, list); err != nil {
		p.mu.Lock()
		p.held, p.applied, p.copies = oldHeld, oldApplied, oldCopies
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
func (p *plugins) version() int64 { return p.wanted().Version }

func (p *plugins) wanted() desired {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want
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
		p.refreshed(ctx)
		p.working.Lock()
		blocked, applyErr := p.reconcile(ctx)
		p.working.Unlock()
		if ctx.Err() != nil {
			return
		}
		if applyErr != nil {
			p.log.Error("the configuration cannot be applied", "problem", applyErr)
		}
		p.tell(ctx)
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
	if p.here(a) {
		return nil
	}
	if in, ok := p.registry.Installed(a.Plugin); ok && a.Version != "" {
		if _, kept := in.Release(a.Version); kept && in.Version != a.Version && p.registry.Prefer(ctx, a.Plugin, a.Version) == nil && p.here(a) {
			return nil // the way back asks nobody
		}
	}
	stale := p.registry.Refresh(ctx) // of one of several registries, perhaps not of the one that has the plugin
	if _, err := p.registry.Resolve(ctx, a.Plugin, a.Version); err != nil {
		var no *registry.Refusal
		if errors.As(stale, &no) {
			return no.For(a.Plugin, a.Version)
		}
		return lacks(a, err)
	}
	plan, err := p.registry.Plan(ctx, []client.Want{{ID: a.Plugin, Version: a.Version, Runtime: a.Runtime}}, client.PlanOptions{Keep: true})
	if err != nil {
		return err
	}
	list, err := p.registry.InstallAll(ctx, plan, nil)
	for _, in := range list {
		p.log.Info("plugin installed", "plugin", in.ID, "version", in.Version)
	}
	if len(list) > 0 && p.teller != nil {
		p.signal() // run tells the registry
	}
	return err
}

// lacks adds to a refusal what the owner of this machine can do about it, where the server has the plugin from a registry
// that this machine does not know.
func lacks(a pluginhost.Assignment, err error) error {
	var no *registry.Refusal
	if a.From == "" || !errors.As(err, &no) || no.Reason != registry.NotVouched {
		return err
	}
	said := strings.Map(func(r rune) rune { // the server's words
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, a.From)
	return &registry.Refusal{Plugin: a.Plugin, Version: a.Version, Reason: no.Reason,
		Err: fmt.Errorf("%w; the server has it from a registry that this machine may not know: if you trust that one, add it under registries in this machine's policy.yaml and start the agent again: %.500s",
			no.Err, said)}
}

// here reports whether a plugin is installed as an assignment wants it.
func (p *plugins) here(a pluginhost.Assignment) bool {
	in, ok := p.registry.Installed(a.Plugin)
	return ok && (a.Version == "" || in.Version == a.Version) && slices.Contains(in.Runtimes, a.Runtime) && p.hasModels(in)
}

// hasModels reports whether what a plugin requires is here. What must not be used is: the start says why.
func (p *plugins) hasModels(in *client.Installed) bool {
	return in.Descriptor == nil || !slices.ContainsFunc(in.Descriptor.Manifest.Requires, func(need registry.Requirement) bool {
		_, err := p.Required(context.Background(), need, nil)
		var no *registry.Refusal
		return errors.As(err, &no) && no.Reason == registry.NotInstalled
	})
}

// overridden reports whether the server lets a revoked release run on here.
func (p *plugins) overridden(id, version string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.want.Assignments, func(a pluginhost.Assignment) bool {
		return a.Plugin == id && a.Version == version && a.Override != ""
	})
}

// tell lets the registry know what is installed here. It is a courtesy: what fails is tried again with the next refresh.
func (p *plugins) tell(ctx context.Context) {
	if p.teller == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.teller.Tell(ctx); err != nil && ctx.Err() == nil {
		p.log.Debug("the registry does not know yet what is installed here", "problem", reach(err))
	}
}

// refresh asks the registry for what is new now, and stops what is revoked.
func (p *plugins) refresh(ctx context.Context) error {
	err := p.registry.Refresh(ctx)
	p.host.Recheck()
	p.refreshed(ctx)
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
