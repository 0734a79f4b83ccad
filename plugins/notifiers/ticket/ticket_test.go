package ticket

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ticket") }

func TestConformance(t *testing.T) {
	m := newMock(t, "gitlab")
	text := settings(t, "gitlab", m.URL, map[string]any{"token": nil})
	sdktest.Run(t, Plugin(), sdktest.Options{
		Config: []byte(text), Secrets: map[string]string{"token": "a-token"},
		NewHost: func(t *testing.T) sdk.Host { t.Helper(); return plugintest.NewHost(t, New(), text) },
	})
	if len(m.issues) == 0 {
		t.Error("no ticket was opened")
	}
}

var systems = map[string]map[string]any{
	"gitlab": {"project": "network/ops/incidents", "labels": []string{"picket", "network"}},
	"gitea":  {"project": "network/incidents"},
	"jira":   {"project": "OPS", "user": "bot@example.org", "labels": []string{"picket"}},
}

func settings(t *testing.T, system, url string, more map[string]any) string {
	t.Helper()
	fields := map[string]any{"system": system, "url": url, "token": "a-token"}
	for _, m := range []map[string]any{systems[system], more} {
		for k, v := range m {
			fields[k] = v
			if v == nil {
				delete(fields, k)
			}
		}
	}
	return plugintest.JSON(t, fields)
}

func start(t *testing.T, system string, more map[string]any) (*Notifier, *mock) {
	t.Helper()
	m, n := newMock(t, system), New()
	plugintest.Start(t, n, settings(t, system, m.URL, more))
	return n, m
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func notice(id, event string) sdk.Notice {
	return sdk.Notice{ID: id, Time: noon, Event: event, Severity: sdk.SeverityHigh, Title: "Port scan\nfrom 192.0.2.7",
		Text: "192.0.2.7 tried 1000 ports.\n```\n@everyone [click](https://evil.example)", URL: "https://picket.example.org/alerts/1",
		Alert: &sdk.Finding{ID: "finding-of-" + id, Rule: "vertical"}, AlertID: "alert-1"}
}

func TestALifeOfATicket(t *testing.T) {
	for system, ids := range map[string][2]string{
		"gitlab": {"network/ops/incidents#1", "https://git.example.org/network/ops/incidents/-/issues/1"},
		"gitea":  {"network/incidents#1", "https://git.example.org/network/incidents/issues/1"},
		"jira":   {"OPS-1", "/browse/OPS-1"},
	} {
		t.Run(system, func(t *testing.T) {
			n, m := start(t, system, nil)
			got, err := n.Notify(t.Context(), notice("n-1", firing))
			if err != nil {
				t.Fatal(err)
			}
			if got.ForeignID != ids[0] || !strings.HasSuffix(got.URL, ids[1]) || got.Undoable {
				t.Errorf("receipt %+v", got)
			}
			i := m.issues[0]
			if i.title != "[high] Port scan from 192.0.2.7" || !strings.Contains(i.text, "Details: https://picket.example.org/alerts/1") {
				t.Errorf("ticket %+v", i)
			}
			if system != "jira" && (!strings.HasPrefix(i.text, "````\n") || !strings.HasSuffix(i.text, "\n````")) {
				t.Errorf("the text is not fenced: %q", i.text)
			}
			if again, err := n.Notify(t.Context(), notice("n-1", firing)); err != nil || again != got || len(m.issues) != 1 {
				t.Errorf("the same notice again: %+v, %v, %d tickets", again, err, len(m.issues))
			}
			status, err := n.Status(t.Context(), got)
			if err != nil || status.State != sdk.DeliveryOpen || status.Text == "" {
				t.Errorf("status of an open ticket: %+v, %v", status, err)
			}
			if _, err := n.Notify(t.Context(), notice("n-2", resolved)); err != nil || !i.closed || len(i.comments) != 1 || len(m.issues) != 1 {
				t.Errorf("after the alert was resolved: %v, %+v", err, i)
			}
			status, err = n.Status(t.Context(), got)
			if err != nil || status.State != sdk.DeliveryClosed || !status.Time.Equal(time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)) {
				t.Errorf("status of a closed ticket: %+v, %v", status, err)
			}
			if _, err := n.Notify(t.Context(), notice("n-3", resolved)); err != nil || len(i.comments) != 1 {
				t.Errorf("resolved twice: %v, %q", err, i.comments)
			}
		})
	}
}

