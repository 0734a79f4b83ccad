package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/agent/logbook"
	"github.com/picketwatch/picket/core/agent/spool"
	"github.com/picketwatch/picket/core/agent/upgrade"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/receipts"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/discover"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// Config of an Agent. Dir and Helpers are needed.
type Config struct {
	Dir          string // identity, queue, plugins
	Helpers      string // the folder with picket-launch and picket-wasm
	Enrolment    Enrolment
	PolicyFiles  []string         // the first that exists limits what may run; default /etc/picket/policy.yaml, DIR/policy.yaml
	StatusListen string           // of the page on loopback; default 127.0.0.1:0
	CAFile       string           // certificates that vouch for the server, besides the system's
	InsecureHTTP bool             // speak plain http to another machine
	Captures     []Capture        // interfaces whose traffic is watched
	QueueBytes   int64            // bound of the queue; 0 means the default
	Restarts     bool             // whoever runs this starts it again after ErrRestart and ErrProven
	Trial        bool             // this version has not proved itself; see package upgrade
	Updated      bool             // this version came by an update, and another lies beneath it
	Now          func() time.Time // by which requests are signed and signatures expire
	Log          *slog.Logger
	LogLevel     slog.Level // of what is kept in the data folder
	Out          io.Writer  // what a person who started the agent should read

	trialFor   time.Duration                                           // how long a configuration may keep the server from being reached; tests are in a hurry
	openSocket func(packetsocket.Config) (*packetsocket.Socket, error) // of a capture; tests have networks of their own
}

// Agent is one running agent.
type Agent struct {
	cfg           Config
	log           *slog.Logger
	id            Identity
	started       time.Time
	release       func() // of the data folder
	registry      Registry
	closeRegistry func() error
	ceiling       *policy.Ceiling
	spool         *spool.Spool
	server        *server
	events        *event.Bus[pluginhost.Status]
	host          *pluginhost.Host
	plugins       *plugins
	outbox        *outbox
	orders        *orders
	collect       *collect.Service
	discover      *discover.Service
	captures      []*traffic.Live
	detections    []*detection // by capture, of those that are judged
	evidence      *evidence
	page          net.Listener
	owner         *owner
	book          *logbook.Book // nil when there can be none
	shelf         *upgrade.Shelf
	ending        chan error    // why Run is to end by itself
	soon          chan struct{} // a report is wanted
}

// New enrols if need be and prepares everything. Run then works; whoever does not call Run calls Close.
func New(ctx context.Context, cfg Config) (_ *Agent, err error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: cfg.Log, started: time.Now().UTC(), events: event.New[pluginhost.Status](), ending: make(chan error, 1),
		shelf: upgrade.Open(cfg.Dir, runtime.GOOS), soon: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.release, err = claim(cfg.Dir); err != nil {
		return nil, err
	}
	_ = os.Remove(filepath.Join(cfg.Dir, AddressFile)) // of one that was killed: its port may be another's by now
	a.openLog()
	cfg = a.cfg
	if err := a.identify(ctx); err != nil {
		return nil, err
	}
	a.log.Info("the agent starts", "version", config.Version)
	if err := a.openTrust(); err != nil {
		return nil, err
	}
	if a.spool, err = spool.Open(spool.Config{Dir: filepath.Join(cfg.Dir, "queue"), MaxBytes: cfg.QueueBytes, Log: cfg.Log}); err != nil {
		return nil, err
	}
	if err := a.openHost(); err != nil {
		return nil, err
	}
	a.wireServices()
	if err := a.newCaptures(); err != nil {
		return nil, err
	}
	if err := sweepCopies(cfg.Dir); err != nil {
		return nil, err
	}
	if a.orders, err = a.newOrders(); err != nil {
		return nil, err
	}
	if a.owner, err = newOwner(cfg.Dir, a.id.AgentID, time.Now); err != nil {
		return nil, err
	}
	a.page, err = listen(cfg.StatusListen, a.log)
	return a, err
}

// openLog has what is logged kept in the data folder too.
func (a *Agent) openLog() {
	book, err := logbook.Open(filepath.Join(a.cfg.Dir, LogFolder), 0)
	if err != nil {
		a.log.Warn("nothing that is logged is kept", "problem", err)
		return
	}
	a.book = book
	a.log = slog.New(slog.NewMultiHandler(a.cfg.Log.Handler(), slog.NewJSONHandler(book, &slog.HandlerOptions{Level: a.cfg.LogLevel})))
	a.cfg.Log = a.log
}

