package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/registry/publish"
)

// programs makes a folder of stand-ins for the helper programs: picket-launch starts what it is told to, the others
// are short scripts.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{
		"picket-launch":  `while [ "$1" != "--" ]; do shift; done; shift; exec "$@"`,
		"picket-wasm":    "exit 1",
		"picket-traffic": "exit 1",
	}
	for name, text := range scripts {
		all[name] = text
	}
	for name, text := range all {
		version := "[ \"$1\" = --version ] && echo " + config.Version + " && exit\n"
		if strings.HasPrefix(text, "echo ") { // it says another one itself
			version = ""
		}
		check(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+version+text+"\n"), 0o755))
	}
	return dir
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output is what a server prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is a server of a test.
type running struct {
	*Core
	t    *testing.T
	out  *output
	stop func() error
}

func settings(dir string) config.Picketd {
	s := config.Default()
	s.Data, s.Listen = dir, "127.0.0.1:0"
	return s
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	out := &output{}
	cfg.Out = out
	cfg.Pages = fstest.MapFS{"index.html": {Data: []byte("app")}}
	c, err := New(t.Context(), cfg)
	check(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	r := &running{Core: c, t: t, out: out}
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(60 * time.Second):
			return errors.New("it did not stop")
		}
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	r.wait("its greeting", func() bool { return strings.Contains(out.String(), "http://") })
	return r
}

func (r *running) wait(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited for %s; it printed:\n%s", what, r.out)
		}
	}
}

func (r *running) call(method, path, token, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL()+path, strings.NewReader(body))
	check(r.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	check(r.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(r.t, err)
	return resp.StatusCode, string(text)
}

func (r *running) admin() string {
	r.t.Helper()
	var token string
	r.wait("admin.sock", func() bool {
		var err error
		token, err = adminsock.CreateToken(r.t.Context(), r.folder.root, adminsock.TokenRequest{Role: "ADM", Name: "test"})
		return err == nil
	})
	return token
}

func TestWithoutAPluginTheServerServes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, Config{Settings: settings(dir), Programs: programs(t, nil)})
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": `"telemetry":"ok"`, "/": "app", "/api/v1/setup": "true", "/metrics": "picket_build_info"} {
		token := ""
		if path == "/metrics" {
			token = s.admin()
		}
		if code, body := s.call("GET", path, token, ""); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	link := regexp.MustCompile(`/setup#token=([\w-]+)`).FindStringSubmatch(s.out.String())
	if link == nil {
		t.Fatalf("no set-up link in:\n%s", s.out)
	}
	code, body := s.call("POST", "/api/v1/setup", "", `{"token":"`+link[1]+`","username":"ada","password":"a good long one"}`)
	if code != 201 {
		t.Errorf("set-up: %d %s", code, body)
	}
	token := s.admin()
	if code, body := s.call("GET", "/api/v1/plugins", token, ""); code != 200 || body != `{"items":[]}`+"\n" {
		t.Errorf("plugins: %d %s", code, body)
	}
	if code, body := s.call("POST", "/api/v1/plugins/picket/host/enable", token, `{"grants":"all"}`); code != 422 || !strings.Contains(body, "no registry") {
		t.Errorf("enable: %d %s", code, body)
	}
	check(t, s.stop())
	// The folder is free again, and a token can be made without a server.
	offline, err := CreateToken(t.Context(), settings(dir), "IT", "cron")
	check(t, err)
	again := start(t, Config{Settings: settings(dir), Programs: programs(t, nil)})
	if code, body := again.call("GET", "/api/v1/me", offline, ""); code != 200 || !strings.Contains(body, `"IT"`) {
		t.Errorf("the token: %d %s", code, body)
	}
	if strings.Contains(again.out.String(), "setup") {
		t.Error("the second start offers the set-up again")
	}
}

