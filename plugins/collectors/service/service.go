// Package service is the collector picket/service: what goes in is what systemd, or Windows, says of its services, what
// comes out are samples of their states.
package service

import (
	"context"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/service",
		Kind:    sdk.KindCollector,
		Summary: "Says in which state the services of a machine are, and which have failed.",
		New:     func() sdk.Instance { return New() },
	})
}

// Collector tells of the services of one machine.
type Collector struct {
	config Config
	host   sdk.Host
	manager
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{manager: newManager()} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error { return c.config.validate() }

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Stop implements sdk.Stopper.
func (c *Collector) Stop(context.Context) error {
	c.close()
	return nil
}

// emitter hands samples over until the first error.
type emitter struct {
	sink sdk.SampleSink
	now  time.Time
	err  error
}

func (e *emitter) emit(kind sdk.MetricType, metric, unit string, value float64, labels map[string]string) {
	if e.err == nil {
		e.err = e.sink.Sample(sdk.Sample{Metric: metric, Unit: unit, Type: kind, Labels: labels, Time: e.now, Value: value})
	}
}
