package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// sqlWorkerHere makes this program the worker of the console.
const sqlWorkerHere = "-picket-sql-worker"

func init() {
	if len(os.Args) == 2 && os.Args[1] == sqlWorkerHere {
		if err := SQLWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// newConsole opens stores with an hour of samples of two tenants, and secrets that nobody may see.
func newConsole(t *testing.T) *SQLConsole {
	t.Helper()
	dir := t.TempDir()
	now := func() time.Time { return start }
	control, err := OpenControl(t.Context(), ControlConfig{Path: filepath.Join(dir, "control.db"), KeyFile: filepath.Join(t.TempDir(), "secret.key"), Now: now})
	must(t, err)
	telemetry, err := OpenTelemetry(t.Context(), TelemetryConfig{Dir: filepath.Join(dir, "telemetry"), Now: now})
	must(t, err)
	flows, err := OpenFlows(t.Context(), FlowsConfig{Dir: filepath.Join(dir, "flows"), Now: now})
	must(t, err)
	t.Cleanup(func() {
		must(t, errors.Join(control.Close(), telemetry.Close(), flows.Close()))
	})
	must(t, control.CreateUser(t.Context(), User{ID: "u1", Tenant: DefaultTenant, Username: "ada", Role: "ADM", PasswordHash: "canary-password", Created: start}))
	for _, tenant := range []string{DefaultTenant, "other"} {
		b := SampleBatch{Tenant: tenant, Agent: "a1", Epoch: "e", Seq: 1}
		for i := range 60 {
			b.Samples = append(b.Samples, sdk.Sample{Metric: "cpu", Unit: "1", Type: sdk.Gauge, Labels: map[string]string{"core": "0"}, Time: start.Add(-time.Duration(i) * time.Minute), Value: float64(i)})
		}
		_, err := telemetry.Append(t.Context(), b)
		must(t, err)
	}
	program, err := os.Executable()
	must(t, err)
	return &SQLConsole{Control: control, Telemetry: telemetry, Flows: flows, Dir: filepath.Join(dir, "sql"), Worker: []string{program, sqlWorkerHere}, Now: now}
}

func (s *SQLConsole) mustRun(t *testing.T, text string) string {
	t.Helper()
	a, err := s.Run(t.Context(), SQLQuery{SQL: text, To: start.Add(time.Second)})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var lines []string
	for _, row := range a.Rows {
		var cells []string
		for _, cell := range row {
			cells = append(cells, string(cell))
		}
		lines = append(lines, strings.Join(cells, " "))
	}
	return strings.Join(lines, "\n")
}

func TestSQLConsole(t *testing.T) {
	s := newConsole(t)
	for _, c := range []struct{ text, want string }{
		{"SELECT tenant, metric, labels->>'core' AS core, count(*) AS n, max(value) AS top FROM samples GROUP BY ALL ORDER BY tenant", `"default" "cpu" "0" 60 59` + "\n" + `"other" "cpu" "0" 60 59`},
		{"SELECT count(*) FROM samples WHERE time >= TIMESTAMP '" + start.Add(-9*time.Minute).UTC().Format(time.DateTime) + "'", "20"},
		{"SELECT username, role, disabled, signed_in FROM users", `"ada" "ADM" false null`},
		{"WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 5) SELECT sum(n) FROM x", "15"},
		{"SELECT count(*) FROM flows", "0"},
		{"SELECT count(*) FROM samples_1d", "0"},
		{"FROM (VALUES (1, 'NaN'::DOUBLE, 9007199254740993, [1, 2], INTERVAL 1 HOUR, 1.50::DECIMAL(9, 2)))", `1 "NaN" "9007199254740993" [1,2] "0 months 0 days 1h0m0s" "1.5"`},
		{"SELECT count(*) > 100 FROM (DESCRIBE audit) a, range(40) b", "true"},
	} {
		if got := s.mustRun(t, c.text); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	for _, table := range s.Tables() { // each can be read, and has the columns that it says
		if got := s.mustRun(t, "SELECT count(*) FROM (DESCRIBE "+table.Name+")"); got != fmt.Sprint(len(table.Columns)) {
			t.Errorf("%s has %s columns, and says %d", table.Name, got, len(table.Columns))
		}
		s.mustRun(t, "SELECT * FROM "+table.Name)
	}
	entries, _ := os.ReadDir(s.Dir)
	if len(entries) > 0 {
		t.Error("copies of tables are left")
	}
}

func TestSQLConsoleTellsWhereAnErrorIs(t *testing.T) {
	s := newConsole(t)
	_, err := s.Run(t.Context(), SQLQuery{SQL: "SELECT 1,\n  FROM WHERE"})
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
	_, err = s.Run(t.Context(), SQLQuery{SQL: "SELECT usernam FROM users"})
	if err == nil || !strings.Contains(err.Error(), "username") {
		t.Error(err)
	}
}

// Nothing that somebody writes may change anything, leave the console's tables, or take what the server needs.
func TestSQLConsoleAttacked(t *testing.T) {
	s := newConsole(t)
	out := filepath.Join(t.TempDir(), "out")
	for _, text := range []string{
		"COPY (SELECT 1) TO '" + out + "'",
		"COPY users TO '" + out + "' (FORMAT parquet)",
		"EXPORT DATABASE '" + out + "'",
		"SELECT * FROM read_csv('/etc/passwd')",
		"SELECT * FROM '/etc/passwd'",
		"SELECT * FROM read_text('/etc/passwd')",
		"SELECT * FROM read_blob('" + s.Control.path + "')",
		"SELECT * FROM glob('/etc/*')",
		"SELECT * FROM sniff_csv('/etc/passwd')",
		"SELECT * FROM read_json('/proc/self/environ')",
		"SELECT * FROM parquet_metadata('" + filepath.Join(s.Dir, "..", "x") + "')",
		"SELECT * FROM sqlite_scan('" + s.Control.path + "', 'users')",
		"SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
		"SELECT * FROM read_csv('http://127.0.0.1:1/')",
		"ATTACH '" + s.Control.path + "' AS c (TYPE sqlite)",
		"ATTACH '" + out + "' AS c",
		"INSTALL httpfs",
		"LOAD httpfs",
		"SET enable_external_access = true",
		"SET memory_limit = '100GB'",
		"SET VARIABLE x = 1",
		"RESET lock_configuration",
		"PRAGMA database_list",
		"PRAGMA enable_profiling",
		"CALL pragma_version()",
		"CREATE TABLE x AS SELECT 1",
		"CREATE OR REPLACE VIEW users AS SELECT 1",
		"CREATE SECRET (TYPE s3)",
		"CREATE MACRO f(x) AS x",
		"DROP VIEW users",
		"INSERT INTO users VALUES (1)",
		"UPDATE users SET role = 'ADM'",
		"DELETE FROM users",
		"WITH x AS (INSERT INTO users VALUES (1) RETURNING *) SELECT * FROM x",
		"BEGIN", "CHECKPOINT", "VACUUM", "USE memory", "DETACH memory",
		"PREPARE x AS SELECT 1", "EXECUTE x",
		"SELECT 1; SELECT 2",
		"SELECT 1; DROP VIEW users",
		"SELECT 1; COPY (SELECT 1) TO '" + out + "'",
		"", "   ", ";", "-- nothing",
		strings.Repeat("(", 20_000),
		strings.Repeat("x", sqlText+1),
		"SELECT password_hash FROM users",
		"SELECT * FROM api_tokens",
		"SELECT * FROM sessions",
		"SELECT error('stop')",
	} {
		a, err := s.Run(t.Context(), SQLQuery{SQL: text})
		var wrong *QueryError
		if !errors.As(err, &wrong) {
			t.Errorf("%.80s: %v %v", text, a.Rows, err)
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was written")
	}
	if got := s.mustRun(t, "SELECT count(*) FROM users"); got != "1" {
		t.Error("users were changed:", got)
	}
}

// No table shows what opens something.
func TestSQLConsoleHoldsNoSecret(t *testing.T) {
	s := newConsole(t)
	for _, table := range s.Tables() {
		for _, c := range table.Columns {
			for _, bad := range []string{"hash", "secret", "token", "key", "password", "bearer", "config", "credential", "args", "output"} {
				if strings.Contains(c.Name, bad) {
					t.Errorf("%s.%s", table.Name, c.Name)
				}
			}
		}
		if got := s.mustRun(t, "SELECT to_json(x) FROM "+table.Name+" x"); strings.Contains(got, "canary") {
			t.Errorf("%s: %s", table.Name, got)
		}
	}
}

func TestSQLConsoleBoundsWhatAQueryTakes(t *testing.T) {
	s := newConsole(t)
	refused := func(ctx context.Context, text string) {
		t.Helper()
		began := time.Now()
		a, err := s.Run(ctx, SQLQuery{SQL: text})
		if err == nil {
			t.Errorf("%s: %d rows", text, len(a.Rows))
		}
		t.Logf("%.60s: %.120v after %s", text, err, time.Since(began).Round(time.Millisecond))
	}
	refused(t.Context(), "SELECT repeat('x', 2000000000)")
	refused(t.Context(), "SELECT a.range, b.range FROM range(100000000) a, range(100000000) b ORDER BY a.range * b.range")
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	refused(short, "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range * b.range % 7 = 3")
	short, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	refused(short, "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT max(n) FROM x")
	for _, text := range []string{"SELECT * FROM range(1000000)", "SELECT repeat('x', 1000000) FROM range(100)"} {
		a, err := s.Run(t.Context(), SQLQuery{SQL: text})
		if err != nil || !a.Truncated || len(a.Rows) > sqlRows {
			t.Errorf("%s: %d rows, truncated %v, %v", text, len(a.Rows), a.Truncated, err)
		}
	}
	s.one.Lock()
	defer s.one.Unlock()
	if _, err := s.Run(t.Context(), SQLQuery{SQL: "SELECT 1"}); !errors.Is(err, ErrSQLBusy) {
		t.Error(err)
	}
}
