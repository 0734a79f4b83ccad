// Package passive is the discovery plugin picket/passive: what goes in is what the parsers of the traffic engine understood of
// a capture, what comes out are sightings of the devices that spoke, with what they said of themselves.
//
// It sends nothing. A device is reported when something new is learned of it, and again after a while when it still speaks.
// What it knows of a device is bounded, and so is the number of devices.
package passive

import (
	"context"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:           "picket/passive",
		Kind:         sdk.KindDiscovery,
		Summary:      "Names the devices that traffic tells of, without sending anything.",
		Subscription: Subscription(),
		Borrows:      true,
		New:          func() sdk.Instance { return New() },
	})
}

// Subscription is what the plugin listens to.
func Subscription() sdk.Subscription {
	return sdk.Subscription{Facts: []string{
		sdk.FactsARP, sdk.FactsDHCP, sdk.FactsDNS, sdk.FactsHTTP, sdk.FactsMessages, sdk.FactsOT, sdk.FactsSMB, sdk.FactsTLS,
	}}
}

// Observer learns of devices.
type Observer struct {
	config  Config
	scope   scope
	devices devices
	means   meanings
	ports   ports
	room    room
}

// New returns an observer that has seen nothing.
func New() *Observer { return &Observer{means: meanings{}, ports: ports{}} }

// Config implements sdk.Instance.
func (o *Observer) Config() any { return &o.config }

// Validate implements sdk.Validator.
func (o *Observer) Validate() error {
	_, err := o.config.scope()
	return err
}

// Start implements sdk.Starter.
func (o *Observer) Start(context.Context, sdk.Host) error {
	var err error
	o.scope, err = o.config.scope()
	o.devices = newDevices(o.config.MaxDevices, time.Duration(o.config.Refresh))
	return err
}

// Observe implements sdk.Observer.
func (o *Observer) Observe(ctx context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	if o.devices.byIP == nil {
		return sdk.Errorf(sdk.Internal, "Observe was called before Start")
	}
	l := listener{o, sink}
	for _, err := range []error{
		each(ctx, b.ARP, l.arp), each(ctx, b.DHCP, l.dhcp), each(ctx, b.DNS, l.dns), each(ctx, b.TLS, l.tls), each(ctx, b.HTTP, l.http),
		each(ctx, b.SMB, l.smb), each(ctx, b.OT, l.ot), each(ctx, b.Messages, l.message),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// EndCapture implements sdk.Observer. All that was learned has been reported.
func (o *Observer) EndCapture(context.Context, sdk.SightingSink) error {
	o.devices.forget()
	return nil
}

// each gives the records of one kind to whoever understands them.
func each[R any](ctx context.Context, records []R, take func(*R) error) error {
	for i := range records {
		if err := take(&records[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// listener understands records and tells of the devices in them.
type listener struct {
	*Observer
	sink sdk.SightingSink
}

// plain is an address as devices are remembered by.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// tell reports what a record says of a device, when that is new and the device is one of those that are reported.
func (l listener) tell(s *said) error {
	s.ip = plain(s.ip)
	s.hostname = hostname(s.hostname)
	if s.mac != "" && !isUnicast(s.mac) {
		s.mac = ""
	}
	if !l.scope.wants(s.ip, s.onLink) {
		return nil
	}
	if !s.ip.IsValid() && s.mac == "" {
		return nil
	}
	for _, sighting := range l.devices.learn(s) {
		if err := l.sink.Sighting(sighting); err != nil {
			return err
		}
	}
	return nil
}
