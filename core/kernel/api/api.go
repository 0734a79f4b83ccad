package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/agents/keptbatch"
	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/ingest"
	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// The services as the API needs them. The composition root provides them.
type (
	// Captures takes uploads in. The error of Receive is ErrEmptyUpload, ErrUploadTooBig, ErrBacklog or the disk's.
	Captures interface {
		Receive(ctx context.Context, tenant, name, by string, r io.Reader) (store.Capture, error)
		// MaxUpload is the size of the largest file that Receive takes.
		MaxUpload() int64
		// Delete ends the capture's job and removes its bytes when no other capture has the same.
		Delete(ctx context.Context, c store.Capture) error
		// Cancel, Resume, Analyse and First return the capture as it is then; their error is ErrNotWaiting, ErrNotStopped
		// or ErrAnalysing when that cannot be done in its state.
		Cancel(ctx context.Context, c store.Capture) (store.Capture, error)
		Resume(ctx context.Context, c store.Capture) (store.Capture, error)
		Analyse(ctx context.Context, c store.Capture) (store.Capture, error)
		First(ctx context.Context, c store.Capture) (store.Capture, error)
		// Queue are the ids of the captures that wait, in their order.
		Queue() []string
		// Packets decodes some of the packets that are wanted, Carve writes all of them as a pcap file. The error is
		// ErrNoPackets, ErrCarveBusy, or says why the capture cannot be read.
		Packets(ctx context.Context, c store.Capture, w carved.Wanted) (carved.PacketPage, error)
		Carve(ctx context.Context, c store.Capture, w carved.Wanted, to io.Writer) error
	}
	// Evidence keeps the packets that findings in live traffic rest on.
	Evidence interface {
		// Keep takes what an agent kept for a finding and returns how many packets of it are on disk. The error is *keptbatch.Error when that
		// is not as it should be. What is known already changes nothing.
		Keep(ctx context.Context, a store.Agent, b keptbatch.Packets) (stored int, err error)
		// Packets decodes some, Open gives all as a pcap file. The error is store.ErrNotFound or ErrNoPackets when there are none.
		Packets(ctx context.Context, tenant, finding string, w carved.Wanted) (carved.PacketPage, error)
		Open(ctx context.Context, tenant, finding string) (*os.File, error)
	}
	// Alerts moves alerts through their life.
	Alerts interface {
		Acknowledge(ctx context.Context, tenant, id, by string) (store.Alert, error)
		Resolve(ctx context.Context, tenant, id, by string) (store.Alert, error)
		// Undo takes back a delivery of the alert, or all that can be when none is named, and returns which.
		Undo(ctx context.Context, tenant, id, notice string) ([]string, error)
		// SendAgain has a notice delivered that was given up, or waits; store.ErrState when it is neither.
		SendAgain(ctx context.Context, tenant, notice string) (store.Notice, error)
		// Found takes what detectors found on an agent; what is known already changes nothing.
		Found(ctx context.Context, a store.Agent, b findingbatch.Found) error
		// Covered are those of the alerts that a suppression would have kept back.
		Covered(alerts []store.Alert, by store.Suppression) []store.Alert
	}
	// Incidents are moved and judged by people. The incident is up to date when Judge and TakeBack return.
	Incidents interface {
		Move(ctx context.Context, tenant, id, state, by string) (store.Incident, error)
		// Assign says who looks after it, "" for nobody.
		Assign(ctx context.Context, tenant, id, owner string) (store.Incident, error)
		Judge(ctx context.Context, f store.Feedback) (store.Feedback, error)
		TakeBack(ctx context.Context, tenant, id string) (store.Feedback, error)
	}
	// Auditor writes down who did what; audit.Log is one.
	Auditor interface {
		Record(ctx context.Context, e audit.Entry) error
	}
	// Inventory merges what a node saw into devices.
	Inventory interface {
		Sightings(ctx context.Context, b store.SightingBatch) error
		// AgentSeen notes the machine of an agent as a device.
		AgentSeen(ctx context.Context, a store.Agent)
	}
	// Catalogue knows the plugins: what is offered, what is enabled where, how it runs.
	Catalogue interface {
		Instances
		Market
		Fleet
		Configs
		List(ctx context.Context) ([]catalogue.Plugin, error)
		Tally(ctx context.Context) (catalogue.Tally, error)
		Get(ctx context.Context, id string) (catalogue.Plugin, error)
		Page(ctx context.Context, id string) (string, error)
		// PageNodes are the nodes whose series of a metric a plugin may show on a page of its own.
		PageNodes(ctx context.Context, id, metric string) (map[string]bool, error)
		Enable(ctx context.Context, id string, w catalogue.Wish) (catalogue.Plugin, error)
		Disable(ctx context.Context, id, node, by string) (catalogue.Plugin, error)
		Restart(ctx context.Context, id, instance, node, by string) error
		Release(ctx context.Context, id, instance, node, by string) error
		Test(ctx context.Context, id string, n sdk.Notice) (map[string]sdk.Receipt, error)
		Rule(ctx context.Context, detector, rule string) (sdk.Rule, bool)
		// Reported takes what an agent says of its plugins.
		Reported(ctx context.Context, a store.Agent, status json.RawMessage)
		// AgentPlugins is what each of a tenant's agents runs and should run.
		AgentPlugins(ctx context.Context, tenant string, agents []store.Agent) ([][]catalogue.Instance, error)
	}
)