// An alert that became worse is told in its ticket, as long as somebody works on that.
func TestOneTicketPerAlert(t *testing.T) {
	for system := range systems {
		t.Run(system, func(t *testing.T) {
			n, m := start(t, system, nil)
			first, err := n.Notify(t.Context(), notice("n-1", firing))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second is a repetition
				if again, err := n.Notify(t.Context(), notice("n-2", firing)); err != nil || again != first || len(m.issues) != 1 || len(m.issues[0].comments) != 1 {
					t.Errorf("worse: %+v, %v, %d tickets", again, err, len(m.issues))
				}
			}
			other := notice("n-3", firing)
			other.AlertID = "alert-2"
			if got, err := n.Notify(t.Context(), other); err != nil || got == first || len(m.issues) != 2 {
				t.Errorf("another alert: %+v, %v, %d tickets", got, err, len(m.issues))
			}
			m.issues[0].closed = true
			if got, err := n.Notify(t.Context(), notice("n-4", firing)); err != nil || got == first || len(m.issues) != 3 {
				t.Errorf("worse after its ticket was closed: %+v, %v, %d tickets", got, err, len(m.issues))
			}
			if _, err := n.Notify(t.Context(), notice("n-5", resolved)); err != nil || !m.issues[2].closed || m.issues[1].closed {
				t.Errorf("resolved: %v", err)
			}
		})
	}
}

