package auth

import (
	"slices"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Roles, from the matrix of requirements: PUB sees public figures, IT looks after machines, SUP after security, ADM after
// everything. AUTHOR publishes plugins, RESEARCHER reads what was measured and hands captures in, APPROVER lets go on what
// others began.
const (
	RoleADM        = "ADM"
	RoleIT         = "IT"
	RoleSUP        = "SUP"
	RolePUB        = "PUB"
	RoleAuthor     = "AUTHOR"
	RoleResearcher = "RESEARCHER"
	RoleApprover   = "APPROVER"
)

// Roles are all there are, in the order of the table below.
var Roles = []string{RolePUB, RoleIT, RoleSUP, RoleADM, RoleAuthor, RoleResearcher, RoleApprover}

// ValidRole reports whether there is such a role.
func ValidRole(role string) bool { return slices.Contains(Roles, role) }

// Permission is one kind of deed: area:verb. A token's scopes are permissions.
type Permission string

// Permissions. write changes what comes and goes, admin what others rely on.
const (
	Account         Permission = "account:self" // one's own account; no scope gives it
	OverviewRead    Permission = "overview:read"
	MetricsRead     Permission = "metrics:read"
	MetricsWrite    Permission = "metrics:write"
	DevicesRead     Permission = "devices:read"
	AgentsRead      Permission = "agents:read"
	AgentsWrite     Permission = "agents:write"
	AgentsAdmin     Permission = "agents:admin"
	CommandsWrite   Permission = "commands:write"
	CommandsApprove Permission = "commands:approve"
	CapturesRead    Permission = "captures:read"
	CapturesWrite   Permission = "captures:write"
	CapturesAdmin   Permission = "captures:admin"
	FlowsRead       Permission = "flows:read"
	AlertsRead      Permission = "alerts:read"
	AlertsWrite     Permission = "alerts:write"
	ActionsWrite    Permission = "actions:write"
	RulesRead       Permission = "rules:read"
	RulesWrite      Permission = "rules:write"
	PluginsRead     Permission = "plugins:read"
	PluginsWrite    Permission = "plugins:write"
	PluginsAdmin    Permission = "plugins:admin"
	MarketWrite     Permission = "market:write"
	FleetWrite      Permission = "fleet:write"
	FleetAdmin      Permission = "fleet:admin"
	Approve         Permission = "approvals:write"
	ServerRead      Permission = "server:read"
	AuditRead       Permission = "audit:read"
	UsersAdmin      Permission = "users:admin"
	TokensAdmin     Permission = "tokens:admin"
	SettingsAdmin   Permission = "settings:admin"
	TenantsAdmin    Permission = "tenants:admin"
)

// A Grant is a line of the table: what the permission lets somebody do, and which roles have it besides ADM.
type Grant struct {
	Permission Permission
	Lets       string
	Roles      []string
}

// operators are the permissions that only the people and tokens of the first tenant have: they are about the machine, which all share.
var operators = []Permission{PluginsRead, PluginsWrite, PluginsAdmin, MarketWrite, FleetWrite, FleetAdmin, Approve, ServerRead, SettingsAdmin, TenantsAdmin}

// ForOperator reports whether a permission is about what all tenants share, so that only people of the first one have it.
func ForOperator(p Permission) bool { return slices.Contains(operators, p) }

var watchers = []string{RoleIT, RoleSUP, RoleResearcher, RoleApprover}

// Grants is the table of permissions and roles. ADM has every permission.
var Grants = []Grant{
	{Account, "see and change one's own account: password, factors, sessions, tokens", []string{RolePUB, RoleIT, RoleSUP, RoleAuthor, RoleResearcher, RoleApprover}},
	{OverviewRead, "read public figures", []string{RolePUB, RoleIT, RoleSUP, RoleAuthor, RoleResearcher, RoleApprover}},
	{MetricsRead, "read metrics and query them", watchers},
	{MetricsWrite, "hand in metrics of sources that are no agents", []string{RoleIT}},
	{DevicesRead, "read the inventory", watchers},
	{AgentsRead, "read agents, their state and groups", watchers},
	{AgentsWrite, "enrol agents", []string{RoleIT}},
	{AgentsAdmin, "shut agents out, forget them, move them between groups", nil},
	{CommandsWrite, "send commands to agents", []string{RoleIT}},
	{CommandsApprove, "let an order go that waits for a second person, or deny it", []string{RoleApprover}},
	{CapturesRead, "read captures and their packets", watchers},
	{CapturesWrite, "hand in captures, analyse them, stop that", []string{RoleIT, RoleSUP, RoleResearcher}},
	{CapturesAdmin, "delete captures", nil},
	{FlowsRead, "read, save views of and export flows and facts", watchers},
	{AlertsRead, "read alerts and incidents", watchers},
	{AlertsWrite, "acknowledge, resolve, judge, assign and comment on alerts and incidents", []string{RoleIT, RoleSUP}},
	{ActionsWrite, "take back what a notifier did", []string{RoleIT}},
	{RulesRead, "read suppressions, warning lists and rules of the operator's own", watchers},
	{RulesWrite, "write suppressions and rules of the operator's own", []string{RoleSUP}},
	{PluginsRead, "read plugins, their instances and the marketplace", append([]string{RoleAuthor}, watchers...)},
	{PluginsWrite, "restart, release, test and roll back plugins, review them", []string{RoleIT}},
	{PluginsAdmin, "install, enable, configure, upgrade and remove plugins", nil},
	{MarketWrite, "publish releases in this server's registry", []string{RoleAuthor}},
	{FleetWrite, "pause and halt roll-outs", []string{RoleIT}},
	{FleetAdmin, "start roll-outs, choose how plugins are updated", nil},
	{Approve, "let a roll-out that waits go on, and finish it", []string{RoleApprover}},
	{ServerRead, "read figures about the server itself", []string{RoleIT, RoleSUP}},
	{AuditRead, "read, verify and export the audit log", []string{RoleSUP}},
	{UsersAdmin, "invite people, give them roles, shut them out, reset their factors", nil},
	{TokensAdmin, "make, rotate and revoke API tokens of any role", nil},
	{SettingsAdmin, "change the server's settings", nil},
	{TenantsAdmin, "create, bound, suspend and remove tenants", nil},
}

// granted is the table for looking up.
var granted = func() map[string]map[Permission]bool {
	out := map[string]map[Permission]bool{}
	for _, role := range Roles {
		out[role] = map[Permission]bool{}
	}
	for _, g := range Grants {
		out[RoleADM][g.Permission] = true
		for _, role := range g.Roles {
			out[role][g.Permission] = true
		}
	}
	return out
}()

// RoleMay reports whether a role has a permission.
func RoleMay(role string, p Permission) bool { return granted[role][p] }

// RolesWith are the roles that have a permission.
func RolesWith(p Permission) []string {
	return slices.DeleteFunc(slices.Clone(Roles), func(role string) bool { return !RoleMay(role, p) })
}

// Operator reports whether somebody belongs to those who run the server.
func (i Identity) Operator() bool { return i.Tenant == store.DefaultTenant }

// May reports whether somebody may do this.
func (i Identity) May(p Permission) bool {
	switch {
	case !RoleMay(i.Role, p), ForOperator(p) && !i.Operator():
		return false
	case i.Kind == "token" && i.UserID != "" && !RoleMay(i.OwnerRole, p):
		return false
	case len(i.Scopes) > 0:
		return slices.Contains(i.Scopes, string(p))
	}
	return true
}

// Permissions are all that somebody has.
func (i Identity) Permissions() []Permission {
	var out []Permission
	for _, g := range Grants {
		if i.May(g.Permission) {
			out = append(out, g.Permission)
		}
	}
	return out
}

// ValidScope reports whether a token can have this scope.
func ValidScope(scope string) bool {
	return scope != string(Account) && slices.ContainsFunc(Grants, func(g Grant) bool { return string(g.Permission) == scope })
}
