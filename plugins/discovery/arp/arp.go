// Package arp is the discovery plugin picket/arp: what goes in is the kernel's table of neighbours (ARP for IPv4,
// neighbour discovery for IPv6), what comes out is a sighting with hardware address and interface of each neighbour in
// the scope.
//
// It only reads what the kernel learnt by itself. With trigger set it first sends one small datagram to each IPv4
// address of the targets, so that the kernel has a reason to ask who has it.
package arp

import (
	"context"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/arp",
		Kind:    sdk.KindDiscovery,
		Summary: "Finds devices on the local networks by the kernel's neighbour table.",
		New:     func() sdk.Instance { return New() },
	})
}

// Discoverer reads the table of the machine it runs on.
type Discoverer struct {
	config Config
	host   sdk.Host
	table  func(sdk.Host) ([]neighbour, error)
	pause  func(ctx context.Context, d time.Duration)
}

// neighbour is one row of the table.
type neighbour struct {
	addr  netip.Addr
	mac   string // lower case, colons
	iface string
	state state

	router bool // it said that it is one
}

// New returns a discoverer that has not been started.
func New() *Discoverer { return &Discoverer{table: readTable, pause: sleep} }

// Config implements sdk.Instance.
func (d *Discoverer) Config() any { return &d.config }

// Validate implements sdk.Validator.
func (d *Discoverer) Validate() error { return d.config.validate() }

// Start implements sdk.Starter.
func (d *Discoverer) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	return nil
}

// Discover emits the neighbours that lie in the scope and have a hardware address.
func (d *Discoverer) Discover(ctx context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	if d.host == nil {
		return sdk.Errorf(sdk.Internal, "Discover was called before Start")
	}
	if len(scope.Prefixes) == 0 {
		return sdk.Errorf(sdk.InvalidConfig, "the scope is empty: state the range of addresses to report, for example 192.0.2.0/24")
	}
	targets, err := d.targets(scope)
	if err != nil {
		return err
	}
	if d.config.Trigger {
		if err := d.trigger(ctx, scope, targets); err != nil {
			return err
		}
	}
	table, err := d.table(d.host)
	if err != nil {
		return err
	}
	now := d.host.Now()
	for _, n := range table {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.wanted(n, scope, targets) {
			continue
		}
		if err := sink.Sighting(n.sighting(now)); err != nil {
			return err
		}
	}
	return nil
}

// wanted leaves out what is not a device: multicast and broadcast entries, neighbours the kernel asked for and never
// heard from, and entries without a hardware address.
func (d *Discoverer) wanted(n neighbour, scope, targets sdk.Scope) bool {
	return n.state.known() && isUnicast(n.mac) && !n.addr.IsMulticast() &&
		scope.Contains(n.addr.WithZone("")) && targets.Contains(n.addr.WithZone("")) && d.config.Interfaces.allows(n.iface)
}

// targets narrow the scope; without any the scope is all.
func (d *Discoverer) targets(scope sdk.Scope) (sdk.Scope, error) {
	prefixes, err := iprange.Parse("targets", d.config.Targets)
	if err != nil || len(prefixes) == 0 {
		return scope, err
	}
	return sdk.Scope{Prefixes: prefixes}, nil
}

func (n neighbour) sighting(now time.Time) sdk.Sighting {
	facts := map[string]string{"interface": n.iface, "neighbour_state": n.state.String()}
	if n.router {
		facts["role"] = "router"
	}
	return sdk.Sighting{
		Time:       now,
		IP:         n.addr.WithZone(""), // the interface is a fact of its own
		MAC:        n.mac,
		Facts:      facts,
		Confidence: n.state.confidence(),
	}
}

// isUnicast reports whether mac names one card: the lowest bit of the first byte marks groups, and all zeros nobody.
func isUnicast(mac string) bool {
	if len(mac) != len("00:00:00:00:00:00") || mac == "00:00:00:00:00:00" {
		return false
	}
	switch mac[1] {
	case '0', '2', '4', '6', '8', 'a', 'c', 'e':
		return true
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
