package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

type userBody struct {
	ID          string     `json:"id"`
	Username    string     `json:"username"`
	Role        string     `json:"role" enum:"PUB,IT,SUP,ADM,AUTHOR,RESEARCHER,APPROVER"`
	Disabled    bool       `json:"disabled"`
	HasPassword bool       `json:"has_password"`
	Factors     []string   `json:"factors" nullable:"false" doc:"Kinds of second factor: totp, passkey."`
	Created     time.Time  `json:"created"`
	SignedIn    *time.Time `json:"signed_in,omitempty" doc:"The last time."`
	Self        bool       `json:"self" doc:"It is you."`
}

type linkBody struct {
	Link    string    `json:"link" doc:"Lets its reader in once. It is shown only here."`
	Expires time.Time `json:"expires"`
}

type invitedBody struct {
	userBody
	linkBody
}

type roleInput struct {
	Role string `json:"role" enum:"PUB,IT,SUP,ADM,AUTHOR,RESEARCHER,APPROVER"`
}

// SessionPath is a session of a user in an address.
type SessionPath struct {
	Session string `path:"sid" maxLength:"64"`
}

func (s *Server) userOf(ctx context.Context, u store.User) (userBody, error) {
	factors, _, err := s.cfg.Auth.Factors(ctx, u.Tenant, u.ID)
	kinds := []string{}
	for _, f := range factors {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}
	return userBody{ID: u.ID, Username: u.Username, Role: u.Role, Disabled: u.Disabled, HasPassword: u.PasswordHash != "", Factors: kinds,
		Created: u.Created.UTC(), SignedIn: when(u.SignedIn), Self: caller(ctx).UserID == u.ID}, err
}

// user reads a user of the caller's tenant.
func (s *Server) user(ctx context.Context, id string) (*body[userBody], error) {
	u, err := s.cfg.Control.UserByID(ctx, caller(ctx).Tenant, id)
	if err != nil {
		return nil, err
	}
	b, err := s.userOf(ctx, u)
	return answer(b), err
}

// decides refuses what would give somebody, or take from them, more than the caller has.
func decides(ctx context.Context, role string) error {
	if !caller(ctx).DecidesAbout(role) {
		return huma.Error403Forbidden("about administrators decides only who may all that one may; this token's scopes are fewer")
	}
	return nil
}

// decidesAbout is decides for somebody of the caller's tenant.
func (s *Server) decidesAbout(ctx context.Context, id string) error {
	u, err := s.cfg.Control.UserByID(ctx, caller(ctx).Tenant, id)
	if err != nil {
		return err
	}
	return decides(ctx, u.Role)
}

