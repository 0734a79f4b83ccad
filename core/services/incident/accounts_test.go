package incident

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func TestAccountNames(t *testing.T) {
	server := netip.MustParseAddr("10.0.0.20")
	for _, c := range []struct{ protocol, user, method, want string }{
		{"ssh", "Root", "", "root@10.0.0.20"},
		{"smb", `CORP\Alice`, "NTLM", "alice@corp"},
		{"kerberos", "alice@CORP.EXAMPLE.ORG", "AS", "alice@corp"},
		{"smb", `.\alice`, "NTLM", "alice@10.0.0.20"},
		{"imap", "ada@example.org", "LOGIN", "ada@example.org"},
		{"smb", `CORP\x`, "ANONYMOUS", ""},
		{"ftp", "", "", ""},
		{"ftp", "a\x00b\u202ec\x1b", "", "abc@10.0.0.20"},
		{"ftp", strings.Repeat("x", 5000), "", strings.Repeat("x", maxAccount) + "@10.0.0.20"},
	} {
		if got := accountName(&sdk.Login{Seen: sdk.Seen{Server: server}, Protocol: c.protocol, User: c.user, Method: c.method}); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.protocol, c.user, got, c.want)
		}
	}
}

// named is an alert with accounts that were found.
func named(a store.IncidentAlert, accounts ...store.Account) store.IncidentAlert {
	a.Accounts = accounts
	return a
}

// Only an account whose password was guessed leads on, and only to who logs in with it afterwards.
func TestAccountsLeadOn(t *testing.T) {
	alice, bob := store.Account{Name: "alice@corp", GotIn: true}, store.Account{Name: "bob@corp", GotIn: true}
	failed := store.Account{Name: "alice@corp"}
	guess := func(at int, src string, a store.Account) store.IncidentAlert {
		return named(said(at, "guess", src, "dc", 60, 1, "T1110"), a)
	}
	use := func(at int, src string, a store.Account) store.IncidentAlert {
		return named(said(at, "exec", src, "files", 60, 1, "T1569"), a)
	}
	for _, c := range []struct {
		name   string
		alerts []store.IncidentAlert
		want   int
	}{
		{"guessed, then used elsewhere", []store.IncidentAlert{guess(0, "a", alice), use(20, "b", alice)}, 1},
		{"in the other order of arrival", []store.IncidentAlert{use(20, "b", alice), guess(0, "a", alice)}, 1},
		{"it was not guessed", []store.IncidentAlert{guess(0, "a", failed), use(20, "b", alice)}, 2},
		{"another account", []store.IncidentAlert{guess(0, "a", alice), use(20, "b", bob)}, 2},
		{"used before it was guessed", []store.IncidentAlert{guess(60, "a", alice), use(0, "b", alice)}, 2},
		{"two who use the same account", []store.IncidentAlert{use(0, "a", alice), use(20, "b", alice)}, 2},
		{"two who guessed the same password", []store.IncidentAlert{guess(0, "a", alice), guess(20, "b", alice)}, 2},
		{"a day later", []store.IncidentAlert{guess(0, "a", alice), use(24*60+20, "b", alice)}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for _, a := range c.alerts {
				w.settle(t, a)
				searches, err := w.control.AccountSearches(t.Context(), 10)
				check(t, err)
				if len(searches) != 1 {
					t.Fatalf("%d searches for one alert", len(searches))
				}
				_, err = w.control.EndAccountSearch(t.Context(), searches[0], a.Accounts, time.Time{})
				check(t, err)
				check(t, w.Settle(t.Context()))
			}
			if got := len(w.list(t)); got != c.want {
				t.Errorf("%d incidents, want %d", got, c.want)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The logins on which a finding rests name its accounts; others of the same time do not.
func TestFindAccounts(t *testing.T) {
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	login := func(from, to string, user, result string) store.FlowFact {
		c, s := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
		return store.FlowFact{Value: &sdk.Login{Protocol: "ssh", User: user, Result: result,
			Seen: sdk.Seen{Client: c.Addr(), ClientPort: c.Port(), Server: s.Addr(), ServerPort: s.Port(), Time: at}}}
	}
	var asked []store.FactQuery
	w := newWorld(t)
	w.cfg.Logins = func(_ context.Context, q store.FactQuery) (store.FactPage, error) {
		asked = append(asked, q)
		if q.Page.Cursor == "" {
			return store.FactPage{Next: "more", Facts: []store.FlowFact{
				login("10.0.0.66:1000", "10.0.0.20:22", "root", "failure"), login("10.0.0.66:1001", "10.0.0.20:22", "ada", "failure"), login("10.0.0.66:2000", "10.0.0.99:22", "eve", "success")}}, nil
		}
		return store.FactPage{Facts: []store.FlowFact{login("10.0.0.66:1002", "10.0.0.20:22", "ada", "success"), login("10.0.0.66:5555", "10.0.0.30:445", "tom", "success")}}, nil
	}
	record := func(id string, f sdk.Finding) string {
		f.ID, f.Detector, f.Rule, f.Start, f.End = id, "d", id, at, at.Add(time.Minute)
		rec, err := w.control.RecordFinding(t.Context(), store.Finding{Finding: f, Tenant: store.DefaultTenant, CaptureID: "c"}, id, func(open *store.Alert) (store.Alert, []store.Notice) {
			return store.Alert{State: "firing", Severity: "high", Rule: id, Src: f.Src, Dst: f.Dst, Techniques: f.Techniques, FirstSeen: at, LastSeen: at}, nil
		})
		check(t, err)
		return rec.Alert.ID
	}
	guess := record("guess", sdk.Finding{Src: "10.0.0.66", Dst: "10.0.0.20:22", Techniques: []string{"T1110.001"}})
	exec := record("exec", sdk.Finding{Src: "10.0.0.66", Dst: "10.0.0.30", Techniques: []string{"T1569.002"}, Flows: []sdk.FlowRef{{ID: 1, Src: "10.0.0.66:5555", Dst: "10.0.0.30:445"}}})
	record("scan", sdk.Finding{Src: "10.0.0.0/24", Techniques: []string{"T1046"}})
	check(t, w.FindAccounts(t.Context()))
	check(t, w.Settle(t.Context()))
	list, err := w.control.IncidentAccounts(t.Context(), store.DefaultTenant, w.list(t)[1].ID)
	check(t, err)
	if len(list) == 0 {
		list, err = w.control.IncidentAccounts(t.Context(), store.DefaultTenant, w.list(t)[0].ID)
		check(t, err)
	}
	want := map[string]bool{"root@10.0.0.20 " + guess: false, "ada@10.0.0.20 " + guess: true, "tom@10.0.0.30 " + exec: true}
	for _, a := range list {
		in, known := want[a.Name+" "+a.AlertID]
		if !known || in != a.GotIn {
			t.Errorf("%+v", a)
		}
		delete(want, a.Name+" "+a.AlertID)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if q := asked[0]; q.Captures[0] != "c" || q.Host.String() != "10.0.0.66/32" || !q.From.Equal(at) {
		t.Errorf("asked %+v", q)
	}
	if again, err := w.control.AccountSearches(t.Context(), 10); err != nil || len(again) != 0 {
		t.Errorf("searched again: %d, %v", len(again), err)
	}
}
