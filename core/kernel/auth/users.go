package auth

import (
	"context"
	"errors"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Invite makes a user without a password and returns the secret of a link that lets them in once; store.ErrConflict when
// the name is taken.
func (a *Auth) Invite(ctx context.Context, tenant, username, role string) (store.User, string, error) {
	u, err := a.userRow(tenant, username, role)
	if err != nil {
		return store.User{}, "", err
	}
	if err := a.cfg.Store.CreateUser(ctx, u); err != nil {
		return store.User{}, "", err
	}
	secret, err := a.oneTime(ctx, tenant, purposeInvite, u.ID, a.cfg.SetupTTL)
	return u, secret, err
}

// DecidesAbout reports whether somebody who looks after people may do so for those of a role: for administrators only those who may all
// that one may, and not a token for people alone, which would make itself one that way.
func (i Identity) DecidesAbout(role string) bool {
	return !RoleMay(role, UsersAdmin) || within(role, nil, i) == nil
}

// ErrNotAdministrator says that somebody who should be an administrator is something else.
var ErrNotAdministrator = errors.New("this user is no administrator")

// InviteAdministrator is Invite for an administrator of a tenant. One who is there already gets another link, so that a tenant whose
// administrators forgot how to sign in is not lost.
func (a *Auth) InviteAdministrator(ctx context.Context, tenant, username string) (string, error) {
	u, err := a.cfg.Store.UserByName(ctx, tenant, normalUsername(username))
	switch {
	case errors.Is(err, store.ErrNotFound):
		_, secret, err := a.Invite(ctx, tenant, username, RoleADM)
		return secret, err
	case err != nil:
		return "", err
	case u.Role != RoleADM:
		return "", ErrNotAdministrator
	}
	return a.LinkFor(ctx, tenant, u.ID)
}

// LinkFor returns the secret of a link that lets a user in once who forgot their password. Whoever has a second factor is
// asked for it all the same; who comes from elsewhere gets none.
func (a *Auth) LinkFor(ctx context.Context, tenant, userID string) (string, error) {
	u, err := a.cfg.Store.UserByID(ctx, tenant, userID)
	if err != nil {
		return "", err
	}
	if u.Disabled {
		return "", store.ErrState
	}
	switch foreign, err := a.cfg.Store.IsForeign(ctx, tenant, userID); {
	case err != nil:
		return "", err
	case foreign:
		return "", &InputError{"id", "they sign in at another place; a link would be a way past it"}
	}
	return a.oneTime(ctx, tenant, purposeInvite, u.ID, a.cfg.SetupTTL)
}

// LinkTTL is how long links of Invite and LinkFor open.
func (a *Auth) LinkTTL() time.Duration { return a.cfg.SetupTTL }

// SetRole gives a user another role.
func (a *Auth) SetRole(ctx context.Context, tenant, userID, role string) error {
	if !ValidRole(role) {
		return errRole()
	}
	return a.cfg.Store.SetUserRole(ctx, tenant, userID, role)
}

// ResetFactors takes all factors of a user away and ends their sessions.
func (a *Auth) ResetFactors(ctx context.Context, tenant, userID string) error {
	if _, err := a.cfg.Store.UserByID(ctx, tenant, userID); err != nil {
		return err
	}
	if err := a.cfg.Store.DeleteFactors(ctx, tenant, userID); err != nil {
		return err
	}
	return a.cfg.Store.DeleteUserSessions(ctx, tenant, userID)
}
