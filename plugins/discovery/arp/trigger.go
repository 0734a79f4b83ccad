package arp

import (
	"context"
	"net"
	"time"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
	"golang.org/x/time/rate"
)

// discardPort is the UDP port whose service, if there were one, throws away what it gets (RFC 863).
const discardPort = "9"

// trigger sends one datagram of one byte to each IPv4 address that lies in the targets and in the scope. Whether
// anyone reads it does not matter: before it can leave, the kernel asks the network who has the address, and the
// answer is what we want.
func (d *Discoverer) trigger(ctx context.Context, scope, targets sdk.Scope) error {
	four := iprange.Family(targets.Prefixes, "ip4")
	if len(four) == 0 {
		return nil
	}
	ranges, err := iprange.Plan(four, scope.Prefixes, d.config.MaxAddresses)
	if err != nil {
		return err
	}
	limit := rate.NewLimiter(rate.Limit(d.config.Rate), 1)
	for addr := range iprange.Addresses(ranges) {
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		// An address without a route is ordinary; a missing grant is not.
		if err := d.touch(ctx, addr.String()); sdk.ClassOf(err) == sdk.PermissionDenied {
			return err
		}
	}
	d.pause(ctx, time.Duration(d.config.Wait))
	return ctx.Err()
}

func (d *Discoverer) touch(ctx context.Context, addr string) error {
	conn, err := d.host.Dial(ctx, "udp", net.JoinHostPort(addr, discardPort))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte{0})
	return err
}
