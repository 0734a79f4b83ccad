package pluginhost

import (
	"fmt"
	"slices"
	"time"
)

// Probations says how long a new version is watched after an upgrade, and what makes the host take it back.
type Probations struct {
	For   time.Duration // until then ...
	Calls int           // ... or for so many calls and a health check, whichever comes first
	// ErrorRatio and ErrorRate: it fails when it errs more than ErrorRatio times as often as the version before, and in
	// more than this share of its calls.
	ErrorRatio, ErrorRate float64
	// LatencyRatio and LatencyFloor: it fails when the 95th percentile of its calls is at least so many times that of
	// the version before, and by this much longer, so that noise among microseconds decides nothing. Before Calls are
	// over every second call must take that long.
	LatencyRatio float64
	LatencyFloor time.Duration
}

func (p *Probations) fill() {
	setDefault(&p.For, 10*time.Minute)
	setDefault(&p.Calls, 100)
	setDefault(&p.ErrorRatio, 3)
	setDefault(&p.ErrorRate, 0.05)
	setDefault(&p.LatencyRatio, 2)
	setDefault(&p.LatencyFloor, 5*time.Millisecond)
}

// Before this many calls nothing but a crash is held against a new version.
const (
	leastCalls    = 5  // for its errors
	leastLatency  = 20 // for its latency
	leastFailures = 3
)

// probation is the trial of a new version.
type probation struct {
	From   string    `json:"from"`
	To     string    `json:"to"`
	Began  time.Time `json:"began"`
	Before standing  `json:"before"` // how the version before did
	// Models are those that changed, perhaps alone; then From and To are the same.
	Models []move `json:"models,omitempty"`

	calls, errors int
	took          []time.Duration
	healthy       bool   // it answered a health check well
	verdict       string // why it failed
}

// modelsOnly reports whether nothing but models is on trial.
func (p *probation) modelsOnly() bool { return len(p.Models) > 0 && p.From == p.To }

// names says what is on trial, and in the place of what.
func (p *probation) names() (from, to string) {
	if p.modelsOnly() {
		return describe(p.Models)
	}
	return p.From, p.To
}

// standing is how a version does.
type standing struct {
	Calls int           `json:"calls"`
	Rate  float64       `json:"error_rate"`
	P95   time.Duration `json:"p95_ns"`
}

func (p *probation) copy() *probation {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// see counts a call and returns why the version failed, or whether it passed.
func (p *probation) see(rules Probations, now time.Time, took time.Duration, failed bool) (verdict string, passed bool) {
	p.calls++
	if failed {
		p.errors++
	} else if len(p.took) < 10*rules.Calls {
		p.took = append(p.took, took)
	}
	if p.verdict == "" && p.calls <= 10*rules.Calls { // under load a health check may be long in coming
		p.verdict = p.judge(rules)
	}
	return p.verdict, p.verdict == "" && p.over(rules, now)
}

func (p *probation) over(rules Probations, now time.Time) bool {
	return p.calls >= rules.Calls && p.healthy || now.Sub(p.Began) >= rules.For
}

func (p *probation) judge(rules Probations) string {
	rate := float64(p.errors) / float64(p.calls)
	from, _ := p.names()
	if p.calls >= leastCalls && p.errors >= leastFailures && rate > rules.ErrorRate && rate > rules.ErrorRatio*p.Before.Rate {
		return fmt.Sprintf("%d of its %d calls failed; of %s it were %.1f per cent", p.errors, p.calls, from, 100*p.Before.Rate)
	}
	if len(p.took) < leastLatency || p.Before.Calls < leastLatency {
		return ""
	}
	limit := max(time.Duration(rules.LatencyRatio*float64(p.Before.P95)), p.Before.P95+rules.LatencyFloor)
	now := quantile(p.took, 0.95)
	if len(p.took) < rules.Calls && quantile(p.took, 0.5) < limit {
		return "" // of few calls one or two that a busy machine held up make the 95th percentile
	}
	if now >= limit {
		return fmt.Sprintf("its calls take %s at the 95th percentile, those of %s took %s", round(now), from, round(p.Before.P95))
	}
	return ""
}

func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Clone(took)
	slices.Sort(sorted)
	return sorted[int(q*float64(len(sorted)-1))]
}

// onTrial lets a call count for or against a version that is on probation.
func (s *supervisor) onTrial(r *run, took time.Duration, failed bool) {
	s.mu.Lock()
	p := s.probation
	if p == nil || s.cur != r && s.cur != nil || r.version != p.To {
		s.mu.Unlock()
		return
	}
	verdict, passed := p.see(s.host.cfg.Probation, s.host.cfg.Now(), took, failed)
	s.mu.Unlock()
	if verdict != "" || passed {
		s.poke(orderJudge)
	}
}

// passHealth counts a health check for the version on probation.
func (s *supervisor) passHealth() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probation != nil {
		s.probation.healthy = true
	}
}

// failTrial ends the probation of the running version against it, if it is on one.
func (s *supervisor) failTrial(verdict string) {
	s.mu.Lock()
	p := s.probation
	if p != nil && p.verdict == "" {
		p.verdict = verdict
	}
	s.mu.Unlock()
	if p != nil {
		s.poke(orderJudge)
	}
}

// trial looks at the probation: why it failed, or "" and whether it is over.
func (s *supervisor) trial() (verdict string, passed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.probation
	if p == nil {
		return "", false
	}
	return p.verdict, p.verdict == "" && p.over(s.host.cfg.Probation, s.host.cfg.Now())
}
