package tlscert

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
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

func TestPage(t *testing.T) { plugintest.Page(t, "picket/tlscert") }

func collect(t *testing.T, more map[string]any, targets ...string) (plugintest.Readings, error) {
	t.Helper()
	c := New()
	more["targets"] = targets
	host := plugintest.Start(t, c, plugintest.JSON(t, more))
	host.Time = time.Now()
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

// serve speaks TLS after what talk does with each connection, and returns the address.
func serve(t *testing.T, settings *tls.Config, talk func(net.Conn)) string {
	t.Helper()
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
			go func() {
				defer conn.Close()
				if talk != nil {
					talk(conn)
				}
				_ = tls.Server(conn, settings).Handshake()
			}()
		}
	}()
	return l.Addr().String()
}

func with(pairs ...tls.Certificate) *tls.Config { return &tls.Config{Certificates: pairs} } //nolint:gosec // a test

func problems(r plugintest.Readings) string {
	var out []string
	for _, s := range r {
		if s.Metric == "tls.certificate.problem" && s.Value == 1 {
			out = append(out, s.Labels["tls.certificate.problem"])
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestConformance(t *testing.T) {
	address := serve(t, with(plugintest.NewAuthority(t).Issue(t, plugintest.Tomorrow()).TLS(t)), nil)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"targets": []string{"tls://" + address}}))})
}

func TestWhatIsWrong(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	day := 24 * time.Hour
	for what, c := range map[string]struct {
		pair  plugintest.Pair
		roots string
		want  string
		days  float64
	}{
		"good":              {authority.Issue(t, time.Now().Add(45*day)), authority.PEM, "", 45},
		"unknown authority": {authority.Issue(t, time.Now().Add(10*day)), plugintest.NewAuthority(t).PEM, "untrusted", 10},
		"another name":      {authority.Issue(t, time.Now().Add(10*day), "other.example.org"), authority.PEM, "wrong_name", 10},
		"expired":           {authority.Issue(t, time.Now().Add(-day)), authority.PEM, "expired", -1},
		"its own authority": {authority.Itself(t), plugintest.NewAuthority(t).PEM, "self_signed untrusted wrong_name", 1},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := collect(t, map[string]any{"ca_certificates": c.roots}, "tls://"+serve(t, with(c.pair.TLS(t)), nil))
			if err != nil || problems(got) != c.want || got.Value("tls.check.success") != 1 {
				t.Errorf("problems %q, want %q; %v", problems(got), c.want, err)
			}
			if left := got.Value("tls.certificate.remaining") / day.Seconds(); math.Abs(left-c.days) > 0.01 {
				t.Errorf("%v days left, want %v", left, c.days)
			}
		})
	}
}

func TestTheNameThatIsAskedFor(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	shop, blog := authority.Issue(t, time.Now().Add(48*time.Hour), "shop.example.org").TLS(t), authority.Issue(t, time.Now().Add(96*time.Hour), "blog.example.org").TLS(t)
	address := serve(t, with(shop, blog), nil)
	got, err := collect(t, map[string]any{"ca_certificates": authority.PEM}, "tls://"+address+"?name=shop.example.org", "tls://"+address+"?name=blog.example.org")
	if err != nil || problems(got) != "" {
		t.Fatalf("problems %q, %v", problems(got), err)
	}
	for name, days := range map[string]float64{"shop": 2, "blog": 4} {
		if left := got.Value("tls.certificate.remaining tls.client.server_name="+name+".example.org") / 86400; math.Abs(left-days) > 0.01 {
			t.Errorf("%s: %v days left, want %v", name, left, days)
		}
	}
}

// script plays a server of lines: what it says, and after each what must have been asked.
func script(t *testing.T, lines ...string) func(net.Conn) {
	t.Helper()
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for i, text := range lines {
			if i%2 == 0 {
				_, _ = io.WriteString(conn, text)
				continue
			}
			if said, _ := in.ReadString('\n'); said != text {
				t.Errorf("asked %q, want %q", said, text)
			}
		}
	}
}

