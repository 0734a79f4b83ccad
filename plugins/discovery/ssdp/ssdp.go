// Package ssdp is the discovery plugin picket/ssdp: what goes in are networks of this machine, what comes out is what their UPnP
// devices say of themselves: in the answers to a search (UPnP Device Architecture 2.0, chapter 1), which are understood as in
// passive discovery, and in the descriptions to which the answers point (chapter 2).
//
// A description is read from the address that answered and from nowhere else, whatever the answer says.
package ssdp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/plugins/internal/inquire"
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/ssdp",
		Kind:    sdk.KindDiscovery,
		Summary: "Searches for UPnP devices and reads the descriptions that they offer.",
		New:     func() sdk.Instance { return New() },
	})
}

// port is that of SSDP; answers come from any.
const port = 1900

// group is who is asked.
var group = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 255, 250}), port)

// Discoverer searches.
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

// Discover searches the links on which the targets are, then reads what it was pointed to.
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
		return sdk.Errorf(sdk.Unsupported, "the search goes over IPv4: state an IPv4 network of this machine among the targets")
	}
	links, err := inquire.Links(ctx, d.host, ranges, port)
	if err != nil {
		return err
	}
	found := descriptions{}
	var failed []error
	for _, link := range links {
		err := d.search(ctx, link, sdk.Scope{Prefixes: ranges}, sink, found)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, err)
	}
	if d.config.Descriptions {
		failed = append(failed, d.read(ctx, found, sink))
	}
	return errors.Join(failed...)
}

// search asks one link, twice, because multicast is not repeated when it is lost.
func (d *Discoverer) search(ctx context.Context, link netip.Addr, scope sdk.Scope, sink sdk.SightingSink, found descriptions) error {
	socket, err := inquire.Open(ctx, d.host, link)
	if err != nil {
		return err
	}
	defer socket.Close()
	reader, err := inquire.New(ctx, scope, d.config.MaxAddresses, sink, found.learn)
	if err != nil {
		return err
	}
	wait := time.Duration(d.config.Wait)
	question := fmt.Appendf(nil, "M-SEARCH * HTTP/1.1\r\nHOST: %s\r\nMAN: \"ssdp:discover\"\r\nMX: %d\r\nST: ssdp:all\r\n\r\n", group, max(1, int(wait/time.Second)-1))
	for range 2 {
		if err := socket.Send(question, group); err != nil {
			return sdk.Errorf(sdk.Temporary, "search from %s: %w", link, err)
		}
		err := socket.Listen(wait/2, func(from, to netip.AddrPort, b []byte) error {
			if !scope.Contains(from.Addr()) {
				return nil
			}
			// Devices answer from a port of their choice; it is told as the one of the protocol.
			return reader.Datagram(d.host.Now(), netip.AddrPortFrom(from.Addr(), port), to, b)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
