package agents

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/token"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

var start = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a server with one enrolled agent.
type world struct {
	t      *testing.T
	dir    string
	now    *clock
	db     *store.Control
	agents *Agents
	key    ed25519.PrivateKey
	reply  EnrolReply
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: &clock{t: start}}
	w.start()
	text, _, err := w.agents.CreateToken(t.Context(), TokenRequest{Server: "https://picket.example", Name: "web", CreatedBy: "user:ada"})
	must(t, err)
	var pub ed25519.PublicKey
	pub, w.key, err = ed25519.GenerateKey(nil)
	must(t, err)
	w.reply, err = w.agents.Enrol(t.Context(), EnrolRequest{Token: text, Name: "web", OS: "linux", Arch: "amd64", Version: "0.1", PublicKey: pub, Address: "192.0.2.1"})
	must(t, err)
	return w
}

// start opens the server's files, as a restart does.
func (w *world) start() {
	w.t.Helper()
	if w.db != nil {
		must(w.t, w.db.Close())
	}
	var err error
	w.db, err = store.OpenControl(w.t.Context(), store.ControlConfig{Path: filepath.Join(w.dir, "data", "control.db"), KeyFile: filepath.Join(w.dir, "key"), Now: w.now.Now})
	must(w.t, err)
	w.t.Cleanup(func() { _ = w.db.Close() })
	w.agents, err = New(Config{Store: w.db, Audit: audit.New(w.db, w.now.Now), CommandKey: make([]byte, ed25519.PublicKeySize), Now: w.now.Now})
	must(w.t, err)
}

func (w *world) request(body string) *http.Request {
	w.t.Helper()
	req := httptest.NewRequest("POST", "https://picket.example/api/v1/metrics", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+w.reply.Bearer)
	must(w.t, signing.SignRequest(req, []byte(body), w.key, w.reply.AgentID, w.now.Now()))
	return req
}

func (w *world) audited() []store.AuditEntry {
	w.t.Helper()
	list, _, err := w.db.ListAudit(w.t.Context(), "default", store.AuditFilter{Action: "agent.request"}, store.Page{})
	must(w.t, err)
	return list
}

func TestRequestsOfAnAgent(t *testing.T) {
	cases := map[string]struct {
		change func(w *world, req *http.Request)
		body   string
		status int
		reason string
	}{
		"good":                    {},
		"no bearer":               {change: func(_ *world, r *http.Request) { r.Header.Del("Authorization") }, status: 401, reason: "bearer"},
		"another's bearer":        {change: func(_ *world, r *http.Request) { r.Header.Set("Authorization", "Bearer pka_x") }, status: 401, reason: "bearer"},
		"bearer but no signature": {change: func(_ *world, r *http.Request) { r.Header.Del("Signature") }, status: 401, reason: "unsigned"},
		"forged": {change: func(w *world, r *http.Request) {
			_, key, _ := ed25519.GenerateKey(nil)
			must(w.t, signing.SignRequest(r, []byte("{}"), key, w.reply.AgentID, w.now.Now()))
		}, status: 401, reason: "bad_signature"},
		"altered body": {body: `{"x":1}`, status: 401, reason: "bad_digest"},
		"altered path": {change: func(_ *world, r *http.Request) { r.URL.Path = "/api/v1/sightings" }, status: 401, reason: "bad_signature"},
		"unknown agent": {change: func(w *world, r *http.Request) {
			must(w.t, signing.SignRequest(r, []byte("{}"), w.key, "someone", w.now.Now()))
		}, status: 401, reason: "unknown_key"},
		"old": {change: func(w *world, _ *http.Request) { w.now.Add(10 * time.Minute) }, status: 401, reason: "stale"},
		"disabled": {change: func(w *world, _ *http.Request) {
			must(w.t, w.db.SetAgentDisabled(w.t.Context(), "default", w.reply.AgentID, true))
		}, status: 403, reason: "disabled"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			req, body := w.request("{}"), "{}"
			if c.change != nil {
				c.change(w, req)
			}
			if c.body != "" {
				body = c.body
			}
			agent, err := w.agents.Authenticate(req, []byte(body), "192.0.2.1")
			if c.status == 0 {
				must(t, err)
				if agent.ID != w.reply.AgentID || agent.Tenant != "default" || len(w.audited()) != 0 {
					t.Errorf("agent %+v, audit %+v", agent, w.audited())
				}
				return
			}
			var r *Refusal
			if !errors.As(err, &r) || r.Status != c.status || r.Reason != c.reason {
				t.Fatalf("got %#v, want %d %s", err, c.status, c.reason)
			}
			if list := w.audited(); len(list) != 1 || list[0].Outcome != audit.Refused || !strings.Contains(list[0].Detail, c.reason) || list[0].Address != "192.0.2.1" {
				t.Errorf("audit %+v", list)
			}
		})
	}
}

