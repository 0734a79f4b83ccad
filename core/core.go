// Package core puts the server together: it alone knows all of its parts. A data folder and an address go in; New
// opens what is stored, decides which registry to trust and starts the plugins that are enabled; Run serves until its
// context ends and then stops everything in order.
package core

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/alert"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/discover"
	"github.com/picketwatch/picket/core/services/export"
	"github.com/picketwatch/picket/core/services/incident"
	"github.com/picketwatch/picket/core/services/metricrule"
	"github.com/picketwatch/picket/core/services/notify"
	"github.com/picketwatch/picket/core/services/rollout"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/server"
)

// Config says how a server runs.
type Config struct {
	Settings config.Picketd // data folder, address and bounds
	Dev      bool           // local registry, default plugins, a local agent, a sample capture
	Programs string         // the folder of this program, where the helpers and the built registry lie
	Pages    fs.FS          // the web app
	Out      io.Writer
	Log      *slog.Logger
	Now      func() time.Time
}

// Core is one server.
type Core struct {
	cfg      Config
	tenant   string // whose the server's own series, sightings, plugins and notices are
	folder   folder
	listener net.Listener

	control     *store.Control
	telemetry   *store.Telemetry
	flows       *store.Flows
	auth        *auth.Auth
	audit       *refusals
	syslog      *audit.Syslog // where the audit log is sent; nil: nowhere
	agents      *agents.Agents
	queue       *queue.Queue
	events      *event.Bus[pluginhost.Status]
	changes     *event.Subscription[pluginhost.Status]
	host        *pluginhost.Host
	source      source
	ceiling     *policy.Ceiling
	shop        *server.Server // of the registry in the folder; nil when there is none, or it cannot be written to
	nodeKey     ed25519.PrivateKey
	heeded      atomic.Int64   // how many revocations the host and the agents were told of
	intake      *intake.Intake // of releases; nil when no keys are here
	catalogue   *catalogue.Catalogue
	rollouts    *rollout.Service
	live        *api.Live
	alerts      *alert.Service
	incidents   *incident.Service
	harmless    *incident.Lists
	promQL      *promql.Engine
	metricRules *metricrule.Service
	notify      *notify.Service
	export      *export.Service
	told        *told
	traffic     *traffic.Service
	evidence    *evidence
	api         *api.Server
	child       *child // the local agent of --dev
	bench       *bench // plugins under development, with --dev
	collect     *collect.Service
	discover    *discover.Service
	record      func(ctx context.Context, x traffic.Capture) (traffic.Recorder, error) // keeps the flows of a capture; nil keeps none

	backups *backups
	keep    *retention
	own     *self

	closers []func() // undo New, last first
}

// New opens everything. What it returned must be run or closed.
func New(ctx context.Context, cfg Config) (_ *Core, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Out == nil {
		cfg.Out = io.Discard
	}
	c := &Core{cfg: cfg, tenant: store.DefaultTenant}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for _, step := range []func(context.Context) error{
		c.openFolder, c.listen, c.openStores, c.openKernel, c.openPlugins, c.openServices, c.openAPI,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close undoes New. Run does it too.
func (c *Core) Close() {
	for len(c.closers) > 0 {
		last := len(c.closers) - 1
		c.closers[last]()
		c.closers = c.closers[:last]
	}
}

func (c *Core) closeLater(f func()) { c.closers = append(c.closers, f) }

func (c *Core) openFolder(context.Context) error {
	f, err := claim(c.cfg.Settings.Data)
	if err != nil {
		return err
	}
	c.folder = f
	c.closeLater(f.release)
	return nil
}

func (c *Core) listen(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.cfg.Settings.Listen)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("address %s is in use by another program: stop it or choose another address with --listen", c.cfg.Settings.Listen)
	case err != nil:
		return fmt.Errorf("cannot listen on %s (%s): choose another address with --listen", c.cfg.Settings.Listen, reason(err))
	}
	if c.cfg.Settings.TLSCert != "" {
		if l, err = overTLS(l, c.cfg.Settings); err != nil {
			return err
		}
	}
	c.listener = l
	c.closeLater(func() { l.Close() })
	return nil
}

