package graphite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/graphite") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(`{"server": "127.0.0.1:9", "timeout": "1s"}`)})
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestPaths(t *testing.T) {
	long := strings.Repeat("x", 300)
	many := map[string]string{}
	for i := range 32 {
		many[fmt.Sprintf("l%02d", i)] = long
	}
	for name, c := range map[string]struct {
		metric     string
		labels     map[string]string
		path, tags string
	}{
		"labels":        {"system.cpu.time", map[string]string{"host.name": "web-1", "cpu.mode": "user", "a": ""}, "p.web-1.system.cpu.time.cpu_mode.user", "p.system.cpu.time;cpu.mode=user;host.name=web-1"},
		"no host":       {"m", nil, "p.-.m", "p.m"},
		"odd values":    {"m", map[string]string{"host.name": "a.b", "x": "/a b;c=~é"}, "p.a%2Eb.m.x.%2Fa%20b%3Bc%3D%7E%C3%A9", "p.m;host.name=a.b;x=/a%20b%3Bc%3D%7E%C3%A9"},
		"forged":        {"m..n 1 2\nq", map[string]string{"x": "\n../../etc"}, "p.-.m.-.n%201%202%0Aq.x.%0A%2E%2E%2F%2E%2E%2Fetc", "p.m.-.n%201%202%0Aq;x=%0A../../etc"},
		"a long value":  {"m", map[string]string{"x": long}, "p.-.m.x." + long[:183] + "~" + digest(long), "p.m;x=" + long[:183] + "~" + digest(long)},
		"many of those": {"m", many, "", ""},
	} {
		s := sdk.Sample{Metric: c.metric, Labels: c.labels}
		path, tags := (&Config{Prefix: "p"}).path(s), (&Config{Prefix: "p", Names: "tags"}).path(s)
		if len(path) > 4000 || len(tags) > 4000 || strings.ContainsAny(path+tags, " \n") || c.path != "" && (path != c.path || tags != c.tags) {
			t.Errorf("%s: %s\n%s", name, path, tags)
		}
	}
}

