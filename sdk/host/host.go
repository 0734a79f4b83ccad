// Package host is the core's side of the transport: it starts a plugin process, talks to it, and ends it. In goes a
// prepared command, out come instances whose methods do the work of their kind.
//
// It takes no plugin's word: the address that a plugin reports must be its own socket, messages, counts and texts are
// bounded, and what does not make sense (a NaN, an unknown severity, a sighting outside the scope) is refused. It does
// not supervise: who restarts what, and when a deadline means a kill, is decided by the caller.
package host

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/internal/identity"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/plane"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/grpc"
)

type (
	// Description is what a plugin says about itself.
	Description = abi.Description
	// InstanceConfig is everything that an instance gets.
	InstanceConfig = abi.InstanceConfig
)

// pluginName is the name of the one go-plugin plugin of a process: all services share a connection.
const pluginName = "picket"

// clientCertEnv is where a plugin finds the host's certificate; it answers with its own in the line of the handshake.
const clientCertEnv = "PLUGIN_CLIENT_CERT"

// LifelineEnv names the descriptor of the lifeline, for a caller that prepares it itself.
const LifelineEnv = wire.LifelineEnv

// RecordsEnv names the descriptor of the plugin's end of the record plane.
const RecordsEnv = wire.RecordsEnv

// Panicked is the message of the line in the log that names the instance whose panic ends its process.
const Panicked = wire.Panicked

type (
	// Ring is memory that the host shares with its plugins, for batches that many of them read.
	Ring = plane.Ring
	// Block is one frame for several instances, in a Ring or in memory of the host's own.
	Block = plane.Block
	// RingStats says how a Ring is used.
	RingStats = plane.RingStats
)

// NewBlock makes a block of a frame in memory of the host's own, which must not be changed while the block is used. Each process
// is sent it once, as far as it takes part in that.
func NewBlock(frame []byte) *Block { return plane.NewBlock(frame) }

// NewRing makes a ring of about size bytes, at most 1 GiB. Only on Linux.
func NewRing(size int) (*Ring, error) { return plane.NewRing(size) }

// RecordsPair returns the two ends of a record plane: one for Config.Records, one for the extra files of the command. The
// caller closes the second one once the process was started. Only on Linux; elsewhere leave Config.Records nil.
func RecordsPair() (host, child *os.File, err error) { return plane.Pair() }

// Config says how to start a process.
type Config struct {
	Name string // for errors and logs
	// Cmd is prepared to be started: path, arguments, extra files, attributes. Its environment is exactly what the plugin
	// gets, besides the handshake of go-plugin. Its stdin, stdout and stderr are taken over. When LifelineEnv is not in
	// the environment, a lifeline is added.
	Cmd *exec.Cmd
	// SocketDir is a short path of a folder that only its owner may enter.
	SocketDir string
	// SocketRoot, if not nil, is the folder below which the host finds the files of the process with that id, for one
	// with a view of its own: "/proc/42/root". The plugin's socket lies in it, at the path that the plugin knows.
	SocketRoot func(pid int) string
	// StartTimeout is how long all of the start may take, until the plugin answers; 10 s when 0.
	StartTimeout time.Duration
	// Log gets the lines of the plugin, at most 50 a second in the long run.
	Log *slog.Logger
	// LogDropped, if not nil, hears of each line that was dropped because the plugin writes too many.
	LogDropped func(lines int)
	// Misnamed, if not nil, hears of an instance the name that a finding carried when it was not that of its plugin. The finding
	// gets the right one.
	Misnamed func(instance, name string)
	// Stderr, if not nil, gets the raw bytes that the process writes there.
	Stderr io.Writer
	// Records is the host's end of the record plane, see RecordsPair; its other end is one of Cmd's extra files, named by
	// RecordsEnv. Start closes it, also when it fails. Nil, or a plugin that does not speak the plane: records travel by gRPC.
	Records *os.File
	// Ring, if not nil, is shared with the process. Everything in it can be read by all of its readers.
	Ring *Ring

	oneByOne bool // batches by gRPC travel as to a plugin that has no InspectStream
}

const (
	defaultStartTimeout = 10 * time.Second
	// stopGrace is how long a process may take to exit once it was asked to.
	stopGrace = 2 * time.Second
	// maxSocketDir leaves room for the names that go-plugin adds within the 108 bytes of a socket's path.
	maxSocketDir = 64
)

// Process is a running plugin process.
type Process struct {
	name   string
	client *goplugin.Client
	runner *process
	conn   *grpc.ClientConn
	life   pb.LifecycleServiceClient
	plane  *plane.Host   // nil when records travel by gRPC
	ended  chan struct{} // closed when everything that belonged to the process is gone

	misnamed func(instance, name string)
	oneByOne bool

	mu        sync.Mutex // guards all below, and runner until Start has returned
	instances map[string]*Instance
	worked    map[string]time.Duration
	fault     error // how the process broke the rules
}

