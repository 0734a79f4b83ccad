// Package prometheus is the collector picket/prometheus: what goes in are pages of metrics in Prometheus' text format or
// in OpenMetrics, what comes out is each of their series, under the names that they have there.
package prometheus

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/prometheus",
		Kind:    sdk.KindCollector,
		Summary: "Fetches the metrics that programs offer to Prometheus, in its text format or as OpenMetrics.",
		New:     func() sdk.Instance { return New() },
	}
}

// Config is what an operator sets.
type Config struct {
	Targets        []string        `json:"targets" required:"true" min:"1" max:"50" doc:"Pages to fetch, for example http://192.0.2.1:9100/metrics."`
	Job            string          `json:"job" doc:"Name of what is measured, which becomes the label job; empty means the host of the target."`
	Include        []string        `json:"include" doc:"Patterns of metrics to keep; an empty list means all."`
	Exclude        []string        `json:"exclude" doc:"Patterns of metrics to leave out."`
	MaxSeries      int             `json:"max_series" default:"5000" min:"1" max:"15000" doc:"How many series all targets together may give; further ones are left out and counted."`
	Timeout        config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one target may take."`
	Authorization  string          `json:"authorization" secret:"true" doc:"Value of the Authorization header, for example a bearer token."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for servers with a private authority."`
}

// concurrent is how many targets are asked at the same time: each may answer with 8 MiB.
const concurrent = 4

// Collector fetches from some targets.
type Collector struct {
	config  Config
	targets []*url.URL
	host    sdk.Host
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error {
	c.targets = nil
	for i, text := range c.config.Targets {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
			return sdk.Errorf(sdk.InvalidConfig, "targets[%d]: not an http or https address without a login", i)
		case slices.Contains(c.config.Targets[:i], text):
			return sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %s is there twice", i, u.Redacted())
		}
		c.targets = append(c.targets, u)
	}
	_, err := trust.Config("", c.config.CACertificates)
	return err
}

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Collect fetches all targets. That one does not answer, or not in a format that is understood, is a measurement; that the
// grants do not allow to ask is an error.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	results := make([]scrape, len(c.targets))
	places := make(chan struct{}, concurrent)
	var all sync.WaitGroup
	var together held
	for i, u := range c.targets {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			results[i] = c.scrape(ctx, u, &together)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err // what was cut short says nothing about the targets
	}
	room := c.config.MaxSeries
	var denied []error
	for i, r := range results {
		if r.err != nil && sdk.ClassOf(r.err) == sdk.PermissionDenied {
			denied = append(denied, r.err)
			continue
		}
		if err := c.emit(sink, c.targets[i], r, &room); err != nil {
			return err
		}
	}
	return errors.Join(denied...)
}

// scrape is what one target gave.
type scrape struct {
	page page
	took time.Duration
	err  error
}

const accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"

func (c *Collector) scrape(ctx context.Context, u *url.URL, together *held) scrape {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
	defer cancel()
	header := map[string][]string{"Accept": {accept}, "User-Agent": {"Picket/1"}}
	if c.config.Authorization != "" {
		header["Authorization"] = []string{c.config.Authorization}
	}
	began := time.Now()
	var out scrape
	r, err := c.host.Fetch(ctx, sdk.Request{URL: u.String(), Header: header, Roots: c.config.CACertificates})
	if err != nil {
		err = rest.Unreachable(u.Host, err)
	} else {
		err = rest.Verdict(u.Host, r.Status, r.Header, r.Body, c.host.Now())
	}
	if err == nil {
		var kind string
		if of := r.Header["Content-Type"]; len(of) > 0 {
			kind = of[0]
		}
		out.page, err = read(r.Body, kind, func(metric string) bool { return wildcard.Allows(metric, c.config.Include, c.config.Exclude) }, c.config.MaxSeries, together)
	}
	out.took, out.err = time.Since(began), err
	if err != nil {
		out.page = page{} // half a page would look like metrics that are gone
		c.host.Log().Warn("no metrics", "target", u.Host, "error", err)
	}
	return out
}

// emit hands over what a target gave, under the names that Prometheus itself gives to what it says of a scrape.
func (c *Collector) emit(sink sdk.SampleSink, u *url.URL, r scrape, room *int) error {
	out := measure.Samples{Time: c.host.Now(), Common: c.common(u)}
	out.Gauge("up", "", measure.OneIf(r.err == nil))
	if r.err == nil {
		kept := r.page.series[:min(len(r.page.series), *room)]
		*room -= len(kept)
		for _, s := range kept {
			s.add(&out)
		}
		out.Gauge("scrape_duration_seconds", "", r.took.Seconds())
		out.Gauge("scrape_samples_scraped", "", float64(r.page.lines))
		out.Gauge("scrape_samples_dropped", "", float64(len(r.page.series)-len(kept)+r.page.over), "reason", "limit")
		out.Gauge("scrape_samples_dropped", "", float64(r.page.unfit), "reason", "unfit")
	}
	return out.Emit(sink)
}

// common are the labels from which PromQL's job and instance are made.
func (c *Collector) common(u *url.URL) map[string]string {
	port, job := u.Port(), c.config.Job
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if job == "" {
		job = u.Hostname()
	}
	return map[string]string{"service.name": job, "service.instance.id": net.JoinHostPort(u.Hostname(), port)}
}
