package auth

import (
	"context"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// tokenPrefix lets people and secret scanners recognise a token.
const tokenPrefix = "picket_"

// CreateToken makes an API token and returns its secret, which nobody can see again. A ttl of 0 means that it does not
// expire.
func (a *Auth) CreateToken(ctx context.Context, name, role, createdBy string, ttl time.Duration) (string, store.APIToken, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 100 {
		return "", store.APIToken{}, &InputError{"name", "must have 1 to 100 characters"}
	}
	if !ValidRole(role) {
		return "", store.APIToken{}, &InputError{"role", "must be ADM, IT, SUP or PUB"}
	}
	if ttl < 0 {
		return "", store.APIToken{}, &InputError{"expires_in", "must not be negative"}
	}
	secret, err := a.secret()
	if err != nil {
		return "", store.APIToken{}, err
	}
	secret = tokenPrefix + secret
	id, err := newID()
	if err != nil {
		return "", store.APIToken{}, err
	}
	t := store.APIToken{ID: id, Tenant: a.cfg.Tenant, Name: name, Role: role, Hash: hashSecret(secret),
		Hint: secret[:len(tokenPrefix)+4], CreatedBy: createdBy, Created: a.cfg.Now()}
	if ttl > 0 {
		t.Expires = t.Created.Add(ttl)
	}
	return secret, t, a.cfg.Store.CreateAPIToken(ctx, t)
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
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return Identity{}, ErrDenied
	}
	if use && now.Sub(t.LastUsed) >= touchEvery {
		if err := a.cfg.Store.TouchAPIToken(ctx, t.ID, now); err != nil {
			return Identity{}, err
		}
	}
	return Identity{Tenant: t.Tenant, Role: t.Role, Kind: "token", ID: t.ID, Name: t.Name, Expires: t.Expires}, nil
}

// Tokens lists the API tokens; their secrets are not among it.
func (a *Auth) Tokens(ctx context.Context) ([]store.APIToken, error) {
	return a.cfg.Store.ListAPITokens(ctx, a.cfg.Tenant)
}

// RevokeToken ends an API token at once.
func (a *Auth) RevokeToken(ctx context.Context, id string) error {
	return a.cfg.Store.DeleteAPIToken(ctx, a.cfg.Tenant, id)
}