// Start starts the process and waits until it answers. When it fails, or ctx ends first, nothing is left running.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	if cfg.Records != nil {
		defer cfg.Records.Close()
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("start plugin %s: %w", cfg.Name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, fmt.Errorf("timeout: it was not up within %s", cfg.StartTimeout))
	defer cancel()
	p := &Process{name: cfg.Name, ended: make(chan struct{}), instances: map[string]*Instance{}, misnamed: cfg.Misnamed, oneByOne: cfg.oneByOne}
	lines := newLineLog(cfg.Log, cfg.Stderr)
	lines.told = cfg.LogDropped
	own, err := identity.New()
	if err != nil {
		return nil, fmt.Errorf("start plugin %s: %w", cfg.Name, err)
	}
	p.client = goplugin.NewClient(p.clientConfig(cfg, lines, own))
	stop := context.AfterFunc(ctx, func() { p.runnerKill() })
	conn, err := p.connect()
	if err == nil {
		err = p.openRecords(ctx, cfg)
	}
	if !stop() || err != nil {
		p.runnerKill()
		p.client.Kill()
		p.closeRecords()
		lines.flush()
		return nil, fmt.Errorf("start plugin %s: %w", cfg.Name, errors.Join(explain(err, p.ownExit()), context.Cause(ctx)))
	}
	p.conn, p.life = conn, pb.NewLifecycleServiceClient(conn)
	go func() {
		<-p.runner.exited
		p.client.Kill() // the process is gone; this closes the connection and removes the socket
		p.closeRecords()
		lines.flush()
		close(p.ended)
	}()
	return p, nil
}

func (c *Config) check() error {
	switch {
	case c.Cmd == nil:
		return errors.New("no command")
	case c.SocketDir == "" || len(c.SocketDir) > maxSocketDir:
		return fmt.Errorf("the folder for sockets %q must be a path of at most %d bytes, since the path of a socket has a bound: choose a shorter one", c.SocketDir, maxSocketDir)
	case c.Log == nil:
		return errors.New("no log")
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	return nil
}

func (p *Process) clientConfig(cfg Config, lines *lineLog, own tls.Certificate) *goplugin.ClientConfig {
	tlsConfig := identity.Client(own) // go-plugin adds the plugin's certificate as the only root
	return &goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: sdk.Protocol, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{sdk.Protocol: {pluginName: connPlugin{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        tlsConfig,
		SkipHostEnv:      true,
		StartTimeout:     cfg.StartTimeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: cfg.SocketDir},
		RunnerFunc: func(_ hclog.Logger, env *exec.Cmd, dir string) (runner.Runner, error) {
			r, err := newProcess(cfg, append(env.Env, clientCertEnv+"="+identity.PEM(own)), dir)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.runner = r
			return r, err
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage),
				grpc.ForceCodecV2(wire.Codec())),
			grpc.WithTransportCredentials(wire.Credentials(tlsConfig)), grpc.WithMaxHeaderListSize(64 << 10),
			grpc.WithInitialWindowSize(wire.Window), grpc.WithInitialConnWindowSize(wire.Window),
			grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(wire.ConnBuffer), // TLS has a buffer for what is read
		},
		PluginLogBufferSize: maxLine, // a longer line comes in pieces, and is cut there anyway

		Stderr:     lines.writer(slog.LevelInfo),
		SyncStdout: lines.writer(slog.LevelInfo),
		SyncStderr: lines.writer(slog.LevelInfo),
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
	}
}

func (p *Process) connect() (*grpc.ClientConn, error) {
	protocol, err := p.client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return raw.(*grpc.ClientConn), nil
}

// connPlugin hands out the connection itself: each service has its own client on it.
type connPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (connPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host serves nothing")
}

func (connPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// runnerKill kills the process if it was started.
func (p *Process) runnerKill() {
	p.mu.Lock()
	r := p.runner
	p.mu.Unlock()
	if r != nil {
		r.Kill(context.Background()) //nolint:errcheck // it only fails for a process that has ended
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.runner.pid() }

// Exited is closed when the process has ended, for whatever reason.
func (p *Process) Exited() <-chan struct{} { return p.runner.exited }

// ExitCode is the exit code once the process has ended, -1 before and when a signal ended it.
func (p *Process) ExitCode() int { return p.runner.exitCode() }

// Kill ends the process at once and waits until it is gone.
func (p *Process) Kill() {
	p.runnerKill()
	<-p.ended
}

// Stop stops all instances, asks the process to exit, and kills it when it has not by the end of ctx or two seconds
// after it was asked. When it returns the process is gone. It may be called twice.
func (p *Process) Stop(ctx context.Context) error {
	var errs []error
	for _, i := range p.running() {
		if err := i.Stop(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	go p.client.Kill() // asks for a shutdown; a process that hangs would keep it waiting
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.runner.exited:
	case <-grace.C:
	case <-ctx.Done():
	}
	p.Kill()
	if len(errs) > 0 {
		return fmt.Errorf("stop plugin %s: %w", p.name, errors.Join(errs...))
	}
	return nil
}

// StopInstance ends an instance of which nobody knows whether it is there: its Configure was given up.
func (p *Process) StopInstance(ctx context.Context, instance string) error {
	_, err := p.life.Stop(ctx, &pb.StopRequest{Instance: instance})
	return p.callError(ctx, "stop "+instance, err)
}

// Worked says how long the calls of each instance had taken when one was asked for its health last. It is nil for a process
// that has one.
func (p *Process) Worked() map[string]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.worked
}

func (p *Process) hasWorked(by map[string]uint64) {
	worked := make(map[string]time.Duration, len(by))
	for id, n := range by {
		worked[id] = time.Duration(min(n, math.MaxInt64))
	}
	p.mu.Lock()
	p.worked = worked
	p.mu.Unlock()
}

func (p *Process) running() []*Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*Instance, 0, len(p.instances))
	for _, i := range p.instances {
		out = append(out, i)
	}
	return out
}