func (s *Server) userRoutes() {
	tags := []string{"users"}
	handle(s, huma.Operation{OperationID: "list-users", Method: http.MethodGet, Path: "/api/v1/users", Tags: tags, Summary: "People who may sign in"},
		func(ctx context.Context, _ *struct{}) (*body[page[userBody]], error) {
			list, err := s.cfg.Control.ListUsers(ctx, caller(ctx).Tenant)
			if err != nil {
				return nil, err
			}
			out := make([]userBody, len(list))
			for i, u := range list {
				if out[i], err = s.userOf(ctx, u); err != nil {
					return nil, err
				}
			}
			return answerPage(out, ""), nil
		})
	handle(s, huma.Operation{OperationID: "get-user", Method: http.MethodGet, Path: "/api/v1/users/{id}", Tags: tags, Summary: "One of them"},
		func(ctx context.Context, in *IDPath) (*body[userBody], error) { return s.user(ctx, in.ID) })
	handle(s, huma.Operation{OperationID: "invite-user", Method: http.MethodPost, Path: "/api/v1/users", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Invite somebody: they choose their password when they follow the link"},
		func(ctx context.Context, in *struct {
			Browser
			Body struct {
				Username string `json:"username" minLength:"1" maxLength:"64"`
				Role     string `json:"role" enum:"PUB,IT,SUP,ADM,AUTHOR,RESEARCHER,APPROVER"`
			}
		}) (*body[invitedBody], error) {
			var u store.User
			var secret string
			err := decides(ctx, in.Body.Role)
			if err == nil {
				u, secret, err = s.cfg.Auth.Invite(ctx, caller(ctx).Tenant, in.Body.Username, in.Body.Role)
			}
			s.act(ctx, "user.invite", "user:"+in.Body.Username, "role "+in.Body.Role, err)
			if err != nil {
				return nil, err
			}
			b, err := s.userOf(ctx, u)
			return answer(invitedBody{b, s.link(ctx, in.Browser, secret)}), err
		})
	handle(s, huma.Operation{OperationID: "link-for-user", Method: http.MethodPost, Path: "/api/v1/users/{id}/link", Tags: tags,
		Summary: "A link that lets somebody in once who forgot their password; who has a second factor is asked for it"},
		func(ctx context.Context, in *struct {
			Browser
			IDPath
		}) (*body[linkBody], error) {
			var secret string
			err := s.decidesAbout(ctx, in.ID)
			if err == nil {
				secret, err = s.cfg.Auth.LinkFor(ctx, caller(ctx).Tenant, in.ID)
			}
			s.act(ctx, "user.link", "user:"+in.ID, "", err)
			return answer(s.link(ctx, in.Browser, secret)), err
		})
	handle(s, huma.Operation{OperationID: "set-user-role", Method: http.MethodPut, Path: "/api/v1/users/{id}/role", Tags: tags, Summary: "Give somebody another role"},
		func(ctx context.Context, in *struct {
			IDPath
			Body roleInput
		}) (*body[userBody], error) {
			err := s.decidesAbout(ctx, in.ID)
			if err == nil {
				err = decides(ctx, in.Body.Role)
			}
			if err == nil {
				err = s.cfg.Auth.SetRole(ctx, caller(ctx).Tenant, in.ID, in.Body.Role)
			}
			s.act(ctx, "user.role", "user:"+in.ID, "role "+in.Body.Role, err)
			if err != nil {
				return nil, err
			}
			return s.user(ctx, in.ID)
		})
	s.userMove("disable-user", "/disable", "Shut somebody out and end their sessions", "user.disable", s.cfg.Control.DisableUser)
	s.userMove("enable-user", "/enable", "Let somebody in again", "user.enable", func(ctx context.Context, tenant, id string) error {
		return s.cfg.Control.SetUserDisabled(ctx, tenant, id, false)
	})
	s.userMove("reset-user-factors", "/reset-factors", "Take somebody's second factors away and end their sessions", "user.reset-factors",
		func(ctx context.Context, tenant, id string) error { return s.cfg.Auth.ResetFactors(ctx, tenant, id) })
	handle(s, huma.Operation{OperationID: "delete-user", Method: http.MethodDelete, Path: "/api/v1/users/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Forget somebody, with their sessions, factors and tokens"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			err := s.decidesAbout(ctx, in.ID)
			if err == nil {
				err = s.cfg.Control.DeleteUser(ctx, caller(ctx).Tenant, in.ID)
			}
			s.act(ctx, "user.delete", "user:"+in.ID, "", err)
			return nil, err
		})
	s.userSessionRoutes(tags)
	handle(s, huma.Operation{OperationID: "list-roles", Method: http.MethodGet, Path: "/api/v1/roles", Tags: tags, Summary: "What each role may do"},
		func(context.Context, *struct{}) (*body[rolesBody], error) { return answer(allRoles()), nil })
}

func (s *Server) userSessionRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "list-user-sessions", Method: http.MethodGet, Path: "/api/v1/users/{id}/sessions", Tags: tags,
		Summary: "Where somebody is signed in"},
		func(ctx context.Context, in *IDPath) (*body[page[sessionBody]], error) {
			who := caller(ctx)
			if _, err := s.cfg.Control.UserByID(ctx, who.Tenant, in.ID); err != nil {
				return nil, err
			}
			list, err := s.cfg.Auth.Sessions(ctx, who.Tenant, in.ID)
			return answerPage(convert(list, sessionOf(who)), ""), err
		})
	handle(s, huma.Operation{OperationID: "end-user-session", Method: http.MethodDelete, Path: "/api/v1/users/{id}/sessions/{sid}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Sign somebody out somewhere"},
		func(ctx context.Context, in *struct {
			IDPath
			SessionPath
		}) (*struct{}, error) {
			err := s.cfg.Auth.EndSession(ctx, caller(ctx).Tenant, in.ID, in.Session)
			s.act(ctx, "session.end", "user:"+in.ID, "session "+in.Session, err)
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "end-user-sessions", Method: http.MethodPost, Path: "/api/v1/users/{id}/end-sessions", Tags: tags,
		Summary: "Sign somebody out everywhere"},
		func(ctx context.Context, in *IDPath) (*body[endedBody], error) {
			who := caller(ctx)
			if _, err := s.cfg.Control.UserByID(ctx, who.Tenant, in.ID); err != nil {
				return nil, err
			}
			n, err := s.cfg.Auth.EndOtherSessions(ctx, who.Tenant, in.ID, "")
			s.act(ctx, "session.end-all", "user:"+in.ID, "", err)
			return answer(endedBody{n}), err
		})
}

