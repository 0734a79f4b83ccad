// Package snmp is the discovery plugin picket/snmp-devices: what goes in are addresses and what opens the agents there, what comes out
// are sightings of the devices that answer SNMP, with their ports and the links that they know, and of those in their ARP tables.
package snmp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the discovery.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/snmp-devices",
		Kind:    sdk.KindDiscovery,
		Summary: "Asks devices by SNMP who they are, which ports they have, and who is around them.",
		New:     func() sdk.Instance { return New() },
	}
}

// Confidence in what a device says of itself, and of others.
const (
	certain = 0.95
	told    = 0.7
)

// source is what the facts come from.
const source = "snmp"

// Discoverer asks devices.
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

// Discover asks each address that lies both in the scope and in the targets. Most have nothing to say, which is no error.
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	places := make(chan struct{}, d.config.Concurrency)
	for addr := range iprange.Addresses(ranges) {
		if ctx.Err() != nil {
			break
		}
		if !scope.Contains(addr) {
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if err := d.ask(ctx, addr, scope, sink); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// ask visits one address. Only what would be the same for all others is an error.
func (d *Discoverer) ask(ctx context.Context, addr netip.Addr, scope sdk.Scope, sink sdk.SightingSink) error {
	limited, cancel := context.WithTimeout(ctx, time.Duration(d.config.Deadline))
	defer cancel()
	client, err := snmp.Open(limited, d.host, net.JoinHostPort(addr.String(), strconv.Itoa(d.config.Port)), d.config.Access,
		snmp.Options{Timeout: time.Duration(d.config.Timeout), Retries: d.config.Retries})
	if err == nil {
		stop := context.AfterFunc(limited, client.Close)
		defer stop()
		defer client.Close()
		var found *device
		if found, err = read(client); found != nil {
			if err != nil {
				d.host.Log().Debug("device was not read to its end", "address", addr, "error", err)
			}
			return d.tell(addr, found, scope, sink)
		}
		if errors.Is(err, snmp.ErrSilent) || limited.Err() != nil {
			return nil
		}
		d.host.Log().Debug("device was not read", "address", addr, "error", err)
		return nil
	}
	switch sdk.ClassOf(err) {
	case sdk.InvalidConfig, sdk.PermissionDenied, sdk.Unsupported:
		return sdk.Errorf(sdk.ClassOf(err), "%s: %w", addr, err)
	}
	return nil // no route, or out of sockets for a moment
}

func (d *Discoverer) tell(addr netip.Addr, found *device, scope sdk.Scope, sink sdk.SightingSink) error {
	now := d.host.Now()
	own := sdk.Sighting{Time: now, IP: addr, MAC: found.macOf(addr), Hostname: hostname(found.system.name), Facts: found.system.facts(), Source: source,
		Confidence: certain, Ports: found.ports, Links: found.links}
	if err := sink.Sighting(own); err != nil || !d.config.Neighbours {
		return err
	}
	by := cmp.Or(found.system.name, addr.String())
	for _, l := range found.links {
		// What only the bridge heard is known by its ARP entry, or by nothing but its card.
		if l.Protocol == "bridge" || l.IP.IsValid() && !scope.Contains(l.IP) || !l.IP.IsValid() && l.MAC == "" {
			continue
		}
		s := sdk.Sighting{Time: now, IP: l.IP, MAC: l.MAC, Hostname: hostname(l.Name), Source: l.Protocol, Confidence: told,
			Facts: map[string]string{"known_by": by + " " + l.Port}}
		if err := sink.Sighting(s); err != nil {
			return err
		}
	}
	for _, n := range found.around {
		if n.ip.IsLinkLocalUnicast() || !scope.Contains(n.ip) {
			continue
		}
		s := sdk.Sighting{Time: now, IP: n.ip, MAC: n.mac, Source: source, Confidence: told, Facts: map[string]string{"known_by": strings.TrimSpace(by + " " + n.port)}}
		if err := sink.Sighting(s); err != nil {
			return err
		}
	}
	return nil
}

// macOf is the hardware address that belongs to an address of the device: of the port that has it, else the one that the device as
// a whole goes by, else that of its first port.
func (f *device) macOf(addr netip.Addr) string {
	first := ""
	for _, p := range f.ports {
		for _, a := range p.Addresses {
			if a.Addr() == addr && p.MAC != "" {
				return p.MAC
			}
		}
		if p.Type == "ethernet" || p.Type == "wireless" {
			first = cmp.Or(first, p.MAC)
		}
	}
	return cmp.Or(f.system.baseMAC, first)
}

// hostname is a name that a machine can have in DNS, "" for words that people wrote.
func hostname(s string) string {
	const longest = 253
	if len(s) > longest || s == "" || strings.Trim(s, ".-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" ||
		strings.ContainsAny(s, " /") || net.ParseIP(s) != nil {
		return ""
	}
	return s
}
