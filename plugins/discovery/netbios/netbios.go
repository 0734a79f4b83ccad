// Package netbios is the discovery plugin picket/netbios: what goes in is a range of addresses, what comes out are the names,
// domains and hardware addresses that hosts tell of themselves over the NetBIOS name service (RFC 1002, node status) and, before
// anybody logs on, over SMB 2. What the answers mean is decided as in passive discovery.
package netbios

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/plugins/internal/inquire"
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/netbios",
		Kind:    sdk.KindDiscovery,
		Summary: "Asks hosts for their NetBIOS names, and file servers who they are.",
		New:     func() sdk.Instance { return New() },
	})
}

// port is that of the name service.
const port = 137

// Discoverer asks hosts.
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

// Discover asks each address that lies both in the scope and in the targets.
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
		return sdk.Errorf(sdk.Unsupported, "NetBIOS knows no IPv6: state an IPv4 range among the targets")
	}
	reader, err := inquire.New(ctx, sdk.Scope{Prefixes: ranges}, d.config.MaxAddresses, sink, nil)
	if err != nil {
		return err
	}
	if err := d.status(ctx, ranges, reader); err != nil || !d.config.SMB {
		return err
	}
	return d.servers(ctx, ranges, reader)
}

// status asks all addresses for their names.
func (d *Discoverer) status(ctx context.Context, ranges []netip.Prefix, reader *inquire.Reader) error {
	socket, err := inquire.Open(ctx, d.host, netip.IPv4Unspecified())
	if err != nil {
		return err
	}
	defer socket.Close()
	var id [2]byte
	rand.Read(id[:])
	question := statusQuestion(id)
	scope := sdk.Scope{Prefixes: ranges}
	take := func(from, to netip.AddrPort, b []byte) error {
		if from.Port() != port || !scope.Contains(from.Addr()) || len(b) < len(id) || [2]byte(b) != id {
			return nil
		}
		return reader.Datagram(d.host.Now(), from, to, b)
	}
	const breath = 50 * time.Millisecond // after which it listens, so that no answer is lost for want of room
	limit := rate.NewLimiter(rate.Limit(d.config.Rate), max(1, d.config.Rate/int(time.Second/breath)))
	refused, sent, last := 0, 0, error(nil)
	for addr := range iprange.Addresses(ranges) {
		for !limit.Allow() {
			if err := socket.Listen(breath, take); err != nil {
				return err
			}
		}
		if err := socket.Send(question, netip.AddrPortFrom(addr, port)); err != nil {
			refused, last = refused+1, err // the network's own address, or a part without a route
			continue
		}
		sent++
	}
	if sent == 0 && refused > 0 {
		return sdk.Errorf(sdk.Temporary, "none of %d questions could be sent: %w", refused, last)
	}
	return socket.Listen(time.Duration(d.config.Wait), take)
}

// statusQuestion asks for all names that a host has (RFC 1002, 4.2.17). Its id comes back in the answer.
func statusQuestion(id [2]byte) []byte {
	const allNames, typeStatus, classIN = "CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0x21, 1
	b := append(id[:], 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	b = append(append(append(b, byte(len(allNames))), allNames...), 0)
	b = binary.BigEndian.AppendUint16(b, typeStatus)
	return binary.BigEndian.AppendUint16(b, classIN)
}
