package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Purposes of a one-time token.
const (
	purposeSetup  = "setup"
	purposeSignIn = "signin" // from who owns the machine
	purposeInvite = "invite" // from an administrator
)

// SetupNeeded reports whether no administrator can sign in with a password: on a new server, on one that was used with
// --dev alone, and after the last one was reset.
func (a *Auth) SetupNeeded(ctx context.Context) (bool, error) {
	n, err := a.cfg.Store.CountAdministrators(ctx, store.DefaultTenant)
	return n == 0, err
}

// NewSetupToken returns the secret of a set-up link; ErrSetupDone when somebody can sign in.
func (a *Auth) NewSetupToken(ctx context.Context) (string, error) {
	needed, err := a.SetupNeeded(ctx)
	if err != nil {
		return "", err
	}
	if !needed {
		return "", ErrSetupDone
	}
	return a.oneTime(ctx, store.DefaultTenant, purposeSetup, "", a.cfg.SetupTTL)
}

// Setup spends a set-up token, creates the first administrator and signs them in. A user of that name who could not sign
// in becomes that administrator.
func (a *Auth) Setup(ctx context.Context, token, username, password string, from Client) (string, Identity, error) {
	// Before anything is hashed: once a server is set up, strangers must not be able to keep its hashers busy here.
	if needed, err := a.SetupNeeded(ctx); err != nil {
		return "", Identity{}, err
	} else if !needed {
		return "", Identity{}, ErrSetupDone
	}
	u, err := a.newUser(ctx, store.DefaultTenant, username, password, RoleADM)
	if err != nil {
		return "", Identity{}, err
	}
	u, err = a.cfg.Store.CreateFirstUser(ctx, hashSecret(token), u)
	if errors.Is(err, store.ErrConflict) {
		return "", Identity{}, ErrSetupDone
	}
	if err != nil {
		return "", Identity{}, denied(err)
	}
	return a.open(ctx, u, methodSetup, from)
}

// Login checks a password and opens a session. The error is a *FactorError when a second factor must follow, ErrDenied,
// ErrBusy, a *LockedError or the store's.
func (a *Auth) Login(ctx context.Context, username, password string, from Client) (string, Identity, error) {
	username = normalUsername(username)
	if len(username) > 256 || len(password) > maxPassword {
		return "", Identity{}, ErrDenied
	}
	tenant, name := a.tenantOf(username)
	u, err := a.check(ctx, tenant, name, password, from)
	if err != nil {
		return "", Identity{}, err
	}
	return a.openOrAsk(ctx, u, methodPassword, from)
}

const ticketCode = "code"

// openOrAsk opens a session, or asks for the second factor of who has one.
func (a *Auth) openOrAsk(ctx context.Context, u store.User, method string, from Client) (string, Identity, error) {
	factors, left, err := a.Factors(ctx, u.Tenant, u.ID)
	if err != nil {
		return "", Identity{}, err
	}
	if len(factors) == 0 {
		return a.open(ctx, u, method, from)
	}
	ask := &FactorError{}
	for _, f := range factors {
		if !slices.Contains(ask.Kinds, f.Kind) {
			ask.Kinds = append(ask.Kinds, f.Kind)
		}
	}
	if left > 0 {
		ask.Kinds = append(ask.Kinds, methodRecovery)
	}
	if ask.Challenge, err = a.secret(); err != nil {
		return "", Identity{}, err
	}
	a.tickets.put(ask.Challenge, ticket{kind: ticketCode, tenant: u.Tenant, userID: u.ID, hash: u.PasswordHash})
	return "", Identity{}, ask
}

// Code takes the second factor that Login asked for: a code of an app, or a recovery code.
func (a *Auth) Code(ctx context.Context, challenge, code string, from Client) (string, Identity, error) {
	t, ok := a.tickets.try(challenge, ticketCode)
	if !ok {
		return "", Identity{}, ErrWrongCode
	}
	u, err := a.cfg.Store.UserByID(ctx, t.tenant, t.userID)
	if err != nil {
		return "", Identity{}, denied(err)
	}
	if u.Disabled || u.PasswordHash != t.hash { // a password that was changed since ends what the one before began
		return "", Identity{}, ErrDenied
	}
	method := methodCode
	err = a.guessing(u.ID, from, func() error {
		recovered, err := a.useAnyCode(ctx, u.Tenant, u.ID, code)
		if recovered {
			method = methodRecovery
		}
		return err
	})
	if err != nil {
		return "", Identity{}, err
	}
	a.tickets.take(challenge, ticketCode)
	return a.open(ctx, u, method, from)
}

