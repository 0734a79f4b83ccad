package audit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// certificates are the files of an authority, and of a certificate for loopback that it vouches for.
type certificates struct{ authority, cert, key string }

func issue(t *testing.T) certificates {
	t.Helper()
	dir := t.TempDir()
	c := certificates{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write := func(path, kind string, der []byte) {
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of a test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	must(t, err)
	write(c.authority, "CERTIFICATE", der)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "one of a test"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err = x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), authorityKey)
	must(t, err)
	write(c.cert, "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	write(c.key, "PRIVATE KEY", der)
	return c
}

// rsyslog is a real receiver with TLS.
type rsyslog struct {
	t                     *testing.T
	dir, address, arrived string
	cmd                   *exec.Cmd
}

func newRsyslog(t *testing.T, c certificates, clients string) *rsyslog {
	t.Helper()
	driver, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so")
	if _, err := exec.LookPath("rsyslogd"); err != nil || len(driver) == 0 {
		t.Skip("needs rsyslogd with TLS (Debian packages rsyslog and rsyslog-gnutls)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &rsyslog{t: t, dir: t.TempDir(), address: l.Addr().String()}
	must(t, l.Close())
	r.arrived = filepath.Join(r.dir, "arrived")
	_, port, _ := net.SplitHostPort(r.address)
	must(t, os.WriteFile(filepath.Join(r.dir, "conf"), fmt.Appendf(nil, `
global(workDirectory="%s" defaultNetstreamDriverCAFile="%s" defaultNetstreamDriverCertFile="%s" defaultNetstreamDriverKeyFile="%s")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="%s")
input(type="imtcp" port="%s" address="127.0.0.1")
template(name="parts" type="string" string="%%protocol-version%%|%%pri%%|%%timereported:::date-rfc3339%%|%%hostname%%|%%app-name%%|%%procid%%|%%msgid%%|%%structured-data%%|%%msg%%\n")
action(type="omfile" file="%s" template="parts")
`, r.dir, c.authority, c.cert, c.key, clients, port, r.arrived), 0o600))
	t.Cleanup(r.stop)
	r.start()
	return r
}

func (r *rsyslog) start() {
	r.t.Helper()
	r.cmd = exec.Command("rsyslogd", "-n", "-f", filepath.Join(r.dir, "conf"), "-i", filepath.Join(r.dir, "pid"))
	must(r.t, r.cmd.Start())
	eventually(r.t, "rsyslogd to listen", func() bool {
		conn, err := net.Dial("tcp", r.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (r *rsyslog) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	_ = r.cmd.Wait()
}

// lines are what has arrived, without the warnings of rsyslog itself.
func (r *rsyslog) lines() (out []string) {
	text, _ := os.ReadFile(r.arrived)
	for line := range strings.Lines(string(text)) {
		line, whole := strings.CutSuffix(line, "\n")
		if whole && !strings.Contains(line, "|rsyslogd|") {
			out = append(out, line)
		}
	}
	return out
}

// said is what the sender logs.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.buf.String(), text)
}

func openStore(t *testing.T) *store.Control {
	t.Helper()
	dir := t.TempDir()
	c, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "key")})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// sendTo sends the log of s until the test is over or stop is called.
func sendTo(t *testing.T, s *store.Control, address, ca, cert, key string) (log *said, stop func()) {
	t.Helper()
	config, err := SyslogTLS(ca, cert, key)
	must(t, err)
	log = &said{}
	sender := &Syslog{Store: s, Tenant: store.DefaultTenant, Address: address, TLS: config, Host: "watch.example.org", Log: slog.New(slog.NewTextHandler(log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sender.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return log, stop
}

var written = time.Date(2026, 11, 4, 12, 0, 0, 123456000, time.UTC)

func record(t *testing.T, s *store.Control, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		must(t, New(s, func() time.Time { return written }).Record(t.Context(), e))
	}
}

func many(n int) (out []Entry) {
	for i := range n {
		out = append(out, Entry{Actor: "user:ada", Action: "login", Object: fmt.Sprint("user:", i)})
	}
	return out
}

// wantArrived waits for n lines and looks whether they are the log, each entry once and in its order.
func wantArrived(t *testing.T, r *rsyslog, n int) []string {
	t.Helper()
	eventually(t, fmt.Sprint(n, " lines"), func() bool { return len(r.lines()) >= n })
	lines := r.lines()
	for i, line := range lines {
		if !strings.Contains(line, fmt.Sprintf(`[audit@32473 seq="%d" `, i+1)) {
			t.Fatalf("line %d of %d is %s", i+1, len(lines), line)
		}
	}
	if len(lines) != n {
		t.Fatalf("%d lines, want %d", len(lines), n)
	}
	return lines
}

func TestRsyslog(t *testing.T) {
	c := issue(t)
	r, s := newRsyslog(t, c, "anon"), openStore(t)
	record(t, s, Entry{Actor: "user:ada", Action: "plugin.enable", Object: "plugin:picket/ping", Address: "192.0.2.1"},
		Entry{Actor: `user:"]\`, Action: "login", Outcome: Refused, Detail: "Grüße <13>1\nforged"}, Entry{Actor: "system", Action: "backup", Outcome: Failed})
	record(t, s, many(2*syslogBatch)...)
	log, _ := sendTo(t, s, r.address, c.authority, "", "")
	lines := wantArrived(t, r, 3+2*syslogBatch)

	chain, err := s.AuditAfter(t.Context(), store.DefaultTenant, 0, store.AuditFilter{}, 3)
	must(t, err)
	const head = "1|%d|2026-11-04T12:00:00.123456Z|watch.example.org|picketd|%d|audit|[audit@32473 seq=\"%d\" tenant=\"default\" %s hash=\"%x\"]|\ufeff%s"
	for i, want := range []struct {
		pri         int
		named, text string
	}{
		{110, `actor="user:ada" action="plugin.enable" object="plugin:picket/ping" outcome="ok" address="192.0.2.1"`, "user:ada plugin.enable plugin:picket/ping: ok "},
		{108, `actor="user:\"\]\\" action="login" object="" outcome="refused" address=""`, `user:"]\ login : refused Grüße <13>1 forged`},
		{107, `actor="system" action="backup" object="" outcome="failed" address=""`, "system backup : failed "},
	} {
		if line := fmt.Sprintf(head, want.pri, os.Getpid(), i+1, want.named, chain[i].Hash, want.text); lines[i] != line {
			t.Errorf("%s\nwant\n%s", lines[i], line)
		}
	}

	r.stop()
	eventually(t, "the log to say that nobody listens", func() bool { return log.has("closed the connection") })
	record(t, s, many(5)...)
	r.start()
	wantArrived(t, r, 8+2*syslogBatch)
}

func TestRsyslogOfAWrongAuthority(t *testing.T) {
	r, s := newRsyslog(t, issue(t), "anon"), openStore(t)
	record(t, s, many(3)...)
	log, stop := sendTo(t, s, r.address, issue(t).authority, "", "")
	eventually(t, "the log to say it", func() bool { return log.has("the audit log is not being sent") })
	stop()
	if !log.has("unknown authority") {
		t.Errorf("the log says %s", &log.buf)
	}
	if sent, err := s.Setting(t.Context(), store.DefaultTenant, syslogSent); err != nil || sent != "" || len(r.lines()) != 0 {
		t.Errorf("sent %q, %v: %q", sent, err, r.lines())
	}
}

// A server that wants a certificate says so only after the handshake.
func TestRsyslogThatWantsACertificate(t *testing.T) {
	c := issue(t)
	r, s := newRsyslog(t, c, "x509/certvalid"), openStore(t)
	log, stop := sendTo(t, s, r.address, c.authority, "", "")
	eventually(t, "the log to say it", func() bool { return log.has("closed the connection") })
	stop()
	record(t, s, many(3)...)
	sendTo(t, s, r.address, c.authority, c.cert, c.key)
	wantArrived(t, r, 3)
}