// send says what becomes of a request: "" when it is let in.
func (w *world) send(req *http.Request) (reason string, wait time.Duration) {
	w.t.Helper()
	_, err := w.agents.Authenticate(req, []byte("{}"), "203.0.113.9")
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		w.t.Fatal(err)
	}
	if r == nil {
		return "", 0
	}
	return r.Reason, r.RetryAfter
}

func (w *world) want(what string, req *http.Request, want string) (wait time.Duration) {
	w.t.Helper()
	reason, wait := w.send(req)
	if reason != want {
		w.t.Errorf("%s: %q, want %q", what, reason, want)
	}
	return wait
}

func TestAReplayIsRefusedAlsoAfterARestart(t *testing.T) {
	w := newWorld(t)
	req := w.request("{}")
	w.want("the first time", req, "")
	w.want("at once", req, "replayed")
	w.start() // as after a crash
	if wait := w.want("after a crash", req, reasonRestarted); wait <= 0 || wait > leaseSpan+time.Second {
		t.Errorf("wait %s", wait)
	}
	wait := w.want("another that is signed at that moment", w.request("{}"), reasonRestarted)
	w.now.Add(wait)
	w.want("one that is signed when it was asked for", w.request("{}"), "")
	w.want("the old one still", req, reasonRestarted)
	w.now.Add(time.Hour)
	w.want("and in an hour", req, "stale")
	if n := len(w.audited()); n != 2 {
		t.Errorf("%d audit entries, want that of the replay and that of the old one: nobody is to blame for a restart", n)
	}
}

func TestAgentsNeedNotWaitAfterAnOrderlyStop(t *testing.T) {
	w := newWorld(t)
	req := w.request("{}")
	w.want("the first time", req, "")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.agents.Run(ctx); close(ended) }()
	stop()
	<-ended
	w.want("while it stops", w.request("{}"), reasonStopping)
	w.start()
	w.now.Add(time.Second)
	w.want("a second later", w.request("{}"), "")
	w.want("the old one", req, reasonRestarted)
}

// A clock that runs ahead must not make its agent's requests good twice, nor keep the others out after a restart.
func TestWhatIsSignedAheadIsKnownAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.want("in time", w.request("{}"), "")
	w.now.Add(time.Minute)
	ahead := w.request("{}")
	w.now.Add(-time.Minute)
	w.want("a minute ahead", ahead, "")
	w.want("again", ahead, "replayed")
	w.want("the others", w.request("{}"), "")
	w.start()
	w.now.Add(leaseSpan + time.Second)
	w.want("the others after a crash", w.request("{}"), "")
	w.want("the one ahead after a crash", ahead, "replayed")
	w.now.Add(54 * time.Second)
	w.want("and when its time has come", ahead, "replayed")
}

func TestAClockThatJumpsOpensNothing(t *testing.T) {
	w := newWorld(t)
	before := w.request("{}")
	w.want("before", before, "")
	w.now.Add(24 * time.Hour)
	w.want("a day ahead", w.request("{}"), "")
	w.now.Add(-24 * time.Hour)
	w.want("back again, the old one", before, reasonRestarted)
	wait := w.want("back again, a new one", w.request("{}"), reasonRestarted)
	w.now.Add(wait)
	w.want("when it was asked for", w.request("{}"), "")
	if wait > 3*time.Minute {
		t.Errorf("a wait of %s", wait)
	}
	w.now.Add(24 * time.Hour)
	w.want("tomorrow", w.request("{}"), "")
	w.now.Add(-23 * time.Hour)
	w.start()
	w.want("back, and started again", before, "stale")
	wait = w.want("a new one", w.request("{}"), reasonRestarted)
	w.now.Add(wait)
	w.want("when it was asked for", w.request("{}"), "")
}