// The answer of the system gets lost after the ticket was opened: it is found again, and there are not two.
func TestATicketWhoseAnswerWasLost(t *testing.T) {
	for system := range systems {
		t.Run(system, func(t *testing.T) {
			n, m := start(t, system, nil)
			m.cut = 1
			if _, err := n.Notify(t.Context(), notice("n-1", firing)); sdk.ClassOf(err) != sdk.Temporary || len(m.issues) != 1 {
				t.Fatalf("%v, %d tickets", err, len(m.issues))
			}
			other := notice("n-2", firing) // opened meanwhile, so the one that is looked for is not the newest
			other.AlertID = "alert-2"
			if _, err := n.Notify(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			got, err := n.Notify(t.Context(), notice("n-1", firing))
			if err != nil || !strings.HasSuffix(got.ForeignID, "1") || got.URL == "" || len(m.issues) != 2 {
				t.Errorf("%+v, %v, %d tickets", got, err, len(m.issues))
			}
			m.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			third := notice("n-3", firing)
			third.AlertID = "alert-3"
			if _, err := n.Notify(t.Context(), third); sdk.ClassOf(err) != sdk.Temporary {
				t.Fatal(err)
			}
			m.refuse = nil
			if _, err := n.Notify(t.Context(), third); err != nil || len(m.issues) != 3 {
				t.Errorf("one that was never opened: %v, %d tickets", err, len(m.issues))
			}
			m.cut = 1
			if _, err := n.Notify(t.Context(), notice("n-4", resolved)); sdk.ClassOf(err) != sdk.Temporary {
				t.Fatal(err)
			}
			if _, err := n.Notify(t.Context(), notice("n-4", resolved)); err != nil || !m.issues[0].closed {
				t.Errorf("resolved after a lost answer: %v", err)
			}
		})
	}
}

func TestAnAlertWithoutATicketNeedsNone(t *testing.T) {
	n, m := start(t, "gitlab", nil)
	if got, err := n.Notify(t.Context(), notice("n-1", resolved)); err != nil || got != (sdk.Receipt{}) || len(m.issues) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	n, m = start(t, "gitlab", map[string]any{"close_resolved": false})
	for id, event := range map[string]string{"n-1": firing} {
		if _, err := n.Notify(t.Context(), notice(id, event)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Notify(t.Context(), notice("n-2", resolved)); err != nil || m.issues[0].closed {
		t.Errorf("closed although it must not be: %v", err)
	}
}

func TestIdsOfOtherProjectsAreRefused(t *testing.T) {
	for system, ids := range map[string][]string{
		"gitlab": {"", "#1", "other/project#1", "network/ops/incidents#", "network/ops/incidents#1/../2", "network/ops/incidents#-1"},
		"gitea":  {"network/incidents#1?x", "network/incidents#x"},
		"jira":   {"", "OPS-", "XOPS-1", "OPS-1/../OPS-2", "OPS-1?x"},
	} {
		n, m := start(t, system, nil)
		m.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
			t.Errorf("%s was asked for %s", system, r.URL)
			return false
		}
		for _, id := range ids {
			if _, err := n.Status(t.Context(), sdk.Receipt{ForeignID: id}); sdk.ClassOf(err) != sdk.Downstream {
				t.Errorf("%s, %q: %v", system, id, err)
			}
			if err := n.system.close(t.Context(), id); sdk.ClassOf(err) != sdk.Downstream {
				t.Errorf("%s, close %q: %v", system, id, err)
			}
			if err := n.system.comment(t.Context(), id, "x"); sdk.ClassOf(err) != sdk.Downstream {
				t.Errorf("%s, comment on %q: %v", system, id, err)
			}
		}
	}
}

func TestAnswersThatHelpNobody(t *testing.T) {
	for what, c := range map[string]struct {
		status int
		body   string
		class  sdk.Class
	}{
		"unauthorised":    {401, `{"message": "401 Unauthorized"}`, sdk.Downstream},
		"busy":            {429, `slow down`, sdk.Temporary},
		"broken":          {502, `<html>`, sdk.Temporary},
		"a sign-in page":  {200, `<html><form>`, sdk.Downstream},
		"no number":       {201, `{}`, sdk.Downstream},
		"a wrong type":    {201, `{"iid": "x", "number": "x", "key": 1}`, sdk.Downstream},
		"a foreign key":   {201, `{"iid": -1, "number": -1, "key": "../../x"}`, sdk.Downstream},
		"somewhere else":  {302, ``, sdk.Downstream},
		"a deleted issue": {404, `{"message": "404"}`, sdk.Downstream},
	} {
		t.Run(what, func(t *testing.T) {
			for system := range systems {
				n, m := start(t, system, nil)
				m.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
					if c.status == 429 {
						w.Header().Set("Retry-After", "7")
					}
					w.WriteHeader(c.status)
					_, _ = w.Write([]byte(c.body))
					return true
				}
				_, err := n.Notify(t.Context(), notice("n-1", firing))
				if sdk.ClassOf(err) != c.class || strings.Contains(err.Error(), "a-token") {
					t.Errorf("%s: %v", system, err)
				}
			}
		})
	}
}

func TestALinkThatAPageMustNotShow(t *testing.T) {
	for given, want := range map[string]string{"javascript:alert(1)": "known", "https://git.example.org/1": "https://git.example.org/1", "//x": "known", "": "known", "https://u:p@x/": "known"} {
		if got := webLink(given, "known"); got != want {
			t.Errorf("%q: %q", given, got)
		}
	}
}

func TestTextsAreBounded(t *testing.T) {
	n, m := start(t, "gitlab", nil)
	long := notice("n-1", firing)
	long.Title, long.Text = strings.Repeat("ü", 500), strings.Repeat("`", 100000)
	if _, err := n.Notify(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	if i := m.issues[0]; len(i.title) > maxTitle || len(i.text) > 4*maxText {
		t.Errorf("%d, %d bytes", len(i.title), len(i.text))
	}
	if _, err := n.Notify(t.Context(), sdk.Notice{ID: "n-2", Event: "test"}); err != nil || m.issues[1].title != "Notice n-2" {
		t.Errorf("an empty notice: %v, %+v", err, m.issues)
	}
}

func TestWhatIsNotGrantedIsDenied(t *testing.T) {
	n, _ := start(t, "gitea", nil)
	n.system.(*gitea).client.Base = "http://127.0.0.2:1"
	if _, err := n.Notify(t.Context(), notice("n-1", firing)); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("error %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, more := range []map[string]any{
		{"system": "trac"}, {"url": "ftp://x"}, {"url": "https://u:p@x/"}, {"url": "https://x/?a=b"}, {"project": "alone"}, {"project": "a/../b"},
		{"project": "a/b?c"}, {"labels": []string{"a,b"}}, {"labels": []string{" "}}, {"ca_certificates": "x"}, {"token": "a\nb"}, {"state": "x"},
		{"system": "gitea", "project": "a/b/c"}, {"system": "jira", "project": "OPS"}, {"system": "jira", "project": "a/b", "user": "x"},
	} {
		if err := plugintest.Decode(New(), settings(t, "gitlab", "https://git.example.org", more)); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%v: %v", more, err)
		}
	}
	n := New()
	plugintest.Configure(t, n, settings(t, "gitlab", "https://git.example.org", map[string]any{"token": nil}))
	if err := n.Start(t.Context(), nil); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("without a token: %v", err)
	}
}

func FuzzFence(f *testing.F) {
	f.Add("a ```` b")
	f.Fuzz(func(t *testing.T, text string) {
		got := fence(text)
		mark, _, _ := strings.Cut(got, "\n")
		if strings.Contains(text, mark) || len(mark) < 3 || !strings.HasSuffix(got, "\n"+mark) {
			t.Errorf("%q", got)
		}
	})
}
