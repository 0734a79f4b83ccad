//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/postgres") }

func TestConformance(t *testing.T) {
	config := plugintest.JSON(t, map[string]any{"server": fmt.Sprintf("127.0.0.1:%d", plugintest.FreePort(t)), "user": "picket"})
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(config)})
}

func collect(t *testing.T, config map[string]any) (plugintest.Readings, error) {
	t.Helper()
	c := New()
	plugintest.Start(t, c, plugintest.JSON(t, config))
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

func TestConfigIsChecked(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"user": "a", "server": "db"}`, `{"user": "a", "server": "db:0"}`, `{"user": "a", "server": ":5432"}`, `{"user": "a", "ca_certificates": "x"}`,
	} {
		if err := plugintest.Decode(New(), text); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	var out measure.Samples
	samples(&out, []*pgconn.Result{{
		FieldDescriptions: []pgconn.FieldDescription{{Name: "database"}, {Name: "size"}, {Name: "commits"}, {Name: "deadlocks"}, {Name: "stranger"}},
		Rows:              [][][]byte{{[]byte("a\xff"), nil, []byte("7"), []byte("NaN"), []byte("1")}},
	}})
	var got plugintest.Readings
	if err := out.Emit(&got); err != nil {
		t.Fatal(err)
	}
	got.Want(t, map[string]float64{"postgresql.commits postgresql.database.name=a?": 7})
}

func TestServersThatAreNone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	}()
	for _, server := range []string{l.Addr().String(), fmt.Sprintf("127.0.0.1:%d", plugintest.FreePort(t))} {
		if got, err := collect(t, map[string]any{"server": server, "user": "picket"}); sdk.ClassOf(err) != sdk.Temporary || len(got) != 0 {
			t.Errorf("%s: %v, %v", server, got, err)
		}
	}
}

// server starts a PostgreSQL of its own and returns its address, the authority of its certificate and its superuser's SQL.
func server(t *testing.T) (address string, authority *plugintest.Authority, sql func(database, text string)) {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Skip("needs PostgreSQL (Debian package postgresql)")
	}
	bin := filepath.Dir(slices.Max(found))
	dir, err := os.MkdirTemp("", "picket-postgres-") //nolint:usetesting // a folder that another user may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := plugintest.FreePort(t)
	authority = plugintest.NewAuthority(t)
	authority.Issue(t, plugintest.Tomorrow()).Files(t, dir)
	run := asNobodyMuch(t, dir)
	data := filepath.Join(dir, "data")
	if out, err := run(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	cmd := run(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-F",
		"-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(dir, "server.crt"), "-c", "ssl_key_file="+filepath.Join(dir, "server.key"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGQUIT); _ = cmd.Wait() })
	address = fmt.Sprintf("127.0.0.1:%d", port)
	plugintest.Await(t, address)
	return address, authority, func(database, text string) {
		t.Helper()
		conn := patiently(t, fmt.Sprintf("host=%s port=%d user=postgres database=%s", dir, port, database))
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), text).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

// patiently connects to a server that may still be starting up, which it says.
func patiently(t *testing.T, to string) *pgconn.PgConn {
	t.Helper()
	for range 400 {
		conn, err := pgconn.Connect(t.Context(), to)
		if err == nil {
			return conn
		}
		if said := new(pgconn.PgError); !errors.As(err, &said) || said.Code != "57P03" {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server does not come up")
	return nil
}

// asNobodyMuch makes commands that do not run as root, as which PostgreSQL refuses to run.
func asNobodyMuch(t *testing.T, dir string) func(name string, args ...string) *exec.Cmd {
	t.Helper()
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Skip("needs a user nobody")
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		for _, name := range []string{dir, filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")} {
			if err := os.Chown(name, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	return func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
		return cmd
	}
}

func TestARealServer(t *testing.T) {
	address, authority, sql := server(t)
	sql("postgres", "CREATE ROLE picket LOGIN PASSWORD 'sesame' IN ROLE pg_monitor")
	sql("postgres", "CREATE DATABASE shop")
	sql("shop", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; SELECT pg_stat_force_next_flush()")
	config := map[string]any{"server": address, "user": "picket", "password": "sesame"}
	before, err := collect(t, config)
	if err != nil {
		t.Fatal(err)
	}
	sql("shop", "INSERT INTO t SELECT generate_series(1, 500); SELECT pg_stat_force_next_flush()")
	sql("shop", "DELETE FROM t WHERE n <= 100; SELECT pg_stat_force_next_flush()")
	after, err := collect(t, config)
	if err != nil {
		t.Fatal(err)
	}
	const shop = " postgresql.database.name=shop"
	for metric, want := range map[string]float64{"postgresql.tup_inserted": 500, "postgresql.tup_deleted": 200} {
		if n := after.Value(metric+shop) - before.Value(metric+shop); n != want {
			t.Errorf("%s grew by %v, want %v", metric, n, want)
		}
	}
	if n := after.Value("postgresql.db_size" + shop); !(n > 1<<20) {
		t.Errorf("the database has %v bytes", n)
	}
	if n, most := after.Value("postgresql.database.count"), after.Value("postgresql.connection.max"); n != 2 || most != 100 {
		t.Errorf("%v databases, %v connections at most", n, most)
	}
	metrics := map[string]bool{"postgresql.replication.data_delay": true} // nobody replicates
	for _, s := range after {
		metrics[s.Metric] = true
	}
	for _, m := range plugintest.ReadManifest(t).Metrics {
		if !metrics[m] {
			t.Errorf("%s is missing", m)
		}
	}

	config["tls"] = true
	if _, err := collect(t, config); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("an authority that nobody trusts: %v", err)
	}
	config["ca_certificates"] = authority.PEM
	if got, err := collect(t, config); err != nil || len(got) == 0 {
		t.Errorf("over TLS: %v", err)
	}
	config["password"] = "wrong"
	if _, err := collect(t, config); sdk.ClassOf(err) != sdk.InvalidConfig || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
}