// Errors of Captures that mean something to an uploader.
var (
	ErrEmptyUpload  = errors.New("the upload is empty")
	ErrUploadTooBig = errors.New("the upload is larger than this server accepts; captures.max_upload in its configuration file says how much that is")
	ErrBacklog      = errors.New("too many captures are waiting; try again later")
	ErrNotWaiting   = errors.New("the capture neither waits nor is being analysed")
	ErrNotStopped   = errors.New("the analysis was neither stopped nor did it fail; to analyse the capture again, post to analyse")
	ErrAnalysing    = errors.New("the capture waits or is being analysed; cancel that first")
	ErrNoPackets    = errors.New("the capture has no such packets; its flows are numbered from 1, and so are its packets")
	ErrCarveBusy    = errors.New("too many people are looking at packets right now; try again in a moment")
)

// WarningList is a list of well-known harmless hosts. Refused says why one is not used; then all but its name may be empty.
type WarningList struct {
	Name, Description, Type string
	Entries                 int
	Refused                 string
}

// Config is what the API needs. RegistryDir may be empty: then nothing is served there. For the OpenAPI document alone
// no field is needed.
type Config struct {
	Control   *store.Control
	Telemetry *store.Telemetry
	Flows     *store.Flows
	Auth      *auth.Auth
	Agents    *agents.Agents
	Queue     *queue.Queue
	Audit     Auditor
	Captures  Captures
	Backups   Backups
	Retention Retention
	SQL       SQL
	Own       Own
	Evidence  Evidence
	Alerts    Alerts
	Incidents Incidents
	Inventory Inventory
	Catalogue Catalogue
	Rollouts  Rollouts
	// Publishing takes releases into this server's own registry; nil when it holds no keys of one.
	Publishing Publishing
	// Receipts takes what agents say they installed; nil when nobody counts.
	Receipts func(ctx context.Context, r *registry.Receipt) error
	// Registry answers below /registry/ what is asked of it; nil: the files in RegistryDir are all there is.
	Registry http.Handler
	// Shelf has the agent for new machines; nil when there is no registry.
	Shelf Shelf
	Live  *Live
	// Rules tries custom rules; nil when there is no registry to take their plugin from.
	Rules       Rules
	PromQL      *promql.Engine
	MetricRules MetricRules
	// WarningLists are the lists of well-known harmless hosts that lower the risk of an incident, with those that were refused.
	WarningLists func() []WarningList

	Pages       fs.FS         // the built web app, index.html at its root
	RegistryDir string        // served under /registry/
	RootSHA256  func() string // of the registry's root, for enrolment tokens; "" when there is none
	Trust       string        // "development" or "release"
	Version     string
	Dev         bool
	BaseURL     string // how agents and people reach this server; "" means: as the request did
	// Proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// MetricsOpenOnLoopback lets direct callers on this machine read /metrics without a token.
	MetricsOpenOnLoopback bool
	LivePing              time.Duration // how often a live channel is checked; default 25 s
	Ready                 func(ctx context.Context) map[string]error
	Metrics               *prometheus.Registry
	Now                   func() time.Time
	Log                   *slog.Logger
}

