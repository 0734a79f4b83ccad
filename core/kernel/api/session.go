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
	Tenant   string `json:"tenant" doc:"The name of the tenant; empty for the operator's own."`
	Role     string `json:"role" enum:"PUB,IT,SUP,ADM,AUTHOR,RESEARCHER,APPROVER"`
	Trust    string `json:"trust" enum:"development,release" doc:"What signs the plugins that this server runs."`
	Version  string `json:"version"`
	Dev      bool   `json:"dev"`
	CSRF     string `json:"csrf" doc:"What X-Picket-CSRF must carry; empty for an API token."`

	Permissions []auth.Permission `json:"permissions" nullable:"false" doc:"What the role, and the scopes of a token, allow."`
	MustEnrol   bool              `json:"must_enrol" doc:"The role needs a second factor, and there is none: nothing else is possible before."`
	Proofs      []string          `json:"proofs" nullable:"false" doc:"How somebody can prove again who they are: totp, passkey, password, oidc."`
	Method      string            `json:"method" doc:"How the session was opened; empty for an API token."`
}

type factorNeededBody struct {
	Challenge string   `json:"challenge" doc:"Send it back with the code."`
	Kinds     []string `json:"kinds" nullable:"false" doc:"What is taken: totp, passkey, recovery."`
}

// signInBody says who is signed in, or with factor alone what else is needed.
type signInBody struct {
	meBody
	Factor *factorNeededBody `json:"factor,omitempty" doc:"The password was right; a second factor must follow."`
}

type waysBody struct {
	OIDC     string `json:"oidc,omitempty" doc:"The name of the OpenID provider; absent when there is none."`
	Passkeys bool   `json:"passkeys" doc:"Passkeys can be used at the address that was asked."`
}

type setupBody struct {
	Needed bool `json:"needed" doc:"Nobody can sign in yet."`
}

// signedIn opens a session in the browser.
type signedIn struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Body      signInBody
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
		Username string `json:"username" maxLength:"256" doc:"Of a tenant other than the operator's own: TENANT/user."`
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
		func(ctx context.Context, _ *struct{}) (*body[meBody], error) {
			me, err := s.me(ctx, caller(ctx))
			return answer(me), err
		})
	handle(s, huma.Operation{OperationID: "set-password", Method: http.MethodPost, Path: "/api/v1/me/password", Tags: tags,
		Summary: "Choose a new password; every other session of yours ends, this one gets new cookies"}, s.password)
	s.secondStepRoutes(tags)
	s.oidcRoutes(tags)
}

func (s *Server) secondStepRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "signin-ways", Method: http.MethodGet, Path: "/api/v1/signin/ways", Tags: tags,
		Summary: "How people may sign in besides with a password"},
		func(ctx context.Context, in *struct{ Browser }) (*body[waysBody], error) {
			return answer(waysBody{OIDC: s.cfg.Auth.OIDCName(), Passkeys: s.cfg.Auth.PasskeysAt(in.Origin(ctx))}), nil
		})
	handle(s, huma.Operation{OperationID: "login-code", Method: http.MethodPost, Path: "/api/v1/login/code", Tags: tags,
		Summary: "The second factor: a code of an authenticator app, or a recovery code"},
		func(ctx context.Context, in *struct {
			Browser
			Body struct {
				Challenge string `json:"challenge" minLength:"1" maxLength:"200"`
				Code      string `json:"code" minLength:"1" maxLength:"40"`
			}
		}) (*signedIn, error) {
			secret, id, err := s.cfg.Auth.Code(ctx, in.Body.Challenge, in.Body.Code, in.client(ctx))
			return s.open(ctx, "login.code", "", in.secure, secret, id, err)
		})
	handle(s, huma.Operation{OperationID: "begin-passkey", Method: http.MethodPost, Path: "/api/v1/login/passkey", Tags: tags,
		Summary: "Begin to sign in with a passkey: what navigator.credentials.get takes"},
		func(ctx context.Context, in *struct{ Browser }) (*body[auth.Ceremony], error) {
			x, err := s.cfg.Auth.BeginPasskey(in.Origin(ctx))
			return answer(x), err
		})
	handle(s, huma.Operation{OperationID: "finish-passkey", Method: http.MethodPost, Path: "/api/v1/login/passkey/finish", Tags: tags,
		Summary: "Sign in with a passkey"},
		func(ctx context.Context, in *struct {
			Browser
			Body PasskeyAnswer
		}) (*signedIn, error) {
			secret, id, err := s.cfg.Auth.Passkey(ctx, in.Body.State, in.Origin(ctx), in.Body.Response, in.client(ctx))
			return s.open(ctx, "login.passkey", "", in.secure, secret, id, err)
		})
}

