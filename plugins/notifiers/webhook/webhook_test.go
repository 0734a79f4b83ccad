package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/webhook") }

func TestConformance(t *testing.T) {
	r := newReceiver(t, ok)
	sdktest.Run(t, plugintest.Registered(t, "picket/webhook"), sdktest.Options{
		Config:  []byte(r.config(t, "/hook", nil)),
		Secrets: map[string]string{"secret": "a shared secret"},
	})
	if len(r.got) == 0 || r.got[0].Header.Get("Webhook-Signature") == "" {
		t.Error("no signed notice came")
	}
}

var notice = sdk.Notice{
	ID:       "0198c5a2-7d3e-7c40-9a51-3b1f6f2f7a10",
	Time:     time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	Event:    "alert.firing",
	Severity: sdk.SeverityHigh,
	Title:    "Port scan from 192.0.2.7",
	Text:     "192.0.2.7 tried 1000 ports of 192.0.2.9 in 12 s.",
	URL:      "https://picket.example.org/alerts/1",
	Alert: &sdk.Finding{
		Detector: "picket/portscan", Rule: "vertical", Severity: sdk.SeverityHigh, Risk: 70, Confidence: 0.9,
		Techniques: []string{"T1046"}, Src: "192.0.2.7", Dst: "192.0.2.9",
		Start: time.Date(2026, 3, 1, 11, 59, 48, 0, time.UTC), End: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Packets: []uint64{17, 18}, Flows: []sdk.FlowRef{}, Summary: "1000 ports in 12 s",
	},
}

// receiver is a web server of the test that keeps what it got.
type receiver struct {
	*httptest.Server
	authority *plugintest.Authority

	mu   sync.Mutex // guards got
	got  []*http.Request
	body []string
}

func newReceiver(t *testing.T, handle http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{authority: plugintest.NewAuthority(t)}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		r.got, r.body = append(r.got, q), append(r.body, string(body))
		r.mu.Unlock()
		handle(w, q)
	}))
	r.TLS = &tls.Config{Certificates: []tls.Certificate{r.authority.Issue(t, time.Now().Add(time.Hour)).TLS(t)}}
	r.EnableHTTP2 = true
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

// config returns a configuration for the receiver with further fields.
func (r *receiver) config(t *testing.T, path string, more map[string]any) string {
	t.Helper()
	fields := map[string]any{"url": r.URL + path, "ca_certificates": r.authority.PEM}
	for k, v := range more {
		fields[k] = v
	}
	return plugintest.JSON(t, fields)
}

