package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

type factorBody struct {
	ID       string     `json:"id"`
	Kind     string     `json:"kind" enum:"totp,passkey"`
	Name     string     `json:"name"`
	Created  time.Time  `json:"created"`
	LastUsed *time.Time `json:"last_used,omitempty"`
}

func factorOf(f store.Factor) factorBody {
	return factorBody{ID: f.ID, Kind: f.Kind, Name: f.Name, Created: f.Created.UTC(), LastUsed: when(f.LastUsed)}
}

type factorsBody struct {
	Items        []factorBody `json:"items" nullable:"false"`
	RecoveryLeft int          `json:"recovery_left" doc:"Recovery codes that were not used."`
	Needed       bool         `json:"needed" doc:"The role needs a second factor."`
}

type newAppBody struct {
	ID     string       `json:"id"`
	Secret string       `json:"secret" doc:"To type in where no camera is. It is shown only here."`
	URL    string       `json:"url" doc:"What the QR code says."`
	QR     auth.Squares `json:"qr" doc:"The QR code: its squares each way, and the path that draws them in SVG."`
}

type recoveryBody struct {
	Codes []string `json:"codes" nullable:"false" doc:"Recovery codes, each good once. They are shown only here; empty when there were some already."`
}

type sessionBody struct {
	ID        string    `json:"id"`
	Current   bool      `json:"current"`
	Method    string    `json:"method" doc:"How it was opened: password, totp, recovery, passkey, link, invite, setup or oidc."`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
	Created   time.Time `json:"created"`
	LastSeen  time.Time `json:"last_seen"`
	Expires   time.Time `json:"expires"`
}

func sessionOf(who auth.Identity) func(store.Session) sessionBody {
	return func(x store.Session) sessionBody {
		return sessionBody{ID: x.ID, Current: x.ID == who.ID, Method: x.Method, Address: x.Address, UserAgent: x.UserAgent,
			Created: x.Created.UTC(), LastSeen: x.LastSeen.UTC(), Expires: x.Expires.UTC()}
	}
}

// PasskeyAnswer is what a browser's authenticator answered.
type PasskeyAnswer struct {
	State    string          `json:"state" minLength:"1" maxLength:"200"`
	Response json.RawMessage `json:"response" doc:"PublicKeyCredential.toJSON()."`
}

type nameInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100"`
	}
}

// Origin is the address that a browser came by.
func (b Browser) Origin(ctx context.Context) string {
	scheme := "http"
	if b.secure {
		scheme = "https"
	}
	return scheme + "://" + originOf(ctx).host
}

func (s *Server) accountRoutes() {
	tags := []string{"account"}
	s.factorRoutes(tags)
	s.proofRoutes(tags)
	handle(s, huma.Operation{OperationID: "list-own-sessions", Method: http.MethodGet, Path: "/api/v1/me/sessions", Tags: tags,
		Summary: "Where you are signed in"},
		func(ctx context.Context, _ *struct{}) (*body[page[sessionBody]], error) {
			who := caller(ctx)
			list, err := s.cfg.Auth.Sessions(ctx, who.Tenant, who.UserID)
			return answerPage(convert(list, sessionOf(who)), ""), err
		})
	handle(s, huma.Operation{OperationID: "end-own-session", Method: http.MethodDelete, Path: "/api/v1/me/sessions/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Sign out somewhere"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			who := caller(ctx)
			err := s.cfg.Auth.EndSession(ctx, who.Tenant, who.UserID, in.ID)
			s.act(ctx, "session.end", "session:"+in.ID, "", err)
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "end-other-sessions", Method: http.MethodPost, Path: "/api/v1/me/sessions/end-others", Tags: tags,
		Summary: "Sign out everywhere but here"},
		func(ctx context.Context, _ *struct{}) (*body[endedBody], error) {
			who := caller(ctx)
			n, err := s.cfg.Auth.EndOtherSessions(ctx, who.Tenant, who.UserID, who.ID)
			s.act(ctx, "session.end-others", who.Actor(), "", err)
			return answer(endedBody{n}), err
		})
	s.ownTokenRoutes(tags)
}

type endedBody struct {
	Ended int `json:"ended"`
}

