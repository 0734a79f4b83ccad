// Package agents looks after the nodes that report to this server: it lets them in with a one-time token, checks each
// of their requests (bearer token and signature, nothing replayed), knows which are online, and tells each which
// plugins it should run. Refusals are audited and say to the agent only that it is refused.
package agents

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

// States of an agent as pages show them.
const (
	Online  = "online"
	Late    = "late"
	Offline = "offline"
)

// Store keeps agents and what they should run.
type Store interface {
	CreateEnrolmentToken(ctx context.Context, t store.EnrolmentToken) error
	EnrolAgent(ctx context.Context, tokenHash []byte, a store.Agent) (store.Agent, error)
	KnownAgent(ctx context.Context, id string) (store.Agent, error)
	Active(tenant string) bool // a tenant is let in
	CountAgents(ctx context.Context, tenant string, since time.Time) (all, heard int, err error)
	CountByGroup(ctx context.Context, tenant string, late, lost time.Time) (map[string]store.AgentCounts, error)
	AgentTotal(tenant string) int
	FlushContacts(ctx context.Context) error
	TouchAgent(ctx context.Context, id, address string, at time.Time) error
	SetAgentStatus(ctx context.Context, id, version string, status json.RawMessage, at time.Time) error
	NodeAssignments(ctx context.Context, tenant, nodeType, nodeID string) ([]store.Assignment, error)
	WatchConfig() <-chan struct{}
	ReplayFloor(ctx context.Context) (time.Time, error)
	SetReplayFloor(ctx context.Context, at time.Time) error
	RememberNonce(ctx context.Context, keyID, nonce string, created, expires time.Time) (bool, error)
	Nonces(ctx context.Context) ([]store.Nonce, error)
	PruneNonces(ctx context.Context, before time.Time) (int, error)
}

// Auditor writes down refusals and enrolments.
type Auditor interface {
	Record(ctx context.Context, e audit.Entry) error
}

// Config of the Agents. Zero values mean the defaults.
type Config struct {
	Store      Store
	Audit      Auditor
	CommandKey ed25519.PublicKey // handed to agents at enrolment
	Window     time.Duration     // see signing.Verifier
	LateAfter  time.Duration     // default 90 s
	LostAfter  time.Duration     // default 5 min
	TokenTTL   time.Duration     // default 1 h
	Now        func() time.Time
	Rand       io.Reader
	Log        *slog.Logger
}

// Agents is safe for concurrent use.
type Agents struct {
	cfg      Config
	verifier signing.Verifier
	replays  replays

	// Strangers must not be able to fill the disk by being refused: beyond some a second, refusals are only counted,
	// and the next entry says how many.
	refusals   *rate.Limiter
	suppressed atomic.Uint64
}

const (
	refusalsPerSecond = 10
	refusalBurst      = 200
)

// New returns the Agents over cfg.Store.
func New(cfg Config) (*Agents, error) {
	if cfg.Store == nil || cfg.Audit == nil || len(cfg.CommandKey) != ed25519.PublicKeySize {
		return nil, errors.New("agents: store, audit and command key are needed")
	}
	orDuration(&cfg.LateAfter, 90*time.Second)
	orDuration(&cfg.LostAfter, 5*time.Minute)
	orDuration(&cfg.TokenTTL, time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	orDuration(&cfg.Window, signing.DefaultWindow)
	return &Agents{cfg: cfg, verifier: signing.Verifier{Window: cfg.Window}, replays: replays{store: cfg.Store, window: cfg.Window},
		refusals: rate.NewLimiter(refusalsPerSecond, refusalBurst)}, nil
}

func orDuration(d *time.Duration, fallback time.Duration) {
	if *d <= 0 {
		*d = fallback
	}
}

// State says how fresh an agent is.
func (a *Agents) State(x store.Agent) string {
	switch quiet := a.cfg.Now().Sub(x.LastSeen); {
	case x.LastSeen.IsZero() || quiet > a.cfg.LostAfter:
		return Offline
	case quiet > a.cfg.LateAfter:
		return Late
	}
	return Online
}

// Report stores what an agent says of itself. version is the agent's program version.
func (a *Agents) Report(ctx context.Context, agentID, version string, status json.RawMessage) error {
	return a.cfg.Store.SetAgentStatus(ctx, agentID, version, status, a.cfg.Now())
}

// Count says how many agents a tenant has, and how many of them are online.
func (a *Agents) Count(ctx context.Context, tenant string) (all, online int, err error) {
	return a.cfg.Store.CountAgents(ctx, tenant, a.cfg.Now().Add(-a.cfg.LateAfter))
}

// CountByGroup says how many agents of each group, and of all, are online, late and offline.
func (a *Agents) CountByGroup(ctx context.Context, tenant string) (map[string]store.AgentCounts, error) {
	now := a.cfg.Now()
	return a.cfg.Store.CountByGroup(ctx, tenant, now.Add(-a.cfg.LateAfter), now.Add(-a.cfg.LostAfter))
}

// Total says how many agents a tenant has. Each report asks for it.
func (a *Agents) Total(tenant string) int { return a.cfg.Store.AgentTotal(tenant) }

// flushEvery is how often what agents say of themselves is written. A crash forgets that much of it.
const flushEvery = 10 * time.Second

// Run writes what agents say of themselves and forgets nonces that can no longer be replayed, until ctx ends. Then no agent is
// let in any more.
func (a *Agents) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		if _, err := a.cfg.Store.PruneNonces(ctx, a.cfg.Now()); err != nil && ctx.Err() == nil {
			a.cfg.Log.Warn("prune nonces", "error", err)
		}
		if err := a.cfg.Store.FlushContacts(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Log.Warn("write what agents say", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := a.replays.end(context.WithoutCancel(ctx)); err != nil {
				a.cfg.Log.Warn("write until when requests were taken", "error", err)
			}
			return
		}
	}
}

func (a *Agents) secret() (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(a.cfg.Rand, raw); err != nil {
		return "", fmt.Errorf("make secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
