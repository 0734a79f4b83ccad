// Package mdns is the discovery plugin picket/mdns: what goes in are networks of this machine, what comes out is what their
// devices say of themselves over multicast DNS (RFC 6762) and DNS-based service discovery (RFC 6763).
//
// It asks the whole link at once, from a port of its own, so that the answers come to it alone. What they mean is decided as in
// passive discovery.
package mdns

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/plugins/internal/inquire"
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/mdns",
		Kind:    sdk.KindDiscovery,
		Summary: "Asks the devices of a link for their names and the services that they announce.",
		New:     func() sdk.Instance { return New() },
	})
}

// port is where multicast DNS is spoken.
const port = 5353

// group is who is asked.
var group = netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), port)

// rounds of questions: for what there is, for what that is, and for where it is.
const rounds = 3

// Discoverer asks links.
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

// Discover asks the links on which the targets are.
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
	if ranges = iprange.Family(ranges, "ip4"); len(ranges) == 0 {
		return sdk.Errorf(sdk.Unsupported, "multicast DNS is asked over IPv4: state an IPv4 network of this machine among the targets")
	}
	links, err := inquire.Links(ctx, d.host, ranges, port)
	if err != nil {
		return err
	}
	var failed []error
	for _, link := range links {
		err := d.ask(ctx, link, sdk.Scope{Prefixes: ranges}, sink)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// ask asks one link. Each round is sent twice, because multicast is not repeated when it is lost.
func (d *Discoverer) ask(ctx context.Context, link netip.Addr, scope sdk.Scope, sink sdk.SightingSink) error {
	socket, err := inquire.Open(ctx, d.host, link)
	if err != nil {
		return err
	}
	defer socket.Close()
	q := newQuestions(scope)
	reader, err := inquire.New(ctx, scope, d.config.MaxAddresses, sink, q.learn)
	if err != nil {
		return err
	}
	for range rounds {
		messages := q.due()
		for range 2 {
			for _, m := range messages {
				if err := socket.Send(m, group); err != nil {
					return sdk.Errorf(sdk.Temporary, "ask from %s: %w", link, err)
				}
			}
			err := socket.Listen(time.Duration(d.config.Wait)/2, func(from, to netip.AddrPort, b []byte) error {
				if from.Port() != port || !scope.Contains(from.Addr()) {
					return nil
				}
				return reader.Datagram(d.host.Now(), from, to, b)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
