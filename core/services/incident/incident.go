// Package incident puts alerts together that belong together. In go alerts as the store has them, new or different; out
// come incidents: who attacked whom, how far it went, and a risk whose arithmetic is written down. What belongs together
// is decided by pairs of alerts alone, so that the order in which they arrive does not matter.
package incident

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Window is how long after an alert another one may begin and still belong to it.
const Window = 24 * time.Hour

// Store keeps incidents; store.Control is one.
type Store interface {
	GroupAlerts(ctx context.Context, limit int, rules store.IncidentRules) (changed []store.Incident, looked int, err error)
	SetIncidentState(ctx context.Context, tenant, id, state, by string) (store.Incident, error)
	AssignIncident(ctx context.Context, tenant, id, owner string) (store.Incident, error)
	IncidentByID(ctx context.Context, tenant, id string) (store.Incident, error)
	AddFeedback(ctx context.Context, f store.Feedback) (store.Feedback, error)
	TakeFeedbackBack(ctx context.Context, tenant, id string) (store.Feedback, error)
	AccountSearches(ctx context.Context, limit int) ([]store.AccountSearch, error)
	EndAccountSearch(ctx context.Context, s store.AccountSearch, found []store.Account, later time.Time) (news bool, err error)
}

// Config of a Service. Harmless and Logins may be nil, all else is required.
type Config struct {
	Store Store
	// Logins returns a page of the logins that were recorded, with which the accounts behind alerts are found; store.Flows.LookUpFacts does.
	Logins  func(ctx context.Context, q store.FactQuery) (store.FactPage, error)
	Changed func(store.Incident)
	// Harmless names the list of well-known harmless hosts that a host is on, "" for none.
	Harmless func(host string) string
	Log      *slog.Logger
}

// Service is safe for concurrent use.
type Service struct {
	cfg   Config
	rules Rules
	soon  chan struct{}
	names chan struct{} // as soon, for the search for accounts
	mu    sync.Mutex    // one settling at a time, so that changes are told in their order
}

// batch is how many alerts are looked at in one transaction, so that others can write in between.
const batch = 500

// again is when settling is tried once more after the store failed.
const again = 10 * time.Second

// longestRest is how much later than its alert an incident may be, beside the time it takes.
const longestRest = 2 * time.Second

// New returns a service. Alerts are grouped by Run and Settle.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, rules: Rules{Window: Window, Harmless: cfg.Harmless}, soon: make(chan struct{}, 1), names: make(chan struct{}, 1)}
}

// Wake says that alerts have changed. It never waits.
func (s *Service) Wake() {
	wake(s.soon)
	wake(s.names)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run groups alerts as they change, first those that an earlier run left, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-s.soon:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		if err := s.Settle(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("alerts could not be put into incidents; they will be", "error", err)
			retry.Reset(again)
		}
		if !rest(ctx, time.Since(began)) {
			return
		}
	}
}

// rest lets alerts come together: an incident of a thousand is described anew for many of them at once, not for each.
func rest(ctx context.Context, worked time.Duration) bool {
	select {
	case <-time.After(min(4*worked, longestRest)):
		return true
	case <-ctx.Done():
		return false
	}
}

// Settle looks at all alerts that have changed and returns when their incidents are up to date.
func (s *Service) Settle(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		changed, looked, err := s.cfg.Store.GroupAlerts(ctx, batch, s.rules)
		if err != nil {
			return err
		}
		for _, i := range changed {
			s.cfg.Changed(i)
		}
		if looked < batch {
			return nil
		}
	}
}

// Move acknowledges, closes or opens an incident again.
func (s *Service) Move(ctx context.Context, tenant, id, state, by string) (store.Incident, error) {
	return s.told(s.cfg.Store.SetIncidentState(ctx, tenant, id, state, by))
}

// Assign says who looks after an incident, "" for nobody.
func (s *Service) Assign(ctx context.Context, tenant, id, owner string) (store.Incident, error) {
	return s.told(s.cfg.Store.AssignIncident(ctx, tenant, id, owner))
}

func (s *Service) told(i store.Incident, err error) (store.Incident, error) {
	if err == nil {
		s.cfg.Changed(i)
	}
	return i, err
}

// Judge keeps what somebody says of an alert or an incident of their tenant. The incident is weighed anew before it returns.
func (s *Service) Judge(ctx context.Context, f store.Feedback) (store.Feedback, error) {
	if f.AlertID == "" {
		i, err := s.cfg.Store.IncidentByID(ctx, f.Tenant, f.IncidentID)
		if err != nil {
			return f, err
		}
		f.IncidentID = i.ID
	}
	f, err := s.cfg.Store.AddFeedback(ctx, f)
	if err != nil {
		return f, err
	}
	return f, s.Settle(ctx)
}

// TakeBack forgets what somebody said.
func (s *Service) TakeBack(ctx context.Context, tenant, id string) (store.Feedback, error) {
	f, err := s.cfg.Store.TakeFeedbackBack(ctx, tenant, id)
	if err != nil {
		return f, err
	}
	return f, s.Settle(ctx)
}
