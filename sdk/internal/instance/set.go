// Package instance runs the plugins of one process: it makes instances from their configuration, hands them their work
// one call at a time, and ends them. Every transport (process, WASM guest, tests) drives the same Set, so a plugin
// behaves the same in all of them.
package instance

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/records"
)

// maxInstances bounds the instances of one process.
const maxInstances = 1024

// Set holds the instances of one process.
type Set struct {
	verified bool // frames need no look at their checksum
	plugins  map[string]sdk.Plugin
	newHost  func(abi.InstanceConfig) (sdk.Host, error)
	panicked func(id string)

	mu   sync.Mutex // guards byID
	byID map[string]*running
}

// Config is what a Set needs.
type Config struct {
	Plugins []sdk.Plugin
	// NewHost makes the view of the outside world of one instance.
	NewHost func(abi.InstanceConfig) (sdk.Host, error)
	// Verified says that the carrier of every frame has already compared its checksum.
	Verified bool
	// Panicked, if not nil, hears the name of an instance that panics, just before that ends the program.
	Panicked func(id string)
}

// New returns a Set without instances.
func New(cfg Config) *Set {
	s := &Set{verified: cfg.Verified, plugins: map[string]sdk.Plugin{}, newHost: cfg.NewHost, panicked: cfg.Panicked, byID: map[string]*running{}}
	for _, p := range cfg.Plugins {
		s.plugins[p.ID] = p
	}
	return s
}

// running is one instance.
type running struct {
	plugin sdk.Plugin
	inst   sdk.Instance
	host   sdk.Host // nil when it has no Start
	rules  map[string]bool
	busy   chan struct{} // holds one element while a call is at work
	watch  chan struct{} // holds one element while Watch is at work, or for good once the instance was stopped
	ctx    context.Context
	cancel context.CancelFunc

	progress atomic.Uint64 // see Progress
	calls    atomic.Int32  // at work
	worked   atomic.Int64  // nanoseconds, see Worked

	// Memory of the last batch, used again; guarded by busy.
	flows   records.FlowChunks
	batches records.BatchDecoder
}