// Bounds of what a process says about itself.
const (
	maxPlugins = 256
	maxSchema  = 1 << 20
)

// Describe asks the process what plugins it serves.
func (p *Process) Describe(ctx context.Context) ([]Description, error) {
	resp, err := p.life.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return nil, p.callError(ctx, "describe", err)
	}
	if len(resp.GetPlugins()) > maxPlugins {
		return nil, sdk.Errorf(sdk.Internal, "plugin process %s names %d plugins, at most %d are allowed", p.name, len(resp.GetPlugins()), maxPlugins)
	}
	out := make([]Description, 0, len(resp.GetPlugins()))
	for _, d := range resp.GetPlugins() {
		v := wire.DescriptionFromPB(d)
		if !sdk.ValidID(v.ID) || len(v.ConfigSchema) > maxSchema || !json.Valid(v.ConfigSchema) {
			return nil, sdk.Errorf(sdk.Internal, "plugin process %s describes %.80q badly", p.name, v.ID)
		}
		out = append(out, v)
	}
	return out, nil
}

// Configure makes an instance: the plugin decodes and checks the configuration and starts. Only secrets that the grants
// allow are sent.
func (p *Process) Configure(ctx context.Context, cfg InstanceConfig) (*Instance, error) {
	if !check.Instance(cfg.Instance) || !sdk.ValidID(cfg.Plugin) {
		return nil, sdk.Errorf(sdk.InvalidConfig, "configure instance %q of plugin %q: these are not valid names", cfg.Instance, cfg.Plugin)
	}
	cfg.Secrets = grantedSecrets(cfg)
	channel, err := p.openChannel(&cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: configure %s: %w", p.name, cfg.Instance, err)
	}
	resp, err := p.life.Configure(ctx, wire.InstanceConfigToPB(cfg))
	if err != nil {
		if channel != nil {
			channel.Close()
		}
		return nil, p.callError(ctx, "configure "+cfg.Instance, err)
	}
	i := newInstance(p, cfg, channel, p.carrierFor(cfg.Instance, channel, resp))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instances[cfg.Instance] = i
	return i, nil
}

func grantedSecrets(cfg InstanceConfig) map[string]string {
	out := map[string]string{}
	for name, v := range cfg.Secrets {
		if sdk.Grants(cfg.Grants).Secret(name) == nil {
			out[name] = v
		}
	}
	return out
}

// callError says what failed where, keeping the class. The end of ctx shows through errors.Is.
func (p *Process) callError(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if wire.Ended(err) {
		awaitDeadline(ctx)
	}
	if ctx.Err() != nil {
		return sdk.Errorf(sdk.Temporary, "%s: %s: %w", p.name, what, ctx.Err())
	}
	if fault := p.Fault(); fault != nil {
		return sdk.Errorf(sdk.Internal, "%s: %s: the plugin process was ended: %w", p.name, what, fault)
	}
	err = wire.ToError(err)
	if errors.Is(err, plane.ErrClosed) {
		return sdk.Errorf(sdk.Temporary, "%s: %s: the plugin process has ended: %w", p.name, what, err)
	}
	select {
	case <-p.runner.exited:
		return sdk.Errorf(sdk.Temporary, "%s: %s: the plugin process has ended: %w", p.name, what, err)
	default:
	}
	return fmt.Errorf("%s: %s: %w", p.name, what, err)
}

// deadlineSkew is how much earlier the plugin may notice the deadline of a call than the host.
const deadlineSkew = 100 * time.Millisecond

// awaitDeadline waits for a deadline that is about to pass: the plugin saw it already.
func awaitDeadline(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < deadlineSkew {
		<-ctx.Done()
	}
}

// onWindows tells that go-plugin listens on TCP there.
const onWindows = runtime.GOOS == "windows"
