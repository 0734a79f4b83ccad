package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk/host"
)

// Verifier gives the bytes of an installed plugin after it checked them; registry/client is one.
type Verifier interface {
	OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error)
}

// Releases is a Verifier that keeps several releases of a plugin beside each other. Without it there is no upgrade of a
// running instance, only a restart.
type Releases interface {
	OpenRelease(ctx context.Context, id, version, runtime string) (*client.Artifact, error)
}

// Config of a Host. Dir, Helpers, Registry and Ceiling are needed; the rest has defaults.
type Config struct {
	Dir     string // state of the instances and compiled guests
	RunDir  string // sockets; keep the path short, default DIR/run
	Helpers string // the folder with picket-launch and picket-wasm

	Registry Verifier
	Ceiling  *policy.Ceiling

	Log    *slog.Logger
	Events *event.Bus[Status] // hears of every change of state
	Now    func() time.Time
	Jitter func() float64 // between 0 and 1

	MaxCrashes  int           // this many crashes ...
	CrashWindow time.Duration // ... within this time quarantine an instance
	Backoff     Backoffs
	Deadlines   Deadlines
	HealthEvery time.Duration
	MostLevel   confine.Level  // the highest level of confinement to use; empty is all that this machine offers
	MaxLimits   confine.Limits // the most that any instance may have on this node; zero is no bound

	Memory    Memory     // what is kept over a restart; default files in Dir
	Probation Probations // how a new version is watched

	eager  bool // ask for snapshots as if they cost nothing
	ration bool // hold plugins to their share of the processor here, also where a control group could
}

// Deadlines bound every conversation with a plugin. A plugin that misses one is killed.
type Deadlines struct {
	Start     time.Duration // process up and speaking
	Compile   time.Duration // the same for a guest, whose first start compiles it
	Configure time.Duration
	Collect   time.Duration
	Discover  time.Duration // a whole round
	Inspect   time.Duration // one batch
	Flush     time.Duration
	Notify    time.Duration
	Health    time.Duration
	Snapshot  time.Duration // to give or take the state
	Recover   time.Duration // how long a call waits for the next process of a detector that can be given back its state
	Switch    time.Duration // how long an upgrade waits for the end of a capture
	Drain     time.Duration // to finish before the kill
}

func (c *Config) fill() error {
	switch {
	case c.Dir == "" || c.Helpers == "":
		return errors.New("plugin host: Dir and Helpers must be set")
	case c.Registry == nil || c.Ceiling == nil:
		return errors.New("plugin host: Registry and Ceiling must be set")
	}
	setDefault(&c.RunDir, filepath.Join(c.Dir, "run"))
	setDefault(&c.Log, slog.New(slog.DiscardHandler))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	setDefault(&c.MaxCrashes, 3)
	setDefault(&c.CrashWindow, 10*time.Minute)
	setDefault(&c.Backoff, Backoffs{First: 300 * time.Millisecond, Base: time.Second, Max: 2 * time.Minute})
	setDefault(&c.HealthEvery, 5*time.Second)
	d := &c.Deadlines
	for p, v := range map[*time.Duration]time.Duration{
		&d.Start: 10 * time.Second, &d.Compile: time.Minute, &d.Configure: 10 * time.Second, &d.Collect: 10 * time.Second,
		&d.Discover: 10 * time.Minute, &d.Inspect: 10 * time.Second, &d.Flush: 30 * time.Second,
		&d.Notify: 30 * time.Second, &d.Health: 5 * time.Second, &d.Drain: 5 * time.Second,
		&d.Snapshot: 30 * time.Second, &d.Recover: defaultRecover, &d.Switch: 5 * time.Minute,
	} {
		setDefault(p, v)
	}
	c.Probation.fill()
	if c.Memory == nil {
		c.Memory = FileMemory{Dir: filepath.Join(c.Dir, "memory")}
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Host runs the assigned instances.
type Host struct {
	inputs   foundRecords // of findings, that are being written down
	cfg      Config
	runDir   string
	tempRun  bool          // runDir is ours to remove
	guestKey []byte        // of the compiled guests
	starts   atomic.Uint64 // numbers the socket folders
	lookout  lookout
	room     modelRoom

	mu      sync.Mutex // guards all below
	supers  map[string]*supervisor
	stopped bool
	ring    *host.Ring // nil until a detector starts that may read it
	noRing  bool       // it cannot be made
	packs   map[packKey]*process
	running sync.WaitGroup // supervisors
}

// longestRunDir leaves room below the 108 bytes of a socket's path for /proc/PID/root before it and, after it, the folder of a start, a
// folder of go-plugin and the socket.
const longestRunDir = 40

// New prepares the folders and checks that the helpers are there and of this version. Nothing runs before Apply.
func New(cfg Config) (*Host, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, runDir: cfg.RunDir, lookout: lookout{began: time.Now()}, supers: map[string]*supervisor{}}
	h.room.most = machineMemory() / 2
	for _, name := range []string{"picket-launch", "picket-wasm"} {
		if err := CheckHelper(cfg.Helpers, name); err != nil {
			return nil, err
		}
	}
	dirs := []string{cfg.Dir, h.stateRoot(), h.guestCache()}
	if f, ok := h.cfg.Memory.(FileMemory); ok {
		dirs = append(dirs, f.Dir)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("plugin folder: %w", err)
		}
	}
	var err error
	if h.guestKey, err = readGuestKey(filepath.Join(cfg.Dir, "guest-cache.key")); err != nil {
		return nil, fmt.Errorf("key of the compiled guests: %w", err)
	}
	return h, h.makeRunDir()
}