func TestSTARTTLS(t *testing.T) {
	authority := plugintest.NewAuthority(t)
	settings := with(authority.Issue(t, plugintest.Tomorrow()).TLS(t))
	bytes := func(want, answer string) func(net.Conn) {
		return func(conn net.Conn) {
			got := make([]byte, len(want))
			if _, _ = io.ReadFull(conn, got); string(got) != want {
				t.Errorf("asked %x, want %x", got, want)
			}
			_, _ = io.WriteString(conn, answer)
		}
	}
	const request = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
	for scheme, talk := range map[string]func(net.Conn){
		"smtp":     script(t, "220-mail\r\n220 hello\r\n", "EHLO picket.invalid\r\n", "250-mail\r\n250-STARTTLS\r\n250 OK\r\n", "STARTTLS\r\n", "220 go\r\n"),
		"imap":     script(t, "* OK ready\r\n", "a1 STARTTLS\r\n", "* CAPABILITY\r\na1 OK begin\r\n"),
		"pop3":     script(t, "+OK ready\r\n", "STLS\r\n", "+OK begin\r\n"),
		"ftp":      script(t, "220-welcome\r\n220 here\r\n", "AUTH TLS\r\n", "234 go\r\n"),
		"ldap":     bytes(request, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"),
		"postgres": bytes("\x00\x00\x00\x08\x04\xd2\x16\x2f", "S"),
	} {
		got, err := collect(t, map[string]any{"ca_certificates": authority.PEM}, scheme+"://"+serve(t, settings, talk))
		if err != nil || got.Value("tls.check.success") != 1 || problems(got) != "" {
			t.Errorf("%s: %v, %v", scheme, got, err)
		}
	}
	for what, c := range map[string]struct {
		scheme string
		talk   func(net.Conn)
	}{
		"smtp without TLS":     {"smtp", script(t, "220 hello\r\n", "EHLO picket.invalid\r\n", "250 OK\r\n", "STARTTLS\r\n", "502 no\r\n")},
		"endless lines":        {"smtp", script(t, strings.Repeat("220-x\r\n", 1000))},
		"an endless line":      {"imap", script(t, strings.Repeat("x", 1<<16))},
		"postgres without TLS": {"postgres", bytes("\x00\x00\x00\x08\x04\xd2\x16\x2f", "N")},
		"ldap refuses":         {"ldap", bytes(request, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00")},
		"ldap without an end":  {"ldap", bytes(request, "\x30\x84\xff\xff\xff\xff")},
	} {
		got, err := collect(t, map[string]any{}, c.scheme+"://"+serve(t, settings, c.talk))
		if err != nil || len(got) != 1 || got.Value("tls.check.success") != 0 {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

// openssl's server sends certificates that openssl's tools describe.
func TestAgainstOpenSSL(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl (Debian package openssl)")
	}
	authority := plugintest.NewAuthority(t)
	var targets []string
	days := map[string]float64{}
	for _, d := range []float64{45, 10, 0, -1} {
		dir, port := t.TempDir(), plugintest.FreePort(t)
		cert, key := authority.Issue(t, time.Now().Add(time.Duration(d*24)*time.Hour)).Files(t, dir)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		cmd := exec.CommandContext(t.Context(), program, "s_server", "-accept", address, "-cert", cert, "-key", key, "-quiet", "-www")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		targets, days[fmt.Sprint(port)] = append(targets, "tls://"+address), d
		plugintest.Await(t, address)
		if d != 10 {
			continue
		}
		out, err := exec.CommandContext(t.Context(), program, "x509", "-in", filepath.Join(dir, "server.crt"), "-noout", "-serial", "-enddate", "-dateopt", "iso_8601", "-fingerprint", "-sha256").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got, err := collect(t, map[string]any{}, "tls://"+address)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range got {
			if s.Metric != "tls.certificate.info" {
				continue
			}
			said := strings.ReplaceAll(string(out), ":", "")
			for _, want := range []string{"serial=0" + s.Labels["tls.certificate.serial"], strings.ToUpper(s.Labels["tls.server.hash.sha256"])} {
				if !strings.Contains(said, want) {
					t.Errorf("openssl does not say %q:\n%s", want, said)
				}
			}
			if until := strings.NewReplacer("T", " ").Replace(s.Labels["tls.server.not_after"]); !strings.Contains(string(out), until) {
				t.Errorf("openssl does not say %q:\n%s", until, out)
			}
		}
	}
	got, err := collect(t, map[string]any{"ca_certificates": authority.PEM}, targets...)
	if err != nil {
		t.Fatal(err)
	}
	for port, d := range days {
		if left := got.Value("tls.certificate.remaining server.port="+port) / 86400; math.Abs(left-d) > 0.01 {
			t.Errorf("%v days left, want %v", left, d)
		}
		if expired := got.Value("tls.certificate.problem tls.certificate.problem=expired server.port=" + port); (expired == 1) != (d <= 0) {
			t.Errorf("%v days left, expired is %v", d, expired)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, target := range []string{
		"", "example.org", "gopher://example.org", "tls://example.org", "imap://a", "tls://a:0", "tls://a:99999", "https://a/path", "https://u:p@a", "https://a#x", "https://a?x=1", "https://a?name=" + strings.Repeat("x", 254),
	} {
		if err := plugintest.Decode(New(), plugintest.JSON(t, map[string]any{"targets": []string{target}})); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, config := range []string{`{}`, `{"targets": ["https://a", "tls://a:443"]}`, `{"targets": ["https://a"], "ca_certificates": "x"}`} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

type talk struct {
	io.Reader
	io.Writer
}

func FuzzUpgrades(f *testing.F) {
	f.Add("smtp", []byte("220 a\r\n250 b\r\n220 c\r\n"))
	f.Add("ldap", []byte("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add("imap", []byte("* OK\r\na1 OK\r\n"))
	f.Fuzz(func(_ *testing.T, scheme string, b []byte) {
		if upgrade := upgrades[scheme]; upgrade != nil {
			_ = upgrade(talk{strings.NewReader(string(b)), io.Discard})
		}
	})
}
