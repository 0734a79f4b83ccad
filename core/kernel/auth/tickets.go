package auth

import (
	"encoding/json"
	"sync"
	"time"
)

const (
	ticketLife  = 5 * time.Minute
	maxTickets  = 10_000 // kept, in two generations
	ticketTries = 5      // codes that may be tried with one
)

// ticket is a sign-in that is half done. It lives in memory: a restart means to begin again.
type ticket struct {
	kind    string // what it was given for
	tenant  string // of a password that was right
	userID  string
	hash    string          // of the password that there was
	session json.RawMessage // of a passkey's ceremony
	nonce   string          // of an OpenID sign-in
	proof   string          // of an OpenID sign-in: PKCE's verifier
	begun   time.Time       // of an OpenID sign-in
	tries   int
	expires time.Time
}

type tickets struct {
	now func() time.Time

	mu         sync.Mutex // guards young and old
	young, old map[string]*ticket
}

func newTickets(now func() time.Time) *tickets {
	return &tickets{now: now, young: map[string]*ticket{}}
}

func (t *tickets) put(id string, x ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x.expires = t.now().Add(ticketLife)
	if len(t.young) >= maxTickets/2 {
		t.old, t.young = t.young, map[string]*ticket{}
	}
	t.young[id] = &x
}

// take returns a ticket of that kind and ends it.
func (t *tickets) take(id, kind string) (ticket, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.find(id, kind)
	if !ok {
		return ticket{}, false
	}
	t.drop(id)
	return *x, true
}

// try returns a ticket of that kind, which ends when it was tried too often.
func (t *tickets) try(id, kind string) (ticket, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.find(id, kind)
	if !ok {
		return ticket{}, false
	}
	if x.tries++; x.tries >= ticketTries {
		t.drop(id)
	}
	return *x, true
}

func (t *tickets) find(id, kind string) (*ticket, bool) {
	x := t.young[id]
	if x == nil {
		x = t.old[id]
	}
	if x == nil || x.kind != kind || !t.now().Before(x.expires) {
		return nil, false
	}
	return x, true
}

func (t *tickets) drop(id string) {
	delete(t.young, id)
	delete(t.old, id)
}
