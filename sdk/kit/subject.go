package kit

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/internal/instance"
)

// Subject is a plugin that can be started as often as the checks need it.
type Subject interface {
	// Runtime is "in-process", "process" or "wasm".
	Runtime() string
	// Plugin is the id of the plugin that is meant, "" when there is only one.
	Plugin() string
	// Start starts it afresh.
	Start(ctx context.Context) (Session, error)
}

// Session is a plugin that runs. Instances are named by the one who configures them.
type Session interface {
	Describe(ctx context.Context) ([]abi.Description, error)
	Configure(ctx context.Context, cfg abi.InstanceConfig) error
	Collect(ctx context.Context, instance string, req sdk.CollectRequest, sink sdk.SampleSink) error
	Discover(ctx context.Context, instance string, scope sdk.Scope, sink sdk.SightingSink) error
	Inspect(ctx context.Context, instance, capture string, frame []byte, sink sdk.FindingSink) error
	Flush(ctx context.Context, instance string, sink sdk.FindingSink) error
	Notify(ctx context.Context, instance string, notice sdk.Notice) (sdk.Receipt, error)
	Health(ctx context.Context, instance string) error
	Snapshot(ctx context.Context, instance string) ([]byte, error)
	Restore(ctx context.Context, instance string, state []byte) error
	Stop(ctx context.Context, instance string) error
	// Close ends everything.
	Close() error
	// Log is what the plugin wrote so far.
	Log() string
	// Use is what the plugin asked of the outside world; false when nobody watched.
	Use() ([]Use, bool)
	// PID is the process, 0 for this one.
	PID() int
}

// Use is one thing that a plugin asked of the outside world.
type Use struct {
	Cap    string // for example "net.dial"
	Detail string // for example "tcp 192.0.2.1:443"
	Denied bool
}

// stopGrace is how long a session may take to end.
const stopGrace = 2 * time.Second

// startPatience is how long a start may take: a guest is compiled at its first.
const startPatience = 2 * time.Minute

// maxLog bounds what is kept of a plugin's log.
const maxLog = 1 << 20

// transcript keeps what a plugin writes.
type transcript struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), max(0, maxLog-len(t.text)))]...)
	return len(p), nil
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// --- in this process ---

// InProcess is a plugin in this process, treated by the same code as in production. newHost makes the view of the
// outside world of each instance, and what to do when the session ends.
func InProcess(p sdk.Plugin, newHost func(abi.InstanceConfig) (sdk.Host, func(), error)) Subject {
	return inProcess{p, newHost}
}

type inProcess struct {
	plugin  sdk.Plugin
	newHost func(abi.InstanceConfig) (sdk.Host, func(), error)
}

func (s inProcess) Runtime() string { return "in-process" }
func (s inProcess) Plugin() string  { return s.plugin.ID }

func (s inProcess) Start(context.Context) (Session, error) {
	l := &local{borrows: s.plugin.Borrows}
	l.Set = instance.New(instance.Config{
		Plugins: []sdk.Plugin{s.plugin},
		NewHost: func(cfg abi.InstanceConfig) (sdk.Host, error) {
			h, end, err := s.newHost(cfg)
			if err != nil {
				return nil, err
			}
			l.ends = append(l.ends, end)
			return &watched{Host: h, session: l, log: slog.New(tee{h.Log().Handler(), slog.NewTextHandler(&l.log, nil)})}, nil
		},
	})
	return l, nil
}

// local is a session in this process.
type local struct {
	*instance.Set
	log     transcript
	ends    []func()
	borrows bool

	mu   sync.Mutex // guards uses
	uses []Use
}

func (l *local) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	err := l.StopAll(ctx)
	for _, end := range l.ends {
		end()
	}
	l.ends = nil
	return err
}

func (l *local) Log() string { return l.log.String() }
func (l *local) PID() int    { return 0 }

func (l *local) Use() ([]Use, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.uses), true
}

// maxUses bounds what is kept of what a plugin asked for.
const maxUses = 10_000