func TestReplaysAreForgottenInTime(t *testing.T) {
	w := newWorld(t)
	for range 600 {
		w.want("a request", w.request("{}"), "")
		w.now.Add(time.Second)
	}
	held := 0
	for _, set := range w.agents.replays.minutes {
		held += len(set)
	}
	if held > 360 {
		t.Errorf("%d requests are held, those of six minutes are told apart", held)
	}
}

func TestRefusalsDoNotFillTheDisk(t *testing.T) {
	w := newWorld(t)
	for range refusalBurst + 50 {
		req := httptest.NewRequest("POST", "https://picket.example/api/v1/metrics", nil)
		if _, err := w.agents.Authenticate(req, nil, "203.0.113.9"); err == nil {
			t.Fatal("let in")
		}
	}
	w.now.Add(time.Second)
	if _, err := w.agents.Authenticate(httptest.NewRequest("GET", "https://picket.example/", nil), nil, "203.0.113.9"); err == nil {
		t.Fatal("let in")
	}
	list, next, err := w.db.ListAudit(t.Context(), "default", store.AuditFilter{Action: "agent.request"}, store.Page{Limit: 500})
	must(t, err)
	if len(list) != refusalBurst+1 || next != "" || !strings.Contains(list[0].Detail, "50 refusals before") {
		t.Errorf("%d entries, newest %q", len(list), list[0].Detail)
	}
}

