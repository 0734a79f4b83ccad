package agent

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// KeyFile names the file in the data folder whose content opens the local page: who can read it owns this agent.
const KeyFile = "local-key"

// How long what the owner was given holds.
const (
	codeHolds    = time.Minute
	sessionHolds = 12 * time.Hour
	sessionIdle  = 30 * time.Minute
	freshFor     = 5 * time.Minute // a session may ask for a restart
	mostGiven    = 16              // codes, and sessions
)

// owner tells the owner of this agent from other users of the machine, for whom loopback is as near.
type owner struct {
	key    string
	cookie string // its name
	now    func() time.Time
	wrong  *rate.Limiter // tries that failed

	mu       sync.Mutex // guards all below
	codes    map[string]time.Time
	sessions map[string]*session
}

type session struct{ opened, used time.Time }

func newOwner(dir, agentID string, now func() time.Time) (*owner, error) {
	path := filepath.Join(dir, KeyFile)
	raw, err := os.ReadFile(path)
	key := strings.TrimSpace(string(raw))
	if os.IsNotExist(err) || err == nil && len(key) < 32 { // one that a full disk cut short is as good as none
		key = random()
		err = os.WriteFile(path, []byte(key+"\n"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the local page: %w", err)
	}
	return &owner{key: key, cookie: "picket_agent_" + agentID[:min(8, len(agentID))], now: now, wrong: rate.NewLimiter(rate.Every(10*time.Second), 5),
		codes: map[string]time.Time{}, sessions: map[string]*session{}}, nil
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// code is for one session, soon.
func (o *owner) code() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep()
	if len(o.codes) >= mostGiven {
		clear(o.codes)
	}
	c := random()
	o.codes[c] = o.now()
	return c
}

// open makes a session of a code.
func (o *owner) open(code string) (id string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep()
	if _, ok := o.codes[code]; !ok {
		return "", false
	}
	delete(o.codes, code)
	if len(o.sessions) >= mostGiven {
		clear(o.sessions)
	}
	id = random()
	o.sessions[id] = &session{o.now(), o.now()}
	return id, true
}

func (o *owner) sweep() {
	now := o.now()
	for c, at := range o.codes {
		if now.Sub(at) > codeHolds {
			delete(o.codes, c)
		}
	}
	for id, s := range o.sessions {
		if now.Sub(s.used) > sessionIdle || now.Sub(s.opened) > sessionHolds {
			delete(o.sessions, id)
		}
	}
}

// known reports whether a request is the owner's, and whether that was proved just now.
func (o *owner) known(r *http.Request) (known, fresh bool) {
	if key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		known = subtle.ConstantTimeCompare([]byte(key), []byte(o.key)) == 1
		return known, known
	}
	c, err := r.Cookie(o.cookie)
	if err != nil {
		return false, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep()
	s := o.sessions[c.Value]
	if s == nil {
		return false, false
	}
	if r.Header.Get("Sec-Fetch-Dest") != "empty" { // a page that looks by itself is nobody who looks
		s.used = o.now()
	}
	return true, o.now().Sub(s.opened) <= freshFor
}

// refuse answers who is not the owner. Keys and codes are too long to be guessed; that it is tried is slowed down even so.
func (o *owner) refuse(w http.ResponseWriter, tried bool) {
	if tried && !o.wrong.Allow() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many tries; wait a little", http.StatusTooManyRequests)
		return
	}
	http.Error(w, "this is for the owner of this agent: run picket-agent open as the user that it runs as, or send what the file "+KeyFile+
		" in its data folder holds as bearer token", http.StatusUnauthorized)
}