// Server answers the requests. It is an http.Handler.
type Server struct {
	cfg         Config
	engine      *gin.Engine
	huma        huma.API
	crossOrigin *http.CrossOriginProtection
	meters      *meters
	promQL      *promql.Engine
	pages       pages
	held        atomic.Int64 // polls of agents that wait
	connected   atomic.Int64 // connections that are open
	plugins     tally
	books       samplebatch.Books[store.SeriesRef]
	visits      visits
	installs    *semaphore.Weighted // archives of agents that are hashed
	vouched     vouched             // those that were, and were right
	taken       *semaphore.Weighted // bytes of agents' and pushers' bodies in work
	pushing     *semaphore.Weighted // of them, those of pushers
	pushes      *pushMeters
	refs        *refs
	deltas      *ingest.Deltas
	limits      *limits
	stop        context.Context // ends what would otherwise wait: long polls and live channels
	cancel      context.CancelFunc
}

// New builds the server. It does not listen.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LivePing <= 0 {
		cfg.LivePing = livePing
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	s := &Server{cfg: cfg, books: samplebatch.Books[store.SeriesRef]{Most: maxBooks}, taken: semaphore.NewWeighted(maxTaken), pushing: semaphore.NewWeighted(maxPushing), refs: newRefs(), deltas: ingest.NewDeltas(),
		installs: semaphore.NewWeighted(maxInstalls), crossOrigin: http.NewCrossOriginProtection(), pages: pages{files: cfg.Pages}, limits: newLimits(cfg.Now)}
	s.stop, s.cancel = context.WithCancel(context.Background())
	s.meters, s.pushes = newMeters(cfg.Metrics), newPushMeters(cfg.Metrics)
	s.promQL = cfg.PromQL
	gin.SetMode(gin.ReleaseMode)
	s.engine = gin.New()
	s.engine.HandleMethodNotAllowed = true
	s.engine.RedirectTrailingSlash = false
	s.engine.ForwardedByClientIP = false
	s.engine.Use(s.meters.observe, s.recover, s.situate, secure, bounded, s.guard)
	s.huma = humagin.New(s.engine, humaConfig(cfg.Version))
	s.routes()
	return s
}

func humaConfig(version string) huma.Config {
	c := huma.DefaultConfig("Picket", version)
	c.Info.Description = "One server for metrics, devices and traffic. Sign in for a session (the header X-Picket-CSRF " +
		"repeats the cookie picket_csrf on every change), or send an API token as Authorization: Bearer. " +
		"Prometheus's own HTTP API is below /prometheus/api/v1, as Prometheus documents it: query, query_range, series, labels, " +
		"label values, metadata. The last values of all series are at /api/v1/export/prometheus as a scraper wants them."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // no $schema links: clients have the document
	c.Transformers = []huma.Transformer{quiet}
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer":  {Type: "http", Scheme: "bearer", Description: "An API token."},
		"session": {Type: "apiKey", In: "cookie", Name: sessionCookie, Description: "A browser's session."},
		"agent":   {Type: "http", Scheme: "bearer", Description: "An agent's bearer token together with an HTTP Message Signature (RFC 9421)."},
	}
	return c
}

