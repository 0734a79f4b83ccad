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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/store"
)

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
	APIToken(ctx context.Context, tenant, id string) (store.APIToken, error)
	RotateAPIToken(ctx context.Context, t store.APIToken) error
	DeleteAPIToken(ctx context.Context, tenant, id string) error
	CreateOneTimeToken(ctx context.Context, t store.OneTimeToken) error
	SpendOneTimeToken(ctx context.Context, hash []byte, purpose string) (store.OneTimeToken, error)

	SetUserRole(ctx context.Context, tenant, id, role string) error
	CreateForeignUser(ctx context.Context, u store.User, issuer, subject string) error
	ForeignUser(ctx context.Context, tenant, issuer, subject string) (store.User, error)
	IsForeign(ctx context.Context, tenant, userID string) (bool, error)
	ListSessions(ctx context.Context, tenant, userID string) ([]store.Session, error)
	EndUserSession(ctx context.Context, tenant, userID, id string) error
	EndOtherSessions(ctx context.Context, tenant, userID, keep string) (int, error)
	ProveSession(ctx context.Context, id string, at time.Time) error

	AddFactor(ctx context.Context, f store.Factor) error
	Factors(ctx context.Context, tenant, userID string) ([]store.Factor, error)
	HasFactor(ctx context.Context, tenant, userID string) (bool, error)
	FactorByCredential(ctx context.Context, credential []byte) (store.Factor, error)
	UseStep(ctx context.Context, tenant, id string, step int64, at time.Time) error
	UsePasskey(ctx context.Context, tenant, id string, body json.RawMessage, at time.Time) error
	RenameFactor(ctx context.Context, tenant, userID, id, name string) error
	DeleteFactor(ctx context.Context, tenant, userID, id string) error
	DeleteFactors(ctx context.Context, tenant, userID string) error
	PutRecoveryCodes(ctx context.Context, tenant, userID string, hashes [][]byte) error
	SpendRecoveryCode(ctx context.Context, tenant, userID string, hash []byte, at time.Time) error
	RecoveryCodesLeft(ctx context.Context, tenant, userID string) (int, error)

	TenantByID(id string) (store.Tenant, error)
	TenantByName(name string) (store.Tenant, error)

	Setting(ctx context.Context, tenant, name string) (string, error)
	PutSetting(ctx context.Context, tenant, name, value string) error
}

// Config of an Auth. Zero values mean the defaults.
type Config struct {
	Store    Store
	Idle     time.Duration // a session ends after so long without use; default 12 h
	Absolute time.Duration // and after so long in any case; default 7 days
	SetupTTL time.Duration // life of a set-up link; default 24 h
	SignTTL  time.Duration // life of a sign-in link; default 15 min
	Hashers  int           // passwords checked at once; default 2
	Origin   string        // address by which people reach this server; passkeys belong to its host. "": localhost
	OIDC     *OIDC         // where else people may sign in; nil: nowhere
	Now      func() time.Time
	Rand     io.Reader

	cost cost // tests make it cheap
}

// Auth answers who somebody is. It is safe for concurrent use.
type Auth struct {
	cfg     Config
	hasher  *hasher
	lockout *lockout
	oidc    *provider // nil: none
	// Half-done sign-ins: of people who gave a right password or have a session, and of anybody, who must not crowd them out.
	tickets, strangers *tickets
}

// New returns an Auth over cfg.Store.
func New(cfg Config) (*Auth, error) {
	if cfg.Store == nil {
		return nil, errors.New("auth: no store")
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
	p, err := newProvider(cfg.OIDC, cfg.Origin)
	if err != nil {
		return nil, err
	}
	return &Auth{cfg: cfg, hasher: h, lockout: newLockout(cfg.Now), oidc: p, tickets: newTickets(cfg.Now), strangers: newTickets(cfg.Now)}, nil
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
	TenantName   string // "" for the operator's own
	Kind         string // "session" or "token"
	ID           string // of the session or token
	UserID       string // of a session; of a token that somebody made for themselves
	Name         string // user name, or the token's name
	CSRF         string // of a session: what X-Picket-CSRF must carry
	Expires      time.Time
	Method       string    // of a session: how it was opened
	Proved       time.Time // of a session: when its owner last proved who they are
	MustEnrol    bool      // of a session: nothing but a second factor may be set up with it
	Scopes       []string  // of a token: what of the role it may; none: all of it
	OwnerRole    string    // of a token that has an owner: what they may, and no more
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
