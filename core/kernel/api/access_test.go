package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/auth"
)

func TestEveryRouteSaysWhoMayCallIt(t *testing.T) {
	s := New(Config{})
	have := map[string]bool{}
	for _, r := range s.engine.Routes() {
		key := r.Method + " " + r.Path
		have[key] = true
		rule, listed := access[key]
		if !listed {
			t.Errorf("%s is not in the table of access.go: nobody can call it", key)
		}
		if !rule.public && !rule.agent && !rule.named && len(auth.RolesWith(rule.may)) == 0 {
			t.Errorf("%s lets nobody in", key)
		}
		if rule.fresh && rule.may == "" {
			t.Errorf("%s asks for a proof of somebody who needs no permission", key)
		}
	}
	for key := range access {
		if !have[key] {
			t.Errorf("the table of access.go names %s, which is no route", key)
		}
	}
}

func TestARouteThatIsNotInTheTableAnswersNobody(t *testing.T) {
	w := newWorld(t)
	w.engine.GET("/api/v1/forgotten", func(c *gin.Context) { c.String(http.StatusOK, "secret") })
	out := w.request(auth.RoleADM, http.MethodGet, "/api/v1/forgotten", "")
	if out.Code != http.StatusForbidden || strings.Contains(out.Body.String(), "secret") {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
}

func TestMetricsForThisMachineOnly(t *testing.T) {
	w := newWorld(t)
	direct := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	direct.RemoteAddr, direct.Host = "127.0.0.1:1", "127.0.0.1:8080"
	if out := w.send(direct); out.Code != http.StatusUnauthorized {
		t.Errorf("open on loopback though nobody said so: %d", out.Code)
	}
	w.cfg.MetricsOpenOnLoopback = true
	ask := func(remote, host string, headers ...string) int {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr, r.Host = remote, host
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return w.send(r).Code
	}
	cases := []struct {
		name string
		code int
		want int
	}{
		{"a scraper beside the server", ask("127.0.0.1:1", "127.0.0.1:8080"), 200},
		{"over IPv6", ask("[::1]:1", "[::1]:8080"), 200},
		{"by the name localhost", ask("127.0.0.1:1", "localhost:8080"), 200},
		{"a page that rebinds a name", ask("127.0.0.1:1", "evil.example:8080"), 401},
		{"through a proxy here", ask("127.0.0.1:1", "127.0.0.1", "X-Forwarded-For", "203.0.113.9"), 401},
		{"through a proxy here that says Forwarded", ask("127.0.0.1:1", "127.0.0.1", "Forwarded", "for=203.0.113.9"), 401},
		{"through a proxy here that says Via", ask("127.0.0.1:1", "127.0.0.1", "Via", "1.1 front"), 401},
		{"from elsewhere", ask("203.0.113.9:1", "127.0.0.1:8080"), 401},
		{"from elsewhere with a token", ask("203.0.113.9:1", "x", "Authorization", "Bearer "+w.tokens[auth.RoleSUP]), 200},
	}
	for _, c := range cases {
		if c.code != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.code, c.want)
		}
	}
}

