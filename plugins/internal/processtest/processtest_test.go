package processtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	_ "github.com/picketwatch/picket/plugins/collectors/host"
	_ "github.com/picketwatch/picket/plugins/collectors/probe"
	_ "github.com/picketwatch/picket/plugins/collectors/syslog"
	_ "github.com/picketwatch/picket/plugins/detectors/anomaly"
	_ "github.com/picketwatch/picket/plugins/detectors/spoof"
	_ "github.com/picketwatch/picket/plugins/discovery/arp"
	_ "github.com/picketwatch/picket/plugins/discovery/passive"
	_ "github.com/picketwatch/picket/plugins/discovery/ping"
	_ "github.com/picketwatch/picket/plugins/discovery/rdns"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	_ "github.com/picketwatch/picket/plugins/notifiers/block"
	_ "github.com/picketwatch/picket/plugins/notifiers/email"
	_ "github.com/picketwatch/picket/plugins/notifiers/ticket"
	_ "github.com/picketwatch/picket/plugins/notifiers/webhook"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/host"
)

// start builds the plugin in a folder, starts it and configures one instance. Both end with the test.
func start(t *testing.T, folder, text string, secrets map[string]string) *host.Instance {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a whole program")
	}
	t.Chdir(filepath.Join("..", "..", filepath.FromSlash(folder)))
	id := plugintest.ReadManifest(t).ID
	inst, err := launch(t, build(t)).Configure(t.Context(), host.InstanceConfig{
		Instance: "test", Plugin: id, Config: json.RawMessage(text), Secrets: secrets,
		Grants: grants(t, id, text), StateDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return program
}

func launch(t *testing.T, program string) *host.Process {
	t.Helper()
	sockets, err := os.MkdirTemp("", "picket-") //nolint:usetesting // the path of a socket has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	process, err := host.Start(t.Context(), host.Config{
		Name: "test", Cmd: exec.Command(program), SocketDir: sockets, StartTimeout: time.Minute,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := process.Stop(ctx); err != nil {
			t.Errorf("stop the process: %v", err)
		}
	})
	return process
}

// grants are what plugin.yaml asks for with this configuration.
func grants(t *testing.T, id, text string) []sdk.Permission {
	t.Helper()
	schema, err := config.Schema(plugintest.Registered(t, id).New().Config())
	if err != nil {
		t.Fatal(err)
	}
	full, err := config.WithDefaults(schema, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := sdk.ExpandPermissions(plugintest.ReadManifest(t).Permissions, full)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// gathered is what came from a plugin.
type gathered struct {
	metrics   map[string]int
	addresses []string
}

func (g *gathered) Sample(s sdk.Sample) error {
	g.metrics[s.Metric]++
	return nil
}

func (g *gathered) Sighting(s sdk.Sighting) error {
	g.addresses = append(g.addresses, s.IP.String())
	return nil
}

func scope(prefix string) sdk.Scope {
	return sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
}

func TestHost(t *testing.T) {
	inst := start(t, "collectors/host", `{}`, nil)
	got := gathered{metrics: map[string]int{}}
	if err := inst.Collect(t.Context(), sdk.CollectRequest{Time: time.Now(), Interval: time.Second}, &got); err != nil {
		t.Fatal(err)
	}
	if got.metrics["system.memory.usage"] == 0 || got.metrics["system.cpu.time"] == 0 || len(got.metrics) < 8 {
		t.Errorf("metrics %v", got.metrics)
	}
}

func TestPing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for an ICMP socket")
	}
	inst := start(t, "discovery/ping", `{"targets": ["127.0.0.0/30"]}`, nil)
	var got gathered
	if err := inst.Discover(t.Context(), scope("127.0.0.1/32"), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.addresses) != 1 || got.addresses[0] != "127.0.0.1" {
		t.Errorf("sighted %v", got.addresses)
	}
}

func TestARP(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	inst := start(t, "discovery/arp", `{}`, nil)
	var got gathered
	if err := inst.Discover(t.Context(), scope("0.0.0.0/0"), &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d neighbours", len(got.addresses))
}

func TestWebhook(t *testing.T) {
	requests := make(chan *http.Request, 2)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := r.Header.Get("Webhook-Id") == "first"
		requests <- r
		if first {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id": "T-17"}`)
	}))
	defer receiver.Close()
	inst := start(t, "notifiers/webhook", plugintest.JSON(t, map[string]any{"url": receiver.URL + "/hook"}),
		map[string]string{"secret": "a shared secret"})

	_, err := inst.Notify(t.Context(), sdk.Notice{ID: "first", Event: "test", Title: "A test"})
	var e *sdk.Error
	if !errors.As(err, &e) || e.Class != sdk.Temporary || e.RetryAfter != 7*time.Second {
		t.Errorf("a busy receiver: %#v", err)
	}
	got, err := inst.Notify(t.Context(), sdk.Notice{ID: "second", Event: "test", Title: "A test"})
	if err != nil || got.ForeignID != "T-17" {
		t.Errorf("%+v, %v", got, err)
	}
	if r := <-requests; !strings.HasPrefix(r.Header.Get("Webhook-Signature"), "v1,") {
		t.Error("the secret did not reach the plugin")
	}
}

func TestEmail(t *testing.T) {
	port, mails := mailServer(t)
	text := fmt.Sprintf(`{"host": "127.0.0.1", "port": %d, "tls": "none", "from": "a@example.org", "to": ["b@example.org"]}`, port)
	inst := start(t, "notifiers/email", text, nil)
	got, err := inst.Notify(t.Context(), sdk.Notice{ID: "n-1", Event: "test", Title: "A test"})
	if err != nil {
		t.Fatal(err)
	}
	if mail := <-mails; got.ForeignID == "" || !strings.Contains(mail, "Message-ID: "+got.ForeignID) {
		t.Errorf("receipt %+v for\n%s", got, mail)
	}
}

// mailServer takes one mail and passes it on. The real server is in the plugin's own tests.
func mailServer(t *testing.T) (port int, mails <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	out := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		out <- converse(conn)
	}()
	return l.Addr().(*net.TCPAddr).Port, out
}

func converse(conn net.Conn) (mail string) {
	fmt.Fprint(conn, "220 here\r\n")
	inMail := false
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		line := lines.Text()
		switch {
		case inMail && line != ".":
			mail += line + "\n"
			continue
		case line == "DATA":
			inMail = true
			fmt.Fprint(conn, "354 go on\r\n")
			continue
		case line == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return mail
		}
		inMail = false
		fmt.Fprint(conn, "250 fine\r\n")
	}
	return mail
}
