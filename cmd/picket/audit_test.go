package main

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/picketwatch/picket/cmd/picket/internal/auditcmd"
	"github.com/picketwatch/picket/core"
	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/config"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve runs a picketd, whose helper programs start nothing, and waits until it has written a line into its audit log.
func serve(t *testing.T) (dir string) {
	t.Helper()
	programs := t.TempDir()
	for name, text := range map[string]string{"picket-launch": `while [ "$1" != "--" ]; do shift; done; shift; exec "$@"`, "picket-wasm": "exit 1", "picket-traffic": "exit 1"} {
		must(t, os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n[ \"$1\" = --version ] && echo "+config.Version+" && exit\n"+text+"\n"), 0o755))
	}
	settings := config.Default()
	settings.Data, settings.Listen = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0"
	server, err := core.New(t.Context(), core.Config{Settings: settings, Programs: programs, Out: io.Discard, Pages: fstest.MapFS{"index.html": {}}})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := adminsock.CreateToken(t.Context(), settings.Data, adminsock.TokenRequest{Role: "ADM", Name: "test"})
		if err == nil {
			return settings.Data
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestAuditVerify(t *testing.T) {
	dir := serve(t)
	_, err := adminsock.CreateToken(t.Context(), dir, adminsock.TokenRequest{Role: "PUB", Name: "another"})
	must(t, err)
	verify := func(since string, code int, want string) {
		t.Helper()
		var errs bytes.Buffer
		if got := run(t.Context(), []string{"audit", "verify", "--data", dir, "--since", since}, &errs); got != code || !strings.Contains(errs.String(), want) {
			t.Errorf("ended with %d and said\n%swant %d and something about %q", got, &errs, code, want)
		}
	}
	var out bytes.Buffer
	cmd := auditcmd.New()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"verify", "--data", dir})
	must(t, cmd.ExecuteContext(t.Context()))
	_, end, _ := strings.Cut(out.String(), "its end: ")
	end, _, ok := strings.Cut(end, "\n")
	if !ok || !strings.HasPrefix(out.String(), "the audit log is whole: ") {
		t.Fatalf("%q", &out)
	}
	verify(end, 0, "")
	verify("99999:"+strings.Repeat("ab", 32), exitFailed, "it was there when the end was noted")
	verify("1:"+strings.Repeat("ab", 32), exitFailed, "line 1: the line is another than the one that was noted")
	verify("1", exitFailed, "--since must be number:hash")

	file, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "control.db")+"?_busy_timeout=10000")
	must(t, err)
	defer file.Close()
	_, err = file.Exec("UPDATE audit SET actor = 'user:eve' WHERE seq = 2")
	must(t, err)
	verify(end, exitFailed, "line 2: the line or the one before it was changed")
	_, err = file.Exec("DELETE FROM audit WHERE seq = 1")
	must(t, err)
	verify("", exitFailed, "line 1: the line is missing")
}
