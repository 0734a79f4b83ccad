package fleetcmd

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/backup"
)

// A backup is ordered, waited for, fetched and found whole; one that was cut off is not.
func TestBackup(t *testing.T) {
	var file bytes.Buffer
	w, err := backup.NewWriter(t.Context(), &file, backup.Head{Mode: backup.Full, Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "POST /api/v1/admin/backups":
			fmt.Fprint(out, `{"name":"b","state":"running"}`)
		case "GET /api/v1/admin/backups":
			asked++
			fmt.Fprintf(out, `{"items":[{"name":"b","mode":"full","size":1000000,"state":"%s"}]}`, map[bool]string{true: "done", false: "running"}[asked > 1])
		case "GET /api/v1/admin/backups/b":
			_, _ = out.Write(file.Bytes())
		default:
			out.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := Backup()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append(args, "--server", srv.URL, "--token-file", token))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	to := filepath.Join(dir, "fetched")
	for _, c := range []struct {
		args  []string
		words string
	}{
		{[]string{"create"}, "b\n"}, {[]string{"list"}, "1.0 MB"}, {[]string{"download", "b", "-o", to}, fmt.Sprint(file.Len(), " bytes")}, {[]string{"verify", to}, "is whole: full"},
	} {
		if out, err := run(c.args...); err != nil || !strings.Contains(out, c.words) {
			t.Errorf("%v: %q, %v", c.args, out, err)
		}
	}
	if err := os.Truncate(to, int64(file.Len()-1)); err != nil {
		t.Fatal(err)
	}
	if out, err := run("verify", to); err == nil {
		t.Errorf("a backup that was cut off passes: %s", out)
	}
	if _, err := run("download", "other", "-o", to+"2"); err == nil {
		t.Error("a backup that is not there was fetched")
	}
}
