package ping

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/internal/echo"
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
	"golang.org/x/time/rate"
)

// sweep asks the addresses of one family over one socket.
type sweep struct {
	config Config
	echo   *echo.Echoer
	scope  sdk.Scope
	rate   *rate.Limiter
}

type answer struct {
	addr netip.Addr
	rtt  time.Duration
}

func newSweep(config Config, over *echo.Echoer, scope sdk.Scope) *sweep {
	return &sweep{
		config: config, echo: over, scope: scope,
		rate: rate.NewLimiter(rate.Limit(config.Rate), 1),
	}
}

// run hands each answer to found, one at a time, and closes the socket at the end. Its workers bound how many
// addresses are being waited for; the limiter bounds how many packets leave in a second.
func (s *sweep) run(ctx context.Context, ranges []netip.Prefix, found func(answer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	received := make(chan struct{})
	go func() {
		defer close(received)
		if err := s.echo.Receive(); err != nil {
			cancel(sdk.Errorf(sdk.Temporary, "receive ICMP answers: %w", err))
		}
	}()
	defer func() {
		s.echo.Close()
		<-received
	}()

	work, answers := make(chan netip.Addr), make(chan answer)
	var tally sent
	var workers sync.WaitGroup
	for range s.config.Concurrency {
		workers.Go(func() {
			for addr := range work {
				s.ask(ctx, addr, answers, &tally)
			}
		})
	}
	go func() {
		defer close(answers)
		s.feed(ctx, ranges, work)
		workers.Wait()
	}()

	for a := range answers {
		if err := found(a); err != nil {
			cancel(err)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return tally.err()
}

// feed hands out the addresses. The scope is checked again here, next to the socket: whatever else goes wrong, nothing
// is sent outside it.
func (s *sweep) feed(ctx context.Context, ranges []netip.Prefix, work chan<- netip.Addr) {
	defer close(work)
	for addr := range iprange.Addresses(ranges) {
		if !s.scope.Contains(addr) {
			continue
		}
		select {
		case work <- addr:
		case <-ctx.Done():
			return
		}
	}
}

// ask sends up to 1+Retries requests to one address and reports the first answer.
func (s *sweep) ask(ctx context.Context, addr netip.Addr, answers chan<- answer, tally *sent) {
	for range 1 + s.config.Retries {
		if s.rate.Wait(ctx) != nil {
			return
		}
		rtt, err := s.echo.Ping(ctx, addr, time.Duration(s.config.Timeout))
		tally.add(err)
		if err != nil || rtt <= 0 {
			continue
		}
		select {
		case answers <- answer{addr: addr, rtt: rtt}:
		case <-ctx.Done():
		}
		return
	}
}

// sent counts requests that the system took and those that it refused. A refusal of some is ordinary (no route to a
// part of the range); a refusal of all is an error that the operator must see.
type sent struct {
	mu     sync.Mutex // guards the rest
	ok     int
	failed int
	last   error
}

func (t *sent) add(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed++
		t.last = err
		return
	}
	t.ok++
}

func (t *sent) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ok > 0 || t.failed == 0 {
		return nil
	}
	return wrap(t.last, "%s", fmt.Sprintf("none of %d echo requests could be sent", t.failed))
}