func (r *receiver) notify(t *testing.T, more map[string]any) (sdk.Receipt, error) {
	t.Helper()
	n := New()
	plugintest.Start(t, n, r.config(t, "/hook", more))
	return n.Notify(t.Context(), notice)
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestDelivery(t *testing.T) {
	r := newReceiver(t, ok)
	if _, err := r.notify(t, map[string]any{"authorization": "Bearer abc", "headers": map[string]string{"X-Team": "network"}}); err != nil {
		t.Fatal(err)
	}
	q := r.got[0]
	if q.Method != http.MethodPost || q.URL.Path != "/hook" || q.ProtoMajor != 2 {
		t.Errorf("%s %s over %s", q.Method, q.URL, q.Proto)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Authorization": "Bearer abc", "X-Team": "network",
		"Webhook-Id": notice.ID, "Webhook-Timestamp": "1772366400", "Webhook-Signature": "",
	} {
		if got := q.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var got payload
	if err := json.Unmarshal([]byte(r.body[0]), &got); err != nil {
		t.Fatal(err)
	}
	if want := (payload{Version: 1, Notice: notice}); !reflect.DeepEqual(got, want) {
		t.Errorf("body %s", r.body[0])
	}
}

// The body that the README shows is the body that is sent.
func TestREADMEBody(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "<!-- example: body -->\n```json\n")
	shown, _, _ := strings.Cut(rest, "```")
	sent, err := json.Marshal(payload{Version: payloadVersion, Notice: notice})
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal([]byte(shown), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(sent, &b); err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("README.md shows\n%s\nsent is\n%s", shown, sent)
	}
}

// The example of the Standard Webhooks specification.
func TestSignatureOfTheSpecification(t *testing.T) {
	key, err := signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSignatureCoversTheRequest(t *testing.T) {
	r := newReceiver(t, ok)
	if _, err := r.notify(t, map[string]any{"secret": "a shared secret"}); err != nil {
		t.Fatal(err)
	}
	h, body := r.got[0].Header, r.body[0]
	verify := func(id, stamp, body string) bool {
		return sign([]byte("a shared secret"), id, stamp, []byte(body)) == h.Get("Webhook-Signature")
	}
	if !verify(h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body) {
		t.Fatal("the signature does not fit what was sent")
	}
	if verify("other", h.Get("Webhook-Timestamp"), body) || verify(h.Get("Webhook-Id"), "1772366401", body) || verify(h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body+" ") {
		t.Error("the signature fits something else as well")
	}
}

func TestReceipts(t *testing.T) {
	answer := func(kind, location, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		what   string
		handle http.HandlerFunc
		want   sdk.Receipt
	}{
		{"nothing", ok, sdk.Receipt{}},
		{"a text", answer("application/json", "", `{"id": "T-17"}`), sdk.Receipt{ForeignID: "T-17"}},
		{"a number keeps its digits", answer("application/json; charset=utf-8", "", `{"id": 12345678901234567890}`), sdk.Receipt{ForeignID: "12345678901234567890"}},
		{"a link", answer("application/problem+json", "https://tickets.example.org/17", `{"id": 17}`), sdk.Receipt{ForeignID: "17", URL: "https://tickets.example.org/17"}},
		{"a link in the answer", answer("application/json", "", `{"id": 17, "url": "https://tickets.example.org/17"}`), sdk.Receipt{ForeignID: "17", URL: "https://tickets.example.org/17"}},
		{"a link that a page must not show", answer("application/json", "", `{"url": "javascript:alert(1)"}`), sdk.Receipt{}},
		{"another one", answer("text/plain", "javascript:alert(1)", ""), sdk.Receipt{}},
		{"not JSON", answer("application/json", "", `{"id":`), sdk.Receipt{}},
		{"JSON that is not said to be", answer("text/plain", "", `{"id": 17}`), sdk.Receipt{}},
		{"an id that is an object", answer("application/json", "", `{"id": {"a": 1}}`), sdk.Receipt{}},
		{"an id with a line break", answer("application/json", "", `{"id": "a\nb"}`), sdk.Receipt{}},
		{"an endless answer", answer("application/json", "", `{"id": 17, "x": "`+strings.Repeat("x", 2*maxResponse)+`"}`), sdk.Receipt{}},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := newReceiver(t, c.handle).notify(t, nil)
			if err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestRelativeLocation(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/tickets/17")
		w.WriteHeader(http.StatusCreated)
	})
	got, err := r.notify(t, nil)
	if err != nil || got.URL != r.URL+"/tickets/17" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStatusDecidesTheClass(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		class  sdk.Class
		wait   time.Duration
	}{
		{400, "", sdk.Downstream, 0},
		{401, "", sdk.Downstream, 0},
		{403, "30", sdk.Downstream, 0},
		{404, "", sdk.Downstream, 0},
		{410, "", sdk.Downstream, 0},
		{408, "", sdk.Temporary, 0},
		{425, "", sdk.Temporary, 0},
		{429, "120", sdk.Temporary, 2 * time.Minute},
		{429, "Sun, 01 Mar 2026 12:00:30 GMT", sdk.Temporary, 30 * time.Second},
		{429, "Sun, 01 Mar 2026 11:00:00 GMT", sdk.Temporary, 0},
		{429, "soon", sdk.Temporary, 0},
		{429, "-5", sdk.Temporary, 0},
		{503, "99999999999", sdk.Temporary, 0},
		{503, "4294967295", sdk.Temporary, rest.MaxRetryAfter},
		{500, "", sdk.Temporary, 0},
		{501, "", sdk.Downstream, 0},
		{502, "1", sdk.Temporary, time.Second},
		{505, "", sdk.Downstream, 0},
		{599, "", sdk.Temporary, 0},
		{304, "", sdk.Downstream, 0},
	} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.WriteHeader(c.status)
		})
		_, err := r.notify(t, nil)
		got, ok := asError(err)
		if !ok || got.Class != c.class || got.RetryAfter != c.wait {
			t.Errorf("%d with %q: %#v", c.status, c.after, err)
		}
	}
}

func asError(err error) (*sdk.Error, bool) {
	var e *sdk.Error
	return e, errors.As(err, &e)
}

func TestErrorQuotesTheAnswerSafely(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "no\nsuch\x1b[31m channel \xff"+strings.Repeat("x", 1000))
	})
	_, err := r.notify(t, nil)
	text := err.Error()
	if !strings.Contains(text, "answered 400 Bad Request: no such [31m channel xx") || strings.ContainsAny(text, "\n\x1b") || len(text) > 400 {
		t.Errorf("error %q", text)
	}
}

