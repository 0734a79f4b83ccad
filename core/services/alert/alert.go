// Package alert turns findings into alerts. Findings that say the same thing of the same hosts share a fingerprint and
// become one alert with a count; the alert has a life (firing, acknowledged, resolved) and each turn of it that people
// should hear of puts notices into the queue, in the same transaction as the change.
package alert

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/sdk"
)

// State of an alert.
type State string

const (
	Firing       State = "firing"
	Acknowledged State = "acknowledged"
	Resolved     State = "resolved"
)

// Alert is what findings with the same fingerprint have become.
type Alert struct {
	ID          string
	Fingerprint string
	State       State
	Severity    sdk.Severity
	Risk        int
	Confidence  float64
	Title       string
	Detector    string
	Rule        string
	Techniques  []string
	Src, Dst    string
	FirstSeen   time.Time
	LastSeen    time.Time
	Count       int
	Source      Source // where it was seen first
}

// Source says where a finding was made: in an uploaded capture, or in the live traffic of an agent.
type Source struct {
	Tenant  string // whose it is
	Capture string
	Agent   string
	// Of an agent: the run of its capture, within which packets and flows are numbered, and the interface.
	Run, Interface string
}

// Notice asks one notifier instance to deliver something about an alert.
type Notice struct {
	AlertID  string
	Notifier string
	Payload  sdk.Notice
}

// Recorded is what became of one finding.
type Recorded struct {
	Alert     Alert
	Duplicate bool // the finding was known; nothing changed
	Notices   int
}

// Store keeps findings and alerts, each tenant's apart.
type Store interface {
	// RecordFindings stores findings of one source, each once. merge gets the number of one and the open alert of its
	// fingerprint, nil when there is none, and says what it becomes; alerts, findings and notices are stored together or not at all.
	RecordFindings(ctx context.Context, from Source, findings []sdk.Finding, merge func(i int, open *Alert) (Alert, []Notice)) ([]Recorded, error)
	Alert(ctx context.Context, tenant, id string) (Alert, error)
	// OpenAlert is the id of the alert with a fingerprint that is not resolved; "" when there is none.
	OpenAlert(ctx context.Context, tenant, fingerprint string) (string, error)
	// LastFinding is the newest finding of an alert.
	LastFinding(ctx context.Context, tenant, id string) (sdk.Finding, error)
	SetState(ctx context.Context, tenant, id string, state State, by string, notices []Notice) (Alert, error)
	Suppressions(ctx context.Context, tenant string) ([]Suppression, error)
	// Suppress counts and keeps a finding that a suppression keeps back.
	Suppress(ctx context.Context, f sdk.Finding, from Source, suppression string) error
}

// Config is what the service needs; all fields are required.
type Config struct {
	Store     Store
	Notifiers func(tenant string) []string // the enabled notifier instances that are told of a tenant's alerts
	URL       func(alertID string) string  // the alert's page
	Changed   func(tenant string, a Alert) // an alert is new or different
	Queued    func()                       // notices wait to be delivered
	Now       func() time.Time
}

// Service merges findings and moves alerts through their life.
type Service struct{ cfg Config }

// New returns a service.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// together is how many findings are stored in one transaction, so that others can write in between.
const together = 100

// Record takes the findings of one source. A finding that is known already changes nothing, so recording again is
// harmless. What is suppressed becomes no alert; it is counted and kept where people can look at it.
func (s *Service) Record(ctx context.Context, from Source, findings []sdk.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	suppressions, err := s.cfg.Store.Suppressions(ctx, from.Tenant)
	if err != nil {
		return fmt.Errorf("read the suppressions: %w", err)
	}
	told := sync.OnceValue(func() []string { return s.cfg.Notifiers(from.Tenant) }) // who they are is asked once, not for each finding
	for part := range slices.Chunk(findings, together) {
		wanted := make([]sdk.Finding, 0, len(part))
		for _, f := range part {
			by := suppressedBy(suppressions, f, s.cfg.Now())
			if by == "" {
				wanted = append(wanted, f)
			} else if err := s.cfg.Store.Suppress(ctx, f, from, by); err != nil {
				return fmt.Errorf("suppress the finding %s of %s: %w", f.ID, f.Detector, err)
			}
		}
		list, err := s.cfg.Store.RecordFindings(ctx, from, wanted, func(i int, open *Alert) (Alert, []Notice) {
			return s.merge(open, wanted[i], from, told)
		})
		if err != nil {
			return fmt.Errorf("record %d findings: %w", len(wanted), err)
		}
		for _, rec := range list {
			if rec.Duplicate {
				continue
			}
			s.cfg.Changed(from.Tenant, rec.Alert)
			if rec.Notices > 0 {
				s.cfg.Queued()
			}
		}
	}
	return nil
}

// Acknowledge says that somebody looks after the alert.
func (s *Service) Acknowledge(ctx context.Context, tenant, id, by string) (Alert, error) {
	return s.move(ctx, tenant, id, Acknowledged, by, nil)
}

// Resolve ends the alert; the next finding with its fingerprint opens a new one.
func (s *Service) Resolve(ctx context.Context, tenant, id, by string) (Alert, error) {
	a, err := s.cfg.Store.Alert(ctx, tenant, id)
	if err != nil {
		return Alert{}, err
	}
	f, err := s.cfg.Store.LastFinding(ctx, tenant, id)
	if err != nil {
		return Alert{}, err
	}
	a.State = Resolved
	return s.move(ctx, tenant, id, Resolved, by, s.notices(a, f, "alert.resolved", func() []string { return s.cfg.Notifiers(tenant) }))
}

// Over ends the open alert of a fingerprint, if there is one: what found it says that it is over.
func (s *Service) Over(ctx context.Context, tenant, fingerprint, by string) error {
	id, err := s.cfg.Store.OpenAlert(ctx, tenant, fingerprint)
	if err != nil || id == "" {
		return err
	}
	_, err = s.Resolve(ctx, tenant, id, by)
	return err
}

func (s *Service) move(ctx context.Context, tenant, id string, to State, by string, notices []Notice) (Alert, error) {
	a, err := s.cfg.Store.SetState(ctx, tenant, id, to, by, notices)
	if err != nil {
		return Alert{}, err
	}
	s.cfg.Changed(tenant, a)
	if len(notices) > 0 {
		s.cfg.Queued()
	}
	return a, nil
}

// merge decides what an alert becomes and whether people are told: when it is new, and when it has become worse.
func (s *Service) merge(open *Alert, f sdk.Finding, from Source, notifiers func() []string) (Alert, []Notice) {
	a, tell := Merge(open, f, from)
	if !tell {
		return a, nil
	}
	return a, s.notices(a, f, "alert.firing", notifiers)
}

func (s *Service) notices(a Alert, f sdk.Finding, event string, notifiers func() []string) []Notice {
	var out []Notice
	for _, n := range notifiers() {
		out = append(out, Notice{AlertID: a.ID, Notifier: n, Payload: sdk.Notice{
			ID: newID(), Time: s.cfg.Now().UTC(), Event: event, Severity: a.Severity,
			Title: a.Title, Text: Text(a, f), URL: s.cfg.URL(a.ID), Alert: &f, AlertID: a.ID,
		}})
	}
	return out
}

// newID panics only when the system has no randomness left to give, and then nothing here can go on.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