// Describe describes all plugins, ordered by id.
func (s *Set) Describe(context.Context) ([]abi.Description, error) {
	out := make([]abi.Description, 0, len(s.plugins))
	for _, p := range s.plugins {
		d, err := Describe(p)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

// Describe describes one plugin.
func Describe(p sdk.Plugin) (abi.Description, error) {
	inst := p.New() // once: it may make much, and nothing of it is used
	schema, err := config.Schema(inst.Config())
	if err != nil {
		return abi.Description{}, fmt.Errorf("describe %s: %w", p.ID, err)
	}
	d := abi.Description{ID: p.ID, Kind: p.Kind, Summary: p.Summary, Rules: p.Rules, Subscription: p.Subscription, ConfigSchema: schema}
	_, d.Watches = inst.(sdk.Watcher)
	_, d.Undoes = inst.(sdk.Undoer)
	_, d.ReportsStatus = inst.(sdk.StatusReporter)
	_, d.Snapshots = inst.(sdk.Snapshotter)
	if p.Kind == sdk.KindDiscovery {
		_, discovers := inst.(sdk.Discoverer)
		_, d.Observes = inst.(sdk.Observer)
		d.Passive = d.Observes && !discovers
	}
	return d, nil
}

// Configure makes and starts an instance. When it fails there is none.
func (s *Set) Configure(ctx context.Context, cfg abi.InstanceConfig) error {
	p, ok := s.plugins[cfg.Plugin]
	if !ok {
		return sdk.Errorf(sdk.InvalidConfig, "there is no plugin %q in this process", cfg.Plugin)
	}
	if !check.Instance(cfg.Instance) {
		return sdk.Errorf(sdk.InvalidConfig, "instance name %q", cfg.Instance)
	}
	r := newRunning(p)
	if err := s.add(cfg.Instance, r); err != nil {
		return err
	}
	defer s.tell(cfg.Instance)
	// busy is taken: work that comes too early waits for the start.
	if err := s.start(ctx, r, cfg); err != nil {
		s.remove(cfg.Instance, r)
		r.cancel()
		<-r.busy
		return err
	}
	<-r.busy
	return nil
}

func newRunning(p sdk.Plugin) *running {
	r := &running{plugin: p, rules: map[string]bool{}, busy: make(chan struct{}, 1), watch: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.flows.Features = p.Subscription.Features
	r.flows.Borrow, r.batches.Borrow = p.Borrows, p.Borrows
	for _, rule := range p.Rules {
		r.rules[rule.ID] = true
	}
	r.busy <- struct{}{}
	return r
}

func (s *Set) add(id string, r *running) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[id] != nil {
		return sdk.Errorf(sdk.InvalidConfig, "instance %s exists already; stop it first", id)
	}
	if len(s.byID) >= maxInstances {
		return sdk.Errorf(sdk.InvalidConfig, "this process has %d instances already", maxInstances)
	}
	s.byID[id] = r
	return nil
}

func (s *Set) remove(id string, r *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[id] == r {
		delete(s.byID, id)
	}
}

func (s *Set) start(ctx context.Context, r *running, cfg abi.InstanceConfig) error {
	inst := r.plugin.New()
	if err := decodeConfig(inst, cfg); err != nil {
		return err
	}
	r.inst = inst
	starter, ok := inst.(sdk.Starter)
	if !ok {
		return nil
	}
	host, err := s.newHost(cfg)
	if err != nil {
		return fmt.Errorf("prepare the host for %s: %w", cfg.Instance, err)
	}
	r.host = host
	if err := starter.Start(ctx, host); err != nil {
		r.inst = nil
		if stopper, ok := inst.(sdk.Stopper); ok {
			err = errors.Join(err, stopper.Stop(ctx))
		}
		return err
	}
	return nil
}

// decodeConfig fills and checks the configuration of a fresh instance.
func decodeConfig(inst sdk.Instance, cfg abi.InstanceConfig) error {
	into := inst.Config()
	data := []byte(cfg.Config)
	names, err := config.Secrets(into)
	if err != nil {
		return err
	}
	fill := map[string]string{}
	for _, name := range names {
		if v, ok := cfg.Secrets[name]; ok {
			fill[name] = v
		}
	}
	if len(fill) > 0 {
		if data, err = config.WithSecrets(data, fill); err != nil {
			return err
		}
	}
	if err := config.Decode(data, into); err != nil {
		return err
	}
	v, ok := inst.(sdk.Validator)
	if !ok {
		return nil
	}
	err = v.Validate()
	var classified *sdk.Error
	if err != nil && !errors.As(err, &classified) {
		return sdk.Errorf(sdk.InvalidConfig, "configuration: %w", err)
	}
	return err
}

// Stop ends an instance: it cancels running work, waits for it, then stops it. Stopping what is not there is fine. When
// the work does not end before ctx does, the instance is left to the end of the process.
func (s *Set) Stop(ctx context.Context, id string) error {
	s.mu.Lock()
	r := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	defer s.tell(id)
	r.cancel()
	for _, turn := range []chan struct{}{r.busy, r.watch} {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return sdk.Errorf(sdk.Temporary, "instance %s is still at work: %w", id, ctx.Err())
		}
	}
	defer func() { <-r.busy }()
	if c, ok := r.host.(interface{ Close() }); ok {
		defer c.Close() // idle connections, which nobody will use again
	}
	if stopper, ok := r.inst.(sdk.Stopper); ok && r.inst != nil {
		return stopper.Stop(ctx)
	}
	return nil
}

// StopAll stops every instance.
func (s *Set) StopAll(ctx context.Context) error {
	s.mu.Lock()
	ids := make([]string, 0, len(s.byID))
	for id := range s.byID {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	sort.Strings(ids)
	var errs []error
	for _, id := range ids {
		if err := s.Stop(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// acquire waits for the instance's turn. The context it returns also ends when the instance is stopped.
func (s *Set) acquire(ctx context.Context, id string) (*running, context.Context, func(), error) {
	r, err := s.find(id)
	if err != nil {
		return nil, nil, nil, err
	}
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil, sdk.Errorf(sdk.Temporary, "instance %s was busy: %w", id, ctx.Err())
	case <-r.ctx.Done():
		return nil, nil, nil, sdk.Errorf(sdk.Temporary, "instance %s was stopped", id)
	}
	if r.ctx.Err() != nil || r.inst == nil {
		<-r.busy
		return nil, nil, nil, sdk.Errorf(sdk.Temporary, "instance %s was stopped", id)
	}
	ctx, done := r.begin(ctx)
	return r, ctx, func() {
		if v := recover(); v != nil {
			s.blame(id)
			panic(v)
		}
		done()
		<-r.busy
	}, nil
}

// tell is deferred where an instance may panic.
func (s *Set) tell(id string) {
	if v := recover(); v != nil {
		s.blame(id)
		panic(v)
	}
}

func (s *Set) blame(id string) {
	if s.panicked != nil {
		s.panicked(id)
	}
}

// Worked says how long the calls of each instance have taken so far. It is nil when there is one instance or none.
func (s *Set) Worked() map[string]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) < 2 {
		return nil
	}
	out := make(map[string]time.Duration, len(s.byID))
	for id, r := range s.byID {
		out[id] = time.Duration(r.worked.Load())
	}
	return out
}

func (s *Set) find(id string) (*running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.byID[id]; r != nil {
		return r, nil
	}
	return nil, sdk.Errorf(sdk.Internal, "there is no instance %q in this process", id)
}

// begin counts a call. The context it returns also ends when the instance is stopped.
func (r *running) begin(ctx context.Context) (context.Context, func()) {
	r.calls.Add(1)
	r.progress.Add(1)
	if ctx.Done() == nil { // in a guest, where nothing goes on after a call: the instance's own will do
		return r.ctx, func() {
			r.progress.Add(1)
			r.calls.Add(-1)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(r.ctx, cancel)
	began := time.Now()
	return ctx, func() {
		r.worked.Add(int64(time.Since(began)))
		unlink()
		cancel()
		r.progress.Add(1)
		r.calls.Add(-1)
	}
}

// Progress returns a number that grows with each call that begins or ends and with what calls emit, and how many calls
// are at work. While a call is at work and the number stands still, the instance does nothing that can be seen.
func (s *Set) Progress(id string) (progress uint64, busy int) {
	r, err := s.find(id)
	if err != nil {
		return 0, 0
	}
	return r.progress.Load(), int(r.calls.Load())
}
