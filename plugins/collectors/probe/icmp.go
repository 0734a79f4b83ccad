package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/plugins/internal/echo"
	"github.com/picketwatch/picket/sdk"
)

// echoes are what became of some requests. Those that were lost count for nothing but the loss.
type echoes struct {
	sent, answered   int
	least, most, sum time.Duration
}

// pause is the time between two requests to one target.
const pause = 100 * time.Millisecond

var errSilent = errors.New("no echo came back")

// ping sends echo requests, one after the other. Each gets its share of the time that is left.
func (r *result) ping(ctx context.Context, host sdk.Host, t target, count int) error {
	addr, err := address(ctx, host, t)
	if err != nil {
		return err
	}
	family := "ip4"
	if addr.Is6() {
		family = "ip6"
	}
	socket, err := host.ListenICMP(family)
	if err != nil {
		return err
	}
	e := echo.New(socket, family)
	received := make(chan struct{})
	go func() {
		defer close(received)
		_ = e.Receive() // echoes that cannot be read are echoes that did not come
	}()
	defer func() {
		e.Close()
		<-received
	}()
	end, limited := ctx.Deadline()
	got := &echoes{}
	for i := range count {
		if i > 0 && !rest(ctx) {
			break
		}
		wait := time.Second
		if limited {
			wait = min(wait, time.Until(end)/time.Duration(count-i))
		}
		took, err := e.Ping(ctx, addr, wait)
		if ctx.Err() != nil && took == 0 {
			break // it had no time to come back
		}
		got.add(took)
		if err != nil {
			r.echoes = got
			return err
		}
	}
	r.echoes = got
	if got.answered == 0 {
		return errSilent
	}
	r.total = got.sum / time.Duration(got.answered)
	return nil
}

func (e *echoes) add(took time.Duration) {
	e.sent++
	if took == 0 {
		return
	}
	if e.answered == 0 || took < e.least {
		e.least = took
	}
	e.answered++
	e.most, e.sum = max(e.most, took), e.sum+took
}

func (e *echoes) loss() float64 { return 1 - float64(e.answered)/float64(e.sent) }

func rest(ctx context.Context) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// address is what the host resolves the target to, under the grants: a datagram socket is connected to it, and nothing sent.
func address(ctx context.Context, host sdk.Host, t target) (netip.Addr, error) {
	conn, err := host.Dial(ctx, "udp", t.address)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	text, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err
}
