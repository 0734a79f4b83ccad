package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	ticketOIDC  = "oidc"
	oidcTimeout = 15 * time.Second
	clocksApart = time.Minute // how far the provider's clock may be behind
)

// OIDC is an OpenID provider where people may sign in.
type OIDC struct {
	Name         string // what the button says
	Issuer       string
	ClientID     string
	ClientSecret string
	Scopes       []string // besides openid
	Username     string   // the claim that is the user name here; default preferred_username
	Claim        string   // the claim that says what somebody is, for example groups
	Roles        []RoleOf // the first that fits counts; who fits none may not come in
	HTTP         *http.Client
}

// RoleOf says which role a value of the claim gives.
type RoleOf struct{ Value, Role string }

// Foreign is somebody as another place knows them. Whatever way they were asked about (OpenID today), this is how they
// become a user here.
type Foreign struct {
	Issuer, Subject string // together they never change and never mean somebody else
	Username, Role  string
}

// ErrForeign is the answer to who was let in elsewhere and is not here. What exactly was wrong stands in the audit log.
var ErrForeign = errors.New("you could not be signed in this way; ask an administrator, whose audit log says why")

// provider is an OIDC whose own description was read.
type provider struct {
	OIDC

	found  atomic.Pointer[oidc.Provider]
	asking singleflight.Group
	origin string // of this server
}

// discover reads the provider's description when it is first needed: it may be down when this server starts. It is asked once
// for all who wait, and nobody waits longer than they want to.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	if found := p.found.Load(); found != nil {
		return found, nil
	}
	answer := p.asking.DoChan("", func() (any, error) {
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.HTTP), p.Issuer)
		if err != nil {
			return nil, fmt.Errorf("ask %s for its description: %w", p.Issuer, err)
		}
		p.found.Store(found)
		return nil, nil
	})
	select {
	case a := <-answer:
		return p.found.Load(), a.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *provider) oauth(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: p.origin + "/api/v1/oidc/callback", Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...)}
}

// OIDCName is what the button of the OpenID provider says; "" when there is none.
func (a *Auth) OIDCName() string {
	if a.oidc == nil {
		return ""
	}
	return a.oidc.Name
}

// BeginOIDC returns where to send the browser, and the state that it must bring back.
func (a *Auth) BeginOIDC(ctx context.Context) (url, state string, err error) {
	if a.oidc == nil {
		return "", "", store.ErrNotFound
	}
	found, err := a.oidc.discover(ctx)
	if err != nil {
		return "", "", err
	}
	if state, err = a.secret(); err != nil {
		return "", "", err
	}
	nonce, err := a.secret()
	if err != nil {
		return "", "", err
	}
	verifier := oauth2.GenerateVerifier()
	a.strangers.put(state, ticket{kind: ticketOIDC, nonce: nonce, proof: verifier, begun: a.cfg.Now()})
	return a.oidc.oauth(found).AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier),
		oauth2.SetAuthURLParam("max_age", "0")), state, nil // a fresh sign-in there is a fresh proof here
}

// FinishOIDC takes what the browser brought back. kept is the state that it was given at the beginning. The error is
// ErrForeign, joined with why.
func (a *Auth) FinishOIDC(ctx context.Context, state, kept, code string, from Client) (string, Identity, error) {
	if a.oidc == nil {
		return "", Identity{}, store.ErrNotFound
	}
	f, err := a.foreign(ctx, state, kept, code)
	if err != nil {
		return "", Identity{}, errors.Join(ErrForeign, err)
	}
	return a.SignInForeign(ctx, f, from)
}

