package auth

import (
	"context"
	"errors"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// touchEvery keeps reading a page from writing to disk with each request; the idle limit is that much less exact.
const touchEvery = time.Minute

// open creates a session and returns its secret, which goes into the cookie.
func (a *Auth) open(ctx context.Context, u store.User, from Client) (string, Identity, error) {
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
		Expires: now.Add(a.cfg.Absolute), Address: from.Address, UserAgent: cut(from.UserAgent, 256)}
	if err := a.cfg.Store.CreateSession(ctx, s); err != nil {
		return "", Identity{}, err
	}
	return secret, identity(u, s, secret), nil
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
	if u.Disabled {
		return Identity{}, ErrDenied
	}
	if use && now.Sub(s.LastSeen) >= touchEvery {
		if err := a.cfg.Store.TouchSession(ctx, s.ID, now); err != nil {
			return Identity{}, err
		}
	}
	return identity(u, s, secret), nil
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

func identity(u store.User, s store.Session, secret string) Identity {
	return Identity{Tenant: u.Tenant, Role: u.Role, Kind: "session", ID: s.ID, UserID: u.ID, Name: u.Username,
		CSRF: csrf(secret), Expires: s.Expires}
}

func cut(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}
