package block

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/block") }

func TestConformance(t *testing.T) {
	m := newMockFirewall(t)
	text := m.settings(t, map[string]any{"key": nil, "secret": nil})
	sdktest.Run(t, Plugin(), sdktest.Options{
		Config: []byte(text), Secrets: map[string]string{"key": "a-key", "secret": "a-secret"}, Notice: notice("10.0.0.66", "203.0.113.9:443"),
		NewHost: func(t *testing.T) sdk.Host { t.Helper(); return plugintest.NewHost(t, New(), text) },
	})
	if m.content() != "203.0.113.9" {
		t.Errorf("blocked: %s", m.content())
	}
}

// mockFirewall is a double of OPNsense, not the real one: it keeps one alias, and refuses what the interface does not have.
type mockFirewall struct {
	*httptest.Server
	lie bool // says done and does nothing

	mu      sync.Mutex // guards the rest
	alias   map[string]bool
	changes []string
	cut     int // so many answers to changes are lost on their way
}

func newMockFirewall(t *testing.T) *mockFirewall {
	t.Helper()
	m := &mockFirewall{alias: map[string]bool{}}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *mockFirewall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if user, pass, _ := r.BasicAuth(); user != "a-key" || pass != "a-secret" {
		http.Error(w, `{"status":401,"message":"Authentication Failed"}`, http.StatusUnauthorized)
		return
	}
	action, alias, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/firewall/alias_util/"), "/")
	if alias != "picket_blocked" {
		fmt.Fprint(w, `[]`)
		if action != "list" {
			return
		}
		return
	}
	if action == "list" && r.Method == http.MethodGet {
		rows := []map[string]string{}
		for _, ip := range slices.Sorted(maps.Keys(m.alias)) {
			rows = append(rows, map[string]string{"ip": ip})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"total": len(rows), "rowCount": -1, "current": 1, "rows": rows})
		return
	}
	var in struct {
		Address string `json:"address"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || d.Decode(&in) != nil {
		fmt.Fprint(w, `{"status":"failed"}`)
		return
	}
	if _, err := netip.ParseAddr(in.Address); err != nil {
		fmt.Fprint(w, `{"status":"failed","status_msg":"not an address"}`)
		return
	}
	m.changes = append(m.changes, action+" "+in.Address)
	if !m.lie {
		switch action {
		case "add":
			m.alias[in.Address] = true
		case "delete":
			delete(m.alias, in.Address)
		}
	}
	if m.cut > 0 {
		m.cut--
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, `{"status":"done"}`)
}

func (m *mockFirewall) content() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(m.alias)), " ")
}

func (m *mockFirewall) settings(t *testing.T, more map[string]any) string {
	t.Helper()
	fields := map[string]any{"url": m.URL, "alias": "picket_blocked", "key": "a-key", "secret": "a-secret", "never": []string{"198.51.100.0/24", "2001:db8:1::/48"}}
	for k, v := range more {
		fields[k] = v
		if v == nil {
			delete(fields, k)
		}
	}
	return plugintest.JSON(t, fields)
}

func start(t *testing.T, more map[string]any) (*Notifier, *mockFirewall) {
	t.Helper()
	m, n := newMockFirewall(t), New()
	plugintest.Start(t, n, m.settings(t, more))
	return n, m
}

func notice(src, dst string) sdk.Notice {
	return sdk.Notice{ID: "n-1", Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Event: "alert.firing", Severity: sdk.SeverityHigh,
		Title: "Beacon", Alert: &sdk.Finding{Src: src, Dst: dst}}
}

func TestBlockAndTakeBack(t *testing.T) {
	n, m := start(t, nil)
	got, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9:443"))
	if err != nil || got != (sdk.Receipt{ForeignID: "picket_blocked/203.0.113.9", Undoable: true}) || m.content() != "203.0.113.9" {
		t.Fatalf("%+v, %v; blocked: %s", got, err, m.content())
	}
	if s, err := n.Status(t.Context(), got); err != nil || s.State != sdk.DeliveryOpen {
		t.Errorf("%+v, %v", s, err)
	}
	for range 2 { // twice is as good as once
		if err := n.Undo(t.Context(), got); err != nil || m.content() != "" {
			t.Errorf("%v; blocked: %s", err, m.content())
		}
	}
	if s, err := n.Status(t.Context(), got); err != nil || s.State != sdk.DeliveryUndone {
		t.Errorf("%+v, %v", s, err)
	}
	if again, err := n.Notify(t.Context(), notice("203.0.113.9", "10.0.0.66")); err != nil || !again.Undoable || m.content() != "203.0.113.9" {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestWhatIsNeverBlocked(t *testing.T) {
	for what, sides := range map[string][2]string{
		"both private":            {"10.0.0.66", "192.168.1.1:443"},
		"our own public network":  {"10.0.0.66", "198.51.100.7:443"},
		"our own IPv6 network":    {"fe80::1", "[2001:db8:1::7]:443"},
		"an IPv4 address in IPv6": {"::ffff:10.0.0.1", "::ffff:198.51.100.7"},
		"the machine itself":      {"127.0.0.1", "::1"},
		"a group":                 {"10.0.0.1", "224.0.0.251:5353"},
		"everybody":               {"10.0.0.1", "255.255.255.255:67"},
		"nobody":                  {"0.0.0.0", "::"},
		"link-local":              {"10.0.0.1", "169.254.169.254:80"},
		"a carrier's network":     {"10.0.0.1", "100.64.0.1:80"},
		"a translated address":    {"10.0.0.1", "[64:ff9b::a00:1]:80"},
		"a whole range":           {"", "203.0.113.0/24"},
		"a hardware address":      {"02:00:00:00:00:42", "10.0.0.1"},
		"a name":                  {"evil.example.org", "10.0.0.1"},
		"both outside":            {"203.0.113.9", "192.0.2.1:443"},
		"nothing":                 {"", ""},
	} {
		t.Run(what, func(t *testing.T) {
			n, m := start(t, nil)
			got, err := n.Notify(t.Context(), notice(sides[0], sides[1]))
			if sdk.ClassOf(err) != sdk.Unsupported || got != (sdk.Receipt{}) || len(m.changes) != 0 {
				t.Errorf("%+v, %v; %q", got, err, m.changes)
			}
		})
	}
}

func TestWhatChangesNothing(t *testing.T) {
	low, resolved, test := notice("10.0.0.66", "203.0.113.9"), notice("10.0.0.66", "203.0.113.9"), notice("10.0.0.66", "203.0.113.9")
	low.Severity, resolved.Event, test.Event = sdk.SeverityMedium, "alert.resolved", "test"
	for what, x := range map[string]sdk.Notice{"a low severity": low, "a resolved alert": resolved, "a test": test} {
		n, m := start(t, nil)
		if got, err := n.Notify(t.Context(), x); err != nil || got != (sdk.Receipt{}) || len(m.changes) != 0 {
			t.Errorf("%s: %+v, %v; %q", what, got, err, m.changes)
		}
	}
}

func TestTheNumberIsBounded(t *testing.T) {
	n, m := start(t, map[string]any{"max_blocked": 2})
	m.alias["192.0.2.1"], m.alias["192.0.2.2"] = true, true
	if _, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9")); sdk.ClassOf(err) != sdk.Downstream || len(m.changes) != 0 {
		t.Errorf("%v; %q", err, m.changes)
	}
}

func TestWhatOthersBlockedIsTheirs(t *testing.T) {
	n, m := start(t, nil)
	m.alias["203.0.113.9"] = true
	got, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9"))
	if err != nil || got.Undoable || len(m.changes) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := n.Undo(t.Context(), got); sdk.ClassOf(err) != sdk.Unsupported || m.content() == "" {
		t.Errorf("taken back what is not ours: %v", err)
	}
}

// After a lost answer the notice comes again, and the block is known to be our own.
func TestALostAnswer(t *testing.T) {
	n, m := start(t, nil)
	m.cut = 1
	if _, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9")); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("error %v", err)
	}
	got, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9"))
	if err != nil || !got.Undoable || len(m.changes) != 1 {
		t.Errorf("%+v, %v; %q", got, err, m.changes)
	}
}

func TestReceiptsThatAreNotOurs(t *testing.T) {
	n, m := start(t, nil)
	for _, id := range []string{"", "other/203.0.113.9", "picket_blocked/", "picket_blocked/203.0.113.0/24", "picket_blocked/../x"} {
		if err := n.Undo(t.Context(), sdk.Receipt{ForeignID: id, Undoable: true}); sdk.ClassOf(err) != sdk.Unsupported {
			t.Errorf("%q: %v", id, err)
		}
	}
	if len(m.changes) != 0 {
		t.Errorf("%q", m.changes)
	}
}

func TestAFirewallThatDoesNotDoIt(t *testing.T) {
	n, m := start(t, nil)
	m.lie = true
	if _, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9")); sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "is not in alias") {
		t.Errorf("error %v", err)
	}
	n, _ = start(t, map[string]any{"alias": "missing"})
	if _, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9")); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("no such alias: %v", err)
	}
	n, _ = start(t, map[string]any{"secret": "wrong"})
	if _, err := n.Notify(t.Context(), notice("10.0.0.66", "203.0.113.9")); sdk.ClassOf(err) != sdk.Downstream || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong login: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	m := newMockFirewall(t)
	for _, more := range []map[string]any{
		{"url": "ftp://x"}, {"alias": "a/b"}, {"alias": ""}, {"never": []string{"x"}}, {"min_severity": "urgent"}, {"key": "a:b"}, {"ca_certificates": "x"}, {"max_blocked": 0},
	} {
		if err := plugintest.Decode(New(), m.settings(t, more)); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%v: %v", more, err)
		}
	}
	n := New()
	plugintest.Configure(t, n, m.settings(t, map[string]any{"secret": nil}))
	if err := n.Start(t.Context(), nil); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("without a login: %v", err)
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("10.0.0.1", "203.0.113.9:443")
	f.Add("::ffff:10.0.0.1%eth0", "[fe80::1%1]:80")
	n := New()
	n.guard.never = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	f.Fuzz(func(t *testing.T, src, dst string) {
		a, err := n.target(notice(src, dst))
		if err != nil {
			return
		}
		if a.IsPrivate() || a.IsLoopback() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" || n.guard.never[0].Contains(a) {
			t.Errorf("%q, %q: %s", src, dst, a)
		}
	})
}
