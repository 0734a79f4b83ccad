//go:build linux

package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/agents/flowbatch"
	"github.com/picketwatch/picket/core/kernel/agents/token"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/hosttest"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

// patience bounds how long a test waits for what should happen soon; it is no budget.
const testPatience = 60 * time.Second

// TestMain lets the test binary be the plugin that agents run.
func TestMain(m *testing.M) {
	if os.Getenv("PICKET_LIFELINE_FD") != "" {
		serve.Main()
		return
	}
	if dir := os.Getenv("AGENT_PLAY"); dir != "" {
		playAgent(dir)
		return
	}
	code := m.Run()
	programs.Remove()
	os.Exit(code)
}

func init() {
	sdk.Register(sdk.Plugin{ID: "picket/collector", Kind: sdk.KindCollector, Summary: "Counts its rounds.",
		New: func() sdk.Instance { return &counting{} }})
	sdk.Register(sdk.Plugin{ID: "picket/discovery", Kind: sdk.KindDiscovery, Summary: "Sees the first address of its scope.",
		New: func() sdk.Instance { return &seeing{} }})
	sdk.Register(sdk.Plugin{ID: "picket/detector", Kind: sdk.KindDetector, Summary: "Finds every flow and every packet.",
		Rules:        []sdk.Rule{{ID: "flow", Purpose: "There was one."}, {ID: "packet", Purpose: "There was one."}},
		Subscription: sdk.Subscription{Flows: true, Packets: &sdk.PacketSubscription{Layers: []string{"udp"}, SnapLen: 64}},
		New:          func() sdk.Instance { return &judging{} }})
}

type judging struct{ cfg struct{} }

func (j *judging) Config() any { return &j.cfg }
func (j *judging) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	for _, f := range b.Flows {
		if err := sink.Finding(sdk.Finding{Rule: "flow", Severity: sdk.SeverityLow, Src: f.Src.String(), Start: f.Start, End: f.End}); err != nil {
			return err
		}
	}
	for _, p := range b.Packets {
		if err := sink.Finding(sdk.Finding{Rule: "packet", Severity: sdk.SeverityLow, Start: p.Time, End: p.Time, Packets: []uint64{p.Number}}); err != nil {
			return err
		}
	}
	return nil
}
func (j *judging) Flush(context.Context, sdk.FindingSink) error { return nil }

type counting struct {
	cfg    struct{}
	rounds float64
}

func (c *counting) Config() any { return &c.cfg }
func (c *counting) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	c.rounds++
	return sink.Sample(sdk.Sample{Metric: "rounds", Type: sdk.Counter, Value: c.rounds, Time: time.Now()})
}

type seeing struct {
	cfg struct {
		Targets []string `json:"targets" doc:"Where to look."`
	}
}

func (s *seeing) Config() any { return &s.cfg }
func (s *seeing) Discover(_ context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	return sink.Sighting(sdk.Sighting{IP: scope.Prefixes[0].Addr(), Time: time.Now(), Confidence: 1})
}

var programs hosttest.Programs

func helpers(tb testing.TB) string {
	tb.Helper()
	return programs.Dir(tb)
}

// site is a server with its registry, as an agent sees them. It verifies every request as the real one does.
type site struct {
	t        *testing.T
	registry *registrytest.Registry
	http     *httptest.Server
	command  ed25519.PrivateKey
	secret   string

	mu          sync.Mutex // guards all below
	skew        time.Duration
	down        bool // answers 503 with Retry-After
	away        bool // breaks every connection
	awayWhen    func() bool
	noRegistry  bool // breaks connections to the registry alone
	refuse      int  // status for telemetry
	proxy       bool // says so, and not the server
	key         ed25519.PublicKey
	nonces      map[string]bool
	forged      []string
	version     int64
	assignments []pluginhost.Assignment
	answer      *signing.Config // instead of the honest one
	orders      []signing.Command
	results     map[string]result
	outputs     map[string]string
	batches     []batchIn
	status      *Status
	statuses    int
	news        chan struct{}
}

type batchIn struct {
	Path      string
	Epoch     string             `json:"epoch"`
	Seq       uint64             `json:"seq"`
	Samples   []sdk.Sample       `json:"samples"`
	Sightings []map[string]any   `json:"sightings"`
	Flows     flowbatch.Batch    `json:"flows"`
	Found     findingbatch.Found `json:"found"`

	at time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, registry: registrytest.New(t), command: key, secret: "one-time", nonces: map[string]bool{},
		results: map[string]result{}, outputs: map[string]string{}, news: make(chan struct{})}
	s.http = httptest.NewServer(s.handler())
	t.Cleanup(s.http.Close)
	return s
}