func overTLS(l net.Listener, settings config.Picketd) (net.Listener, error) {
	pair, err := tls.LoadX509KeyPair(settings.TLSCert, settings.TLSKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read tls_cert and tls_key: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}), nil
}

// reason is the last part of a network error: the rest repeats the address.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

func (c *Core) openStores(ctx context.Context) (err error) {
	settings := c.cfg.Settings
	if c.control, err = openControl(ctx, c.folder, settings, c.cfg.Now); err != nil {
		return err
	}
	c.closeLater(func() { c.complain("close the control state", c.control.Close()) })
	c.telemetry, err = store.OpenTelemetry(ctx, store.TelemetryConfig{Dir: c.folder.path("telemetry"), Now: c.cfg.Now, Log: c.cfg.Log,
		Room:        func(tenant string) int64 { return c.control.Limit(tenant, store.QuotaSeries) },
		Full:        func(tenant string) { c.control.CountRefused(tenant, store.QuotaSeries, 1) },
		MemoryLimit: int64(settings.Telemetry.MemoryLimit), Threads: settings.Telemetry.Threads, Archive: time.Duration(settings.Telemetry.Archive),
		Retention: store.TelemetryRetention{Raw: time.Duration(settings.Telemetry.Retention), FiveMinutes: time.Duration(settings.Telemetry.FiveMinutes),
			Hours: time.Duration(settings.Telemetry.Hours), Days: time.Duration(settings.Telemetry.Days)}})
	if err != nil {
		return err
	}
	c.closeLater(func() {
		c.complain("close the telemetry", c.telemetry.Close())
		if c.export != nil { // what is written until then is for the sinks as well
			c.complain("close the queues of the sinks", c.export.Close())
		}
	})
	c.flows, err = store.OpenFlows(ctx, store.FlowsConfig{Dir: c.folder.path("flows"), Now: c.cfg.Now, Log: c.cfg.Log,
		Room:        func(tenant string) int64 { return c.control.Limit(tenant, store.QuotaFlows) },
		Full:        func(tenant string) { c.control.CountRefused(tenant, store.QuotaFlows, 1) },
		MemoryLimit: int64(settings.Flows.MemoryLimit), Threads: settings.Flows.Threads, Retention: time.Duration(settings.Flows.Retention)})
	if err != nil {
		return err
	}
	c.closeLater(func() { c.complain("close the flows", c.flows.Close()) })
	c.record = c.recordFlows
	if c.backups, err = newBackups(c); err != nil {
		return err
	}
	c.closeLater(c.backups.close)
	c.keep, err = newRetention(ctx, c)
	return err
}

func openControl(ctx context.Context, f folder, settings config.Picketd, now func() time.Time) (*store.Control, error) {
	settings.Data = f.root
	return store.OpenControl(ctx, store.ControlConfig{Path: f.path("control.db"), KeyFile: settings.SecretKeyFile(), Now: now})
}

func (c *Core) complain(what string, err error) {
	if err != nil {
		c.cfg.Log.Error(what, "error", err)
	}
}

func (c *Core) openKernel(context.Context) (err error) {
	c.audit = newRefusals(audit.New(c.control, c.cfg.Now), c.cfg.Now)
	settings := c.cfg.Settings
	elsewhere, err := c.oidc()
	if err != nil {
		return err
	}
	c.auth, err = auth.New(auth.Config{Store: c.control, Now: c.cfg.Now, Origin: settings.PublicURL, OIDC: elsewhere,
		Idle: time.Duration(settings.Sessions.Idle), Absolute: time.Duration(settings.Sessions.Absolute)})
	if err != nil {
		return err
	}
	if c.syslog, err = c.auditElsewhere(); err != nil {
		return err
	}
	key, err := queue.LoadKey(c.folder.path("keys", "command.pem"))
	if err != nil {
		return err
	}
	if c.queue, err = queue.New(queue.Config{Store: c.control, Key: key, Now: c.cfg.Now, Log: c.cfg.Log}); err != nil {
		return err
	}
	c.agents, err = agents.New(agents.Config{Store: c.control, Audit: c.audit, CommandKey: c.queue.PublicKey(), Now: c.cfg.Now, Log: c.cfg.Log,
		LateAfter: time.Duration(settings.Agents.LateAfter), LostAfter: time.Duration(settings.Agents.LostAfter)})
	if err != nil {
		return err
	}
	boot, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	c.live = api.NewLive(strings.ReplaceAll(boot.String(), "-", ""), c.cfg.Log)
	return nil
}