const oidcCookie = "picket_oidc"

type redirect struct {
	Location  string        `header:"Location"`
	SetCookie []http.Cookie `header:"Set-Cookie"`
}

func (s *Server) oidcRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "begin-oidc", Method: http.MethodGet, Path: "/api/v1/oidc/start", Tags: tags, DefaultStatus: http.StatusFound,
		Summary: "Go to the OpenID provider to sign in there"},
		func(ctx context.Context, in *struct{ Browser }) (*redirect, error) {
			url, state, err := s.cfg.Auth.BeginOIDC(ctx)
			if err != nil {
				return nil, err
			}
			// Lax: the browser comes back from another site.
			kept := http.Cookie{Name: oidcCookie, Value: state, Path: "/api/v1/oidc", HttpOnly: true, Secure: in.secure, SameSite: http.SameSiteLaxMode, MaxAge: 600}
			return &redirect{Location: url, SetCookie: []http.Cookie{kept}}, nil
		})
	handle(s, huma.Operation{OperationID: "finish-oidc", Method: http.MethodGet, Path: "/api/v1/oidc/callback", Tags: tags,
		Summary: "Where the OpenID provider sends people back to"}, s.finishOIDC)
}

// leadOn is a page that leads on by itself. A redirect would not do: the session's cookie is not sent on a journey that
// began at another site.
type leadOn struct {
	ContentType string        `header:"Content-Type"`
	SetCookie   []http.Cookie `header:"Set-Cookie"`
	Body        []byte
}

func (s *Server) finishOIDC(ctx context.Context, in *struct {
	Browser
	State string `query:"state" maxLength:"200"`
	Code  string `query:"code" maxLength:"4096"`
	Error string `query:"error" maxLength:"200"`
	Kept  string `cookie:"picket_oidc" hidden:"true"`
}) (*leadOn, error) {
	secret, id, err := s.cfg.Auth.FinishOIDC(ctx, in.State, in.Kept, in.Code, in.client(ctx))
	to := "/"
	out := &leadOn{ContentType: "text/html; charset=utf-8"}
	out.SetCookie = append(out.SetCookie, http.Cookie{Name: oidcCookie, Path: "/api/v1/oidc", HttpOnly: true, MaxAge: -1})
	opened, err := s.open(ctx, "login.oidc", "", in.secure, secret, id, err)
	switch {
	case errors.Is(err, auth.ErrForeign):
		to = "/signin?elsewhere=refused"
	case err != nil:
		return nil, err
	default:
		out.SetCookie = append(out.SetCookie, opened.SetCookie...)
	}
	out.Body = []byte(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Picket</title><meta http-equiv="refresh" content="0;url=` + to + `"><a href="` + to + `">Go on</a></html>`)
	return out, nil
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
	secret, id, err := s.cfg.Auth.ChangePassword(ctx, who, in.Body.Current, in.Body.New, in.client(ctx))
	s.act(ctx, "user.password", who.Actor(), "", err)
	if err != nil {
		return nil, err
	}
	return s.answerSignIn(ctx, in.secure, secret, id)
}

func (s *Server) answerSignIn(ctx context.Context, secure bool, secret string, id auth.Identity) (*signedIn, error) {
	me, err := s.me(ctx, id)
	return &signedIn{Body: signInBody{meBody: me}, SetCookie: cookies(secret, id, secure)}, err
}

func (s *Server) me(ctx context.Context, id auth.Identity) (meBody, error) {
	me := meBody{Username: id.Name, Tenant: id.TenantName, Role: id.Role, Trust: s.cfg.Trust, Version: s.cfg.Version, Dev: s.cfg.Dev, CSRF: id.CSRF,
		Permissions: id.Permissions(), MustEnrol: id.MustEnrol, Method: id.Method, Proofs: []string{}}
	var err error
	if id.Kind == "session" {
		me.Proofs, err = s.cfg.Auth.Proofs(ctx, id)
	}
	return me, err
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
	entry := audit.Entry{Tenant: s.cfg.Auth.TenantOf(claimed), Action: action, Actor: "user:" + claimed, Address: peer(ctx)}
	var ask *auth.FactorError
	if errors.As(err, &ask) {
		entry.Detail = "a second factor must follow"
		s.audit(ctx, entry)
		return &signedIn{Body: signInBody{Factor: &factorNeededBody{Challenge: ask.Challenge, Kinds: ask.Kinds}}}, nil
	}
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
	return s.answerSignIn(ctx, secure, secret, id)
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