func TestWhatKeepsAServerFromStarting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := start(t, Config{Settings: settings(dir), Programs: programs(t, nil)})
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	taken := settings(filepath.Join(t.TempDir(), "other"))
	taken.Listen = first.listener.Addr().String()
	elsewhere := settings(filepath.Join(t.TempDir(), "other"))
	elsewhere.Listen = "203.0.113.200:1"
	noPolicy := settings(filepath.Join(t.TempDir(), "other"))
	noPolicy.Policy = filepath.Join(t.TempDir(), "policy.yaml")
	cases := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"the folder is in use", Config{Settings: settings(dir)}, []string{dir, "in use", "--data"}},
		{"the folder is a file", Config{Settings: settings(file)}, []string{file, "--data"}},
		{"the port is in use", Config{Settings: taken}, []string{taken.Listen, "in use", "--listen"}},
		{"the address is not ours", Config{Settings: elsewhere}, []string{elsewhere.Listen, "--listen"}},
		{"the ceiling is missing", Config{Settings: noPolicy}, []string{noPolicy.Policy}},
		{"a helper of another version", Config{Settings: settings(filepath.Join(t.TempDir(), "other")), Programs: programs(t, map[string]string{"picket-traffic": "echo 0.0.9"})},
			[]string{"picket-traffic", "0.0.9", config.Version}},
		{"a helper is missing", Config{Settings: settings(filepath.Join(t.TempDir(), "other")), Programs: t.TempDir()}, []string{"picket-launch"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.cfg.Programs == "" {
				c.cfg.Programs = programs(t, nil)
			}
			s, err := New(t.Context(), c.cfg)
			if err == nil {
				s.Close()
				t.Fatal("it started")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
		})
	}
	if _, err := CreateToken(t.Context(), settings(dir), "ADM", "x"); err == nil || !strings.Contains(err.Error(), "picket token create") {
		t.Errorf("a token behind a running server's back: %v", err)
	}
	if _, err := CreateToken(t.Context(), settings(t.TempDir()), "ADM", "x"); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a token in a folder of something else: %v", err)
	}
}

// TestAFailedStartLeavesTheFolderFree: whatever went wrong, the next try must not find the folder locked.
func TestAFailedStartLeavesTheFolderFree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := New(t.Context(), Config{Settings: settings(dir), Programs: t.TempDir()}); err == nil {
		t.Fatal("it started without helpers")
	}
	start(t, Config{Settings: settings(dir), Programs: programs(t, nil)})
}

func developmentRegistry(t *testing.T, dir, keys string) {
	t.Helper()
	check(t, publish.Init(dir, keys, publish.Options{Development: true}))
}