// userMove is a route that does something to a user and answers how they are then.
func (s *Server) userMove(id, path, summary, action string, do func(ctx context.Context, tenant, user string) error) {
	handle(s, huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/api/v1/users/{id}" + path, Tags: []string{"users"}, Summary: summary},
		func(ctx context.Context, in *IDPath) (*body[userBody], error) {
			err := s.decidesAbout(ctx, in.ID)
			if err == nil {
				err = do(ctx, caller(ctx).Tenant, in.ID)
			}
			s.act(ctx, action, "user:"+in.ID, "", err)
			if err != nil {
				return nil, err
			}
			return s.user(ctx, in.ID)
		})
}

// link is the address of the page that takes a sign-in token; the token stays in the fragment, which no log sees.
func (s *Server) link(ctx context.Context, b Browser, secret string) linkBody {
	base := s.cfg.BaseURL
	if base == "" {
		base = b.Origin(ctx)
	}
	return linkBody{Link: base + "/signin#token=" + secret, Expires: s.cfg.Now().Add(s.cfg.Auth.LinkTTL()).UTC()}
}

type grantBody struct {
	Permission string   `json:"permission"`
	Lets       string   `json:"lets" doc:"What it lets somebody do."`
	Roles      []string `json:"roles" nullable:"false"`
	Scope      bool     `json:"scope" doc:"A token can have it as a scope."`
}

type rolesBody struct {
	Roles       []string    `json:"roles" nullable:"false"`
	Permissions []grantBody `json:"permissions" nullable:"false"`
}

func allRoles() rolesBody {
	return rolesBody{Roles: auth.Roles, Permissions: convert(auth.Grants, func(g auth.Grant) grantBody {
		return grantBody{Permission: string(g.Permission), Lets: g.Lets, Roles: auth.RolesWith(g.Permission), Scope: auth.ValidScope(string(g.Permission))}
	})}
}

type policyBody struct {
	SecondFactor []string `json:"second_factor" nullable:"false" doc:"Roles that must have a second factor."`
	FreshMinutes int      `json:"fresh_minutes" minimum:"1" maximum:"1440" doc:"How long a proof of who somebody is is good for what is dangerous."`
}

func policyOf(p auth.Policy) policyBody {
	return policyBody{SecondFactor: p.SecondFactor, FreshMinutes: int(p.Fresh / time.Minute)}
}

func (s *Server) identitySettingRoutes() {
	tags := []string{"settings"}
	handle(s, huma.Operation{OperationID: "get-identity-policy", Method: http.MethodGet, Path: "/api/v1/settings/identity", Tags: tags,
		Summary: "What is asked of people who sign in"},
		func(ctx context.Context, _ *struct{}) (*body[policyBody], error) {
			p, err := s.cfg.Auth.Policy(ctx)
			return answer(policyOf(p)), err
		})
	handle(s, huma.Operation{OperationID: "set-identity-policy", Method: http.MethodPut, Path: "/api/v1/settings/identity", Tags: tags,
		Summary: "Change what is asked of people who sign in"},
		func(ctx context.Context, in *struct{ Body policyBody }) (*body[policyBody], error) {
			p := auth.Policy{SecondFactor: in.Body.SecondFactor, Fresh: time.Duration(in.Body.FreshMinutes) * time.Minute}
			err := s.cfg.Auth.SetPolicy(ctx, p)
			s.act(ctx, "settings.identity", "settings:identity", "", err)
			return answer(policyOf(p)), err
		})
	s.limitRoutes(tags)
}