// publish puts the test binary into the registry.
func (s *site) publish(perms ...sdk.Permission) { s.publishAs("1.0.0", perms...) }

func (s *site) publishAs(version string, perms ...sdk.Permission) {
	s.t.Helper()
	helpers(s.t)
	self, err := programs.Read()
	if err != nil {
		s.t.Fatal(err)
	}
	s.registry.Publish(s.t,
		registrytest.Plugin{ID: "picket/collector", Version: version, Kind: sdk.KindCollector, Process: self, Permissions: perms},
		registrytest.Plugin{ID: "picket/discovery", Version: version, Kind: sdk.KindDiscovery, Process: self})
}

func (s *site) token() string {
	return token.Enrolment{Server: s.http.URL, Secret: s.secret, RootSHA256: s.registry.RootSHA256(s.t)}.String()
}

// now is the server's clock.
func (s *site) now() time.Time { return s.registry.Now().Add(s.skew) }

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/registry/", http.StripPrefix("/registry", s.registry))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	mux.HandleFunc("POST /api/v1/enrol", s.enrol)
	for pattern, h := range map[string]func(*http.Request, []byte) (int, any){
		"POST /api/v1/metrics":                    s.ingest,
		"POST /api/v1/sightings":                  s.ingest,
		"POST /api/v1/flows":                      s.ingest,
		"POST /api/v1/findings":                   s.ingest,
		"POST /api/v1/evidence":                   s.evidence,
		"POST /api/v1/agent/status":               s.report,
		"GET /api/v1/agent/poll":                  s.poll,
		"POST /api/v1/agent/commands/{id}/result": s.finished,
		"POST /api/v1/agent/commands/{id}/output": s.printed,
	} {
		mux.HandleFunc(pattern, s.signed(h))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down, away, now := s.down, s.away || s.awayWhen != nil && s.awayWhen() || s.noRegistry && strings.HasPrefix(r.URL.Path, "/registry/"), s.now()
		s.mu.Unlock()
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		switch {
		case away:
			panic(http.ErrAbortHandler)
		case down:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (s *site) enrol(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token     string `json:"token"`
		PublicKey []byte `json:"public_key"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Token != s.secret || s.key != nil {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"title":"Unauthorized","detail":"enrolment token is not valid any more; make a new one on the server"}`)
		return
	}
	s.key = in.PublicKey
	_ = json.NewEncoder(w).Encode(map[string]any{"agent_id": "agent-1", "bearer": "pka_bearer",
		"command_key": []byte(s.command.Public().(ed25519.PublicKey)), "registry": "/registry/"})
}

func (s *site) Remember(_ context.Context, keyID, nonce string, _ time.Time) (bool, error) {
	fresh := !s.nonces[nonce]
	s.nonces[nonce] = true
	return fresh, nil
}

