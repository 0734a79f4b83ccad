package auth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// tokenPrefix lets people and secret scanners recognise a token.
const tokenPrefix = "picket_"

// TokenWish is an API token that somebody wants.
type TokenWish struct {
	Tenant     string
	Name, Role string
	Scopes     []string      // what of the role it may; none: all of it
	TTL        time.Duration // 0: it does not expire
	CreatedBy  string
	UserID     string // whose it is; "" for the server's own
}

// String is the wish in the words of the audit log.
func (w TokenWish) String() string {
	text := "name " + w.Name + ", role " + w.Role
	if len(w.Scopes) > 0 {
		text += ", scopes " + strings.Join(w.Scopes, " ")
	}
	return text
}

// CreateToken makes an API token of the server's own with all that a role may, and returns its secret, which nobody can
// see again. A ttl of 0 means that it does not expire.
func (a *Auth) CreateToken(ctx context.Context, name, role, createdBy string, ttl time.Duration) (string, store.APIToken, error) {
	return a.OwnersToken(ctx, TokenWish{Name: name, Role: role, CreatedBy: createdBy, TTL: ttl})
}

// OwnersToken makes an API token of the server's own for who owns the machine, and may all.
func (a *Auth) OwnersToken(ctx context.Context, w TokenWish) (string, store.APIToken, error) {
	w.Tenant, w.UserID = store.DefaultTenant, ""
	return a.issueToken(ctx, w)
}

// IssueToken makes an API token for somebody and returns its secret, which nobody can see again. Nobody gives away more
// than they have.
func (a *Auth) IssueToken(ctx context.Context, w TokenWish, by Identity) (string, store.APIToken, error) {
	if err := within(w.Role, w.Scopes, by); err != nil {
		return "", store.APIToken{}, err
	}
	w.Tenant = by.Tenant
	return a.issueToken(ctx, w)
}

// within refuses a token that may more than the one who asks for it.
func within(role string, scopes []string, by Identity) error {
	asked := Identity{Tenant: by.Tenant, Role: role, Scopes: scopes}
	for _, p := range asked.Permissions() {
		if p != Account && !by.May(p) {
			return &InputError{"scopes", "you do not have " + string(p) + " yourself"}
		}
	}
	return nil
}

func (a *Auth) issueToken(ctx context.Context, w TokenWish) (string, store.APIToken, error) {
	if err := w.check(); err != nil {
		return "", store.APIToken{}, err
	}
	id, err := newID()
	if err != nil {
		return "", store.APIToken{}, err
	}
	t := store.APIToken{ID: id, Tenant: w.Tenant, Name: strings.TrimSpace(w.Name), Role: w.Role, Scopes: w.Scopes, CreatedBy: w.CreatedBy, UserID: w.UserID}
	secret, err := a.freshSecret(&t, w.TTL)
	if err != nil {
		return "", store.APIToken{}, err
	}
	return secret, t, a.cfg.Store.CreateAPIToken(ctx, t)
}

func (w TokenWish) check() error {
	if name := strings.TrimSpace(w.Name); name == "" || len(name) > 100 {
		return &InputError{"name", "must have 1 to 100 characters"}
	}
	if !ValidRole(w.Role) {
		return errRole()
	}
	for _, s := range w.Scopes {
		switch {
		case !ValidScope(s):
			return &InputError{"scopes", "there is no scope " + s}
		case !RoleMay(w.Role, Permission(s)):
			return &InputError{"scopes", "the role " + w.Role + " does not have " + s}
		}
	}
	if w.TTL < 0 {
		return &InputError{"expires_in", "must not be negative"}
	}
	return nil
}

// freshSecret gives a token a secret that is as old as now.
func (a *Auth) freshSecret(t *store.APIToken, ttl time.Duration) (string, error) {
	secret, err := a.secret()
	if err != nil {
		return "", err
	}
	secret = tokenPrefix + secret
	t.Hash, t.Hint, t.Created, t.Expires = hashSecret(secret), secret[:len(tokenPrefix)+4], a.cfg.Now(), time.Time{}
	if ttl > 0 {
		t.Expires = t.Created.Add(ttl)
	}
	return secret, nil
}

// RotateToken gives an API token another secret and as long a life as it had; the secret before opens nothing from then on.
// Nobody gets by it what they do not have.
func (a *Auth) RotateToken(ctx context.Context, t store.APIToken, by Identity) (string, store.APIToken, error) {
	if err := within(t.Role, t.Scopes, by); err != nil {
		return "", t, err
	}
	var ttl time.Duration
	if !t.Expires.IsZero() {
		ttl = t.Expires.Sub(t.Created)
	}
	secret, err := a.freshSecret(&t, ttl)
	if err != nil {
		return "", t, err
	}
	t.LastUsed = time.Time{}
	return secret, t, a.cfg.Store.RotateAPIToken(ctx, t)
}

// Token returns whom a bearer token stands for, or ErrDenied.
func (a *Auth) Token(ctx context.Context, secret string) (Identity, error) {
	return a.token(ctx, secret, true)
}

// PeekToken is Token without counting as a use.
func (a *Auth) PeekToken(ctx context.Context, secret string) (Identity, error) {
	return a.token(ctx, secret, false)
}

func (a *Auth) token(ctx context.Context, secret string, use bool) (Identity, error) {
	if !strings.HasPrefix(secret, tokenPrefix) {
		return Identity{}, ErrDenied
	}
	t, err := a.cfg.Store.APITokenByHash(ctx, hashSecret(secret))
	if err != nil {
		return Identity{}, denied(err)
	}
	now := a.cfg.Now()
	if !a.active(t.Tenant) || !t.Expires.IsZero() && !now.Before(t.Expires) {
		return Identity{}, ErrDenied
	}
	id := Identity{Tenant: t.Tenant, TenantName: a.tenantName(t.Tenant), Role: t.Role, Kind: "token", ID: t.ID, Name: t.Name, Expires: t.Expires, Scopes: t.Scopes, UserID: t.UserID}
	if t.UserID != "" {
		owner, err := a.cfg.Store.UserByID(ctx, t.Tenant, t.UserID)
		if err != nil {
			return Identity{}, denied(err)
		}
		if owner.Disabled {
			return Identity{}, ErrDenied
		}
		id.OwnerRole = owner.Role
	}
	if use && now.Sub(t.LastUsed) >= touchEvery {
		if err := a.cfg.Store.TouchAPIToken(ctx, t.ID, now); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
}

// Tokens lists the API tokens, those of one user when one is named; their secrets are not among it.
func (a *Auth) Tokens(ctx context.Context, tenant, userID string) ([]store.APIToken, error) {
	list, err := a.cfg.Store.ListAPITokens(ctx, tenant)
	return slices.DeleteFunc(list, func(t store.APIToken) bool { return userID != "" && t.UserID != userID }), err
}

// TokenOf returns an API token; store.ErrNotFound when userID is given and it is not theirs.
func (a *Auth) TokenOf(ctx context.Context, tenant, userID, id string) (store.APIToken, error) {
	t, err := a.cfg.Store.APIToken(ctx, tenant, id)
	if err == nil && userID != "" && t.UserID != userID {
		return store.APIToken{}, store.ErrNotFound
	}
	return t, err
}

// RevokeToken ends an API token at once.
func (a *Auth) RevokeToken(ctx context.Context, tenant, id string) error {
	return a.cfg.Store.DeleteAPIToken(ctx, tenant, id)
}
