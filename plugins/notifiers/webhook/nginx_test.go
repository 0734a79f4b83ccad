package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
)

var quiet = log.New(io.Discard, "", 0)

const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  log_format got escape=json '{"id":"$http_webhook_id","timestamp":"$http_webhook_timestamp","signature":"$http_webhook_signature","body":"$request_body"}';
  server {
    listen %[2]s ssl;
    ssl_certificate %[1]s/cert.pem;
    ssl_certificate_key %[1]s/key.pem;
    location /hook { access_log %[1]s/got.log got; proxy_pass http://unix:%[1]s/b.sock; proxy_redirect off; }
    location /busy { add_header Retry-After 7 always; return 503; }
    location /moved { return 307 https://other.example.org/; }
  }
  server {
    listen unix:%[1]s/b.sock;
    default_type application/json;
    location / { add_header Location https://tickets.example.org/17 always; return 201 '{"id": "T-17"}'; }
  }
}
`

// TestNginx delivers to a real web server over TLS; openssl computes the signature a second time.
func TestNginx(t *testing.T) {
	for _, program := range []string{"nginx", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs the program %s (Debian package of the same name)", program)
		}
	}
	authority := plugintest.NewAuthority(t)
	dir, base := startNginx(t, authority.Issue(t, time.Now().Add(time.Hour)))
	notify := func(path string) (sdk.Receipt, error) {
		n := New()
		plugintest.Start(t, n, plugintest.JSON(t, map[string]any{"url": base + path, "ca_certificates": authority.PEM, "secret": "a shared secret"}))
		return n.Notify(t.Context(), notice)
	}

	got, err := notify("/hook")
	if want := (sdk.Receipt{ForeignID: "T-17", URL: "https://tickets.example.org/17"}); err != nil || got != want {
		t.Fatalf("%+v, %v\n%s", got, err, readFile(t, dir, "error.log"))
	}
	var request struct{ ID, Timestamp, Signature, Body string }
	if err := json.Unmarshal([]byte(firstLine(t, dir, "got.log")), &request); err != nil {
		t.Fatal(err)
	}
	if want := "v1," + opensslHMAC(t, "a shared secret", request.ID+"."+request.Timestamp+"."+request.Body); request.Signature != want {
		t.Errorf("signature %q, openssl says %q", request.Signature, want)
	}
	if !strings.Contains(request.Body, `"title":"Port scan from 192.0.2.7"`) {
		t.Errorf("body %s", request.Body)
	}

	_, err = notify("/busy")
	if e, ok := asError(err); !ok || e.Class != sdk.Temporary || e.RetryAfter != 7*time.Second {
		t.Errorf("busy: %#v", err)
	}
	if _, err = notify("/moved"); sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "https://other.example.org") {
		t.Errorf("moved: %v", err)
	}
}

func startNginx(t *testing.T, pair plugintest.Pair) (dir, base string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "picket-nginx-") //nolint:usetesting // the path of a socket has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for name, text := range map[string]string{
		"cert.pem": pair.Cert, "key.pem": pair.Key, "nginx.conf": fmt.Sprintf(nginxConfig, dir, address),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("nginx", "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", filepath.Join(dir, "nginx.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return dir, "https://" + address
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %v\n%s", err, readFile(t, dir, "error.log"))
		}
	}
}

func opensslHMAC(t *testing.T, key, text string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `openssl dgst -sha256 -hmac "$0" -binary | openssl base64 -A`, key)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// firstLine waits for it: nginx writes its log after it has answered.
func firstLine(t *testing.T, dir, name string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		line, _, whole := strings.Cut(readFile(t, dir, name), "\n")
		if whole || time.Now().After(deadline) {
			return line
		}
	}
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
