package auth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// touchEvery keeps reading a page from writing to disk with each request; the idle limit is that much less exact.
const touchEvery = time.Minute

// open creates a session and returns its secret, which goes into the cookie.
func (a *Auth) open(ctx context.Context, u store.User, method string, from Client) (string, Identity, error) {
	if !a.active(u.Tenant) {
		return "", Identity{}, ErrDenied
	}
	secret, err := a.secret()
	if err != nil {
		return "", Identity{}, err
	}
	id, err := newID()
	if err != nil {
		return "", Identity{}, err
	}
	now := a.cfg.Now()
	s := store.Session{ID: id, Tenant: u.Tenant, UserID: u.ID, Hash: hashSecret(secret), Created: now, LastSeen: now,
		Expires: now.Add(a.cfg.Absolute), Address: from.Address, UserAgent: cut(from.UserAgent, 256),
		Method: method, Proved: now}
	if err := a.cfg.Store.CreateSession(ctx, s); err != nil {
		return "", Identity{}, err
	}
	return a.identity(ctx, u, s, secret)
}

// Session returns whose session the secret opens, or ErrDenied.
func (a *Auth) Session(ctx context.Context, secret string) (Identity, error) {
	return a.session(ctx, secret, true)
}

// PeekSession is Session without counting as a use.
func (a *Auth) PeekSession(ctx context.Context, secret string) (Identity, error) {
	return a.session(ctx, secret, false)
}

func (a *Auth) session(ctx context.Context, secret string, use bool) (Identity, error) {
	s, err := a.cfg.Store.SessionByHash(ctx, hashSecret(secret))
	if err != nil {
		return Identity{}, denied(err)
	}
	now := a.cfg.Now()
	if !now.Before(s.Expires) || now.Sub(s.LastSeen) > a.cfg.Idle {
		if err := a.cfg.Store.DeleteSession(ctx, s.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return Identity{}, err
		}
		return Identity{}, ErrDenied
	}
	u, err := a.cfg.Store.UserByID(ctx, s.Tenant, s.UserID)
	if err != nil {
		return Identity{}, denied(err)
	}
	if u.Disabled || !a.active(u.Tenant) {
		return Identity{}, ErrDenied
	}
	if use && now.Sub(s.LastSeen) >= touchEvery {
		if err := a.cfg.Store.TouchSession(ctx, s.ID, now); err != nil {
			return Identity{}, err
		}
	}
	_, id, err := a.identity(ctx, u, s, secret)
	return id, err
}

// Logout ends the session that the secret opens. An unknown one is no error.
func (a *Auth) Logout(ctx context.Context, secret string) error {
	s, err := a.cfg.Store.SessionByHash(ctx, hashSecret(secret))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.cfg.Store.DeleteSession(ctx, s.ID)
}

func (a *Auth) identity(ctx context.Context, u store.User, s store.Session, secret string) (string, Identity, error) {
	must, err := a.mustEnrol(ctx, u, s)
	if err != nil {
		return "", Identity{}, err
	}
	return secret, Identity{Tenant: u.Tenant, TenantName: a.tenantName(u.Tenant), Role: u.Role, Kind: "session", ID: s.ID, UserID: u.ID, Name: u.Username,
		CSRF: csrf(secret), Expires: s.Expires, Method: s.Method, Proved: s.Proved, MustEnrol: must}, nil
}

// Sessions lists a user's sessions that are open.
func (a *Auth) Sessions(ctx context.Context, tenant, userID string) ([]store.Session, error) {
	list, err := a.cfg.Store.ListSessions(ctx, tenant, userID)
	if err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	return slices.DeleteFunc(list, func(s store.Session) bool { return now.Sub(s.LastSeen) > a.cfg.Idle }), nil
}

// EndSession ends one session of a user.
func (a *Auth) EndSession(ctx context.Context, tenant, userID, id string) error {
	return a.cfg.Store.EndUserSession(ctx, tenant, userID, id)
}

// EndOtherSessions ends all sessions of a user but one, and says how many. keep may be "".
func (a *Auth) EndOtherSessions(ctx context.Context, tenant, userID, keep string) (int, error) {
	return a.cfg.Store.EndOtherSessions(ctx, tenant, userID, keep)
}

// active reports whether people and tokens of a tenant are let in.
func (a *Auth) active(tenant string) bool {
	t, err := a.cfg.Store.TenantByID(tenant)
	return err == nil && t.State == store.TenantActive
}

// tenantName is what a tenant is called, "" for the operator's own.
func (a *Auth) tenantName(tenant string) string {
	if tenant == store.DefaultTenant {
		return ""
	}
	t, err := a.cfg.Store.TenantByID(tenant)
	if err != nil {
		return ""
	}
	return t.Name
}

func cut(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}
