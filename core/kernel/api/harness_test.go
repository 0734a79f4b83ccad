package api

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/metricrule"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// world is the API over a real store in a temporary folder; what lies beyond the kernel is made up.
type world struct {
	*Server
	t        *testing.T
	control  *store.Control
	registry *offers
	host     *nodes
	uploads  *uploads
	tokens   map[string]string // role → API token
	sessions int               // that were opened
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	ctx := t.Context()
	control, err := store.OpenControl(ctx, store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "keys", "k")})
	check(t, err)
	t.Cleanup(func() { control.Close() })
	telemetry, err := store.OpenTelemetry(ctx, store.TelemetryConfig{Dir: filepath.Join(dir, "data", "telemetry"), GroupWait: time.Millisecond,
		Room: func(tenant string) int64 { return control.Limit(tenant, store.QuotaSeries) }, Full: func(tenant string) { control.CountRefused(tenant, store.QuotaSeries, 1) }})
	check(t, err)
	t.Cleanup(func() { telemetry.Close() })
	flows, err := store.OpenFlows(ctx, store.FlowsConfig{Dir: filepath.Join(dir, "data", "flows")})
	check(t, err)
	t.Cleanup(func() { flows.Close() })
	a, err := auth.New(auth.Config{Store: control})
	check(t, err)
	log := audit.New(control, nil)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	q, err := queue.New(queue.Config{Store: control, Key: key})
	check(t, err)
	ag, err := agents.New(agents.Config{Store: control, Audit: log, CommandKey: q.PublicKey()})
	check(t, err)
	w := &world{t: t, control: control, registry: &offers{}, host: &nodes{}, uploads: &uploads{control: control}, tokens: map[string]string{}}
	cat := catalogue.New(catalogue.Config{Tenant: store.DefaultTenant, Store: control, Registry: w.registry, Host: w.host,
		Ceiling: policy.Default(), Order: q.Enqueue, Audit: log, Notify: w.host.notify})
	t.Cleanup(cat.Close)
	engine := promql.New(promql.Config{Samples: telemetry, Agents: control.AgentNames, Notes: control.MetricNotes})
	w.Server = New(Config{PromQL: engine, MetricRules: metricrule.New(metricrule.Config{Store: control, Queries: engine, InGroup: control.InGroup, Now: time.Now}), Control: control, Telemetry: telemetry, Flows: flows, Auth: a, Agents: ag, Queue: q, Audit: log, Backups: fakeBackups{}, Retention: fakeRetention{}, SQL: fakeSQL{}, Own: fakeOwn{}, Captures: w.uploads,
		Alerts: moves{control}, Incidents: verdicts{control}, Inventory: sightings{control}, Catalogue: cat, Live: NewLive("boot", nil), WarningLists: warningLists, Rules: tried{}, Trust: "development", Version: "9.9",
		RegistryDir: filepath.Join(dir, "registry"), Ready: func(ctx context.Context) map[string]error { return map[string]error{"control": control.Ping(ctx)} },
		Pages: fstest.MapFS{"index.html": {Data: []byte("<!doctype html>app")}, "assets/a.js": {Data: []byte("js")}}})
	t.Cleanup(w.Close)
	for _, role := range auth.Roles {
		secret, _, err := a.CreateToken(ctx, "test "+role, role, "test", 0)
		check(t, err)
		w.tokens[role] = secret
	}
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// request sends one request. as is a role, "" for nobody.
func (w *world) request(as, method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[as])
	}
	return w.send(r)
}

func (w *world) send(r *http.Request) *httptest.ResponseRecorder {
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out
}

// get reads JSON as the administrator.
func (w *world) get(path string, into any) {
	w.t.Helper()
	out := w.request(auth.RoleADM, http.MethodGet, path, "")
	if out.Code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, out.Code, out.Body)
	}
	check(w.t, json.Unmarshal(out.Body.Bytes(), into))
}

// audited returns the audit log as text, one line per entry, newest first.
func (w *world) audited() string {
	w.t.Helper()
	list, _, err := w.control.ListAudit(w.t.Context(), store.DefaultTenant, store.AuditFilter{}, store.Page{Limit: 500})
	check(w.t, err)
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintln(&b, e.Actor, e.Action, e.Object, e.Outcome, e.Detail, e.Address)
	}
	return b.String()
}