func TestEnrol(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	text, row, err := w.agents.CreateToken(ctx, TokenRequest{Server: "https://picket.example", RootSHA256: strings.Repeat("ab", 32), TTL: time.Minute})
	must(t, err)
	e, err := token.Parse(text)
	must(t, err)
	if e.Server != "https://picket.example" || row.Expires != start.Add(time.Minute) || strings.Contains(string(row.Hash), e.Secret) {
		t.Errorf("token %+v, row %+v", e, row)
	}
	good := EnrolRequest{Token: text, Name: "db", PublicKey: make([]byte, ed25519.PublicKeySize)}
	for name, change := range map[string]func(*EnrolRequest){
		"short key":       func(r *EnrolRequest) { r.PublicKey = r.PublicKey[1:] },
		"no name":         func(r *EnrolRequest) { r.Name = " " },
		"long name":       func(r *EnrolRequest) { r.Name = strings.Repeat("x", 201) },
		"too many labels": func(r *EnrolRequest) { r.Labels = map[string]string{"a": strings.Repeat("x", 201)} },
	} {
		r := good
		change(&r)
		var input *InputError
		if _, err := w.agents.Enrol(ctx, r); !errors.As(err, &input) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.agents.Enrol(ctx, EnrolRequest{Token: "guess", Name: "x", PublicKey: good.PublicKey}); !errors.Is(err, ErrEnrolment) {
		t.Errorf("a guess: %v", err)
	}
	first, err := w.agents.Enrol(ctx, good)
	must(t, err)
	if first.AgentID == w.reply.AgentID || first.Bearer == w.reply.Bearer {
		t.Error("two agents share an identity")
	}
	if _, err := w.agents.Enrol(ctx, good); !errors.Is(err, ErrEnrolment) {
		t.Errorf("the same token again: %v", err)
	}
	text, _, err = w.agents.CreateToken(ctx, TokenRequest{Server: "https://picket.example", TTL: time.Minute})
	must(t, err)
	w.now.Add(time.Minute)
	good.Token = text
	if _, err := w.agents.Enrol(ctx, good); !errors.Is(err, ErrEnrolment) {
		t.Errorf("an expired token: %v", err)
	}
	var input *InputError
	if _, _, err := w.agents.CreateToken(ctx, TokenRequest{Server: "picket.example"}); !errors.As(err, &input) {
		t.Errorf("a server without scheme: %v", err)
	}
	list, _, err := w.db.ListAudit(ctx, "default", store.AuditFilter{Action: "agent.enrol"}, store.Page{})
	must(t, err)
	if len(list) != 5 { // two let in, three refused
		t.Errorf("%d audit entries: %+v", len(list), list)
	}
}

func TestState(t *testing.T) {
	w := newWorld(t)
	state := func() string {
		a, err := w.db.AgentByID(t.Context(), w.reply.AgentID)
		must(t, err)
		return w.agents.State(a)
	}
	if s := state(); s != Online {
		t.Errorf("at enrolment: %s", s)
	}
	w.now.Add(2 * time.Minute)
	if s := state(); s != Late {
		t.Errorf("two minutes quiet: %s", s)
	}
	w.now.Add(4 * time.Minute)
	if s := state(); s != Offline {
		t.Errorf("six minutes quiet: %s", s)
	}
	_, err := w.agents.Authenticate(w.request("{}"), []byte("{}"), "192.0.2.7")
	must(t, err)
	if s := state(); s != Online {
		t.Errorf("after a request: %s", s)
	}
	must(t, w.agents.Report(t.Context(), w.reply.AgentID, "0.2", json.RawMessage(`{"plugins":[]}`)))
	a, err := w.db.AgentByID(t.Context(), w.reply.AgentID)
	must(t, err)
	if a.Version != "0.2" || string(a.Status) != `{"plugins":[]}` || a.Address != "192.0.2.7" {
		t.Errorf("agent %+v", a)
	}
}

func TestDesiredConfig(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d, changed, err := w.agents.Config(ctx, w.reply.AgentID, 0, 0)
	must(t, err)
	if !changed || d.Version == 0 || len(d.Assignments) != 0 {
		t.Fatalf("first: %+v %t", d, changed)
	}
	if _, changed, _ := w.agents.Config(ctx, w.reply.AgentID, d.Version, time.Millisecond); changed {
		t.Error("changed though nothing did")
	}
	type answer struct {
		d       Desired
		changed bool
		err     error
	}
	got := make(chan answer)
	go func() {
		d, changed, err := w.agents.Config(context.WithoutCancel(ctx), w.reply.AgentID, d.Version, time.Minute)
		got <- answer{d, changed, err}
	}()
	must(t, w.db.PutAssignment(ctx, store.Assignment{Instance: "mail", Tenant: "default", Plugin: "picket/email", NodeType: store.NodeServer, Enabled: true}))
	must(t, w.db.PutAssignment(ctx, store.Assignment{Instance: "host", Tenant: "default", Plugin: "picket/host", NodeType: store.NodeAgents, Enabled: true,
		Secrets: map[string]string{"k": "v"}}))
	select {
	case a := <-got:
		must(t, a.err)
		if !a.changed || a.d.Version <= d.Version || len(a.d.Assignments) != 1 || a.d.Assignments[0].Secrets["k"] != "v" {
			t.Errorf("answer %+v", a)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the poll slept on")
	}
}

// slowFloor is a disk that takes long for each lease.
type slowFloor struct {
	Store
	gate   chan struct{}
	writes atomic.Int32
}

func (s *slowFloor) SetReplayFloor(ctx context.Context, at time.Time) error {
	if s.writes.Add(1) > 1 {
		<-s.gate
	}
	return s.Store.SetReplayFloor(ctx, at)
}

func TestNobodyWaitsForTheNextLease(t *testing.T) {
	w := newWorld(t)
	slow := &slowFloor{Store: w.db, gate: make(chan struct{})}
	var err error
	w.agents, err = New(Config{Store: slow, Audit: audit.New(w.db, w.now.Now), CommandKey: make([]byte, ed25519.PublicKeySize), Now: w.now.Now})
	must(t, err)
	take := func() {
		t.Helper()
		req := w.request("{}")
		_, err := w.agents.Authenticate(req, []byte("{}"), "192.0.2.1")
		must(t, err)
	}
	take() // writes the first lease
	for range int(leaseSpan / time.Second) {
		w.now.Add(time.Second)
		take() // from the half of it on the next one is being written, which takes until the gate opens
	}
	if n := slow.writes.Load(); n > 2 {
		t.Errorf("%d leases are being written at once", n)
	}
	close(slow.gate)
	for range 3 * int(leaseSpan/time.Second) {
		w.now.Add(time.Second)
		take()
	}
	// What was taken is refused after a crash, whatever was being written.
	req := w.request("{}")
	_, err = w.agents.Authenticate(req, []byte("{}"), "192.0.2.1")
	must(t, err)
	w.start()
	var refused *Refusal
	if _, err := w.agents.Authenticate(req, []byte("{}"), "192.0.2.1"); !errors.As(err, &refused) || refused.Reason != reasonRestarted {
		t.Errorf("after a crash: %v", err)
	}
}
