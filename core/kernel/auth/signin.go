package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Purposes of a one-time token.
const (
	purposeSetup  = "setup"
	purposeSignIn = "signin"
)

// SetupNeeded reports whether nobody can sign in yet.
func (a *Auth) SetupNeeded(ctx context.Context) (bool, error) {
	n, err := a.cfg.Store.CountUsers(ctx, a.cfg.Tenant)
	return n == 0, err
}

// NewSetupToken returns the secret of a set-up link; ErrSetupDone when there is a user already.
func (a *Auth) NewSetupToken(ctx context.Context) (string, error) {
	needed, err := a.SetupNeeded(ctx)
	if err != nil {
		return "", err
	}
	if !needed {
		return "", ErrSetupDone
	}
	return a.oneTime(ctx, purposeSetup, "", a.cfg.SetupTTL)
}

// Setup spends a set-up token, creates the first administrator and signs them in.
func (a *Auth) Setup(ctx context.Context, token, username, password string, from Client) (string, Identity, error) {
	// Before anything is hashed: once a server is set up, strangers must not be able to keep its hashers busy here.
	if needed, err := a.SetupNeeded(ctx); err != nil {
		return "", Identity{}, err
	} else if !needed {
		return "", Identity{}, ErrSetupDone
	}
	u, err := a.newUser(ctx, username, password, RoleADM)
	if err != nil {
		return "", Identity{}, err
	}
	err = a.cfg.Store.CreateFirstUser(ctx, hashSecret(token), u)
	if errors.Is(err, store.ErrConflict) {
		return "", Identity{}, ErrSetupDone
	}
	if err != nil {
		return "", Identity{}, denied(err)
	}
	return a.open(ctx, u, from)
}

// Login checks a password and opens a session. The error is ErrDenied, ErrBusy, a *LockedError or the store's.
func (a *Auth) Login(ctx context.Context, username, password string, from Client) (string, Identity, error) {
	username = normalUsername(username)
	if len(username) > 256 || len(password) > maxPassword {
		return "", Identity{}, ErrDenied
	}
	if wait := a.lockout.begin(username, from.Address); wait > 0 {
		return "", Identity{}, &LockedError{RetryAfter: wait}
	}
	u, err := a.cfg.Store.UserByName(ctx, a.cfg.Tenant, username)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", Identity{}, err
	}
	fits, err := a.hasher.verify(ctx, password, u.PasswordHash)
	if err != nil {
		return "", Identity{}, err
	}
	if !fits || u.Disabled {
		return "", Identity{}, ErrDenied
	}
	a.lockout.success(username, from.Address)
	return a.open(ctx, u, from)
}

// NewSignInToken returns the secret of a link that signs the user in with one click.
func (a *Auth) NewSignInToken(ctx context.Context, userID string) (string, error) {
	return a.oneTime(ctx, purposeSignIn, userID, a.cfg.SignTTL)
}

// SignIn spends a sign-in token and opens a session.
func (a *Auth) SignIn(ctx context.Context, token string, from Client) (string, Identity, error) {
	t, err := a.cfg.Store.SpendOneTimeToken(ctx, hashSecret(token), purposeSignIn)
	if err != nil {
		return "", Identity{}, denied(err)
	}
	u, err := a.cfg.Store.UserByID(ctx, t.Tenant, t.UserID)
	if err != nil {
		return "", Identity{}, denied(err)
	}
	if u.Disabled {
		return "", Identity{}, ErrDenied
	}
	return a.open(ctx, u, from)
}

// EnsureUser returns the user of that name, creating one without a password when there is none. Such a user comes in
// by a sign-in link only.
func (a *Auth) EnsureUser(ctx context.Context, username, role string) (store.User, error) {
	u, err := a.cfg.Store.UserByName(ctx, a.cfg.Tenant, normalUsername(username))
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	if u, err = a.userRow(username, role); err != nil {
		return store.User{}, err
	}
	return u, a.cfg.Store.CreateUser(ctx, u)
}

// CreateUser adds a user with a password; store.ErrConflict when the name is taken.
func (a *Auth) CreateUser(ctx context.Context, username, password, role string) (store.User, error) {
	u, err := a.newUser(ctx, username, password, role)
	if err != nil {
		return store.User{}, err
	}
	return u, a.cfg.Store.CreateUser(ctx, u)
}

// SetPassword changes a user's password and ends all their sessions.
func (a *Auth) SetPassword(ctx context.Context, userID, password string) error {
	u, err := a.cfg.Store.UserByID(ctx, a.cfg.Tenant, userID)
	if err != nil {
		return err
	}
	if err := checkPassword(u.Username, password); err != nil {
		return err
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	if err := a.cfg.Store.SetPasswordHash(ctx, a.cfg.Tenant, userID, hash); err != nil {
		return err
	}
	return a.cfg.Store.DeleteUserSessions(ctx, a.cfg.Tenant, userID)
}

func (a *Auth) newUser(ctx context.Context, username, password, role string) (store.User, error) {
	u, err := a.userRow(username, role)
	if err != nil {
		return store.User{}, err
	}
	if err := checkPassword(u.Username, password); err != nil {
		return store.User{}, err
	}
	u.PasswordHash, err = a.hasher.hash(ctx, password)
	return u, err
}

func (a *Auth) userRow(username, role string) (store.User, error) {
	username = normalUsername(username)
	if err := checkUsername(username); err != nil {
		return store.User{}, err
	}
	if !ValidRole(role) {
		return store.User{}, &InputError{"role", "must be ADM, IT, SUP or PUB"}
	}
	id, err := newID()
	return store.User{ID: id, Tenant: a.cfg.Tenant, Username: username, Role: role, Created: a.cfg.Now()}, err
}

func (a *Auth) oneTime(ctx context.Context, purpose, userID string, ttl time.Duration) (string, error) {
	secret, err := a.secret()
	if err != nil {
		return "", err
	}
	now := a.cfg.Now()
	err = a.cfg.Store.CreateOneTimeToken(ctx, store.OneTimeToken{Hash: hashSecret(secret), Tenant: a.cfg.Tenant,
		Purpose: purpose, UserID: userID, Created: now, Expires: now.Add(ttl)})
	if err != nil {
		return "", fmt.Errorf("keep one-time token: %w", err)
	}
	return secret, nil
}

// denied hides from a stranger whether a secret was unknown, used or expired.
func denied(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUsed) || errors.Is(err, store.ErrExpired) {
		return ErrDenied
	}
	return err
}
