package agents

import (
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

// seenEvery keeps each request from being a write of its own; an agent's last contact is that much less exact.
const seenEvery = 10 * time.Second

// Refusal says that a request must not be acted on. Status is 401 (not proven who you are) or 403 (you may not). The
// text for the agent is Error(); the reason is for the audit log.
type Refusal struct {
	Status  int
	Reason  string // a signing.Reason, "bearer" or "disabled"
	AgentID string // claimed

	RetryAfter time.Duration // of 503
}

// Reasons to come again that are nobody's fault, with 503.
const (
	reasonRestarted = "restarted" // signed before this server's start, when nobody can say whether it was seen
	reasonStopping  = "stopping"
)

func (r *Refusal) Error() string {
	switch r.Reason {
	case reasonRestarted:
		return "the server has just been started and takes requests that are signed from now on; sign it anew"
	case reasonStopping:
		return "the server is being stopped"
	case "suspended":
		return "the operator of this server has suspended the tenant that this agent belongs to"
	case "disabled":
		return "this agent has been disabled on the server"
	case string(signing.Stale), string(signing.Future):
		return "the request's time is too far from the server's; check the agent's clock"
	case string(signing.Replayed):
		return "this request was sent before"
	}
	return "the request is not signed by an agent of this server"
}

// Authenticate says which agent sent the request. body is its whole body. A refusal is audited and returned as a
// *Refusal; any other error means that this could not be decided.
func (a *Agents) Authenticate(req *http.Request, body []byte, address string) (store.Agent, error) {
	claim, err := a.AuthenticateHeaders(req, address)
	if err != nil {
		return store.Agent{}, err
	}
	return claim.Body(body)
}

// Claim is a request of a known agent whose body was not read yet.
type Claim struct {
	agents  *Agents
	req     *http.Request
	headers signing.Headers
	agent   store.Agent
	address string
	now     time.Time
}

// AuthenticateHeaders is the part of Authenticate that needs no body: bearer token, signature, and whether the agent is
// let in. Only who passes it may have a body read.
func (a *Agents) AuthenticateHeaders(req *http.Request, address string) (*Claim, error) {
	ctx := req.Context()
	var agent store.Agent
	lookup := func(id string) (ed25519.PublicKey, error) {
		var err error
		agent, err = a.cfg.Store.KnownAgent(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil, signing.ErrUnknownKey
		}
		if err != nil {
			return nil, err
		}
		if !bearerFits(req, agent) {
			return nil, &Refusal{Status: http.StatusUnauthorized, Reason: "bearer", AgentID: id}
		}
		return agent.PublicKey, nil
	}
	now := a.cfg.Now()
	headers, err := a.verifier.VerifyHeaders(req, lookup, now)
	if err == nil && agent.Disabled {
		err = &Refusal{Status: http.StatusForbidden, Reason: "disabled", AgentID: agent.ID}
	}
	if err == nil && !a.cfg.Store.Active(agent.Tenant) {
		err = &Refusal{Status: http.StatusForbidden, Reason: "suspended", AgentID: agent.ID}
	}
	if err != nil {
		return nil, a.refused(req, agent, address, err)
	}
	return &Claim{agents: a, req: req, headers: headers, agent: agent, address: address, now: now}, nil
}

// Body ends what AuthenticateHeaders began: the body is what was signed, and was not sent before.
func (c *Claim) Body(body []byte) (store.Agent, error) {
	a, agent, address, now, ctx := c.agents, c.agent, c.address, c.now, c.req.Context()
	if err := c.headers.VerifyBody(ctx, body, guard{&a.replays, now}); err != nil {
		return store.Agent{}, a.refused(c.req, agent, address, err)
	}
	if now.Sub(agent.LastSeen) >= seenEvery || agent.Address != address {
		if err := a.cfg.Store.TouchAgent(ctx, agent.ID, address, now); err != nil {
			return store.Agent{}, fmt.Errorf("note contact of agent %s: %w", agent.ID, err)
		}
		agent.LastSeen, agent.Address = now, address
	}
	return agent, nil
}

// refused turns what went wrong into a *Refusal and audits it.
func (a *Agents) refused(req *http.Request, agent store.Agent, address string, err error) error {
	var r *Refusal
	var s *signing.Refusal
	detail := ""
	switch {
	case errors.As(err, &r):
		detail = r.Reason
	case errors.As(err, &s):
		r = &Refusal{Status: http.StatusUnauthorized, Reason: string(s.Reason), AgentID: s.KeyID}
		detail = string(s.Reason) + ": " + s.Detail
	default:
		return err
	}
	if r.Status == http.StatusServiceUnavailable {
		return r
	}
	a.record(req.Context(), audit.Entry{Tenant: agent.Tenant, Actor: "agent:" + r.AgentID, Action: "agent.request",
		Object: req.Method + " " + req.URL.Path, Outcome: audit.Refused, Detail: detail, Address: address})
	return r
}

func (a *Agents) record(ctx context.Context, e audit.Entry) {
	if e.Outcome == audit.Refused {
		if !a.refusals.AllowN(a.cfg.Now(), 1) {
			a.suppressed.Add(1)
			return
		}
		if n := a.suppressed.Swap(0); n > 0 {
			e.Detail += fmt.Sprintf(" (and %d refusals before that were not written down)", n)
		}
	}
	if err := a.cfg.Audit.Record(ctx, e); err != nil {
		a.cfg.Log.Error("audit", "action", e.Action, "error", err)
	}
}

func bearerFits(req *http.Request, agent store.Agent) bool {
	bearer, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare(hashSecret(bearer), agent.BearerHash) == 1
}
