package live

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// peers are real programs, a server on the right machine and its client on the left one.
var peers = []struct {
	name     string
	app      string   // what the engine is to see
	programs []string // without which they cannot talk
	packages string   // of Debian
	talk     func(l *link, dir string)
}{
	{"web", "http", []string{"python3", "curl"}, "python3 curl", (*link).web},
	{"TLS", "tls", []string{"openssl"}, "openssl", (*link).tls},
	{"QUIC", "http3", nil, "", (*link).quic},
	{"DNS", "dns", []string{"dnsmasq"}, "dnsmasq-base", (*link).dns},
	{"SSH", "ssh", []string{"/usr/sbin/sshd", "ssh", "ssh-keygen"}, "openssh-server", (*link).ssh},
	{"SMB", "smb", []string{"smbd", "smbclient"}, "samba smbclient", (*link).smb},
	{"mail", "smtp", []string{"exim4", "curl"}, "exim4-daemon-light curl", (*link).mail},
	{"Modbus", "modbus", []string{debianPython}, "python3-pymodbus python3-serial-asyncio", (*link).modbus},
	{"ping", "", []string{"ping"}, "iputils-ping", (*link).ping},
}

// debianPython is the interpreter that knows Debian's packages, whichever other comes first.
const debianPython = "/usr/bin/python3"

// talk has the clients of one machine use the servers of the other, as far as they are installed, and returns the protocols.
func talk(l *link) (used []string) {
	whole := l.t
	whole.Helper()
	// Not below TempDir, which only its owner may enter: servers take off their rights.
	dir, err := os.MkdirTemp("", "picket-live-")
	if err != nil {
		whole.Fatal(err)
	}
	whole.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nothing secret is in it
		whole.Fatal(err)
	}
	l.write(dir, "page", bytes.Repeat([]byte("picket "), 100_000))
	for _, p := range peers {
		whole.Run(p.name, func(t *testing.T) {
			l.t = t
			defer func() { l.t = whole }()
			for _, program := range p.programs {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("%s is not installed: apt-get install %s", program, p.packages)
				}
			}
			p.talk(l, dir)
			if p.app != "" {
				used = append(used, p.app)
			}
		})
	}
	return used
}

func (l *link) write(dir, name string, text []byte) string {
	l.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // as above
		l.t.Fatal(err)
	}
	return path
}

// folder makes one that anybody may write into.
func (l *link) folder(dir, name string) string {
	l.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o777); err != nil { //nolint:gosec // as above
		l.t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // as above
		l.t.Fatal(err)
	}
	return path
}

// client runs a client on the left machine, which must succeed.
func (l *link) client(args ...string) {
	l.t.Helper()
	if out, err := l.run(args...); err != nil {
		l.t.Errorf("%v: %v\n%s", args, err, out)
	}
}

func (l *link) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.left}, args...)...).CombinedOutput()
	return string(out), err
}

func (l *link) web(dir string) {
	l.start(l.right, "python3", "-m", "http.server", "--directory", dir, "8080")
	l.answers(l.right, "8080")
	l.client("curl", "-sf", "-o", "/dev/null", "http://"+rightAddress+":8080/page")
}

