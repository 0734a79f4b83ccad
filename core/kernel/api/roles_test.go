package api

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

// person is somebody with a session.
type person struct {
	w      *world
	user   store.User
	secret string
	csrf   string
}

// enter opens a session for a user of that role who has a password, proved so long ago.
func (w *world) enter(name, role string, age time.Duration) *person {
	w.t.Helper()
	return w.enterTenant(store.DefaultTenant, name, role, age)
}

func (w *world) enterTenant(tenant, name, role string, age time.Duration) *person {
	w.t.Helper()
	ctx := w.t.Context()
	u, err := w.control.UserByName(ctx, tenant, name)
	if err != nil {
		u = store.User{ID: strings.TrimPrefix(tenant, store.DefaultTenant) + "u-" + name, Tenant: tenant, Username: name, Role: role, PasswordHash: "set", Created: time.Now()}
		check(w.t, w.control.CreateUser(ctx, u))
	}
	w.sessions++
	p := &person{w: w, user: u, secret: fmt.Sprintf("session %d of %s", w.sessions, name)}
	hash := sha256.Sum256([]byte(p.secret))
	now := time.Now()
	check(w.t, w.control.CreateSession(ctx, store.Session{ID: fmt.Sprint("s", w.sessions), Tenant: u.Tenant, UserID: u.ID, Hash: hash[:], Created: now,
		LastSeen: now, Expires: now.Add(time.Hour), Method: "password", Proved: now.Add(-age)}))
	id, err := w.cfg.Auth.PeekSession(ctx, p.secret)
	check(w.t, err)
	p.csrf = id.CSRF
	return p
}

func (p *person) request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("X-Picket-CSRF", p.csrf)
	r.AddCookie(&http.Cookie{Name: sessionCookie, Value: p.secret})
	return r
}

func (p *person) do(method, path, body string) *httptest.ResponseRecorder {
	p.w.t.Helper()
	return p.w.send(p.request(method, path, body))
}

// route is a request to a route of the router, with names that nothing has.
func routeRequest(key string) (method, path string) {
	method, path, _ = strings.Cut(key, " ")
	return method, strings.NewReplacer(":id", "x", ":sid", "x", ":ns", "test", ":name", "none", "*path", "x", ":number", "1", ":flow", "1", ":capture", "x", ":label", "x", ":command", "x", ":file", "x", ":target", "x", ":version", "1").Replace(path)
}

// staysOpen is true for the live channel when it lets somebody in; TestLive looks at it.
func staysOpen(key string, lets bool) bool { return key == "GET /api/v1/live" && lets }

// Every route × every role × how somebody comes, and nobody: the table is what happens.
func TestRolesByRoute(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	calls := 0
	for _, rt := range w.engine.Routes() {
		key := rt.Method + " " + rt.Path
		r := access[key]
		method, path := routeRequest(key)
		for _, role := range append([]string{""}, auth.Roles...) {
			for _, by := range []string{"token", "session"} {
				may := r.public || !r.agent && role != "" && (r.named || auth.RoleMay(role, r.may)) && (by == "session" || !r.session)
				if role == "" && by == "session" || staysOpen(key, may) {
					continue
				}
				var out *httptest.ResponseRecorder
				if by == "session" {
					out = w.enter("person-"+strings.ToLower(role), role, 0).do(method, path, "")
				} else {
					out = w.request(role, method, path, "")
				}
				calls++
				refused := out.Code == http.StatusUnauthorized || out.Code == http.StatusForbidden
				switch {
				case !may && !refused:
					t.Errorf("%s as %q by %s: %d, want a refusal", key, role, by, out.Code)
				case may && out.Code == http.StatusForbidden:
					t.Errorf("%s as %q by %s: refused: %s", key, role, by, out.Body)
				case may && out.Code >= 500 && out.Code != http.StatusServiceUnavailable && out.Code != http.StatusBadGateway:
					t.Errorf("%s as %q by %s: %d %s", key, role, by, out.Code, out.Body)
				}
			}
		}
	}
	if calls < 15*100 {
		t.Errorf("only %d calls", calls)
	}
}

// A token with one scope opens the routes of that permission and no other.
func TestScopesByRoute(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	for _, g := range auth.Grants {
		if !auth.ValidScope(string(g.Permission)) {
			continue
		}
		out := w.request(auth.RoleADM, "POST", "/api/v1/tokens", fmt.Sprintf(`{"name":"one","role":"ADM","scopes":["%s"]}`, g.Permission))
		var made struct{ Token string }
		check(t, json.Unmarshal(out.Body.Bytes(), &made))
		w.tokens["scoped"] = made.Token
		for key, r := range access {
			method, path := routeRequest(key)
			may := r.public || r.named || r.may == g.Permission && !r.session
			if r.agent || r.public || staysOpen(key, may) {
				continue
			}
			out := w.request("scoped", method, path, "")
			if may == (out.Code == http.StatusForbidden || out.Code == http.StatusUnauthorized) {
				t.Errorf("%s with the scope %s: %d %s", key, g.Permission, out.Code, out.Body)
			}
		}
	}
}

// What is dangerous asks an open session that was left alone for a proof, and nothing else does.
func TestFreshProofByRoute(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	dangerous := 0
	for key, r := range access {
		if r.public || r.agent || staysOpen(key, true) {
			continue
		}
		method, path := routeRequest(key)
		out := w.enter("left", auth.RoleADM, time.Hour).do(method, path, "")
		asked := out.Code == http.StatusForbidden && strings.Contains(out.Body.String(), proveType)
		if asked != r.fresh {
			t.Errorf("%s: %d %s, want a proof asked for: %t", key, out.Code, out.Body, r.fresh)
		}
		if r.fresh {
			dangerous++
		}
	}
	if dangerous < 12 {
		t.Errorf("only %d routes ask for a proof", dangerous)
	}
}

// Who must set up a second factor reaches their account and nothing else.
func TestWhoMustEnrolByRoute(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	check(t, w.cfg.Auth.SetPolicy(t.Context(), auth.Policy{SecondFactor: []string{auth.RoleADM}, Fresh: time.Hour}))
	for key, r := range access {
		if r.public || r.agent || staysOpen(key, r.enrol) {
			continue
		}
		method, path := routeRequest(key)
		out := w.enter("new", auth.RoleADM, 0).do(method, path, "")
		if r.enrol == (out.Code == http.StatusForbidden) {
			t.Errorf("%s: %d %s, want it open: %t", key, out.Code, out.Body, r.enrol)
		}
	}
	if out := w.enter("other", auth.RoleIT, 0).do("GET", "/api/v1/agents", ""); out.Code != 200 {
		t.Errorf("another role: %d %s", out.Code, out.Body)
	}
	if out := w.request(auth.RoleADM, "GET", "/api/v1/agents", ""); out.Code != 200 {
		t.Errorf("a token: %d %s", out.Code, out.Body)
	}
}
