package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"math"
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
	public bool     // anybody, also without a name
	agent  bool     // an enrolled agent whose signature fits
	local  bool     // also anybody on this very machine, where the operator allows that
	roles  []string // people and tokens with one of these roles
}

var (
	anybody = rule{public: true}
	agent   = rule{agent: true}
	// Everybody who signed in sees himself and public figures.
	member = rule{roles: []string{auth.RoleADM, auth.RoleIT, auth.RoleSUP, auth.RolePUB}}
	// People who watch: they read all that is measured and found.
	watcher = rule{roles: []string{auth.RoleADM, auth.RoleIT, auth.RoleSUP}}
	// People who look after machines: commands, enrolment.
	operator = rule{roles: []string{auth.RoleADM, auth.RoleIT}}
	// People who look after security: they read the audit log.
	auditor = rule{roles: []string{auth.RoleADM, auth.RoleSUP}}
	admin   = rule{roles: []string{auth.RoleADM}}
	// Figures about the server itself, for a scraper beside it or with a token.
	scraper = rule{local: true, roles: []string{auth.RoleADM, auth.RoleIT, auth.RoleSUP}}
)

// access is the one place that says who may call what. A route that is missing here answers nobody.
var access = map[string]rule{
	"GET /healthz": anybody,
	"GET /readyz":  anybody,
	"GET /metrics": scraper,

	"GET /registry/*path":  anybody, // signed files; agents fetch them before they trust anything
	"HEAD /registry/*path": anybody,
	"POST /registry/*path": anybody, // statements that nodes and authors signed

	"GET /api/v1/openapi.json": anybody,
	"GET /api/v1/setup":        anybody,
	"POST /api/v1/setup":       anybody, // spends a set-up token
	"POST /api/v1/login":       anybody,
	"POST /api/v1/signin":      anybody, // spends a sign-in token
	"POST /api/v1/logout":      member,
	"GET /api/v1/me":           member,
	"POST /api/v1/me/password": member, // of a session, for itself

	"GET /api/v1/tokens":        admin,
	"POST /api/v1/tokens":       admin,
	"DELETE /api/v1/tokens/:id": admin,

	"GET /api/v1/overview":      member,
	"GET /api/v1/metrics/names": watcher,
	"GET /api/v1/series":        watcher,
	"GET /api/v1/live":          watcher,

	"GET /api/v1/export/prometheus": watcher,

	"GET /prometheus/api/v1/query":              watcher,
	"POST /prometheus/api/v1/query":             watcher,
	"GET /prometheus/api/v1/query_range":        watcher,
	"POST /prometheus/api/v1/query_range":       watcher,
	"GET /prometheus/api/v1/series":             watcher,
	"POST /prometheus/api/v1/series":            watcher,
	"GET /prometheus/api/v1/labels":             watcher,
	"POST /prometheus/api/v1/labels":            watcher,
	"GET /prometheus/api/v1/label/:name/values": watcher,
	"GET /prometheus/api/v1/metadata":           watcher,
	"GET /prometheus/api/v1/format_query":       watcher,
	"POST /prometheus/api/v1/format_query":      watcher,
	"GET /prometheus/api/v1/status/buildinfo":   watcher,
	"GET /prometheus/api/v1/query_exemplars":    watcher,
	"POST /prometheus/api/v1/query_exemplars":   watcher,
	"GET /prometheus/api/v1/rules":              watcher,
	"GET /prometheus/api/v1/alerts":             watcher,

	"POST /api/v1/metrics":                   agent,
	"POST /api/v1/sightings":                 agent,
	"POST /api/v1/flows":                     agent,
	"POST /api/v1/findings":                  agent,
	"POST /api/v1/enrol":                     anybody, // spends an enrolment token
	"GET /api/v1/agent/poll":                 agent,
	"POST /api/v1/agent/commands/:id/result": agent,
	"POST /api/v1/agent/status":              agent,
	"POST /api/v1/agent/receipts":            agent,

	"GET /api/v1/agents":               watcher,
	"GET /api/v1/agents/:id":           watcher,
	"POST /api/v1/agents/tokens":       operator,
	"GET /api/v1/agents/:id/commands":  watcher,
	"POST /api/v1/agents/:id/commands": operator,
	"POST /api/v1/agents/:id/disable":  admin,
	"POST /api/v1/agents/:id/enable":   admin,
	"DELETE /api/v1/agents/:id":        admin,

	"GET /api/v1/devices":     watcher,
	"GET /api/v1/devices/:id": watcher,

	"GET /api/v1/captures":                         watcher,
	"POST /api/v1/captures":                        watcher,
	"GET /api/v1/captures/:id":                     watcher,
	"POST /api/v1/captures/:id/cancel":             watcher,
	"POST /api/v1/captures/:id/resume":             watcher,
	"POST /api/v1/captures/:id/analyse":            watcher,
	"POST /api/v1/captures/:id/first":              watcher,
	"GET /api/v1/captures/:id/packets":             watcher,
	"GET /api/v1/captures/:id/pcap":                watcher,
	"GET /api/v1/captures/:id/flows/:flow/packets": watcher,
	"GET /api/v1/captures/:id/flows/:flow/pcap":    watcher,
	"DELETE /api/v1/captures/:id":                  admin,

	"GET /api/v1/flows":              watcher,
	"GET /api/v1/flows/summary":      watcher,
	"GET /api/v1/flows/columns":      watcher,
	"GET /api/v1/flows/:capture/:id": watcher,
	"POST /api/v1/flows/export":      watcher,
	"GET /api/v1/facts":              watcher,

	"GET /api/v1/views":        watcher,
	"POST /api/v1/views":       watcher,
	"DELETE /api/v1/views/:id": watcher,

	"GET /api/v1/alerts":                  watcher,
	"GET /api/v1/alerts/techniques":       watcher,
	"GET /api/v1/alerts/:id":              watcher,
	"POST /api/v1/alerts/:id/acknowledge": watcher,
	"POST /api/v1/alerts/:id/resolve":     watcher,
	"POST /api/v1/alerts/:id/undo":        operator,
	"POST /api/v1/alerts/:id/feedback":    watcher,

	"GET /api/v1/incidents":                  watcher,
	"GET /api/v1/incidents/:id":              watcher,
	"POST /api/v1/incidents/:id/acknowledge": watcher,
	"POST /api/v1/incidents/:id/close":       watcher,
	"POST /api/v1/incidents/:id/reopen":      watcher,
	"POST /api/v1/incidents/:id/feedback":    watcher,
	"POST /api/v1/incidents/:id/assign":      watcher,
	"POST /api/v1/incidents/:id/notes":       watcher,
	"GET /api/v1/incidents/owners":           watcher,
	"DELETE /api/v1/feedback/:id":            watcher,

	"GET /api/v1/suppressions":              watcher,
	"POST /api/v1/suppressions/preview":     watcher,
	"POST /api/v1/suppressions":             auditor, // who hides findings answers for security
	"PUT /api/v1/suppressions/:id":          auditor,
	"DELETE /api/v1/suppressions/:id":       auditor,
	"GET /api/v1/suppressions/:id/findings": watcher,
	"GET /api/v1/warninglists":              watcher,

	"GET /api/v1/rules":          watcher,
	"GET /api/v1/rules/versions": watcher,
	"POST /api/v1/rules/try":     auditor,
	"PUT /api/v1/rules":          auditor, // who says what is found answers for security

	"GET /api/v1/plugins":                      watcher,
	"GET /api/v1/plugins/:ns/:name":            watcher,
	"GET /api/v1/plugins/:ns/:name/page":       watcher,
	"POST /api/v1/plugins/:ns/:name/enable":    admin,
	"POST /api/v1/plugins/:ns/:name/disable":   admin,
	"POST /api/v1/plugins/:ns/:name/uninstall": admin,
	"POST /api/v1/plugins/:ns/:name/restart":   operator,
	"POST /api/v1/plugins/:ns/:name/release":   operator,
	"POST /api/v1/plugins/:ns/:name/test":      operator,

	"POST /api/v1/plugins/:ns/:name/upgrade":     admin,
	"POST /api/v1/plugins/:ns/:name/rollback":    operator,
	"POST /api/v1/plugins/:ns/:name/shadow":      admin,
	"POST /api/v1/plugins/:ns/:name/promote":     admin,
	"POST /api/v1/plugins/:ns/:name/drop-shadow": operator,
	"GET /api/v1/plugins/:ns/:name/shadow":       watcher,
	"GET /api/v1/plugins/:ns/:name/history":      watcher,
	"GET /api/v1/plugins/:ns/:name/ledger":       watcher,
	"GET /api/v1/plugins/:ns/:name/explain":      watcher,

	"GET /api/v1/market/front":                                 watcher,
	"GET /api/v1/market/plugins":                               watcher,
	"GET /api/v1/market/plugins/:ns/:name":                     watcher,
	"GET /api/v1/market/plugins/:ns/:name/reviews":             watcher,
	"GET /api/v1/market/plugins/:ns/:name/screenshots/:number": watcher,
	"GET /api/v1/market/publishers/:ns":                        watcher,
	"GET /api/v1/market/installs/:id":                          watcher,
	"POST /api/v1/market/plugins/:ns/:name/plan":               admin,
	"POST /api/v1/market/plugins/:ns/:name/install":            admin,
	"POST /api/v1/market/plugins/:ns/:name/review":             operator,
	"POST /api/v1/market/plugins/:ns/:name/report":             watcher,
	"POST /api/v1/market/publish":                              admin,
	"GET /api/v1/market/publish/:id":                           admin,
	"GET /api/v1/fleet":                                        watcher,
	"GET /api/v1/fleet/lock":                                   watcher,
	"GET /api/v1/fleet/rollouts":                               watcher,
	"GET /api/v1/fleet/rollouts/:id":                           watcher,
	"POST /api/v1/fleet/rollouts":                              admin,
	"POST /api/v1/fleet/rollouts/:id/pause":                    operator,
	"POST /api/v1/fleet/rollouts/:id/halt":                     operator,
	"POST /api/v1/fleet/rollouts/:id/resume":                   admin,
	"POST /api/v1/fleet/rollouts/:id/finish":                   admin,
	"GET /api/v1/plugins/:ns/:name/updates":                    watcher,
	"PUT /api/v1/plugins/:ns/:name/updates":                    admin,
	"POST /api/v1/plugins/:ns/:name/override-revocation":       admin,
	"DELETE /api/v1/plugins/:ns/:name/override-revocation":     admin,
	"GET /api/v1/agents/:id/group":                             watcher,
	"PUT /api/v1/agents/:id/group":                             admin,

	"GET /api/v1/audit": auditor,
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
		if s.sameSite(c) {
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
	id, err := s.identify(c.Request)
	if err != nil {
		if !errors.Is(err, auth.ErrDenied) {
			s.fail(c, err)
			return
		}
		c.Header("WWW-Authenticate", "Bearer")
		s.refuse(c, http.StatusUnauthorized, "sign in, or send an API token as Authorization: Bearer")
		return
	}
	if !slices.Contains(r.roles, id.Role) {
		s.denied(c, id, "the role "+id.Role+" may not do this")
		return
	}
	if id.Kind == "session" && !safe(c.Request.Method) {
		sent := c.GetHeader("X-Picket-CSRF")
		if subtle.ConstantTimeCompare([]byte(sent), []byte(id.CSRF)) != 1 {
			s.denied(c, id, "the header X-Picket-CSRF does not match the session")
			return
		}
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), identityKey, id))
	c.Next()
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

// identify reads the bearer token or the session cookie, and notes that it was used.
func (s *Server) identify(r *http.Request) (auth.Identity, error) {
	return s.identifyWith(r, s.cfg.Auth.Token, s.cfg.Auth.Session)
}

// stillMay says whether whoever opened a channel with r would be let in now. A channel that is merely open is no use of
// a session, and does not keep it from ending.
func (s *Server) stillMay(ctx context.Context, r *http.Request, allowed rule) bool {
	id, err := s.identifyWith(r.WithContext(ctx), s.cfg.Auth.PeekToken, s.cfg.Auth.PeekSession)
	return err == nil && slices.Contains(allowed.roles, id.Role)
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
	if err == nil {
		var body []byte
		if body, err = readBody(c.Writer, c.Request, agentBodyLimit(c.FullPath())); err == nil {
			a, err = claim.Body(body)
		}
	}
	if err != nil {
		var r *agents.Refusal
		if errors.As(err, &r) {
			if r.RetryAfter > 0 {
				c.Header("Retry-After", strconv.Itoa(int(math.Ceil(r.RetryAfter.Seconds()))))
			}
			s.refuse(c, r.Status, r.Error())
			return
		}
		s.fail(c, err)
		return
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), agentKey, a))
	c.Next()
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
