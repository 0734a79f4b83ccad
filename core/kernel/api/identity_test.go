package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

// Broken object level authorisation: what is another's is not there.
func TestOthersSessionsTokensAndFactorsAreNotThere(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.enter("ada", auth.RoleADM, 0), w.enter("bob", auth.RoleIT, 0)
	var made struct{ ID string }
	check(t, json.Unmarshal(ada.do("POST", "/api/v1/me/tokens", `{"name":"hers"}`).Body.Bytes(), &made))
	check(t, w.control.AddFactor(t.Context(), store.Factor{ID: "f1", Tenant: store.DefaultTenant, UserID: ada.user.ID, Kind: store.FactorPasskey, Confirmed: true, Credential: []byte("c")}))
	for _, x := range [][2]string{{"DELETE", "/api/v1/me/tokens/" + made.ID}, {"POST", "/api/v1/me/tokens/" + made.ID + "/rotate"}, {"DELETE", "/api/v1/me/sessions/s1"}, {"DELETE", "/api/v1/me/factors/f1"}} {
		if out := bob.do(x[0], x[1], ""); out.Code != http.StatusNotFound {
			t.Errorf("%s %s of another: %d %s", x[0], x[1], out.Code, out.Body)
		}
	}
	if out := bob.do("PUT", "/api/v1/me/factors/f1", `{"name":"mine"}`); out.Code != http.StatusNotFound {
		t.Errorf("another's factor renamed: %d %s", out.Code, out.Body)
	}
	if out := ada.do("PUT", "/api/v1/me/factors/f1", `{"name":"key ring"}`); out.Code != http.StatusNoContent {
		t.Errorf("her own factor: %d %s", out.Code, out.Body)
	}
}

// Broken authentication: guessing is slowed down, and an answer does not tell who there is.
func TestGuessingIsSlowedDownAndTellsNothing(t *testing.T) {
	w := newWorld(t)
	_, err := w.cfg.Auth.CreateUser(t.Context(), "ada", "a good long one", auth.RoleADM)
	check(t, err)
	try := func(name string) *httptest.ResponseRecorder {
		return w.request("", "POST", "/api/v1/login", `{"username":"`+name+`","password":"wrong password"}`)
	}
	known, unknown := try("ada"), try("nobody")
	if known.Code != 401 || known.Body.String() != unknown.Body.String() {
		t.Errorf("a known name %s, an unknown one %s", known.Body, unknown.Body)
	}
	for range 5 {
		try("ada")
	}
	if out := try("ada"); out.Code != 429 || out.Header().Get("Retry-After") == "" {
		t.Errorf("after six: %d", out.Code)
	}
}

// Broken object property level authorisation: nobody gives themselves a property.
func TestNobodyRaisesThemselves(t *testing.T) {
	w := newWorld(t)
	bob := w.enter("bob", auth.RoleIT, 0)
	for _, body := range []string{`{"name":"up","role":"ADM"}`, `{"name":"up","scopes":["users:admin"]}`, `{"name":"up","user_id":"u-ada"}`} {
		if out := bob.do("POST", "/api/v1/me/tokens", body); out.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", body, out.Code, out.Body)
		}
	}
}

// Unrestricted resource consumption: by identity and by address, with what is left in the headers.
func TestRequestsAreCounted(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 11, 4, 12, 0, 10, 0, time.UTC)
	w.limits.now = func() time.Time { return now }
	set := w.request(auth.RoleADM, "PUT", "/api/v1/settings/rate-limits", `{"signin":3,"public":0,"refused":2,"read":5,"change":50,"agent":10}`)
	if set.Code != 200 {
		t.Fatalf("set: %d %s", set.Code, set.Body)
	}
	var last *httptest.ResponseRecorder
	for range 6 {
		last = w.request(auth.RoleIT, "GET", "/api/v1/agents", "")
	}
	h := last.Header()
	if last.Code != 429 || h.Get("X-RateLimit-Limit") != "5" || h.Get("X-RateLimit-Remaining") != "0" || h.Get("Retry-After") != "50" {
		t.Errorf("the sixth: %d %v", last.Code, h)
	}
	if out := w.request(auth.RoleSUP, "GET", "/api/v1/agents", ""); out.Code != 200 || out.Header().Get("X-RateLimit-Remaining") != "4" {
		t.Errorf("another identity: %d %v", out.Code, out.Header())
	}
	from := func(remote, forwarded string) int {
		r := httptest.NewRequest("POST", "/api/v1/login", strings.NewReader(`{"username":"x","password":"y"}`))
		r.RemoteAddr = remote
		r.Header.Set("Content-Type", "application/json")
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		return w.send(r).Code
	}
	for i, spoofed := range []string{"", "203.0.113.1", "203.0.113.2", "203.0.113.3"} {
		if got, want := from("198.51.100.9:1", spoofed) == 429, i == 3; got != want {
			t.Errorf("attempt %d of one address that makes addresses up: 429 is %t", i, got)
		}
	}
	for i, a := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:0:ffff::3]:1", "[2001:db8::4]:1"} {
		if got, want := from(a, "") == 429, i == 3; got != want {
			t.Errorf("attempt %d of one IPv6 network: 429 is %t", i, got)
		}
	}
	for range 5 {
		r := httptest.NewRequest("POST", "/api/v1/login", strings.NewReader(`{"username":"z","password":"y"}`))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1:8080"
		r.Header.Set("Content-Type", "application/json")
		if out := w.send(r); out.Header().Get("X-RateLimit-Limit") != "" {
			t.Error("who sits at the server is counted")
		}
	}
	for i := range 3 * maxCounted {
		w.limits.take(classPublic, string(rune(i)))
	}
	if len(w.limits.counts) > maxCounted+len(usualLimits) {
		t.Errorf("%d counters", len(w.limits.counts))
	}
	now = now.Add(time.Minute)
	if out := w.request(auth.RoleIT, "GET", "/api/v1/agents", ""); out.Code != 200 {
		t.Errorf("a minute later: %d", out.Code)
	}
}