func (c *Config) fill() error {
	if c.Dir == "" || c.Helpers == "" {
		return &UsageError{"the data folder and the folder of the helper programs must be given"}
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", c.Dir, err)
	}
	c.Dir = dir
	if c.StatusListen == "" {
		c.StatusListen = "127.0.0.1:0"
	}
	if c.PolicyFiles == nil {
		c.PolicyFiles = []string{"/etc/picket/policy.yaml", filepath.Join(c.Dir, "policy.yaml")}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	return nil
}

func (a *Agent) identify(ctx context.Context) error {
	web, err := newHTTPClient(a.cfg.CAFile)
	if err != nil {
		return err
	}
	id, enrolled, err := identify(ctx, a.cfg, web)
	if err != nil {
		return err
	}
	switch {
	case enrolled:
		fmt.Fprintf(a.cfg.Out, "Enrolled at %s as %s (agent %s).\n", id.Server, id.Name, id.AgentID)
	case a.cfg.Enrolment.Token != "":
		a.log.Info("already enrolled, the token was not used", "agent", id.AgentID, "server", id.Server)
	}
	base, err := serverURL(id.Server)
	if err != nil {
		return err
	}
	if err := secureEnough(base, a.cfg.InsecureHTTP); err != nil {
		return err
	}
	a.id = id
	a.server = &server{base: base, http: web, id: &a.id, now: a.cfg.Now}
	return nil
}

// openTrust reads the owner's ceiling and the pinned root. Nothing here needs the network.
func (a *Agent) openTrust() (err error) {
	if a.ceiling, err = policy.Find(a.cfg.PolicyFiles...); err != nil {
		return err
	}
	reg, err := openRegistry(a.cfg, a.id, a.ceiling, a.overridden)
	if err != nil {
		return err
	}
	a.registry, a.closeRegistry = reg, reg.Close
	return nil
}

// overridden reports whether a revoked release may run on: an administrator says so in what this agent should run, and
// this machine's owner lets administrators say so.
func (a *Agent) overridden(id, version string) bool {
	return a.ceiling.AllowsOverride() && a.plugins != nil && a.plugins.overridden(id, version)
}

func openRegistry(c Config, id Identity, ceiling *policy.Ceiling, overridden func(id, version string) bool) (*client.Multi, error) {
	base, err := id.registryURL()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{
		Dir: filepath.Join(c.Dir, "plugins", "registry"), Base: base, RootSHA256: id.RootSHA256,
		// Whoever enrolled this machine named the root by its hash. A release build accepts no development root even so.
		AllowDevelopment: true, Release: config.IsRelease(), AllowRecent: ceiling.AllowsRecent(), Staleness: ceiling.Staleness(), Overridden: overridden, Now: c.Now,
	}
	if id.RootSHA256 == "" {
		cfg.RootFile = filepath.Join(c.Dir, rootFile)
	}
	if c.CAFile != "" {
		web, err := newHTTPClient(c.CAFile)
		if err != nil {
			return nil, err
		}
		transport := web.Transport.(*http.Transport)
		transport.DisableCompression, transport.ResponseHeaderTimeout = true, 15*time.Second
		cfg.HTTP = web
	}
	return client.OpenMulti(cfg, ceiling.Registries())
}

func (a *Agent) openHost() (err error) {
	a.plugins = newPlugins(a.cfg.Dir, a.registry, a.log)
	a.plugins.took, a.plugins.refreshed = a.server.took.Load, a.heedRevocation
	a.plugins.copies = copiesFor(a.cfg.Captures)
	if a.ceiling.SendsReceipts() {
		a.plugins.teller = &receipts.Teller{File: filepath.Join(a.cfg.Dir, "plugins", "told.json"), Key: a.id.key(), Registry: a.registry, Now: a.server.serverTime,
			Send: func(ctx context.Context, r *registry.Receipt) error {
				return a.server.call(ctx, http.MethodPost, "/api/v1/agent/receipts", nil, r, nil)
			}}
	}
	a.host, err = pluginhost.New(pluginhost.Config{
		Dir: filepath.Join(a.cfg.Dir, "plugins"), RunDir: filepath.Join(a.cfg.Dir, "run"), Helpers: a.cfg.Helpers,
		Registry: a.plugins, Ceiling: a.ceiling, Log: a.log, Events: a.events,
	})
	a.plugins.host = a.host
	return err
}

func (a *Agent) wireServices() {
	a.outbox = &outbox{spool: a.spool, server: a.server, log: a.log}
	a.collect = collect.New(collect.Config{
		Collectors: func() []collect.Collector {
			return started[collect.Collector](assigned(a.plugins, a.host.Collectors()))
		},
		Store: a.outbox.samples,
		Log:   a.log,
	})
	a.discover = discover.New(discover.Config{
		Discoverers: func() []discover.Discoverer {
			return started[discover.Discoverer](assigned(a.plugins, a.host.Discoverers()))
		},
		Scope: a.scope,
		Store: a.outbox.sightings,
		Log:   a.log,
	})
}

// keepLedgers sends what the instances cost, as samples like those that they measure.
func (a *Agent) keepLedgers(ctx context.Context) {
	for sleep(ctx, pluginhost.LedgerEvery) {
		if err := a.outbox.samples(ctx, collect.Batch{Samples: a.host.LedgerSamples()}); err != nil {
			a.log.Warn("the ledgers of the plugins could not be queued", "problem", err)
		}
	}
}

// started returns the instances that were ready at least once, as the interface that a service declares: the first
// round of a new one then comes when it can answer.
func started[I any, T interface{ Generation() uint64 }](list []T) []I {
	var out []I
	for _, v := range list {
		if v.Generation() > 0 {
			out = append(out, any(v).(I))
		}
	}
	return out
}

func (a *Agent) scope(instance string) (sdk.Scope, error) {
	for _, d := range a.host.Discoverers() {
		if d.Instance() == instance {
			return scopeOf(d.Assignment(), net.InterfaceAddrs)
		}
	}
	return sdk.Scope{}, fmt.Errorf("no discovery %q here", instance)
}

// Run works until ctx ends, then stops in order: no more measuring, plugins drained, what is queued sent if the server
// takes it quickly, everything closed. Of itself it ends with ErrRestart or ErrProven.
func (a *Agent) Run(ctx context.Context) error {
	defer a.Close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	fmt.Fprintf(a.cfg.Out, "Agent %s reports to %s. Local status: http://%s/\n", a.id.Name, a.id.Server, a.page.Addr())
	a.plugins.resume(ctx)
	sendCtx, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	var sending, working sync.WaitGroup
	sending.Go(func() { a.outbox.run(sendCtx) })
	for _, work := range []func(context.Context){
		a.collect.Run,
		a.discover.Run,
		a.capture,
		a.plugins.run,
		a.keepLedgers,
		a.report,
		a.pollForever,
		a.watchTrial,
		func(ctx context.Context) { a.serveLocal(ctx, a.page) },
	} {
		working.Go(func() { work(ctx) })
	}
	a.orders.deliver(ctx)
	var why error
	select {
	case <-ctx.Done():
	case why = <-a.ending:
		end()
	}
	fmt.Fprintln(a.cfg.Out, "Stopping.")
	working.Wait()
	a.orders.work.Wait()
	a.stopHost()
	a.lastSend(sendCtx)
	stopSending()
	sending.Wait()
	return why
}

const (
	drainTime = 8 * time.Second // for all plugins
	lastTime  = 2 * time.Second // for what is still queued and a last report
)

func (a *Agent) stopHost() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	a.host.Stop(ctx)
}

// lastSend gives the queue a moment to empty and tells the server that nothing runs here now.
func (a *Agent) lastSend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastTime)
	defer cancel()
	for a.spool.Stats().Depth > 0 && a.outbox.status().Problem == "" {
		if !sleep(ctx, 20*time.Millisecond) {
			return
		}
	}
	if err := a.server.call(ctx, http.MethodPost, "/api/v1/agent/status", nil, a.Status(), nil); err != nil {
		a.log.Debug("cannot report", "problem", reach(err))
	}
}

// Close releases what New opened. It may be called twice.
func (a *Agent) Close() {
	if a.host != nil {
		a.stopHost()
	}
	if a.spool != nil {
		a.spool.Close()
	}
	if a.closeRegistry != nil {
		_ = a.closeRegistry()
	}
	if a.page != nil {
		a.page.Close()
	}
	if a.book != nil {
		_ = a.book.Close()
	}
	if a.release != nil {
		a.release()
		a.release = nil
	}
}
