package sqlcmd

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run calls the command against a server that answers so.
func run(t *testing.T, status int, reply string, args ...string) (out, errs, asked string, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, reply)
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	cmd := New()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	cmd.SetArgs(append([]string{"--server", server.URL, "--token-file", token}, args...))
	err = cmd.ExecuteContext(t.Context())
	return o.String(), e.String(), asked, err
}

const two = `{"columns":[{"name":"id","type":"BIGINT"},{"name":"name","type":"VARCHAR"}],"rows":[[1,"web\u001b[31m"],[2,null]],"truncated":true,"tables":{}}`

func TestQueryPrintsATable(t *testing.T) {
	out, errs, asked, err := run(t, 200, two, "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(asked, "POST /api/v1/admin/sql Bearer secret ") || !strings.Contains(asked, `"sql":"SELECT 1"`) || !strings.Contains(asked, `"from":`) {
		t.Error(asked)
	}
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || !strings.Contains(lines[0], "name") || !strings.Contains(lines[1], "web [31m") || !strings.Contains(lines[2], "NULL") {
		t.Errorf("%q", out)
	}
	if !strings.Contains(errs, "first 2 rows") {
		t.Error(errs)
	}
	if out, _, _, err = run(t, 200, two, "--json", "SELECT 1"); err != nil || !strings.Contains(out, `"truncated"`) {
		t.Error(out, err)
	}
}

func TestTables(t *testing.T) {
	out, _, asked, err := run(t, 200, `{"tables":[{"name":"agents","doc":"Machines.","columns":[{"name":"id","type":"VARCHAR","doc":"its id"}]}]}`, "--tables")
	if err != nil || !strings.HasPrefix(asked, "GET ") || !strings.Contains(out, "agents") || !strings.Contains(out, "its id") {
		t.Error(out, asked, err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		status     int
		reply      string
		args       []string
		want       string
		mustNotAsk bool
	}{
		{422, `{"detail":"one statement at a time"}`, []string{"x"}, "one statement at a time", false},
		{401, `{}`, []string{"x"}, "picket token create", false},
		{500, `oops`, []string{"x"}, "500", false},
		{200, two, []string{}, "give one query", true},
		{200, two, []string{"x", "--tables"}, "give one query", true},
		{200, two, []string{"x", "--range", "-1h"}, "--range", true},
	} {
		_, _, asked, err := run(t, c.status, c.reply, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || (asked == "") != c.mustNotAsk {
			t.Errorf("%v: %v, asked %q", c.args, err, asked)
		}
	}
}
