// Package auth knows who may come in. Passwords, session secrets, API tokens and one-time links go in; an Identity with
// a role, or one error that tells a stranger nothing, comes out. Secrets are random, shown once and stored as hashes;
// passwords are stored as argon2id.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Roles, from the one that may do everything to the one that may look at what is public.
const (
	RoleADM = "ADM"
	RoleIT  = "IT"
	RoleSUP = "SUP"
	RolePUB = "PUB"
)

// ValidRole reports whether there is such a role.
func ValidRole(role string) bool {
	return role == RoleADM || role == RoleIT || role == RoleSUP || role == RolePUB
}

// What a caller decides by.
var (
	// ErrDenied is the one answer to every wrong secret, so that nobody learns which part was wrong.
	ErrDenied = errors.New("wrong user name or password, or the link or token is no longer valid")
	// ErrLinkSpent is the answer to every sign-in link that opens nothing.
	ErrLinkSpent = errors.New("this link was used already or is older than 15 minutes: start picketd again for a new one")
	// ErrSetupDone says that there is a user already.
	ErrSetupDone = errors.New("this server has been set up already; sign in instead")
	// ErrBusy says that too many passwords are being checked at once.
	ErrBusy = errors.New("too many sign-ins at once, try again in a moment")
)

// LockedError says that this user has failed too often from this address.
type LockedError struct{ RetryAfter time.Duration }

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many failed sign-ins, try again in %s", e.RetryAfter.Round(time.Second))
}

// InputError says what is wrong with a user name, a password or a role that somebody chose.
type InputError struct{ Field, Message string }

func (e *InputError) Error() string { return e.Field + ": " + e.Message }

// Store keeps users, sessions and tokens.
type Store interface {
	CreateUser(ctx context.Context, u store.User) error
	CreateFirstUser(ctx context.Context, setupHash []byte, u store.User) (store.User, error)
	UserByName(ctx context.Context, tenant, username string) (store.User, error)
	UserByID(ctx context.Context, tenant, id string) (store.User, error)
	ListUsers(ctx context.Context, tenant string) ([]store.User, error)
	CountAdministrators(ctx context.Context, tenant string) (int, error)
	SetUserDisabled(ctx context.Context, tenant, id string, disabled bool) error
	SetPasswordHash(ctx context.Context, tenant, id, hash string) error
	CreateSession(ctx context.Context, s store.Session) error
	SessionByHash(ctx context.Context, hash []byte) (store.Session, error)
	TouchSession(ctx context.Context, id string, at time.Time) error
	DeleteSession(ctx context.Context, id string) error
	DeleteUserSessions(ctx context.Context, tenant, userID string) error
	CreateAPIToken(ctx context.Context, t store.APIToken) error
	APITokenByHash(ctx context.Context, hash []byte) (store.APIToken, error)
	TouchAPIToken(ctx context.Context, id string, at time.Time) error
	ListAPITokens(ctx context.Context, tenant string) ([]store.APIToken, error)
	DeleteAPIToken(ctx context.Context, tenant, id string) error
	CreateOneTimeToken(ctx context.Context, t store.OneTimeToken) error
	SpendOneTimeToken(ctx context.Context, hash []byte, purpose string) (store.OneTimeToken, error)
}

// Config of an Auth. Zero values mean the defaults.
type Config struct {
	Store    Store
	Tenant   string        // default store.DefaultTenant
	Idle     time.Duration // a session ends after so long without use; default 12 h
	Absolute time.Duration // and after so long in any case; default 7 days
	SetupTTL time.Duration // life of a set-up link; default 24 h
	SignTTL  time.Duration // life of a sign-in link; default 15 min
	Hashers  int           // passwords checked at once; default 2
	Now      func() time.Time
	Rand     io.Reader

	cost cost // tests make it cheap
}

// Auth answers who somebody is. It is safe for concurrent use.
type Auth struct {
	cfg     Config
	hasher  *hasher
	lockout *lockout
}

// New returns an Auth over cfg.Store.
func New(cfg Config) (*Auth, error) {
	if cfg.Store == nil {
		return nil, errors.New("auth: no store")
	}
	if cfg.Tenant == "" {
		cfg.Tenant = store.DefaultTenant
	}
	orDuration(&cfg.Idle, 12*time.Hour)
	orDuration(&cfg.Absolute, 7*24*time.Hour)
	orDuration(&cfg.SetupTTL, 24*time.Hour)
	orDuration(&cfg.SignTTL, 15*time.Minute)
	if cfg.Hashers <= 0 {
		cfg.Hashers = 2
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.cost == (cost{}) {
		cfg.cost = usualCost
	}
	h, err := newHasher(cfg.Hashers, cfg.Rand, cfg.cost)
	if err != nil {
		return nil, err
	}
	return &Auth{cfg: cfg, hasher: h, lockout: newLockout(cfg.Now)}, nil
}

func orDuration(d *time.Duration, fallback time.Duration) {
	if *d <= 0 {
		*d = fallback
	}
}

// Client is where a sign-in comes from.
type Client struct{ Address, UserAgent string }

// Identity is somebody who may come in.
type Identity struct {
	Tenant, Role string
	Kind         string // "session" or "token"
	ID           string // of the session or token
	UserID       string // of a session
	Name         string // user name, or the token's name
	CSRF         string // of a session: what X-Picket-CSRF must carry
	Expires      time.Time
}

// Actor names the identity for the audit log.
func (i Identity) Actor() string {
	if i.Kind == "token" {
		return "token:" + i.Name
	}
	return "user:" + i.Name
}

// secret returns 256 random bits as text.
func (a *Auth) secret() (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(a.cfg.Rand, raw); err != nil {
		return "", fmt.Errorf("make secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// hashSecret is how a random secret is stored. It has 256 bits, so one round of SHA-256 is enough.
func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// csrf derives the second cookie from the session's secret, so that it needs no storage and dies with the session.
func csrf(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("picket csrf"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	return id.String(), nil
}