func (l *local) used(capability, detail string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.uses) < maxUses {
		l.uses = append(l.uses, Use{capability, detail, sdk.ClassOf(err) == sdk.PermissionDenied && err != nil})
	}
}

// watched notes what a plugin asks of its host.
type watched struct {
	sdk.Host
	session *local
	log     *slog.Logger
}

func (w *watched) Log() *slog.Logger { return w.log }

func (w *watched) Secret(name string) (string, error) {
	v, err := w.Host.Secret(name)
	w.session.used(sdk.CapSecretRead, name, err)
	return v, err
}

func (w *watched) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.Host.Dial(ctx, network, address)
	capability := sdk.CapNetDial
	if network == "unix" {
		capability = sdk.CapUnixConnect
	}
	w.session.used(capability, network+" "+address, err)
	return conn, err
}

func (w *watched) Fetch(ctx context.Context, req sdk.Request) (sdk.Response, error) {
	res, err := w.Host.Fetch(ctx, req)
	w.session.used(sdk.CapNetDial, "fetch", err) // not the URL, which may hold a secret
	return res, err
}

func (w *watched) Open(name string) (fs.File, error) {
	f, err := w.Host.Open(name)
	w.session.used(sdk.CapFSRead, name, err)
	return f, err
}

func (w *watched) Model(id string) (*sdk.Model, error) {
	m, err := w.Host.Model(id)
	if err != nil { // what it requires it may open; that is no permission
		w.session.used("model", id, err)
	}
	return m, err
}

func (w *watched) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := w.Host.Listen(ctx, network, address)
	w.session.used(sdk.CapNetListen, network+" "+address, err)
	return l, err
}

func (w *watched) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	l, err := w.Host.ListenPacket(ctx, network, address)
	w.session.used(sdk.CapNetListen, network+" "+address, err)
	return l, err
}

func (w *watched) ListenICMP(network string) (net.PacketConn, error) {
	l, err := w.Host.ListenICMP(network)
	w.session.used(sdk.CapNetRaw, "icmp "+network, err)
	return l, err
}

// tee writes to two logs.
type tee struct{ a, b slog.Handler }

func (t tee) Enabled(context.Context, slog.Level) bool { return true }

func (t tee) Handle(ctx context.Context, r slog.Record) error {
	_ = t.b.Handle(ctx, r.Clone()) // it writes to memory
	if !t.a.Enabled(ctx, r.Level) {
		return nil
	}
	return t.a.Handle(ctx, r)
}

func (t tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tee{t.a.WithAttrs(attrs), t.b.WithAttrs(attrs)}
}
func (t tee) WithGroup(name string) slog.Handler {
	return tee{t.a.WithGroup(name), t.b.WithGroup(name)}
}

// --- a process ---

// Program says how a plugin is started as a process of its own.
type Program struct {
	ID      string // of the plugin that is meant; "" when the program has only one
	Runtime string // "process" or "wasm"
	// Command prepares a start; done is called when the command has been started or has failed.
	Command func() (cmd *exec.Cmd, done func(), err error)
	// Watch, if not nil, prepares the command so that somebody sees what the plugin asks for: the broker of production.
	Watch func(cmd *exec.Cmd) (Watcher, error)
	// StateDir is a folder for the state of instances, "" for none.
	StateDir string
}

// Watcher sees what a process asks of the outside world.
type Watcher interface {
	// Granted is called with what an instance was granted before it is configured.
	Granted(cfg abi.InstanceConfig)
	Use() []Use
	Close() error
}

// Process is a plugin in a process of its own: a program, or a guest in picket-wasm.
func Process(p Program) Subject { return program{p} }

type program struct{ Program }

func (p program) Runtime() string { return p.Program.Runtime }
func (p program) Plugin() string  { return p.ID }

