// Package syslog is the collector picket/syslog: what goes in are syslog messages that devices send over UDP and TCP
// (RFC 5424 and the older form of BSD), what comes out are counters by facility and severity. The messages themselves
// are not kept.
//
// It is the proof of the contract for a source that sends by itself. Memory is bounded whatever is sent: messages are
// counted as they come, one at a time for each sender, and a store that is slow delays the readings, never the
// counting. What had to be dropped is counted too.
package syslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/syslog",
		Kind:    sdk.KindCollector,
		Summary: "Counts the syslog messages that devices send, by facility and severity.",
		New:     func() sdk.Instance { return New() },
	}
}

// Collector is one instance.
type Collector struct {
	config Config
	host   sdk.Host
	counts *counts

	mu      sync.Mutex
	failure error // guarded by mu: why nobody listens
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error { return c.config.validate() }

// Start implements sdk.Starter. The sockets are opened by Watch, which is called again when they fail.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host, c.counts = host, newCounts(c.config.MaxNames)
	return nil
}

// Collect emits all counters, so that one that stands still is seen to stand still.
func (c *Collector) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.counts == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	return emit(c.counts.samples(c.host.Now(), true), sink)
}

// Watch receives messages until ctx ends, and emits the counters that change as they change.
func (c *Collector) Watch(ctx context.Context, sink sdk.SampleSink) error {
	if c.counts == nil {
		return sdk.Errorf(sdk.Internal, "Watch was called before Start")
	}
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	receivers, err := c.listen(ctx)
	c.listening(err)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	for _, r := range receivers {
		running.Go(func() {
			if err := r.receive(ctx); err != nil {
				cancel(err)
			}
		})
	}
	err = c.push(ctx, sink)
	cancel(err)
	running.Wait()
	if asked.Err() != nil {
		return asked.Err()
	}
	c.listening(context.Cause(ctx))
	return context.Cause(ctx)
}

// Health says why nobody listens.
func (c *Collector) Health(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

func (c *Collector) listening(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
}

// push emits what has changed, now and then. A sink that waits holds up this loop and nothing else.
func (c *Collector) push(ctx context.Context, sink sdk.SampleSink) error {
	tick := time.NewTicker(time.Duration(c.config.Push))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if samples := c.counts.samples(c.host.Now(), false); len(samples) > 1 { // more than the connections
				if err := emit(samples, sink); err != nil {
					return err
				}
			}
		}
	}
}

func emit(samples []sdk.Sample, sink sdk.SampleSink) error {
	for _, s := range samples {
		if err := sink.Sample(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) count(b []byte, transport string) {
	m, err := parse(b)
	if err != nil {
		c.counts.dropped(unreadable)
		return
	}
	c.counts.message(m, transport, len(b), slices.Contains(c.config.By, "host"), slices.Contains(c.config.By, "app"))
}

// receiver is one open socket. It is closed when receive returns.
type receiver interface {
	receive(ctx context.Context) error
}

func (c *Collector) listen(ctx context.Context) ([]receiver, error) {
	address := net.JoinHostPort(c.config.Address, strconv.Itoa(c.config.Port))
	var out []receiver
	var opened []func() error
	for _, transport := range c.config.Transports {
		var err error
		switch transport {
		case "udp":
			var socket net.PacketConn
			if socket, err = c.host.ListenPacket(ctx, "udp", address); err == nil {
				out, opened = append(out, &datagrams{c, socket}), append(opened, socket.Close)
			}
		case "tcp":
			var socket net.Listener
			if socket, err = c.host.Listen(ctx, "tcp", address); err == nil {
				out, opened = append(out, &streams{collector: c, socket: socket}), append(opened, socket.Close)
			}
		}
		if err != nil {
			for _, end := range opened {
				_ = end() // nothing was received on it
			}
			return nil, wrap(err, "listen on %s %s", transport, address)
		}
	}
	return out, nil
}

// wrap keeps the class of err, or calls it Temporary when it has none.
func wrap(err error, format string, args ...any) error {
	class := sdk.Temporary
	var classed *sdk.Error
	if errors.As(err, &classed) {
		class = classed.Class
	}
	return sdk.Errorf(class, format+": %w", append(args, err)...)
}

// snapshotVersion changes when the meaning of the fields below does; another version is refused.
const snapshotVersion = 1

type snapshot struct {
	Version int           `json:"version"`
	Series  []savedSeries `json:"series"`
}

type savedSeries struct {
	key
	Value uint64 `json:"value"`
}

// Snapshot writes down the counters, so that they go on over an upgrade.
func (c *Collector) Snapshot(context.Context) ([]byte, error) {
	out := snapshot{Version: snapshotVersion}
	c.counts.mu.Lock()
	defer c.counts.mu.Unlock()
	for k, v := range c.counts.value {
		out.Series = append(out.Series, savedSeries{k, v})
	}
	slices.SortFunc(out.Series, func(a, b savedSeries) int { return compareKeys(a.key, b.key) })
	return json.Marshal(out)
}

// Restore takes what Snapshot wrote.
func (c *Collector) Restore(_ context.Context, state []byte) error {
	var in snapshot
	if err := json.Unmarshal(state, &in); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if in.Version != snapshotVersion {
		return fmt.Errorf("read snapshot: version %d, expected %d", in.Version, snapshotVersion)
	}
	restored := newCounts(c.config.MaxNames)
	for _, s := range in.Series {
		restored.value[s.key] = s.Value
		if n := (names{s.Host, s.App}); n != (names{}) {
			restored.names[n] = true
		}
	}
	c.counts = restored
	return nil
}
