package core

import (
	"context"
	"fmt"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// detectorsReady is how long an analysis waits for detectors that are being started.
const detectorsReady = 30 * time.Second

// analyse begins the analysis of one capture with the detectors and observers that run. What it holds is recorded when there
// is a place for it.
func (c *Core) analyse(ctx context.Context, x traffic.Capture) traffic.Analysis {
	run := &analysis{began: time.Now(), status: map[string]func() pluginhost.Status{}}
	run.run = detect.Start(ctx, x.ID, c.readyDetectors(ctx, run), detect.DefaultQueue, c.host.Share)
	for _, o := range c.host.Observers() {
		if s := o.Status().State; (s == pluginhost.Ready || s == pluginhost.Degraded) && !o.Subscription().Empty() {
			run.run.Observe(ctx, o, c.sighted(x.Tenant))
			run.status[o.Instance()] = o.Status
		}
	}
	run.wanted.Packets = run.run.PacketSubscriptions()
	facts, first, features := run.run.Wanted()
	run.wanted.Facts, run.wanted.Features = facts, features
	run.wanted.WantFirst(first...)
	run.wanted.Without = run.run.Without()
	if c.record != nil {
		recorder, err := c.record(ctx, x)
		if err != nil {
			run.note("its flows are not kept: " + oneLine(err))
			return run
		}
		run.recorder = recorder
		run.wanted.Features = true
		run.wanted.WantFirst(traffic.RecordedFacts...)
	}
	return run
}

// readyDetectors waits for the detectors that are enabled and notes those that do not take part.
func (c *Core) readyDetectors(ctx context.Context, run *analysis) []detect.Detector {
	wanted, err := c.catalogue.Enabled(ctx, sdk.KindDetector)
	c.complain("find the detectors", err)
	if len(wanted) == 0 {
		run.note("no detector is enabled")
	}
	waiting, cancel := context.WithTimeout(ctx, detectorsReady)
	defer cancel()
	for _, instance := range wanted {
		if err := c.host.WaitReady(waiting, instance); err != nil {
			run.note(fmt.Sprintf("%s did not take part: %s", instance, oneLine(err)))
			run.retry = run.retry || sdk.ClassOf(err) == sdk.Temporary
		}
	}
	var running []detect.Detector
	for _, d := range c.host.Detectors() {
		if s := d.Status().State; s == pluginhost.Ready || s == pluginhost.Degraded {
			if d.Subscription().Empty() {
				run.note(d.Instance() + " did not take part: it was granted nothing of what it wants to see")
				continue
			}
			running = append(running, d)
			run.status[d.Instance()] = d.Status
		}
	}
	return running
}

// sighted puts what an observer saw into the inventory of a tenant.
func (c *Core) sighted(tenant string) detect.Sighted {
	return func(ctx context.Context, plugin string, sightings []sdk.Sighting) error {
		batch := store.SightingBatch{Tenant: tenant, Agent: store.NodeServer, Sightings: make([]store.Sighting, 0, len(sightings))}
		for _, s := range sightings {
			batch.Sightings = append(batch.Sightings, store.Sighting{Plugin: plugin, Sighting: s})
		}
		return newInventory(c).Sightings(ctx, batch)
	}
}

// analysis is a detect.Run, and a recorder beside it, as traffic sees them.
type analysis struct {
	run      *detect.Run
	wanted   traffic.Wanted
	recorder traffic.Recorder // nil once nothing is recorded
	notes    []string
	retry    bool
	began    time.Time
	status   map[string]func() pluginhost.Status // of those that take part, by instance
}

func (a *analysis) note(text string) { a.notes = append(a.notes, text) }

func (a *analysis) Wanted() traffic.Wanted { return a.wanted }

func (a *analysis) Frame(ctx context.Context, flows records.Parcel) error {
	if a.recorder != nil {
		a.recorded(ctx, a.recorder.Flows(ctx, flows))
	}
	return a.run.Frame(ctx, flows)
}

func (a *analysis) Facts(ctx context.Context, kind string, facts records.Parcel) error {
	if a.recorder != nil && kind != sdk.FactsContents { // the capture holds them, and nothing else keeps them
		a.recorded(ctx, a.recorder.Facts(ctx, kind, facts))
	}
	return a.run.Facts(ctx, kind, facts)
}

// recorded ends the recording when it failed. The detectors see the rest all the same.
func (a *analysis) recorded(ctx context.Context, err error) {
	if err == nil {
		return
	}
	a.note("its flows are not kept: " + oneLine(err))
	_ = a.recorder.Close(ctx, false) // why it failed is noted
	a.recorder = nil
}

func (a *analysis) Packets(ctx context.Context, subscription int, frame []byte) error {
	return a.run.Packets(ctx, subscription, frame)
}

func (a *analysis) Close(ctx context.Context, complete bool) traffic.Outcome {
	res := a.run.Close()
	if a.recorder != nil {
		if err := a.recorder.Close(ctx, complete); err != nil {
			a.note("its flows are not kept: " + oneLine(err))
		}
	}
	out := traffic.Outcome{Findings: res.Findings, Notes: a.notes, Retry: a.retry}
	for _, instance := range sortedKeys(res.Failed) {
		err := res.Failed[instance]
		note := fmt.Sprintf("the verdict of %s is incomplete: %s", instance, oneLine(err))
		if a.starved(instance) {
			note += "; it needs more memory than its limit for this capture: raise its memory limit, then analyse the capture again"
		} else {
			out.Retry = out.Retry || sdk.ClassOf(err) == sdk.Temporary
		}
		out.Notes = append(out.Notes, note)
	}
	for _, instance := range sortedKeys(res.Dropped) {
		out.Notes = append(out.Notes, fmt.Sprintf("%d further findings of %s were left out", res.Dropped[instance], instance))
	}
	return out
}

// starved reports whether an instance died of its memory limit since the analysis began. Then the same capture would kill it
// again.
func (a *analysis) starved(instance string) bool {
	status := a.status[instance]
	return status != nil && status().Starved(a.began)
}