// node is an enrolled agent.
type node struct {
	w      *world
	id     string
	bearer string
	key    ed25519.PrivateKey
}

func (w *world) enrol(name string) *node {
	w.t.Helper()
	var made struct{ Token string }
	out := w.request(auth.RoleADM, "POST", "/api/v1/agents/tokens", `{"name":"`+name+`"}`)
	check(w.t, json.Unmarshal(out.Body.Bytes(), &made))
	return w.enrolWith(made.Token, name)
}

// enrolFor is enrol by somebody, so that the agent is their tenant's.
func (w *world) enrolFor(p *person, name string) *node {
	w.t.Helper()
	return w.enrolWith(w.enrolmentFor(p, name), name)
}

func (w *world) enrolmentFor(p *person, name string) string {
	w.t.Helper()
	var made struct{ Token string }
	check(w.t, json.Unmarshal(p.do("POST", "/api/v1/agents/tokens", `{"name":"`+name+`"}`).Body.Bytes(), &made))
	return made.Token
}

func enrolBody(name, token string) (string, ed25519.PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	body, err := json.Marshal(map[string]string{"token": token, "name": name, "os": "linux", "arch": "amd64", "version": "1",
		"public_key": base64.StdEncoding.EncodeToString(public)})
	return string(body), private, err
}

func (w *world) enrolWith(token, name string) *node {
	w.t.Helper()
	body, private, err := enrolBody(name, token)
	check(w.t, err)
	out := w.request("", "POST", "/api/v1/enrol", body)
	var got enrolledBody
	check(w.t, json.Unmarshal(out.Body.Bytes(), &got))
	if out.Code != http.StatusOK || got.AgentID == "" || got.Bearer == "" || got.CommandKey == "" {
		w.t.Fatalf("enrol: %d %s", out.Code, out.Body)
	}
	return &node{w: w, id: got.AgentID, bearer: got.Bearer, key: private}
}

// signed is a request as the agent would send it.
func (n *node) signed(method, path, body string) *http.Request {
	n.w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+n.bearer)
	check(n.w.t, signing.SignRequest(r, []byte(body), n.key, n.id, time.Now()))
	return r
}

func (n *node) call(method, path, body string) *httptest.ResponseRecorder {
	n.w.t.Helper()
	return n.w.send(n.signed(method, path, body))
}

// --- what lies beyond the kernel ---

type uploads struct {
	control *store.Control
	got     []string
	fail    error
}

func (u *uploads) Delete(ctx context.Context, c store.Capture) error {
	_, err := u.control.DeleteCapture(ctx, c.Tenant, c.ID)
	return err
}

// to moves a capture to a state, as the traffic service would.
func (u *uploads) to(ctx context.Context, c store.Capture, state string, refuse error, from ...string) (store.Capture, error) {
	if !slices.Contains(from, c.State) {
		return c, refuse
	}
	c.State = state
	return c, u.control.UpdateCapture(ctx, c)
}

func (u *uploads) Cancel(ctx context.Context, c store.Capture) (store.Capture, error) {
	return u.to(ctx, c, store.CaptureStopped, ErrNotWaiting, store.CaptureQueued, store.CaptureRunning)
}

func (u *uploads) Resume(ctx context.Context, c store.Capture) (store.Capture, error) {
	return u.to(ctx, c, store.CaptureQueued, ErrNotStopped, store.CaptureStopped, store.CaptureFailed)
}

func (u *uploads) Analyse(ctx context.Context, c store.Capture) (store.Capture, error) {
	return u.to(ctx, c, store.CaptureQueued, ErrAnalysing, store.CaptureStopped, store.CaptureFailed, store.CaptureDone)
}

func (u *uploads) First(ctx context.Context, c store.Capture) (store.Capture, error) {
	return u.to(ctx, c, store.CaptureQueued, ErrNotWaiting, store.CaptureQueued)
}

func (u *uploads) MaxUpload() int64 { return 1 << 20 }

func (u *uploads) Queue() []string { return []string{"other", "capture-1"} }

