package agent

import (
	"context"
	"fmt"
	"reflect"
	"time"
)

// trialFor is how long a new configuration may keep the server from being reached. Then what ran before comes back: whatever a
// configuration does to a machine, it must not be the last one that the machine gets.
const trialFor = 5 * time.Minute

// maxTries is how often a configuration is tried that ran while the server could not be reached: once more, because it may have
// been the server that was away.
const maxTries = 2

// trial is a configuration under which the server was not reached yet.
type trial struct {
	Good   desired   `json:"good"`  // under which it was reached last
	Tried  desired   `json:"tried"` // what waits while Good runs again
	Back   bool      `json:"back"`  // Good runs again
	Tries  int       `json:"tries"`
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time,omitzero"` // when it went back

	began time.Time // since when this agent has been as it is
	took  int64     // how many requests the server had taken by then
}

// enough is how many requests the server must take to be reached: one may have been on its way.
const enough = 2

// Rejection says that a configuration was taken back because the server could not be reached under it.
type Rejection struct {
	Version int64     `json:"version"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
}

// newTrial is what a configuration has to show, nil when it asks for nothing new or there is nothing to go back to. The caller
// holds mu.
func (p *plugins) newTrial(d desired) *trial {
	good := p.want
	if p.trial != nil {
		good = p.trial.Good
	}
	if good.Version < 0 || reflect.DeepEqual(good.Assignments, d.Assignments) {
		return nil
	}
	return &trial{Good: good, Tries: 1, began: time.Now(), took: p.took()}
}

// taken is the newest configuration that the server gave, also while another runs.
func (p *plugins) taken() desired {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trial != nil && p.trial.Back {
		return p.trial.Tried
	}
	return p.want
}

// rejection is the configuration that was taken back for good, nil when there is none.
func (p *plugins) rejection() *Rejection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.trial; t != nil && t.Back && t.Tries >= maxTries {
		return &Rejection{t.Tried.Version, t.Reason, t.Time}
	}
	return nil
}

// judge ends a trial when the server was heard under the new configuration, goes back when it was not for limit, and tries once
// more when it is heard again. It reports whether something else runs now.
func (p *plugins) judge(ctx context.Context, now time.Time, limit time.Duration) (changed bool, err error) {
	p.working.Lock()
	defer p.working.Unlock()
	p.mu.Lock()
	t := p.trial
	if t == nil {
		p.mu.Unlock()
		return false, nil
	}
	reached := p.took() >= t.took+enough
	next := *t
	switch {
	case !t.Back && reached:
		p.trial = nil
	case !t.Back && now.Sub(t.began) >= limit:
		next.Tried, next.Back, next.Time = p.want, true, now.UTC()
		next.Reason = fmt.Sprintf("the server could not be reached within %s of applying configuration %d, tried %d times; configuration %d runs again",
			limit, p.want.Version, t.Tries, t.Good.Version)
		p.trial, p.want, changed = &next, t.Good, true
	case t.Back && reached && t.Tries < maxTries:
		next.Back, next.Tries = false, t.Tries+1
		p.trial, p.want, changed = &next, t.Tried, true
	default:
		p.mu.Unlock()
		return false, nil
	}
	d := p.want
	p.mu.Unlock()
	if err := p.keep(d); err != nil {
		return changed, err
	}
	if !changed {
		return false, nil
	}
	_, err = p.reconcile(ctx)
	next.began, next.took = time.Now(), p.took()
	p.mu.Lock()
	p.trial = &next
	p.mu.Unlock()
	return true, err
}

// watchTrial judges now and then whether the configuration may stay.
func (a *Agent) watchTrial(ctx context.Context) {
	limit := a.cfg.trialFor
	if limit == 0 {
		limit = trialFor
	}
	for sleep(ctx, limit/60) {
		changed, err := a.plugins.judge(ctx, time.Now(), limit)
		switch {
		case err != nil:
			a.log.Error("a configuration cannot be taken back", "problem", err)
		case changed:
			a.log.Warn("another configuration runs", "version", a.plugins.version(), "newest", a.plugins.taken().Version)
			a.reportSoon()
		}
	}
}
