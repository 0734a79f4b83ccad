package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
)

const (
	sessionCookie = "picket_session"
	csrfCookie    = "picket_csrf"
)

type meBody struct {
	Username string `json:"username"`
	Role     string `json:"role" enum:"ADM,IT,SUP,PUB"`
	Trust    string `json:"trust" enum:"development,release" doc:"What signs the plugins that this server runs."`
	Version  string `json:"version"`
	Dev      bool   `json:"dev"`
	CSRF     string `json:"csrf" doc:"What X-Picket-CSRF must carry; empty for an API token."`
}

type setupBody struct {
	Needed bool `json:"needed" doc:"Nobody can sign in yet."`
}

// signedIn opens a session in the browser.
type signedIn struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Body      meBody
}

type setupInput struct {
	Browser
	Body struct {
		Token    string `json:"token" minLength:"1" maxLength:"200" doc:"From the set-up link."`
		Username string `json:"username" maxLength:"64"`
		Password string `json:"password" maxLength:"1024" format:"password"`
	}
}

type loginInput struct {
	Browser
	Body struct {
		Username string `json:"username" maxLength:"256"`
		Password string `json:"password" maxLength:"1024" format:"password"`
	}
}

type signinInput struct {
	Browser
	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"200" doc:"From the sign-in link."`
	}
}

// Browser is what a sign-in knows of where it comes from.
type Browser struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Scheme    string `header:"X-Forwarded-Proto" hidden:"true"`
	secure    bool
}

// Resolve notes whether the browser came over TLS, here or at a proxy in front: then the cookie must not travel
// without it. A made-up header can only make the cookie stricter.
func (b *Browser) Resolve(ctx huma.Context) []error {
	b.secure = ctx.TLS() != nil || b.Scheme == "https"
	return nil
}

func (s *Server) sessionRoutes() {
	tags := []string{"session"}
	handle(s, huma.Operation{OperationID: "get-setup", Method: http.MethodGet, Path: "/api/v1/setup", Tags: tags,
		Summary: "Whether the server still needs its first administrator"},
		func(ctx context.Context, _ *struct{}) (*body[setupBody], error) {
			needed, err := s.cfg.Auth.SetupNeeded(ctx)
			return answer(setupBody{Needed: needed && !s.cfg.Dev}), err // --dev has its sign-in link
		})
	handle(s, huma.Operation{OperationID: "setup", Method: http.MethodPost, Path: "/api/v1/setup", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Create the first administrator with the set-up link"}, s.setup)
	handle(s, huma.Operation{OperationID: "login", Method: http.MethodPost, Path: "/api/v1/login", Tags: tags,
		Summary: "Sign in with a password"}, s.login)
	handle(s, huma.Operation{OperationID: "signin", Method: http.MethodPost, Path: "/api/v1/signin", Tags: tags,
		Summary: "Sign in with a one-time link"}, s.signin)
	handle(s, huma.Operation{OperationID: "logout", Method: http.MethodPost, Path: "/api/v1/logout", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "End the session"}, s.logout)
	handle(s, huma.Operation{OperationID: "me", Method: http.MethodGet, Path: "/api/v1/me", Tags: tags,
		Summary: "Who is signed in, and where"},
		func(ctx context.Context, _ *struct{}) (*body[meBody], error) { return answer(s.me(caller(ctx))), nil })
	handle(s, huma.Operation{OperationID: "set-password", Method: http.MethodPost, Path: "/api/v1/me/password", Tags: tags,
		Summary: "Choose a new password; every other session of yours ends, this one gets new cookies"}, s.password)
}

type passwordInput struct {
	Browser
	Body struct {
		Current string `json:"current,omitempty" maxLength:"1024" format:"password" doc:"Not needed by who has no password yet."`
		New     string `json:"new" maxLength:"1024" format:"password"`
	}
}

func (s *Server) password(ctx context.Context, in *passwordInput) (*signedIn, error) {
	who := caller(ctx)
	if who.Kind != "session" {
		return nil, huma.Error422UnprocessableEntity("an API token has no password; sign in to change yours")
	}
	secret, id, err := s.cfg.Auth.ChangePassword(ctx, who, in.Body.Current, in.Body.New, in.client(ctx))
	s.act(ctx, "user.password", who.Actor(), "", err)
	if err != nil {
		return nil, err
	}
	return &signedIn{Body: s.me(id), SetCookie: cookies(secret, id, in.secure)}, nil
}

func (s *Server) me(id auth.Identity) meBody {
	return meBody{Username: id.Name, Role: id.Role, Trust: s.cfg.Trust, Version: s.cfg.Version, Dev: s.cfg.Dev, CSRF: id.CSRF}
}

func (s *Server) setup(ctx context.Context, in *setupInput) (*signedIn, error) {
	secret, id, err := s.cfg.Auth.Setup(ctx, in.Body.Token, in.Body.Username, in.Body.Password, in.client(ctx))
	if errors.Is(err, auth.ErrDenied) {
		// Everybody may know that it is done; then a spent link is no mystery.
		if needed, lookup := s.cfg.Auth.SetupNeeded(ctx); lookup == nil && !needed {
			err = auth.ErrSetupDone
		}
	}
	return s.open(ctx, "setup", in.Body.Username, in.secure, secret, id, err)
}

func (s *Server) login(ctx context.Context, in *loginInput) (*signedIn, error) {
	secret, id, err := s.cfg.Auth.Login(ctx, in.Body.Username, in.Body.Password, in.client(ctx))
	return s.open(ctx, "login", in.Body.Username, in.secure, secret, id, err)
}

func (s *Server) signin(ctx context.Context, in *signinInput) (*signedIn, error) {
	secret, id, err := s.cfg.Auth.SignIn(ctx, in.Body.Token, in.client(ctx))
	if errors.Is(err, auth.ErrDenied) {
		err = auth.ErrLinkSpent
	}
	return s.open(ctx, "signin", "", in.secure, secret, id, err)
}

func (b Browser) client(ctx context.Context) auth.Client {
	return auth.Client{Address: peer(ctx), UserAgent: b.UserAgent}
}

// open sets the cookies of a session that was just opened, and audits that it was, or was not.
func (s *Server) open(ctx context.Context, action, claimed string, secure bool, secret string, id auth.Identity, err error) (*signedIn, error) {
	entry := audit.Entry{Action: action, Actor: "user:" + claimed, Address: peer(ctx)}
	if err != nil {
		var input *auth.InputError
		if !errors.As(err, &input) { // a password that is too short says nothing about anybody
			entry.Outcome, entry.Detail = audit.Refused, err.Error()
			s.audit(ctx, entry)
		}
		return nil, err
	}
	entry.Tenant, entry.Actor = id.Tenant, id.Actor()
	s.audit(ctx, entry)
	return &signedIn{Body: s.me(id), SetCookie: cookies(secret, id, secure)}, nil
}

// cookies are the session's secret, which no script can read, and what scripts repeat to prove that they may.
func cookies(secret string, id auth.Identity, secure bool) []http.Cookie {
	session := http.Cookie{Name: sessionCookie, Value: secret, Path: "/", HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteStrictMode, Expires: id.Expires}
	mark := session
	mark.Name, mark.Value, mark.HttpOnly = csrfCookie, id.CSRF, false
	return []http.Cookie{session, mark}
}

type loggedOut struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
}

func (s *Server) logout(ctx context.Context, in *struct {
	Session string `cookie:"picket_session" hidden:"true"`
}) (*loggedOut, error) {
	if caller(ctx).Kind != "session" {
		return nil, huma.Error422UnprocessableEntity("an API token has no session to end; delete the token instead")
	}
	if err := s.cfg.Auth.Logout(ctx, in.Session); err != nil {
		return nil, err
	}
	s.act(ctx, "logout", "", "", nil)
	gone := cookies("", auth.Identity{}, false)
	for i := range gone {
		gone[i].MaxAge = -1
	}
	return &loggedOut{SetCookie: gone}, nil
}
