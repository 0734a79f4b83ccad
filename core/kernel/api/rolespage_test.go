package api

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/auth"
)

// rolesPage is docs/roles.md as the two tables say it: who has which permission, and which permission a route asks for.
func rolesPage() string {
	var b strings.Builder
	b.WriteString(`# Roles, permissions, routes

Generated from ` + "`core/kernel/auth/permission.go` and `core/kernel/api/access.go`" + ` (PICKET_UPDATE=1 go test -run RolesPage ./core/kernel/api).
A route that is in neither answers nobody. A person has one role. An API token has a role and may be narrowed to some of its
permissions, its scopes; nobody makes a token that may more than they. What "asks for a fresh proof" refuses a session whose
owner has not proved lately who they are ([identity.md](identity.md)). What is for the operator belongs to people and tokens of the
first tenant alone, whatever the role of others ([tenants.md](tenants.md)).

| permission | lets somebody |`)
	for _, role := range auth.Roles {
		b.WriteString(" " + role + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(auth.Roles)) + "\n")
	for _, g := range auth.Grants {
		fmt.Fprintf(&b, "| `%s` | %s |", g.Permission, g.Lets)
		for _, role := range auth.Roles {
			b.WriteString(map[bool]string{true: " yes |", false: " |"}[auth.RoleMay(role, g.Permission)])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| route | asks for |\n|---|---|\n")
	keys := []string{}
	for key := range access {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y string) int {
		mx, px, _ := strings.Cut(x, " ")
		my, py, _ := strings.Cut(y, " ")
		return cmp.Or(strings.Compare(px, py), strings.Compare(mx, my))
	})
	for _, key := range keys {
		fmt.Fprintf(&b, "| `%s` | %s |\n", key, asks(access[key]))
	}
	return b.String()
}

func asks(r rule) string {
	switch {
	case r.public:
		return "nothing"
	case r.agent:
		return "an agent's signature"
	case r.named:
		return "a name"
	}
	text := "`" + string(r.may) + "`"
	if r.local {
		text += ", or to be on this machine where that is allowed"
	}
	if r.shared() {
		text += ", for the operator"
	}
	if r.session {
		text += ", a session"
	}
	if r.fresh {
		text += ", a fresh proof"
	}
	return text
}

func TestRolesPageIsFresh(t *testing.T) {
	const path = "../../../docs/roles.md"
	want := rolesPage()
	if os.Getenv("PICKET_UPDATE") != "" {
		check(t, os.WriteFile(path, []byte(want), 0o644))
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("%s is not what the tables say; run PICKET_UPDATE=1 go test -run RolesPage ./core/kernel/api (%v)", path, err)
	}
}
