// Package rdns is the discovery plugin picket/rdns: what goes in is a range of addresses, what comes out is a sighting
// with the name of each address for which a DNS server knows one.
//
// It is the proof of the contract for a lookup: it never touches the devices, only the server that the operator named,
// slowly enough to be polite. It needs nothing but Dial, so the same source is a process and a WASM guest.
package rdns

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
	"golang.org/x/time/rate"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the discovery.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/rdns",
		Kind:    sdk.KindDiscovery,
		Summary: "Finds the names of addresses by asking a DNS server.",
		New:     func() sdk.Instance { return New() },
	}
}

// confidence of a sighting is low: a record says that somebody wrote down a name, not that a device is there.
const confidence = 0.3

// Discoverer asks one server.
type Discoverer struct {
	config Config
	host   sdk.Host
}

// New returns a discoverer that has not been started.
func New() *Discoverer { return &Discoverer{} }

// Config implements sdk.Instance.
func (d *Discoverer) Config() any { return &d.config }

// Validate implements sdk.Validator.
func (d *Discoverer) Validate() error { return d.config.validate() }

// Start implements sdk.Starter.
func (d *Discoverer) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	return nil
}

// Discover asks for every address that lies both in the scope and in the targets.
func (d *Discoverer) Discover(ctx context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	if d.host == nil {
		return sdk.Errorf(sdk.Internal, "Discover was called before Start")
	}
	targets, err := iprange.Parse("targets", d.config.Targets)
	if err != nil {
		return err
	}
	ranges, err := iprange.Plan(targets, scope.Prefixes, d.config.MaxAddresses)
	if err != nil {
		return err
	}
	r := &run{config: d.config, host: d.host, scope: scope, rate: rate.NewLimiter(rate.Limit(d.config.Rate), 1)}
	return r.all(ctx, ranges, sink)
}

// run is one discovery.
type run struct {
	config Config
	host   sdk.Host
	scope  sdk.Scope
	rate   *rate.Limiter

	mu       sync.Mutex // guards the rest
	answered int        // answers of the server, refusals too
	refused  int
	failed   int   // questions without an answer
	inARow   int   // of them since the last answer
	last     error // of a question without a name
}

// deadServer is after how many questions without any answer the server is given up: asking thousands of addresses of a
// server that is not there would take hours.
const deadServer = 12

type named struct {
	addr  netip.Addr
	names []string
}

func (r *run) all(ctx context.Context, ranges []netip.Prefix, sink sdk.SightingSink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, found := make(chan netip.Addr), make(chan named)
	var workers sync.WaitGroup
	for range r.config.Concurrency {
		workers.Go(func() {
			for addr := range work {
				names, err := r.resolve(ctx, addr)
				if err != nil {
					cancel(err)
				}
				if len(names) == 0 {
					continue
				}
				select {
				case found <- named{addr, names}:
				case <-ctx.Done():
				}
			}
		})
	}
	go func() {
		defer close(found)
		r.feed(ctx, ranges, work)
		workers.Wait()
	}()
	for n := range found {
		if err := sink.Sighting(r.sighting(n)); err != nil {
			cancel(err)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return r.verdict()
}

// feed hands out the addresses, those of the scope only, whatever else goes wrong.
func (r *run) feed(ctx context.Context, ranges []netip.Prefix, work chan<- netip.Addr) {
	defer close(work)
	for addr := range iprange.Addresses(ranges) {
		if !r.scope.Contains(addr) {
			continue
		}
		select {
		case work <- addr:
		case <-ctx.Done():
			return
		}
	}
}

// resolve asks for one address up to 1+Retries times. An error ends the whole run.
func (r *run) resolve(ctx context.Context, addr netip.Addr) ([]string, error) {
	for range 1 + r.config.Retries {
		if r.rate.Wait(ctx) != nil {
			return nil, nil
		}
		names, err := r.ask(ctx, addr)
		if ctx.Err() != nil {
			return nil, nil
		}
		again, err := r.note(err)
		if err != nil || !again {
			return names, err
		}
	}
	return nil, nil
}

// note keeps the books. It says whether to ask again, and returns an error when there is no use in going on.
func (r *run) note(err error) (again bool, fatal error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var no refusal
	switch {
	case err == nil:
		r.answered, r.inARow = r.answered+1, 0
		return false, nil
	case errors.As(err, &no):
		r.answered, r.refused, r.inARow, r.last = r.answered+1, r.refused+1, 0, err
		return false, nil
	case sdk.ClassOf(err) != sdk.Internal && sdk.ClassOf(err) != sdk.Temporary:
		return false, err // not granted, or not possible here: it will not be different for the next
	}
	r.failed, r.inARow, r.last = r.failed+1, r.inARow+1, err
	if r.answered == 0 && r.inARow >= deadServer {
		return false, sdk.Errorf(sdk.Temporary, "%s has not answered any of %d questions: %w", r.config.Server, r.failed, err)
	}
	return true, nil
}

// verdict says what the operator must hear of a run that came to its end: the server gave nothing but refusals, or no
// answer at all. Single losses are ordinary.
func (r *run) verdict() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.answered > 0 && r.refused == r.answered:
		return sdk.Errorf(sdk.Downstream, "%s refused all %d questions: %w", r.config.Server, r.refused, r.last)
	case r.answered == 0 && r.failed > 0:
		return sdk.Errorf(sdk.Temporary, "%s has not answered any of %d questions: %w", r.config.Server, r.failed, r.last)
	}
	return nil
}

func (r *run) sighting(n named) sdk.Sighting {
	s := sdk.Sighting{Time: r.host.Now(), IP: n.addr, Hostname: n.names[0], Facts: map[string]string{"name_source": "dns"}, Confidence: confidence}
	if len(n.names) > 1 {
		s.Facts["other_names"] = strings.Join(n.names[1:], " ")
	}
	return s
}