func (s *Server) factorRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "list-factors", Method: http.MethodGet, Path: "/api/v1/me/factors", Tags: tags,
		Summary: "Your second factors"},
		func(ctx context.Context, _ *struct{}) (*body[factorsBody], error) {
			who := caller(ctx)
			list, left, err := s.cfg.Auth.Factors(ctx, who.Tenant, who.UserID)
			if err != nil {
				return nil, err
			}
			policy, err := s.cfg.Auth.Policy(ctx)
			return answer(factorsBody{Items: convert(list, factorOf), RecoveryLeft: left, Needed: policy.Needs(who.Role)}), err
		})
	handle(s, huma.Operation{OperationID: "rename-factor", Method: http.MethodPut, Path: "/api/v1/me/factors/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Give a factor another name"},
		func(ctx context.Context, in *struct {
			IDPath
			Body struct {
				Name string `json:"name" minLength:"1" maxLength:"100"`
			}
		}) (*struct{}, error) {
			return nil, s.cfg.Auth.RenameFactor(ctx, caller(ctx), in.ID, in.Body.Name)
		})
	handle(s, huma.Operation{OperationID: "remove-factor", Method: http.MethodDelete, Path: "/api/v1/me/factors/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Remove a factor"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			err := s.cfg.Auth.RemoveFactor(ctx, caller(ctx), in.ID)
			s.act(ctx, "factor.remove", "factor:"+in.ID, "", err)
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "add-app", Method: http.MethodPost, Path: "/api/v1/me/factors/app", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Begin with an authenticator app; it counts once a code of it was confirmed"},
		func(ctx context.Context, in *nameInput) (*body[newAppBody], error) {
			app, err := s.cfg.Auth.AddApp(ctx, caller(ctx), in.Body.Name, "Picket")
			return answer(newAppBody{ID: app.ID, Secret: app.Secret, URL: app.URL, QR: app.QR}), err
		})
	handle(s, huma.Operation{OperationID: "confirm-app", Method: http.MethodPost, Path: "/api/v1/me/factors/app/{id}/confirm", Tags: tags,
		Summary: "Confirm an authenticator app with a code of it"},
		func(ctx context.Context, in *struct {
			IDPath
			Browser
			Body struct {
				Code string `json:"code" minLength:"1" maxLength:"20"`
			}
		}) (*body[recoveryBody], error) {
			codes, err := s.cfg.Auth.ConfirmApp(ctx, caller(ctx), in.ID, in.Body.Code, in.client(ctx))
			err = guessed(err)
			return s.newFactor(ctx, "totp", codes, err)
		})
	handle(s, huma.Operation{OperationID: "add-passkey", Method: http.MethodPost, Path: "/api/v1/me/factors/passkey", Tags: tags,
		Summary: "Begin with a passkey: what navigator.credentials.create takes"},
		func(ctx context.Context, in *struct{ Browser }) (*body[auth.Ceremony], error) {
			x, err := s.cfg.Auth.AddPasskey(ctx, caller(ctx), in.Origin(ctx))
			return answer(x), err
		})
	handle(s, huma.Operation{OperationID: "confirm-passkey", Method: http.MethodPost, Path: "/api/v1/me/factors/passkey/finish", Tags: tags,
		Summary: "Keep the passkey that the browser made"},
		func(ctx context.Context, in *struct {
			Browser
			Body struct {
				PasskeyAnswer
				Name string `json:"name" minLength:"1" maxLength:"100"`
			}
		}) (*body[recoveryBody], error) {
			codes, err := s.cfg.Auth.ConfirmPasskey(ctx, caller(ctx), in.Body.State, in.Body.Name, in.Origin(ctx), in.Body.Response)
			err = guessed(err)
			return s.newFactor(ctx, "passkey", codes, err)
		})
	handle(s, huma.Operation{OperationID: "new-recovery-codes", Method: http.MethodPost, Path: "/api/v1/me/factors/recovery", Tags: tags,
		Summary: "Replace your recovery codes; the new ones are shown once"},
		func(ctx context.Context, _ *struct{}) (*body[recoveryBody], error) {
			codes, err := s.cfg.Auth.NewRecoveryCodes(ctx, caller(ctx))
			s.act(ctx, "factor.recovery-codes", caller(ctx).Actor(), "", err)
			return answer(recoveryBody{codes}), err
		})
}

func (s *Server) newFactor(ctx context.Context, kind string, codes []string, err error) (*body[recoveryBody], error) {
	s.act(ctx, "factor.add", caller(ctx).Actor(), kind, err)
	if codes == nil {
		codes = []string{}
	}
	return answer(recoveryBody{codes}), err
}

func (s *Server) proofRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "prove", Method: http.MethodPost, Path: "/api/v1/me/prove", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Prove again that it is you, with a code, or with your password when you have no second factor"},
		func(ctx context.Context, in *struct {
			Browser
			Body struct {
				Password string `json:"password,omitempty" maxLength:"1024" format:"password"`
				Code     string `json:"code,omitempty" maxLength:"40"`
			}
		}) (*struct{}, error) {
			err := s.cfg.Auth.Prove(ctx, caller(ctx), in.Body.Password, in.Body.Code, in.client(ctx))
			s.act(ctx, "session.prove", caller(ctx).Actor(), "", err)
			return nil, guessed(err)
		})
	handle(s, huma.Operation{OperationID: "begin-proof", Method: http.MethodPost, Path: "/api/v1/me/prove/passkey", Tags: tags,
		Summary: "Begin to prove with a passkey that it is you"},
		func(ctx context.Context, in *struct{ Browser }) (*body[auth.Ceremony], error) {
			x, err := s.cfg.Auth.BeginProof(ctx, caller(ctx), in.Origin(ctx))
			return answer(x), err
		})
	handle(s, huma.Operation{OperationID: "prove-passkey", Method: http.MethodPost, Path: "/api/v1/me/prove/passkey/finish", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Prove with a passkey that it is you"},
		func(ctx context.Context, in *struct {
			Browser
			Body PasskeyAnswer
		}) (*struct{}, error) {
			err := s.cfg.Auth.ProvePasskey(ctx, caller(ctx), in.Body.State, in.Origin(ctx), in.Body.Response, in.client(ctx))
			s.act(ctx, "session.prove", caller(ctx).Actor(), "passkey", err)
			return nil, guessed(err)
		})
}

// guessed turns a wrong code of somebody who is signed in into a wrong field: 401 would say that the session is over.
func guessed(err error) error {
	if errors.Is(err, auth.ErrWrongCode) {
		return invalidField("body.code", err.Error())
	}
	return err
}
