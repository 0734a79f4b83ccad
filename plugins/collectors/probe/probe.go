// Package probe is the collector picket/probe: what goes in are addresses of services elsewhere, what comes out is
// whether each answers, how long the steps of it take, the status of HTTP, and how long its certificate is still good.
//
// It is the proof of the contract for targets that lie somewhere else. It needs nothing but Dial, so the same source is
// a process and a WASM guest. page.html is its own page, drawn inside a frame.
package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/probe",
		Kind:    sdk.KindCollector,
		Summary: "Measures whether hosts and services elsewhere answer, and how fast, by ICMP, TCP, TLS, HTTP and DNS.",
		New:     func() sdk.Instance { return New() },
	}
}

// The metrics.
const (
	metricUp       = "probe.up"
	metricDuration = "probe.duration"
	metricPhase    = "probe.phase.duration"
	metricStatus   = "probe.http.status_code"
	metricExpiry   = "probe.tls.expires_in"
	metricTrusted  = "probe.tls.trusted"
	metricLoss     = "probe.icmp.loss"
	metricLeast    = "probe.icmp.duration.min"
	metricMost     = "probe.icmp.duration.max"
	metricRCode    = "probe.dns.rcode"
)

// Collector is one instance.
type Collector struct {
	config  Config
	host    sdk.Host
	targets []target
	roots   *x509.CertPool // nil: nobody can say what is trusted
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
	c.host, c.roots = host, trust.Roots(c.config.CACertificates)
	return nil
}

// Collect asks all targets. That one does not answer is a measurement; that the grants do not allow to ask is an error.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	results := c.askAll(ctx)
	if err := ctx.Err(); err != nil {
		return err // what was cut short says nothing about the targets
	}
	var refused []error
	for i, r := range results {
		if class := sdk.ClassOf(r.err); r.err != nil && (class == sdk.PermissionDenied || class == sdk.Unsupported) {
			refused = append(refused, sdk.Errorf(class, "%s: %w", c.targets[i].label, r.err))
			continue
		}
		for _, s := range c.samples(c.targets[i], r) {
			if err := sink.Sample(s); err != nil {
				return err
			}
		}
	}
	return errors.Join(refused...)
}

func (c *Collector) askAll(ctx context.Context) []result {
	out := make([]result, len(c.targets))
	places := make(chan struct{}, c.config.Concurrency)
	var all sync.WaitGroup
	for i, t := range c.targets {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
			defer cancel()
			out[i] = ask(ctx, c.host, t, c.config.Echoes)
			if out[i].err != nil {
				c.host.Log().Debug("no answer", "target", t.label, "error", out[i].err)
			}
		})
	}
	all.Wait()
	return out
}

func (c *Collector) samples(t target, r result) []sdk.Sample {
	now := c.host.Now()
	var out []sdk.Sample
	add := func(metric, unit string, value float64, phase string) {
		labels := map[string]string{"probe.target": t.label}
		if phase != "" {
			labels["probe.phase"] = phase
		}
		out = append(out, sdk.Sample{Metric: metric, Unit: unit, Type: sdk.Gauge, Labels: labels, Time: now, Value: value})
	}
	add(metricUp, "1", oneIf(r.err == nil), "")
	if r.err == nil {
		add(metricDuration, "s", r.total.Seconds(), "")
	}
	for _, p := range []struct {
		name string
		took *time.Duration
	}{{"dns", r.lookup}, {"connect", r.connect}, {"tls", r.handshake}, {"first_byte", r.head}} {
		if p.took != nil {
			add(metricPhase, "s", p.took.Seconds(), p.name)
		}
	}
	if r.echoes != nil && r.echoes.sent > 0 {
		add(metricLoss, "1", r.echoes.loss(), "")
		if r.echoes.answered > 0 {
			add(metricLeast, "s", r.echoes.least.Seconds(), "")
			add(metricMost, "s", r.echoes.most.Seconds(), "")
		}
	}
	if r.rcode != nil {
		add(metricRCode, "1", float64(*r.rcode), "")
	}
	if r.status != 0 {
		add(metricStatus, "1", float64(r.status), "")
	}
	if len(r.certificates) > 0 {
		add(metricExpiry, "d", r.certificates[0].NotAfter.Sub(now).Hours()/24, "")
		if c.roots != nil {
			add(metricTrusted, "1", oneIf(verify(r.certificates, t.host, c.roots, now) == nil), "")
		}
	}
	return out
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
