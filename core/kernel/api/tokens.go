package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

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
}

type newTokenBody struct {
	tokenBody
	Token string `json:"token" doc:"The secret. It is shown only here."`
}

func tokenOf(t store.APIToken) tokenBody {
	return tokenBody{ID: t.ID, Name: t.Name, Role: t.Role, Hint: t.Hint, CreatedBy: t.CreatedBy,
		Created: t.Created.UTC(), Expires: when(t.Expires), LastUsed: when(t.LastUsed)}
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
	tags := []string{"tokens"}
	handle(s, huma.Operation{OperationID: "list-tokens", Method: http.MethodGet, Path: "/api/v1/tokens", Tags: tags,
		Summary: "API tokens, without their secrets"},
		func(ctx context.Context, _ *struct{}) (*body[page[tokenBody]], error) {
			list, err := s.cfg.Auth.Tokens(ctx)
			return answerPage(convert(list, tokenOf), ""), err
		})
	handle(s, huma.Operation{OperationID: "create-token", Method: http.MethodPost, Path: "/api/v1/tokens", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Make an API token; its secret is shown once"}, s.createToken)
	handle(s, huma.Operation{OperationID: "delete-token", Method: http.MethodDelete, Path: "/api/v1/tokens/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "End an API token at once"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			err := s.cfg.Auth.RevokeToken(ctx, in.ID)
			s.act(ctx, "token.delete", "token:"+in.ID, "", err)
			return nil, err
		})
}

func (s *Server) createToken(ctx context.Context, in *struct {
	Body struct {
		Name      string `json:"name" minLength:"1" maxLength:"100"`
		Role      string `json:"role" enum:"ADM,IT,SUP,PUB"`
		ExpiresIn string `json:"expires_in,omitempty" doc:"For example 720h; without it the token does not expire."`
	}
}) (*body[newTokenBody], error) {
	ttl, err := duration("body.expires_in", in.Body.ExpiresIn)
	if err != nil {
		return nil, err
	}
	secret, t, err := s.cfg.Auth.CreateToken(ctx, in.Body.Name, in.Body.Role, caller(ctx).Actor(), ttl)
	s.act(ctx, "token.create", "token:"+t.ID, "name "+in.Body.Name+", role "+in.Body.Role, err)
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
