package api

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func decoded[T any](t *testing.T, out *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if out.Code >= 300 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	check(t, json.Unmarshal(out.Body.Bytes(), &v))
	return v
}

// What one person has read is unread to another, and nobody hears of what was before they came.
func TestInbox(t *testing.T) {
	w := newWorld(t)
	tell := func(id string, s sdk.Severity) {
		t.Helper()
		n := store.Notice{ID: id, Tenant: store.DefaultTenant, AlertID: "a-" + id, Notifier: store.Inbox,
			Payload: sdk.Notice{Event: "alert.firing", Severity: s, Title: id, AlertID: "a-" + id, Alert: &sdk.Finding{Summary: "long"}}}
		check(t, w.control.EnqueueNotices(t.Context(), n))
	}
	tell("n0", sdk.SeverityHigh)
	time.Sleep(time.Millisecond)
	ada, ben := w.enter("ada", "IT", 0), w.enter("ben", "SUP", 0)
	time.Sleep(time.Millisecond)
	tell("n1", sdk.SeverityHigh)
	tell("n2", sdk.SeverityLow)

	read := func(p *person, query string) string {
		t.Helper()
		var b strings.Builder
		for _, n := range decoded[page[inboxNotice]](t, p.do("GET", "/api/v1/inbox"+query, "")).Items {
			fmt.Fprintf(&b, "%s %t ", n.Title, n.Read)
		}
		return strings.TrimSpace(b.String())
	}
	unread := func(p *person) int { return decoded[unreadBody](t, p.do("GET", "/api/v1/inbox/unread", "")).Unread }
	if got := read(ada, ""); got != "n2 false n1 false" {
		t.Errorf("at first: %s", got)
	}
	if out := ada.do("POST", "/api/v1/inbox/read", `{"ids":["n2"],"read":true}`); out.Code != 204 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	if got := read(ada, "?unread=true"); got != "n1 false" || unread(ada) != 1 || unread(ben) != 2 {
		t.Errorf("one is read: %s, %d, %d", got, unread(ada), unread(ben))
	}
	ada.do("POST", "/api/v1/inbox/read", `{"read":true}`)
	if got := read(ada, "?severity=high"); got != "n1 true" || unread(ada) != 0 {
		t.Errorf("all are read: %s", got)
	}
	ada.do("POST", "/api/v1/inbox/read", `{"ids":["n1"],"read":false}`)
	if got := read(ada, ""); got != "n2 true n1 false" {
		t.Errorf("one is unread again: %s", got)
	}
	if out := w.request("ADM", "GET", "/api/v1/inbox", ""); out.Code != 403 {
		t.Errorf("a token has an inbox: %d", out.Code)
	}
	due, err := w.control.DueNotifiers(t.Context(), time.Now().Add(time.Hour))
	if check(t, err); len(due) > 0 {
		t.Errorf("somebody is to deliver it: %q", due)
	}
}

// What was given up is sent again when somebody says so, and nothing else is.
func TestDeliveries(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"n1", "n2", "n3"} {
		check(t, w.control.EnqueueNotices(t.Context(), store.Notice{ID: n, Tenant: store.DefaultTenant, AlertID: n, Notifier: "mail", Payload: sdk.Notice{Title: "t " + n, Event: "alert.firing"}}))
	}
	check(t, w.control.NoticeDead(t.Context(), "n1", "nobody of that name"))
	check(t, w.control.NoticeDelivered(t.Context(), "n2", sdk.Receipt{ForeignID: "<m>"}))
	dead := func() int {
		return len(decoded[page[deliveryBody]](t, w.request("IT", "GET", "/api/v1/deliveries?state=dead&notifier=mail", "")).Items)
	}
	if out := w.request("IT", "GET", "/api/v1/deliveries", ""); dead() != 1 || !strings.Contains(out.Body.String(), "nobody of that name") || !strings.Contains(out.Body.String(), "t n3") {
		t.Errorf("%d dead; %s", dead(), out.Body)
	}
	for _, c := range []struct {
		id     string
		status int
	}{{"n2", 409}, {"n3", 409}, {"n9", 404}, {"n1", 200}, {"n1", 409}} {
		if out := w.request("ADM", "POST", "/api/v1/deliveries/"+c.id+"/again", ""); out.Code != c.status {
			t.Errorf("%s again: %d %s, want %d", c.id, out.Code, out.Body, c.status)
		}
	}
	if dead() != 0 || !strings.Contains(w.audited(), "delivery.again") {
		t.Errorf("%d dead; audit %s", dead(), w.audited())
	}
	leased, err := w.control.LeaseNotices(t.Context(), time.Now().Add(time.Minute), time.Minute, "mail", 9)
	if check(t, err); len(leased) != 2 || leased[0].ID != "n1" || leased[0].Attempts != 1 {
		t.Errorf("to be delivered: %+v", leased)
	}
}
