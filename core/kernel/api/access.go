package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

// rule says who may call a route.
type rule struct {
	public  bool            // anybody, also without a name
	signin  bool            // public, and what somebody guesses at
	agent   bool            // an enrolled agent whose signature fits
	local   bool            // also anybody on this very machine, where the operator allows that
	named   bool            // everybody with a name, whatever they may
	may     auth.Permission // people and tokens who have it
	session bool            // people alone
	enrol   bool            // also who must set up a second factor first
	fresh   bool            // people must have proved lately who they are
	push    bool            // metrics of others than agents, whose senders name their token in several ways

	operator bool // people and tokens of the first tenant alone, whose the machine is
}

var (
	anybody  = rule{public: true}
	stranger = rule{public: true, signin: true}
	agent    = rule{agent: true}
	named    = rule{named: true, enrol: true}
	// One's own account; what changes how one gets in asks for a fresh proof.
	self      = rule{may: auth.Account, session: true, enrol: true}
	selfFresh = rule{may: auth.Account, session: true, enrol: true, fresh: true}
	own       = rule{may: auth.Account, session: true}
	ownFresh  = rule{may: auth.Account, session: true, fresh: true}
	// The second pair of eyes is a person's, who is there.
	approves = rule{may: auth.CommandsApprove, session: true, fresh: true}
	// Figures about the server itself, for a scraper beside it or with a token.
	scraper = rule{local: true, may: auth.ServerRead}
	pushing = rule{may: auth.MetricsWrite, push: true}
)

func may(p auth.Permission) rule { return rule{may: p} }

// people is for what belongs to a person, which a token is not.
func people(p auth.Permission) rule { return rule{may: p, session: true} }

// danger is for what an open session that its owner left must not do.
func danger(p auth.Permission) rule { return rule{may: p, fresh: true} }

// operator is for what all tenants share.
func operator(r rule) rule {
	r.operator = true
	return r
}

// lets reports whether somebody with a name may call.
func (r rule) lets(id auth.Identity) bool {
	return r.named || r.may != "" && id.May(r.may) && (!r.operator || id.Operator())
}

// shared reports whether a route is about what all tenants share.
func (r rule) shared() bool { return r.operator || auth.ForOperator(r.may) }

