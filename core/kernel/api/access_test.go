package api

import (
	"net/http"
	"net/http/httptest"
	"slices"
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
		if !rule.public && !rule.agent && len(rule.roles) == 0 {
			t.Errorf("%s lets nobody in", key)
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

// Every route × every role, and nobody: the table is what happens.
func TestRolesByRoute(t *testing.T) {
	w := newWorld(t)
	for key, r := range access {
		method, path, _ := strings.Cut(key, " ")
		path = strings.NewReplacer(":id", "x", ":ns", "test", ":name", "none", "*path", "x").Replace(path)
		for _, role := range []string{"", auth.RoleADM, auth.RoleIT, auth.RoleSUP, auth.RolePUB} {
			if method == http.MethodGet && strings.HasSuffix(path, "/live") && slices.Contains(r.roles, role) {
				continue // it stays open; TestLive looks at it
			}
			out := w.request(role, method, path, "")
			refused := out.Code == http.StatusUnauthorized || out.Code == http.StatusForbidden
			may := r.public || slices.Contains(r.roles, role)
			if r.agent && !refused {
				t.Errorf("%s as %q: %d, want a refusal: it is for agents", key, role, out.Code)
			}
			if !r.agent && !may && !refused {
				t.Errorf("%s as %q: %d, want a refusal", key, role, out.Code)
			}
			if !r.agent && may && out.Code == http.StatusForbidden {
				t.Errorf("%s as %q: refused: %s", key, role, out.Body)
			}
		}
	}
}

func TestMetricsForThisMachineOnly(t *testing.T) {
	w := newWorld(t)
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
		{"from elsewhere", ask("203.0.113.9:1", "127.0.0.1:8080"), 401},
		{"from elsewhere with a token", ask("203.0.113.9:1", "x", "Authorization", "Bearer "+w.tokens[auth.RoleSUP]), 200},
	}
	for _, c := range cases {
		if c.code != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.code, c.want)
		}
	}
}