// certificate writes one for live.test, and its key.
func (l *link) certificate(dir string) (cert, key string) {
	l.t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	text := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "live.test"}, DNSNames: []string{"live.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, text, text, secret.Public(), secret)
	if err != nil {
		l.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write(dir, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		l.write(dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func (l *link) tls(dir string) {
	cert, key := l.certificate(dir)
	l.start(l.right, "openssl", "s_server", "-quiet", "-www", "-accept", "8443", "-key", key, "-cert", cert)
	l.answers(l.right, "8443")
	l.client("sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect "+rightAddress+":8443 -servername live.test")
}

// quic fetches a page over HTTP/3. Both ends are in this process, their sockets on the two machines.
func (l *link) quic(dir string) {
	l.t.Helper()
	cert, key := l.certificate(dir)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		l.t.Fatal(err)
	}
	server, client := l.datagrams(l.right, ":4433"), l.datagrams(l.left, ":0")
	h3 := &http3.Server{Handler: http.FileServer(http.Dir(dir)), TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	served := make(chan error, 1)
	go func() { served <- h3.Serve(server) }()
	dialer := &quic.Transport{Conn: client}
	transport := &http3.Transport{TLSClientConfig: &tls.Config{ServerName: "live.test", InsecureSkipVerify: true}, //nolint:gosec // its own certificate
		Dial: func(ctx context.Context, addr string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			to, err := net.ResolveUDPAddr("udp4", addr)
			if err != nil {
				return nil, err
			}
			return dialer.DialEarly(ctx, to, c, q)
		}}
	answer, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get("https://" + rightAddress + ":4433/page")
	if err != nil {
		l.t.Error(err)
	} else {
		n, err := io.Copy(io.Discard, answer.Body)
		if err := answer.Body.Close(); err != nil {
			l.t.Error(err)
		}
		if n != 700_000 || err != nil {
			l.t.Errorf("%d bytes over HTTP/3, %v", n, err)
		}
	}
	for _, closing := range []func() error{transport.Close, dialer.Close, h3.Close} {
		if err := closing(); err != nil {
			l.t.Error(err)
		}
	}
	if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		l.t.Error(err)
	}
}

func (l *link) datagrams(ns, address string) (c net.PacketConn) {
	l.t.Helper()
	l.in(ns, func() (err error) {
		c, err = net.ListenPacket("udp4", address)
		return err
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// dns asks by IPv4, IPv6 and TCP.
func (l *link) dns(string) {
	l.start(l.right, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts", "--bind-interfaces",
		"--listen-address=127.0.0.1,"+rightAddress+",fd77::2", "--address=/live.test/10.77.0.9")
	l.answers(l.right, "53")
	for network, server := range map[string]string{"udp4": rightAddress, "udp6": "fd77::2", "tcp4": rightAddress} {
		r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (c net.Conn, err error) {
			l.in(l.left, func() error {
				c, err = net.Dial(network, net.JoinHostPort(server, "53"))
				return err
			})
			return c, err
		}}
		found, err := r.LookupIP(l.t.Context(), "ip4", "www.live.test.")
		if err != nil || len(found) != 1 || found[0].String() != "10.77.0.9" {
			l.t.Errorf("over %s: %v, %v", network, found, err)
		}
	}
}

// ssh is refused, which it hears encrypted.
func (l *link) ssh(dir string) {
	key := filepath.Join(dir, "host")
	l.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as Debian makes it
		l.t.Fatal(err)
	}
	l.start(l.right, "/usr/sbin/sshd", "-D", "-e", "-p", "2222", "-h", key, "-o", "PidFile=none", "-f", "/dev/null")
	l.answers(l.right, "2222")
	if _, err := l.run("ssh", "-p", "2222", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", rightAddress, "true"); err == nil {
		l.t.Error("a login without a key")
	}
}

func (l *link) smb(dir string) {
	place, share := l.folder(dir, "smb"), l.folder(dir, "share")
	l.write(share, "page", bytes.Repeat([]byte("picket "), 10_000))
	config := "[global]\nserver role = standalone server\nmap to guest = Bad User\nguest account = nobody\ndisable netbios = yes\nsmb ports = 445\nload printers = no\n"
	for _, name := range []string{"private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir"} {
		config += name + " = " + place + "\n"
	}
	file := l.write(dir, "smb.conf", []byte(config+"[share]\npath = "+share+"\nguest ok = yes\nread only = no\n"))
	l.start(l.right, "smbd", "--foreground", "--debug-stdout", "--debuglevel=0", "--log-basename="+place, "--configfile="+file)
	l.answers(l.right, "445")
	l.client("smbclient", "--no-pass", "--configfile="+file, "//"+rightAddress+"/share", "-c", "ls; get page "+filepath.Join(dir, "fetched")+"; put "+filepath.Join(dir, "fetched")+" back")
}

// mail is sent in the clear and after STARTTLS, and thrown away.
func (l *link) mail(dir string) {
	l.t.Helper()
	who, err := user.Lookup("Debian-exim")
	if err != nil {
		l.t.Skip("the mail server's user Debian-exim is not there: apt-get install exim4-daemon-light")
	}
	place := l.folder(dir, "exim")
	cert, key := l.certificate(place)
	config := l.write(dir, "exim.conf", fmt.Appendf(nil, `
primary_hostname = live.test
spool_directory = %[1]s
log_file_path = %[1]s/%%slog
pid_file_path = %[1]s/pid
daemon_smtp_ports = 2525
tls_advertise_hosts = *
tls_certificate = %[2]s
tls_privatekey = %[3]s
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = discard
`, place, cert, key))
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	l.start(l.right, "setpriv", "--reuid", strconv.Itoa(uid), "--regid", strconv.Itoa(gid), "--clear-groups", "exim4", "-bdf", "-C", config)
	l.answers(l.right, "2525")
	letter := l.write(dir, "letter", []byte("From: a@live.test\r\nTo: b@live.test\r\nSubject: a word\r\n\r\nIt is quiet here.\r\n"))
	for _, more := range [][]string{nil, {"--ssl-reqd", "--insecure"}} {
		l.client(append([]string{"curl", "-s", "smtp://" + rightAddress + ":2525", "--mail-from", "a@live.test", "--mail-rcpt", "b@live.test", "-T", letter}, more...)...)
	}
}

func (l *link) modbus(string) {
	l.t.Helper()
	if exec.Command(debianPython, "-c", "import pymodbus.server").Run() != nil {
		l.t.Skip("pymodbus is not installed: apt-get install python3-pymodbus python3-serial-asyncio")
	}
	l.start(l.right, debianPython, "-c", `
from pymodbus.server import StartTcpServer
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
block = ModbusSequentialDataBlock(0, list(range(100)))
StartTcpServer(context=ModbusServerContext(ModbusSlaveContext(di=block, co=block, hr=block, ir=block), single=True), address=("0.0.0.0", 5020))
`)
	l.answers(l.right, "5020")
	l.client(debianPython, "-c", `
from pymodbus.client import ModbusTcpClient
c = ModbusTcpClient("`+rightAddress+`", port=5020)
assert c.connect()
for i in range(20):
    assert not c.read_holding_registers(i, 3, slave=1).isError()
    assert not c.write_register(i, 7, slave=1).isError()
c.close()
`)
}

func (l *link) ping(string) {
	l.client("ping", "-c", "2", "-i", "0.2", rightAddress)
	l.client("ping", "-c", "1", "-s", "4000", rightAddress) // in fragments
}