// access is the one place that says who may call what. A route that is missing here answers nobody.
var access = map[string]rule{
	"GET /healthz": anybody,
	"GET /readyz":  anybody,
	"GET /metrics": scraper,

	"GET /registry/*path":  anybody, // signed files; agents fetch them before they trust anything
	"HEAD /registry/*path": anybody,
	"POST /registry/*path": anybody, // statements that nodes and authors signed

	"GET /install/:file":  anybody, // the agent, for machines that have none; the line that fetches it names the digest
	"HEAD /install/:file": anybody,

	"GET /api/v1/openapi.json": anybody,
	"GET /api/v1/setup":        anybody,
	"POST /api/v1/setup":       stranger, // spends a set-up token
	"POST /api/v1/login":       stranger,
	"POST /api/v1/signin":      stranger, // spends a sign-in token
	"POST /api/v1/logout":      named,
	"GET /api/v1/me":           named,

	"POST /api/v1/login/code":           stranger,
	"POST /api/v1/login/passkey":        stranger,
	"POST /api/v1/login/passkey/finish": stranger,
	"GET /api/v1/signin/ways":           anybody,
	"GET /api/v1/oidc/start":            stranger,
	"GET /api/v1/oidc/callback":         stranger,

	"POST /api/v1/me/password":                self, // asks for the password there was
	"POST /api/v1/me/prove":                   self,
	"POST /api/v1/me/prove/passkey":           self,
	"POST /api/v1/me/prove/passkey/finish":    self,
	"GET /api/v1/me/factors":                  self,
	"PUT /api/v1/me/factors/:id":              self,
	"DELETE /api/v1/me/factors/:id":           selfFresh,
	"POST /api/v1/me/factors/app":             selfFresh,
	"POST /api/v1/me/factors/app/:id/confirm": self,
	"POST /api/v1/me/factors/passkey":         selfFresh,
	"POST /api/v1/me/factors/passkey/finish":  self,
	"POST /api/v1/me/factors/recovery":        selfFresh,
	"GET /api/v1/me/sessions":                 self,
	"DELETE /api/v1/me/sessions/:id":          self,
	"POST /api/v1/me/sessions/end-others":     self,
	"GET /api/v1/me/tokens":                   own,
	"POST /api/v1/me/tokens":                  ownFresh,
	"POST /api/v1/me/tokens/:id/rotate":       ownFresh,
	"DELETE /api/v1/me/tokens/:id":            own,

	"GET /api/v1/admin/backups":               may(auth.SettingsAdmin),
	"POST /api/v1/admin/backups":              danger(auth.SettingsAdmin),
	"GET /api/v1/admin/backups/:name":         danger(auth.SettingsAdmin),
	"POST /api/v1/admin/backups/:name/verify": may(auth.SettingsAdmin),
	"DELETE /api/v1/admin/backups/:name":      danger(auth.SettingsAdmin),
	"GET /api/v1/admin/retention":             may(auth.SettingsAdmin),
	"PUT /api/v1/admin/retention":             danger(auth.SettingsAdmin),
	"POST /api/v1/admin/retention/cleanup":    danger(auth.SettingsAdmin),
	"POST /api/v1/admin/retention/preview":    may(auth.SettingsAdmin),
	"GET /api/v1/admin/system":                may(auth.ServerRead),
	"GET /api/v1/settings/file":               may(auth.SettingsAdmin),
	"GET /api/v1/settings/site":               named,
	"PUT /api/v1/settings/site":               may(auth.SettingsAdmin),

	"GET /api/v1/admin/sql":  may(auth.SettingsAdmin),
	"POST /api/v1/admin/sql": danger(auth.SettingsAdmin), // sees every tenant, and changes nothing

	"GET /api/v1/users":                      may(auth.UsersAdmin),
	"POST /api/v1/users":                     danger(auth.UsersAdmin),
	"GET /api/v1/users/:id":                  may(auth.UsersAdmin),
	"DELETE /api/v1/users/:id":               danger(auth.UsersAdmin),
	"PUT /api/v1/users/:id/role":             danger(auth.UsersAdmin),
	"POST /api/v1/users/:id/disable":         danger(auth.UsersAdmin),
	"POST /api/v1/users/:id/enable":          danger(auth.UsersAdmin),
	"POST /api/v1/users/:id/link":            danger(auth.UsersAdmin),
	"POST /api/v1/users/:id/reset-factors":   danger(auth.UsersAdmin),
	"GET /api/v1/users/:id/sessions":         may(auth.UsersAdmin),
	"DELETE /api/v1/users/:id/sessions/:sid": may(auth.UsersAdmin),
	"POST /api/v1/users/:id/end-sessions":    may(auth.UsersAdmin),

	"GET /api/v1/roles":                named,
	"GET /api/v1/settings/identity":    operator(may(auth.UsersAdmin)),
	"PUT /api/v1/settings/identity":    operator(danger(auth.UsersAdmin)),
	"GET /api/v1/settings/rate-limits": may(auth.SettingsAdmin),
	"PUT /api/v1/settings/rate-limits": danger(auth.SettingsAdmin),

	"GET /api/v1/tenant":                      may(auth.UsersAdmin),
	"GET /api/v1/tenants":                     may(auth.TenantsAdmin),
	"POST /api/v1/tenants":                    danger(auth.TenantsAdmin),
	"GET /api/v1/tenants/:id":                 may(auth.TenantsAdmin),
	"DELETE /api/v1/tenants/:id":              danger(auth.TenantsAdmin),
	"PUT /api/v1/tenants/:id/quotas":          danger(auth.TenantsAdmin),
	"POST /api/v1/tenants/:id/suspend":        danger(auth.TenantsAdmin),
	"POST /api/v1/tenants/:id/resume":         danger(auth.TenantsAdmin),
	"POST /api/v1/tenants/:id/administrators": danger(auth.TenantsAdmin),

	"GET /api/v1/tokens":             may(auth.TokensAdmin),
	"POST /api/v1/tokens":            danger(auth.TokensAdmin),
	"POST /api/v1/tokens/:id/rotate": danger(auth.TokensAdmin),
	"DELETE /api/v1/tokens/:id":      may(auth.TokensAdmin),

	"GET /api/v1/overview":      may(auth.OverviewRead),
	"GET /api/v1/metrics/names": may(auth.MetricsRead),
	"GET /api/v1/series":        may(auth.MetricsRead),
	"GET /api/v1/live":          may(auth.AlertsRead),

	"POST /api/v1/metrics/push":     pushing,
	"POST /otlp/v1/metrics":         pushing,
	"POST /prometheus/api/v1/write": pushing,
	"POST /influx/write":            pushing,
	"POST /influx/api/v2/write":     pushing,

	"GET /api/v1/metrics/custom":               may(auth.MetricsRead),
	"POST /api/v1/metrics/custom":              may(auth.MetricsWrite),
	"GET /api/v1/metrics/custom/:name":         may(auth.MetricsRead),
	"DELETE /api/v1/metrics/custom/:name":      may(auth.MetricsWrite),
	"POST /api/v1/metrics/custom/:name/values": may(auth.MetricsWrite),

	"GET /api/v1/export/prometheus": may(auth.MetricsRead),

	"GET /prometheus/api/v1/query":              may(auth.MetricsRead),
	"POST /prometheus/api/v1/query":             may(auth.MetricsRead),
	"GET /prometheus/api/v1/query_range":        may(auth.MetricsRead),
	"POST /prometheus/api/v1/query_range":       may(auth.MetricsRead),
	"GET /prometheus/api/v1/series":             may(auth.MetricsRead),
	"POST /prometheus/api/v1/series":            may(auth.MetricsRead),
	"GET /prometheus/api/v1/labels":             may(auth.MetricsRead),
	"POST /prometheus/api/v1/labels":            may(auth.MetricsRead),
	"GET /prometheus/api/v1/label/:name/values": may(auth.MetricsRead),
	"GET /prometheus/api/v1/metadata":           may(auth.MetricsRead),
	"GET /prometheus/api/v1/format_query":       may(auth.MetricsRead),
	"POST /prometheus/api/v1/format_query":      may(auth.MetricsRead),
	"GET /prometheus/api/v1/status/buildinfo":   may(auth.MetricsRead),
	"GET /prometheus/api/v1/query_exemplars":    may(auth.MetricsRead),
	"POST /prometheus/api/v1/query_exemplars":   may(auth.MetricsRead),
	"GET /prometheus/api/v1/rules":              may(auth.MetricsRead),
	"GET /prometheus/api/v1/alerts":             may(auth.MetricsRead),

	"POST /api/v1/metrics":                   agent,
	"POST /api/v1/agent/samples":             agent,
	"POST /api/v1/sightings":                 agent,
	"POST /api/v1/flows":                     agent,
	"POST /api/v1/findings":                  agent,
	"POST /api/v1/evidence":                  agent,
	"POST /api/v1/enrol":                     anybody, // spends an enrolment token
	"GET /api/v1/agent/poll":                 agent,
	"POST /api/v1/agent/commands/:id/result": agent,
	"POST /api/v1/agent/commands/:id/output": agent,
	"POST /api/v1/agent/status":              agent,
	"POST /api/v1/agent/receipts":            agent,

	"GET /api/v1/agents":                 may(auth.AgentsRead),
	"GET /api/v1/agents/releases":        may(auth.AgentsRead),
	"GET /api/v1/agents/:id":             may(auth.AgentsRead),
	"GET /api/v1/agents/tokens":          may(auth.AgentsWrite),
	"POST /api/v1/agents/tokens":         may(auth.AgentsWrite),
	"DELETE /api/v1/agents/tokens/:id":   may(auth.AgentsWrite),
	"GET /api/v1/agents/tokens/:id/uses": may(auth.AgentsWrite),
	"GET /api/v1/agents/:id/commands":    may(auth.AgentsRead),
	"POST /api/v1/agents/:id/commands":   may(auth.CommandsWrite),

	"POST /api/v1/agents/:id/commands/:command/cancel": may(auth.CommandsWrite),
	"GET /api/v1/agents/:id/commands/:command/output":  may(auth.CommandsWrite), // what a program printed may be anything

	"GET /api/v1/commands/types":        may(auth.AgentsRead),
	"GET /api/v1/commands":              may(auth.AgentsRead),
	"POST /api/v1/commands":             may(auth.CommandsWrite),
	"GET /api/v1/commands/:id":          may(auth.AgentsRead),
	"GET /api/v1/commands/:id/machines": may(auth.AgentsRead),
	"POST /api/v1/commands/:id/approve": approves, // never who asked for it
	"POST /api/v1/commands/:id/deny":    approves,
	"POST /api/v1/commands/:id/cancel":  may(auth.CommandsWrite),

	"POST /api/v1/agents/:id/disable": may(auth.AgentsAdmin),
	"POST /api/v1/agents/:id/enable":  may(auth.AgentsAdmin),
	"DELETE /api/v1/agents/:id":       may(auth.AgentsAdmin),

	"GET /api/v1/agents/tokens/:id/progress": may(auth.AgentsWrite),
	"GET /api/v1/agents/summary":             may(auth.AgentsRead),
	"GET /api/v1/agents/ids":                 may(auth.AgentsRead),
	"GET /api/v1/agents/export":              may(auth.AgentsRead),
	"POST /api/v1/agents/many/group":         may(auth.AgentsAdmin),
	"POST /api/v1/agents/many/labels":        may(auth.AgentsAdmin),
	"POST /api/v1/agents/many/remove":        danger(auth.AgentsAdmin),
	"POST /api/v1/agents/many/consequences":  may(auth.AgentsAdmin),

	"GET /api/v1/devices":              may(auth.DevicesRead),
	"GET /api/v1/devices/:id":          may(auth.DevicesRead),
	"GET /api/v1/devices/:id/history":  may(auth.DevicesRead),
	"GET /api/v1/discovery/history":    may(auth.DevicesRead),
	"GET /api/v1/discovery/difference": may(auth.DevicesRead),

	"GET /api/v1/captures":                         may(auth.CapturesRead),
	"POST /api/v1/captures":                        may(auth.CapturesWrite),
	"GET /api/v1/captures/:id":                     may(auth.CapturesRead),
	"POST /api/v1/captures/:id/cancel":             may(auth.CapturesWrite),
	"POST /api/v1/captures/:id/resume":             may(auth.CapturesWrite),
	"POST /api/v1/captures/:id/analyse":            may(auth.CapturesWrite),
	"POST /api/v1/captures/:id/first":              may(auth.CapturesWrite),
	"GET /api/v1/captures/:id/packets":             may(auth.CapturesRead),
	"GET /api/v1/captures/:id/pcap":                may(auth.CapturesRead),
	"GET /api/v1/captures/:id/flows/:flow/packets": may(auth.CapturesRead),
	"GET /api/v1/captures/:id/flows/:flow/pcap":    may(auth.CapturesRead),
	"DELETE /api/v1/captures/:id":                  may(auth.CapturesAdmin),

	"GET /api/v1/flows":              may(auth.FlowsRead),
	"GET /api/v1/flows/summary":      may(auth.FlowsRead),
	"GET /api/v1/flows/columns":      may(auth.FlowsRead),
	"GET /api/v1/flows/:capture/:id": may(auth.FlowsRead),
	"POST /api/v1/flows/export":      may(auth.FlowsRead),
	"GET /api/v1/facts":              may(auth.FlowsRead),

	"GET /api/v1/views":        may(auth.FlowsRead),
	"POST /api/v1/views":       may(auth.FlowsRead),
	"DELETE /api/v1/views/:id": may(auth.FlowsRead),

	"GET /api/v1/alerts":                  may(auth.AlertsRead),
	"GET /api/v1/alerts/techniques":       may(auth.AlertsRead),
	"GET /api/v1/alerts/:id":              may(auth.AlertsRead),
	"POST /api/v1/alerts/:id/acknowledge": may(auth.AlertsWrite),
	"POST /api/v1/alerts/:id/resolve":     may(auth.AlertsWrite),
	"POST /api/v1/alerts/:id/undo":        may(auth.ActionsWrite),
	"POST /api/v1/alerts/:id/feedback":    may(auth.AlertsWrite),

	"GET /api/v1/inbox":                 people(auth.AlertsRead),
	"GET /api/v1/inbox/unread":          people(auth.AlertsRead),
	"POST /api/v1/inbox/read":           people(auth.AlertsRead),
	"GET /api/v1/deliveries":            may(auth.AlertsRead),
	"POST /api/v1/deliveries/:id/again": may(auth.ActionsWrite),

	"GET /api/v1/alerts/:id/findings/:finding/packets": may(auth.CapturesRead),
	"GET /api/v1/alerts/:id/findings/:finding/pcap":    may(auth.CapturesRead),

	"GET /api/v1/incidents":                  may(auth.AlertsRead),
	"GET /api/v1/incidents/:id":              may(auth.AlertsRead),
	"POST /api/v1/incidents/:id/acknowledge": may(auth.AlertsWrite),
	"POST /api/v1/incidents/:id/close":       may(auth.AlertsWrite),
	"POST /api/v1/incidents/:id/reopen":      may(auth.AlertsWrite),
	"POST /api/v1/incidents/:id/feedback":    may(auth.AlertsWrite),
	"POST /api/v1/incidents/:id/assign":      may(auth.AlertsWrite),
	"POST /api/v1/incidents/:id/notes":       may(auth.AlertsWrite),
	"GET /api/v1/incidents/owners":           may(auth.AlertsRead),
	"DELETE /api/v1/feedback/:id":            may(auth.AlertsWrite),

	"GET /api/v1/suppressions":              may(auth.RulesRead),
	"POST /api/v1/suppressions/preview":     may(auth.RulesRead),
	"POST /api/v1/suppressions":             may(auth.RulesWrite), // who hides findings answers for security
	"PUT /api/v1/suppressions/:id":          may(auth.RulesWrite),
	"DELETE /api/v1/suppressions/:id":       may(auth.RulesWrite),
	"GET /api/v1/suppressions/:id/findings": may(auth.RulesRead),
	"GET /api/v1/warninglists":              may(auth.RulesRead),

	"GET /api/v1/metric-rules":          may(auth.RulesRead),
	"POST /api/v1/metric-rules":         may(auth.RulesWrite),
	"POST /api/v1/metric-rules/preview": may(auth.RulesRead),
	"GET /api/v1/metric-rules/:name":    may(auth.RulesRead),
	"PUT /api/v1/metric-rules/:name":    may(auth.RulesWrite),
	"DELETE /api/v1/metric-rules/:name": may(auth.RulesWrite),

	"GET /api/v1/rules":          operator(may(auth.RulesRead)),
	"GET /api/v1/rules/versions": operator(may(auth.RulesRead)),
	"POST /api/v1/rules/try":     operator(may(auth.RulesWrite)),
	"PUT /api/v1/rules":          operator(may(auth.RulesWrite)), // who says what is found answers for security

	"GET /api/v1/plugins":                      may(auth.PluginsRead),
	"GET /api/v1/plugins/:ns/:name":            may(auth.PluginsRead),
	"GET /api/v1/plugins/:ns/:name/page":       may(auth.PluginsRead),
	"POST /api/v1/plugins/:ns/:name/enable":    may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/disable":   may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/uninstall": may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/restart":   may(auth.PluginsWrite),
	"POST /api/v1/plugins/:ns/:name/release":   may(auth.PluginsWrite),
	"POST /api/v1/plugins/:ns/:name/test":      may(auth.PluginsWrite),

	"POST /api/v1/plugins/:ns/:name/upgrade":     may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/rollback":    may(auth.PluginsWrite),
	"POST /api/v1/plugins/:ns/:name/shadow":      may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/promote":     may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/drop-shadow": may(auth.PluginsWrite),
	"GET /api/v1/plugins/:ns/:name/shadow":       may(auth.PluginsRead),
	"GET /api/v1/plugins/:ns/:name/history":      may(auth.PluginsRead),
	"GET /api/v1/plugins/:ns/:name/ledger":       may(auth.PluginsRead),
	"GET /api/v1/plugins/:ns/:name/explain":      may(auth.PluginsRead),

	"GET /api/v1/market/front":                                 may(auth.PluginsRead),
	"GET /api/v1/market/plugins":                               may(auth.PluginsRead),
	"GET /api/v1/market/plugins/:ns/:name":                     may(auth.PluginsRead),
	"GET /api/v1/market/plugins/:ns/:name/reviews":             may(auth.PluginsRead),
	"GET /api/v1/market/plugins/:ns/:name/screenshots/:number": may(auth.PluginsRead),
	"GET /api/v1/market/publishers/:ns":                        may(auth.MarketWrite),
	"GET /api/v1/market/installs/:id":                          may(auth.PluginsRead),
	"POST /api/v1/market/plugins/:ns/:name/plan":               may(auth.PluginsAdmin),
	"POST /api/v1/market/plugins/:ns/:name/install":            may(auth.PluginsAdmin),
	"POST /api/v1/market/plugins/:ns/:name/review":             may(auth.PluginsWrite),
	"POST /api/v1/market/plugins/:ns/:name/report":             may(auth.PluginsRead),
	"POST /api/v1/market/publish":                              may(auth.MarketWrite),
	"GET /api/v1/market/publish/:id":                           may(auth.MarketWrite),
	"GET /api/v1/fleet":                                        operator(may(auth.AgentsRead)),
	"GET /api/v1/fleet/lock":                                   operator(may(auth.AgentsRead)),
	"GET /api/v1/fleet/rollouts":                               operator(may(auth.AgentsRead)),
	"GET /api/v1/fleet/rollouts/:id":                           operator(may(auth.AgentsRead)),
	"POST /api/v1/fleet/rollouts":                              may(auth.FleetAdmin),
	"POST /api/v1/fleet/rollouts/:id/pause":                    may(auth.FleetWrite),
	"POST /api/v1/fleet/rollouts/:id/halt":                     may(auth.FleetWrite),
	"POST /api/v1/fleet/rollouts/:id/resume":                   may(auth.Approve),
	"POST /api/v1/fleet/rollouts/:id/finish":                   may(auth.Approve),
	"GET /api/v1/plugins/:ns/:name/updates":                    may(auth.PluginsRead),
	"PUT /api/v1/plugins/:ns/:name/updates":                    may(auth.PluginsAdmin),
	"POST /api/v1/plugins/:ns/:name/override-revocation":       may(auth.PluginsAdmin),
	"DELETE /api/v1/plugins/:ns/:name/override-revocation":     may(auth.PluginsAdmin),
	"GET /api/v1/agents/:id/group":                             may(auth.AgentsRead),
	"PUT /api/v1/agents/:id/group":                             may(auth.AgentsAdmin),

	"GET /api/v1/config/:target":                            may(auth.AgentsRead),
	"PUT /api/v1/config/:target":                            may(auth.PluginsAdmin),
	"GET /api/v1/config/:target/versions":                   may(auth.AgentsRead),
	"GET /api/v1/config/:target/versions/:version":          may(auth.AgentsRead),
	"POST /api/v1/config/:target/versions/:version/restore": may(auth.PluginsAdmin),

	"GET /api/v1/groups":                      may(auth.AgentsRead),
	"POST /api/v1/groups":                     may(auth.AgentsAdmin),
	"POST /api/v1/groups/match":               may(auth.AgentsRead),
	"GET /api/v1/groups/:name":                may(auth.AgentsRead),
	"PUT /api/v1/groups/:name":                may(auth.AgentsAdmin),
	"DELETE /api/v1/groups/:name":             may(auth.AgentsAdmin),
	"GET /api/v1/groups/:name/members":        may(auth.AgentsRead),
	"PUT /api/v1/groups/:name/members/:id":    may(auth.AgentsAdmin),
	"DELETE /api/v1/groups/:name/members/:id": may(auth.AgentsAdmin),
	"GET /api/v1/groups/:name/aggregates":     may(auth.MetricsRead),

	"GET /api/v1/audit":        may(auth.AuditRead),
	"GET /api/v1/audit/export": may(auth.AuditRead),
	"GET /api/v1/audit/verify": may(auth.AuditRead),
}

