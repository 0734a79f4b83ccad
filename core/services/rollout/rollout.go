// Package rollout brings another version of a plugin to agents: to some first, to the rest once those have done well for
// a while. What goes wrong on more agents than somebody allowed ends it and brings every agent back to what it had. In
// go a wish, what agents report, and the time; out come versions of single agents, which the store keeps together with
// the rollout, so that it goes on where it was after a crash. It also keeps plugins up to date by their policies. A
// version that asks for more than was granted waits for a person, always.
package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// Store keeps rollouts and policies; store.Control is one.
type Store interface {
	PutRollout(ctx context.Context, r store.Rollout, changes []store.VersionChange, settled []store.Settled) error
	RolloutByID(ctx context.Context, tenant, id string) (store.Rollout, error)
	OpenRollouts(ctx context.Context, tenant string) ([]store.Rollout, error)
	UpdatePolicies(ctx context.Context, tenant string) ([]store.UpdatePolicy, error)
	NoteUpdatePolicy(ctx context.Context, p store.UpdatePolicy) error
}

// Catalogue knows plugins and what agents run of them; catalogue.Catalogue is one.
type Catalogue interface {
	FindRelease(ctx context.Context, id, version string) (*client.Verified, error)
	Suit(ctx context.Context, row store.Assignment, v *client.Verified, more catalogue.Grants) (grants json.RawMessage, missing []sdk.Permission, err error)
	Observe(ctx context.Context, id string) ([]catalogue.Observed, error)
	ObserveConfig(ctx context.Context, target string, staged int64) (seen []catalogue.Observed, newest int64, err error)
	ServerRows(ctx context.Context, id string) ([]store.Assignment, error)
	Offered(ctx context.Context, id string) ([]catalogue.OfferedRelease, error)
	Upgrade(ctx context.Context, id, instance, version, by string) error
}

// Auditor writes down what happened; audit.Log is one.
type Auditor interface {
	Record(ctx context.Context, e audit.Entry) error
}

// Config of a Service. Every and PolicyEvery have defaults.
type Config struct {
	Tenant      string
	Store       Store
	Catalogue   Catalogue
	Audit       Auditor
	Changed     func(plugin, rollout string)
	Every       time.Duration // how often rollouts are looked at
	PolicyEvery time.Duration // how often policies are
	Patience    time.Duration // how long an agent that is there may take to run the version
	Now         func() time.Time
	Log         *slog.Logger
}

// Service is safe for concurrent use.
type Service struct {
	cfg   Config
	soon  chan struct{} // something changed: look now
	asked chan struct{} // look at the policies as well

	mu sync.Mutex // one change of a rollout at a time
}

// The defaults of Config.
const (
	every       = 2 * time.Second
	policyEvery = time.Hour
	patience    = 10 * time.Minute
)

// New returns a service. Nothing happens before Run.
func New(cfg Config) *Service {
	if cfg.Every == 0 {
		cfg.Every = every
	}
	if cfg.PolicyEvery == 0 {
		cfg.PolicyEvery = policyEvery
	}
	if cfg.Patience == 0 {
		cfg.Patience = patience
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, soon: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
}

// Run moves rollouts along and keeps plugins up to date until ctx ends.
func (s *Service) Run(ctx context.Context) {
	next := s.cfg.Now() // of the policies
	for {
		if err := s.Look(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("look after rollouts", "error", err)
		}
		select {
		case <-s.asked:
			next = s.cfg.Now()
		default:
		}
		if now := s.cfg.Now(); !now.Before(next) {
			next = now.Add(s.cfg.PolicyEvery)
			s.Update(ctx)
		}
		select {
		case <-s.soon:
		case <-time.After(s.cfg.Every):
		case <-ctx.Done():
			return
		}
	}
}

// Look moves every open rollout as far as it can go now.
func (s *Service) Look(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	open, err := s.cfg.Store.OpenRollouts(ctx, s.cfg.Tenant)
	if err != nil {
		return err
	}
	var failed error
	for _, r := range open {
		failed = errors.Join(failed, s.advance(ctx, r))
	}
	return failed
}

func (s *Service) advance(ctx context.Context, r store.Rollout) error {
	m, err := s.observe(ctx, r)
	if err != nil {
		return err
	}
	before := r.State
	if !m.step() {
		return nil
	}
	if err := s.put(ctx, m); err != nil {
		return err
	}
	if m.r.State != before {
		s.note(ctx, "system", m.r, before)
		s.Consider()
	}
	return nil
}

// observe looks at what agents have of what a rollout brings.
func (s *Service) observe(ctx context.Context, r store.Rollout) (*move, error) {
	if r.Target == "" {
		seen, err := s.cfg.Catalogue.Observe(ctx, r.Plugin)
		return newMove(r, seen, s.cfg.Now(), s.cfg.Patience), err
	}
	staged, err := strconv.ParseInt(r.Version, 10, 64)
	if err != nil {
		return nil, err
	}
	seen, newest, err := s.cfg.Catalogue.ObserveConfig(ctx, r.Target, staged)
	m := newMove(r, seen, s.cfg.Now(), s.cfg.Patience)
	m.outdated = newest > staged
	return m, err
}

func (s *Service) put(ctx context.Context, m *move) error {
	m.r.Updated = s.cfg.Now()
	if err := s.cfg.Store.PutRollout(ctx, m.r, m.changes, m.settled); err != nil {
		return err
	}
	s.changed(m.r.Plugin, m.r.ID)
	return nil
}

func (s *Service) changed(plugin, rollout string) {
	if s.cfg.Changed != nil {
		s.cfg.Changed(plugin, rollout)
	}
}

// note writes down that a rollout is in another state.
func (s *Service) note(ctx context.Context, actor string, r store.Rollout, before string) {
	e := audit.Entry{Tenant: s.cfg.Tenant, Actor: actor, Action: "rollout." + strings.ReplaceAll(r.State, " ", "-"), Object: "rollout:" + r.ID,
		Detail: strings.TrimSuffix(fmt.Sprintf("%s %s, was %s: %s", what(r), r.Version, before, r.Reason), ": ")}
	if r.State == store.RolloutHalted {
		e.Outcome = audit.Failed
	}
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		s.cfg.Log.Error("audit", "action", e.Action, "error", err)
	}
}

