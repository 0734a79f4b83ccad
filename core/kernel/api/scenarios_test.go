package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// scenario is one request and what its answer must and must not hold.
type scenario struct {
	name   string
	as     string
	method string
	path   string
	body   string
	status int
	want   []string
	lack   []string
}

func (w *world) play(list []scenario) {
	for _, s := range list {
		w.t.Run(s.name, func(t *testing.T) {
			out := w.request(s.as, s.method, s.path, s.body)
			if out.Code != s.status {
				t.Fatalf("%s %s: %d, want %d: %s", s.method, s.path, out.Code, s.status, out.Body)
			}
			contains(t, "the answer", out.Body.String(), s.want, s.lack)
			if s.status >= 400 && out.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("an error of type %q", out.Header().Get("Content-Type"))
			}
		})
	}
}

const adm = auth.RoleADM

func TestReading(t *testing.T) {
	newWorld(t).play([]scenario{
		{"health", "", "GET", "/healthz", "", 200, []string{`"ok"`}, nil},
		{"readiness", "", "GET", "/readyz", "", 200, []string{`"control":"ok"`}, nil},
		{"the document", "", "GET", "/api/v1/openapi.json", "", 200, []string{`"3.1.0"`, `/api/v1/series`, `"x-roles"`}, nil},
		{"setup is needed", "", "GET", "/api/v1/setup", "", 200, []string{`"needed":true`}, nil},
		{"who am I", adm, "GET", "/api/v1/me", "", 200, []string{`"role":"ADM"`, `"trust":"development"`, `"version":"9.9"`, `"csrf":""`}, nil},
		{"overview", adm, "GET", "/api/v1/overview", "", 200, []string{`"enable_plugin"`, `"get_told"`, `"devices":0`, `"critical":0`}, nil},
		{"overview for the public", auth.RolePUB, "GET", "/api/v1/overview", "", 200, []string{`"steps":[]`}, nil},
		{"no agents", adm, "GET", "/api/v1/agents", "", 200, []string{`"items":[]`}, []string{"null"}},
		{"no devices", adm, "GET", "/api/v1/devices", "", 200, []string{`"items":[]`}, nil},
		{"no alerts", adm, "GET", "/api/v1/alerts", "", 200, []string{`"items":[]`}, nil},
		{"no captures", adm, "GET", "/api/v1/captures", "", 200, []string{`"items":[]`}, nil},
		{"no metrics", adm, "GET", "/api/v1/metrics/names", "", 200, []string{`"items":[]`}, nil},
		{"a series that nobody sends", adm, "GET", "/api/v1/series?metric=nope", "", 200, []string{`"series":[]`}, nil},
		{"a series without a metric", adm, "GET", "/api/v1/series", "", 422, []string{"metric"}, nil},
		{"a step that is none", adm, "GET", "/api/v1/series?metric=x&step=often", "", 422, []string{"query.step", "30s"}, nil},
		{"a time backwards", adm, "GET", "/api/v1/series?metric=x&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", 422, []string{"query.from"}, nil},
		{"labels that are none", adm, "GET", "/api/v1/series?metric=x&labels=abc", "", 422, []string{"k=v"}, nil},
		{"a filter that is none", adm, "GET", "/api/v1/alerts?state=burning", "", 422, []string{"query.state"}, nil},
		{"an alert that is not there", adm, "GET", "/api/v1/alerts/none", "", 404, nil, nil},
		{"an agent that is not there", adm, "GET", "/api/v1/agents/none", "", 404, nil, nil},
		{"the history of a device that is not there", adm, "GET", "/api/v1/devices/none/history", "", 404, nil, nil},
		{"devices of no network", adm, "GET", "/api/v1/discovery/history?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&within=here", "", 422, []string{"CIDR"}, nil},
		{"devices of no time", adm, "GET", "/api/v1/discovery/history", "", 422, []string{"query.from"}, nil},
		{"a device that is not there", adm, "GET", "/api/v1/devices/none", "", 404, nil, nil},
		{"a plugin that is not there", adm, "GET", "/api/v1/plugins/test/none", "", 404, nil, nil},
		{"an address that is not there", adm, "GET", "/api/v2/x", "", 404, nil, []string{"doctype"}},
		{"a method that is not there", adm, "DELETE", "/api/v1/series", "", 405, nil, nil},
		{"a token that is wrong", "", "GET", "/api/v1/me", "", 401, []string{"sign in"}, nil},
		{"the app's own addresses", "", "GET", "/alerts/123", "", 200, []string{"<!doctype html>app"}, nil},
		{"the start page", "", "GET", "/", "", 200, []string{"<!doctype html>app"}, nil},
		{"a hashed file", "", "GET", "/assets/a.js", "", 200, []string{"js"}, nil},
		{"a hashed file of another build", "", "GET", "/assets/b.js", "", 404, nil, []string{"doctype"}},
		{"out of the registry's folder", "", "GET", "/registry/../data/control.db", "", 404, nil, nil},
	})
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/api/v1/me", "/nothing/here", "/api/v1/openapi.json"} {
		h := w.request("", "GET", path, "").Header()
		if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: policy %q", path, h.Get("Content-Security-Policy"))
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	if c := w.request("", "GET", "/assets/a.js", "").Header().Get("Cache-Control"); !strings.Contains(c, "immutable") {
		t.Errorf("a hashed file: %q", c)
	}
	if c := w.request(adm, "GET", "/api/v1/agents", "").Header().Get("Cache-Control"); c != "no-store" {
		t.Errorf("an answer of the API: %q", c)
	}
}