func (c *Core) openPlugins(ctx context.Context) (err error) {
	ceiling, err := c.readCeiling()
	if err != nil {
		return err
	}
	if c.source, err = c.findRegistry(ctx); err != nil {
		return err
	}
	c.events = event.New[pluginhost.Status]()
	c.changes = c.events.Subscribe("server", 0) // before anything starts, so that nothing is missed
	c.closeLater(c.changes.Close)
	host := pluginhost.Config{Dir: c.folder.path("plugins"), RunDir: c.folder.path("run"), Helpers: c.cfg.Programs, Registry: noRegistry{},
		Ceiling: ceiling, Events: c.events, Memory: c.control, Log: c.cfg.Log, Now: c.cfg.Now}
	cat := catalogue.Config{Tenant: c.tenant, Store: c.control, Ceiling: ceiling, Order: c.queue.Enqueue, Notify: c.testNotice,
		Audit: c.audit, Changed: func(what any) { c.live.Publish(c.tenant, "plugins", what) }, Refreshed: c.heedRevocations, Needs: (&needs{c: c}).list, Now: c.cfg.Now, Log: c.cfg.Log}
	if c.source.client != nil {
		c.heeded.Store(c.revocations())
		c.closeLater(func() { c.complain("close the registry", c.source.client.Close()) })
		host.Registry, cat.Registry = c.source.client, c.source.client
		c.ceiling = ceiling
		if err := c.openMarket(&cat); err != nil {
			return err
		}
	}
	c.bench = newBench(c, host.Registry)
	if c.takesTrials() {
		host.Registry, cat.Unsigned = c.bench, c.bench.unsigned
	}
	if c.host, err = pluginhost.New(host); err != nil {
		return err
	}
	if err := pluginhost.CheckHelper(c.cfg.Programs, "picket-traffic"); err != nil {
		return err
	}
	cat.Host = c.host
	c.catalogue = catalogue.New(cat)
	c.rollouts = rollout.New(rollout.Config{Tenant: c.tenant, Store: c.control, Catalogue: c.catalogue, Audit: c.audit, Now: c.cfg.Now, Log: c.cfg.Log,
		Changed: func(plugin, id string) {
			c.live.Publish(c.tenant, "plugins", map[string]string{"plugin": plugin, "rollout": id})
		}})
	c.wireTrials()
	return nil
}

func (c *Core) openAPI(ctx context.Context) error {
	settings := c.cfg.Settings
	rules, err := c.openRules()
	if err != nil {
		return err
	}
	c.own = &self{core: c, silent: map[string]store.SilentAgent{}, skewed: map[string]store.SkewedAgent{}, figures: c.metrics(prometheus.NewRegistry()), began: c.cfg.Now(), heard: c.control.LastHeard()}
	cfg := api.Config{
		Control: c.control, Telemetry: c.telemetry, Flows: c.flows, Auth: c.auth, Agents: c.agents, Queue: c.queue, Audit: c.audit,
		Backups: c.backups, Retention: c.keep, SQL: c.sqlConsole(), Own: c.own, Captures: captures{c}, Evidence: c.evidence, Alerts: alertMoves{c}, Incidents: c.incidents, Inventory: newInventory(c), Catalogue: c.catalogue, Live: c.live,
		Pages: c.cfg.Pages, RegistryDir: c.source.dir, RootSHA256: c.rootSHA256, Trust: c.trust(), Version: config.Version,
		TrustedProxies: settings.Proxies(), MetricsOpenOnLoopback: settings.MetricsOpenOnLoopback,
		Dev: c.cfg.Dev, BaseURL: settings.PublicURL, Ready: c.ready, Metrics: c.own.figures, Now: c.cfg.Now, Log: c.cfg.Log,
		Rollouts: c.rollouts, WarningLists: c.warningLists, Rules: rules, PromQL: c.promQL, MetricRules: c.metricRules,
	}
	if c.shop != nil {
		cfg.Registry, cfg.Receipts = c.shop.Handler(), c.takeReceipt
	}
	if c.source.client != nil {
		cfg.Shelf = agentShelf{c.source}
	}
	if c.intake != nil {
		cfg.Publishing = publishing{c.intake}
	}
	c.api = api.New(cfg)
	return c.api.LoadLimits(ctx)
}

