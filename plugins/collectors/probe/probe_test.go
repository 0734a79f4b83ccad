package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/probe") }

func TestConformance(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"targets": []string{s.URL}}))})
}

type samples []sdk.Sample

func (s *samples) Sample(one sdk.Sample) error {
	*s = append(*s, one)
	return nil
}

// byName returns the values, a phase after the name of its metric.
func (s samples) byName() map[string]float64 {
	out := map[string]float64{}
	for _, one := range s {
		name := one.Metric
		if phase := one.Labels["probe.phase"]; phase != "" {
			name += " " + phase
		}
		out[name] = one.Value
	}
	return out
}

// collect asks the targets once, at the time that the certificates are about.
func collect(t *testing.T, more map[string]any, targets ...string) (samples, error) {
	t.Helper()
	c := New()
	more["targets"] = targets
	host := plugintest.Start(t, c, plugintest.JSON(t, more))
	host.Time = time.Now()
	var got samples
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

// names returns the sorted names of what was measured.
func names(m map[string]float64) string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func secure(t *testing.T, pair plugintest.Pair, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handle)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair.TLS(t)}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestHTTPS(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	var got *http.Request
	url := secure(t, authority.Issue(t, time.Now().Add(30*24*time.Hour)), func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.WriteHeader(http.StatusTeapot)
	})
	all, err := collect(t, map[string]any{"ca_certificates": authority.PEM}, url+"/health?token=secret")
	if err != nil {
		t.Fatal(err)
	}
	m := all.byName()
	if want := "probe.duration, probe.http.status_code, probe.phase.duration connect, probe.phase.duration first_byte, probe.phase.duration tls, probe.tls.expires_in, probe.tls.trusted, probe.up"; names(m) != want {
		t.Errorf("measured %s\nwant     %s", names(m), want)
	}
	if m["probe.up"] != 1 || m["probe.http.status_code"] != 418 || m["probe.tls.trusted"] != 1 || math.Abs(m["probe.tls.expires_in"]-30) > 0.01 {
		t.Errorf("%v", m)
	}
	if sum := m["probe.phase.duration connect"] + m["probe.phase.duration tls"] + m["probe.phase.duration first_byte"]; sum <= 0 || sum > m["probe.duration"] {
		t.Errorf("the steps take %v s together, all takes %v s", sum, m["probe.duration"])
	}
	if got.URL.RequestURI() != "/health?token=secret" || "https://"+got.Host != url {
		t.Errorf("asked %s of %s", got.URL, got.Host)
	}
	if label := all[0].Labels["probe.target"]; label != url+"/health" {
		t.Errorf("the label %q must have no query", label)
	}
}

func TestCertificatesThatAreNotGood(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	later := time.Now().Add(48 * time.Hour)
	for _, c := range []struct {
		what  string
		pair  plugintest.Pair
		roots string
		days  float64
	}{
		{"unknown authority", authority.Issue(t, later), plugintest.NewAuthority(t).PEM, 2},
		{"another name", authority.Issue(t, later, "other.example.org"), authority.PEM, 2},
		{"expired", authority.Issue(t, time.Now().Add(-24*time.Hour)), authority.PEM, -1},
	} {
		t.Run(c.what, func(t *testing.T) {
			url := secure(t, c.pair, func(http.ResponseWriter, *http.Request) {})
			all, err := collect(t, map[string]any{"ca_certificates": c.roots}, strings.Replace(url, "https", "tls", 1))
			m := all.byName()
			if err != nil || m["probe.up"] != 1 || m["probe.tls.trusted"] != 0 || math.Abs(m["probe.tls.expires_in"]-c.days) > 0.01 {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
}

// Without authorities to compare with, as in a guest, nobody can say what is trusted.
func TestTrustIsLeftOutWhenItIsNotKnown(t *testing.T) {
	url := secure(t, plugintest.NewAuthority(t).Issue(t, time.Now().Add(time.Hour)), func(http.ResponseWriter, *http.Request) {})
	c := New()
	plugintest.Start(t, c, plugintest.JSON(t, map[string]any{"targets": []string{url}}))
	c.roots = nil
	var got samples
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, &got); err != nil {
		t.Fatal(err)
	}
	if _, said := got.byName()["probe.tls.trusted"]; said || got.byName()["probe.up"] != 1 {
		t.Errorf("%v", got.byName())
	}
}

func TestTargetsThatDoNotAnswer(t *testing.T) {
	nobody := fmt.Sprintf("127.0.0.1:%d", plugintest.FreePort(t))
	talk := func(text string) string {
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
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = io.WriteString(conn, text)
				conn.Close()
			}
		}()
		return "http://" + l.Addr().String()
	}
	for what, c := range map[string]struct{ target, measured string }{
		"nobody listens":         {"tcp://" + nobody, "probe.up"},
		"not HTTP":               {talk("SSH-2.0-OpenSSH_9.2\r\n"), "probe.phase.duration connect, probe.up"},
		"an endless line":        {talk(strings.Repeat("x", 1<<20)), "probe.phase.duration connect, probe.up"},
		"an answer that ends":    {talk("HTTP/1.1 20"), "probe.phase.duration connect, probe.up"},
		"announcements only":     {talk(strings.Repeat("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", 9)), "probe.phase.duration connect, probe.up"},
		"TLS where there is not": {strings.Replace(talk("HTTP/1.0 400 Bad\r\n\r\n"), "http", "https", 1), "probe.phase.duration connect, probe.up"},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := collect(t, map[string]any{}, c.target)
			if err != nil || names(got.byName()) != c.measured || got.byName()["probe.up"] != 0 {
				t.Errorf("%v, %v", got.byName(), err)
			}
		})
	}
	if got, err := collect(t, map[string]any{}, talk("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")); err != nil || got.byName()["probe.http.status_code"] != 204 {
		t.Errorf("after an announcement: %v, %v", got.byName(), err)
	}
}