func TestSetupOnceThenLogin(t *testing.T) {
	w := newWorld(t)
	token, err := w.cfg.Auth.NewSetupToken(t.Context())
	check(t, err)
	body := func(token, password string) string {
		return `{"token":"` + token + `","username":"Ada","password":"` + password + `"}`
	}
	w.play([]scenario{
		{"a wrong token", "", "POST", "/api/v1/setup", body("guess", "a long password"), 401, nil, []string{"a long password"}},
		{"a short password", "", "POST", "/api/v1/setup", body(token, "secret1"), 422, []string{"body.password", "at least"}, []string{"secret1"}},
		{"an unknown member", "", "POST", "/api/v1/setup", `{"token":"x","username":"a","password":"hunter2hunter2","role":"ADM"}`, 422, []string{"unexpected"}, []string{"hunter2"}},
		{"the set-up", "", "POST", "/api/v1/setup", body(token, "correct horse battery"), 201, []string{`"username":"ada"`, `"role":"ADM"`}, []string{"battery"}},
		{"the link again", "", "POST", "/api/v1/setup", body(token, "correct horse battery"), 409, []string{"sign in"}, nil},
		{"no longer needed", "", "GET", "/api/v1/setup", "", 200, []string{`"needed":false`}, nil},
		{"a wrong password", "", "POST", "/api/v1/login", `{"username":"ada","password":"wrong password"}`, 401, nil, []string{"wrong password\""}},
		{"nobody of that name", "", "POST", "/api/v1/login", `{"username":"eve","password":"wrong password"}`, 401, nil, nil},
		{"the right password", "", "POST", "/api/v1/login", `{"username":"ADA","password":"correct horse battery"}`, 200, []string{`"username":"ada"`}, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"user:ada setup  ok", "user:ada login  refused", "user:ada login  ok", "user:eve login  refused"}, []string{"battery"})
}

// session signs in by a one-time link and returns the cookies.
func (w *world) session() (cookies []*http.Cookie, csrf string) {
	w.t.Helper()
	u, err := w.cfg.Auth.EnsureUser(w.t.Context(), "ada", auth.RoleADM)
	check(w.t, err)
	token, err := w.cfg.Auth.NewSignInToken(w.t.Context(), u.ID)
	check(w.t, err)
	out := w.request("", "POST", "/api/v1/signin", `{"token":"`+token+`"}`)
	if out.Code != 200 {
		w.t.Fatalf("sign in: %d %s", out.Code, out.Body)
	}
	if again := w.request("", "POST", "/api/v1/signin", `{"token":"`+token+`"}`); again.Code != 401 {
		w.t.Errorf("the link worked twice: %d", again.Code)
	}
	var me meBody
	check(w.t, json.Unmarshal(out.Body.Bytes(), &me))
	return out.Result().Cookies(), me.CSRF
}

func TestSessionAndCSRF(t *testing.T) {
	w := newWorld(t)
	cookies, csrf := w.session()
	for _, c := range cookies {
		if c.SameSite != http.SameSiteStrictMode || c.HttpOnly != (c.Name == sessionCookie) {
			t.Errorf("cookie %+v", c)
		}
	}
	try := func(method, path, body string, headers ...string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		for _, c := range cookies {
			r.AddCookie(c)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return w.send(r).Code
	}
	const path, body = "/api/v1/tokens", `{"name":"ci","role":"SUP"}`
	for _, c := range []struct {
		name string
		got  int
		want int
	}{
		{"reading needs no header", try("GET", path, ""), 200},
		{"changing without it", try("POST", path, body), 403},
		{"changing with a wrong one", try("POST", path, body, "X-Picket-CSRF", "guess"), 403},
		{"changing with it", try("POST", path, body, "X-Picket-CSRF", csrf), 201},
		{"from another site's page", try("POST", "/api/v1/login", `{"username":"a","password":"b"}`, "Sec-Fetch-Site", "cross-site"), 403},
		{"signing out", try("POST", "/api/v1/logout", "", "X-Picket-CSRF", csrf), 204},
		{"the session is gone", try("GET", "/api/v1/me", ""), 401},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	out := w.request(adm, "POST", "/api/v1/tokens", `{"name":"ci","role":"SUP","expires_in":"24h"}`)
	var made newTokenBody
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	if out.Code != 201 || !strings.HasPrefix(made.Token, "picket_") || made.Expires == nil {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	r := httptest.NewRequest("GET", "/api/v1/me", nil)
	r.Header.Set("Authorization", "Bearer "+made.Token)
	if got := w.send(r); got.Code != 200 || !strings.Contains(got.Body.String(), `"SUP"`) {
		t.Errorf("the token: %d %s", got.Code, got.Body)
	}
	w.play([]scenario{
		{"the list has no secret", adm, "GET", "/api/v1/tokens", "", 200, []string{`"name":"ci"`}, []string{made.Token}},
		{"a role that is none", adm, "POST", "/api/v1/tokens", `{"name":"x","role":"KING"}`, 422, []string{"body.role"}, nil},
		{"an expiry that is none", adm, "POST", "/api/v1/tokens", `{"name":"x","role":"ADM","expires_in":"soon"}`, 422, []string{"expires_in"}, nil},
		{"revoked", adm, "DELETE", "/api/v1/tokens/" + made.ID, "", 204, nil, nil},
		{"revoked again", adm, "DELETE", "/api/v1/tokens/" + made.ID, "", 404, nil, nil},
	})
	if got := w.send(r.Clone(t.Context())); got.Code != 401 {
		t.Errorf("a revoked token: %d", got.Code)
	}
	contains(t, "the audit log", w.audited(), []string{"token.create", "token.delete", "role SUP"}, []string{made.Token})
}

func TestCaptures(t *testing.T) {
	w := newWorld(t)
	w.play([]scenario{
		{"the body is the file", adm, "POST", "/api/v1/captures?name=a.pcap", "raw bytes", 202, []string{`"id":"capture-1"`, `"name":"a.pcap"`, `"state":"queued"`}, []string{"0001-01-01"}},
		{"it is there", adm, "GET", "/api/v1/captures/capture-1", "", 200, []string{`"size":9`}, nil},
		{"an empty upload", adm, "POST", "/api/v1/captures", "", 422, []string{"empty"}, nil},
	})
	r := httptest.NewRequest("POST", "/api/v1/captures", strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--x\r\n"+
		"Content-Disposition: form-data; name=\"file\"; filename=\"b.pcapng\"\r\n\r\nform bytes\r\n--x--\r\n"))
	r.Header.Set("Content-Type", `multipart/form-data; boundary=x`)
	r.Header.Set("Authorization", "Bearer "+w.tokens[adm])
	if out := w.send(r); out.Code != 202 {
		t.Errorf("a form: %d %s", out.Code, out.Body)
	}
	if got := strings.Join(w.uploads.got, "|"); got != "a.pcap=raw bytes|b.pcapng=form bytes" {
		t.Errorf("received %q", got)
	}
	before := len(w.uploads.got)
	w.play([]scenario{{"said to be too large", adm, "POST", "/api/v1/captures", strings.Repeat("x", 1<<20+maxForm+1), 413, []string{"captures.max_upload"}, nil}})
	if len(w.uploads.got) != before {
		t.Error("it was received all the same")
	}
	w.uploads.fail = ErrUploadTooBig
	w.play([]scenario{{"too large", adm, "POST", "/api/v1/captures", "x", 413, []string{"larger"}, nil}})
	w.play([]scenario{
		{"not for everybody", "IT", "DELETE", "/api/v1/captures/capture-1", "", 403, nil, nil},
		{"deleted", adm, "DELETE", "/api/v1/captures/capture-1", "", 204, nil, nil},
		{"it is gone", adm, "GET", "/api/v1/captures/capture-1", "", 404, nil, nil},
		{"twice", adm, "DELETE", "/api/v1/captures/capture-1", "", 404, nil, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"capture.upload capture:capture-1 ok", "refused", "capture.delete capture:capture-1 ok"}, nil)
}

func TestCaptureJobs(t *testing.T) {
	w := newWorld(t)
	const at = "/api/v1/captures/capture-1"
	w.play([]scenario{
		{"uploaded", adm, "POST", "/api/v1/captures?name=a.pcap", "raw bytes", 202, nil, nil},
		{"its place", adm, "GET", at, "", 200, []string{`"place":2`}, nil},
		{"its place in the list", adm, "GET", "/api/v1/captures", "", 200, []string{`"place":2`}, nil},
		{"first", adm, "POST", at + "/first", "", 200, []string{`"state":"queued"`}, nil},
		{"nothing to resume", adm, "POST", at + "/resume", "", 409, []string{"neither stopped"}, nil},
		{"not again while it waits", adm, "POST", at + "/analyse", "", 409, []string{"cancel that first"}, nil},
		{"cancelled", adm, "POST", at + "/cancel", "", 200, []string{`"state":"stopped"`}, nil},
		{"twice", adm, "POST", at + "/cancel", "", 409, []string{"neither waits"}, nil},
		{"not first when it does not wait", adm, "POST", at + "/first", "", 409, nil, nil},
		{"resumed", adm, "POST", at + "/resume", "", 200, []string{`"state":"queued"`}, nil},
		{"another that is not there", adm, "POST", "/api/v1/captures/none/cancel", "", 404, nil, nil},
		{"by nobody", "", "POST", at + "/cancel", "", 401, nil, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"capture.cancel capture:capture-1 ok", "capture.cancel capture:capture-1 refused",
		"capture.resume capture:capture-1 ok", "capture.analyse capture:capture-1 refused", "capture.first capture:capture-1 ok"}, nil)
}

func TestPackets(t *testing.T) {
	w := newWorld(t)
	const at = "/api/v1/captures/capture-1"
	w.play([]scenario{
		{"uploaded", adm, "POST", "/api/v1/captures?name=some.trace.pcapng", "raw bytes", 202, nil, nil},
		{"of a flow", adm, "GET", at + "/flows/3/packets?after=7&limit=20", "", 200, []string{`"number":3`, `"next":27`, `"layers":[]`}, nil},
		{"by number", adm, "GET", at + "/packets?numbers=9,4,9", "", 200, []string{`"number":4`, `"next":50`}, nil},
		{"without numbers", adm, "GET", at + "/packets", "", 422, []string{"numbers"}, nil},
		{"too many at once", adm, "GET", at + "/flows/3/packets?limit=201", "", 422, []string{"limit"}, nil},
		{"no such flow", adm, "GET", at + "/flows/10/packets", "", 404, []string{"numbered from 1"}, nil},
		{"flow 0", adm, "GET", at + "/flows/0/packets", "", 422, nil, nil},
		{"of no capture", adm, "GET", "/api/v1/captures/none/flows/3/packets", "", 404, nil, nil},
		{"by nobody", "", "GET", at + "/flows/3/packets", "", 401, nil, nil},
		{"no file of no flow", adm, "GET", at + "/flows/10/pcap", "", 404, []string{"numbered from 1"}, nil},
		{"no file of flow 0", adm, "GET", at + "/flows/0/pcap", "", 404, nil, nil},
		{"no file of a capture that cannot be read", adm, "GET", at + "/flows/5/pcap", "", 422, []string{"the file is damaged"}, nil},
		{"no file without numbers", adm, "GET", at + "/pcap?numbers=1,x", "", 422, []string{"as in 3,7,12"}, nil},
		{"no file of too many", adm, "GET", at + "/pcap?numbers=1" + strings.Repeat(",1", maxNumbers), "", 422, nil, nil},
		{"no file for nobody", "", "GET", at + "/pcap?numbers=1", "", 401, nil, nil},
	})
	get := func(url string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", at+url, nil)
		r.Header.Set("Authorization", "Bearer "+w.tokens[adm])
		return w.send(r)
	}
	for url, want := range map[string]string{"/flows/3/pcap": "pcap 3 []", "/pcap?numbers=9,4,9": "pcap 0 [4 9]"} {
		got := get(url)
		if got.Code != 200 || got.Body.String() != want || got.Header().Get("Content-Type") != "application/vnd.tcpdump.pcap" ||
			!strings.HasPrefix(got.Header().Get("Content-Disposition"), "attachment; filename=some.trace-") {
			t.Errorf("%s: %d %v %q", url, got.Code, got.Header(), got.Body)
		}
	}
	func() { // what broke off in the middle must not look whole
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("the answer was ended with %v", err)
			}
		}()
		get("/flows/6/pcap")
	}()
	contains(t, "the audit log", w.audited(), []string{"capture.download capture:capture-1 ok", "capture.download capture:capture-1 failed"}, nil)
}

func TestAlerts(t *testing.T) {
	w := newWorld(t)
	f := store.Finding{Tenant: store.DefaultTenant, CaptureID: "cap", Finding: sdk.Finding{ID: "f1", Detector: "test/detect", Rule: "r1",
		Severity: sdk.SeverityHigh, Risk: 80, Confidence: 0.9, Techniques: []string{"T1046"}, Src: "10.0.0.1", Dst: "10.0.0.2",
		Start: time.Unix(100, 0), End: time.Unix(200, 0), Packets: []uint64{7, 3, 7}, Flows: []sdk.FlowRef{{ID: 1, CommunityID: "1:abc"}}, Summary: "A scan."}}
	rec, err := w.control.RecordFinding(t.Context(), f, "fp", func(*store.Alert) (store.Alert, []store.Notice) {
		return store.Alert{Severity: sdk.SeverityHigh, Risk: 80, Confidence: 0.9, Title: "A scan.", Detector: "test/detect", Rule: "r1", Techniques: []string{"T1046"},
				Src: "10.0.0.1", Dst: "10.0.0.2", FirstSeen: f.Start, LastSeen: f.End, Count: 1, CaptureID: "cap"},
			[]store.Notice{{Notifier: "test/hook", Payload: sdk.Notice{Event: "alert.firing"}}, {Notifier: "test/block", Payload: sdk.Notice{Event: "alert.firing"}}}
	})
	check(t, err)
	block := rec.Notices[1].ID
	check(t, w.control.NoticeDelivered(t.Context(), block, sdk.Receipt{ForeignID: "rule 7", Undoable: true}))
	check(t, w.control.NoticeChecked(t.Context(), block, "open", "in force", time.Unix(0, 0)))
	at := "/api/v1/alerts/" + rec.Alert.ID
	w.play([]scenario{
		{"listed", adm, "GET", "/api/v1/alerts?state=firing&severity=high&capture=cap", "", 200, []string{`"title":"A scan."`, `"techniques":["T1046"]`, `"first_seen":"1970-01-01T00:01:40Z"`}, nil},
		{"not of another capture", adm, "GET", "/api/v1/alerts?capture=other", "", 200, []string{`"items":[]`}, nil},
		{"of a detector, at an end, lately", adm, "GET", "/api/v1/alerts?detector=test/detect&entity=10.0.0.2&technique=T1046&from=1970-01-01T00:03:20Z", "", 200, []string{`"title":"A scan."`}, nil},
		{"of another technique", adm, "GET", "/api/v1/alerts?technique=T1018", "", 200, []string{`"items":[]`}, nil},
		{"techniques", auth.RoleSUP, "GET", "/api/v1/alerts/techniques", "", 200, []string{`"items":[{"id":"T1046","alerts":{"high":1},"incidents":0}]`}, nil},
		{"techniques are not for everybody", auth.RolePUB, "GET", "/api/v1/alerts/techniques", "", 403, nil, nil},
		{"in full", adm, "GET", at, "", 200, []string{`"packets":[3,7]`, `"community_id":"1:abc"`, `"rule_purpose":"Finds it."`, "a scanner of your own",
			`"notifier":"test/hook"`, `"state":"queued"`, `"findings":[{"id":"f1"`}, nil},
		{"counted", adm, "GET", "/api/v1/overview", "", 200, []string{`"high":1`}, nil},
		{"acknowledged", auth.RoleSUP, "POST", at + "/acknowledge", "", 200, []string{`"state":"acknowledged"`}, nil},
		{"what was delivered", adm, "GET", at, "", 200, []string{`"foreign_id":"rule 7"`, `"undoable":true`, `"outcome":"open"`, `"outcome_text":"in force"`}, nil},
		{"undo is not for everybody", auth.RoleSUP, "POST", at + "/undo", "{}", 403, nil, nil},
		{"another delivery", adm, "POST", at + "/undo", `{"notice":"none"}`, 200, []string{`"undone":[]`}, nil},
		{"undone", auth.RoleIT, "POST", at + "/undo", `{"notice":"` + block + `"}`, 200, []string{`"undone":["` + block + `"]`}, nil},
		{"undone twice", adm, "POST", at + "/undo", "{}", 409, nil, nil},
		{"it says so", adm, "GET", at, "", 200, []string{`"outcome":"undone"`}, nil},
		{"resolved", adm, "POST", at + "/resolve", "", 200, []string{`"state":"resolved"`}, nil},
		{"resolved again", adm, "POST", at + "/resolve", "", 409, nil, nil},
		{"one that is not there", adm, "POST", "/api/v1/alerts/none/resolve", "", 404, nil, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"token:test SUP alert.acknowledge alert:" + rec.Alert.ID + " ok", "alert.resolve", "token:test IT alert.undo alert:" + rec.Alert.ID + " ok"}, nil)
}

func TestPlugins(t *testing.T) {
	w := newWorld(t)
	const hook = "/api/v1/plugins/test/hook"
	w.play([]scenario{
		{"offered", adm, "GET", "/api/v1/plugins", "", 200, []string{`"id":"test/hook"`, `"vouched_by":"official"`, `"trust":"development"`, `"enabled":false`, `"instances":[]`}, []string{`"rules":null`}},
		{"one, with its README", adm, "GET", "/api/v1/plugins/test/detect", "", 200, []string{"# Readme", `"purpose":"Finds it."`}, nil},
		{"without the grant", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"}}`, 422, []string{"net.dial", "It posts there.", "body.grants"}, []string{"secret.read"}},
		{"a grant it never asked for", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"},"grants":["net.dial","exec"]}`, 422, []string{"does not ask for exec"}, nil},
		{"without what it needs", adm, "POST", hook + "/enable", `{"config":{},"grants":"all"}`, 422, []string{"body.config", "url"}, nil},
		{"with what it does not know", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x","urll":1,"retries":50},"grants":"all"}`, 422, []string{"urll", "body.config.retries"}, nil},
		{"a secret in the open", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x","secret":"s3cr3t"},"grants":"all"}`, 422, []string{"body.config.secret", "send it in secrets"}, []string{"s3cr3t"}},
		{"a secret it does not know", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"},"secrets":{"pin":"s3cr3t"},"grants":"all"}`, 422, []string{"body.secrets.pin"}, []string{"s3cr3t"}},
		{"against the ceiling", adm, "POST", hook + "/enable", `{"config":{"url":"http://169.254.169.254/latest"},"grants":"all"}`, 422, []string{"test/hook", "beyond_ceiling", "169.254"}, nil},
		{"exec is never allowed by default", adm, "POST", "/api/v1/plugins/test/exec/enable", `{"grants":"all"}`, 422, []string{"exec", "policy.yaml"}, nil},
		{"on the wrong node", adm, "POST", hook + "/enable", `{"node":"agents","config":{"url":"http://10.0.0.9/x"},"grants":"all"}`, 422, []string{"runs on the server"}, nil},
		{"on an agent that is not there", adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"nobody"}`, 422, []string{"no agent"}, nil},
		{"a runtime that is none", adm, "POST", hook + "/enable", `{"runtime":"lambda","config":{},"grants":"all"}`, 422, []string{"body.runtime"}, nil},
		{"grants that are none", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"},"grants":"some"}`, 422, []string{"body.grants"}, nil},
		{"limits that are none", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"},"grants":"all","limits":{"memory":"lots","cpu":-1}}`, 422, []string{"body.limits", "memory"}, nil},
		{"by somebody who may not", auth.RoleIT, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"},"grants":"all"}`, 403, nil, nil},
		{"not in the registry", adm, "POST", "/api/v1/plugins/test/none/enable", `{"grants":"all"}`, 422, []string{"test/none", "not_vouched"}, nil},
		{"enabled", adm, "POST", hook + "/enable", `{"config":{"url":"http://10.0.0.9/x"},"secrets":{"secret":"s3cr3t"},"grants":["net.dial","secret.read"],"limits":{"memory":"64Mi","cpu":0.5,"deadline":"5s","records_per_second":10}}`, 200,
			[]string{`"enabled":true`, `"state":"ready"`, `"pid":4711`, `"secrets_set":["secret"]`, `"text":"hello"`, `"type":"server"`, `"limits_set":{"memory":"64Mi","cpu":0.5,"deadline":"5s","records_per_second":10}`}, []string{"s3cr3t"}},
		{"a test notice", auth.RoleIT, "POST", hook + "/test", "", 200, []string{`"foreign_id":"F1"`}, nil},
		{"restarted", auth.RoleIT, "POST", hook + "/restart", `{"instance":"test/hook"}`, 202, nil, nil},
		{"an instance that is not there", adm, "POST", hook + "/restart", `{"instance":"other"}`, 422, []string{"body.instance"}, nil},
		{"what it has cost", adm, "GET", hook + "/ledger?instance=test/hook", "", 200, []string{`"cpu_seconds":0`}, nil},
		{"what happened to it", adm, "GET", hook + "/history?instance=test/hook", "", 200, []string{`"items":[]`}, nil},
		{"what it rests on", adm, "GET", hook + "/explain?instance=test/hook", "", 200, []string{`"granted_by":"token:test`, `"asked":[{`}, nil},
		{"of none", adm, "GET", hook + "/explain?instance=other", "", 422, []string{"body.instance"}, nil},
		{"of nothing", adm, "GET", hook + "/ledger", "", 422, []string{"instance"}, nil},
		{"an upgrade on a host that keeps one release", adm, "POST", hook + "/upgrade", `{"instance":"test/hook","version":"0.2.0"}`, 422, []string{"cannot change the version"}, nil},
		{"a rollback there", adm, "POST", hook + "/rollback", `{"instance":"test/hook"}`, 422, []string{"cannot change the version"}, nil},
		{"a shadow there", adm, "POST", hook + "/shadow", `{"instance":"test/hook","version":"0.2.0"}`, 422, []string{"cannot change the version"}, nil},
		{"the shadow's report", adm, "GET", hook + "/shadow?instance=test/hook", "", 422, []string{"cannot change the version"}, nil},
		{"a promotion", adm, "POST", hook + "/promote", `{"instance":"test/hook"}`, 422, []string{"cannot change the version"}, nil},
		{"the end of a shadow", adm, "POST", hook + "/drop-shadow", `{"instance":"test/hook"}`, 422, []string{"cannot change the version"}, nil},
		{"versions are not for everybody", auth.RolePUB, "POST", hook + "/upgrade", `{"instance":"test/hook","version":"0.2.0"}`, 403, nil, nil},
	})
	if got := strings.Join(w.registry.installed, "|"); got != "test/hook 0.1.0 process" {
		t.Errorf("installed %q", got)
	}
	if a := w.host.list; len(a) != 1 || a[0].Secrets["secret"] != "s3cr3t" || strings.Contains(string(a[0].Config), "s3cr3t") || len(a[0].Grants) != 2 ||
		a[0].Limits != (registry.Limits{Memory: "64Mi", CPU: 0.5, Deadline: "5s", RecordsPerSecond: 10}) {
		t.Fatalf("the plugin host was given %+v", a)
	}
	w.play([]scenario{
		{"changed, the secret stays", adm, "POST", hook + "/enable", `{"runtime":"wasm","config":{"url":"http://10.0.0.9/y"},"grants":"all"}`, 200, []string{`"runtime":"wasm"`, `/y`}, []string{"s3cr3t"}},
	})
	if a := w.host.list; len(a) != 1 || a[0].Secrets["secret"] != "s3cr3t" || a[0].Runtime != "wasm" {
		t.Fatalf("after the change: %+v", a)
	}
	w.play([]scenario{
		{"disabled", adm, "POST", hook + "/disable", `{}`, 200, []string{`"enabled":false`, `"instances":[]`}, nil},
		{"disabled again", adm, "POST", hook + "/disable", `{}`, 422, []string{"not enabled"}, nil},
	})
	if len(w.host.list) != 0 {
		t.Errorf("still running: %+v", w.host.list)
	}
	contains(t, "the audit log", w.audited(), []string{"plugin.enable plugin:test/hook ok", "plugin.enable plugin:test/hook refused", "plugin.disable plugin:test/hook ok",
		"token:test IT plugin.restart plugin:test/hook ok", "beyond_ceiling", "token:test IT api.request POST " + hook + "/enable refused"}, []string{"s3cr3t"})
}

func TestTheRegistrySaysNo(t *testing.T) {
	w := newWorld(t)
	for _, reason := range []registry.Reason{registry.DigestMismatch, registry.Rollback, registry.Expired, registry.RootMismatch} {
		w.registry.refuse = &registry.Refusal{Plugin: "test/detect", Version: "0.1.0", Reason: reason}
		out := w.request(adm, "POST", "/api/v1/plugins/test/detect/enable", `{"grants":"all"}`)
		if out.Code != 422 {
			t.Errorf("%s: %d", reason, out.Code)
		}
		contains(t, "the answer", out.Body.String(), []string{"test/detect", string(reason)}, nil)
		contains(t, "the audit log", w.audited(), []string{"plugin.enable plugin:test/detect refused refused plugin test/detect 0.1.0 (" + string(reason) + ")"}, nil)
	}
	if len(w.host.list) != 0 {
		t.Error("something runs")
	}
}
