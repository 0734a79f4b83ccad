package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Ways in which a session is opened.
const (
	methodPassword = "password"
	methodCode     = "totp"
	methodRecovery = "recovery"
	methodPasskey  = "passkey"
	methodLink     = "link"   // made by who owns the machine
	methodInvite   = "invite" // made by an administrator
	methodSetup    = "setup"
	methodOIDC     = "oidc"
)

// ErrStale says that somebody must prove again who they are.
var ErrStale = errors.New("prove again that it is you: this is too dangerous for a session that was left open")

// FactorError says that the password was right and a second factor must follow.
type FactorError struct {
	Challenge string
	Kinds     []string // "totp", "passkey", "recovery"
}

func (e *FactorError) Error() string { return "a second factor must follow" }

// Policy is what administrators ask of people who sign in.
type Policy struct {
	SecondFactor []string      `json:"second_factor"` // roles that must have one
	Fresh        time.Duration `json:"fresh"`         // how long a proof is good for what is dangerous
}

const (
	policySetting = "identity.policy"
	usualFresh    = 10 * time.Minute
	longestFresh  = 24 * time.Hour
)

// Needs reports whether a role must have a second factor.
func (p Policy) Needs(role string) bool { return slices.Contains(p.SecondFactor, role) }

// Policy returns what is asked of people who sign in, of whatever tenant.
func (a *Auth) Policy(ctx context.Context) (Policy, error) {
	p := Policy{SecondFactor: []string{}, Fresh: usualFresh}
	text, err := a.cfg.Store.Setting(ctx, store.DefaultTenant, policySetting)
	if err != nil || text == "" {
		return p, err
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return p, fmt.Errorf("read policy: %w", err)
	}
	return p, nil
}

// SetPolicy changes what is asked of people who sign in.
func (a *Auth) SetPolicy(ctx context.Context, p Policy) error {
	for _, role := range p.SecondFactor {
		if !ValidRole(role) {
			return &InputError{"second_factor", "there is no role " + role}
		}
	}
	if p.Fresh < time.Minute || p.Fresh > longestFresh {
		return &InputError{"fresh", "must be between 1m and 24h"}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("keep policy: %w", err)
	}
	return a.cfg.Store.PutSetting(ctx, store.DefaultTenant, policySetting, string(text))
}

// mustEnrol reports whether the session's owner may do nothing before they have a second factor.
func (a *Auth) mustEnrol(ctx context.Context, u store.User, s store.Session) (bool, error) {
	if s.Method == methodLink || s.Method == methodOIDC {
		return false, nil // the machine's owner; another place that asks for factors of its own
	}
	policy, err := a.Policy(ctx)
	if err != nil || !policy.Needs(u.Role) {
		return false, err
	}
	has, err := a.cfg.Store.HasFactor(ctx, u.Tenant, u.ID)
	return !has, err
}

// Proofs are the ways in which somebody can prove again who they are; none for who came by a link of the machine's owner
// and has neither password nor factor.
func (a *Auth) Proofs(ctx context.Context, who Identity) ([]string, error) {
	out := []string{}
	factors, err := a.confirmed(ctx, who.Tenant, who.UserID)
	if err != nil {
		return nil, err
	}
	for _, f := range factors {
		if !slices.Contains(out, f.Kind) {
			out = append(out, f.Kind)
		}
	}
	u, err := a.cfg.Store.UserByID(ctx, who.Tenant, who.UserID)
	if err != nil {
		return nil, denied(err)
	}
	if len(out) == 0 && u.PasswordHash != "" {
		out = append(out, methodPassword)
	}
	if len(out) == 0 && who.Method == methodOIDC {
		out = append(out, methodOIDC)
	}
	return out, nil
}

// Fresh returns nil when somebody may do what is dangerous now, ErrStale when they must prove first who they are. A token
// proves with each request what it is.
func (a *Auth) Fresh(ctx context.Context, who Identity) error {
	if who.Kind == "token" {
		return nil
	}
	policy, err := a.Policy(ctx)
	if err != nil {
		return err
	}
	if a.cfg.Now().Sub(who.Proved) < policy.Fresh {
		return nil
	}
	proofs, err := a.Proofs(ctx, who)
	if err == nil && (len(proofs) > 0 || who.Method != methodLink) {
		err = ErrStale
	}
	return err
}

// Prove takes a password, or a code when there is a factor: a password alone proves nothing then.
func (a *Auth) Prove(ctx context.Context, who Identity, password, code string, from Client) error {
	proofs, err := a.Proofs(ctx, who)
	if err != nil {
		return err
	}
	switch {
	case code != "":
		err = a.guessing(who.UserID, from, func() error {
			_, err := a.useAnyCode(ctx, who.Tenant, who.UserID, code)
			return err
		})
	case slices.Contains(proofs, methodPassword):
		_, err = a.check(ctx, who.Tenant, who.Name, password, from)
		if errors.Is(err, ErrDenied) {
			err = &InputError{"password", "is not your password"}
		}
	default:
		err = ErrWrongCode
	}
	if err != nil {
		return err
	}
	return a.cfg.Store.ProveSession(ctx, who.ID, a.cfg.Now())
}

// BeginProof begins to prove with a passkey who somebody is.
func (a *Auth) BeginProof(ctx context.Context, who Identity, origin string) (Ceremony, error) {
	rp, err := a.relyingParty(origin)
	if err != nil {
		return Ceremony{}, err
	}
	k, err := a.keyHolder(ctx, who.Tenant, who.UserID, who.Name)
	if err != nil {
		return Ceremony{}, err
	}
	options, session, err := rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired),
		webauthn.WithAllowedCredentials(webauthn.Credentials(k.keys).CredentialDescriptors()))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin with a passkey: %w", err)
	}
	return a.ceremony(ticketProve, who.UserID, session, options.Response)
}

// ProvePasskey takes the answer of a passkey.
func (a *Auth) ProvePasskey(ctx context.Context, who Identity, state, origin string, response []byte, from Client) error {
	if _, err := a.holder(ctx, ticketProve, who.UserID, state, origin, response, from); err != nil {
		return err
	}
	return a.cfg.Store.ProveSession(ctx, who.ID, a.cfg.Now())
}
