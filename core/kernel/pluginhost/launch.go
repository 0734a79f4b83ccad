package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/reach"
)

// lifelineEnv tells package serve which descriptor to watch.
const lifelineEnv = host.LifelineEnv

// run is an instance in one process, from its start to its burial. Mostly it is the only one there.
type run struct {
	*process
	s       *supervisor
	inst    *host.Instance
	broker  *broker.Broker
	moveOut func()       // of the house of a shared process; nil when it is in none
	state   sdk.State    // its key-value store
	draft   *reach.Draft // the same, when it was not in charge at its start
	calls   atomic.Int64 // in progress
	struck  atomic.Bool  // a call was lost with the process
	release              // what it was started from
	role    role
	// dropSecrets ends the blanking of what it was given; nil while it starts.
	dropSecrets func()
	verdict     verdict // what the end of its process means for it; set when it was buried
	revived     bool    // it has what the journal holds; guarded by the supervisor's turn
	output      *bucket
	progress    progressWatch // of the one health check that is under way
	says        host.Description
	shown       sdk.Subscription         // what it asks for and was granted
	mine        map[string]ShadowFinding // what a shadow says of a capture; its goroutine's alone

	// Of a shared process, guarded by its mu:
	worked time.Duration // how long its calls had taken when the process was asked last
	part   time.Duration // of what the process used of the processor
}

// launch starts the assigned plugin.
func (s *supervisor) launch() (*run, error) {
	ctx, done := s.interruptible(orderRestart, nil)
	defer done()
	return s.launchAs(ctx, s.assignment, inCharge)
}

// launchAs verifies, starts and configures a process for the instance. Everything it opened is closed again when it
// fails.
func (s *supervisor) launchAs(ctx context.Context, a Assignment, as role) (r *run, err error) {
	drop := s.log.hide(a.Secrets) // before anything can be said about them, whoever is in charge
	defer func() {
		if err != nil {
			drop()
		}
	}()
	art, err := s.verified(a)
	if err != nil {
		return nil, err
	}
	defer art.Close() // the process has its own descriptor by then
	rel := releaseOf(a, art)
	if as == inCharge {
		s.learn(rel)
	}
	if rel.grants, err = s.allowed(a, art.Descriptor); err != nil {
		return nil, err
	}
	if as == inCharge {
		s.grant(rel.grants)
	}
	if rel.limits, err = s.host.limitsOf(a, art.Descriptor); err != nil {
		return nil, &refusal{Refused, fmt.Errorf("plugin %s: %w", a.Plugin, err)}
	}
	if rel.models, err = s.openModels(a.Plugin, rel.requires); err != nil {
		return nil, err
	}
	if r, err = s.startProcess(ctx, art, rel, as); err != nil {
		return nil, s.startError(ctx, a.Plugin, err)
	}
	r.dropSecrets = drop
	r.output = newBucket(rel.limits.RecordsPerSecond, time.Now())
	r.calls.Add(1) // the end of a shared process may be the fault of its start
	err = s.configure(ctx, r, a, art, rel.grants)
	r.struck.Store(err != nil && !refused(r, err) && r.shared() && died(r, deathLag))
	r.calls.Add(-1)
	if err != nil {
		r.discard(err)
		words := s.bury(r)
		switch {
		case ctx.Err() == nil && r.verdict != guilty:
			err = &draggedError{words}
		case ctx.Err() == nil && isExited(r) && sdk.ClassOf(err) != sdk.InvalidConfig:
			err = errors.New(words) // the death explains more than the broken call
		}
		return nil, s.startError(ctx, a.Plugin, err)
	}
	return r, nil
}

// refused reports whether the plugin itself did not want the instance.
func refused(r *run, err error) bool {
	return r.inst == nil && sdk.ClassOf(err) != sdk.Internal && sdk.ClassOf(err) != sdk.Temporary
}

// discard ends a run that nobody uses, after err or none: its process, or where that is shared, the instance alone.
func (r *run) discard(err error) {
	switch {
	case !r.shared():
		r.proc.Kill()
	case err != nil && refused(r, err): // there is no instance
	default:
		ctx, cancel := context.WithTimeout(context.Background(), r.host.cfg.Deadlines.Drain)
		defer cancel()
		r.stop(ctx)
	}
}

func isExited(r *run) bool {
	ps := r.process.state()
	return ps != nil && !ps.Success() && ps.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL
}

// interruptible returns a context that ends when the instance is wanted otherwise, or when one of the orders comes. A question
// to the registry ends it only when revoked says that there is a reason; else it is asked again after done. done must be called.
func (s *supervisor) interruptible(by order, revoked func() bool) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	var watcher sync.WaitGroup
	asked := false
	watcher.Go(func() {
		for {
			select {
			case <-s.wake:
				changed, orders := s.pending(0)
				stop := changed || orders&by != 0
				if !stop && revoked != nil && s.ordered(orderRecheck) {
					asked = true
					stop = revoked()
				}
				if stop {
					cancel(errInterrupted)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		watcher.Wait()
		if asked {
			s.poke(orderRecheck)
		}
		s.signal() // it may have swallowed a wake that somebody else has to see
	}
}

// startError gives a failed start its class.
func (s *supervisor) startError(ctx context.Context, plugin string, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted), s.ctx.Err() != nil:
		return errInterrupted
	case sdk.ClassOf(err) == sdk.InvalidConfig, sdk.ClassOf(err) == sdk.Unsupported, sdk.ClassOf(err) == sdk.PermissionDenied:
		return &refusal{Refused, fmt.Errorf("plugin %s: %w", plugin, err)}
	}
	return err
}

// learn notes what the descriptor says about the plugin.
func (s *supervisor) learn(rel release) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Kind, s.state.Version, s.state.Digest = rel.kind, rel.version, rel.digest
}