func TestAddressBehindAProxy(t *testing.T) {
	w := newWorld(t)
	w.cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, c := range map[string]struct {
		remote string
		lines  []string
		want   string
	}{
		"direct":                       {"203.0.113.9:5", nil, "203.0.113.9"},
		"made up by a stranger":        {"203.0.113.9:5", []string{"192.0.2.1"}, "203.0.113.9"},
		"through the proxy":            {"10.0.0.1:5", []string{"203.0.113.9"}, "203.0.113.9"},
		"with a claim of the client's": {"10.0.0.1:5", []string{"192.0.2.1, 203.0.113.9"}, "203.0.113.9"},
		"through two proxies":          {"10.0.0.1:5", []string{"192.0.2.1", "203.0.113.9 , 10.0.0.2"}, "203.0.113.9"},
		"over IPv6":                    {"[::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		"mapped":                       {"[::ffff:10.0.0.1]:5", []string{"203.0.113.9"}, "203.0.113.9"},
		"nonsense":                     {"10.0.0.1:5", []string{"<script>"}, "10.0.0.1"},
		"without the header":           {"10.0.0.1:5", nil, "10.0.0.1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.remote, c.lines
		if got := w.address(r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	// One who fails behind the proxy locks out himself and not the others.
	login := func(from string) int {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/login", strings.NewReader(`{"username":"ada","password":"a wrong one"}`))
		r.RemoteAddr = "10.0.0.1:5"
		r.Header.Set("X-Forwarded-For", from)
		r.Header.Set("Content-Type", "application/json")
		return w.send(r).Code
	}
	for range 6 {
		login("203.0.113.9")
	}
	if a, b := login("203.0.113.9"), login("203.0.113.10"); a != 429 || b != 401 {
		t.Errorf("the guesser %d, another %d", a, b)
	}
	contains(t, "the audit log", w.audited(), []string{"203.0.113.9", "203.0.113.10"}, nil)
}

// untouchable is a body that nobody may read.
type untouchable struct{ read bool }

func (u *untouchable) Read([]byte) (int, error) {
	u.read = true
	return 0, errors.New("the body was read")
}

func TestABodyIsReadOnlyOnceTheSenderIsKnown(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	shut := w.enrol("shut")
	if out := w.request(auth.RoleADM, "POST", "/api/v1/agents/"+shut.id+"/disable", ""); out.Code != 200 {
		t.Fatalf("disable: %d %s", out.Code, out.Body)
	}
	for name, c := range map[string]struct {
		r    *http.Request
		code int
	}{
		"unsigned": {httptest.NewRequest("POST", "/api/v1/metrics", nil), 401},
		"another's bearer": {func() *http.Request {
			r := a.signed("POST", "/api/v1/metrics", "{}")
			r.Header.Set("Authorization", "Bearer x")
			return r
		}(), 401},
		"another path": {func() *http.Request {
			r := a.signed("POST", "/api/v1/metrics", "{}")
			r.URL.Path = "/api/v1/sightings"
			return r
		}(), 401},
		"disabled": {shut.signed("POST", "/api/v1/metrics", "{}"), 403},
	} {
		body := &untouchable{}
		c.r.Body = io.NopCloser(body)
		if out := w.send(c.r); out.Code != c.code || body.read {
			t.Errorf("%s: %d, want %d; body read: %t", name, out.Code, c.code, body.read)
		}
	}
	// A body that was altered on the way spends no nonce: the right one may still come.
	right := a.signed("POST", "/api/v1/metrics", `{"epoch":"e","seq":1,"samples":[]}`)
	altered := right.Clone(t.Context())
	altered.Body = bodyOf("{}")
	if out := w.send(altered); out.Code != 401 {
		t.Errorf("altered: %d", out.Code)
	}
	if out := w.send(right); out.Code == 401 {
		t.Errorf("the right one: %d %s", out.Code, out.Body)
	}
}

func TestAgentBodiesAreBoundedByRoute(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	for path, limit := range map[string]int{"/api/v1/metrics": 8 << 20, "/api/v1/sightings": 8 << 20, "/api/v1/agent/status": 512 << 10,
		"/api/v1/agent/commands/x/result": 128 << 10} {
		if out := a.call("POST", path, strings.Repeat(" ", limit+1)); out.Code != 413 {
			t.Errorf("%s with a byte too many: %d", path, out.Code)
		}
		if out := a.call("POST", path, strings.Repeat(" ", limit-1)); out.Code == 413 {
			t.Errorf("%s with the most there may be: %d", path, out.Code)
		}
	}
}

func TestAnAgentIsShutOutLetInAndForgotten(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	do := func(as, method, what string, want int) {
		t.Helper()
		if out := w.request(as, method, "/api/v1/agents/"+a.id+what, ""); out.Code != want {
			t.Errorf("%s %s as %s: %d %s, want %d", method, what, as, out.Code, out.Body, want)
		}
	}
	config := func(want int) {
		t.Helper()
		if out := a.call("GET", "/api/v1/agent/poll", ""); out.Code != want {
			t.Errorf("its request: %d %s, want %d", out.Code, out.Body, want)
		}
	}
	config(200)
	do(auth.RoleIT, "POST", "/disable", 403)
	do(auth.RoleADM, "POST", "/disable", 200)
	config(403)
	if out := w.request(auth.RoleSUP, "GET", "/api/v1/agents/"+a.id, ""); !strings.Contains(out.Body.String(), `"disabled":true`) {
		t.Errorf("the page does not know: %s", out.Body)
	}
	do(auth.RoleADM, "POST", "/enable", 200)
	config(200)
	do(auth.RoleADM, "DELETE", "", 204)
	config(401)
	do(auth.RoleADM, "DELETE", "", 404)
	do(auth.RoleADM, "POST", "/disable", 404)
	contains(t, "the audit log", w.audited(), []string{"agent.disable agent:" + a.id, "agent.enable agent:" + a.id, "agent.delete agent:" + a.id}, nil)
}

func TestAPasswordIsChosenWithASession(t *testing.T) {
	w := newWorld(t)
	u, err := w.cfg.Auth.EnsureUser(t.Context(), "admin", auth.RoleADM)
	check(t, err)
	link, err := w.cfg.Auth.NewSignInToken(t.Context(), u.ID)
	check(t, err)
	secret, id, err := w.cfg.Auth.SignIn(t.Context(), link, auth.Client{})
	check(t, err)
	set := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/api/v1/me/password", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Picket-CSRF", id.CSRF)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: secret})
		return w.send(r)
	}
	if out := w.request(auth.RoleADM, "POST", "/api/v1/me/password", `{"new":"a good long one"}`); out.Code != 403 {
		t.Errorf("a token: %d %s", out.Code, out.Body)
	}
	if out := set(`{"new":"short"}`); out.Code != 422 || !strings.Contains(out.Body.String(), "body.new") {
		t.Errorf("too short: %d %s", out.Code, out.Body)
	}
	out := set(`{"new":"a good long one"}`)
	if out.Code != 200 || len(out.Result().Cookies()) != 2 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	if out := set(`{"new":"another good one"}`); out.Code != 401 {
		t.Errorf("the old session: %d", out.Code)
	}
	if out := w.request("", "POST", "/api/v1/login", `{"username":"admin","password":"a good long one"}`); out.Code != 200 {
		t.Errorf("sign in with it: %d %s", out.Code, out.Body)
	}
	contains(t, "the audit log", w.audited(), []string{"user:admin user.password user:admin"}, []string{"good long"})
}