func (c *Core) rootSHA256() string {
	if c.source.client == nil {
		return ""
	}
	return c.source.client.Status().RootSHA256
}

func (c *Core) trust() string {
	if c.source.development {
		return "development"
	}
	return "release"
}

// ready asks each part whether it can work.
func (c *Core) ready(ctx context.Context) map[string]error {
	return map[string]error{"control": c.control.Ping(ctx), "telemetry": c.telemetry.Ping(ctx), "flows": c.flows.Ping(ctx)}
}

// URL is how this machine reaches the server.
func (c *Core) URL() string {
	return localURL(c.listener.Addr().String(), c.cfg.Settings.TLSCert != "")
}

func localURL(address string, overTLS bool) string {
	host, port, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if overTLS {
		return "https://" + net.JoinHostPort(host, port)
	}
	return "http://" + net.JoinHostPort(host, port)
}

// publicURL is how people reach the server.
func (c *Core) publicURL() string {
	return strings.TrimSuffix(cmp.Or(c.cfg.Settings.PublicURL, c.URL()), "/")
}

// How long each part may take to stop; together a few seconds.
const (
	drainRequests = 3 * time.Second
	drainPlugins  = 4 * time.Second
	drainAgent    = 4 * time.Second
)

// Run serves until ctx ends, and returns when everything has stopped.
func (c *Core) Run(ctx context.Context) error {
	defer c.Close()
	server := &http.Server{
		Handler:           c.api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      10 * time.Minute, // long polls and downloads; uploads move their own deadline
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         c.api.Connection,
		ErrorLog:          slog.NewLogLogger(c.cfg.Log.Handler(), slog.LevelDebug),
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(c.listener) }()

	var jobs sync.WaitGroup
	if err := c.start(work, &jobs); err != nil {
		stopWork()
		c.stop(server, &jobs, stopWork)
		return err
	}
	var err error
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.cfg.Out, "Stopping …")
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	c.stop(server, &jobs, stopWork)
	return err
}

// start sets everything going that works by itself.
func (c *Core) start(ctx context.Context, jobs *sync.WaitGroup) error {
	for _, run := range []func(context.Context){
		c.watchInstances, c.keepLedgers, c.traffic.Run, c.notify.Run, c.export.Run, c.agents.Run, c.queue.Run, c.keepFresh, c.serveAdmins, c.runTrials,
		c.rollouts.Run, c.tellRegistry, c.flows.Run, c.incidents.Run, c.incidents.RunAccounts, c.metricRules.Run, c.sendAudit, c.backups.run, c.keep.run, c.own.run, c.evidence.run,
	} {
		jobs.Go(func() { run(ctx) })
	}
	if err := c.catalogue.Start(ctx); err != nil {
		return fmt.Errorf("start the plugins: %w", err)
	}
	if c.cfg.Dev {
		return c.startDevelopment(ctx, jobs)
	}
	return c.greet(ctx)
}

// stop ends everything in order: no new requests, no waiting ones, jobs, plugins, the local agent. The stores are
// closed last, by Close.
func (c *Core) stop(server *http.Server, jobs *sync.WaitGroup, stopWork context.CancelFunc) {
	c.api.Close()
	c.bench.close()
	c.catalogue.Close()
	ctx, cancel := context.WithTimeout(context.Background(), drainRequests)
	if err := server.Shutdown(ctx); err != nil {
		server.Close()
	}
	cancel()
	stopWork()
	jobs.Wait()
	var parts sync.WaitGroup
	parts.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainPlugins)
		defer cancel()
		c.host.Stop(ctx)
	})
	if c.child != nil {
		parts.Go(func() { c.child.stop(drainAgent) })
	}
	parts.Wait()
}

