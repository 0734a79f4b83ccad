package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
)

// The OWASP API Security Top 10 of 2023, one test for each, over a real connection.

// site is the API behind a listener. Requests come through a proxy that it trusts, from an address of the caller's choice: who
// asks from the server's own machine is counted by no limit.
type site struct {
	*world
	srv *httptest.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	w := newWorld(t)
	w.cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	s := &site{w, httptest.NewServer(w)}
	t.Cleanup(s.srv.Close)
	return s
}

type reply struct {
	code   int
	header http.Header
	text   string
}

// ask sends a request; headers are pairs of a name and a value.
func (s *site) ask(method, path, body string, headers ...string) reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.srv.URL+path, strings.NewReader(body))
	check(s.t, err)
	r.Header.Set("X-Forwarded-For", "203.0.113.1")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}

func (s *site) do(r *http.Request) reply {
	s.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	check(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(s.t, err)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func bearer(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

// as are the headers of somebody's session.
func as(p *person) []string {
	return []string{"Cookie", sessionCookie + "=" + p.secret, "X-Picket-CSRF", p.csrf}
}

func TestOWASP_API1_BrokenObjectLevelAuthorization(t *testing.T) {
	s := newSite(t)
	victim, thief := s.settle(store.DefaultTenant, "zzvictim"), s.settle(s.newTenant("acme"), "zzthief")
	colleague := s.enter("zzcolleague", auth.RoleIT, 0)
	for _, x := range []struct{ method, path, kind string }{
		{"GET", "/api/v1/agents/%s", "agent"}, {"GET", "/api/v1/devices/%s", "device"}, {"GET", "/api/v1/captures/%s", "capture"},
		{"GET", "/api/v1/alerts/%s", "alert"}, {"GET", "/api/v1/incidents/%s", "incident"}, {"GET", "/api/v1/commands/%s", "order"},
		{"GET", "/api/v1/groups/%s", "group"}, {"GET", "/api/v1/users/%s", "user"}, {"DELETE", "/api/v1/views/%s", "view"}, {"DELETE", "/api/v1/tokens/%s", "token"},
	} {
		theirs, nobodysOwn := fmt.Sprintf(x.path, victim.ids[x.kind]), fmt.Sprintf(x.path, nobodys)
		got, want := s.ask(x.method, theirs, "", as(thief.adm)...), s.ask(x.method, nobodysOwn, "", as(thief.adm)...)
		if got.code != 404 || got.text != want.text {
			t.Errorf("%s %s by another tenant: %d %s, want as of nobody's: %s", x.method, theirs, got.code, got.text, want.text)
		}
		if out := s.ask(x.method, theirs, "", as(victim.adm)...); out.code >= 400 {
			t.Errorf("%s %s by its owner: %d %s", x.method, theirs, out.code, out.text)
		}
	}
	// Within a tenant what is one person's own is not another's.
	out := s.ask("POST", "/api/v1/me/tokens", `{"name":"hers"}`, as(victim.adm)...)
	hers := decode[newTokenBody](t, []byte(out.text)).ID
	for _, x := range [][2]string{{"DELETE", "/api/v1/me/tokens/" + hers}, {"POST", "/api/v1/me/tokens/" + hers + "/rotate"}, {"DELETE", "/api/v1/me/factors/" + victim.ids["factor"]}} {
		if out := s.ask(x[0], x[1], "", as(colleague)...); out.code != 404 {
			t.Errorf("%s %s of a colleague: %d %s", x[0], x[1], out.code, out.text)
		}
	}
}

// How many guesses are let through in a minute stands in docs/identity.md.
func TestOWASP_API2_BrokenAuthentication(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	a, err := auth.New(auth.Config{Store: s.control, Now: func() time.Time { return now }})
	check(t, err)
	s.cfg.Auth, s.limits.now = a, func() time.Time { return now }
	for i := range 40 {
		_, err := a.EnsureUser(t.Context(), fmt.Sprintf("user%d", i), auth.RoleIT)
		check(t, err)
	}
	_, err = a.CreateUser(t.Context(), "ada", "a good long one", auth.RoleADM)
	check(t, err)
	guess := func(name, from string) reply {
		return s.ask("POST", "/api/v1/login", fmt.Sprintf(`{"username":%q,"password":"a wrong long one"}`, name), "X-Forwarded-For", from)
	}
	// brute tries ten times a second for a minute, and returns how many passwords were compared.
	brute := func(from string, name func(i int) string) (let int) {
		for i := range 600 {
			switch out := guess(name(i), from); out.code {
			case 401:
				let++
			case 429:
				if out.header.Get("Retry-After") == "" {
					t.Fatalf("attempt %d does not say when to come again: %v", i, out.header)
				}
			default:
				t.Fatalf("attempt %d: %d %s", i, out.code, out.text)
			}
			now = now.Add(100 * time.Millisecond)
		}
		return let
	}
	one, many := brute("203.0.113.7", func(int) string { return "ada" }), brute("203.0.113.8", func(i int) string { return fmt.Sprintf("user%d", i%40) })
	t.Logf("of 600 guesses in a minute %d are let through at one name, %d at forty", one, many)
	if one > 10 || many > 40 {
		t.Errorf("of 600 guesses in a minute %d were let through at one name, %d at forty", one, many)
	}
	if known, unknown := guess("ada", "203.0.113.9"), guess("nobody", "203.0.113.9"); known.code != 401 || known.text != unknown.text {
		t.Errorf("a known name %d %s, an unknown one %s", known.code, known.text, unknown.text)
	}
	// What ended opens nothing.
	secret, token, err := a.CreateToken(t.Context(), "short", auth.RoleADM, "test", time.Minute)
	check(t, err)
	if out := s.ask("GET", "/api/v1/agents", "", bearer(secret)...); out.code != 200 {
		t.Fatalf("a token: %d %s", out.code, out.text)
	}
	for _, wrong := range []string{secret[:len(secret)-1], secret + "x", token.ID, "", "null"} {
		if out := s.ask("GET", "/api/v1/agents", "", bearer(wrong)...); out.code != 401 {
			t.Errorf("the token %q: %d", wrong, out.code)
		}
	}
	now = now.Add(time.Minute)
	if out := s.ask("GET", "/api/v1/agents", "", bearer(secret)...); out.code != 401 {
		t.Errorf("a token that expired: %d", out.code)
	}
	in := s.ask("POST", "/api/v1/login", `{"username":"ada","password":"a good long one"}`)
	cookie := (&http.Response{Header: in.header}).Cookies()
	if in.code != 200 || len(cookie) == 0 || !cookie[0].HttpOnly || cookie[0].SameSite == 0 {
		t.Fatalf("sign in: %d %v", in.code, cookie)
	}
	session := []string{"Cookie", cookie[0].Name + "=" + cookie[0].Value}
	if out := s.ask("POST", "/api/v1/me/sessions/end-others", "", session...); out.code != 403 {
		t.Errorf("a change by a cookie alone: %d", out.code)
	}
	if out := s.ask("POST", "/api/v1/logout", "", append(session, "X-Picket-CSRF", decode[meBody](t, []byte(in.text)).CSRF)...); out.code != 204 {
		t.Errorf("sign out: %d %s", out.code, out.text)
	}
	if out := s.ask("GET", "/api/v1/me", "", session...); out.code != 401 {
		t.Errorf("a session that was ended: %d", out.code)
	}
}

func TestOWASP_API3_BrokenObjectPropertyLevelAuthorization(t *testing.T) {
	s := newSite(t)
	ada, bob := s.enter("ada", auth.RoleADM, 0), s.enter("bob", auth.RoleIT, 0)
	// Nobody sets what is not theirs to set.
	for _, x := range []struct {
		by         *person
		path, body string
	}{
		{bob, "/api/v1/me/tokens", `{"name":"up","role":"ADM"}`},
		{bob, "/api/v1/me/tokens", `{"name":"up","scopes":["users:admin"]}`},
		{bob, "/api/v1/me/tokens", `{"name":"up","user_id":"u-ada"}`},
		{bob, "/api/v1/agents/tokens", `{"name":"m","tenant":"acme"}`},
		{bob, "/api/v1/views", `{"name":"v","page":"flows","query":"","created_by":"user:ada"}`},
		{ada, "/api/v1/users", `{"username":"eve","role":"IT","tenant":"acme"}`},
		{ada, "/api/v1/users", `{"username":"eve","role":"IT","password_hash":"x"}`},
		{ada, "/api/v1/users", `{"username":"eve","role":"ROOT"}`},
		{ada, "/api/v1/tenants", `{"name":"acme","state":"suspended"}`},
	} {
		if out := s.ask("POST", x.path, x.body, as(x.by)...); out.code != 422 {
			t.Errorf("%s %s: %d %s", x.path, x.body, out.code, out.text)
		}
	}
	// A token for people alone makes no administrator, and does not become one.
	secret := decode[newTokenBody](t, []byte(s.ask("POST", "/api/v1/tokens", `{"name":"people","role":"ADM","scopes":["users:admin"]}`, as(ada)...).text)).Token
	people := bearer(secret)
	for _, x := range []struct {
		method, path, body string
		code               int
	}{
		{"POST", "/api/v1/users", `{"username":"eve","role":"ADM"}`, 403},
		{"PUT", "/api/v1/users/" + bob.user.ID + "/role", `{"role":"ADM"}`, 403},
		{"PUT", "/api/v1/users/" + ada.user.ID + "/role", `{"role":"PUB"}`, 403},
		{"POST", "/api/v1/users/" + ada.user.ID + "/link", "", 403},
		{"POST", "/api/v1/users/" + ada.user.ID + "/reset-factors", "", 403},
		{"POST", "/api/v1/users/" + ada.user.ID + "/disable", "", 403},
		{"DELETE", "/api/v1/users/" + ada.user.ID, "", 403},
		{"POST", "/api/v1/users/" + nobodys + "/link", "", 404},
		{"POST", "/api/v1/users", `{"username":"eve","role":"IT"}`, 201},
		{"PUT", "/api/v1/users/" + bob.user.ID + "/role", `{"role":"SUP"}`, 200},
		{"POST", "/api/v1/users/" + bob.user.ID + "/link", "", 200},
	} {
		if out := s.ask(x.method, x.path, x.body, people...); out.code != x.code {
			t.Errorf("%s %s %s by a token for people: %d %s, want %d", x.method, x.path, x.body, out.code, out.text, x.code)
		}
	}
	// No answer holds what nobody needs to see again; what programs printed sees who may give orders.
	n := s.enrol("box")
	c := decode[commandBody](t, []byte(s.ask("POST", "/api/v1/agents/"+n.id+"/commands", `{"type":"ping"}`, as(ada)...).text))
	n.fetched()
	n.call("POST", "/api/v1/agent/commands/"+c.ID+"/result", `{"state":"done","output":"zzprinted"}`)
	lists := []string{"/api/v1/users", "/api/v1/tokens", "/api/v1/me/tokens", "/api/v1/me/sessions", "/api/v1/me/factors", "/api/v1/agents", "/api/v1/agents/" + n.id, "/api/v1/agents/tokens", "/api/v1/audit"}
	for _, path := range lists {
		out := s.ask("GET", path, "", as(ada)...)
		if out.code != 200 || regexp.MustCompile(`"(hash|password_hash|secret|bearer|credential)":|\$argon2|picket_[A-Za-z0-9_-]{20}`).MatchString(strings.ReplaceAll(out.text, `"hash":"`, `"chain":"`)) && path != "/api/v1/audit" ||
			strings.Contains(out.text, secret) || strings.Contains(out.text, n.bearer) || strings.Contains(out.text, ada.secret) {
			t.Errorf("%s: %d %s", path, out.code, out.text)
		}
	}
	at := "/api/v1/agents/" + n.id + "/commands"
	for role, sees := range map[string]bool{auth.RoleIT: true, auth.RoleSUP: false, auth.RoleApprover: false} {
		out := s.ask("GET", at, "", bearer(s.tokens[role])...)
		if strings.Contains(out.text, "zzprinted") != sees || !strings.Contains(out.text, c.ID) {
			t.Errorf("%s reads what was printed: want %t: %s", role, sees, out.text)
		}
		if out := s.ask("GET", at+"/"+c.ID+"/output", "", bearer(s.tokens[role])...); (out.code == 200) != sees {
			t.Errorf("%s reads the output: %d", role, out.code)
		}
	}
}

func TestOWASP_API4_UnrestrictedResourceConsumption(t *testing.T) {
	s := newSite(t)
	it, adm := bearer(s.tokens[auth.RoleIT]), bearer(s.tokens[auth.RoleADM])
	large := strings.Repeat("x", maxBody)
	for what, x := range map[string]struct {
		out  reply
		want int
	}{
		"a body over the limit":    {s.ask("POST", "/api/v1/users", `{"username":"`+large+`"}`, adm...), 413},
		"a page of a million":      {s.ask("GET", "/api/v1/agents?limit=1000000", "", it...), 422},
		"a list of a thousand":     {s.ask("POST", "/api/v1/tokens", `{"name":"x","scopes":[`+strings.Repeat(`"metrics:read",`, 1000)+`"metrics:read"]}`, adm...), 422},
		"a query of a million":     {s.ask("GET", "/prometheus/api/v1/query_range?query=up&start=0&end=1000000&step=1", "", it...), 400},
		"JSON that is all nesting": {s.ask("POST", "/api/v1/views", strings.Repeat("[", 500_000), it...), 400},
	} {
		if x.out.code != x.want {
			t.Errorf("%s: %d %.200s, want %d", what, x.out.code, x.out.text, x.want)
		}
	}
	// A body that says not how long it is, is read no further than the limit.
	sent := &counting{r: io.LimitReader(zeros{}, 64<<20)}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.srv.URL+"/api/v1/login", io.NopCloser(sent))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("64 MB of nothing: %d", resp.StatusCode)
		}
	}
	if n := sent.n.Load(); n > 16<<20 {
		t.Errorf("%d bytes were taken", n)
	}
	// What is small here and large there is not unpacked.
	enc, err := zstd.NewWriter(nil)
	check(t, err)
	n := s.enrol("box")
	for what, bomb := range map[string][]byte{"one frame": enc.EncodeAll(make([]byte, 64<<20), nil), "a second frame": slices.Concat(enc.EncodeAll([]byte("x"), nil), enc.EncodeAll(make([]byte, 900<<10), nil))} {
		r := n.signed("POST", packedPath, string(bomb))
		r.Header.Set("Content-Type", "application/vnd.picket.samples+zstd")
		if out := s.send(r); out.Code != 422 && out.Code != 400 {
			t.Errorf("a bomb in %s: %d %s", what, out.Code, out.Body)
		}
	}
	// Requests are counted by who sends them.
	if out := s.ask("PUT", "/api/v1/settings/rate-limits", `{"signin":3,"public":0,"refused":2,"read":5,"change":50,"agent":10}`, adm...); out.code != 200 {
		t.Fatalf("set: %d %s", out.code, out.text)
	}
	hour := time.Now().Truncate(time.Hour)
	s.limits.now = func() time.Time { return hour.Add(10 * time.Second) }
	var last reply
	for range 6 {
		last = s.ask("GET", "/api/v1/agents", "", it...)
	}
	if last.code != 429 || last.header.Get("Retry-After") != "50" || last.header.Get("X-RateLimit-Limit") != "5" {
		t.Errorf("the sixth: %d %v", last.code, last.header)
	}
	if out := s.ask("GET", "/api/v1/agents", "", bearer(s.tokens[auth.RoleSUP])...); out.code != 200 {
		t.Errorf("another: %d", out.code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type counting struct {
	r io.Reader
	n atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestOWASP_API5_BrokenFunctionLevelAuthorization(t *testing.T) {
	s := newSite(t)
	s.limits.set(nil)
	it, pub, foreign := s.enter("it", auth.RoleIT, 0), s.enter("pub", auth.RolePUB, 0), s.enterTenant(s.newTenant("acme"), "adm", auth.RoleADM, 0)
	tried := 0
	for key, r := range access {
		method, path := routeRequest(key)
		if strings.HasSuffix(string(r.may), ":admin") {
			for _, p := range []*person{it, pub} {
				tried++
				if out := s.ask(method, path, "{}", as(p)...); out.code != 403 {
					t.Errorf("%s by %s: %d %s", key, p.user.Role, out.code, out.text)
				}
			}
		}
		if r.shared() {
			tried++
			if out := s.ask(method, path, "{}", as(foreign)...); out.code != 403 {
				t.Errorf("%s by another tenant's administrator: %d %s", key, out.code, out.text)
			}
		}
	}
	if tried < 150 {
		t.Errorf("only %d were tried", tried)
	}
	// Another way of writing the same is not a way in.
	for _, x := range []struct {
		method, path string
		with         []string
	}{
		{"GET", "/api/v1/users", []string{"X-HTTP-Method-Override", "DELETE"}}, {"GET", "/api/v1/users", []string{"X-Original-URL", "/healthz"}},
		{"HEAD", "/api/v1/users", nil}, {"GET", "/healthz/../api/v1/users", nil}, {"GET", "//api/v1/users", nil}, {"GET", "/api/v1/users/", nil}, {"GET", "/API/V1/users", nil},
		{"GET", "/api/v1/users;a=b", nil}, {"GET", "/api/v1/%75sers", nil}, {"GET", "/api/v1/users%00", nil}, {"PATCH", "/api/v1/users", nil},
	} {
		if out := s.ask(x.method, x.path, "", append(as(pub), x.with...)...); strings.Contains(out.text, "pub") || out.code == 200 && strings.Contains(out.header.Get("Content-Type"), "json") {
			t.Errorf("%s %s %v: %d %s", x.method, x.path, x.with, out.code, out.text)
		}
	}
}

// What may happen once happens once, however many come at the same time, and what needs two people is not done by one.
func TestOWASP_API6_UnrestrictedAccessToSensitiveBusinessFlows(t *testing.T) {
	s := newSite(t)
	s.limits.set(nil)
	ada := s.enter("ada", auth.RoleADM, 0)
	at := func(once func() int) (done int32) {
		var wg sync.WaitGroup
		var n atomic.Int32
		for range 8 {
			wg.Go(func() {
				if code := once(); code < 300 {
					n.Add(1)
				}
			})
		}
		wg.Wait()
		return n.Load()
	}
	link := decode[invitedBody](t, []byte(s.ask("POST", "/api/v1/users", `{"username":"grace","role":"IT"}`, as(ada)...).text)).Link
	_, once, _ := strings.Cut(link, "#token=")
	if n := at(func() int { return s.ask("POST", "/api/v1/signin", `{"token":"`+once+`"}`).code }); n != 1 {
		t.Errorf("a link for one sign-in was good for %d", n)
	}
	enrolment := s.enrolmentFor(ada, "box")
	if n := at(func() int {
		body, _, err := enrolBody("box", enrolment)
		if err != nil {
			return 500
		}
		return s.ask("POST", "/api/v1/enrol", body).code
	}); n != 1 {
		t.Errorf("a token for one machine let in %d", n)
	}
	if out := s.ask("POST", "/api/v1/setup", `{"token":"x","username":"eve","password":"a good long one"}`); out.code != 401 && out.code != 409 {
		t.Errorf("a second set-up: %d %s", out.code, out.text)
	}
	n := s.enrol("server")
	o := decode[orderBody](t, []byte(s.ask("POST", "/api/v1/commands", `{"type":"`+queue.Exec+`","args":{"path":"/bin/true"},"agents":["`+n.id+`"]}`, as(ada)...).text))
	if o.State != store.OrderWaiting || len(n.fetched()) != 0 {
		t.Fatalf("a dangerous order: %+v", o)
	}
	approve := "/api/v1/commands/" + o.ID + "/approve"
	for who, with := range map[string][]string{"who gave it": as(ada), "a token": bearer(s.tokens[auth.RoleApprover]), "somebody whose session was left open": as(s.enter("open", auth.RoleApprover, time.Hour))} {
		if out := s.ask("POST", approve, "{}", with...); out.code != 403 {
			t.Errorf("approved by %s: %d %s", who, out.code, out.text)
		}
	}
	second := s.enter("second", auth.RoleApprover, 0)
	if got := at(func() int { return s.ask("POST", approve, "{}", as(second)...).code }); got != 1 || len(n.fetched()) != 1 {
		t.Errorf("approved %d times", got)
	}
}

// addresses are the only inputs of the API that hold an address. None of them is fetched by this server.
var addresses = map[string]string{}

func TestOWASP_API7_ServerSideRequestForgery(t *testing.T) {
	s := newSite(t)
	s.limits.set(nil)
	var hits atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()
	host := strings.TrimPrefix(canary.URL, "http://")
	ada := s.enter("ada", auth.RoleADM, 0)
	// Nothing that is handed in is an address to fetch from.
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]json.RawMessage }
	}
	check(t, json.Unmarshal([]byte(s.ask("GET", "/api/v1/openapi.json", "").text), &doc))
	suspect := regexp.MustCompile(`(?i)(^|_)(url|uri|href|callback|webhook|endpoint|upstream|proxy|redirect|next|return_to)($|_)`)
	inputs := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for _, name := range inputNames(t, op, doc.Components.Schemas) {
				inputs++
				key := strings.ToUpper(method) + " " + path + " " + name
				if suspect.MatchString(name) && addresses[key] == "" {
					t.Errorf("%s looks like an address that this server is to fetch: say in addresses why it is none", key)
				}
			}
		}
	}
	if inputs < 200 {
		t.Errorf("only %d inputs were looked at", inputs)
	}
	// What a request claims about where it is going changes neither where this server asks nor where it sends people.
	s.cfg.BaseURL = "https://picket.example"
	for i, with := range [][]string{{"X-Forwarded-Host", host}, {"X-Original-URL", canary.URL}, {"Referer", canary.URL}, {"Forwarded", "host=" + host}, {"X-Forwarded-Proto", "gopher"}} {
		out := s.ask("POST", "/api/v1/users", fmt.Sprintf(`{"username":"u%d","role":"IT"}`, i), append(as(ada), with...)...)
		if out.code != 201 || !strings.Contains(out.text, `"https://picket.example/signin#token=`) {
			t.Errorf("%v: %d %s", with, out.code, out.text)
		}
	}
	for _, path := range []string{"/api/v1/oidc/start?next=" + canary.URL, "/api/v1/oidc/callback?state=x&code=y&redirect_uri=" + canary.URL, "/registry/" + canary.URL, "/install/" + host, "//" + host + "/", "/%2f" + host} {
		if out := s.ask("GET", path, ""); strings.Contains(out.header.Get("Location"), host) {
			t.Errorf("%s leads to %s", path, out.header.Get("Location"))
		}
	}
	s.ask("POST", "/api/v1/plugins/test/hook/enable", `{"config":{"url":"`+canary.URL+`"},"secrets":{"key":"x"}}`, as(ada)...)
	s.ask("POST", "/api/v1/market/plugins/test/hook/plan", `{"version":"`+canary.URL+`"}`, as(ada)...)
	s.ask("PUT", "/api/v1/settings/site", `{"logo":"`+canary.URL+`"}`, as(ada)...)
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.srv.URL+"/", nil)
	check(t, err)
	r.Host = host
	s.do(r)
	proxy, err := net.Dial("tcp", s.srv.Listener.Addr().String())
	check(t, err)
	defer proxy.Close()
	fmt.Fprintf(proxy, "GET %s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\nCONNECT %s HTTP/1.1\r\n\r\n", canary.URL, host, host)
	_, err = io.ReadAll(proxy)
	check(t, err)
	if n := hits.Load(); n != 0 {
		t.Errorf("the server asked elsewhere %d times", n)
	}
}