// what a rollout brings another version of.
func what(r store.Rollout) string {
	if r.Target != "" {
		return "configuration of " + r.Target
	}
	return r.Plugin
}

func (s *Service) wake() { ring(s.soon) }

// Consider has the policies looked at now rather than at their time: one was set, a registry has news, or a rollout went
// on, so what a policy waits for may be another thing.
func (s *Service) Consider() {
	ring(s.asked)
	s.wake()
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Create begins a rollout.
func (s *Service) Create(ctx context.Context, r store.Rollout, more catalogue.Grants) (store.Rollout, error) {
	if r.Group == "" {
		r.Group = store.GroupAll
	}
	r.Tenant = s.cfg.Tenant
	v, err := s.cfg.Catalogue.FindRelease(ctx, r.Plugin, r.Version)
	if err != nil {
		return r, err
	}
	r.Version = v.Version
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := s.cfg.Catalogue.Observe(ctx, r.Plugin)
	if err != nil {
		return r, err
	}
	seen = inGroup(seen, r.Group)
	if len(seen) == 0 {
		return r, wrong("body.group", "no agent of the group %s runs %s", r.Group, r.Plugin)
	}
	r.Nodes = chosen(seen, r)
	if len(r.Nodes) == 0 {
		return r, wrong("body.version", "every agent of the group %s runs %s already", r.Group, r.Version)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return r, err
	}
	r.ID, r.Created, r.State = id.String(), s.cfg.Now(), store.RolloutCanary
	if err := s.suit(ctx, &r, seen, v, more); err != nil {
		return r, err
	}
	m := newMove(r, seen, s.cfg.Now(), s.cfg.Patience)
	m.step()
	if err := s.put(ctx, m); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return r, wrong("body.plugin", "a rollout of %s is under way: wait for its end, or halt it", r.Plugin)
		}
		return r, err
	}
	s.wake()
	return m.r, nil
}

// CreateConfig begins to bring the staged version of a target's configuration to the agents that it is for.
func (s *Service) CreateConfig(ctx context.Context, r store.Rollout) (store.Rollout, error) {
	r.Tenant, r.Group = s.cfg.Tenant, store.GroupAll
	if _, group := store.NodeOf(r.Target); group != "" && strings.HasPrefix(r.Target, "group:") {
		r.Group = group
	}
	id, err := uuid.NewV7()
	if err != nil {
		return r, err
	}
	r.ID, r.Created, r.State = id.String(), s.cfg.Now(), store.RolloutCanary
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.observe(ctx, r)
	if err != nil {
		return r, err
	}
	if len(m.all) == 0 {
		return r, wrong("path.target", "no machine is in there: change it at once, without a rollout")
	}
	m.r.Nodes = chosen(m.all, m.r)
	m.step()
	if err := s.put(ctx, m); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return r, wrong("body.rollout", "a change of this configuration is being rolled out: wait for its end, or halt it")
		}
		return r, err
	}
	s.wake()
	return m.r, nil
}