// TenantOf is the tenant that somebody names to sign in, the operator's own when there is none of that name.
func (a *Auth) TenantOf(username string) string {
	tenant, _ := a.tenantOf(normalUsername(username))
	if strings.HasPrefix(tenant, "/") {
		return store.DefaultTenant
	}
	return tenant
}

// tenantOf splits what somebody types to sign in: TENANT/user, or a user of the operator's own alone. A tenant that there is not has no
// users, so that its name is as wrong as a user's.
func (a *Auth) tenantOf(username string) (tenant, name string) {
	of, name, other := strings.Cut(username, "/")
	if !other {
		return store.DefaultTenant, username
	}
	t, err := a.cfg.Store.TenantByName(of)
	if err != nil || t.ID == store.DefaultTenant {
		return "/" + of, name
	}
	return t.ID, name
}

// check returns the tenant's user of that name when the password is theirs. Only ErrDenied counts as a wrong password: a busy
// server or a broken store says nothing about who asked.
func (a *Auth) check(ctx context.Context, tenant, username, password string, from Client) (store.User, error) {
	account := username
	if tenant != store.DefaultTenant {
		account = tenant + "/" + username
	}
	wait, undo := a.lockout.begin(account, from.Address, from.Address)
	if wait > 0 {
		return store.User{}, &LockedError{RetryAfter: wait}
	}
	u, err := a.cfg.Store.UserByName(ctx, tenant, username)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		undo()
		return store.User{}, err
	}
	fits, err := a.hasher.verify(ctx, password, u.PasswordHash)
	if err != nil {
		undo()
		return store.User{}, err
	}
	if !fits || u.Disabled || !a.active(tenant) {
		return store.User{}, ErrDenied
	}
	a.lockout.success(account, from.Address, from.Address)
	return u, nil
}

// NewSignInToken returns the secret of a link that signs the user in with one click.
func (a *Auth) NewSignInToken(ctx context.Context, userID string) (string, error) {
	return a.oneTime(ctx, store.DefaultTenant, purposeSignIn, userID, a.cfg.SignTTL)
}

// SignIn spends a sign-in token and opens a session. A link of who owns the machine asks for no second factor; one of an
// administrator does, with a *FactorError.
func (a *Auth) SignIn(ctx context.Context, token string, from Client) (string, Identity, error) {
	t, err := a.cfg.Store.SpendOneTimeToken(ctx, hashSecret(token), purposeSignIn)
	if errors.Is(err, store.ErrNotFound) {
		t, err = a.cfg.Store.SpendOneTimeToken(ctx, hashSecret(token), purposeInvite)
	}
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
	if t.Purpose == purposeInvite {
		return a.openOrAsk(ctx, u, methodInvite, from)
	}
	return a.open(ctx, u, methodLink, from)
}

// EnsureUser returns the user of that name, creating one without a password when there is none. Such a user comes in
// by a sign-in link only.
func (a *Auth) EnsureUser(ctx context.Context, username, role string) (store.User, error) {
	u, err := a.cfg.Store.UserByName(ctx, store.DefaultTenant, normalUsername(username))
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	if u, err = a.userRow(store.DefaultTenant, username, role); err != nil {
		return store.User{}, err
	}
	return u, a.cfg.Store.CreateUser(ctx, u)
}

// CreateUser adds a user with a password; store.ErrConflict when the name is taken.
func (a *Auth) CreateUser(ctx context.Context, username, password, role string) (store.User, error) {
	u, err := a.newUser(ctx, store.DefaultTenant, username, password, role)
	if err != nil {
		return store.User{}, err
	}
	return u, a.cfg.Store.CreateUser(ctx, u)
}

// ChangePassword gives the user of a session a new password, ends all their sessions and opens a new one. current is
// the password they had; who has none yet needs none.
func (a *Auth) ChangePassword(ctx context.Context, who Identity, current, password string, from Client) (string, Identity, error) {
	u, err := a.cfg.Store.UserByID(ctx, who.Tenant, who.UserID)
	if err != nil {
		return "", Identity{}, denied(err)
	}
	if u.PasswordHash != "" {
		// A session that somebody else got hold of must not be a way to guess.
		switch _, err := a.check(ctx, u.Tenant, u.Username, current, from); {
		case errors.Is(err, ErrDenied):
			return "", Identity{}, &InputError{"current", "is not your password"}
		case err != nil:
			return "", Identity{}, err
		}
	}
	if u.PasswordHash == "" && who.Method == methodOIDC {
		return "", Identity{}, &InputError{"new", elsewhere}
	}
	// The new session counts as proved. Where a password alone proves nothing, a session that was left open must not become so.
	proofs, err := a.Proofs(ctx, who)
	if err != nil {
		return "", Identity{}, err
	}
	if len(proofs) > 0 && !slices.Contains(proofs, methodPassword) {
		if err := a.Fresh(ctx, who); err != nil {
			return "", Identity{}, err
		}
	}
	var input *InputError
	if err := a.SetPassword(ctx, u.Tenant, u.ID, password); errors.As(err, &input) {
		return "", Identity{}, &InputError{"new", input.Message}
	} else if err != nil {
		return "", Identity{}, err
	}
	method := methodPassword
	if who.Method != methodInvite && who.Method != methodSetup && who.Method != methodLink {
		method = who.Method // a new password is no second factor, and takes none away
	}
	return a.open(ctx, u, method, from)
}