type contextKey int

const (
	identityKey contextKey = iota
	agentKey
	originKey
)

// caller is who sent the request; the guard has put it there on every route that is not public.
func caller(ctx context.Context) auth.Identity {
	id, _ := ctx.Value(identityKey).(auth.Identity)
	return id
}

// sender is the agent that signed the request.
func sender(ctx context.Context) store.Agent {
	a, _ := ctx.Value(agentKey).(store.Agent)
	return a
}

// origin is where a request came from and how it reached the server.
type origin struct {
	address string
	host    string
	tls     bool
}

func originOf(ctx context.Context) origin {
	o, _ := ctx.Value(originKey).(origin)
	return o
}

// peer is the address the request came from.
func peer(ctx context.Context) string { return originOf(ctx).address }

// situate puts the origin where handlers find it.
func (s *Server) situate(c *gin.Context) {
	o := origin{address: s.address(c.Request), host: c.Request.Host, tls: c.Request.TLS != nil}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), originKey, o))
	c.Next()
}

// guard lets a request through to a route only when the table says so.
func (s *Server) guard(c *gin.Context) {
	path := c.FullPath()
	if path == "" {
		c.Next() // no route: pages and 404, which nobody needs a name for
		return
	}
	r, listed := access[c.Request.Method+" "+path]
	switch {
	case !listed:
		s.refuse(c, http.StatusForbidden, "nobody may call this")
	case r.public:
		if s.sameSite(c) && s.limited(c, publicClass(r), s.address(c.Request)) {
			c.Next()
		}
	case r.agent:
		s.guardAgent(c)
	default:
		s.guardPerson(c, r)
	}
}