func TestDevelopmentTrust(t *testing.T) {
	bin := programs(t, nil)
	developmentRegistry(t, filepath.Join(bin, "registry"), filepath.Join(bin, "registry-keys"))
	dir := filepath.Join(t.TempDir(), "data")

	dev := start(t, Config{Settings: settings(dir), Programs: bin, Dev: true})
	if code, body := dev.call("GET", "/registry/metadata/timestamp.json", "", ""); code != 200 || !strings.Contains(body, "timestamp") {
		t.Errorf("the registry is not served: %d %s", code, body)
	}
	for _, path := range []string{"/registry/", "/registry/metadata", "/registry/..%2fregistry-keys", "/registry/../control.db"} {
		if code, _ := dev.call("GET", path, "", ""); code == 200 {
			t.Errorf("%s is served", path)
		}
	}
	signin := regexp.MustCompile(`/signin#token=([\w-]+)`).FindStringSubmatch(dev.out.String())
	if signin == nil {
		t.Fatalf("no sign-in link in:\n%s", dev.out)
	}
	code, body := dev.call("POST", "/api/v1/signin", "", `{"token":"`+signin[1]+`"}`)
	if code != 200 || !strings.Contains(body, `"trust":"development"`) || !strings.Contains(body, `"dev":true`) {
		t.Errorf("sign in: %d %s", code, body)
	}
	check(t, dev.stop())

	refused := func(name string, cfg Config) {
		t.Helper()
		c, err := New(t.Context(), cfg)
		if err == nil {
			c.Close()
			t.Errorf("%s: it started", name)
			return
		}
		if !strings.Contains(err.Error(), "development root") || !strings.Contains(err.Error(), "1.root.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("without --dev", Config{Settings: settings(dir), Programs: bin})
	config.Release = "true"
	t.Cleanup(func() { config.Release = "false" })
	refused("a release build on the same folder", Config{Settings: settings(dir), Programs: programs(t, nil), Dev: true})
	refused("a release build beside a development registry", Config{Settings: settings(filepath.Join(t.TempDir(), "new")), Programs: bin, Dev: true})
	config.Release = "false"
	// The registry beside the program is a development one, the folder is fresh: it serves without plugins.
	fresh := start(t, Config{Settings: settings(filepath.Join(t.TempDir(), "fresh")), Programs: bin})
	if code, _ := fresh.call("GET", "/registry/metadata/timestamp.json", "", ""); code != 404 {
		t.Errorf("a development registry is served without --dev: %d", code)
	}
}

// A capture that kills its worker is an error on the page, not an outage.
func TestACaptureThatKillsItsWorker(t *testing.T) {
	bin := programs(t, map[string]string{"picket-traffic": `printf '\044\000\000\000\002{"packets":1234,"flows":5,"x":"..."}' >&4; exit 3`})
	s := start(t, Config{Settings: settings(filepath.Join(t.TempDir(), "data")), Programs: bin})
	token := s.admin()
	code, body := s.call("POST", "/api/v1/captures?name=evil.pcap", token, "bytes that break decoders")
	var c struct {
		ID, State, Error string
	}
	check(t, json.Unmarshal([]byte(body), &c))
	if code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	s.wait("the job", func() bool {
		_, body := s.call("GET", "/api/v1/captures/"+c.ID, token, "")
		check(t, json.Unmarshal([]byte(body), &c))
		return c.State == "failed" || c.State == "done"
	})
	for _, want := range []string{"died after packet 1234", "exit status 3"} {
		if c.State != "failed" || !strings.Contains(c.Error, want) {
			t.Errorf("%s: %q lacks %q", c.State, c.Error, want)
		}
	}
	if code, _ := s.call("GET", "/readyz", "", ""); code != 200 {
		t.Errorf("the server: %d", code)
	}
}

// The local agent is enrolled with a fresh token, runs again when it dies, and goes when the server goes.
func TestTheLocalAgent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	note := filepath.Join(t.TempDir(), "note")
	bin := programs(t, map[string]string{"picket-agent": fmt.Sprintf(`echo "$$ $*" >> %s; exec sleep 600`, note)})
	developmentRegistry(t, filepath.Join(bin, "registry"), filepath.Join(bin, "registry-keys"))
	s := start(t, Config{Settings: settings(dir), Programs: bin, Dev: true})
	starts := func() []string {
		text, _ := os.ReadFile(note)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	s.wait("the agent", func() bool { return len(starts()) == 1 && starts()[0] != "" })
	var pid int
	_, err := fmt.Sscan(starts()[0], &pid)
	check(t, err)
	for _, want := range []string{"--data " + filepath.Join(dir, "agent"), "--server " + s.URL(), "--token-file -", "--lifeline-fd 3"} {
		if !strings.Contains(starts()[0], want) {
			t.Errorf("the agent's arguments %q lack %q", starts()[0], want)
		}
	}
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	s.wait("the agent to run again", func() bool { return len(starts()) == 2 })
	_, err = fmt.Sscan(starts()[1], &pid)
	check(t, err)
	check(t, s.stop())
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the agent outlived the server: %v", err)
	}
}

func TestAnEnrolledAgentIsLedToTheNewAddress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, Config{Settings: settings(dir), Programs: programs(t, nil)})
	agent := filepath.Join(dir, "agent")
	check(t, os.MkdirAll(agent, 0o700))
	file := filepath.Join(agent, "identity.json")

	check(t, os.WriteFile(file, []byte(`{"agent_id":"nobody","server":"http://127.0.0.1:1"}`), 0o600))
	if enrolled, err := s.ownAgent(t.Context(), agent); enrolled || err != nil {
		t.Errorf("an agent of another server: %v, %v", enrolled, err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("its identity is still there")
	}
	var made struct{ Token string }
	_, body := s.call("POST", "/api/v1/agents/tokens", s.admin(), "{}")
	check(t, json.Unmarshal([]byte(body), &made))
	_, body = s.call("POST", "/api/v1/enrol", "", `{"token":"`+made.Token+`","name":"n","os":"","arch":"","version":"","public_key":"`+strings.Repeat("A", 43)+`="}`)
	var got struct {
		ID string `json:"agent_id"`
	}
	check(t, json.Unmarshal([]byte(body), &got))
	check(t, os.MkdirAll(agent, 0o700))
	check(t, os.WriteFile(file, []byte(`{"agent_id":"`+got.ID+`","server":"http://127.0.0.1:1","bearer":"keep"}`), 0o600))
	if enrolled, err := s.ownAgent(t.Context(), agent); !enrolled || err != nil {
		t.Fatalf("our own agent: %v, %v", enrolled, err)
	}
	text, err := os.ReadFile(file)
	check(t, err)
	if !strings.Contains(string(text), s.URL()) || !strings.Contains(string(text), "keep") {
		t.Errorf("identity: %s", text)
	}
}

