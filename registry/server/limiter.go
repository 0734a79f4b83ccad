package server

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one address may post, and how many addresses are remembered.
const (
	postsPerMinute = 60
	postBurst      = 30
	maxAddresses   = 10_000
)

// limiter slows down those who post too often, by address. Behind a proxy all share one, unless the proxy slows them
// down itself.
type limiter struct {
	now func() time.Time

	mu        sync.Mutex
	addresses map[string]*rate.Limiter
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, addresses: map[string]*rate.Limiter{}}
}

func (l *limiter) allow(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.addresses[host]
	if one == nil {
		if len(l.addresses) >= maxAddresses {
			l.forget(now)
		}
		if len(l.addresses) >= maxAddresses {
			return false
		}
		one = rate.NewLimiter(rate.Every(time.Minute/postsPerMinute), postBurst)
		l.addresses[host] = one
	}
	return one.AllowN(now, 1)
}

// forget drops the addresses that have not posted for a while: those that may post as often as a new one.
func (l *limiter) forget(now time.Time) {
	for host, one := range l.addresses {
		if one.TokensAt(now) >= postBurst {
			delete(l.addresses, host)
		}
	}
}