// inputNames are the names of the parameters and of all properties of the body of an operation.
func inputNames(t *testing.T, op json.RawMessage, schemas map[string]json.RawMessage) (out []string) {
	t.Helper()
	var o struct {
		Parameters []struct{ Name, In string }
		Body       json.RawMessage `json:"requestBody"`
	}
	check(t, json.Unmarshal(op, &o))
	for _, p := range o.Parameters {
		out = append(out, p.Name)
	}
	seen := map[string]bool{}
	var walk func(raw json.RawMessage)
	walk = func(raw json.RawMessage) {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil {
			for _, x := range list {
				walk(x)
			}
			return
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			return
		}
		var ref string
		if json.Unmarshal(fields["$ref"], &ref) == nil && ref != "" {
			if name := ref[strings.LastIndex(ref, "/")+1:]; !seen[name] {
				seen[name] = true
				walk(schemas[name])
			}
			return
		}
		var props map[string]json.RawMessage
		if json.Unmarshal(fields["properties"], &props) == nil {
			for name := range props {
				out = append(out, name)
			}
		}
		for _, x := range fields {
			walk(x)
		}
	}
	walk(o.Body)
	return out
}

func TestOWASP_API8_SecurityMisconfiguration(t *testing.T) {
	s := newSite(t)
	s.limits.set(nil)
	for _, x := range []struct{ method, path string }{{"GET", "/"}, {"GET", "/nothing/here"}, {"GET", "/api/v1/nothing"}, {"GET", "/api/v1/users"}, {"GET", "/api/v1/openapi.json"}, {"POST", "/api/v1/login"}, {"GET", "/assets/a.js"}} {
		out := s.ask(x.method, x.path, "")
		h := out.header
		if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Frame-Options") != "DENY" || h.Get("Server")+h.Get("X-Powered-By") != "" {
			t.Errorf("%s %s: %v", x.method, x.path, h)
		}
		if strings.HasPrefix(x.path, "/api/") && x.path != "/api/v1/openapi.json" && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s is cached: %v", x.path, h)
		}
		if out.code >= 400 && regexp.MustCompile(`(?i)goroutine|\.go:\d|/root/|/tmp/|panic|SELECT|sqlite|duckdb`).MatchString(out.text) {
			t.Errorf("%s %s tells about the server: %s", x.method, x.path, out.text)
		}
	}
	// Other sites' pages read nothing and change nothing.
	ada := s.enter("ada", auth.RoleADM, 0)
	evil := append(as(ada), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	if out := s.ask("GET", "/api/v1/users", "", evil...); out.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another site may read: %v", out.header)
	}
	if out := s.ask("OPTIONS", "/api/v1/users", "", append(evil, "Access-Control-Request-Method", "POST")...); out.header.Get("Access-Control-Allow-Origin")+out.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("another site may ask: %v", out.header)
	}
	if out := s.ask("POST", "/api/v1/login", `{"username":"ada","password":"x"}`, evil...); out.code != 403 {
		t.Errorf("another site signs somebody in: %d", out.code)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/.git/config", "/.env", "/api/v1/../../etc/passwd", "/assets/../../../etc/passwd", "/registry/../data/control.db", "/registry/..%2f..%2fdata/control.db"} {
		if out := s.ask("GET", path, ""); out.code == 200 && !strings.HasPrefix(out.text, "<!doctype html>app") {
			t.Errorf("%s: %d %.100s", path, out.code, out.text)
		}
	}
	if out := s.ask("TRACE", "/api/v1/me", "", as(ada)...); out.code < 400 || strings.Contains(out.text, ada.secret) {
		t.Errorf("TRACE: %d %s", out.code, out.text)
	}
	if out := s.ask("GET", "/metrics", ""); out.code != 401 {
		t.Errorf("/metrics for everybody: %d", out.code)
	}
	// Over TLS the cookie stays on TLS.
	_, err := s.cfg.Auth.CreateUser(t.Context(), "grace", "a good long one", auth.RoleIT)
	check(t, err)
	tls := httptest.NewTLSServer(s.world)
	defer tls.Close()
	resp, err := tls.Client().Post(tls.URL+"/api/v1/login", "application/json", strings.NewReader(`{"username":"grace","password":"a good long one"}`))
	check(t, err)
	defer resp.Body.Close()
	if len(resp.Cookies()) == 0 || slices.ContainsFunc(resp.Cookies(), func(c *http.Cookie) bool { return !c.Secure }) || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%d %v %v", resp.StatusCode, resp.Cookies(), resp.Header)
	}
}

