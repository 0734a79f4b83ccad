package nginx

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/nginx") }

const page = "Active connections: 3 \nserver accepts handled requests\n 17 16 42 \nReading: 0 Writing: 1 Waiting: 2 \n"

func TestConformance(t *testing.T) {
	s := plugintest.NewService(t, http.StatusOK, nil, page)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"url": s.URL + "/status"}))})
}

func collect(t *testing.T, url string) (plugintest.Readings, error) {
	t.Helper()
	c := New()
	plugintest.Start(t, c, plugintest.JSON(t, map[string]any{"url": url}))
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

func TestCollect(t *testing.T) {
	s := plugintest.NewService(t, http.StatusOK, nil, page)
	got, err := collect(t, s.URL+"/status")
	if err != nil {
		t.Fatal(err)
	}
	port := s.URL[strings.LastIndexByte(s.URL, ':')+1:]
	got.Want(t, map[string]float64{
		"nginx.requests": 42, "nginx.connections_accepted": 17, "nginx.connections_handled": 16,
		"nginx.connections_current state=active": 3, "nginx.connections_current state=reading": 0,
		"nginx.connections_current state=writing": 1, "nginx.connections_current state=waiting": 2,
	}, "server.address=127.0.0.1", "server.port="+port)
}

func TestAnswersThatAreNone(t *testing.T) {
	for body, want := range map[string]sdk.Class{
		"":                                       sdk.Downstream,
		"<html>Welcome to nginx!</html>":         sdk.Downstream,
		strings.Replace(page, "42", "x", 1):      sdk.Downstream,
		strings.Replace(page, "Reading", "X", 1): sdk.Downstream,
		strings.Replace(page, " 17", " -17", 1):  sdk.Downstream,
		page + "and more":                        sdk.Downstream,
	} {
		s := plugintest.NewService(t, http.StatusOK, nil, body)
		if got, err := collect(t, s.URL); sdk.ClassOf(err) != want || len(got) != 0 {
			t.Errorf("%q: %v, %v", body, got, err)
		}
	}
	s := plugintest.NewService(t, http.StatusForbidden, nil, page)
	if got, err := collect(t, s.URL); sdk.ClassOf(err) != sdk.Downstream || len(got) != 0 {
		t.Errorf("forbidden: %v, %v", got, err)
	}
	if got, err := collect(t, fmt.Sprintf("http://127.0.0.1:%d/", plugintest.FreePort(t))); sdk.ClassOf(err) != sdk.Temporary || len(got) != 0 {
		t.Errorf("nobody: %v, %v", got, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, text := range []string{`{}`, `{"url": "ftp://a/"}`, `{"url": "http:///x"}`, `{"url": "http://u:p@a/"}`, `{"url": "http://a/", "ca_certificates": "x"}`} {
		if err := plugintest.Decode(New(), text); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A real nginx counts what is asked of it.
func TestARealServer(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("needs nginx (Debian package nginx-light)")
	}
	dir, port := t.TempDir(), plugintest.FreePort(t)
	text := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr; worker_processes 1; events {}\n"+
		"http { access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\n"+
		"server { listen 127.0.0.1:%[2]d; location = /status { stub_status; } location / { return 204; } } }\n", dir, port)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-p", dir, "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	plugintest.Await(t, base[len("http://"):])
	before, err := collect(t, base+"/status")
	if err != nil {
		t.Fatal(err)
	}
	const asked = 7
	for range asked {
		r, err := http.Get(base + "/x") //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	after, err := collect(t, base+"/status")
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Value("nginx.requests") - before.Value("nginx.requests"); n != asked+1 {
		t.Errorf("%v requests between the two, want %d and the page itself", n, asked)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(page))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parse(b); ok && (s.requests < 0 || s.active < 0) {
			t.Errorf("%q: %+v", b, s)
		}
	})
}