// suit works out the grants that the version runs with on each agent. Where it asks for more than was granted, the
// rollout waits for somebody who grants it.
func (s *Service) suit(ctx context.Context, r *store.Rollout, seen []catalogue.Observed, v *client.Verified, more catalogue.Grants) error {
	missing := map[string]bool{}
	r.Reason = ""
	for _, o := range seen {
		grants, lacks, err := s.cfg.Catalogue.Suit(ctx, o.Row, v, more)
		if err != nil {
			return err
		}
		for _, p := range lacks {
			missing[fmt.Sprintf("%s (%s)", p, p.Reason)] = true
		}
		for i := range r.Nodes {
			if r.Nodes[i].ID == o.Agent.ID {
				r.Nodes[i].ToGrants = grants
			}
		}
	}
	if len(missing) > 0 {
		r.State, r.Reason = store.RolloutWaiting, fmt.Sprintf("%s %s asks for more than was granted: %s", r.Plugin, r.Version, joined(missing))
	}
	return nil
}

// Pause holds a rollout where it is. What fails meanwhile still halts it.
func (s *Service) Pause(ctx context.Context, id, by string) (store.Rollout, error) {
	return s.change(ctx, id, by, func(m *move) error {
		if m.r.State != store.RolloutCanary && m.r.State != store.RolloutRolling {
			return wrong("path", "a rollout that is %s cannot be paused", m.r.State)
		}
		m.r.Held, m.r.State, m.r.Reason = m.r.State, store.RolloutPaused, "paused by "+by
		return nil
	})
}

// Resume goes on with a rollout that was paused, or that waits for grants.
func (s *Service) Resume(ctx context.Context, id, by string, more catalogue.Grants) (store.Rollout, error) {
	return s.change(ctx, id, by, func(m *move) error {
		switch m.r.State {
		case store.RolloutPaused:
			m.r.State, m.r.Held, m.r.Reason, m.r.WellSince = m.r.Held, "", "", time.Time{}
			return nil
		case store.RolloutWaiting:
			v, err := s.cfg.Catalogue.FindRelease(ctx, m.r.Plugin, m.r.Version)
			if err != nil {
				return err
			}
			m.r.State = store.RolloutCanary
			seen := inGroup(m.all, m.r.Group)
			m.r.Nodes = chosen(seen, m.r) // it may have waited for long: what agents have now is what they go back to
			if err := s.suit(ctx, &m.r, seen, v, more); err != nil {
				return err
			}
			if m.r.State == store.RolloutWaiting {
				return wrong("body.grants", "%s", m.r.Reason)
			}
			return nil
		}
		return wrong("path", "a rollout that is %s does not wait for anybody", m.r.State)
	})
}

// Halt stops a rollout and brings every agent back to what it had.
func (s *Service) Halt(ctx context.Context, id, by string) (store.Rollout, error) {
	return s.change(ctx, id, by, func(m *move) error {
		if m.r.State == store.RolloutHalted {
			return wrong("path", "it is halted already")
		}
		m.halt("halted by " + by)
		return nil
	})
}

// Finish lets all others have the version without waiting for the canaries any longer.
func (s *Service) Finish(ctx context.Context, id, by string) (store.Rollout, error) {
	return s.change(ctx, id, by, func(m *move) error {
		held := m.r.State == store.RolloutPaused && m.r.Held == store.RolloutCanary
		if m.r.State != store.RolloutCanary && !held {
			return wrong("path", "a rollout that is %s has no canaries to wait for", m.r.State)
		}
		m.r.State, m.r.Held, m.r.Reason = store.RolloutRolling, "", "finished by "+by
		return nil
	})
}

// change does something with an open rollout, and lets it go on from there.
func (s *Service) change(ctx context.Context, id, by string, do func(*move) error) (store.Rollout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.cfg.Store.RolloutByID(ctx, s.cfg.Tenant, id)
	if err != nil {
		return r, err
	}
	if !r.Open() {
		return r, wrong("path", "the rollout has ended: it is %s", r.State)
	}
	m, err := s.observe(ctx, r)
	if err != nil {
		return r, err
	}
	before := r.State
	if err := do(m); err != nil {
		return r, err
	}
	m.step()
	if err := s.put(ctx, m); err != nil {
		return r, err
	}
	s.note(ctx, by, m.r, before)
	s.Consider()
	return m.r, nil
}

func wrong(where, format string, args ...any) error {
	return &catalogue.InvalidError{Fields: []catalogue.Field{{Location: where, Message: fmt.Sprintf(format, args...)}}}
}