func (a *Auth) foreign(ctx context.Context, state, kept, code string) (Foreign, error) {
	if kept == "" || subtle.ConstantTimeCompare([]byte(state), []byte(kept)) != 1 {
		return Foreign{}, errors.New("the state is not the one that this browser was given")
	}
	t, ok := a.strangers.take(state, ticketOIDC)
	if !ok {
		return Foreign{}, errors.New("the sign-in was begun too long ago, or is over")
	}
	found, err := a.oidc.discover(ctx)
	if err != nil {
		return Foreign{}, err
	}
	ctx = oidc.ClientContext(ctx, a.oidc.HTTP)
	token, err := a.oidc.oauth(found).Exchange(ctx, code, oauth2.VerifierOption(t.proof))
	if err != nil {
		return Foreign{}, fmt.Errorf("exchange the code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Foreign{}, errors.New("the provider sent no id_token")
	}
	id, err := found.Verifier(&oidc.Config{ClientID: a.oidc.ClientID, Now: a.cfg.Now}).Verify(ctx, raw)
	if err != nil {
		return Foreign{}, fmt.Errorf("check the id_token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(t.nonce)) != 1 {
		return Foreign{}, errors.New("the id_token is of another sign-in: its nonce differs")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return Foreign{}, fmt.Errorf("read the id_token: %w", err)
	}
	if err := freshSignIn(claims, t.begun); err != nil {
		return Foreign{}, err
	}
	name, _ := claims[a.oidc.Username].(string)
	role := roleFor(a.oidc.Roles, claims[a.oidc.Claim])
	switch {
	case name == "":
		return Foreign{}, fmt.Errorf("the id_token of subject %s has no claim %s", id.Subject, a.oidc.Username)
	case role == "":
		return Foreign{}, fmt.Errorf("nothing in the claim %s of %s gives a role", a.oidc.Claim, name)
	}
	return Foreign{Issuer: id.Issuer, Subject: id.Subject, Username: name, Role: role}, nil
}

// freshSignIn returns nil when somebody signed in at the provider after they were sent there, which is what max_age=0 asks for.
func freshSignIn(claims map[string]any, begun time.Time) error {
	seconds, ok := claims["auth_time"].(float64)
	if !ok {
		return errors.New("the id_token has no auth_time: the provider does not say when they signed in there, although max_age asks for it")
	}
	if at := time.Unix(int64(seconds), 0); at.Before(begun.Add(-clocksApart)) {
		return fmt.Errorf("the provider did not ask who it is: its auth_time %s is before they were sent there at %s", at.UTC().Format(time.RFC3339), begun.UTC().Format(time.RFC3339))
	}
	return nil
}

// roleFor is the role of the first rule whose value the claim holds; a claim is one text or a list of texts.
func roleFor(rules []RoleOf, claim any) string {
	var has []string
	switch v := claim.(type) {
	case string:
		has = []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				has = append(has, s)
			}
		}
	}
	for _, r := range rules {
		if slices.Contains(has, r.Value) {
			return r.Role
		}
	}
	return ""
}

// SignInForeign opens a session for somebody whom another place has let in. It makes the user when they come first, and
// gives them the role that the other place says. A name that somebody here has already is not taken over.
func (a *Auth) SignInForeign(ctx context.Context, f Foreign, from Client) (string, Identity, error) {
	u, err := a.cfg.Store.ForeignUser(ctx, store.DefaultTenant, f.Issuer, f.Subject)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if u, err = a.userRow(store.DefaultTenant, f.Username, f.Role); err != nil {
			return "", Identity{}, errors.Join(ErrForeign, err)
		}
		if err = a.cfg.Store.CreateForeignUser(ctx, u, f.Issuer, f.Subject); errors.Is(err, store.ErrConflict) {
			return "", Identity{}, errors.Join(ErrForeign, fmt.Errorf("the user name %s is taken by somebody who does not come from %s", u.Username, f.Issuer))
		}
	case err == nil && u.Disabled:
		return "", Identity{}, errors.Join(ErrForeign, fmt.Errorf("the user %s is disabled", u.Username))
	case err == nil && u.Role != f.Role:
		if err = a.cfg.Store.SetUserRole(ctx, u.Tenant, u.ID, f.Role); errors.Is(err, store.ErrLastAdministrator) {
			return "", Identity{}, errors.Join(ErrForeign, err)
		}
		u.Role = f.Role
	}
	if err != nil {
		return "", Identity{}, err
	}
	return a.open(ctx, u, methodOIDC, from)
}

func newProvider(c *OIDC, origin string) (*provider, error) {
	if c == nil {
		return nil, nil
	}
	p := &provider{OIDC: *c, origin: strings.TrimSuffix(origin, "/")}
	if p.origin == "" {
		return nil, errors.New("auth: an OpenID provider must know where to send people back to; set public_url")
	}
	if p.Username == "" {
		p.Username = "preferred_username"
	}
	if p.HTTP == nil {
		p.HTTP = &http.Client{Timeout: oidcTimeout}
	}
	for _, r := range p.Roles {
		if !ValidRole(r.Role) {
			return nil, fmt.Errorf("auth: the OpenID provider's roles name %s, which is no role", r.Role)
		}
	}
	return p, nil
}
