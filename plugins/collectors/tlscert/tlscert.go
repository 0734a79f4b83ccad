// Package tlscert is the collector picket/tlscert: what goes in are addresses of servers that speak TLS, at once or after
// STARTTLS, what comes out is whose their certificates are, how long they are good, and what is wrong with them.
package tlscert

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/tlscert",
		Kind:    sdk.KindCollector,
		Summary: "Measures how long the certificates of servers are good, and whether a client would take them.",
		New:     func() sdk.Instance { return New() },
	}
}

// Collector asks some servers.
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
func (c *Collector) Validate() error {
	var err error
	if c.targets, err = c.config.targets(); err != nil {
		return err
	}
	_, err = trust.Config("", c.config.CACertificates)
	return err
}

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host, c.roots = host, trust.Roots(c.config.CACertificates)
	return nil
}

// concurrent is how many servers are asked at the same time.
const concurrent = 16

// Collect asks all servers. That one does not answer is a measurement; that the grants do not allow to ask is an error.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	type result struct {
		chain []*x509.Certificate
		err   error
	}
	results := make([]result, len(c.targets))
	places := make(chan struct{}, concurrent)
	var all sync.WaitGroup
	for i, t := range c.targets {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
			defer cancel()
			results[i].chain, results[i].err = fetch(ctx, c.host, t)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err // what was cut short says nothing about the servers
	}
	var denied []error
	for i, r := range results {
		t := c.targets[i]
		if r.err != nil && sdk.ClassOf(r.err) == sdk.PermissionDenied {
			denied = append(denied, sdk.Errorf(sdk.PermissionDenied, "%s: %w", t.address, r.err))
			continue
		}
		out := measure.Samples{Time: c.host.Now(), Common: t.labels()}
		out.Gauge("tls.check.success", "1", measure.OneIf(r.err == nil))
		if r.err != nil {
			c.host.Log().Debug("no certificate", "target", t.address, "error", r.err)
		} else {
			judge(&out, r.chain, t.name, c.roots)
		}
		if err := out.Emit(sink); err != nil {
			return err
		}
	}
	return errors.Join(denied...)
}