func TestRedirects(t *testing.T) {
	other := newReceiver(t, ok)
	for _, c := range []struct {
		what    string
		status  int
		to      string
		follows bool
	}{
		{"same host, same method", 307, "/moved", true},
		{"same host, permanent", 308, "/moved", true},
		{"same host, but as GET", 302, "/moved", false},
		{"same host, see other", 303, "/moved", false},
		{"another host", 307, "https://other.invalid/", false},
		{"another port", 307, other.URL + "/", false},
		{"without TLS", 307, "http://127.0.0.1/", false},
		{"in a circle", 307, "/hook", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := newReceiver(t, func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == "/moved" {
					return
				}
				http.Redirect(w, q, c.to, c.status)
			})
			_, err := r.notify(t, map[string]any{"secret": "x"})
			if (err == nil) != c.follows || err != nil && sdk.ClassOf(err) != sdk.Downstream {
				t.Errorf("error %v", err)
			}
			if c.follows && r.body[1] != r.body[0] {
				t.Errorf("the redirected request has the body %q", r.body[1])
			}
			if len(r.got) > 1+maxRedirects {
				t.Errorf("%d requests", len(r.got))
			}
		})
	}
	if len(other.got) != 0 {
		t.Error("the notice was shown to another server")
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	hour := time.Now().Add(time.Hour)
	for _, c := range []struct {
		what  string
		pair  plugintest.Pair
		trust string
		class sdk.Class
	}{
		{"an authority that is not trusted", authority.Issue(t, hour), plugintest.NewAuthority(t).PEM, sdk.Downstream},
		{"the system's authorities", authority.Issue(t, hour), "", sdk.Downstream},
		{"another name", authority.Issue(t, hour, "other.example.org"), authority.PEM, sdk.Downstream},
		{"expired", authority.Issue(t, time.Now().Add(-time.Hour)), authority.PEM, sdk.Temporary},
	} {
		t.Run(c.what, func(t *testing.T) {
			called := false
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
			s.TLS = &tls.Config{Certificates: []tls.Certificate{c.pair.TLS(t)}}
			s.Config.ErrorLog = quiet
			s.StartTLS()
			defer s.Close()
			n := New()
			plugintest.Start(t, n, plugintest.JSON(t, map[string]any{"url": s.URL + "/hook/token", "ca_certificates": c.trust}))
			_, err := n.Notify(t.Context(), notice)
			if sdk.ClassOf(err) != c.class || called {
				t.Errorf("error %v, handler called: %v", err, called)
			}
			if strings.Contains(err.Error(), "token") {
				t.Errorf("the error shows the path: %v", err)
			}
		})
	}
}

func TestUnreachableReceivers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	n := New()
	plugintest.Start(t, n, plugintest.JSON(t, map[string]any{"url": "http://" + nobody + "/token"}))
	if _, err := n.Notify(t.Context(), notice); sdk.ClassOf(err) != sdk.Temporary || strings.Contains(err.Error(), "token") {
		t.Errorf("nobody listens: %v", err)
	}

	release := make(chan struct{})
	slow := newReceiver(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	if _, err := slow.notify(t, map[string]any{"timeout": "100ms"}); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("no answer: %v", err)
	}
}

func TestWhatIsNotGrantedIsDenied(t *testing.T) {
	r := newReceiver(t, ok)
	n := New()
	plugintest.Start(t, n, r.config(t, "", nil))
	other, err := n.target.Parse("https://127.0.0.2/")
	if err != nil {
		t.Fatal(err)
	}
	n.target = other
	if _, err := n.Notify(t.Context(), notice); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("error %v", err)
	}
}

func TestCancelledDelivery(t *testing.T) {
	n := New()
	plugintest.Start(t, n, newReceiver(t, ok).config(t, "", nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Notify(ctx, notice); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{}`,
		`{"url": "ftp://example.org/"}`,
		`{"url": "https://"}`,
		`{"url": "https://user:pass@example.org/"}`,
		`{"url": "https://example.org/", "secret": "whsec_***"}`,
		`{"url": "https://example.org/", "ca_certificates": "nothing"}`,
		`{"url": "https://example.org/", "headers": {"content-type": "text/plain"}}`,
		`{"url": "https://example.org/", "headers": {"webhook-id": "1"}}`,
		`{"url": "https://example.org/", "headers": {"X-A": "1\r\nX-B: 2"}}`,
		`{"url": "https://example.org/", "headers": {"X A": "1"}}`,
		`{"url": "https://example.org/", "authorization": "a\nb"}`,
		`{"url": "https://example.org/", "insecure": true}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add([]byte(`{"id": "a", "url": "https://example.org"}`), "/x")
	f.Fuzz(func(t *testing.T, body []byte, location string) {
		q := httptest.NewRequest(http.MethodPost, "https://example.org/hook", nil)
		r := &http.Response{Request: q, StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}, "Location": {location}}}
		got := receipt(r, body)
		if got.URL != "" && !strings.HasPrefix(got.URL, "http") || len(got.ForeignID) > maxForeignID {
			t.Errorf("%+v", got)
		}
		_ = verdict(&http.Response{Request: q, StatusCode: 503, Status: "503", Header: http.Header{"Retry-After": {location}}}, body, notice.Time)
	})
}
