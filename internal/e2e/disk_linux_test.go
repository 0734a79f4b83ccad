package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// oneMailServer is a whole exim that takes any mail for example.org, without encryption, into a file of its own below %[1]s/mail.
const oneMailServer = `
primary_hostname = mail.example.org
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%s.log
pid_file_path = %[1]s/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
tls_advertise_hosts =
deliver_drop_privilege = true
keep_environment =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = example.org
begin routers
all:
  driver = accept
  transport = folder
begin transports
folder:
  driver = appendfile
  directory = %[1]s/mail
  maildir_format
`

// startExim returns its port and the folder of its mails.
func startExim(t *testing.T) (port int, mails string) {
	t.Helper()
	path, err := exec.LookPath("exim4")
	who, errUser := user.Lookup("Debian-exim")
	if err != nil || errUser != nil {
		t.Skip("needs a mail server: install the Debian package exim4-daemon-light")
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	dir, err := os.MkdirTemp("", "picket-exim-") //nolint:usetesting // another user must get into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port = freePort(t)
	file := filepath.Join(dir, "exim.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, oneMailServer, dir, port), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, file} {
		if err := os.Chown(name, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "-bdf", "-q1h", "-C", file)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	waitFor(t, "the mail server", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "main.log"))
		return strings.Contains(string(b), "daemon started")
	})
	return port, filepath.Join(dir, "mail", "new")
}

// mountedDisk is a small file system of its own, which the agent sees although it came later.
func mountedDisk(t *testing.T) (folder string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 6 && f[4] == "/" && !strings.HasPrefix(f[6], "shared:") {
			t.Skip("needs a root file system whose mounts are shared: mount --make-shared /")
		}
	}
	dir, err := os.MkdirTemp("", "picket-disk-") //nolint:usetesting // who measures it is another user, and must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // there is nothing in it
		t.Fatal(err)
	}
	folder = filepath.Join(dir, "disk")
	for _, c := range [][]string{{"truncate", "-s", "64M", dir + "/image"}, {"mkfs.ext4", "-q", "-F", dir + "/image"}, {"mkdir", folder}, {"mount", "-o", "loop", dir + "/image", folder}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs to mount a file: %s: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return folder
}

// A disk that is filled to the brim is one alert and one mail, also when the server is killed the moment that the mail is there.
func TestAFullDiskIsOneMail(t *testing.T) {
	if os.Getenv("PICKET_DISK") == "" {
		t.Skip("mounts a disk and takes a minute: set PICKET_DISK=1")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a disk and to start the mail server as its own user")
	}
	smtp, mails := startExim(t)
	data, port := filepath.Join(t.TempDir(), "data"), freePort(t)
	s := startServer(t, data, port)
	s.ready(t, "picket/host")
	waitFor(t, "the sample capture's alerts", func() bool { return len(s.alerts(t, "state=firing")) >= 2 })
	s.call(t, http.MethodPost, "/api/v1/plugins/picket/email/enable", map[string]any{"grants": "all",
		"config": map[string]any{"host": "127.0.0.1", "port": smtp, "tls": "none", "from": "picket@example.org", "to": []string{"ops@example.org"}}}, nil)
	s.ready(t, "picket/email")
	disk := mountedDisk(t)
	time.Sleep(5 * time.Second) // it was seen when it was empty
	_ = exec.Command("dd", "if=/dev/zero", "of="+disk+"/x", "bs=1M", "count=60").Run()
	full := time.Now()
	arrived := func() (n int) {
		names, _ := filepath.Glob(filepath.Join(mails, "*"))
		for _, name := range names {
			if b, _ := os.ReadFile(name); strings.Contains(string(b), "A disk is full") || strings.Contains(string(b), "% full") {
				n++
			}
		}
		return n
	}
	for arrived() == 0 {
		if time.Since(full) > patience {
			t.Fatalf("no mail within %s; alerts %+v", patience, s.alerts(t, "state=firing"))
		}
		time.Sleep(time.Millisecond)
	}
	s.kill9()
	t.Logf("the mail was there %.1f s after the disk was full", time.Since(full).Seconds())

	s = startServer(t, data, port)
	var id string
	waitFor(t, "the alert", func() bool {
		for _, a := range s.alerts(t, "state=firing") {
			if a.Detector == "metric-rules" {
				id = a.ID
			}
		}
		return id != ""
	})
	// A server that was killed before it could say that the mail was taken waits until nobody can be sending it any more.
	waitLong(t, "the delivery to be on record", func() bool { return s.told(t, id).of(t, "picket/email", "alert.firing").State == "delivered" })
	time.Sleep(3 * time.Second)
	if n := arrived(); n != 1 {
		t.Errorf("%d mails of the one alert", n)
	}
}