// Reset takes a user's password and factors away, ends their sessions, lets them in again if they were locked out, and returns the
// secret of a one-time link and the page that takes it: /setup when nobody else could sign in any more, /signin
// otherwise. A name of "" means admin, or the only user there is.
func (a *Auth) Reset(ctx context.Context, username string) (u store.User, page, secret string, err error) {
	if u, err = a.resettable(ctx, normalUsername(username)); err != nil {
		return u, "", "", err
	}
	if u.ID != "" {
		// Locked out first: that ends the sessions whatever becomes of the rest.
		for _, step := range []func() error{
			func() error { return a.cfg.Store.SetUserDisabled(ctx, store.DefaultTenant, u.ID, true) },
			func() error { return a.cfg.Store.SetPasswordHash(ctx, store.DefaultTenant, u.ID, "") },
			func() error { return a.cfg.Store.DeleteFactors(ctx, store.DefaultTenant, u.ID) },
			func() error { return a.cfg.Store.DeleteUserSessions(ctx, store.DefaultTenant, u.ID) },
			func() error { return a.cfg.Store.SetUserDisabled(ctx, store.DefaultTenant, u.ID, false) },
		} {
			if err := step(); err != nil {
				return u, "", "", err
			}
		}
	}
	needed, err := a.SetupNeeded(ctx)
	if err != nil {
		return u, "", "", err
	}
	if needed {
		secret, err = a.NewSetupToken(ctx)
		return u, "/setup", secret, err
	}
	secret, err = a.oneTime(ctx, store.DefaultTenant, purposeSignIn, u.ID, a.cfg.SetupTTL)
	return u, "/signin", secret, err
}

// resettable finds whom Reset is about; nobody when there is no user at all.
func (a *Auth) resettable(ctx context.Context, username string) (store.User, error) {
	users, err := a.cfg.Store.ListUsers(ctx, store.DefaultTenant)
	if err != nil || len(users) == 0 {
		return store.User{}, err
	}
	names := make([]string, 0, len(users))
	for _, u := range users {
		if u.Username == cmp.Or(username, "admin") {
			return u, nil
		}
		names = append(names, u.Username)
	}
	if username == "" && len(users) == 1 {
		return users[0], nil
	}
	return store.User{}, &InputError{"name", "must be one of " + strings.Join(names, ", ")}
}

// SetPassword changes a user's password and ends all their sessions.
func (a *Auth) SetPassword(ctx context.Context, tenant, userID, password string) error {
	u, err := a.cfg.Store.UserByID(ctx, tenant, userID)
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
	if err := a.cfg.Store.SetPasswordHash(ctx, tenant, userID, hash); err != nil {
		return err
	}
	return a.cfg.Store.DeleteUserSessions(ctx, tenant, userID)
}

func (a *Auth) newUser(ctx context.Context, tenant, username, password, role string) (store.User, error) {
	u, err := a.userRow(tenant, username, role)
	if err != nil {
		return store.User{}, err
	}
	if err := checkPassword(u.Username, password); err != nil {
		return store.User{}, err
	}
	u.PasswordHash, err = a.hasher.hash(ctx, password)
	return u, err
}

func (a *Auth) userRow(tenant, username, role string) (store.User, error) {
	username = normalUsername(username)
	if err := checkUsername(username); err != nil {
		return store.User{}, err
	}
	if !ValidRole(role) {
		return store.User{}, errRole()
	}
	id, err := newID()
	return store.User{ID: id, Tenant: tenant, Username: username, Role: role, Created: a.cfg.Now()}, err
}

// elsewhere is why who signs in at another place gets no way past it.
const elsewhere = "you sign in at another place; a way past it would outlive what that place thinks of you"

func errRole() error {
	return &InputError{"role", "must be one of " + strings.Join(Roles, ", ")}
}

func (a *Auth) oneTime(ctx context.Context, tenant, purpose, userID string, ttl time.Duration) (string, error) {
	secret, err := a.secret()
	if err != nil {
		return "", err
	}
	now := a.cfg.Now()
	err = a.cfg.Store.CreateOneTimeToken(ctx, store.OneTimeToken{Hash: hashSecret(secret), Tenant: tenant,
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