// signed lets a request through that the enrolled agent signed.
func (s *site) signed(h func(*http.Request, []byte) (int, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		_, err := signing.Verifier{}.VerifyRequest(r, body, func(id string) (ed25519.PublicKey, error) {
			if id != "agent-1" || r.Header.Get("Authorization") != "Bearer pka_bearer" {
				return nil, signing.ErrUnknownKey
			}
			return s.key, nil
		}, s, s.now())
		if err != nil {
			s.forged = append(s.forged, err.Error())
		}
		s.mu.Unlock()
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"title":"Unauthorized","detail":%q}`, err.Error())
			return
		}
		status, out := h(r, body)
		if status >= 400 && out != nil {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		w.WriteHeader(status)
		if out != nil {
			_ = json.NewEncoder(w).Encode(out)
		}
	}
}

func (s *site) ingest(r *http.Request, body []byte) (int, any) {
	b := batchIn{Path: r.URL.Path, at: time.Now()}
	if err := json.Unmarshal(body, &b); err != nil {
		return http.StatusBadRequest, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != 0 {
		if s.proxy {
			return s.refuse, nil
		}
		return s.refuse, map[string]any{"status": s.refuse, "detail": "no"}
	}
	s.batches = append(s.batches, b)
	return http.StatusOK, map[string]any{"accepted": len(b.Samples), "stored_through": b.Seq}
}

func (s *site) evidence(_ *http.Request, body []byte) (int, any) {
	var b struct{ Seq uint64 }
	if err := json.Unmarshal(body, &b); err != nil {
		return http.StatusBadRequest, nil
	}
	return http.StatusOK, map[string]any{"stored_through": b.Seq}
}

func (s *site) report(_ *http.Request, body []byte) (int, any) {
	var st Status
	if err := json.Unmarshal(body, &st); err != nil {
		return http.StatusBadRequest, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = &st
	s.statuses++
	return http.StatusNoContent, nil
}

// wait blocks as a long poll does until ready says yes, but not for long.
func (s *site) wait(r *http.Request, ready func() bool) bool {
	deadline := time.After(time.Second)
	for {
		s.mu.Lock()
		ok, news := ready(), s.news
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-news:
		case <-deadline:
			return false
		case <-r.Context().Done():
			return false
		}
	}
}

func (s *site) poll(r *http.Request, _ []byte) (int, any) {
	changed := func() bool { return s.answer != nil || fmt.Sprint(s.version) != r.URL.Query().Get("have") }
	s.wait(r, func() bool { return changed() || len(s.orders) > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]any{"commands": s.orders}
	s.orders = nil
	switch {
	case s.answer != nil:
		out["config"] = *s.answer
	case changed():
		out["config"] = s.signedConfig()
	}
	return http.StatusOK, out
}

// signedConfig is the answer of an honest server; it runs under s.mu.
func (s *site) signedConfig() signing.Config {
	list, err := json.Marshal(s.assignments)
	if err != nil {
		s.t.Error(err)
	}
	c, err := signing.SignConfig(signing.Config{Agent: "agent-1", Version: s.version, Issued: s.now(), Assignments: list}, s.command)
	if err != nil {
		s.t.Error(err)
	}
	return c
}

func (s *site) printed(r *http.Request, body []byte) (int, any) {
	var in struct {
		Offset int64
		Data   []byte
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return http.StatusBadRequest, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	if in.Offset == int64(len(s.outputs[id])) {
		s.outputs[id] += string(in.Data)
	}
	return http.StatusOK, map[string]any{"have": len(s.outputs[id]), "more": true}
}

func (s *site) finished(r *http.Request, body []byte) (int, any) {
	var res result
	if err := json.Unmarshal(body, &res); err != nil {
		return http.StatusBadRequest, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[r.PathValue("id")] = res
	return http.StatusNoContent, nil
}

// --- what tests do ---

func (s *site) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.news)
	s.news = make(chan struct{})
}

func (s *site) assign(list ...pluginhost.Assignment) {
	s.change(func() { s.version++; s.assignments = list })
}

// order signs a command and hands it out; it returns the id.
func (s *site) order(kind, args string, change func(*signing.Command)) string {
	c := signing.Command{ID: uuid.NewString(), Agent: "agent-1", Type: kind, Args: json.RawMessage(args), Issued: s.now(), Expires: s.now().Add(time.Minute)}
	c, err := signing.SignCommand(c, s.command)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	s.change(func() { s.orders = append(s.orders, c) })
	return c.ID
}

func (s *site) until(what string, ready func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(testPatience)
	for {
		s.mu.Lock()
		ok := ready()
		s.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.mu.Lock()
			defer s.mu.Unlock()
			status, _ := json.Marshal(s.status)
			s.t.Fatalf("waited for %s; %d batches, results %v, refused %v, status %s", what, len(s.batches), s.results, s.forged, status)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *site) result(id string) result {
	s.t.Helper()
	s.until("the answer to order "+id, func() bool { _, ok := s.results[id]; return ok })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.results[id]
}

// plugin is what the agent reported of its first plugin.
func (s *site) plugin() pluginhost.Status {
	if s.status == nil || len(s.status.Plugins) == 0 {
		return pluginhost.Status{}
	}
	return s.status.Plugins[0]
}

// samples counts the samples of a metric that have arrived.
func (s *site) samples(metric string) int {
	n := 0
	for _, b := range s.batches {
		for _, x := range b.Samples {
			if x.Metric == metric {
				n++
			}
		}
	}
	return n
}

// running is an agent in this process.
type running struct {
	*Agent
	t      *testing.T
	out    *bytes.Buffer
	cancel context.CancelFunc
	done   chan error
}

func (s *site) cfg(dir string) Config {
	return Config{Dir: dir, Helpers: helpers(s.t), Now: s.registry.Now, PolicyFiles: []string{filepath.Join(dir, "policy.yaml")},
		Enrolment: Enrolment{Token: s.token(), Name: "box"}}
}

func (s *site) start(dir string, change func(*Config)) *running {
	s.t.Helper()
	cfg := s.cfg(dir)
	r := &running{t: s.t, out: &bytes.Buffer{}, done: make(chan error, 1)}
	cfg.Out = r.out
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Agent = a
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- a.Run(ctx) }()
	s.t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("the agent ended with %v", err)
		}
		r.done <- nil // for the next call
	case <-time.After(testPatience):
		r.t.Fatal("the agent does not stop")
	}
}

func collector() pluginhost.Assignment {
	return pluginhost.Assignment{Instance: "collector-1", Plugin: "picket/collector", Version: "1.0.0", Runtime: pluginhost.RuntimeProcess, Interval: time.Second}
}

func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q lacks %q", text, w)
		}
	}
}