// serveAdmins answers at the socket for the owners of this machine.
func (c *Core) serveAdmins(ctx context.Context) {
	err := adminsock.Serve(ctx, c.folder.root, adminsock.Handlers{Reset: c.resetUser, Explain: c.explainPlugin, Trace: c.traceAlert, Audit: c.verifyAudit, Trials: c.trials(), Token: func(ctx context.Context, r adminsock.TokenRequest, uid int) (string, error) {
		actor := fmt.Sprintf("system:uid %d", uid)
		w := auth.TokenWish{Name: r.Name, Role: r.Role, Scopes: r.Scopes, CreatedBy: actor}
		secret, t, err := c.auth.OwnersToken(ctx, w)
		e := audit.Entry{Actor: actor, Action: "token.create", Object: "token:" + t.ID, Detail: w.String() + ", by admin.sock"}
		if err != nil {
			e.Outcome, e.Detail = audit.Refused, err.Error()
		}
		c.complain("audit", c.audit.Record(ctx, e))
		return secret, err
	}})
	c.complain("administrators' socket", err)
	os.Remove(c.folder.path(adminsock.Name))
}

// CreateToken makes an API token in the data folder of a server that is not running.
func CreateToken(ctx context.Context, settings config.Picketd, role, name string, scopes ...string) (string, error) {
	a, control, done, err := offline(ctx, settings, "picket token create --data "+settings.Data+" --role "+role)
	if err != nil {
		return "", err
	}
	defer done()
	actor := fmt.Sprintf("system:uid %d", os.Getuid())
	w := auth.TokenWish{Name: name, Role: role, Scopes: scopes, CreatedBy: actor}
	secret, t, err := a.OwnersToken(ctx, w)
	if err != nil {
		return "", err
	}
	return secret, audit.New(control, nil).Record(ctx, audit.Entry{Actor: actor, Action: "token.create", Object: "token:" + t.ID,
		Detail: w.String() + ", with the server stopped"})
}

// offline opens the control state of a server that is not running. instead is what to call when it runs.
func offline(ctx context.Context, settings config.Picketd, instead string) (*auth.Auth, *store.Control, func(), error) {
	dir := settings.Data
	if _, err := os.Stat(filepath.Join(dir, "control.db")); err != nil {
		return nil, nil, nil, fmt.Errorf("%s is not the data folder of a server (%w): give it with --data", dir, plain(err))
	}
	f, err := claim(dir)
	var busy *InUseError
	if errors.As(err, &busy) {
		return nil, nil, nil, fmt.Errorf("picketd is running on %s: use `%s`", busy.Dir, instead)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	control, err := openControl(ctx, f, settings, time.Now)
	if err != nil {
		f.release()
		return nil, nil, nil, err
	}
	done := func() { control.Close(); f.release() }
	a, err := auth.New(auth.Config{Store: control})
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return a, control, done, nil
}

// ResetUser lets somebody in again whose server is not running: it returns a one-time link.
func ResetUser(ctx context.Context, settings config.Picketd, name string) (string, error) {
	a, control, done, err := offline(ctx, settings, "picket user reset --data "+settings.Data)
	if err != nil {
		return "", err
	}
	defer done()
	return reset(ctx, a, audit.New(control, nil), linkBase(settings), name, os.Getuid(), "with the server stopped")
}

func (c *Core) resetUser(ctx context.Context, r adminsock.ResetRequest, uid int) (string, error) {
	return reset(ctx, c.auth, c.audit, c.publicURL(), r.Name, uid, "by admin.sock")
}

func reset(ctx context.Context, a *auth.Auth, log api.Auditor, base, name string, uid int, how string) (string, error) {
	u, page, secret, err := a.Reset(ctx, name)
	e := audit.Entry{Actor: fmt.Sprintf("system:uid %d", uid), Action: "user.reset", Object: "user:" + cmp.Or(u.Username, name), Detail: how}
	if err != nil {
		e.Outcome, e.Detail = audit.Refused, err.Error()
		return "", errors.Join(err, log.Record(ctx, e))
	}
	return base + page + "#token=" + secret, log.Record(ctx, e)
}

// linkBase is how people will reach a server that is not running yet.
func linkBase(settings config.Picketd) string {
	if settings.PublicURL != "" {
		return strings.TrimSuffix(settings.PublicURL, "/")
	}
	return localURL(settings.Listen, settings.TLSCert != "")
}