func (s *supervisor) grant(grants []sdk.Permission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Permissions = grants
}

// socketDir makes the folder for this start's socket, with a name as short as can be: the path of a socket has a bound.
func (h *Host) socketDir() (string, error) {
	dir := filepath.Join(h.runDir, "p"+strconv.FormatUint(h.starts.Add(1), 36))
	if err := os.RemoveAll(dir); err != nil { // left over from a host that was killed
		return "", fmt.Errorf("socket folder: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("socket folder: %w", err)
	}
	return dir, nil
}

// configure checks that the process is what the descriptor says and gives it its instance.
func (s *supervisor) configure(ctx context.Context, r *run, a Assignment, art *client.Artifact, grants []sdk.Permission) error {
	limit := a.patient(s.host.cfg.Deadlines.Configure)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("did not accept its configuration within %s", limit))
	defer cancel()
	about, err := checkIdentity(ctx, r, a.Plugin, art.Descriptor.Manifest.Kind)
	if err != nil {
		return causeOf(ctx, err)
	}
	r.says = about
	r.shown, _ = split(about.Subscription, grants)
	if err := checkSchema(about, art.Descriptor); err != nil {
		return err
	}
	if packets := about.Subscription.Packets; packets != nil {
		if err := packets.Validate(); err != nil {
			return sdk.Errorf(sdk.Unsupported, "its subscription: %w", err)
		}
	}
	s.sayWithheld(about.Subscription, grants)
	cfg := a.Config
	if len(cfg) == 0 {
		cfg = []byte("{}")
	}
	ic := host.InstanceConfig{
		Instance: s.name, Plugin: a.Plugin, Config: cfg, Secrets: a.Secrets, Grants: grants, DenyDial: s.host.denied(),
		Deadline: r.deadline(s.host.cfg.Deadlines.Inspect), Generation: s.host.starts.Load(),
	}
	if r.shared() {
		ic.ProcessMemory, ic.ProcessCores = r.allowance()
	}
	inst, err := r.proc.Configure(ctx, ic)
	if err != nil {
		return causeOf(ctx, err)
	}
	r.inst = inst
	return nil
}

// denied are the addresses that are reached on no grant. The broker holds plugins to them by the same list; a process without
// a broker, which runs unconfined, has only this.
func (h *Host) denied() []string {
	var out []string
	for _, p := range h.cfg.Ceiling.Denied() {
		out = append(out, p.String())
	}
	return out
}

func checkIdentity(ctx context.Context, r *run, id string, kind sdk.Kind) (host.Description, error) {
	descriptions, err := r.proc.Describe(ctx)
	if err != nil {
		return host.Description{}, fmt.Errorf("describe: %w", err)
	}
	for _, d := range descriptions {
		if d.ID == id && d.Kind == kind {
			return d, nil
		}
	}
	return host.Description{}, sdk.Errorf(sdk.Unsupported, "the program does not serve %s %s, though its release says so", kind, id)
}

// causeOf prefers our own reason for ending ctx over what the call made of it.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

// --- the end of a run ---

// fail kills the process for a reason that the epitaph repeats, and that is this run's.
func (r *run) fail(reason string) { r.process.fail(r, reason) }

// stop lets the process finish, or kills it when ctx ends. Of a process that others need it stops the instance alone, and kills
// it when that does not stop.
func (r *run) stop(ctx context.Context) {
	if !r.shared() || r.last(r) {
		if err := r.proc.Stop(ctx); err != nil || ctx.Err() != nil {
			r.proc.Kill()
		}
		return
	}
	stop := func(ctx context.Context) error { return r.proc.StopInstance(ctx, r.s.name) } // its configuration was given up
	if r.inst != nil {
		stop = r.inst.Stop
	}
	err := stop(ctx)
	if err != nil && !died(r, deathLag) && ctx.Err() != nil { // of what it dies it is to be asked before it leaves
		r.fail("did not stop in time")
	}
}

// end frees what belongs to the run once it has ended or was never started.
func (r *run) end() {
	if r.moveOut != nil {
		r.moveOut()
	}
	r.leave(r)
	if r.draft != nil {
		r.draft.Discard() // unless it was taken over
	}
	closeModels(r.models)
}

// idle reports whether nobody waits for an answer of the plugin.
func (r *run) idle() bool { return r.inFlight() == 0 }

// inFlight is how many calls and batches it has not answered.
func (r *run) inFlight() int {
	batches, _ := r.inst.InFlight() // the oldest of them is one of the calls, while somebody waits for it
	return max(int(r.calls.Load()), batches)
}

// cpuTime is the exact total of a run whose process has ended, or its part of one that goes on.
func (r *run) cpuTime() time.Duration {
	if !r.shared() {
		return r.process.cpuTime()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.part
}

// usage is what the run has used so far. Memory is that of its process.
func (r *run) usage() (usage, error) {
	u, err := r.process.usage()
	if r.shared() {
		u.cpu = r.cpuTime()
	}
	return u, err
}
