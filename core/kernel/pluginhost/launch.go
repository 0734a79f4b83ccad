package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// Descriptors that a plugin process inherits, in the order of exec.Cmd.ExtraFiles.
const (
	bytesFD    = 3 // the verified bytes: the program itself, or the guest for picket-wasm
	lifelineFD = 4
	cacheKeyFD = 5 // a pipe with the key of the compiled guests, for picket-wasm alone
)

// lifelineEnv tells package serve which descriptor to watch.
const lifelineEnv = host.LifelineEnv

// run is one process of an instance, from its start to its burial.
type run struct {
	proc     *host.Process
	inst     *host.Instance
	cmd      *exec.Cmd
	lifeline *os.File // the write end; closing it asks the plugin to leave
	sockets  string
	started  time.Time
	calls    atomic.Int64 // in progress
	release               // what it was started from
	role     role
	revived  bool // it has what the journal holds; guarded by the supervisor's turn
	output   *bucket
	used     atomic.Pointer[usage]
	says     host.Description
	mine     map[string]ShadowFinding // what a shadow says of a capture; its goroutine's alone

	mu      sync.Mutex // guards failure
	failure string     // why the host killed it
}

// launch starts the assigned plugin.
func (s *supervisor) launch() (*run, error) {
	ctx, done := s.interruptible()
	defer done()
	return s.launchAs(ctx, s.assignment, inCharge)
}

// launchAs verifies, starts and configures a process for the instance. Everything it opened is closed again when it
// fails.
func (s *supervisor) launchAs(ctx context.Context, a Assignment, as role) (*run, error) {
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
	r, err := s.startProcess(ctx, art)
	if err != nil {
		return nil, s.startError(ctx, err)
	}
	r.release, r.role, r.output = rel, as, newBucket(rel.limits.RecordsPerSecond, time.Now())
	s.host.running.Go(func() { s.guard(r) })
	if err := s.configure(ctx, r, a, art, rel.grants); err != nil {
		r.proc.Kill()
		words := s.bury(r)
		if ctx.Err() == nil && isExited(r) && sdk.ClassOf(err) != sdk.InvalidConfig {
			err = errors.New(words) // the death explains more than the broken call
		}
		return nil, s.startError(ctx, err)
	}
	return r, nil
}

func isExited(r *run) bool {
	ps := r.cmd.ProcessState
	return ps != nil && !ps.Success() && ps.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL
}

// interruptible returns a context that ends when the instance is wanted otherwise. done must be called.
func (s *supervisor) interruptible() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-s.wake:
				if changed, orders := s.pending(0); changed || orders&orderRestart != 0 {
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
		s.signal() // it may have swallowed a wake that somebody else has to see
	}
}

// startError gives a failed start its class.
func (s *supervisor) startError(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted), s.ctx.Err() != nil:
		return errInterrupted
	case sdk.ClassOf(err) == sdk.InvalidConfig, sdk.ClassOf(err) == sdk.Unsupported, sdk.ClassOf(err) == sdk.PermissionDenied:
		return &refusal{Refused, fmt.Errorf("plugin %s: %w", s.assignment.Plugin, err)}
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

// startProcess hands the verified bytes to picket-launch.
func (s *supervisor) startProcess(ctx context.Context, art *client.Artifact) (*run, error) {
	watch, hold, err := os.Pipe() // both ends close at exec; ExtraFiles makes the copy that the plugin keeps
	if err != nil {
		return nil, &trouble{fmt.Errorf("lifeline: %w", err)}
	}
	defer watch.Close()
	sockets, err := s.socketDir()
	if err != nil {
		hold.Close()
		return nil, &trouble{err}
	}
	startWithin := s.host.cfg.Deadlines.Start
	if art.Runtime == RuntimeWASM {
		startWithin = max(startWithin, s.host.cfg.Deadlines.Compile)
	}
	r := &run{lifeline: hold, sockets: sockets, started: s.host.cfg.Now(), cmd: s.command(art)}
	r.cmd.ExtraFiles = []*os.File{art.File, watch}
	if art.Runtime == RuntimeWASM {
		key, err := keyPipe(s.host.guestKey)
		if err != nil {
			r.end()
			return nil, &trouble{err}
		}
		defer key.Close()
		r.cmd.ExtraFiles = append(r.cmd.ExtraFiles, key)
	}
	// The parent-death signal comes when the thread that forked dies, which in Go can be long before the process does;
	// because the command asks for that signal, host.Start keeps the thread for as long as the plugin lives.
	r.proc, err = host.Start(ctx, host.Config{
		Name:         s.name,
		Cmd:          r.cmd,
		SocketDir:    sockets,
		StartTimeout: startWithin,
		Log:          slog.New(ringHandler{ring: s.log}),
	})
	if err != nil {
		r.end()
		if words := s.log.lastWords(r.started); words != "" {
			err = fmt.Errorf("%w (it wrote: %s)", err, words)
		}
		return nil, err
	}
	return r, nil
}

