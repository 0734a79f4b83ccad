package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The two sides of the attack in plugins/detectors/beacon/testdata/exact.
const (
	inside  = "10.0.0.66"
	outside = "198.51.100.77"
)

type toldNotice struct {
	ID       string
	Notifier string
	Event    string
	State    string
	Outcome  string
	Receipt  *struct {
		ForeignID string `json:"foreign_id"`
		URL       string
		Undoable  bool
	}
}

type told []toldNotice

func (s *server) told(t *testing.T, alert string) told {
	t.Helper()
	var detail struct{ Notices told }
	s.get(t, "/api/v1/alerts/"+alert, &detail)
	return detail.Notices
}

// of returns the one notice about an event for a notifier.
func (l told) of(t *testing.T, notifier, event string) (found toldNotice) {
	t.Helper()
	n := 0
	for _, x := range l {
		if x.Notifier == notifier && x.Event == event {
			found = x
			n++
		}
	}
	if n > 1 {
		t.Errorf("%s was told %d times of %s", notifier, n, event)
	}
	return found
}

// questions is how long a test waits for what the server asks the other side only now and then.
const questions = 4 * time.Minute

func waitLong(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(questions); !check(); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", questions, what)
		}
	}
}

// An alert leaves the house: it becomes a ticket whose end comes back, and a block that is taken back. The server is
// killed in between. What runs is what an operator runs: picketd, signed plugins in their own processes, granted an address
// each; what they speak to are doubles of Gitea and OPNsense.
func TestFollowAnAlert(t *testing.T) {
	tracker, firewall := newGitea(t), newOPNsense(t)
	data, port := filepath.Join(t.TempDir(), "data"), freePort(t)
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, data, port)
	s.ready(t, "picket/beacon")
	waitFor(t, "the sample capture's alerts", func() bool { return len(s.alerts(t, "state=firing")) >= 2 })
	for _, a := range s.alerts(t, "state=firing") {
		s.call(t, http.MethodPost, "/api/v1/alerts/"+a.ID+"/resolve", nil, nil)
	}

	// A plugin that acts needs the word of the machine's owner; an operator's alone is not enough.
	block := map[string]any{"config": map[string]any{"url": firewall.URL, "alias": "picket_blocked"},
		"secrets": map[string]string{"key": "a-key", "secret": "a-secret"}, "grants": "all"}
	if status, body := s.try(t, http.MethodPost, "/api/v1/plugins/picket/block/enable", block); status != http.StatusUnprocessableEntity || !strings.Contains(string(body), "act") {
		t.Errorf("block without the owner's word: %d %s", status, body)
	}
	s.stop()
	policy := "apiVersion: picket/v1\npermissions: [{cap: act}, {cap: net.dial, args: {to: [127.0.0.0/8]}}, {cap: secret.read}, {cap: flows.read}, {cap: packets.read}, {cap: state}, {cap: host.metrics}]\n"
	if err := os.WriteFile(filepath.Join(data, "policy.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	s = startServer(t, data, port)
	s.call(t, http.MethodPost, "/api/v1/plugins/picket/block/enable", block, nil)
	s.call(t, http.MethodPost, "/api/v1/plugins/picket/ticket/enable", map[string]any{
		"config":  map[string]any{"system": "gitea", "url": tracker.URL, "project": "network/incidents"},
		"secrets": map[string]string{"token": "a-token"}, "grants": "all",
	}, nil)
	s.ready(t, "picket/ticket")
	s.ready(t, "picket/block")

	// The ticket system is away when the alert fires: the notice waits.
	tracker.do(func() { tracker.down = true })
	if !firewall.filter.passes(outside, inside) {
		t.Fatal("nothing passes although nothing is blocked")
	}
	if c := s.upload(t, filepath.Join(repoRoot(t), "plugins/detectors/beacon/testdata/exact/input.pcap")); c.State != "done" {
		t.Fatalf("capture: %+v", c)
	}
	var id string
	for _, a := range s.alerts(t, "state=firing") {
		if a.Detector == "picket/beacon" && strings.HasPrefix(a.Src, inside) && strings.HasPrefix(a.Dst, outside) {
			id = a.ID
		}
	}
	if id == "" {
		t.Fatalf("no alert: %+v", s.alerts(t, "state=firing"))
	}
	const firing, resolved = "alert.firing", "alert.resolved"
	waitFor(t, "the ticket to be tried in vain", func() bool { return s.told(t, id).of(t, "picket/ticket", firing).State == "failed" })
	waitFor(t, "the block", func() bool { return s.told(t, id).of(t, "picket/block", firing).State == "delivered" })
	if b := s.told(t, id).of(t, "picket/block", firing); b.Receipt == nil || b.Receipt.ForeignID != "picket_blocked/"+outside || !b.Receipt.Undoable {
		t.Errorf("the block's receipt: %+v", b)
	}
	if got := firewall.filter.blocked(); !slices.Equal(got, []string{outside}) || firewall.filter.passes(outside, inside) {
		t.Errorf("blocked are %q, and what they send passes: %v", got, firewall.filter.passes(outside, inside))
	}

	// The server dies while the notice waits. Its next life delivers it, once.
	s.kill9()
	tracker.do(func() { tracker.down = false })
	s = startServer(t, data, port)
	waitLong(t, "the ticket", func() bool { return s.told(t, id).of(t, "picket/ticket", firing).State == "delivered" })
	list := tracker.tickets()
	n := s.told(t, id).of(t, "picket/ticket", firing)
	if len(list) != 1 || !strings.Contains(list[0].Title, "[high]") || !strings.Contains(list[0].Body, outside) || !strings.Contains(list[0].Body, "Notice: "+n.ID) {
		t.Fatalf("tickets: %+v", list)
	}
	if n.Receipt == nil || n.Receipt.ForeignID != "network/incidents#1" || n.Receipt.URL != list[0].HTMLURL {
		t.Errorf("the ticket's receipt: %+v", n.Receipt)
	}

	// The block is taken back by an operator, and only that.
	var undone struct{ Undone []string }
	s.call(t, http.MethodPost, "/api/v1/alerts/"+id+"/undo", map[string]any{}, &undone)
	b := s.told(t, id).of(t, "picket/block", firing)
	if !slices.Equal(undone.Undone, []string{b.ID}) || b.Outcome != "undone" || len(firewall.filter.blocked()) != 0 || !firewall.filter.passes(outside, inside) {
		t.Errorf("after the undo of %v: %+v, blocked %q", undone.Undone, b, firewall.filter.blocked())
	}
	if status, body := s.try(t, http.MethodPost, "/api/v1/alerts/"+id+"/undo", map[string]any{}); status != http.StatusNotFound {
		t.Errorf("undo once more: %d %s", status, body)
	}

	// Somebody closes the ticket while the server is down; it dies without a farewell.
	waitLong(t, "the ticket to be asked about", func() bool { return s.told(t, id).of(t, "picket/ticket", firing).Outcome == "open" })
	s.kill9()
	tracker.do(func() { tracker.issues[0].State = "closed" })
	s = startServer(t, data, port)
	var detail alert
	waitLong(t, "the alert to be resolved", func() bool {
		s.get(t, "/api/v1/alerts/"+id, &detail)
		return detail.State == "resolved"
	})
	waitFor(t, "all to be told", func() bool {
		l := s.told(t, id)
		return l.of(t, "picket/ticket", resolved).State == "delivered" && l.of(t, "picket/block", resolved).State == "delivered"
	})
	if got := s.told(t, id).of(t, "picket/ticket", firing).Outcome; got != "closed" {
		t.Errorf("the ticket is %q here", got)
	}
	if list := tracker.tickets(); len(list) != 1 || len(list[0].Comments) != 0 || list[0].State != "closed" {
		t.Errorf("tickets: %+v", list)
	}
	if got := firewall.filter.blocked(); len(got) != 0 {
		t.Errorf("blocked again: %q", got)
	}
	if log := s.audit(t); !strings.Contains(log, `"plugin:picket/ticket"`) || !strings.Contains(log, "closed in picket/ticket: network/incidents#1") {
		t.Errorf("the audit log does not say who resolved the alert: %s", log)
	}

	// The other way round: an alert that is resolved here closes its ticket, with a comment.
	if c := s.upload(t, filepath.Join(repoRoot(t), "plugins/detectors/beacon/testdata/jittered/input.pcap")); c.State != "done" {
		t.Fatalf("capture: %+v", c)
	}
	waitFor(t, "a second ticket", func() bool { return len(tracker.tickets()) == 2 })
	for _, a := range s.alerts(t, "state=firing") {
		if a.Detector == "picket/beacon" {
			s.call(t, http.MethodPost, "/api/v1/alerts/"+a.ID+"/resolve", nil, nil)
		}
	}
	waitFor(t, "the second ticket to be closed", func() bool {
		list := tracker.tickets()
		return len(list) == 2 && list[1].State == "closed" && len(list[1].Comments) == 1
	})
}
