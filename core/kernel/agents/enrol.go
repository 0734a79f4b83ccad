package agents

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/agents/token"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
)

const bearerPrefix = "pka_"

// ErrEnrolment is the one answer to a token that is unknown, used up, revoked or expired.
var ErrEnrolment = errors.New("enrolment token is not valid any more; make a new one on the server")

// InputError says what is wrong with an enrolment.
type InputError struct{ Field, Message string }

func (e *InputError) Error() string { return e.Field + ": " + e.Message }

// TokenRequest asks for an enrolment token. A TTL of 0 means the default.
type TokenRequest struct {
	Tenant, Name, CreatedBy string
	Server                  string // base URL that the agent will use
	RootSHA256              string // of the registry's root.json, hex
	TTL                     time.Duration
	MaxUses                 int // how many machines it lets in; 0 is one
	Labels                  map[string]string
	Group                   string // "": all
}

// Bounds of enrolment tokens.
const (
	maxTokenUses = 10_000
	maxTokenTTL  = 365 * 24 * time.Hour
)

func (r TokenRequest) check() error {
	if r.MaxUses < 0 || r.MaxUses > maxTokenUses {
		return &InputError{"max_uses", fmt.Sprintf("must be 1 to %d", maxTokenUses)}
	}
	if r.TTL > maxTokenTTL {
		return &InputError{"expires_in", "must be at most a year"}
	}
	return checkLabels(r.Labels)
}

// CreateToken makes an enrolment token. Its text is shown once.
func (a *Agents) CreateToken(ctx context.Context, r TokenRequest) (string, store.EnrolmentToken, error) {
	if r.Tenant == "" {
		r.Tenant = store.DefaultTenant
	}
	if r.TTL <= 0 {
		r.TTL = a.cfg.TokenTTL
	}
	if err := r.check(); err != nil {
		return "", store.EnrolmentToken{}, err
	}
	secret, err := a.secret()
	if err != nil {
		return "", store.EnrolmentToken{}, err
	}
	text := token.Enrolment{Server: r.Server, Secret: secret, RootSHA256: r.RootSHA256}.String()
	if _, err := token.Parse(text); err != nil {
		return "", store.EnrolmentToken{}, &InputError{"server", err.Error()}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", store.EnrolmentToken{}, fmt.Errorf("make id: %w", err)
	}
	now := a.cfg.Now()
	row := store.EnrolmentToken{ID: id.String(), Tenant: r.Tenant, Name: r.Name, Hash: hashSecret(secret),
		CreatedBy: r.CreatedBy, Created: now, Expires: now.Add(r.TTL), MaxUses: max(1, r.MaxUses), Labels: r.Labels, Group: r.Group}
	return text, row, a.cfg.Store.CreateEnrolmentToken(ctx, row)
}

// EnrolRequest is what a new agent says of itself.
type EnrolRequest struct {
	Token                            string // the whole text, or the secret in it
	Name, OS, Arch, Version, Address string
	PublicKey                        []byte
	Labels                           map[string]string
}

// EnrolReply is what it gets: its id, the bearer token of its requests, and the key that commands are signed with.
type EnrolReply struct {
	AgentID, Tenant, Bearer string
	CommandKey              ed25519.PublicKey
}

// Enrol spends a token and lets an agent in. The error is an *InputError, ErrEnrolment, a *store.LimitError when the tenant has as many agents as it may, or the store's.
func (a *Agents) Enrol(ctx context.Context, r EnrolRequest) (EnrolReply, error) {
	if err := checkEnrol(&r); err != nil {
		return EnrolReply{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return EnrolReply{}, fmt.Errorf("make id: %w", err)
	}
	bearer, err := a.secret()
	if err != nil {
		return EnrolReply{}, err
	}
	bearer = bearerPrefix + bearer
	now := a.cfg.Now()
	agent, err := a.cfg.Store.EnrolAgent(ctx, hashSecret(r.Token), store.Agent{ID: id.String(), Name: r.Name, OS: r.OS,
		Arch: r.Arch, Version: r.Version, Address: r.Address, PublicKey: r.PublicKey, BearerHash: hashSecret(bearer),
		Labels: r.Labels, Enrolled: now, LastSeen: now})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUsed) || errors.Is(err, store.ErrExpired) || errors.Is(err, store.ErrRevoked) || errors.Is(err, store.ErrState) {
		a.record(ctx, audit.Entry{Actor: "agent:" + r.Name, Action: "agent.enrol", Outcome: audit.Refused,
			Detail: "token " + err.Error(), Address: r.Address})
		return EnrolReply{}, ErrEnrolment
	}
	if err != nil {
		return EnrolReply{}, err
	}
	a.record(ctx, audit.Entry{Tenant: agent.Tenant, Actor: "agent:" + agent.ID, Action: "agent.enrol",
		Object: "agent:" + agent.ID, Detail: "name " + agent.Name, Address: r.Address})
	return EnrolReply{AgentID: agent.ID, Tenant: agent.Tenant, Bearer: bearer, CommandKey: a.cfg.CommandKey}, nil
}

func checkEnrol(r *EnrolRequest) error {
	if e, err := token.Parse(r.Token); err == nil {
		r.Token = e.Secret
	}
	if len(r.PublicKey) != ed25519.PublicKeySize {
		return &InputError{"public_key", "must be an Ed25519 key of 32 bytes"}
	}
	r.Name = strings.TrimSpace(r.Name)
	if r.Name == "" {
		return &InputError{"name", "must not be empty"}
	}
	for field, v := range map[string]string{"name": r.Name, "os": r.OS, "arch": r.Arch, "version": r.Version} {
		if len(v) > 200 {
			return &InputError{field, "must have at most 200 bytes"}
		}
	}
	return checkLabels(r.Labels)
}

func checkLabels(labels map[string]string) error {
	if len(labels) > 32 {
		return &InputError{"labels", "must be at most 32"}
	}
	for k, v := range labels {
		if len(k) > 100 || len(v) > 200 {
			return &InputError{"labels", "names must have at most 100 bytes, values 200"}
		}
	}
	return nil
}