// sameSite refuses what a page of another site sends in a browser's name, before there is a session to protect.
func (s *Server) sameSite(c *gin.Context) bool {
	if err := s.crossOrigin.Check(c.Request); err != nil {
		s.refuse(c, http.StatusForbidden, "this request comes from another site")
		return false
	}
	return true
}

func (s *Server) guardPerson(c *gin.Context, r rule) {
	if r.local && s.cfg.MetricsOpenOnLoopback && fromThisMachine(c.Request) {
		c.Next()
		return
	}
	if r.push {
		nameAsBearer(c.Request)
	}
	id, err := s.identify(c.Request)
	if err != nil {
		if !errors.Is(err, auth.ErrDenied) {
			s.fail(c, err)
			return
		}
		if !s.limited(c, classRefused, s.address(c.Request)) {
			return
		}
		c.Header("WWW-Authenticate", "Bearer")
		s.refuse(c, http.StatusUnauthorized, "sign in, or send an API token as Authorization: Bearer")
		return
	}
	class := personClass(c.Request.Method)
	if r.push {
		class = classPush
	}
	if !s.limited(c, class, id.Kind+id.ID) {
		return
	}
	if why := refusalOf(r, id); why != "" {
		s.denied(c, id, why)
		return
	}
	if id.Kind == "session" && !safe(c.Request.Method) {
		sent := c.GetHeader("X-Picket-CSRF")
		if subtle.ConstantTimeCompare([]byte(sent), []byte(id.CSRF)) != 1 {
			s.denied(c, id, "the header X-Picket-CSRF does not match the session")
			return
		}
	}
	if r.fresh {
		if err := s.cfg.Auth.Fresh(c.Request.Context(), id); err != nil {
			s.fail(c, err)
			return
		}
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), identityKey, id))
	c.Next()
}

