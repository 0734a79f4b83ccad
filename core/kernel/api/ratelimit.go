package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Classes of routes, each with a limit of its own.
const (
	classSignIn  = "signin"  // where secrets are guessed at, by address
	classPublic  = "public"  // all else that needs no name, by address
	classRefused = "refused" // requests with a wrong secret, by address
	classRead    = "read"    // by person or token
	classChange  = "change"  // by person or token
	classAgent   = "agent"   // by agent
	classPush    = "push"    // handing in metrics, by person or token
)

const (
	limitWindow    = time.Minute
	maxCounted     = 50_000 // counters in a window; who comes later shares one of the class
	sharedAs       = 20     // that many times the limit of one
	limitSetting   = "identity.rate-limits"
	ipv6PrefixBits = 64 // what one customer has at least
)

// usualLimits are requests in a minute. A page that shows everything live asks a few times a second.
var usualLimits = map[string]int{classSignIn: 60, classPublic: 1200, classRefused: 120, classRead: 1200, classChange: 300, classAgent: 600, classPush: 6000}

// limits counts requests in windows of a minute. It lives in memory, whose size is bounded.
type limits struct {
	now func() time.Time

	mu     sync.Mutex // guards what follows
	most   map[string]int
	window int64
	counts map[string]int
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, most: usualLimits, counts: map[string]int{}}
}

// take counts a request, and returns the limit, what is left of it, and when it counts anew. left is negative when the
// limit is used up; most is 0 when there is none.
func (l *limits) take(class, who string) (most, left int, reset time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if w := now.UnixNano() / int64(limitWindow); w != l.window {
		l.window = w
		clear(l.counts)
	}
	if most = l.most[class]; most == 0 {
		return 0, 0, 0
	}
	key, of := class+"\x00"+who, most
	if _, known := l.counts[key]; !known && len(l.counts) >= maxCounted {
		key, of = class, most*sharedAs
	}
	l.counts[key]++
	return most, of - l.counts[key], limitWindow - time.Duration(now.UnixNano()%int64(limitWindow))
}

func (l *limits) set(most map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
}

func (l *limits) get() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// limited counts a request and says how many are left. It answers 429 and returns false when there is none. Who sits at
// this very machine is not counted.
func (s *Server) limited(c *gin.Context, class, who string) bool {
	if fromThisMachine(c.Request) {
		return true
	}
	if class == classSignIn || class == classPublic || class == classRefused {
		who = networkOf(who)
	}
	most, left, reset := s.limits.take(class, who)
	if most == 0 {
		return true
	}
	seconds := strconv.Itoa(int((reset + time.Second - 1) / time.Second))
	c.Header("X-RateLimit-Limit", strconv.Itoa(most))
	c.Header("X-RateLimit-Remaining", strconv.Itoa(max(0, min(left, most))))
	c.Header("X-RateLimit-Reset", seconds)
	if left >= 0 {
		return true
	}
	c.Header("Retry-After", seconds)
	s.refuse(c, http.StatusTooManyRequests, fmt.Sprintf("more than %d requests of this kind (%s) in a minute; try again in %s s", most, class, seconds))
	return false
}

// networkOf is the part of an address that one customer has: an IPv6 host can take any address of its network.
func networkOf(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Is4() || a.Is4In6() {
		return address
	}
	p, err := a.WithZone("").Prefix(ipv6PrefixBits)
	if err != nil {
		return address
	}
	return p.String()
}

func publicClass(r rule) string {
	if r.signin {
		return classSignIn
	}
	return classPublic
}

func personClass(method string) string {
	if safe(method) {
		return classRead
	}
	return classChange
}

type rateLimitsBody struct {
	SignIn  int `json:"signin" minimum:"1" maximum:"1000000" doc:"Attempts to sign in, by address."`
	Public  int `json:"public" minimum:"0" maximum:"1000000" doc:"All else that needs no name, by address."`
	Refused int `json:"refused" minimum:"0" maximum:"1000000" doc:"Requests with a wrong secret, by address."`
	Read    int `json:"read" minimum:"0" maximum:"1000000" doc:"Reading, by person or token."`
	Change  int `json:"change" minimum:"0" maximum:"1000000" doc:"Changes, by person or token."`
	Agent   int `json:"agent" minimum:"0" maximum:"1000000" doc:"All that an agent asks, by agent."`
	Push    int `json:"push" required:"false" default:"6000" minimum:"0" maximum:"1000000" doc:"Handing in metrics of others than agents, by person or token."`
}

func limitsOf(most map[string]int) rateLimitsBody {
	return rateLimitsBody{most[classSignIn], most[classPublic], most[classRefused], most[classRead], most[classChange], most[classAgent], most[classPush]}
}

func (b rateLimitsBody) limits() map[string]int {
	return map[string]int{classSignIn: b.SignIn, classPublic: b.Public, classRefused: b.Refused, classRead: b.Read, classChange: b.Change, classAgent: b.Agent, classPush: b.Push}
}

// LoadLimits reads the limits that administrators chose.
func (s *Server) LoadLimits(ctx context.Context) error {
	text, err := s.cfg.Control.Setting(ctx, store.DefaultTenant, limitSetting)
	if err != nil || text == "" {
		return err
	}
	b := limitsOf(usualLimits)
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return fmt.Errorf("read rate limits: %w", err)
	}
	s.limits.set(b.limits())
	return nil
}

func (s *Server) limitRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "get-rate-limits", Method: http.MethodGet, Path: "/api/v1/settings/rate-limits", Tags: tags,
		Summary: "How many requests of each kind are taken in a minute; 0: as many as come"},
		func(context.Context, *struct{}) (*body[rateLimitsBody], error) {
			return answer(limitsOf(s.limits.get())), nil
		})
	handle(s, huma.Operation{OperationID: "set-rate-limits", Method: http.MethodPut, Path: "/api/v1/settings/rate-limits", Tags: tags,
		Summary: "Change how many requests of each kind are taken in a minute"},
		func(ctx context.Context, in *struct{ Body rateLimitsBody }) (*body[rateLimitsBody], error) {
			text, err := json.Marshal(in.Body)
			if err == nil {
				err = s.cfg.Control.PutSetting(ctx, store.DefaultTenant, limitSetting, string(text))
			}
			s.act(ctx, "settings.rate-limits", "settings:rate-limits", string(text), err)
			if err != nil {
				return nil, err
			}
			s.limits.set(in.Body.limits())
			return answer(in.Body), nil
		})
}
