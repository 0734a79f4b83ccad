package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
)

// The folder is all that a node needs, whatever serves it: list, search, install, and go on with a download that broke
// off.
func TestAnyWebServerWillDo(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, dir string) (base string, web *http.Client){
		"nginx": startNginx, "python's http.server": startPython,
	} {
		t.Run(name, func(t *testing.T) {
			r := real(t)
			r.Publish(t, registrytest.Plugin{ID: "picket/ping"})
			base, web := start(t, r.Dir)
			c, err := client.Open(client.Config{
				Dir: filepath.Join(t.TempDir(), "node"), Base: base, RootSHA256: r.RootSHA256(t), AllowDevelopment: true, AllowRecent: true, Now: r.Now, HTTP: web,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			x, err := c.Index(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := server.NewCatalogue(x).Search(server.Query{Text: "snpm"}, nil)
			if err != nil || !slices.Equal(ids(got.Items), []string{"acme/snmp"}) {
				t.Errorf("found %v, %v", ids(got.Items), err)
			}
			if _, err := c.Install(t.Context(), "acme/snmp", "^1", registry.RuntimeProcess); err != nil {
				t.Error(err)
			}
		})
	}
}

func startNginx(t *testing.T, dir string) (string, *http.Client) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	home := t.TempDir()
	socket := filepath.Join(home, "s")
	user := ""
	if os.Getuid() == 0 { // its workers would be nobody, who may not read a test's folder
		user = "user root;\n"
	}
	conf := fmt.Sprintf(`%spid %[2]s/pid; error_log %[2]s/error.log; daemon off;
events {}
http {
	access_log off;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/c;
	server { listen unix:%[3]s; root %[4]s; }
}
`, user, home, socket, dir)
	if err := os.WriteFile(filepath.Join(home, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.CommandContext(t.Context(), program, "-p", home, "-c", filepath.Join(home, "nginx.conf"), "-e", filepath.Join(home, "error.log")))
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	for range 3000 {
		if conn, err := dial(t.Context(), "", ""); err == nil {
			conn.Close()
			return "http://registry.test/", &http.Client{Transport: &http.Transport{DialContext: dial}}
		}
		time.Sleep(10 * time.Millisecond)
	}
	said, err := os.ReadFile(filepath.Join(home, "error.log"))
	t.Fatalf("nginx does not listen: %s %v", said, err)
	return "", nil
}

func startPython(t *testing.T, dir string) (string, *http.Client) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	cmd := exec.CommandContext(t.Context(), program, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	port := regexp.MustCompile(`port (\d+)`).FindStringSubmatch(line)
	if port == nil {
		t.Fatalf("it says %q", line)
	}
	return "http://127.0.0.1:" + port[1] + "/", nil
}

// start runs a program until the test ends.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was interrupted, and says so
}