// Packets answers what was asked for in the places of what is there.
func (u *uploads) Packets(_ context.Context, _ store.Capture, w carved.Wanted) (carved.PacketPage, error) {
	if w.Flow > 9 {
		return carved.PacketPage{}, ErrNoPackets
	}
	p := carved.DecodedPacket{Number: w.Flow, Direction: "none", Hex: "00", Layers: []carved.DecodedLayer{}}
	if len(w.Numbers) > 0 {
		p.Number = w.Numbers[0]
	}
	return carved.PacketPage{Items: []carved.DecodedPacket{p}, Next: w.After + uint64(w.Limit)}, nil
}

func (u *uploads) Carve(_ context.Context, _ store.Capture, w carved.Wanted, to io.Writer) error {
	if w.Flow == 5 {
		return &UnreadableError{errors.New("the file is damaged")}
	}
	if w.Flow > 9 {
		return ErrNoPackets
	}
	_, err := fmt.Fprintf(to, "pcap %d %v", w.Flow, w.Numbers)
	if w.Flow == 6 {
		return errors.New("the worker died")
	}
	return err
}

func (u *uploads) Receive(ctx context.Context, tenant, name, by string, r io.Reader) (store.Capture, error) {
	if u.fail != nil {
		return store.Capture{}, u.fail
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return store.Capture{}, err
	}
	if len(raw) == 0 {
		return store.Capture{}, ErrEmptyUpload
	}
	u.got = append(u.got, name+"="+string(raw))
	c := store.Capture{ID: fmt.Sprintf("capture-%d", len(u.got)), Tenant: tenant, Name: name, Size: int64(len(raw)),
		State: store.CaptureQueued, CreatedBy: by, Created: time.Now()}
	return c, u.control.InsertCapture(ctx, c)
}

func warningLists() []WarningList {
	return []WarningList{{Name: "public resolvers", Type: "string", Entries: 2}, {Name: "odd.json", Refused: "it has no name"}}
}

type moves struct{ control *store.Control }

// verdicts keeps judgements; nothing is weighed anew.
type verdicts struct{ control *store.Control }

func (v verdicts) Move(ctx context.Context, tenant, id, state, by string) (store.Incident, error) {
	return v.control.SetIncidentState(ctx, tenant, id, state, by)
}

func (v verdicts) Assign(ctx context.Context, tenant, id, owner string) (store.Incident, error) {
	return v.control.AssignIncident(ctx, tenant, id, owner)
}

func (v verdicts) Judge(ctx context.Context, f store.Feedback) (store.Feedback, error) {
	return v.control.AddFeedback(ctx, f)
}

func (v verdicts) TakeBack(ctx context.Context, tenant, id string) (store.Feedback, error) {
	return v.control.TakeFeedbackBack(ctx, tenant, id)
}

func (m moves) Acknowledge(ctx context.Context, tenant, id, by string) (store.Alert, error) {
	return m.control.SetAlertState(ctx, tenant, id, store.AlertAcknowledged, by, nil)
}

func (m moves) Resolve(ctx context.Context, tenant, id, by string) (store.Alert, error) {
	return m.control.SetAlertState(ctx, tenant, id, store.AlertResolved, by, nil)
}

// Covered are those of the same detector.
func (moves) Covered(alerts []store.Alert, by store.Suppression) []store.Alert {
	return slices.DeleteFunc(slices.Clone(alerts), func(a store.Alert) bool { return a.Detector != by.Detector })
}