// refusalOf says why somebody with a name may not call a route, "" when they may.
func refusalOf(r rule, id auth.Identity) string {
	switch {
	case r.shared() && !id.Operator():
		return "only the operator of this server may do this: it is about what all tenants share"
	case !r.lets(id) && len(id.Scopes) > 0:
		return "the token's scopes do not hold " + string(r.may)
	case !r.lets(id):
		return "the role " + id.Role + " may not do this"
	case r.session && id.Kind != "session":
		return "an API token has no account; sign in for this"
	case id.MustEnrol && !r.enrol:
		return "the role " + id.Role + " needs a second factor; set one up on your account's page first"
	}
	return ""
}

// denied answers 403 and leaves a line in the audit log: somebody with a name tried what he may not.
func (s *Server) denied(c *gin.Context, id auth.Identity, why string) {
	s.audit(c.Request.Context(), audit.Entry{Tenant: id.Tenant, Actor: id.Actor(), Action: "api.request",
		Object: c.Request.Method + " " + c.Request.URL.Path, Outcome: audit.Refused, Detail: why, Address: s.address(c.Request)})
	s.refuse(c, http.StatusForbidden, why)
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// nameAsBearer lets a sender name its token as Influx's clients do, or as the password of any name.
func nameAsBearer(r *http.Request) {
	if _, password, ok := r.BasicAuth(); ok {
		r.Header.Set("Authorization", "Bearer "+password)
	} else if scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Token") {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
}

// identify reads the bearer token or the session cookie, and notes that it was used.
func (s *Server) identify(r *http.Request) (auth.Identity, error) {
	return s.identifyWith(r, s.cfg.Auth.Token, s.cfg.Auth.Session)
}

// stillMay says whether whoever opened a channel with r would be let in now. A channel that is merely open is no use of
// a session, and does not keep it from ending.
func (s *Server) stillMay(ctx context.Context, r *http.Request, allowed rule) bool {
	id, err := s.identifyWith(r.WithContext(ctx), s.cfg.Auth.PeekToken, s.cfg.Auth.PeekSession)
	return err == nil && refusalOf(allowed, id) == ""
}

type lookup func(ctx context.Context, secret string) (auth.Identity, error)

func (s *Server) identifyWith(r *http.Request, token, session lookup) (auth.Identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return auth.Identity{}, auth.ErrDenied
		}
		return token(r.Context(), strings.TrimSpace(secret))
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return auth.Identity{}, auth.ErrDenied
	}
	return session(r.Context(), cookie.Value)
}