// makeRunDir falls back to a temporary folder when sockets below the wanted one would have too long a path.
func (h *Host) makeRunDir() error {
	abs, err := filepath.Abs(h.runDir)
	if err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	h.runDir = abs
	if len(abs) > longestRunDir {
		h.tempRun = true
		if h.runDir, err = os.MkdirTemp("", "picket-"); err != nil {
			return fmt.Errorf("run folder: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	return os.Chmod(abs, 0o700)
}

func (h *Host) stateRoot() string  { return filepath.Join(h.cfg.Dir, "state") }
func (h *Host) guestCache() string { return filepath.Join(h.cfg.Dir, "guest-cache") }

// Apply makes these the instances that should run: new ones are started, changed ones restarted, missing ones
// stopped. It returns at once; Status tells how it goes. A faulty list changes nothing.
func (h *Host) Apply(_ context.Context, assignments []Assignment) error {
	if err := checkAll(assignments); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return errors.New("the plugin host is stopped")
	}
	wanted := map[string]bool{}
	for _, a := range assignments {
		wanted[a.Instance] = true
		h.assign(a)
	}
	for name, s := range h.supers {
		if !wanted[name] {
			s.assign(nil)
		}
	}
	return nil
}

// assign runs under h.mu, and so does a supervisor's farewell: an instance that is assigned again while it leaves is
// either taken over by its old supervisor or gets a new one, never both.
func (h *Host) assign(a Assignment) {
	s, ok := h.supers[a.Instance]
	if !ok {
		s = newSupervisor(h, a)
		h.supers[a.Instance] = s
	}
	s.assign(&a)
	if !ok {
		h.running.Go(s.run)
	}
}

// farewell takes a supervisor off the list unless it was given work meanwhile.
func (h *Host) farewell(s *supervisor) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.wanted() != nil {
		return false
	}
	delete(h.supers, s.name)
	if !h.stopped {
		s.forgetAll() // an operator took it away, and with it what was known about it
	}
	return true
}

func (h *Host) supervisor(instance string) (*supervisor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.supers[instance]
	if !ok {
		return nil, fmt.Errorf("no instance %q here", instance)
	}
	return s, nil
}

// all returns the supervisors ordered by instance.
func (h *Host) all() []*supervisor {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*supervisor, 0, len(h.supers))
	for _, s := range h.supers {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *supervisor) int { return strings.Compare(a.name, b.name) })
	return out
}

// Instances returns the status of every instance, ordered by name.
func (h *Host) Instances() []Status {
	all := h.all()
	out := make([]Status, 0, len(all))
	for _, s := range all {
		out = append(out, s.status())
	}
	return out
}

// Instance returns the status of one.
func (h *Host) Instance(name string) (Status, bool) {
	s, err := h.supervisor(name)
	if err != nil {
		return Status{}, false
	}
	return s.status(), true
}

// Restart stops an instance and starts it again, or tries a refused one anew. It returns when the instance is ready
// or the error that it ended in.
func (h *Host) Restart(ctx context.Context, instance string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	if s.status().State == Quarantined {
		return fmt.Errorf("%s is quarantined: release it first", instance)
	}
	return s.order(ctx, orderRestart)
}

// Release lets an instance out of quarantine, forgets its crashes and starts it.
func (h *Host) Release(ctx context.Context, instance string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	if st := s.status().State; st != Quarantined {
		return fmt.Errorf("%s is not quarantined but %s", instance, st)
	}
	return s.order(ctx, orderRelease)
}

// Recheck asks the registry about every instance again: what was revoked meanwhile stops, what was refused is tried
// once more. Call it when the registry's metadata or the installed plugins changed.
func (h *Host) Recheck() {
	for _, s := range h.all() {
		s.poke(orderRecheck)
	}
}

// WaitReady returns nil as soon as the instance runs, and the reason as an error when it comes to rest otherwise; the
// error is Temporary when the host will try again by itself.
func (h *Host) WaitReady(ctx context.Context, instance string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	return s.awaitReady(ctx)
}

// Stop drains every instance; when ctx ends first the rest is killed. It returns when no plugin process is left and
// may be called twice.
func (h *Host) Stop(ctx context.Context) {
	h.mu.Lock()
	h.stopped = true
	for _, s := range h.supers {
		s.assign(nil)
	}
	h.mu.Unlock()

	done := make(chan struct{})
	go func() { h.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		for _, s := range h.all() {
			s.kill()
		}
		<-done
	}
	h.inputs.wait()
	h.mu.Lock()
	if h.ring != nil {
		h.ring.Close() // its memory goes with the last batch
		h.ring, h.noRing = nil, true
	}
	h.mu.Unlock()
	if h.tempRun {
		os.RemoveAll(h.runDir)
	}
}
