package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func fillAudit(t *testing.T, c *Control, tenant string, n int) {
	t.Helper()
	for i := range n {
		e := AuditEntry{ID: fmt.Sprintf("%s-%03d", tenant, i), Tenant: tenant, Time: start.Add(time.Duration(i) * time.Minute),
			Actor: "user:ada", Action: "plugin.enable", Object: fmt.Sprintf("plugin:p%d", i), Outcome: "ok", Detail: "100%", Address: "192.0.2.1"}
		if err := c.AppendAudit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// Every way to alter a file of the audit log behind the server's back is found, and where.
func TestAuditChainFindsWhatWasChanged(t *testing.T) {
	for name, c := range map[string]struct {
		sql    string
		broken int64
		says   string
	}{
		"nothing":                {"SELECT 1", 0, ""},
		"a word":                 {"UPDATE audit SET detail = 'x' WHERE seq = 4 AND tenant = 'default'", 4, "changed"},
		"an outcome":             {"UPDATE audit SET outcome = 'refused' WHERE seq = 1 AND tenant = 'default'", 1, "changed"},
		"a time":                 {"UPDATE audit SET time = time + 1 WHERE seq = 6 AND tenant = 'default'", 6, "changed"},
		"a line gone":            {"DELETE FROM audit WHERE seq = 3 AND tenant = 'default'", 3, "missing"},
		"the first gone":         {"DELETE FROM audit WHERE seq = 1 AND tenant = 'default'", 1, "missing"},
		"the last gone":          {"DELETE FROM audit WHERE seq = 6 AND tenant = 'default'", 6, "missing, and all after it"},
		"all gone":               {"DELETE FROM audit", 1, "missing"},
		"the end made up":        {"DELETE FROM audit WHERE seq = 6 AND tenant = 'default'; UPDATE audit_heads SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5 AND tenant = 'default') WHERE tenant = 'default'", 6, "made up"},
		"no end":                 {"DELETE FROM audit_heads", 7, "end is missing"},
		"a line moved":           {"UPDATE audit SET seq = 99 WHERE seq = 2 AND tenant = 'default'; UPDATE audit SET seq = 2 WHERE seq = 3 AND tenant = 'default'", 2, "changed"},
		"a line pushed in":       {"INSERT INTO audit SELECT 'z', tenant, time, actor, action, object, outcome, detail, address, 7, hash FROM audit WHERE seq = 6 AND tenant = 'default'", 7, "changed"},
		"a line beside":          {"INSERT INTO audit SELECT 'z', tenant, time, actor, action, object, outcome, detail, address, NULL, hash FROM audit WHERE seq = 6 AND tenant = 'default'", 1, "outside"},
		"given another tenant's": {"UPDATE audit SET tenant = 'other', seq = 50 WHERE seq = 6 AND tenant = 'default'", 6, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPlace(t)
			control := openAt(t, p, nil)
			fillAudit(t, control, DefaultTenant, 6)
			fillAudit(t, control, "other", 2)
			if _, err := control.writer.Exec(c.sql); err != nil {
				t.Fatal(err)
			}
			r, err := control.VerifyAudit(t.Context(), DefaultTenant, AuditHead{})
			if err != nil || r.Broken != c.broken || !strings.Contains(r.Problem, c.says) {
				t.Errorf("%+v, %v; want line %d, %q", r, err, c.broken, c.says)
			}
		})
	}
}

func TestANotedEndShowsThatTheWholeFileIsOlder(t *testing.T) {
	p := testPlace(t)
	c := openAt(t, p, nil)
	fillAudit(t, c, DefaultTenant, 3)
	older, err := c.VerifyAudit(t.Context(), DefaultTenant, AuditHead{})
	if err != nil || older.Head.Seq != 3 {
		t.Fatalf("%+v, %v", older, err)
	}
	if r, _ := c.VerifyAudit(t.Context(), DefaultTenant, AuditHead{Seq: 5, Hash: []byte{1}}); r.Broken != 4 {
		t.Errorf("an older file: %+v", r)
	}
	if r, _ := c.VerifyAudit(t.Context(), DefaultTenant, AuditHead{Seq: 2, Hash: []byte{1}}); r.Broken != 2 {
		t.Errorf("another file: %+v", r)
	}
	if r, _ := c.VerifyAudit(t.Context(), DefaultTenant, older.Head); r.Broken != 0 {
		t.Errorf("the same file: %+v", r)
	}
	if r, err := c.VerifyAudit(t.Context(), "nobody", AuditHead{}); err != nil || r.Broken != 0 || r.Head.Seq != 0 {
		t.Errorf("an empty log: %+v, %v", r, err)
	}
}

// A file from before there was a chain is chained once, and a new key file is no sign of a forgery.
func TestOldLinesAreChainedAndAKeyMayBeReplaced(t *testing.T) {
	p := testPlace(t)
	c := openAt(t, p, nil)
	fillAudit(t, c, DefaultTenant, 4)
	if _, err := c.writer.Exec("UPDATE audit SET seq = NULL, hash = NULL; DELETE FROM audit_heads"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	c = openAt(t, p, nil)
	fillAudit(t, c, "other", 1)
	if r, err := c.VerifyAudit(t.Context(), DefaultTenant, AuditHead{}); err != nil || r.Broken != 0 || r.Head.Seq != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	_ = c.Close()
	if err := os.Remove(p.key); err != nil {
		t.Fatal(err)
	}
	c = openAt(t, p, nil)
	if r, err := c.VerifyAudit(t.Context(), DefaultTenant, AuditHead{}); err != nil || r.Broken != 0 {
		t.Errorf("with another key: %+v, %v", r, err)
	}
}

func TestAuditSearch(t *testing.T) {
	c, _ := openControl(t)
	fillAudit(t, c, DefaultTenant, 5)
	fillAudit(t, c, "other", 5)
	for name, x := range map[string]struct {
		f    AuditFilter
		want int
	}{
		"all":              {AuditFilter{}, 5},
		"part of an actor": {AuditFilter{Actor: "ada"}, 5},
		"an object":        {AuditFilter{Object: "p3"}, 1},
		"a wild card":      {AuditFilter{Object: "p%"}, 0},
		"a percent sign":   {AuditFilter{Text: "100%"}, 5},
		"an address":       {AuditFilter{Text: "192.0.2"}, 5},
		"from":             {AuditFilter{From: start.Add(3 * time.Minute)}, 2},
		"to":               {AuditFilter{To: start.Add(3 * time.Minute)}, 3},
		"another outcome":  {AuditFilter{Outcome: "failed"}, 0},
		"a quote":          {AuditFilter{Actor: "' OR 1=1 --"}, 0},
	} {
		list, _, err := c.ListAudit(t.Context(), DefaultTenant, x.f, Page{})
		if err != nil || len(list) != x.want {
			t.Errorf("%s: %d lines, want %d (%v)", name, len(list), x.want, err)
		}
		after, err := c.AuditAfter(t.Context(), DefaultTenant, 0, x.f, 100)
		if err != nil || len(after) != x.want {
			t.Errorf("%s, in order: %d lines, want %d (%v)", name, len(after), x.want, err)
		}
	}
}

func TestFactors(t *testing.T) {
	p := testPlace(t)
	c := openAt(t, p, nil)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.CreateUser(ctx, User{ID: "u1", Tenant: DefaultTenant, Username: "ada", Role: "ADM", PasswordHash: "x"}))
	must(c.AddFactor(ctx, Factor{ID: "f0", Tenant: DefaultTenant, UserID: "u1", Kind: FactorTOTP, Secret: "NEVERCONFIRMED"}))
	must(c.AddFactor(ctx, Factor{ID: "f1", Tenant: DefaultTenant, UserID: "u1", Kind: FactorTOTP, Secret: "JBSWY3DPEHPK3PXP"}))
	list, err := c.Factors(ctx, DefaultTenant, "u1")
	must(err)
	if len(list) != 1 || list[0].Secret != "JBSWY3DPEHPK3PXP" || list[0].Confirmed {
		t.Fatalf("%+v", list)
	}
	if has, _ := c.HasFactor(ctx, DefaultTenant, "u1"); has {
		t.Error("a factor counts that nobody confirmed")
	}
	must(c.UseStep(ctx, DefaultTenant, "f1", 100, start))
	if err := c.UseStep(ctx, DefaultTenant, "f1", 100, start); !errors.Is(err, ErrUsed) {
		t.Errorf("the same step: %v", err)
	}
	if err := c.UseStep(ctx, DefaultTenant, "f1", 99, start); !errors.Is(err, ErrUsed) {
		t.Errorf("an older step: %v", err)
	}
	must(c.AddFactor(ctx, Factor{ID: "f2", Tenant: DefaultTenant, UserID: "u1", Kind: FactorPasskey, Confirmed: true, Credential: []byte("cred"), Body: []byte(`{}`)}))
	if err := c.AddFactor(ctx, Factor{ID: "f3", Tenant: DefaultTenant, UserID: "u1", Kind: FactorPasskey, Confirmed: true, Credential: []byte("cred")}); !errors.Is(err, ErrConflict) {
		t.Errorf("the same passkey twice: %v", err)
	}
	if _, err := c.FactorByCredential(ctx, []byte("none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown passkey: %v", err)
	}
	must(c.PutRecoveryCodes(ctx, DefaultTenant, "u1", [][]byte{{1}, {2}}))
	must(c.SpendRecoveryCode(ctx, DefaultTenant, "u1", []byte{1}, start))
	if err := c.SpendRecoveryCode(ctx, DefaultTenant, "u1", []byte{1}, start); !errors.Is(err, ErrNotFound) {
		t.Errorf("a spent code: %v", err)
	}
	// Moved to another row a sealed secret opens nothing, and it is nowhere in the file.
	if _, err := c.writer.Exec("UPDATE factors SET id = 'f9' WHERE id = 'f1'"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Factors(ctx, DefaultTenant, "u1"); err == nil {
		t.Error("a secret was opened in a place it was not sealed for")
	}
	if _, err := c.writer.Exec("UPDATE factors SET id = 'f1' WHERE id = 'f9'; PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(p.path)
	must(err)
	if bytes.Contains(raw, []byte("JBSWY3DPEHPK3PXP")) {
		t.Error("the secret of codes lies open in the file")
	}
	must(c.DeleteFactor(ctx, DefaultTenant, "u1", "f1"))
	if n, _ := c.RecoveryCodesLeft(ctx, DefaultTenant, "u1"); n != 1 {
		t.Errorf("%d recovery codes with a passkey left", n)
	}
	must(c.DeleteFactor(ctx, DefaultTenant, "u1", "f2"))
	if n, _ := c.RecoveryCodesLeft(ctx, DefaultTenant, "u1"); n != 0 {
		t.Errorf("%d recovery codes without a factor", n)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	for _, u := range []User{{ID: "u1", Username: "ada", Role: "ADM", PasswordHash: "x"}, {ID: "u2", Username: "bob", Role: "IT", PasswordHash: "x"}} {
		u.Tenant = DefaultTenant
		if err := c.CreateUser(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrLastAdministrator) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("disable", c.DisableUser(ctx, DefaultTenant, "u1"))
	refused("delete", c.DeleteUser(ctx, DefaultTenant, "u1"))
	refused("another role", c.SetUserRole(ctx, DefaultTenant, "u1", "IT"))
	if err := c.SetUserRole(ctx, DefaultTenant, "u2", "ADM"); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteUser(ctx, DefaultTenant, "u1"); err != nil {
		t.Error(err)
	}
	if err := c.DisableUser(ctx, "other", "u2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("from another tenant: %v", err)
	}
}

// An administrator who has a passkey alone is one who can sign in: nobody may set the server up anew.
func TestAPasskeyMakesAnAdministratorWhoCanSignIn(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	if err := errors.Join(c.CreateUser(ctx, User{ID: "u1", Tenant: DefaultTenant, Username: "ada", Role: "ADM"}),
		c.CreateForeignUser(ctx, User{ID: "u2", Tenant: DefaultTenant, Username: "bob", Role: "IT"}, "https://id.example", "7")); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.CountAdministrators(ctx, DefaultTenant); n != 0 {
		t.Errorf("%d with neither password nor passkey", n)
	}
	if err := c.AddFactor(ctx, Factor{ID: "f", Tenant: DefaultTenant, UserID: "u1", Kind: FactorPasskey, Confirmed: true, Credential: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.CountAdministrators(ctx, DefaultTenant); n != 1 {
		t.Errorf("%d with a passkey", n)
	}
	if u, err := c.ForeignUser(ctx, DefaultTenant, "https://id.example", "7"); err != nil || u.ID != "u2" {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := c.ForeignUser(ctx, DefaultTenant, "https://other.example", "7"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the same subject of another issuer: %v", err)
	}
}