// Security misconfiguration, where a file is what is attacked: no cell of an export is run as a formula.
func TestAnExportRunsNowhere(t *testing.T) {
	w := newWorld(t)
	w.request("", "POST", "/api/v1/login", `{"username":"=cmd|' /C calc'!A0","password":"wrong password"}`)
	w.request("", "POST", "/api/v1/login", `{"username":"  @SUM(1)","password":"wrong password"}`)
	for _, name := range []string{"=1+1", "+1", "-1", "@x", "  =1"} {
		if got := noFormula(name); got != "'"+name {
			t.Errorf("%q became %q", name, got)
		}
	}
	out := w.request(auth.RoleSUP, "GET", "/api/v1/audit/export?format=csv", "")
	if out.Code != 200 || !strings.HasPrefix(out.Body.String(), "seq,time,") || strings.Contains(out.Body.String(), ",=") {
		t.Errorf("%d %s", out.Code, out.Body)
	}
	if out := w.request(auth.RoleSUP, "GET", "/api/v1/audit/export", ""); out.Code != 200 || !strings.HasPrefix(out.Body.String(), `{"id":`) {
		t.Errorf("%d %s", out.Code, out.Body)
	}
	if out := w.request(auth.RoleSUP, "GET", "/api/v1/audit/verify", ""); !strings.Contains(out.Body.String(), `"whole":true`) {
		t.Errorf("%s", out.Body)
	}
}

func TestPeople(t *testing.T) {
	w := newWorld(t)
	ada := w.enter("ada", auth.RoleADM, 0)
	var made struct{ ID, Link string }
	out := ada.do("POST", "/api/v1/users", `{"username":"grace","role":"IT"}`)
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	_, token, found := strings.Cut(made.Link, "/signin#token=")
	if out.Code != 201 || !found {
		t.Fatalf("invite: %d %s", out.Code, out.Body)
	}
	if out := w.request("", "POST", "/api/v1/signin", `{"token":"`+token+`"}`); out.Code != 200 || !strings.Contains(out.Body.String(), `"username":"grace"`) {
		t.Errorf("her link: %d %s", out.Code, out.Body)
	}
	for _, x := range []struct {
		method, path, body string
		code               int
	}{
		{"POST", "/api/v1/users", `{"username":"grace","role":"IT"}`, 409},
		{"PUT", "/api/v1/users/" + made.ID + "/role", `{"role":"SUP"}`, 200},
		{"POST", "/api/v1/users/" + made.ID + "/link", "", 200},
		{"POST", "/api/v1/users/" + made.ID + "/disable", "", 200},
		{"POST", "/api/v1/users/" + made.ID + "/enable", "", 200},
		{"POST", "/api/v1/users/" + made.ID + "/reset-factors", "", 200},
		{"POST", "/api/v1/users/" + made.ID + "/end-sessions", "", 200},
		{"POST", "/api/v1/users/" + ada.user.ID + "/disable", "", 409},
		{"DELETE", "/api/v1/users/" + made.ID, "", 204},
		{"GET", "/api/v1/users/" + made.ID, "", 404},
	} {
		if out := ada.do(x.method, x.path, x.body); out.Code != x.code {
			t.Errorf("%s %s: %d %s, want %d", x.method, x.path, out.Code, out.Body, x.code)
		}
	}
	contains(t, "the audit log", w.audited(), []string{"user:ada user.invite user:grace ok role IT", "user.delete"}, []string{token})
}