// undocumented are the routes that the OpenAPI document leaves out, because others say what they are.
var undocumented = map[string]string{
	"/healthz": "for balancers", "/readyz": "for balancers", "/metrics": "as Prometheus scrapes", "/registry/": "a registry's protocol", "/install/": "files",
	"/prometheus/": "Prometheus's API", "/otlp/": "OpenTelemetry's API", "/influx/": "Influx's API",
	"/api/v1/openapi.json": "the document", "/api/v1/live": "WebSocket", "/api/v1/plugins/:ns/:name/page": "HTML of a plugin", "/api/v1/market/plugins/:ns/:name/screenshots/:number": "pictures", "/api/v1/export/prometheus": "as Prometheus scrapes",
}

func TestOWASP_API9_ImproperInventoryManagement(t *testing.T) {
	s := newSite(t)
	s.limits.set(nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Summary string
			Roles   []string `json:"x-roles"`
		}
	}
	check(t, json.Unmarshal([]byte(s.ask("GET", "/api/v1/openapi.json", "").text), &doc))
	said := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			said[strings.ToUpper(method)+" "+regexp.MustCompile(`\{(\w+)\}`).ReplaceAllString(path, ":$1")] = true
			if op.Summary == "" {
				t.Errorf("%s %s is not described", method, path)
			}
		}
	}
	here := map[string]bool{}
	for _, r := range s.engine.Routes() {
		key := r.Method + " " + r.Path
		here[key] = true
		known := said[key]
		for prefix := range undocumented {
			known = known || r.Path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(r.Path, prefix)
		}
		if !known {
			t.Errorf("%s stands in no document", key)
		}
	}
	for key := range said {
		if !here[key] {
			t.Errorf("%s is described and is not there", key)
		}
	}
	// No version but one, and none of what comes with frameworks.
	adm := bearer(s.tokens[auth.RoleADM])
	for _, path := range []string{"/api/users", "/api/v0/users", "/api/v2/users", "/api/v1beta/users", "/v1/users", "/api/v1/debug", "/api/v1/test", "/swagger.json", "/swagger/", "/openapi.json", "/docs", "/graphql", "/schemas/x.json", "/actuator"} {
		if out := s.ask("GET", path, "", adm...); out.code == 200 && !strings.HasPrefix(out.text, "<!doctype html>app") {
			t.Errorf("%s: %d %.100s", path, out.code, out.text)
		}
	}
}