// guardAgent reads the whole body, because the signature covers it, but not before the headers have shown who sends it.
func (s *Server) guardAgent(c *gin.Context) {
	claim, err := s.cfg.Agents.AuthenticateHeaders(c.Request, s.address(c.Request))
	var a store.Agent
	if err == nil && c.Request.Method != http.MethodGet {
		weight := bodyWeight(c.Request, agentBodyLimit(c.FullPath()))
		if !s.taken.TryAcquire(weight) {
			c.Header("Retry-After", strconv.Itoa(1+rand.IntN(5)))
			s.refuse(c, http.StatusServiceUnavailable, "this server has as many requests of agents in work as it holds; try again in a moment")
			return
		}
		defer s.taken.Release(weight)
	}
	if err == nil {
		var body []byte
		if body, err = readBody(c.Writer, c.Request, agentBodyLimit(c.FullPath())); err == nil {
			a, err = claim.Body(body)
		}
	}
	if err != nil {
		var r *agents.Refusal
		if errors.As(err, &r) {
			if r.Status == http.StatusUnauthorized && !s.limited(c, classRefused, s.address(c.Request)) {
				return
			}
			if r.RetryAfter > 0 {
				c.Header("Retry-After", strconv.Itoa(int(math.Ceil(r.RetryAfter.Seconds()))))
			}
			s.refuse(c, r.Status, r.Error())
			return
		}
		s.fail(c, err)
		return
	}
	if !s.limited(c, classAgent, a.ID) {
		return
	}
	if c.Request.TLS == nil && s.connected.Load() > maxOpen {
		c.Header("Connection", "close")
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), agentKey, a))
	c.Next()
}

