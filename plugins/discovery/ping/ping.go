// Package ping is the discovery plugin picket/ping: what goes in is a range of addresses, what comes out is a sighting
// with the round-trip time of each address that answered an ICMP echo request.
//
// It sends to nothing outside the scope it is given, slowly enough to be polite, and refuses a range that is too large
// before the first packet.
package ping

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/picketwatch/picket/plugins/internal/echo"
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/ping",
		Kind:    sdk.KindDiscovery,
		Summary: "Finds devices in a range of addresses by ICMP echo, over IPv4 and IPv6.",
		New:     func() sdk.Instance { return New() },
	})
}

// confidence of a sighting: something answers at this address, but not necessarily the device itself (a router or a
// proxy may answer for it).
const confidence = 0.9

// Discoverer sweeps ranges.
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

// Discover asks every address that lies both in the scope and in the configured targets.
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
	var failed []error
	for _, family := range []string{"ip4", "ip6"} {
		mine := iprange.Family(ranges, family)
		if len(mine) == 0 {
			continue
		}
		err := d.sweep(ctx, family, mine, scope, sink)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // one family may be missing on this machine; the other goes on
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (d *Discoverer) sweep(ctx context.Context, family string, ranges []netip.Prefix, scope sdk.Scope, sink sdk.SightingSink) error {
	socket, err := d.host.ListenICMP(family)
	if err != nil {
		return wrap(err, "open an ICMP socket for %s", family)
	}
	s := newSweep(d.config, echo.New(socket, family), scope)
	return s.run(ctx, ranges, func(a answer) error {
		return sink.Sighting(sdk.Sighting{
			Time:       d.host.Now(),
			IP:         a.addr,
			Facts:      map[string]string{"rtt_seconds": seconds(a.rtt)},
			Confidence: confidence,
		})
	})
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }

// wrap keeps the class of err, or calls it Temporary when it has none.
func wrap(err error, format string, args ...any) error {
	class := sdk.Temporary
	var classed *sdk.Error
	if errors.As(err, &classed) {
		class = classed.Class
	}
	return sdk.Errorf(class, format+": %w", append(args, err)...)
}
