package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

type tokenBody struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	Hint      string     `json:"hint" doc:"The first characters of the secret."`
	CreatedBy string     `json:"created_by"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires,omitempty"`
	LastUsed  *time.Time `json:"last_used,omitempty"`
	Scopes    []string   `json:"scopes" nullable:"false" doc:"What of the role it may; empty: all of it."`
	Personal  bool       `json:"personal" doc:"Somebody made it for themselves: it may no more than they, and ends with them."`
}

type newTokenBody struct {
	tokenBody
	Token string `json:"token" doc:"The secret. It is shown only here."`
}

func tokenOf(t store.APIToken) tokenBody {
	return tokenBody{ID: t.ID, Name: t.Name, Role: t.Role, Hint: t.Hint, CreatedBy: t.CreatedBy,
		Created: t.Created.UTC(), Expires: when(t.Expires), LastUsed: when(t.LastUsed), Scopes: append([]string{}, t.Scopes...), Personal: t.UserID != ""}
}

// when leaves out a time that is not known, instead of saying year 1.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) tokenRoutes() {
	s.tokensAt("/api/v1/tokens", "", "API tokens", []string{"tokens"}, func(auth.Identity) string { return "" })
}

// ownTokenRoutes are the same for the tokens that people make for themselves.
func (s *Server) ownTokenRoutes(tags []string) {
	s.tokensAt("/api/v1/me/tokens", "own-", "Your own API tokens", tags, func(who auth.Identity) string { return who.UserID })
}

// tokenInput is a token that is wanted.
type tokenInput struct {
	Body struct {
		Name      string   `json:"name" minLength:"1" maxLength:"100"`
		Role      string   `json:"role,omitempty" enum:"PUB,IT,SUP,ADM,AUTHOR,RESEARCHER,APPROVER" doc:"Without it, yours."`
		Scopes    []string `json:"scopes,omitempty" maxItems:"50" doc:"Permissions of the role, for example metrics:read; without them, all of it."`
		ExpiresIn string   `json:"expires_in,omitempty" doc:"For example 720h; without it the token does not expire."`
	}
}

func (s *Server) tokensAt(path, prefix, what string, tags []string, owner func(auth.Identity) string) {
	handle(s, huma.Operation{OperationID: "list-" + prefix + "tokens", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: what + ", without their secrets"},
		func(ctx context.Context, _ *struct{}) (*body[page[tokenBody]], error) {
			list, err := s.cfg.Auth.Tokens(ctx, caller(ctx).Tenant, owner(caller(ctx)))
			return answerPage(convert(list, tokenOf), ""), err
		})
	handle(s, huma.Operation{OperationID: "create-" + prefix + "token", Method: http.MethodPost, Path: path, Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Make an API token; its secret is shown once"},
		func(ctx context.Context, in *tokenInput) (*body[newTokenBody], error) {
			ttl, err := duration("body.expires_in", in.Body.ExpiresIn)
			if err != nil {
				return nil, err
			}
			who := caller(ctx)
			w := auth.TokenWish{Name: in.Body.Name, Role: cmp.Or(in.Body.Role, who.Role), Scopes: in.Body.Scopes, TTL: ttl, CreatedBy: who.Actor(), UserID: owner(who)}
			secret, t, err := s.cfg.Auth.IssueToken(ctx, w, who)
			s.act(ctx, "token.create", "token:"+t.ID, w.String(), err)
			return newToken(secret, t, err)
		})
	handle(s, huma.Operation{OperationID: "rotate-" + prefix + "token", Method: http.MethodPost, Path: path + "/{id}/rotate", Tags: tags,
		Summary: "Give an API token another secret, shown once; the one before ends at once"},
		func(ctx context.Context, in *IDPath) (*body[newTokenBody], error) {
			who := caller(ctx)
			t, err := s.cfg.Auth.TokenOf(ctx, who.Tenant, owner(who), in.ID)
			var secret string
			if err == nil {
				secret, t, err = s.cfg.Auth.RotateToken(ctx, t, who)
			}
			s.act(ctx, "token.rotate", "token:"+in.ID, "", err)
			return newToken(secret, t, err)
		})
	handle(s, huma.Operation{OperationID: "delete-" + prefix + "token", Method: http.MethodDelete, Path: path + "/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "End an API token at once"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			who := caller(ctx)
			_, err := s.cfg.Auth.TokenOf(ctx, who.Tenant, owner(who), in.ID)
			if err == nil {
				err = s.cfg.Auth.RevokeToken(ctx, who.Tenant, in.ID)
			}
			s.act(ctx, "token.delete", "token:"+in.ID, "", err)
			return nil, err
		})
}

func newToken(secret string, t store.APIToken, err error) (*body[newTokenBody], error) {
	if err != nil {
		return nil, err
	}
	return answer(newTokenBody{tokenBody: tokenOf(t), Token: secret}), nil
}

// duration reads a time span such as 30s or 12h; "" is 0.
func duration(where, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, invalidField(where, "must be a time span such as 30s, 10m or 720h")
	}
	return d, nil
}

func convert[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}
