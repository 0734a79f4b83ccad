package redis

import (
	"bufio"
	"fmt"
	"math"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/redis") }

const some = "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:60\r\n# Memory\r\nused_memory:1000\r\nmaxmemory:0\r\nmem_fragmentation_ratio:nan\r\n" +
	"used_memory_human:1K\r\n# Stats\r\nkeyspace_hits:12\r\n# Replication\r\nrole:slave\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=70\r\ndb11:keys=1,expires=0\r\ndbx:keys=9\r\n"

// double answers each command with the next of some texts, and returns its address and what it was sent.
func double(t *testing.T, answers ...string) (string, <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sent := make(chan string, 64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn, sent, answers)
		}
	}()
	return l.Addr().String(), sent
}

func serve(conn net.Conn, sent chan<- string, answers []string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, a := range answers {
		head, err := in.ReadString('\n')
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "*")))
		var words []string
		for range n {
			_, _ = in.ReadString('\n')
			word, _ := in.ReadString('\n')
			words = append(words, strings.TrimSpace(word))
		}
		sent <- strings.Join(words, " ")
		_, _ = conn.Write([]byte(a))
	}
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func collect(t *testing.T, config map[string]any) (plugintest.Readings, error) {
	t.Helper()
	c := New()
	plugintest.Start(t, c, plugintest.JSON(t, config))
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

func TestConformance(t *testing.T) {
	server, _ := double(t, bulk(some))
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"server": server}))})
}

func TestCollect(t *testing.T) {
	server, sent := double(t, "+OK\r\n", bulk(some))
	got, err := collect(t, map[string]any{"server": server, "user": "picket", "password": "sesame"})
	if err != nil {
		t.Fatal(err)
	}
	if login, asked := <-sent, <-sent; login != "AUTH picket sesame" || asked != "INFO" {
		t.Errorf("sent %q, %q", login, asked)
	}
	got.Want(t, map[string]float64{
		"redis.uptime": 60, "redis.memory.used": 1000, "redis.keyspace.hits": 12, "redis.role role=replica": 1,
		"redis.db.keys db=0": 3, "redis.db.expires db=0": 1, "redis.db.avg_ttl db=0": 70, "redis.db.keys db=11": 1, "redis.db.expires db=11": 0,
	}, "server.address=127.0.0.1", "server.port="+server[len("127.0.0.1:"):])
}

func TestAnswersThatAreNone(t *testing.T) {
	for said, want := range map[string]sdk.Class{
		"-NOAUTH Authentication required.\r\n":                sdk.InvalidConfig,
		"-LOADING Redis is loading the dataset in memory\r\n": sdk.Temporary,
		"HTTP/1.1 400 Bad Request\r\n\r\n":                    sdk.Temporary,
		"$99999999\r\n":                                       sdk.Temporary,
		"$-1\r\n":                                             sdk.Temporary,
		"$10\r\nabc":                                          sdk.Temporary,
		strings.Repeat("x", 1<<16):                            sdk.Temporary,
		"":                                                    sdk.Temporary,
		bulk("nothing:of use\r\n"):                            sdk.Downstream,
	} {
		server, _ := double(t, said)
		if got, err := collect(t, map[string]any{"server": server}); sdk.ClassOf(err) != want || len(got) != 0 {
			t.Errorf("%.40q: %v, %v", said, got, err)
		}
	}
	server, _ := double(t, "-WRONGPASS invalid username-password pair\r\n")
	if _, err := collect(t, map[string]any{"server": server, "password": "sesame"}); sdk.ClassOf(err) != sdk.InvalidConfig || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, text := range []string{`{"server": "redis"}`, `{"server": ":6379"}`, `{"user": "x"}`, `{"ca_certificates": "x"}`} {
		if err := plugintest.Decode(New(), text); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A real server, with a user that may do nothing but INFO, and over TLS.
func TestARealServer(t *testing.T) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("needs redis-server (Debian package redis-server)")
	}
	dir, port, secure := t.TempDir(), plugintest.FreePort(t), plugintest.FreePort(t)
	authority := plugintest.NewAuthority(t)
	cert, key := authority.Issue(t, plugintest.Tomorrow()).Files(t, dir)
	cmd := exec.CommandContext(t.Context(), program, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
		"--tls-port", strconv.Itoa(secure), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no",
		"--user", "default", "off", "--user", "picket", "on", ">sesame", "+info", "--user", "filler", "on", ">fill", "+@all", "~*")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	server := fmt.Sprintf("127.0.0.1:%d", port)
	plugintest.Await(t, server)
	conn, err := net.Dial("tcp", server) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, words := range [][]string{{"AUTH", "filler", "fill"}, {"SET", "a", "1"}, {"SET", "b", "2", "EX", "100"}, {"GET", "a"}, {"GET", "none"}} {
		if _, err := question(conn, in, words...); err != nil && words[1] != "none" {
			t.Fatalf("%v: %v", words, err)
		}
	}
	got, err := collect(t, map[string]any{"server": server, "user": "picket", "password": "sesame"})
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]float64{
		"redis.db.keys db=0": 2, "redis.db.expires db=0": 1, "redis.keyspace.hits": 1, "redis.keyspace.misses": 1,
		"redis.clients.connected": 2, "redis.role role=primary": 1, "redis.slaves.connected": 0,
	} {
		if v := got.Value(series); v != want {
			t.Errorf("%s is %v, want %v", series, v, want)
		}
	}
	metrics := map[string]bool{}
	for _, s := range got {
		metrics[s.Metric] = true
	}
	for _, m := range plugintest.ReadManifest(t).Metrics {
		if !metrics[m] && m != "redis.maxmemory" {
			t.Errorf("%s is missing", m)
		}
	}
	over := map[string]any{"server": fmt.Sprintf("127.0.0.1:%d", secure), "user": "picket", "password": "sesame", "tls": true, "ca_certificates": authority.PEM}
	if got, err := collect(t, over); err != nil || math.IsNaN(got.Value("redis.uptime")) {
		t.Errorf("over TLS: %v", err)
	}
	delete(over, "ca_certificates")
	if _, err := collect(t, over); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("an authority that nobody trusts: %v", err)
	}
	if _, err := collect(t, map[string]any{"server": server, "user": "picket", "password": "wrong"}); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("a wrong password: %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(bulk(some)))
	f.Add([]byte("-ERR no\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := answer(bufio.NewReader(strings.NewReader(string(b))))
		if err == nil && len(text) > maxInfo {
			t.Errorf("%d bytes", len(text))
		}
		said := parse(text)
		for name := range said {
			if n, ok := said.number(name); ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
				t.Errorf("%s is %v", name, n)
			}
		}
	})
}
