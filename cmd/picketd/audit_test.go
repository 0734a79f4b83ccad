package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
)

func TestAuditVerify(t *testing.T) {
	for name, c := range map[string]struct {
		sql   string
		since string // instead of the end that was printed before
		code  int
		want  string
	}{
		"whole":              {want: "the audit log is whole: 6 lines"},
		"a line changed":     {sql: "UPDATE audit SET detail = 'x' WHERE seq = 3", code: exitFailed, want: "line 3: the line or the one before it was changed"},
		"a line removed":     {sql: "DELETE FROM audit WHERE seq = 2", code: exitFailed, want: "line 2: the line is missing"},
		"an older file":      {since: "7:" + strings.Repeat("ab", 32), code: exitFailed, want: "it was there when the end was noted"},
		"another file":       {since: "4:" + strings.Repeat("ab", 32), code: exitFailed, want: "line 4: the line is another than the one that was noted"},
		"an end that's none": {since: "4", code: exitFailed, want: "--since must be number:hash"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := config.Default()
			settings.Data = filepath.Join(t.TempDir(), "data")
			control, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(settings.Data, "control.db"), KeyFile: settings.SecretKeyFile()})
			if err != nil {
				t.Fatal(err)
			}
			log := audit.New(control, nil)
			for i := range 6 {
				if err := log.Record(t.Context(), audit.Entry{Actor: "user:ada", Action: "login", Object: fmt.Sprint(i)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := control.Close(); err != nil {
				t.Fatal(err)
			}
			verify := func(since string) (code int, out, errs string) {
				var o, e bytes.Buffer
				code = run(t.Context(), []string{"audit", "verify", "--data", settings.Data, "--since", since}, &o, &e)
				return code, o.String(), e.String()
			}
			code, out, errs := verify("")
			end := regexp.MustCompile(`(?m)^its end: (6:[0-9a-f]{64})$`).FindStringSubmatch(out)
			if code != 0 || end == nil || errs != "" {
				t.Fatalf("before: ended with %d\n%s%s", code, out, errs)
			}
			if c.sql != "" {
				file, err := sql.Open("sqlite3", "file:"+filepath.Join(settings.Data, "control.db"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := file.Exec(c.sql); err != nil {
					t.Fatal(err)
				}
				if err := file.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if c.since == "" {
				c.since = end[1]
			}
			code, out, errs = verify(c.since)
			if code != c.code || !strings.Contains(out+errs, c.want) || code == 0 != (errs == "") {
				t.Errorf("ended with %d and said\n%s%swant %d and something about %q", code, out, errs, c.code, c.want)
			}
		})
	}
}
