package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "\n", "# nothing\n"} {
		c, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(Default(), c); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestParse(t *testing.T) {
	c, err := Parse([]byte(`
listen: 0.0.0.0:8443
data: /srv/picket
public_url: https://picket.example.org
telemetry:
  memory_limit: 1GiB
  retention: 90d
agents: {late_after: 30s}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.Data, want.PublicURL = "0.0.0.0:8443", "/srv/picket", "https://picket.example.org"
	want.Telemetry.MemoryLimit, want.Telemetry.Retention = 1<<30, Duration(90*24*time.Hour)
	want.Agents.LateAfter = Duration(30 * time.Second)
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if got := c.SecretKeyFile(); got != "/srv/picket-keys/secret.key" {
		t.Errorf("key file %s", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":         {"listen: 127.0.0.1:1\nlissten: x\n", "lissten"},
		"where keys stand":    {"lissten: x\n", KeysHint},
		"unknown key inside":  {"telemetry: {memory: 1GiB}", "memory"},
		"wrong type":          {"telemetry: {threads: many}", "threads"},
		"key twice":           {"listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "listen"},
		"not yaml":            {"a: [", "["},
		"listen without port": {"listen: localhost", "listen: \"localhost\" is not host:port"},
		"port too high":       {"listen: ':99999'", "listen: port"},
		"no data":             {"data: ''", "data: must name a folder"},
		"key beside lock":     {"data: /srv/p\nkey_file: /srv/p/x/k", "key_file: /srv/p/x/k lies inside"},
		"file as public url":  {"public_url: file:///x", "public_url:"},
		"level":               {"log: {level: loud}", "log.level:"},
		"tiny captures":       {"captures: {max_upload: 1000}", "captures.max_upload: must be at least 1MiB"},
		"no time":             {"captures: {max_analysis: 1s}", "captures.max_analysis"},
		"little memory":       {"telemetry: {memory_limit: 1MB}", "telemetry.memory_limit: must be at least 64MiB"},
		"no memory":           {"telemetry: {memory_limit: lots}", "not an amount of memory"},
		"few bytes for flows": {"flows: {memory_limit: 1MB}", "flows.memory_limit: must be at least 64MiB"},
		"flows soon gone":     {"flows: {retention: 10m}", "flows.retention"},
		"short retention":     {"telemetry: {retention: 10m}", "telemetry.retention"},
		"no duration":         {"telemetry: {retention: forever}", "not a duration"},
		"sessions":            {"sessions: {idle: 8d}", "sessions:"},
		"agents":              {"agents: {late_after: 10m}", "agents:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
	_, err := Parse([]byte("listen: x\nlog: {level: y}"))
	if err == nil || !strings.Contains(err.Error(), "listen:") || !strings.Contains(err.Error(), "log.level:") {
		t.Errorf("both problems must be told at once: %v", err)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picketd.yaml")
	if _, err := Load(path); err == nil {
		t.Error("a named file that is missing was taken for an empty one")
	}
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:9\nx: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the error must name the file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("listen: 127.0.0.1:1\ntelemetry: {retention: 90d, memory_limit: 1GiB}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := Parse(raw); err == nil {
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestTrustedProxies(t *testing.T) {
	c, err := Parse([]byte("trusted_proxies: [10.0.0.0/8, '::1/128']\nmetrics_open_on_loopback: true\n"))
	if err != nil || len(c.Proxies()) != 2 || !c.MetricsOpenOnLoopback {
		t.Errorf("%+v, %v", c.Proxies(), err)
	}
	if _, err := Parse([]byte("trusted_proxies: [nginx]\n")); err == nil || !strings.Contains(err.Error(), "trusted_proxies") {
		t.Errorf("a name: %v", err)
	}
	if c := Default(); len(c.Proxies()) != 0 || c.MetricsOpenOnLoopback {
		t.Error("something is trusted by default")
	}
}
