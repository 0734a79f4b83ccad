package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
)

// Kinds of data beside those of the control state.
const (
	keepSamples     = "samples"
	keepFiveMinutes = "five_minutes"
	keepHours       = "hours"
	keepDays        = "days"
	keepFlows       = "flows"
)

const (
	retentionSetting = "retention"
	maxKeptDays      = 36_500
	cleanupEvery     = time.Hour
)

// retention keeps each kind of data as long as the operator says: in the configuration file, or over it on the page.
type retention struct {
	core     *Core
	defaults map[string]int // days by kind
	cleaning sync.Mutex     // held while something is removed

	mu   sync.Mutex // guards what follows
	days map[string]int
}

func newRetention(ctx context.Context, c *Core) (*retention, error) {
	settings := c.cfg.Settings
	days := func(d time.Duration) int { return max(1, int(d/(24*time.Hour))) }
	r := &retention{core: c, days: map[string]int{}, defaults: map[string]int{
		keepSamples: days(time.Duration(settings.Telemetry.Retention)), keepFiveMinutes: days(time.Duration(settings.Telemetry.FiveMinutes)),
		keepHours: days(time.Duration(settings.Telemetry.Hours)), keepDays: days(time.Duration(settings.Telemetry.Days)),
		keepFlows:         days(time.Duration(settings.Flows.Retention)),
		store.KeepDevices: 30, store.KeepAlerts: 365, store.KeepIncidents: 2 * 365, store.KeepAudit: 2 * 365, store.KeepSessions: 30,
		store.KeepCommands: 30,
	}}
	text, err := c.control.Setting(ctx, c.tenant, retentionSetting)
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &r.days)
	}
	if err != nil {
		return nil, fmt.Errorf("read how long data is kept: %w", err)
	}
	r.apply()
	return r, nil
}

// List says how long each kind is kept.
func (r *retention) List() []api.Kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []api.Kept{}
	for kind, days := range r.defaults {
		k := api.Kept{Kind: kind, Days: days, Default: days}
		if own := r.days[kind]; own > 0 {
			k.Days = own
		}
		list = append(list, k)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Kind < list[j].Kind })
	return list
}

// Set changes some kinds; 0 means the default.
func (r *retention) Set(ctx context.Context, days map[string]int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[string]int{}
	for kind, n := range r.days {
		next[kind] = n
	}
	for kind, n := range days {
		if _, known := r.defaults[kind]; !known {
			return &store.QueryError{Message: fmt.Sprintf("there is no kind of data %q", kind)}
		}
		if n < 0 || n > maxKeptDays {
			return &store.QueryError{Message: fmt.Sprintf("%s: %d days is not between 1 and %d, or 0 for the default", kind, n, maxKeptDays)}
		}
		if next[kind] = n; n == 0 {
			delete(next, kind)
		}
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := r.core.control.PutSetting(ctx, r.core.tenant, retentionSetting, string(text)); err != nil {
		return err
	}
	r.days = next
	r.applyLocked()
	return nil
}

func (r *retention) apply() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applyLocked()
}

// applyLocked tells the stores. What the configuration file says in less than days, they know already.
func (r *retention) applyLocked() {
	settings := r.core.cfg.Settings
	kept := func(kind string, otherwise time.Duration) time.Duration {
		if own := r.days[kind]; own > 0 {
			return time.Duration(own) * 24 * time.Hour
		}
		return otherwise
	}
	r.core.telemetry.SetRetention(store.TelemetryRetention{Raw: kept(keepSamples, time.Duration(settings.Telemetry.Retention)),
		FiveMinutes: kept(keepFiveMinutes, time.Duration(settings.Telemetry.FiveMinutes)), Hours: kept(keepHours, time.Duration(settings.Telemetry.Hours)),
		Days: kept(keepDays, time.Duration(settings.Telemetry.Days))})
	r.core.flows.SetRetention(kept(keepFlows, time.Duration(settings.Flows.Retention)))
}

// Preview says what is there of each kind, and what other days would take of it.
func (r *retention) Preview(ctx context.Context, days map[string]int) ([]api.KeptNow, error) {
	c := r.core
	out := []api.KeptNow{}
	for _, k := range r.List() {
		if n, asked := days[k.Kind]; asked {
			if n < 0 || n > maxKeptDays {
				return nil, &store.QueryError{Message: fmt.Sprintf("%s: %d days is not between 1 and %d, or 0 for the default", k.Kind, n, maxKeptDays)}
			}
			if k.Days = n; n == 0 {
				k.Days = k.Default
			}
		}
		before := map[string]func(time.Time) (store.Amount, error){
			keepSamples:     func(at time.Time) (store.Amount, error) { return c.telemetry.Before(at), nil },
			keepFiveMinutes: func(at time.Time) (store.Amount, error) { return c.telemetry.SumsBefore(0, at), nil },
			keepHours:       func(at time.Time) (store.Amount, error) { return c.telemetry.SumsBefore(1, at), nil },
			keepDays:        func(at time.Time) (store.Amount, error) { return c.telemetry.SumsBefore(2, at), nil },
			keepFlows:       func(at time.Time) (store.Amount, error) { return c.flows.Before(at), nil },
		}[k.Kind]
		if before == nil {
			before = func(at time.Time) (store.Amount, error) { return c.control.CountBefore(ctx, k.Kind, at) }
		}
		now, err := before(store.AllKept)
		if err != nil {
			return nil, err
		}
		goes, err := before(c.cfg.Now().Add(-time.Duration(k.Days) * 24 * time.Hour))
		if err != nil {
			return nil, err
		}
		out = append(out, api.KeptNow{Kind: k.Kind, Days: k.Days, Now: now, Goes: goes})
	}
	return out, nil
}

// Cleanup removes what is past its retention and counts it by kind.
func (r *retention) Cleanup(ctx context.Context) (map[string]int, error) {
	r.cleaning.Lock()
	defer r.cleaning.Unlock()
	removed := map[string]int{}
	var problems []error
	add := func(kind string, n int, err error) {
		if n > 0 {
			removed[kind] += n
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", kind, err))
		}
	}
	days, files, err := r.core.telemetry.Clean(ctx)
	add(keepSamples, days, err)
	add("sums", files, nil)
	days, err = r.core.flows.Clean(ctx)
	add(keepFlows, days, err)
	for _, k := range r.List() {
		switch k.Kind {
		case keepSamples, keepFiveMinutes, keepHours, keepDays, keepFlows:
			continue
		}
		n, err := r.core.control.RemoveBefore(ctx, k.Kind, r.core.cfg.Now().Add(-time.Duration(k.Days)*24*time.Hour))
		add(k.Kind, n, err)
	}
	add("space", 0, r.core.control.Shrink(ctx))
	return removed, errors.Join(problems...)
}

// run cleans up once an hour.
func (r *retention) run(ctx context.Context) {
	tick := time.NewTicker(cleanupEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		removed, err := r.Cleanup(ctx)
		if err != nil && ctx.Err() == nil {
			r.core.cfg.Log.Error("retention", "error", err)
		}
		if len(removed) > 0 {
			r.core.complain("audit", r.core.audit.Record(ctx, audit.Entry{Actor: "system", Action: "retention.cleanup", Object: "retention", Detail: describeRemoved(removed)}))
		}
	}
}

func describeRemoved(removed map[string]int) string {
	var parts []string
	for kind, n := range removed {
		parts = append(parts, fmt.Sprintf("%s %d", kind, n))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}