// schemaName is a type's name in the document: Alert for alertBody, SendCommandRequest for the body of send-command.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, "")
	if name == "" && hint != "" { // lists in parameters have neither, and need none
		for _, word := range strings.Split(hint, "-") {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	if name == "CommandBody" {
		return "AgentCommand" // Command is the signed one, as it travels
	}
	if name == "Incident" {
		return "PluginIncident" // what befell an instance; Incident is alerts that belong together
	}
	return strings.TrimSuffix(name, "Body")
}

// routes declares everything that can be asked. Who may ask it is in access.go.
func (s *Server) routes() {
	s.healthRoutes()
	s.sessionRoutes()
	s.accountRoutes()
	s.userRoutes()
	s.identitySettingRoutes()
	s.tenantRoutes()
	s.tokenRoutes()
	s.telemetryRoutes()
	s.prometheusRoutes()
	s.pushRoutes()
	s.customMetricRoutes()
	s.agentRoutes()
	s.installRoutes()
	s.commandRoutes()
	s.agentSideRoutes()
	s.deviceRoutes()
	s.discoveryRoutes()
	s.captureRoutes()
	s.flowRoutes()
	s.viewRoutes()
	s.alertRoutes()
	s.inboxRoutes()
	s.deliveryRoutes()
	s.incidentRoutes()
	s.suppressionRoutes()
	s.metricRuleRoutes()
	s.ruleRoutes()
	s.pluginRoutes()
	s.marketRoutes()
	s.fleetRoutes()
	s.auditRoutes()
	s.backupRoutes()
	s.retentionRoutes()
	s.sqlRoutes()
	s.systemRoutes()
	s.overviewRoutes()
	s.liveRoutes()
	s.fileRoutes()
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.engine.ServeHTTP(w, r) }

// Close ends long polls and live channels, so that the HTTP server's Shutdown does not wait for them.
func (s *Server) Close() { s.cancel() }

// OpenAPI returns the document that describes the API.
func (s *Server) OpenAPI() ([]byte, error) { return json.MarshalIndent(s.huma.OpenAPI(), "", "  ") }

// handle registers a typed handler; its errors become problem documents.
func handle[I, O any](s *Server, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	describeAccess(&op)
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// describeAccess writes into the document what the table says.
func describeAccess(op *huma.Operation) {
	r, listed := access[op.Method+" "+ginPath(op.Path)]
	op.Errors = append(op.Errors, http.StatusInternalServerError)
	switch {
	case !listed || r.public:
		return
	case r.agent:
		op.Security = []map[string][]string{{"agent": {}}}
	default:
		op.Security = []map[string][]string{{"session": {}}, {"bearer": {}}}
		op.Extensions = map[string]any{"x-roles": rolesOf(r)}
		if r.may != "" {
			op.Extensions["x-permission"] = r.may
		}
	}
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
}

// rolesOf are the roles that may call a route.
func rolesOf(r rule) []string {
	if r.named {
		return auth.Roles
	}
	return auth.RolesWith(r.may)
}

// ginPath is how gin spells a path of the document.
func ginPath(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

// body wraps what a handler answers.
type body[T any] struct {
	Body T
}

func answer[T any](v T) *body[T] { return &body[T]{Body: v} }

// page is one page of a list.
type page[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Send as cursor to get the next page; absent on the last."`
}

func answerPage[T any](items []T, next string) *body[page[T]] {
	if items == nil {
		items = []T{}
	}
	return answer(page[T]{Items: items, NextCursor: next})
}

// PageQuery are the parameters of a list. It is exported, like every struct that inputs embed, because reflection does
// not fill the others.
type PageQuery struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"From next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (q PageQuery) page() store.Page { return store.Page{Cursor: q.Cursor, Limit: q.Limit} }

// IDPath is the id in an address.
type IDPath struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) audit(ctx context.Context, e audit.Entry) {
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		s.cfg.Log.Error("audit", "action", e.Action, "error", err)
	}
}

// act audits what a person or a token did.
func (s *Server) act(ctx context.Context, action, object, detail string, err error) {
	id := caller(ctx)
	e := audit.Entry{Tenant: id.Tenant, Actor: id.Actor(), Action: action, Object: object, Detail: detail, Address: peer(ctx)}
	if err != nil {
		e.Outcome, e.Detail = audit.Failed, err.Error()
		var known huma.StatusError
		if describe(err) != nil || errors.As(err, &known) {
			e.Outcome = audit.Refused
		}
	}
	s.audit(ctx, e)
}

func (s *Server) recover(c *gin.Context) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			s.cfg.Log.Error("handler panicked", "path", c.FullPath(), "panic", v, "stack", string(debug.Stack()))
			if !c.Writer.Written() {
				s.refuse(c, http.StatusInternalServerError, "something went wrong in the server; its log says more")
			}
		}
	}()
	c.Next()
}
