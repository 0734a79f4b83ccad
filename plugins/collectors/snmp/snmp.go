// Package snmp is the collector picket/snmp: what goes in are devices that answer SNMP, what comes out are the figures of their
// interfaces, processors, memory, sensors and batteries.
//
// Each device is asked by itself, with its own deadline: a slow one keeps no other waiting. What a device is measured by follows
// from what it has: profiles.go lists the tables, and a device without one gets no series.
package snmp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/snmp",
		Kind:    sdk.KindCollector,
		Summary: "Measures switches, routers, UPSes, printers and servers that answer SNMP.",
		New:     func() sdk.Instance { return New() },
	}
}

// Collector asks devices.
type Collector struct {
	config  Config
	host    sdk.Host
	targets []target
	memory  map[string]*memory // by address of the target; each is used by one goroutine at a time
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error { return c.config.validate() }

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	var err error
	if c.targets, err = c.config.targets(); err != nil {
		return err
	}
	c.host, c.memory = host, make(map[string]*memory, len(c.targets))
	for _, t := range c.targets {
		c.memory[t.address] = remember(host, t.address)
	}
	return nil
}

// Collect asks all devices. That one does not answer is a measurement; what keeps it from being asked is an error.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	var (
		all    sync.WaitGroup
		places = make(chan struct{}, c.config.Concurrency)
		shared = newShare(len(c.targets))
		errs   = make([]error, len(c.targets))
	)
	for i, t := range c.targets {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			errs[i] = c.device(ctx, t, shared, sink)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (c *Collector) device(ctx context.Context, t target, shared *share, sink sdk.SampleSink) error {
	if ctx.Err() != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(c.config.Deadline))
	defer cancel()
	p := &poll{c: c, t: t, memory: c.memory[t.address], began: time.Now(), by: map[string]*profile{}}
	err := p.all(limited)
	if ctx.Err() != nil {
		return nil // cut short: it says nothing about the device
	}
	if err != nil {
		c.host.Log().Debug("device was not read to its end", "target", t.label, "error", err)
	}
	class := sdk.ClassOf(err)
	if p.silent && (class == sdk.InvalidConfig || class == sdk.PermissionDenied) {
		return sdk.Errorf(class, "%s: %w", t.label, err)
	}
	figures := p.out
	p.out = nil
	kept := shared.take(len(figures)+aboutVisit) - aboutVisit
	p.about(err, len(figures)-kept)
	for _, s := range append(p.out, figures[:kept]...) {
		if err := sink.Sample(s); err != nil {
			return err
		}
	}
	if kept < len(figures) {
		return sdk.Errorf(sdk.Downstream, "%s: %d of its %d figures are left out, so that other devices have room: give it an instance of its own, or fewer sections or interfaces",
			t.label, len(figures)-kept, len(figures))
	}
	return nil
}

// poll is one visit to one device.
type poll struct {
	c      *Collector
	t      target
	memory *memory
	began  time.Time
	client *snmp.Client
	now    time.Time
	uptime uint32 // hundredths of a second
	object snmp.OID
	silent bool // the device said nothing at all
	out    []sdk.Sample

	measured *profile            // that is being read, nil for none
	by       map[string]*profile // which one says a metric of a section
}

// label is a pair of name and value.
type label [2]string

func (p *poll) add(kind sdk.MetricType, metric, unit string, value float64, labels ...label) {
	if pr := p.measured; pr != nil {
		key := pr.section + " " + metric
		if p.by[key] == nil {
			p.by[key] = pr
		}
		if p.by[key] != pr {
			return
		}
	}
	m := make(map[string]string, len(labels)+1)
	m["snmp.target"] = p.t.label
	for _, l := range labels {
		if l[1] != "" {
			m[l[0]] = l[1]
		}
	}
	p.out = append(p.out, sdk.Sample{Metric: metric, Unit: unit, Type: kind, Labels: m, Time: p.now, Value: value})
}

func (p *poll) gauge(metric, unit string, value float64, labels ...label) {
	p.add(sdk.Gauge, metric, unit, value, labels...)
}

// all reads what the device has. Sections that came to their end count, whatever became of the others.
func (p *poll) all(ctx context.Context) (err error) {
	p.now, p.silent = p.c.host.Now(), true
	client, err := snmp.Open(ctx, p.c.host, p.t.address, p.c.config.Access, snmp.Options{Timeout: time.Duration(p.c.config.Timeout), Retries: p.c.config.Retries})
	if err != nil {
		return err
	}
	defer client.Close()
	stop := context.AfterFunc(ctx, client.Close)
	defer stop()
	p.client = client
	if err := p.system(); err != nil {
		return err
	}
	p.silent = false
	defer func() { p.memory.keep(err == nil) }()
	if p.c.config.wants("interfaces") {
		if err := p.interfaces(); err != nil {
			return err
		}
	}
	for i := range profiles {
		if pr := &profiles[i]; p.c.config.wants(pr.section) && pr.fits(p.object) && p.memory.tries(pr) {
			if err := p.profile(pr); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	sysObjectID snmp.OID = "1.3.6.1.2.1.1.2.0"
	sysUpTime   snmp.OID = "1.3.6.1.2.1.1.3.0"
)

// system reads since when the device runs, which everything else is judged by.
func (p *poll) system() error {
	have, err := p.client.Get(sysObjectID, sysUpTime)
	if err != nil {
		return err
	}
	p.object = have[sysObjectID].Object()
	ticks, ok := have[sysUpTime].Uint()
	p.uptime = uint32(ticks)
	if ok && p.c.config.wants("system") {
		p.gauge("snmp.uptime", "s", float64(p.uptime)/100)
	}
	p.memory.begin(p.now, p.uptime)
	return nil
}

// aboutVisit is how many samples say at most how a visit went.
const aboutVisit = 5

// about says how the visit went, and how many figures are left out.
func (p *poll) about(err error, leftOut int) {
	up, complete := 1.0, 1.0
	if p.silent {
		up = 0
	}
	if err != nil || leftOut > 0 {
		complete = 0
	}
	p.gauge("snmp.up", "1", up)
	if p.silent {
		return
	}
	p.gauge("snmp.complete", "1", complete)
	p.gauge("snmp.left_out", "{sample}", float64(leftOut))
	p.gauge("snmp.duration", "s", time.Since(p.began).Seconds())
	p.gauge("snmp.requests", "{request}", float64(p.client.Requests))
}
