package siem

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/tell"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/siem") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(`{"server": "127.0.0.1:9", "transport": "udp", "timeout": "1s"}`)})
}

func TestMessages(t *testing.T) {
	const header = "<107>1 2026-03-01T12:00:00.000Z picket picket - alert.firing - "
	n := plugintest.Notice()
	forged := plugintest.Notice()
	forged.Title, forged.Text = "a|b\\c\n<13>1 forged", "x=y\r\n\u2028z"
	over := plugintest.Notice()
	over.Event = tell.Resolved
	addressed := plugintest.Notice()
	addressed.Alert.Src, addressed.Alert.Dst = "[2001:db8::1]:53", "host.example.org"
	for name, c := range map[string]struct {
		format string
		notice sdk.Notice
		want   string
	}{
		"text":           {"text", n, header + `Port scan from 192.0.2.7: 192.0.2.7 tried <1000> ports & found *3* of them_open_. severity="high" source="192.0.2.7" destination="192.0.2.9" att&ck="T1046" detector="picket/portscan"`},
		"cef":            {"cef", n, header + `CEF:0|Picket|Picket|1|picket/portscan/vertical|Port scan from 192.0.2.7|8|src=192.0.2.7 dst=192.0.2.9 cs1Label=ATT&CK cs1=T1046 externalId=a-17 request=https://picket.example.org/alerts/17 outcome=alert.firing rt=1772366400000 msg=192.0.2.7 tried <1000> ports & found *3* of them_open_.`},
		"cef, forged":    {"cef", forged, header + `CEF:0|Picket|Picket|1|picket/portscan/vertical|a\|b\\c <13>1 forged|8|src=192.0.2.7 dst=192.0.2.9 cs1Label=ATT&CK cs1=T1046 externalId=a-17 request=https://picket.example.org/alerts/17 outcome=alert.firing rt=1772366400000 msg=x\=y   z`},
		"cef, addresses": {"cef", addressed, header + `CEF:0|Picket|Picket|1|picket/portscan/vertical|Port scan from 192.0.2.7|8|src=2001:db8::1 spt=53 dhost=host.example.org cs1Label=ATT&CK cs1=T1046 externalId=a-17 request=https://picket.example.org/alerts/17 outcome=alert.firing rt=1772366400000 msg=192.0.2.7 tried <1000> ports & found *3* of them_open_.`},
		"over":           {"text", over, `<109>1 2026-03-01T12:00:00.000Z picket picket - alert.resolved - Resolved: Port scan from 192.0.2.7: 192.0.2.7 tried <1000> ports & found *3* of them_open_. severity="high" source="192.0.2.7" destination="192.0.2.9" att&ck="T1046" detector="picket/portscan"`},
		"bare":           {"cef", sdk.Notice{Event: "test", Title: "Test"}, `<109>1 2026-03-01T12:00:00.000Z picket picket - test - CEF:0|Picket|Picket|1|notice|Test|0|outcome=test`},
	} {
		config := Config{Format: c.format, Facility: 13, Hostname: "picket"}
		if got := config.message(c.notice, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// Whatever an attacker makes us write, it is one message.
func FuzzMessage(f *testing.F) {
	f.Add("title", "text", "192.0.2.7", "cef")
	f.Add("a\n<13>1 b", "c\x00\u2028d", "x|y=z", "text")
	f.Fuzz(func(t *testing.T, title, text, src, format string) {
		c := Config{Format: format, Facility: 13, Hostname: "picket"}
		got := c.message(sdk.Notice{Event: text, Title: title, Text: text, AlertID: src, Alert: &sdk.Finding{Src: src, Rule: title}}, time.Unix(0, 0))
		if strings.ContainsFunc(got, unicode.IsControl) || !strings.HasPrefix(got, "<109>1 1970-01-01T00:00:00.000Z picket picket - ") || len(got) > 64<<10 {
			t.Errorf("%q", got)
		}
	})
}

func TestTLS(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, time.Now().Add(time.Hour)).TLS(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer conn.Close()
		b, _ := io.ReadAll(conn)
		got <- string(b)
	}()
	n := &Notifier{}
	h := plugintest.Start(t, n, plugintest.JSON(t, map[string]any{"server": l.Addr().String(), "transport": "tls", "ca_certificates": authority.PEM}))
	h.Time = time.Now()
	if _, err := n.Notify(t.Context(), plugintest.Notice()); err != nil {
		t.Fatal(err)
	}
	text := <-got
	length, message, _ := strings.Cut(text, " ")
	if length != fmt.Sprint(len(message)) || !strings.HasPrefix(message, "<107>1 ") {
		t.Errorf("%q", text)
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"tls without an authority": {Hostname: "a", Transport: "tls"},
		"no hostname":              {Transport: "tcp"},
		"a hostname with a space":  {Hostname: "a b", Transport: "tcp"},
	} {
		if err := (&Notifier{config: c}).Validate(); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	n := &Notifier{}
	plugintest.Start(t, n, fmt.Sprintf(`{"server": "127.0.0.1:%d", "transport": "tcp"}`, plugintest.FreePort(t)))
	if _, err := n.Notify(t.Context(), plugintest.Notice()); sdk.ClassOf(err) != sdk.Temporary || err == nil {
		t.Errorf("%v", err)
	}
}

// A real receiver parses what arrives.
func TestRsyslog(t *testing.T) {
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		t.Skip("needs rsyslogd (Debian package rsyslog)")
	}
	dir := t.TempDir()
	port := plugintest.FreePort(t)
	conf, log := filepath.Join(dir, "rsyslog.conf"), filepath.Join(dir, "log")
	text := fmt.Sprintf(`
module(load="imtcp") module(load="imudp")
input(type="imtcp" port="%[1]d" address="127.0.0.1") input(type="imudp" port="%[1]d" address="127.0.0.1")
template(name="parts" type="string" string="%%pri%%|%%hostname%%|%%app-name%%|%%msgid%%|%%timereported:::date-rfc3339%%|%%msg%%\n")
action(type="omfile" file="%[2]s" template="parts")
`, port, log)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	waitFor(t, "rsyslogd to listen", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	for _, transport := range []string{"tcp", "udp"} {
		n := &Notifier{}
		plugintest.Start(t, n, fmt.Sprintf(`{"server": "127.0.0.1:%d", "transport": %q, "format": "cef", "hostname": "from-%s"}`, port, transport, transport))
		if _, err := n.Notify(t.Context(), plugintest.Notice()); err != nil {
			t.Fatal(err)
		}
		want := "107|from-" + transport + "|picket|alert.firing|2026-03-01T12:00:00.000Z|CEF:0|Picket|Picket|1|picket/portscan/vertical|Port scan from 192.0.2.7|8|src=192.0.2.7 "
		waitFor(t, want, func() bool {
			b, _ := os.ReadFile(log)
			return strings.Contains(strings.ReplaceAll(string(b), "|  CEF", "|CEF"), want) || strings.Contains(strings.ReplaceAll(string(b), "| CEF", "|CEF"), want)
		})
	}
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