// Agents, pushers and registries are others' programs: what they send is checked like a stranger's request.
func TestOWASP_API10_UnsafeConsumptionOfAPIs(t *testing.T) {
	s := newSite(t)
	n := s.enrol("box")
	now := time.Now().UTC()
	sample := func(metric, label string, at time.Time) string {
		b, err := json.Marshal(map[string]any{"metric": metric, "type": "gauge", "time": at, "value": 1, "labels": map[string]string{"host": label}})
		check(t, err)
		return string(b)
	}
	out := n.call("POST", "/api/v1/metrics", `{"epoch":"e","seq":1,"samples":[`+strings.Join([]string{
		sample("zz.ok", "x\"} 1\nzz_injected 1\n#", now), sample("zz.<script>", "h", now), sample("zz\nevil", "h", now),
		sample("zz.later", "h", now.Add(24*time.Hour)), sample("zz.long", strings.Repeat("x", 100_000), now),
	}, ",")+`]}`)
	took := decode[samplesBody](t, out.Body.Bytes())
	if out.Code != 200 || took.Accepted != 3 || took.Refused != 2 {
		t.Errorf("of five samples, of which three can be: %d %s", out.Code, out.Body)
	}
	exported := s.ask("GET", "/api/v1/export/prometheus", "", bearer(s.tokens[auth.RoleIT])...)
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(exported.text))
	if err != nil || families["zz_injected"] != nil || !strings.Contains(exported.text, "zz_ok") {
		t.Errorf("the export: %v %s", err, exported.text)
	}
	// A machine's own account of itself is text, never markup, and not who it is.
	body, _, err := enrolBody("<img src=x onerror=alert(1)>", s.enrolmentFor(s.enter("ada", auth.RoleADM, 0), "mallory"))
	check(t, err)
	s.ask("POST", "/api/v1/enrol", body)
	list := s.ask("GET", "/api/v1/agents", "", bearer(s.tokens[auth.RoleIT])...)
	if strings.Contains(list.text, "<img") || !strings.HasPrefix(list.header.Get("Content-Type"), "application/json") {
		t.Errorf("the machines: %v %s", list.header, list.text)
	}
	other := s.enrol("other")
	posing := &node{w: s.world, id: other.id, bearer: n.bearer, key: n.key}
	if out := posing.call("POST", "/api/v1/sightings", `{"epoch":"e","seq":1,"sightings":[]}`); out.Code != 401 {
		t.Errorf("a machine that says it is another: %d %s", out.Code, out.Body)
	}
	// A pusher cannot speak for a machine, nor bring what nobody can read.
	push := bearer(s.scoped("metrics:write"))
	for what, x := range map[string]struct{ path, kind, body string }{
		"Influx": {"/influx/write", "text/plain", "zz_bad,host=a value=\xff\xfe"}, "remote write": {"/prometheus/api/v1/write", "application/x-protobuf", "\xff\xff\xff\xff\xff\xff"},
		"OTLP": {"/otlp/v1/metrics", "application/x-protobuf", strings.Repeat("\xff", 100)}, "JSON": {"/api/v1/metrics/push", "application/json", `{"samples":[{"name":"x","value":"NaN"}]}`},
	} {
		if out := s.ask("POST", x.path, x.body, append(push, "Content-Type", x.kind)...); out.code < 400 || out.code >= 500 {
			t.Errorf("%s: %d %s", what, out.code, out.text)
		}
	}
	// What the registry does not vouch for is not installed, whatever it offers.
	s.registry.refuse = &registry.Refusal{Plugin: "test/collect", Reason: registry.NotVouched}
	got := s.ask("POST", "/api/v1/market/plugins/test/collect/plan", "{}", bearer(s.tokens[auth.RoleADM])...)
	if got.code < 400 || got.code >= 500 || bytes.Contains([]byte(got.text), []byte("permissions")) {
		t.Errorf("a plugin that nobody vouches for: %d %s", got.code, got.text)
	}
}
