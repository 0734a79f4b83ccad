package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/sdk"
)

var start = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)

// clock is a time that only the test moves.
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

type dbPlace struct{ path, key string }

func testPlace(t *testing.T) dbPlace {
	t.Helper()
	dir := t.TempDir()
	return dbPlace{filepath.Join(dir, "data", "control.db"), filepath.Join(dir, "keys", "secret.key")}
}

func openAt(t *testing.T, p dbPlace, now func() time.Time) *Control {
	t.Helper()
	c, err := OpenControl(t.Context(), ControlConfig{Path: p.path, KeyFile: p.key, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openControl(t *testing.T) (*Control, *clock) {
	t.Helper()
	now := &clock{t: start}
	return openAt(t, testPlace(t), now.Now), now
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestUsersSessionsTokens(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	u := User{ID: "u1", Tenant: "default", Username: "ada", Role: "ADM", PasswordHash: "h", Created: start}
	must(t, c.CreateOneTimeToken(ctx, OneTimeToken{Hash: []byte("s"), Tenant: "default", Purpose: "setup", Created: start, Expires: start.Add(time.Hour)}))
	_, err := c.CreateFirstUser(ctx, []byte("x"), u)
	wantErr(t, err, ErrNotFound)
	_, err = c.CreateFirstUser(ctx, []byte("s"), u)
	must(t, err)
	_, err = c.CreateFirstUser(ctx, []byte("s"), User{ID: "u2", Tenant: "default", Username: "eve"})
	wantErr(t, err, ErrUsed)
	wantErr(t, c.CreateUser(ctx, User{ID: "u3", Tenant: "default", Username: "ada"}), ErrConflict)
	must(t, c.CreateUser(ctx, User{ID: "u4", Tenant: "other", Username: "ada"}))

	got, err := c.UserByName(ctx, "default", "ada")
	must(t, err)
	if diff := cmp.Diff(u, got); diff != "" {
		t.Error(diff)
	}
	_, err = c.UserByID(ctx, "other", "u1")
	wantErr(t, err, ErrNotFound)

	s := Session{ID: "s1", Tenant: "default", UserID: "u1", Hash: []byte{1}, Created: start, LastSeen: start, Expires: start.Add(time.Hour), Address: "::1", UserAgent: "x"}
	must(t, c.CreateSession(ctx, s))
	wantErr(t, c.CreateSession(ctx, Session{ID: "s2", UserID: "nobody", Hash: []byte{2}}), ErrNotFound)
	gotS, err := c.SessionByHash(ctx, []byte{1})
	must(t, err)
	if diff := cmp.Diff(s, gotS); diff != "" {
		t.Error(diff)
	}
	must(t, c.SetUserDisabled(ctx, "default", "u1", true))
	_, err = c.SessionByHash(ctx, []byte{1})
	wantErr(t, err, ErrNotFound)

	tok := APIToken{ID: "t1", Tenant: "default", Name: "ci", Role: "IT", Hash: []byte{9}, Hint: "picket_ab", CreatedBy: "user:ada", Created: start}
	must(t, c.CreateAPIToken(ctx, tok))
	gotT, err := c.APITokenByHash(ctx, []byte{9})
	must(t, err)
	if diff := cmp.Diff(tok, gotT); diff != "" {
		t.Error(diff)
	}
	wantErr(t, c.DeleteAPIToken(ctx, "other", "t1"), ErrNotFound)
	must(t, c.DeleteAPIToken(ctx, "default", "t1"))

	must(t, c.CreateOneTimeToken(ctx, OneTimeToken{Hash: []byte("l"), Tenant: "default", Purpose: "signin", UserID: "u1", Expires: start.Add(time.Hour)}))
	_, err = c.SpendOneTimeToken(ctx, []byte("l"), "setup")
	wantErr(t, err, ErrNotFound)
	now.Add(2 * time.Hour)
	_, err = c.SpendOneTimeToken(ctx, []byte("l"), "signin")
	wantErr(t, err, ErrExpired)
}

func enrol(t *testing.T, c *Control, id string) Agent {
	t.Helper()
	must(t, c.CreateEnrolmentToken(t.Context(), EnrolmentToken{ID: "e-" + id, Tenant: "default", Hash: []byte("h-" + id), Created: c.now(), Expires: c.now().Add(time.Hour)}))
	a, err := c.EnrolAgent(t.Context(), []byte("h-"+id), Agent{ID: id, Name: id, PublicKey: []byte{1}, BearerHash: []byte{2},
		Labels: map[string]string{"site": "a"}, Enrolled: c.now(), LastSeen: c.now()})
	must(t, err)
	return a
}

func TestAgents(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	a := enrol(t, c, "a1")
	_, err := c.EnrolAgent(ctx, []byte("h-a1"), Agent{ID: "a2"})
	wantErr(t, err, ErrUsed)
	must(t, c.CreateEnrolmentToken(ctx, EnrolmentToken{ID: "e2", Tenant: "default", Hash: []byte("h2"), Expires: start.Add(time.Minute)}))
	now.Add(time.Minute)
	_, err = c.EnrolAgent(ctx, []byte("h2"), Agent{ID: "a2"})
	wantErr(t, err, ErrExpired)
	_, err = c.EnrolAgent(ctx, []byte("h3"), Agent{ID: "a2"})
	wantErr(t, err, ErrNotFound)

	must(t, c.SetAgentStatus(ctx, "a1", "1.2", json.RawMessage(`{"plugins":[]}`), now.Now()))
	must(t, c.TouchAgent(ctx, "a1", "10.0.0.7", now.Now()))
	a.Version, a.Status, a.Address, a.LastSeen = "1.2", json.RawMessage(`{"plugins":[]}`), "10.0.0.7", now.Now()
	got, err := c.AgentByID(ctx, "a1")
	must(t, err)
	if diff := cmp.Diff(a, got); diff != "" {
		t.Error(diff)
	}
	enrol(t, c, "a3")
	enrol(t, c, "a4")
	first, next, err := c.ListAgents(ctx, "default", Page{Limit: 2})
	must(t, err)
	second, end, err := c.ListAgents(ctx, "default", Page{Limit: 2, Cursor: next})
	must(t, err)
	if len(first) != 2 || len(second) != 1 || second[0].ID != "a4" || end != "" {
		t.Errorf("pages %d %d, end %q", len(first), len(second), end)
	}
}

func TestNonceIsFreshOnceAlsoAfterRestart(t *testing.T) {
	p, now := testPlace(t), &clock{t: start}
	c := openAt(t, p, now.Now)
	fresh, err := c.RememberNonce(t.Context(), "a1", "n", start, start.Add(time.Minute))
	must(t, err)
	if !fresh {
		t.Fatal("a new nonce is not fresh")
	}
	must(t, c.Close())
	c = openAt(t, p, now.Now)
	if fresh, err = c.RememberNonce(t.Context(), "a1", "n", start, start.Add(time.Minute)); err != nil || fresh {
		t.Fatalf("after a restart: fresh %t, %v", fresh, err)
	}
	if n, err := c.PruneNonces(t.Context(), start.Add(time.Minute)); err != nil || n != 0 {
		t.Errorf("pruned %d, %v: it has not expired", n, err)
	}
	if n, err := c.PruneNonces(t.Context(), start.Add(2*time.Minute)); err != nil || n != 1 {
		t.Errorf("pruned %d, %v", n, err)
	}
}

func TestCommandsAreHandedOutOnce(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	enrol(t, c, "a1")
	cmd := Command{ID: "c0", Tenant: "default", AgentID: "a1", Type: "collect-now", Args: json.RawMessage(`{}`), Issued: start,
		Expires: start.Add(time.Minute), Signature: []byte{1}, State: CommandQueued, CreatedBy: "user:ada"}
	for i := range 20 {
		cmd.ID = fmt.Sprintf("c%02d", i)
		must(t, c.InsertCommand(ctx, cmd))
	}
	stranger := cmd
	stranger.ID, stranger.Tenant = "cx", "other"
	wantErr(t, c.InsertCommand(ctx, stranger), ErrNotFound)

	var mu sync.Mutex
	taken := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				list, err := c.TakeCommands(context.WithoutCancel(ctx), "a1", now.Now(), 3)
				if err != nil || len(list) == 0 {
					return
				}
				mu.Lock()
				for _, x := range list {
					taken[x.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(taken) != 20 {
		t.Errorf("%d of 20 commands were handed out", len(taken))
	}
	for id, n := range taken {
		if n != 1 {
			t.Errorf("command %s was handed out %d times", id, n)
		}
	}

	must(t, c.FinishCommand(ctx, "a1", "c00", CommandDone, "ok", false, now.Now()))
	wantErr(t, c.FinishCommand(ctx, "a1", "c00", CommandFailed, "", false, now.Now()), ErrState)
	wantErr(t, c.FinishCommand(ctx, "a2", "c01", CommandDone, "", false, now.Now()), ErrNotFound)
	got, err := c.CommandByID(ctx, "default", "c00")
	must(t, err)
	want := cmd
	want.ID, want.State, want.Sent, want.Finished, want.Output = "c00", CommandDone, start, start, "ok"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	cmd.ID = "late"
	must(t, c.InsertCommand(ctx, cmd))
	now.Add(time.Minute)
	if list, err := c.TakeCommands(ctx, "a1", now.Now(), 3); err != nil || len(list) != 0 {
		t.Errorf("took %v, %v after its expiry", list, err)
	}
	if n, err := c.ExpireCommands(ctx, now.Now()); err != nil || n != 1 {
		t.Errorf("expired %d, %v", n, err)
	}
}

func TestAssignments(t *testing.T) {
	p := testPlace(t)
	c := openAt(t, p, nil)
	ctx := t.Context()
	enrol(t, c, "a1")
	enrol(t, c, "a2")
	a := Assignment{Instance: "host", Tenant: "default", Plugin: "picket/host", Version: "0.1.0", Runtime: "process", NodeType: NodeAgents,
		Config: json.RawMessage(`{"x":1}`), Secrets: map[string]string{"password": "hunter2-swordfish"}, Grants: json.RawMessage(`[]`),
		Interval: 10 * time.Second, Enabled: true, CreatedBy: "user:ada", Created: start, Updated: start}
	changed := c.WatchConfig()
	must(t, c.PutAssignment(ctx, a))
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the new assignment")
	}
	got, err := c.AssignmentByInstance(ctx, "default", "host")
	must(t, err)
	if diff := cmp.Diff(a, got); diff != "" {
		t.Error(diff)
	}
	versions := func(want1, want2 int64) {
		t.Helper()
		a1, err := c.AgentByID(ctx, "a1")
		must(t, err)
		a2, err := c.AgentByID(ctx, "a2")
		must(t, err)
		if a1.ConfigVersion != want1 || a2.ConfigVersion != want2 {
			t.Errorf("config versions %d %d, want %d %d", a1.ConfigVersion, a2.ConfigVersion, want1, want2)
		}
	}
	versions(2, 2)
	one := a
	one.Instance, one.NodeType, one.NodeID = "ping", NodeAgent, "a1"
	must(t, c.PutAssignment(ctx, one))
	versions(3, 2)
	one.NodeID = "a2" // moves: both must fetch
	must(t, c.PutAssignment(ctx, one))
	versions(4, 3)
	one.Enabled = false
	must(t, c.PutAssignment(ctx, one))
	if list, err := c.NodeAssignments(ctx, "default", NodeAgent, "a2"); err != nil || len(list) != 1 || list[0].Instance != "host" {
		t.Errorf("assignments of a2: %v, %v", list, err)
	}
	must(t, c.DeleteAssignment(ctx, "default", "host"))
	wantErr(t, c.DeleteAssignment(ctx, "default", "host"), ErrNotFound)
}

func TestSecretsAreSealed(t *testing.T) {
	p := testPlace(t)
	c := openAt(t, p, nil)
	ctx := t.Context()
	a := Assignment{Instance: "mail", Tenant: "default", NodeType: NodeServer, Secrets: map[string]string{"password": "hunter2-swordfish"}}
	must(t, c.PutAssignment(ctx, a))
	// A sealed secret moved to another row must not open there.
	_, err := c.writer.ExecContext(ctx, "INSERT INTO assignments ("+assignmentColumns+") SELECT tenant, 'thief', plugin, version, runtime, node_type, node_id, config, secrets, grants, interval, limits, enabled, created_by, created, updated FROM assignments")
	must(t, err)
	if _, err := c.AssignmentByInstance(ctx, "default", "thief"); err == nil {
		t.Error("a secret opened in another row")
	}
	must(t, c.DeleteAssignment(ctx, "default", "thief"))
	must(t, c.Close())
	for _, name := range []string{p.path, p.path + "-wal"} {
		if raw, err := os.ReadFile(name); err == nil && strings.Contains(string(raw), "swordfish") {
			t.Errorf("%s holds the secret in the clear", filepath.Base(name))
		}
	}

	other := dbPlace{p.path, p.key + "2"}
	if _, err := OpenControl(ctx, ControlConfig{Path: other.path, KeyFile: other.key}); err == nil || !strings.Contains(err.Error(), "restore that key file") {
		t.Errorf("another key: %v", err)
	}
	if _, err := OpenControl(ctx, ControlConfig{Path: p.path, KeyFile: filepath.Join(filepath.Dir(p.path), "k")}); err == nil || !strings.Contains(err.Error(), "inside the data folder") {
		t.Errorf("key beside the lock: %v", err)
	}
	must(t, os.Chmod(p.key, 0o644))
	if _, err := OpenControl(ctx, ControlConfig{Path: p.path, KeyFile: p.key}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable key: %v", err)
	}
}

func finding(id, src string) Finding {
	return Finding{Tenant: "default", CaptureID: "cap1", Finding: sdk.Finding{ID: id, Detector: "picket/portscan", Rule: "vertical",
		Severity: sdk.SeverityHigh, Risk: 70, Confidence: .9, Src: src, Start: start, End: start.Add(time.Minute), Packets: []uint64{1, 2}}}
}

func mergeCount(open *Alert) (Alert, []Notice) {
	if open != nil {
		open.Count++
		return *open, nil
	}
	return Alert{Severity: sdk.SeverityHigh, Title: "Port scan", Count: 1, CaptureID: "cap1", Techniques: []string{"T1046"}},
		[]Notice{{Notifier: "mail", Payload: sdk.Notice{Title: "Port scan"}}}
}

// A finding that has grown takes the place of what was said before, and is one finding still; what was said before, said again
// after a crash, changes nothing.
func TestAFindingGrows(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	say := func(tried string, end time.Time) Recorded {
		t.Helper()
		f := finding("f1", "10.0.0.1")
		f.Summary, f.End = tried, end
		r, err := c.RecordFinding(ctx, f, "fp", func(open *Alert) (Alert, []Notice) {
			if open == nil {
				return Alert{Severity: sdk.SeverityHigh, Title: tried, Count: 1}, nil
			}
			open.Count++
			open.Title = tried
			return *open, nil
		})
		must(t, err)
		return r
	}
	stored := func() string {
		t.Helper()
		list, err := c.AlertFindings(ctx, "default", say("8 passwords", time.Unix(10, 0)).Alert.ID, 10)
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("%d findings", len(list))
		}
		return list[0].Summary
	}
	say("8 passwords", time.Unix(10, 0))
	if r := say("60 passwords", time.Unix(90, 0)); r.Duplicate || r.Created || r.Alert.Title != "60 passwords" || r.Alert.Count != 1 {
		t.Errorf("grown: %+v", r)
	}
	if r := say("8 passwords", time.Unix(10, 0)); !r.Duplicate || r.Alert.Title != "60 passwords" {
		t.Errorf("said again: %+v", r)
	}
	if got := stored(); got != "60 passwords" {
		t.Errorf("stored: %s", got)
	}
	_, err := c.SetAlertState(ctx, "default", say("60 passwords", time.Unix(90, 0)).Alert.ID, AlertResolved, "user:ada", nil)
	must(t, err)
	if r := say("90 passwords", time.Unix(120, 0)); !r.Duplicate || r.Alert.State != AlertResolved || r.Alert.Title != "60 passwords" {
		t.Errorf("after it was resolved: %+v", r)
	}
	if got := stored(); got != "90 passwords" {
		t.Errorf("stored: %s", got)
	}
}

// What has become worse after somebody resolved its alert opens it again, unless another is open for the same: then it goes there.
func TestAFindingBecomesWorseAfterItWasResolved(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	say := func(id string, severity sdk.Severity, end int64) Recorded {
		t.Helper()
		f := finding(id, "10.0.0.1")
		f.Severity, f.End = severity, time.Unix(end, 0)
		r, err := c.RecordFinding(ctx, f, "fp", func(open *Alert) (Alert, []Notice) {
			a := Alert{Src: "10.0.0.1", Techniques: []string{}, FirstSeen: time.Unix(1, 0), LastSeen: time.Unix(end, 0)}
			if open != nil {
				a = *open
			}
			a.Count++
			a.Severity, a.State = severity, AlertFiring
			return a, []Notice{{Notifier: "n"}}
		})
		must(t, err)
		return r
	}
	resolve := func(id string) {
		t.Helper()
		_, err := c.SetAlertState(ctx, "default", id, AlertResolved, "user:ada", nil)
		must(t, err)
	}
	first := say("f1", sdk.SeverityMedium, 10).Alert.ID
	group(t, c, 10)
	in, err := c.IncidentOfAlert(ctx, "default", first)
	must(t, err)
	resolve(first)
	_, err = c.SetIncidentState(ctx, "default", in, IncidentClosed, "user:ada")
	must(t, err)
	if r := say("f1", sdk.SeverityMedium, 20); !r.Duplicate || r.Alert.State != AlertResolved {
		t.Errorf("as bad as it was: %+v", r)
	}
	if r := say("f1", sdk.SeverityHigh, 30); r.Duplicate || r.Created || r.Alert.ID != first || r.Alert.State != AlertFiring || r.Alert.Count != 1 || len(r.Notices) != 1 {
		t.Errorf("worse: %+v", r)
	}
	if i, err := c.IncidentByID(ctx, "default", in); err != nil || i.State != IncidentOpen {
		t.Errorf("its incident is %s: %v", i.State, err)
	}
	resolve(first)
	second := say("f2", sdk.SeverityLow, 40).Alert.ID
	if second == first {
		t.Fatal("a new finding opened a resolved alert")
	}
	if r := say("f1", sdk.SeverityCritical, 50); r.Duplicate || r.Created || r.Alert.ID != second || r.Alert.Count != 2 || r.Alert.Severity != sdk.SeverityCritical {
		t.Errorf("worse, while another is open: %+v", r)
	}
	if moved, err := c.AlertFindings(ctx, "default", second, 10); err != nil || len(moved) != 2 {
		t.Errorf("%d findings: %v", len(moved), err)
	}
}

func TestFindingsBecomeAlertsAndNotices(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	r, err := c.RecordFinding(ctx, finding("f1", "10.0.0.1"), "fp", mergeCount)
	must(t, err)
	if !r.Created || len(r.Notices) != 1 || r.Alert.State != AlertFiring || r.Notices[0].AlertID != r.Alert.ID {
		t.Fatalf("first finding: %+v", r)
	}
	again, err := c.RecordFinding(ctx, finding("f1", "10.0.0.1"), "fp", mergeCount)
	must(t, err)
	if !again.Duplicate || again.Alert.Count != 1 {
		t.Errorf("same finding again: %+v", again)
	}
	second, err := c.RecordFinding(ctx, finding("f2", "10.0.0.1"), "fp", mergeCount)
	must(t, err)
	if second.Created || second.Alert.ID != r.Alert.ID || second.Alert.Count != 2 {
		t.Errorf("second finding: %+v", second)
	}
	if _, err := c.RecordFinding(ctx, Finding{Finding: sdk.Finding{ID: "f3", Confidence: math.NaN()}}, "x", mergeCount); err == nil {
		t.Error("a confidence that is not a number was stored")
	}
	findings, err := c.AlertFindings(ctx, "default", r.Alert.ID, 10)
	must(t, err)
	if len(findings) != 2 || findings[0].ID != "f1" || findings[0].Packets[1] != 2 {
		t.Errorf("findings %+v", findings)
	}
	list, _, err := c.ListAlerts(ctx, "default", AlertFilter{State: AlertFiring, Severity: "high", CaptureID: "cap1"}, Page{})
	must(t, err)
	if len(list) != 1 {
		t.Errorf("filter finds %d alerts", len(list))
	}
	if list, _, _ = c.ListAlerts(ctx, "other", AlertFilter{}, Page{}); len(list) != 0 {
		t.Error("another tenant sees the alert")
	}
	for f, n := range map[AlertFilter]int{
		{Technique: "T1046"}: 1, {Technique: "T104"}: 0, {Technique: "T1046.001"}: 0, {Detector: "picket/portscan"}: 0, {Entity: "10.0.0.9"}: 0,
		{From: now.Now()}: 1, {From: now.Now().Add(time.Hour)}: 0,
	} {
		if list, _, err = c.ListAlerts(ctx, "default", f, Page{}); err != nil || len(list) != n {
			t.Errorf("%+v finds %d alerts, %v", f, len(list), err)
		}
	}
	if n, err := c.CountOpenAlerts(ctx, "default"); err != nil || n[sdk.SeverityHigh] != 1 {
		t.Errorf("open alerts %v, %v", n, err)
	}

	a, err := c.SetAlertState(ctx, "default", r.Alert.ID, AlertAcknowledged, "user:ada", nil)
	must(t, err)
	if a.AcknowledgedBy != "user:ada" {
		t.Errorf("acknowledged by %q", a.AcknowledgedBy)
	}
	_, err = c.SetAlertState(ctx, "default", r.Alert.ID, AlertResolved, "user:ada", []Notice{{Notifier: "hook"}})
	must(t, err)
	_, err = c.SetAlertState(ctx, "default", r.Alert.ID, AlertAcknowledged, "user:ada", nil)
	wantErr(t, err, ErrState)
	third, err := c.RecordFinding(ctx, finding("f4", "10.0.0.1"), "fp", mergeCount)
	must(t, err)
	if !third.Created || third.Alert.ID == r.Alert.ID {
		t.Error("a finding after the alert was resolved must open a new one")
	}

	now.Add(time.Second)
	leased, err := c.LeaseNotices(ctx, now.Now(), time.Minute, "", 10)
	must(t, err)
	if len(leased) != 3 || leased[0].Attempts != 1 {
		t.Fatalf("leased %+v", leased)
	}
	if more, _ := c.LeaseNotices(ctx, now.Now(), time.Minute, "", 10); len(more) != 0 {
		t.Error("a leased notice was handed out again")
	}
	must(t, c.NoticeDelivered(ctx, leased[0].ID, sdk.Receipt{ForeignID: "42"}))
	must(t, c.NoticeRetry(ctx, leased[1].ID, now.Now().Add(time.Hour), "connection refused"))
	wantErr(t, c.NoticeDead(ctx, leased[0].ID, "x"), ErrState)
	now.Add(2 * time.Minute) // the third's lease ends
	if more, _ := c.LeaseNotices(ctx, now.Now(), time.Minute, "", 10); len(more) != 1 || more[0].ID != leased[2].ID || more[0].Attempts != 2 {
		t.Errorf("after the lease: %+v", more)
	}
	now.Add(2 * time.Hour)
	if more, _ := c.LeaseNotices(ctx, now.Now(), time.Minute, "", 10); len(more) != 2 {
		t.Errorf("after the delay: %+v", more)
	}
	n, err := c.NoticeByID(ctx, "default", leased[0].ID)
	must(t, err)
	if n.Receipt == nil || n.Receipt.ForeignID != "42" || n.State != NoticeDelivered {
		t.Errorf("notice %+v", n)
	}
}

func TestSightingsMergeOnce(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	merge := func(s Sighting, matches []Device) (Device, []string) {
		d, gone := Device{FirstSeen: s.Time}, []string(nil)
		for _, m := range matches {
			if d.ID == "" {
				d = m
				continue
			}
			d.IPs, d.MACs = append(d.IPs, m.IPs...), append(d.MACs, m.MACs...)
			gone = append(gone, m.ID)
		}
		if s.IP.IsValid() {
			d.IPs = append(d.IPs, s.IP.String())
		}
		if s.MAC != "" {
			d.MACs = append(d.MACs, s.MAC)
		}
		d.LastSeen = s.Time
		d.Facts = map[string]Fact{"rtt": {Value: "1", Source: s.Plugin, Confidence: 1, Time: start}}
		return d, gone
	}
	see := func(seq uint64, ip, mac string) ([]Device, bool) {
		t.Helper()
		s := Sighting{Plugin: "picket/arp", Sighting: sdk.Sighting{Time: start, MAC: mac}}
		if ip != "" {
			s.IP = netip.MustParseAddr(ip)
		}
		list, fresh, err := c.RecordSightings(ctx, SightingBatch{Tenant: "default", Agent: "a1", Epoch: "e", Seq: seq, Sightings: []Sighting{s}}, merge)
		must(t, err)
		return list, fresh
	}
	see(1, "10.0.0.1", "")
	see(2, "", "aa:aa:aa:aa:aa:aa")
	if n, _ := c.CountDevices(ctx, "default"); n != 2 {
		t.Fatalf("%d devices, want 2", n)
	}
	joined, fresh := see(3, "10.0.0.1", "aa:aa:aa:aa:aa:aa") // one machine after all
	if !fresh || len(joined) != 1 {
		t.Fatalf("joined %+v", joined)
	}
	if n, _ := c.CountDevices(ctx, "default"); n != 1 {
		t.Errorf("%d devices after the join, want 1", n)
	}
	if _, fresh := see(3, "10.0.0.9", ""); fresh {
		t.Error("a repeated batch counted again")
	}
	got, err := c.DeviceByID(ctx, "default", joined[0].ID)
	must(t, err)
	if diff := cmp.Diff(joined[0], got); diff != "" {
		t.Error(diff)
	}
}

func TestCapturesAuditSettings(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	x := Capture{ID: "c1", Tenant: "default", Name: "a.pcap", SHA256: "ab", Size: 9, State: CaptureQueued, Created: start, CreatedBy: "user:ada"}
	must(t, c.InsertCapture(ctx, x))
	x.State, x.Progress, x.Packets, x.Flows, x.Truncated, x.FirstPacket = CaptureRunning, .5, 7, 2, true, start
	x.Services = []ServedPort{{Proto: 6, Port: 502, Hosts: 3}}
	x.Quality = `{"outcomes":{"flow":7}}`
	must(t, c.UpdateCapture(ctx, x))
	list, err := c.CapturesInState(ctx, CaptureQueued, CaptureRunning)
	must(t, err)
	if diff := cmp.Diff([]Capture{x}, list); diff != "" {
		t.Error(diff)
	}
	wantErr(t, c.UpdateCapture(ctx, Capture{ID: "nope", Tenant: "default"}), ErrNotFound)

	for i := range 3 {
		must(t, c.AppendAudit(ctx, AuditEntry{ID: fmt.Sprint(i), Tenant: "default", Time: start, Actor: "user:ada", Action: "login", Outcome: "ok"}))
	}
	entries, next, err := c.ListAudit(ctx, "default", AuditFilter{Actor: "user:ada"}, Page{Limit: 2})
	must(t, err)
	if len(entries) != 2 || entries[0].ID != "2" || next != "1" {
		t.Errorf("page %+v, next %q", entries, next)
	}

	if v, err := c.Setting(ctx, "default", "x"); v != "" || err != nil {
		t.Errorf("missing setting: %q, %v", v, err)
	}
	must(t, c.PutSetting(ctx, "default", "x", "1"))
	must(t, c.PutSetting(ctx, "default", "x", "2"))
	if v, _ := c.Setting(ctx, "default", "x"); v != "2" {
		t.Errorf("setting %q", v)
	}
}

// A populated file of an older version keeps every row through the steps that came later, and a failing step leaves it
// at the version before.
func TestMigrateKeepsRows(t *testing.T) {
	p := testPlace(t)
	c := openAt(t, p, nil)
	ctx := t.Context()
	enrol(t, c, "a1")
	_, err := c.RecordFinding(ctx, finding("f1", "10.0.0.1"), "fp", mergeCount)
	must(t, err)
	must(t, c.Close())

	db, err := sql.Open("sqlite3", dsn(p.path))
	must(t, err)
	defer db.Close()
	steps, err := migrations()
	must(t, err)
	known := len(steps)
	steps = append(steps, "ALTER TABLE alerts ADD COLUMN note TEXT NOT NULL DEFAULT 'none';", "CREATE TABLE extra (x);\nSELECT no_such_function();")
	if err := migrate(ctx, db, steps); err == nil {
		t.Fatal("a failing step passed")
	}
	var version, alerts, extra int
	var note string
	must(t, db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version))
	must(t, db.QueryRowContext(ctx, "SELECT count(*), max(note) FROM alerts").Scan(&alerts, &note))
	must(t, db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'extra'").Scan(&extra))
	if version != known+1 || alerts != 1 || note != "none" || extra != 0 {
		t.Errorf("version %d, %d alerts, note %q, half a step %d", version, alerts, note, extra)
	}
	if _, err := OpenControl(ctx, ControlConfig{Path: p.path, KeyFile: p.key}); err == nil || !strings.Contains(err.Error(), "newer picketd") {
		t.Errorf("a file of a newer version: %v", err)
	}
}

func TestOpenControlErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("this is no database, though it is long enough to be taken for one at first sight"), 0o600))
	for name, c := range map[string]struct{ path, want string }{
		"a file where the folder should be": {filepath.Join(file, "control.db"), "choose another with --data"},
		"not a database":                    {file, "no SQLite file"},
		"a folder nobody can write":         {"/proc/picket/control.db", "choose another with --data"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenControl(t.Context(), ControlConfig{Path: c.path, KeyFile: filepath.Join(t.TempDir(), "k")})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A technique counts an alert once, also one that names two techniques below it.
func TestTechniquesAreCountedOnce(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	for id, techniques := range map[string][]string{"a": {"T1071.001", "T1071.004"}, "b": {"T1071", "T1071.004", "T0846"}, "c": nil} {
		_, err := c.RecordFinding(ctx, finding(id, "10.0.0.1"), id, func(*Alert) (Alert, []Notice) {
			return Alert{Severity: sdk.SeverityLow, Title: id, Techniques: techniques, Src: "10.0.0.1", Dst: "10.0.0.2"}, nil
		})
		must(t, err)
	}
	got, err := c.CountTechniques(ctx, "default", time.Time{})
	must(t, err)
	want := map[string]map[sdk.Severity]int{"T1071": {"low": 2}, "T1071.001": {"low": 1}, "T1071.004": {"low": 2}, "T0846": {"low": 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for f, n := range map[AlertFilter]int{{Technique: "T1071"}: 2, {Technique: "T1071.001"}: 1, {Entity: "10.0.0.2"}: 3, {Entity: "10.0.0.1", Technique: "T0846"}: 1} {
		if list, _, err := c.ListAlerts(ctx, "default", f, Page{}); err != nil || len(list) != n {
			t.Errorf("%+v finds %d alerts, %v", f, len(list), err)
		}
	}
	if got, err := c.CountTechniques(ctx, "default", now.Now().Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("later: %v, %v", got, err)
	}
}