func (p program) Start(ctx context.Context) (Session, error) {
	dir, err := os.MkdirTemp("", "pk") // short: the path of a socket has a bound
	if err != nil {
		return nil, err
	}
	s := &remote{dir: dir, instances: map[string]*host.Instance{}, stateDir: p.StateDir}
	cmd, done, err := p.Command()
	if err != nil {
		return nil, s.fail(err)
	}
	defer done()
	if p.Watch != nil {
		if s.watcher, err = p.Watch(cmd); err != nil {
			return nil, s.fail(err)
		}
	}
	s.process, err = host.Start(ctx, host.Config{
		Name: p.Program.Runtime, Cmd: cmd, SocketDir: dir, StartTimeout: startPatience, Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		if words := s.log.String(); words != "" {
			err = fmt.Errorf("%w\nit wrote: %s", err, words)
		}
		return nil, s.fail(err)
	}
	return s, nil
}

// remote is a session in another process.
type remote struct {
	process  *host.Process
	dir      string
	stateDir string
	log      transcript
	watcher  Watcher

	mu        sync.Mutex // guards instances
	instances map[string]*host.Instance
}

func (s *remote) fail(err error) error {
	os.RemoveAll(s.dir)
	if s.watcher != nil {
		s.watcher.Close() // the failed start says more
	}
	return err
}

func (s *remote) find(name string) (*host.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.instances[name]; i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("there is no instance %q", name)
}

func (s *remote) Describe(ctx context.Context) ([]abi.Description, error) {
	return s.process.Describe(ctx)
}

func (s *remote) Configure(ctx context.Context, cfg abi.InstanceConfig) error {
	if s.watcher != nil {
		s.watcher.Granted(cfg)
	}
	cfg.StateDir = s.stateDir
	i, err := s.process.Configure(ctx, cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances[cfg.Instance] = i
	return nil
}

func (s *remote) Collect(ctx context.Context, name string, req sdk.CollectRequest, sink sdk.SampleSink) error {
	i, err := s.find(name)
	if err != nil {
		return err
	}
	return i.Collect(ctx, req, sink)
}

func (s *remote) Discover(ctx context.Context, name string, scope sdk.Scope, sink sdk.SightingSink) error {
	i, err := s.find(name)
	if err != nil {
		return err
	}
	return i.Discover(ctx, scope, sink)
}

func (s *remote) Inspect(ctx context.Context, name, capture string, frame []byte, sink sdk.FindingSink) error {
	i, err := s.find(name)
	if err != nil {
		return err
	}
	return i.Inspect(ctx, capture, frame, sink)
}

func (s *remote) Flush(ctx context.Context, name string, sink sdk.FindingSink) error {
	i, err := s.find(name)
	if err != nil {
		return err
	}
	return i.Flush(ctx, sink)
}

func (s *remote) Notify(ctx context.Context, name string, notice sdk.Notice) (sdk.Receipt, error) {
	i, err := s.find(name)
	if err != nil {
		return sdk.Receipt{}, err
	}
	return i.Notify(ctx, notice)
}

func (s *remote) Health(ctx context.Context, name string) error {
	i, err := s.find(name)
	if err != nil {
		return err
	}
	_, err = i.Health(ctx)
	return err
}

func (s *remote) Snapshot(ctx context.Context, name string) ([]byte, error) {
	i, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return i.Snapshot(ctx)
}

func (s *remote) Restore(ctx context.Context, name string, state []byte) error {
	i, err := s.find(name)
	if err != nil {
		return err
	}
	return i.Restore(ctx, state)
}

func (s *remote) Stop(ctx context.Context, name string) error {
	s.mu.Lock()
	i := s.instances[name]
	s.mu.Unlock()
	if i == nil {
		return nil
	}
	return i.Stop(ctx)
}

func (s *remote) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopGrace)
	defer cancel()
	err := s.process.Stop(ctx)
	if s.watcher != nil {
		s.watcher.Close()
	}
	os.RemoveAll(s.dir)
	return err
}

func (s *remote) Log() string { return s.log.String() }
func (s *remote) PID() int    { return s.process.PID() }

func (s *remote) Use() ([]Use, bool) {
	if s.watcher == nil {
		return nil, false
	}
	return s.watcher.Use(), true
}