// command prepares picket-launch. The environment holds nothing of ours but the number of the lifeline.
func (s *supervisor) command(art *client.Artifact) *exec.Cmd {
	spec := launch.Spec{
		Parent:   os.Getpid(),
		Lifeline: lifelineFD,
		Name:     s.assignment.Plugin,
		Limits:   []launch.Limit{{Resource: launch.OpenFiles, Value: s.host.cfg.OpenFiles}},
		Program:  fmt.Sprintf("/proc/self/fd/%d", bytesFD),
	}
	if art.Runtime == RuntimeWASM {
		spec.Keep = []int{bytesFD, cacheKeyFD}
		spec.Name = "picket-wasm " + s.assignment.Plugin
		spec.Program = filepath.Join(s.host.cfg.Helpers, "picket-wasm")
		spec.Args = []string{"--guest-fd", strconv.Itoa(bytesFD), "--cache", s.host.guestCache(), "--cache-key-fd", strconv.Itoa(cacheKeyFD)}
		if n, err := art.Descriptor.Manifest.Limits.MemoryBytes(); err == nil && n > 0 {
			spec.Args = append(spec.Args, "--memory", strconv.FormatInt(max(n>>20, 1), 10))
		}
	}
	cmd := exec.Command(filepath.Join(s.host.cfg.Helpers, "picket-launch"), spec.CommandLine()...)
	cmd.Env = []string{lifelineEnv + "=" + strconv.Itoa(lifelineFD)}
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup()
	return cmd
}

// socketDir makes the folder for this start's socket, with a name as short as can be: the path of a socket has a bound.
func (s *supervisor) socketDir() (string, error) {
	dir := filepath.Join(s.host.runDir, "p"+strconv.FormatUint(s.host.starts.Add(1), 36))
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
	limit := s.host.cfg.Deadlines.Configure
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("did not accept its configuration within %s", limit))
	defer cancel()
	about, err := checkIdentity(ctx, r, a.Plugin, art.Descriptor.Manifest.Kind)
	if err != nil {
		return causeOf(ctx, err)
	}
	if packets := about.Subscription.Packets; packets != nil {
		if err := packets.Validate(); err != nil {
			return sdk.Errorf(sdk.Unsupported, "its subscription: %w", err)
		}
	}
	state := filepath.Join(s.host.stateRoot(), r.role.folder()+url.PathEscape(s.name))
	if err := os.MkdirAll(state, 0o700); err != nil {
		return &trouble{fmt.Errorf("state folder: %w", err)}
	}
	cfg := a.Config
	if len(cfg) == 0 {
		cfg = []byte("{}")
	}
	inst, err := r.proc.Configure(ctx, host.InstanceConfig{
		Instance: s.name, Plugin: a.Plugin, Config: cfg, Secrets: a.Secrets, Grants: grants, StateDir: state,
		DenyDial: denied(s.host.cfg.Ceiling),
	})
	if err != nil {
		return causeOf(ctx, err)
	}
	r.inst = inst
	return nil
}

// denied is what the plugin's side checks after it resolved a name.
func denied(c *policy.Ceiling) []string {
	var out []string
	for _, p := range c.Denied() {
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

// fail kills the process for a reason that the epitaph repeats.
func (r *run) fail(reason string) {
	r.mu.Lock()
	if r.failure == "" {
		r.failure = reason
	}
	r.mu.Unlock()
	killGroup(r.proc.PID())
}

// stop lets the process finish, or kills it when ctx ends.
func (r *run) stop(ctx context.Context) {
	if err := r.proc.Stop(ctx); err != nil || ctx.Err() != nil {
		r.proc.Kill()
	}
}

// end frees what belongs to the run once its process has ended or was never started.
func (r *run) end() {
	r.lifeline.Close()
	if r.proc != nil {
		killGroup(r.proc.PID()) // whatever the plugin may have started
		r.proc.Kill()           // waits until it is gone and its last lines are read
	}
	os.RemoveAll(r.sockets)
}

// idle reports whether nobody waits for an answer of the plugin.
func (r *run) idle() bool { return r.calls.Load() == 0 }

// cpuTime is the exact total of a process that has ended.
func (r *run) cpuTime() time.Duration {
	if ps := r.cmd.ProcessState; ps != nil {
		return ps.UserTime() + ps.SystemTime()
	}
	return 0
}

// epitaph says why the process ended, in words that fit after "it".
func (r *run) epitaph(log *logRing) string {
	r.mu.Lock()
	failure := r.failure
	r.mu.Unlock()
	if failure != "" {
		return failure
	}
	end := "ended"
	if ps := r.cmd.ProcessState; ps != nil {
		if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			end = "was killed by signal " + strconv.Itoa(int(ws.Signal())) + " (" + ws.Signal().String() + ")"
		} else {
			end = "exited with status " + strconv.Itoa(ps.ExitCode())
		}
	}
	if words := log.lastWords(r.started); words != "" {
		end += ": " + words
	}
	return end
}