func TestASilentTargetCostsItsTimeoutAndNothingElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // its queue takes connections that nobody serves
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	good := httptest.NewServer(http.NotFoundHandler())
	defer good.Close()
	got, err := collect(t, map[string]any{"timeout": "200ms"}, "http://"+l.Addr().String(), good.URL)
	if err != nil {
		t.Fatal(err)
	}
	up := map[string]float64{}
	for _, s := range got {
		if s.Metric == metricUp {
			up[s.Labels["probe.target"]] = s.Value
		}
	}
	if up["http://"+l.Addr().String()] != 0 || up[good.URL] != 1 || len(up) != 2 {
		t.Errorf("%v", up)
	}
}

func TestCancelledCollection(t *testing.T) {
	c := New()
	plugintest.Start(t, c, `{"targets": ["tcp://127.0.0.1:9"]}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got samples
	if err := c.Collect(ctx, sdk.CollectRequest{}, &got); !errors.Is(err, context.Canceled) || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatIsNotGrantedIsDenied(t *testing.T) {
	c := New()
	plugintest.Start(t, c, `{"targets": ["tcp://127.0.0.1:9"]}`)
	c.targets[0].address = "127.0.0.1:10"
	var got samples
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, &got); sdk.ClassOf(err) != sdk.PermissionDenied || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, target := range []string{
		"", "example.org", "ftp://example.org", "tcp://example.org", "tcp://example.org:0", "tcp://example.org:99999",
		"tcp://example.org:22/path", "https://user:pass@example.org/", "https://example.org/#x", "https:///path", "tls://example.org?x",
	} {
		err := plugintest.Decode(New(), plugintest.JSON(t, map[string]any{"targets": []string{target}}))
		if sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, config := range []string{`{}`, `{"targets": []}`, `{"targets": ["tcp://a:1", "tcp://a:1"]}`, `{"targets": ["tcp://a:1"], "ca_certificates": "x"}`} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
	for text, want := range map[string]string{"https://[2001:db8::1]/": "[2001:db8::1]", "http://a:80/": "a", "http://a:81": "a:81", "https://a": "a"} {
		tg, err := parseTarget(text)
		if err != nil || hostHeader(tg) != want || !strings.HasPrefix(tg.path, "/") {
			t.Errorf("%s: %+v, %q, %v", text, tg, hostHeader(tg), err)
		}
	}
}

// The same source builds as a guest.
func TestBuildsAsAGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a whole program")
	}
	out := filepath.Join(t.TempDir(), "probe.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", out, "./cmd")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB", info.Size()>>10)
}

func FuzzReadStatus(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\n")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 301 Moved\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if status, err := readStatus(strings.NewReader(text)); err == nil && (status < 200 || status > 599) {
			t.Errorf("%q: %d", text, status)
		}
	})
}