func FuzzPath(f *testing.F) {
	f.Add("system.cpu.time", "cpu.mode", "user", "web-1")
	f.Add("", ";=~", "\n\x00/", ".")
	part := regexp.MustCompile(`^picket(\.[A-Za-z0-9_%~-]+)+$`)
	f.Fuzz(func(t *testing.T, metric, name, value, host string) {
		s := sdk.Sample{Metric: metric, Labels: map[string]string{name: value, "host.name": host}}
		if p := (&Config{Prefix: "picket"}).path(s); !part.MatchString(p) {
			t.Errorf("%q", p)
		}
		if p := (&Config{Prefix: "picket", Names: "tags"}).path(s); strings.ContainsAny(p, " \n\r\t\x00") {
			t.Errorf("%q", p)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for _, prefix := range []string{"", "a..b", "a b", "a.", "ä"} {
		if err := (&Sink{config: Config{Prefix: prefix}}).Validate(); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

// What was not read to its end is not delivered, whatever the network took.
func TestOnlyWhatWasReadCounts(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn)
		class sdk.Class
	}{
		"read to the end":    {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, ""},
		"killed before":      {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, sdk.Temporary},
		"somebody who talks": {func(c net.Conn) { _, _ = c.Write([]byte("220 hello")); _, _ = io.Copy(io.Discard, c) }, sdk.InvalidConfig},
		"never hangs up":     {func(c net.Conn) { _, _ = io.Copy(io.Discard, c); time.Sleep(time.Second) }, sdk.Temporary},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err == nil {
				c.serve(conn)
				conn.Close()
			}
		}()
		s := &Sink{}
		plugintest.Start(t, s, fmt.Sprintf(`{"server": %q, "timeout": "500ms"}`, l.Addr()))
		_, err = s.Notify(t.Context(), sdk.Notice{Event: sdk.EventMetrics, Samples: []sdk.Sample{{Metric: "m", Time: noon}}})
		if (err == nil) != (c.class == "") || err != nil && sdk.ClassOf(err) != c.class {
			t.Errorf("%s: %v", name, err)
		}
		l.Close()
		<-done
	}
}

// Python reads what we pickle.
func TestPickle(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	samples := make([]sdk.Sample, pickleBatch+1)
	for i := range samples {
		samples[i] = sdk.Sample{Metric: fmt.Sprintf("m%d", i), Time: noon.Add(time.Duration(i) * time.Second), Value: float64(i) / 3}
	}
	cmd := exec.Command("python3", "-c", `
import sys, pickle, struct, json
b, out = sys.stdin.buffer.read(), []
while b:
    n = struct.unpack("!L", b[:4])[0]
    out += pickle.loads(b[4:4+n])
    b = b[4+n:]
print(json.dumps(out))`)
	cmd.Stdin = bytes.NewReader((&Config{Prefix: "p", Protocol: "pickle"}).encode(samples))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]any
	if err := json.Unmarshal(out, &got); err != nil || len(got) != len(samples) {
		t.Fatal(err, len(got))
	}
	for i, g := range got {
		at := g[1].([]any)
		if g[0] != fmt.Sprintf("p.-.m%d", i) || at[0] != float64(samples[i].Time.Unix()) || at[1] != samples[i].Value {
			t.Fatal(i, g)
		}
	}
}

// A real carbon has in its whisper files what was sent, over both protocols, and what was sent while it was away comes when it is back.
func TestCarbon(t *testing.T) {
	if _, err := exec.LookPath("carbon-cache"); err != nil {
		t.Skip("needs carbon-cache (Debian package graphite-carbon)")
	}
	c := newCarbon(t)
	now := time.Now().Truncate(10 * time.Second)
	lines, pickle := &Sink{}, &Sink{}
	plugintest.Start(t, lines, fmt.Sprintf(`{"server": "127.0.0.1:%d", "prefix": "lines"}`, c.lines))
	plugintest.Start(t, pickle, fmt.Sprintf(`{"server": "127.0.0.1:%d", "prefix": "pickle", "protocol": "pickle"}`, c.pickle))
	send := func(s *Sink, from, to int) error {
		n := sdk.Notice{Event: sdk.EventMetrics}
		for i := from; i < to; i++ {
			n.Samples = append(n.Samples, sdk.Sample{Metric: "system.cpu.time", Labels: map[string]string{"host.name": "web-1", "cpu.mode": "user"},
				Time: now.Add(time.Duration(i-30) * 10 * time.Second), Value: float64(i) + 1.0/3})
		}
		_, err := s.Notify(t.Context(), n)
		return err
	}
	c.start()
	for _, s := range []*Sink{lines, pickle} {
		if err := send(s, 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	c.await(map[string]int{"lines": 10, "pickle": 10}, now) // it writes once a second, and forgets the rest when it is stopped
	c.stop()
	if err := send(lines, 10, 20); sdk.ClassOf(err) != sdk.Temporary || err == nil {
		t.Fatalf("carbon is away: %v", err)
	}
	c.start()
	for _, s := range []*Sink{lines, pickle} {
		if err := send(s, 10, 20); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, got := range c.await(map[string]int{"lines": 20, "pickle": 20}, now) {
		for i, v := range got {
			if want := float64(i) + 1.0/3; v != want {
				t.Errorf("%s: value %d is %v, not %v", prefix, i, v, want)
			}
		}
	}
}

type carbon struct {
	t             *testing.T
	dir           string
	lines, pickle int
	cmd           *exec.Cmd
}

func newCarbon(t *testing.T) *carbon {
	t.Helper()
	c := &carbon{t: t, dir: t.TempDir(), lines: plugintest.FreePort(t), pickle: plugintest.FreePort(t)}
	for name, text := range map[string]string{
		"carbon.conf": fmt.Sprintf(`[cache]
STORAGE_DIR = %[1]s
CONF_DIR = %[1]s
LOG_DIR = %[1]s/
PID_DIR = %[1]s/
LOCAL_DATA_DIR = %[1]s/whisper/
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = %[2]d
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = %[3]d
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = %[4]d
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_LOGROTATION = False
`, c.dir, c.lines, c.pickle, plugintest.FreePort(t)),
		"storage-schemas.conf": "[all]\npattern = .*\nretentions = 10s:1h\n",
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *carbon) start() {
	c.t.Helper()
	c.cmd = exec.Command("carbon-cache", "--config="+filepath.Join(c.dir, "carbon.conf"), "--pidfile="+filepath.Join(c.dir, "pid"), "--nodaemon", "start")
	var said bytes.Buffer
	c.cmd.Stdout, c.cmd.Stderr = &said, &said
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.pickle))
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("carbon does not listen: %s", said.String())
		}
	}
}

func (c *carbon) stop() {
	c.t.Helper()
	_ = c.cmd.Process.Signal(os.Interrupt)
	_ = c.cmd.Wait()
}

// await waits until carbon has written as many values below each prefix, and returns them.
func (c *carbon) await(want map[string]int, now time.Time) map[string][]float64 {
	c.t.Helper()
	got := map[string][]float64{}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		left := len(want)
		for prefix, n := range want {
			if got[prefix] = c.values(prefix+"/web-1/system/cpu/time/cpu_mode/user", now.Add(-301*time.Second)); len(got[prefix]) == n {
				left--
			}
		}
		if left == 0 {
			return got
		}
		if time.Now().After(end) {
			c.t.Fatalf("carbon wrote %v", got)
		}
	}
}

func (c *carbon) values(path string, from time.Time) (out []float64) {
	c.t.Helper()
	file := filepath.Join(c.dir, "whisper", path+".wsp")
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	text, err := exec.Command("/usr/bin/python3", "-c", `
import sys, json, whisper
_, values = whisper.fetch(sys.argv[1], int(sys.argv[2]))
print(json.dumps([v for v in values if v is not None]))`, file, fmt.Sprint(from.Unix())).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v: %s", err, text)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}