// maxOpen is how many connections stay open for the next request of an agent, the held polls' among them. Each holds 20 KB and more,
// and an agent is silent for most of a minute: of ten thousand it costs less to open another. With TLS that would cost more.
const maxOpen = maxHeld + 500

// Connection notes that one was opened or closed; it goes into the HTTP server.
func (s *Server) Connection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connected.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connected.Add(-1)
	}
}

// maxTaken is how many bytes of agents' bodies are in work at once. Who comes when there are more is told to come again, before
// its body is read: an agent keeps what it has, and a server that takes more than it can do loses all of it to time-outs.
const (
	maxTaken  = 32 << 20
	minWeight = 32 << 10 // what a request costs whatever its body: buffers, a connection's and a parser's
)

func bodyWeight(r *http.Request, limit int64) int64 {
	if r.ContentLength < 0 { // it may have as much as there may be
		return limit
	}
	return min(max(r.ContentLength, minWeight), limit)
}

// address is where a request comes from, without a port. It is the connection's address and not a header's, because a
// header can be made up; only behind a proxy that the operator named is it the last address in X-Forwarded-For that
// is no such proxy's: what stands before that one is what the client claimed.
func (s *Server) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	hop, err := netip.ParseAddr(host)
	if err != nil || !s.trusted(hop) {
		return host
	}
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(forwarded) {
		next, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break
		}
		if hop = next.Unmap().WithZone(""); !s.trusted(hop) {
			break
		}
	}
	return hop.String()
}

func (s *Server) trusted(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// fromThisMachine is true for a direct request over loopback. One that a proxy passed on does not count, nor one whose
// Host is a name, because a hostile page can make a name point here.
func fromThisMachine(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	if r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Via") != "" {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