// Found makes an alert of each finding, under the id that the agent gave it.
func (m moves) Found(ctx context.Context, a store.Agent, b findingbatch.Found) error {
	assigned, err := m.control.PluginsOfAgent(ctx, a)
	if err == nil {
		err = b.From(assigned)
	}
	if err != nil {
		return err
	}
	for _, f := range b.Findings {
		_, err := m.control.RecordFinding(ctx, store.Finding{Finding: f, Tenant: a.Tenant, Agent: a.ID}, f.ID, func(*store.Alert) (store.Alert, []store.Notice) {
			return store.Alert{Severity: f.Severity, Title: f.Summary, Detector: f.Detector, Rule: f.Rule, FirstSeen: f.Start, LastSeen: f.End, Count: 1, Agent: a.ID}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (m moves) SendAgain(ctx context.Context, tenant, notice string) (store.Notice, error) {
	return m.control.NoticeAgain(ctx, tenant, notice)
}

// Undo takes back what is noted as undoable.
func (m moves) Undo(ctx context.Context, tenant, id, notice string) (undone []string, err error) {
	if _, err := m.control.AlertByID(ctx, tenant, id); err != nil {
		return nil, err
	}
	told, err := m.control.AlertNotices(ctx, tenant, id)
	for _, n := range told {
		if n.Receipt != nil && n.Receipt.Undoable && (notice == "" || notice == n.ID) {
			if err := m.control.NoticeUndone(ctx, n.ID); err != nil {
				return undone, err
			}
			undone = append(undone, n.ID)
		}
	}
	return undone, err
}

type sightings struct{ control *store.Control }

func (s sightings) Sightings(ctx context.Context, b store.SightingBatch) error {
	_, _, err := s.control.RecordSightings(ctx, b, func(x store.Sighting, m []store.Device) (store.Device, []string) {
		d := store.Device{IPs: []string{x.IP.String()}, Sources: []string{x.Plugin}, FirstSeen: x.Time, LastSeen: x.Time}
		if len(m) > 0 {
			d.ID = m[0].ID
		}
		return d, nil
	})
	return err
}

func (s sightings) AgentSeen(context.Context, store.Agent) {}

// offers is a registry that offers a detector, a notifier with a secret, and a collector.
type offers struct {
	metrics   map[string][]string // what the manifests name, by plugin
	refuse    error
	installed []string
	granted   []sdk.Permission
}

const hookSchema = `{"type":"object","additionalProperties":false,"required":["url"],"properties":{
	"url":{"type":"string","minLength":1},"retries":{"type":"integer","default":3,"maximum":9},
	"secret":{"type":"string","x-secret":true,"writeOnly":true}}}`

func (o *offers) releases() []client.Release {
	make := func(id string, kind sdk.Kind, schema, rules string, perms ...sdk.Permission) client.Release {
		return client.Release{ID: id, Version: "0.1.0", Role: "official", Digest: "d-" + id, Descriptor: &registry.Descriptor{
			Schema: 1, Artifacts: []registry.Artifact{{Runtime: "process", OS: runtime.GOOS, Arch: runtime.GOARCH}}, ConfigSchema: json.RawMessage(schema), Rules: json.RawMessage(rules),
			Manifest: registry.Manifest{APIVersion: registry.APIVersion, ID: id, Version: "0.1.0", Kind: kind, Title: "Title of " + id,
				Summary: "Does things.", License: "Apache-2.0", Protocol: []int{1}, Runtimes: []string{"process", "wasm"}, Permissions: perms, Metrics: o.metrics[id]}}}
	}
	dial := sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"${config.url}"}}, Reason: "It posts there."}
	secret := sdk.Permission{Cap: sdk.CapSecretRead, Reason: "It signs.", Optional: true}
	return []client.Release{
		make("test/collect", sdk.KindCollector, `{"type":"object","additionalProperties":false}`, ""),
		make("test/copycat", sdk.KindCollector, `{"type":"object","additionalProperties":false}`, ""),
		make("test/detect", sdk.KindDetector, "", `[{"id":"r1","purpose":"Finds it.","techniques":["T1046"],"severity":"high","false_positives":["a scanner of your own"]}]`,
			sdk.Permission{Cap: sdk.CapFlowsRead, Reason: "It judges flows."}),
		make("picket/custom-rules", sdk.KindDetector, `{"type":"object","additionalProperties":false,"properties":{"rules":{"type":"string"},"strict":{"type":"boolean"},
			"kinds":{"type":"array","items":{"type":"string"}},"files":{"type":"array","items":{"type":"string"}}}}`, "", sdk.Permission{Cap: sdk.CapFlowsRead, Reason: "Rules may look at flows."}),
		make("test/exec", sdk.KindDetector, "", "", sdk.Permission{Cap: sdk.CapExec, Reason: "It runs things."}),
		make("test/hook", sdk.KindNotifier, hookSchema, "", dial, secret),
	}
}

func (o *offers) Refresh(context.Context) error { return nil }

func (o *offers) List(context.Context) ([]client.Release, error) { return o.releases(), nil }

func (o *offers) Resolve(_ context.Context, id, _ string) (*client.Verified, error) {
	if o.refuse != nil {
		return nil, o.refuse
	}
	for _, r := range o.releases() {
		if r.ID == id {
			return &client.Verified{ID: id, Version: r.Version, Role: r.Role, Digest: r.Digest, Descriptor: r.Descriptor}, nil
		}
	}
	return nil, &registry.Refusal{Plugin: id, Reason: registry.NotVouched}
}

func (o *offers) Install(_ context.Context, id, version, kind string) (*client.Installed, error) {
	o.installed = append(o.installed, id+" "+version+" "+kind)
	i, _ := o.Installed(id)
	return i, nil
}

func (o *offers) Installed(id string) (*client.Installed, bool) {
	for _, r := range o.releases() {
		if r.ID == id {
			return &client.Installed{Locked: registry.Locked{ID: id, Version: r.Version}, Descriptor: r.Descriptor}, true
		}
	}
	return nil, false
}

func (o *offers) Remove(context.Context, ...string) error { return nil }

func (o *offers) AllInstalled() []*client.Installed { return nil }
func (o *offers) RecordGrants(_ context.Context, _ string, g []sdk.Permission) error {
	o.granted = g
	return nil
}
func (o *offers) Readme(context.Context, *registry.Descriptor) ([]byte, error) {
	return []byte("# Readme"), nil
}
func (o *offers) Status() client.Status { return client.Status{Trust: "development"} }

// nodes is a plugin host that runs whatever it is told, at once.
type nodes struct {
	list   []pluginhost.Assignment
	orders []string
	told   []sdk.Notice
	fail   error
}

func (n *nodes) Apply(_ context.Context, list []pluginhost.Assignment) error {
	n.list = list
	return nil
}

func (n *nodes) Instances() []pluginhost.Status {
	var out []pluginhost.Status
	for _, a := range n.list {
		out = append(out, pluginhost.Status{Instance: a.Instance, Plugin: a.Plugin, Version: a.Version, Runtime: a.Runtime,
			State: pluginhost.Ready, PID: 4711, Since: time.Now(), LogTail: []pluginhost.LogLine{{Level: "info", Text: "hello"}}})
	}
	return out
}

func (n *nodes) Restart(_ context.Context, i string) error {
	n.orders = append(n.orders, "restart "+i)
	return n.fail
}

func (n *nodes) Release(_ context.Context, i string) error {
	n.orders = append(n.orders, "release "+i)
	return n.fail
}

func (n *nodes) notify(_ context.Context, _ string, notice sdk.Notice) (sdk.Receipt, error) {
	n.told = append(n.told, notice)
	return sdk.Receipt{ForeignID: "F1"}, n.fail
}

// contains fails for each wanted text that is missing and each unwanted one that is there.
func contains(t *testing.T, where, text string, want, lack []string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(text, s) {
			t.Errorf("%s lacks %q:\n%s", where, s, text)
		}
	}
	for _, s := range lack {
		if strings.Contains(text, s) {
			t.Errorf("%s holds %q, which it must not:\n%s", where, s, text)
		}
	}
}

func bodyOf(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }

func (fakeRetention) Preview(context.Context, map[string]int) ([]KeptNow, error) {
	return []KeptNow{}, nil
}

// fakeOwn is what a server knows of itself.
type fakeOwn struct{}

func (fakeOwn) System(context.Context) (System, error) {
	return System{Storage: []Stored{}, Parts: []SystemPart{}}, nil
}
func (fakeOwn) File() []FileSetting { return []FileSetting{} }

// fakeSQL answers every query alike.
type fakeSQL struct{}

func (fakeSQL) Tables() []store.SQLTable { return []store.SQLTable{} }
func (fakeSQL) Limits() store.SQLLimits  { return store.SQLLimits{} }
func (fakeSQL) Run(_ context.Context, q store.SQLQuery) (store.SQLAnswer, error) {
	if q.SQL == "wrong" {
		return store.SQLAnswer{}, &store.QueryError{Message: "wrong"}
	}
	return store.SQLAnswer{Columns: []store.SQLColumn{{Name: "n", Type: "BIGINT"}}, Rows: [][]json.RawMessage{{json.RawMessage("1")}}, Tables: map[string]int64{}}, nil
}