func TestPlacesOf(t *testing.T) {
	if p := placesOf("10.1.2.3"); len(p) != 1 || p[0].ip.String() != "10.1.2.3" {
		t.Errorf("%v", p)
	}
	for _, p := range placesOf("127.0.0.1") {
		if p.ip.IsValid() && p.ip.IsLoopback() {
			t.Errorf("loopback counts as a place: %v", p)
		}
	}
	if p := placesOf("nonsense"); len(p) != 1 || p[0].ip.IsValid() {
		t.Errorf("%v", p)
	}
}

// A folder that was first used with --dev has an admin without a password: without --dev somebody must get in all the
// same.
func TestAFolderOfDevIsSetUp(t *testing.T) {
	bin := programs(t, nil)
	dir := filepath.Join(t.TempDir(), "data")
	dev := start(t, Config{Settings: settings(dir), Programs: bin, Dev: true})
	dev.wait("its link", func() bool { return strings.Contains(dev.out.String(), "/signin#token=") })
	check(t, dev.stop())

	set := func(s *running, out, name string) {
		t.Helper()
		link := regexp.MustCompile(`/setup#token=([\w-]+)`).FindStringSubmatch(out)
		if link == nil {
			t.Fatalf("no set-up link in:\n%s", out)
		}
		body := `"username":"` + name + `","password":"a good long one"}`
		if code, text := s.call("POST", "/api/v1/setup", "", `{"token":"`+link[1]+`",`+body); code != 201 {
			t.Errorf("set-up: %d %s", code, text)
		}
		if code, text := s.call("POST", "/api/v1/login", "", "{"+body); code != 200 {
			t.Errorf("login: %d %s", code, text)
		}
	}
	s := start(t, Config{Settings: settings(dir), Programs: bin})
	set(s, s.out.String(), "admin")

	// Reset while it runs, and while it does not.
	s.admin() // the socket is there
	if _, err := ResetUser(t.Context(), settings(dir), "admin"); err == nil || !strings.Contains(err.Error(), "picket user reset") {
		t.Errorf("behind a running server's back: %v", err)
	}
	link, err := adminsock.ResetUser(t.Context(), s.folder.root, adminsock.ResetRequest{})
	check(t, err)
	if code, _ := s.call("POST", "/api/v1/login", "", `{"username":"admin","password":"a good long one"}`); code != 401 {
		t.Errorf("the old password: %d", code)
	}
	set(s, link, "admin")
	check(t, s.stop())
	link, err = ResetUser(t.Context(), settings(dir), "admin")
	check(t, err)
	if !strings.HasPrefix(link, "http://127.0.0.1:") {
		t.Errorf("link %s", link)
	}
	set(start(t, Config{Settings: settings(dir), Programs: bin}), link, "admin")
}
