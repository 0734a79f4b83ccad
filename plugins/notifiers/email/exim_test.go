//go:build unix

package email

import (
	"fmt"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
)

// eximConfig is a whole mail server: it takes mail for example.org, with a login where one is wanted, and puts each
// mail into a file of its own below %[1]s/mail.
const eximConfig = `
primary_hostname = mail.example.org
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%s.log
pid_file_path = %[1]s/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d : %[3]d
tls_on_connect_ports = %[3]d
tls_advertise_hosts = %[4]s
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
auth_advertise_hosts = *
deliver_drop_privilege = true
keep_environment =
message_size_limit = 1M
acl_smtp_rcpt = rcpt

begin acl
rcpt:
  deny    local_parts = refused
          message = 5.1.1 nobody of that name
  defer   local_parts = busy
          message = 4.2.1 try later
  accept  domains = example.org
          condition = ${if or{{!eq{%[5]s}{login}}{def:authenticated_id}}}
  deny    message = relay not permitted

begin routers
all:
  driver = accept
  transport = folder

begin transports
folder:
  driver = appendfile
  directory = %[1]s/mail
  maildir_format

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{picket}}{eq{$auth3}{right}}}}
  server_set_id = $auth2
%[6]s
`

const cramMD5 = `
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{picket}{right}fail}
  server_set_id = $auth1
`

// server is a running exim.
type server struct {
	dir       string
	smtp      int // port with STARTTLS
	smtps     int // port with TLS from the first byte
	authority *plugintest.Authority
}

// eximOptions choose what the server offers.
type eximOptions struct {
	noSTARTTLS bool
	login      bool // take mail only after a login
	cram       bool // offer CRAM-MD5, which needs no encryption
}

func startExim(t *testing.T, o eximOptions) *server {
	t.Helper()
	path, err := exec.LookPath("exim4")
	if err != nil {
		t.Skip("needs a mail server: install the Debian package exim4-daemon-light")
	}
	who, err := user.Lookup("Debian-exim")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root, to start the mail server as its own user Debian-exim")
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)

	s := &server{authority: plugintest.NewAuthority(t), smtp: freePort(t), smtps: freePort(t)}
	if s.dir, err = os.MkdirTemp("", "picket-exim-"); err != nil { //nolint:usetesting // another user must get into it
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	pair := s.authority.Issue(t, time.Now().Add(time.Hour))
	hosts, need, cram := "*", "", ""
	if o.noSTARTTLS {
		hosts = ""
	}
	if o.login {
		need = "login"
	}
	if o.cram {
		cram = cramMD5
	}
	for name, text := range map[string]string{
		"cert.pem": pair.Cert, "key.pem": pair.Key,
		"exim.conf": fmt.Sprintf(eximConfig, s.dir, s.smtp, s.smtps, hosts, need, cram),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = filepath.Walk(s.dir, func(name string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(name, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(path, "-bdf", "-q1h", "-C", filepath.Join(s.dir, "exim.conf"))
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Setpgid: true}
	said := &strings.Builder{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for _, port := range []int{s.smtp, s.smtps} {
		s.await(t, port, said)
	}
	return s
}

func (s *server) await(t *testing.T, port int, said *strings.Builder) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "main.log"))
			t.Fatalf("exim does not listen: %v\n%s\n%s", err, said, log)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// config returns a configuration for the server with further fields.
func (s *server) config(t *testing.T, more map[string]any) string {
	t.Helper()
	fields := map[string]any{
		"host": "127.0.0.1", "port": s.smtp, "ca_certificates": s.authority.PEM,
		"from": "Picket <picket@example.org>", "to": []string{"ops@example.org"},
	}
	for k, v := range more {
		fields[k] = v
	}
	return plugintest.JSON(t, fields)
}

// mails waits until as many mails were delivered and returns them.
func (s *server) mails(t *testing.T, want int) []*mail.Message {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		names, err := filepath.Glob(filepath.Join(s.dir, "mail", "new", "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) < want && time.Now().Before(deadline) {
			continue
		}
		if len(names) != want {
			log, _ := os.ReadFile(filepath.Join(s.dir, "main.log"))
			t.Fatalf("%d mails, want %d\n%s", len(names), want, log)
		}
		var out []*mail.Message
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			m, err := mail.ReadMessage(strings.NewReader(string(raw)))
			if err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			out = append(out, m)
		}
		return out
	}
}

// logged returns the server's log, for what it saw of the connection.
func (s *server) logged(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "main.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
