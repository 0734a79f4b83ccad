#!/usr/bin/python3
"""Record ordinary traffic: five sites in network namespaces, in which people and programs go about their day and nobody attacks.

    sudo ./record.py FOLDER [MINUTES [SITE...]]

Debian packages: dnsmasq-base nginx-light curl openssh-server samba smbclient vsftpd lftp rsync git postgresql redis-server
mosquitto mosquitto-clients exim4-daemon-light dovecot-imapd chrony avahi-daemon avahi-utils openvpn snmp snmpd iperf3 chromium
python3-pymodbus python3-serial-asyncio udhcpc netcat-openbsd bind9-dnsutils openssl ethtool tcpdump zstd iproute2.

Nothing leaves the namespaces. What a host does and how long it waits between two things is drawn from a generator seeded with
SEED, the site and the host; what the programs then send is theirs, so that two recordings are alike and not the same. Each
site is one capture: every frame once, whole, without segmentation offload. FOLDER gets the captures and labels.tsv.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SEED = "ordinary-1"
WORDS = """amber anchor apple arrow autumn barley basin beacon birch bridge brook candle canyon cedar circle clover copper coral corner
cotton crystal daisy delta desert eagle echo ember falcon feather fern field forest garden glacier granite harbor harvest hazel heron
hollow horizon island ivory juniper kettle lantern laurel lemon linen maple marble meadow mill mirror morning oak ocean olive orchard
paper pebble pepper pine planet prairie quartz quiet rain raven ridge river rocket rose saddle sage sail salt shadow silver sky
spruce stone summer sun thistle thunder timber valley velvet violet walnut water willow winter wood""".split()
AGENTS = [f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36" for v in (120, 122, 124)
          for system in ("Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Macintosh; Intel Mac OS X 10_15_7")]
OUTSIDE = [f"{net}.{n}" for net in ("93.184.216", "151.101.65", "104.16.132", "23.62.9", "142.250.74") for n in range(20, 28)]
VISITORS = [f"{net}.{n}" for net in ("81.169.144", "92.40.17", "177.12.3") for n in range(30, 44)]
PUBLIC = 12  # names of web sites that people know
KEEP_SSH = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


class Site:
    """One network: hosts on a hub that hears everything, a gateway, and the world behind it. At its end everything is gone."""

    def __init__(self, name, net, hosts):
        self.name, self.net, self.hosts = name, net, {"gateway": 1, **hosts}
        self.random, self.dir = random.Random(f"{SEED} {name}"), pathlib.Path(tempfile.mkdtemp(prefix=f"ordinary-{name}-"))
        self.dir.chmod(0o755)
        self.started, self.guard, self.counts, self.over = [], threading.Lock(), {}, threading.Event()
        self.names = [f"{a}{b}.{tld}" for a, b, tld in ((self.random.choice(WORDS), self.random.choice(WORDS), self.random.choice(["com", "net", "org", "io", "de", "co.uk"])) for _ in range(PUBLIC))]
        self.address = {}  # of every name of the world
        for i, name in enumerate(self.names):
            for k, sub in enumerate(["www", "static", "cdn", "api", "img", f"d{self.random.getrandbits(48):x}.edge"]):
                self.address[f"{sub}.{name}"] = OUTSIDE[(i * 3 + k) % len(OUTSIDE)]
        for i, name in enumerate(["deb.mirror", "video", "backup", "telemetry", "push", "dns", "update", "photos", "meet", "vpn"]):
            self.address[f"{name}.{self.names[0]}"] = OUTSIDE[-1 - i]

    def ns(self, host):
        return f"ord-{self.name}-{host}"

    def ip(self, host):
        return f"{self.net}.{self.hosts[host]}"

    def there(self, service):
        return f"{service}.{self.names[0]}"

    # --- the network ---

    def __enter__(self):
        self.sh(" ; ".join(f"ip netns add {self.ns(h)}; ip -n {self.ns(h)} link set lo up" for h in [*self.hosts, "outside", "hub"]))
        self.sh(f"ip -n {self.ns('hub')} link add br0 type bridge ageing_time 0; ip -n {self.ns('hub')} link set br0 up promisc on")
        for host, last in self.hosts.items():
            self.wire(self.ns("hub"), f"p{last}", self.ns(host), "eth0")
            self.sh(f"ip -n {self.ns('hub')} link set p{last} master br0; ip -n {self.ns(host)} link set eth0 address 02:6f:{len(self.name):02x}:{ord(self.name[0]):02x}:00:{last:02x}; "
                    f"ip -n {self.ns(host)} addr add {self.ip(host)}/24 dev eth0")
            if host != "gateway":
                self.sh(f"ip -n {self.ns(host)} route add default via {self.net}.1")
        gateway, outside = self.ns("gateway"), self.ns("outside")
        self.wire(gateway, "eth1", outside, "eth0")
        self.sh(f"ip -n {gateway} addr add 100.64.0.1/30 dev eth1; ip -n {outside} addr add 100.64.0.2/30 dev eth0; ip -n {outside} route add {self.net}.0/24 via 100.64.0.1; "
                f"ip -n {gateway} route add default via 100.64.0.2; ip netns exec {gateway} sysctl -qw net.ipv4.ip_forward=1")
        for a in OUTSIDE + VISITORS:
            self.sh(f"ip -n {outside} addr add {a}/32 dev lo")
        for host in [*self.hosts, "outside"]:
            folder = pathlib.Path("/etc/netns", self.ns(host))
            folder.mkdir(parents=True, exist_ok=True)
            folder.joinpath("resolv.conf").write_text(f"search {self.name}.lan\nnameserver {self.net}.1\noptions timeout:2 attempts:2\n")
        return self

    def wire(self, a, one, b, other):
        self.sh(f"ip -n {a} link add {one} type veth peer name {other} netns {b}; ip -n {a} link set {one} up; ip -n {b} link set {other} up")
        for where, end in ((a, one), (b, other)):
            self.sh(f"ip netns exec {where} ethtool -K {end} tso off gso off gro off tx off >/dev/null 2>&1 || true")

    def __exit__(self, *_):
        self.over.set()
        for p in reversed(self.started):
            self.stop(p)
        for host in [*self.hosts, "outside", "hub"]:
            subprocess.run(f"ip netns pids {self.ns(host)} | xargs -r kill -9; ip netns del {self.ns(host)}; rm -rf /etc/netns/{self.ns(host)}", shell=True, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def sh(self, command):
        subprocess.run(command, shell=True, check=True)

    def start(self, host, command):
        with open(self.dir / "out.log", "ab") as log:
            p = subprocess.Popen(["ip", "netns", "exec", self.ns(host), "sh", "-c", command], cwd=self.dir, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with self.guard:
            self.started.append(p)
        return p

    def run(self, host, command, timeout=120):
        """Run a command line on a host and wait. What it prints and returns is its own affair."""
        p = self.start(host, command)
        try:
            p.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        self.stop(p)

    def stop(self, p):
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(p.pid, sig)
                p.wait(3)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        with self.guard:
            if p in self.started:
                self.started.remove(p)

    def file(self, name, content):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def text(self, words):
        return " ".join(self.random.choices(WORDS, k=words))

    # --- servers ---

    def certificate(self, name, names):
        """One that the authority of this site signed."""
        d = self.dir
        if not (d / "ca.pem").exists():
            self.sh(f"openssl req -x509 -newkey rsa:2048 -nodes -days 900 -subj '/O=Ordinary Trust/CN=Ordinary Root' -keyout {d}/ca.key -out {d}/ca.pem 2>/dev/null")
        ext = self.file(f"{name}.ext", "subjectAltName=" + ",".join("DNS:" + n for n in names) + "\n")
        self.sh(f"openssl req -newkey rsa:2048 -nodes -subj /CN={names[0]} -keyout {d}/{name}.key -out {d}/{name}.csr 2>/dev/null; "
                f"openssl x509 -req -in {d}/{name}.csr -CA {d}/ca.pem -CAkey {d}/ca.key -CAcreateserial -days 90 -extfile {ext} -out {d}/{name}.pem 2>/dev/null; chmod 644 {d}/{name}.key")
        return f"{d}/{name}.pem", f"{d}/{name}.key"

    def resolver(self):
        lines = [f"address=/{n}/{a}" for n, a in self.address.items()] + [f"address=/{h}.{self.name}.lan/{self.ip(h)}" for h in self.hosts]
        lines += [f"ptr-record={n}.{'.'.join(reversed(self.net.split('.')))}.in-addr.arpa,{h}.{self.name}.lan" for h, n in self.hosts.items()]
        self.file("names.conf", "\n".join(lines) + "\n")
        base = "dnsmasq --keep-in-foreground --pid-file= --user=root --no-resolv --no-hosts --bind-interfaces --local=/#/"
        self.start("gateway", f"{base} --conf-file={self.dir}/names.conf --interface=eth0 --local-ttl=30 --dhcp-range={self.net}.200,{self.net}.240,255.255.255.0,10m --dhcp-authoritative --dhcp-leasefile={self.dir}/leases")
        self.start("outside", f"{base} --conf-file={self.dir}/names.conf --listen-address=127.0.0.1 --port=5300")
        self.file("ntp.conf", f"local stratum 8\nallow\ncmdport 0\nbindcmdaddress /\npidfile {self.dir}/ntp.pid\n")
        self.start("gateway", f"chronyd -x -d -u root -f {self.dir}/ntp.conf")

    def world(self):
        """The web, and all else that lies outside."""
        for i, name in enumerate(self.names):
            links = []
            for k in range(self.random.randint(10, 40)):
                kind, size = self.random.choice([("js", 60_000), ("css", 20_000), ("jpg", 90_000), ("png", 30_000), ("woff2", 40_000)])
                size = int(size * self.random.uniform(0.05, 1.6))
                self.file(f"www/{i}/r{k}.{kind}", self.text(size // 7) if kind in ("js", "css") else self.random.randbytes(size))
                host = self.random.choice(["static", "cdn", "img", "www"])
                tag = {"js": "<script src='{}' async></script>", "css": "<link rel=stylesheet href='{}'>"}.get(kind, "<img src='{}'>")
                links.append((f"//{host}.{name}/r{k}.{kind}", tag))
            for page in range(12):
                mine = self.random.sample(links, self.random.randint(4, len(links)))
                self.file(f"www/{i}/page{page}.html", "<html><title>" + self.text(4) + "</title>" + "".join(tag.format(u) for u, tag in mine) + "<p>" + self.text(self.random.randint(100, 2500)) + "</p></html>")
                self.file(f"www/{i}/page{page}.list", "\n".join(u for u, _ in mine))
        for n in range(24):
            self.file(f"www/big/pool/package{n}_1.{n}_amd64.deb", self.random.randbytes(int(self.random.lognormvariate(13.2, 1.1))))
        for n in range(8):
            self.file(f"www/big/segment{n}.m4s", self.random.randbytes(self.random.randint(500_000, 1_100_000)))
        certificate, key = self.certificate("world", [n for n in self.address] + self.names)
        self.sh(f"mkdir -p {self.dir}/tmp; chmod 777 {self.dir}/tmp")
        common = f"add_header Cache-Control max-age=60; location /up/ {{ client_max_body_size 500m; proxy_pass http://127.0.0.1:8054; proxy_request_buffering off; }} location /api/ {{ default_type application/json; return 200 '{{\"state\":\"ok\",\"id\":\"$request_id\"}}'; }} location /dns-query {{ proxy_pass http://127.0.0.1:8053; }}"
        listen = f"listen 80; listen 443 ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};"
        servers = [f"server {{ {listen} server_name .{name}; root {self.dir}/www/{i}; {common} }}" for i, name in enumerate(self.names)]
        servers.insert(0, f"server {{ {listen} server_name {' '.join(self.there(s) for s in ('deb.mirror', 'video', 'backup', 'telemetry', 'dns', 'update', 'photos'))}; root {self.dir}/www/big; {common} }}")
        self.nginx("outside", "world", "".join(servers))
        self.file("helpers.py", """
import http.server, socket, threading
class DNS(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
        s.sendto(self.rfile.read(int(self.headers["content-length"])), ("127.0.0.1", 5300)); answer = s.recv(4096)
        self.send_response(200); self.send_header("content-type", "application/dns-message"); self.send_header("content-length", str(len(answer))); self.end_headers(); self.wfile.write(answer)
    def log_message(self, *_): pass
class Sink(DNS):
    def do_PUT(self):
        left = int(self.headers.get("content-length", 0))
        while left > 0:
            got = self.rfile.read(min(left, 1 << 16)); left -= len(got)
            if not got: return
        self.send_response(201); self.send_header("content-length", "0"); self.end_headers()
    do_POST = do_PUT
threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8054), Sink).serve_forever).start()
http.server.ThreadingHTTPServer(("127.0.0.1", 8053), DNS).serve_forever()
""")
        self.start("outside", f"/usr/bin/python3 {self.dir}/helpers.py")
        for port in range(5201, 5205):
            self.start("outside", f"iperf3 -s -p {port}")
        self.broker("outside", tls=True)

    def nginx(self, host, name, servers):
        self.file(f"{name}.conf", f"""daemon off; user root; worker_processes 1; pid {self.dir}/{name}.pid; error_log {self.dir}/{name}.log crit; events {{ worker_connections 2000; }}
http {{ access_log off; types {{ text/html html; text/css css; application/javascript js; image/jpeg jpg; image/png png; font/woff2 woff2; application/vnd.debian.binary-package deb; video/mp4 m4s; }}
gzip on; gzip_types text/css application/javascript; server_names_hash_bucket_size 128; client_body_temp_path {self.dir}/tmp/b; proxy_temp_path {self.dir}/tmp/p; fastcgi_temp_path {self.dir}/tmp/f; uwsgi_temp_path {self.dir}/tmp/u; scgi_temp_path {self.dir}/tmp/s; {servers} }}""")
        self.start(host, f"nginx -e {self.dir}/{name}.log -c {self.dir}/{name}.conf")

    def intranet(self, host):
        """Its certificate is its own, as that of appliances is."""
        d = self.dir
        self.sh(f"mkdir -p {d}/tmp; openssl req -x509 -newkey rsa:2048 -nodes -days 3000 -subj /CN={host}.{self.name}.lan -keyout {d}/{host}.key -out {d}/{host}.pem 2>/dev/null")
        self.file("staff", "staff:" + subprocess.check_output(["openssl", "passwd", "-apr1", "correct horse"], text=True))
        for n in range(12):
            self.file(f"inside/page{n}.html", "<html>" + self.text(self.random.randint(50, 4000)) + "</html>")
        self.nginx(host, f"inside-{host}", f"server {{ listen 80; listen 443 ssl; ssl_certificate {d}/{host}.pem; ssl_certificate_key {d}/{host}.key; root {d}/inside; location /health {{ return 200 fine; }} "
                   f"location /staff/ {{ auth_basic staff; auth_basic_user_file {d}/staff; alias {d}/inside/; }} location /up/ {{ client_max_body_size 100m; proxy_pass http://127.0.0.1:1; }} }}")

    def ssh(self, *hosts):
        d = self.dir
        self.sh(f"ssh-keygen -q -t ed25519 -N '' -f {d}/hostkey; ssh-keygen -q -t ed25519 -N '' -f {d}/id; ssh-keygen -q -t ed25519 -N '' -f {d}/old; cp {d}/id.pub {d}/authorized; mkdir -p /run/sshd {d}/home")
        self.file("sshd.conf", f"Port 22\nHostKey {d}/hostkey\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nAuthorizedKeysFile {d}/authorized\nSubsystem sftp internal-sftp\n")
        for host in hosts:
            self.start(host, f"/usr/sbin/sshd -D -e -f {d}/sshd.conf")
        self.login = f"-i {d}/id {KEEP_SSH}"
        self.sh(f"cd {d} && git init -q --bare work.git && git clone -q work.git seed 2>/dev/null && cd seed && for n in $(seq 60); do head -c $((RANDOM % 40000)) /dev/urandom | base64 >part$n.txt; done && "
                "git -c user.name=a -c user.email=a@example.net add . && git -c user.name=a -c user.email=a@example.net commit -qm first && git push -q 2>/dev/null")

    def shares(self, host):
        d = self.dir
        folders = {"private dir": "private", "lock directory": "lock", "state directory": "state", "cache directory": "cache", "pid directory": "pid", "ncalrpc dir": "ncalrpc"}
        self.sh(f"mkdir -p {d}/share {d}/ftp {d}/empty " + " ".join(f"{d}/{f}" for f in folders.values()))
        text = "[global]\nserver role = standalone\nmap to guest = Bad User\nguest account = root\nlog level = 0\nload printers = no\ndisable spoolss = yes\n"
        text += "".join(f"{k} = {d}/{v}\n" for k, v in folders.items()) + f"[files]\npath = {d}/share\nguest ok = yes\nread only = no\nforce user = root\n"
        self.file("smb.conf", text)
        for n in range(60):
            self.file(f"share/{self.random.choice(WORDS)}-{n}.{self.random.choice(['docx', 'xlsx', 'pdf', 'jpg', 'txt'])}", self.random.randbytes(int(self.random.lognormvariate(10.5, 1.2))))
        self.start(host, f"smbd --foreground --debug-stdout --debuglevel=0 --log-basename={d} --configfile={d}/smb.conf")
        self.start(host, f"nmbd --foreground --debug-stdout --debuglevel=0 --log-basename={d} --configfile={d}/smb.conf")
        self.file("vsftpd.conf", f"listen=YES\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\nanon_root={d}/share\nsecure_chroot_dir={d}/empty\nseccomp_sandbox=NO\nrun_as_launching_user=YES\n")
        self.start(host, f"vsftpd {d}/vsftpd.conf")
        self.file("rsyncd.conf", f"use chroot = no\nuid = root\ngid = root\n[share]\npath = {d}/share\n[store]\npath = {d}/home\nread only = no\n")
        self.sh(f"mkdir -p {d}/home")
        self.start(host, f"rsync --daemon --no-detach --config={d}/rsyncd.conf")

    def mail(self, host):
        d = self.dir
        self.sh(f"mkdir -p {d}/spool {d}/dovecot {d}/box/new {d}/box/cur {d}/box/tmp; chown -R nobody {d}/box; chown -R Debian-exim {d}/spool")
        certificate, key = self.certificate("mail", [f"mail.{self.name}.lan", f"{host}.{self.name}.lan"])
        self.file("exim.conf", f"""primary_hostname = mail.{self.name}.lan
spool_directory = {d}/spool
log_file_path = {d}/spool/%slog
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
acl_smtp_rcpt = take
acl_smtp_data = take
begin acl
take:
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = {d}/box
  maildir_format
  user = nobody
  group = nogroup
""")
        self.start(host, f"exim4 -C {d}/exim.conf -bdf -q5m -oX 25:587 -oP {d}/exim.pid")
        self.file("dovecot.conf", f"""protocols = imap
base_dir = {d}/dovecot
log_path = {d}/dovecot.log
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:{d}/box
first_valid_uid = 1
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={d}/box
}}
""")
        self.start(host, f"dovecot -F -c {d}/dovecot.conf")

    def database(self, host):
        d, pg = self.dir, sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.sh(f"mkdir -p {d}/pg && chown postgres {d}/pg && su postgres -c '{pg}/initdb -D {d}/pg -A trust' >/dev/null")
        with open(d / "pg/pg_hba.conf", "a", encoding="ascii") as f:
            f.write("host all all 0.0.0.0/0 trust\n")
        self.start(host, f"su postgres -c '{pg}/postgres -D {d}/pg -h 0.0.0.0 -k {d}/pg'")
        self.start(host, "redis-server --bind 0.0.0.0 --protected-mode no --save '' --appendonly no")
        time.sleep(4)
        self.sh(f"ip netns exec {self.ns(host)} {pg}/pgbench -q -i -s 1 -h {d}/pg -U postgres postgres 2>/dev/null")

    def broker(self, host, tls=False):
        more = f"cafile {self.dir}/ca.pem\ncertfile {self.dir}/world.pem\nkeyfile {self.dir}/world.key\n" if tls else ""
        self.file(f"mosquitto-{host}.conf", f"listener {8883 if tls else 1883}\nallow_anonymous true\n{more}")
        self.start(host, f"mosquitto -c {self.dir}/mosquitto-{host}.conf")

    def controller(self, host):
        self.file("plc.py", """
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer
block = lambda: ModbusSequentialDataBlock(0, list(range(200)))
StartTcpServer(context=ModbusServerContext(slaves=ModbusSlaveContext(di=block(), co=block(), hr=block(), ir=block()), single=True), address=("0.0.0.0", 502))
""")
        self.start(host, f"/usr/bin/python3 {self.dir}/plc.py")

    def agents(self, *hosts):
        self.file("snmpd.conf", f"agentaddress udp:161\nrocommunity watch {self.net}.0/24\n")
        for host in hosts:
            self.start(host, f"snmpd -f -Lo -C -c {self.dir}/snmpd.conf -p {self.dir}/snmpd-{host}.pid")

    def clocks(self, *hosts):
        for host in hosts:
            self.file(f"ntp-{host}.conf", f"server {self.net}.1 iburst minpoll 5\ncmdport 0\nbindcmdaddress /\npidfile {self.dir}/ntp-{host}.pid\n")
            self.start(host, f"chronyd -x -d -u root -f {self.dir}/ntp-{host}.conf")

    def neighbours(self, *hosts):
        for host in hosts:
            self.file(f"avahi-{host}.conf", f"[server]\nhost-name={self.name}-{host}\nenable-dbus=no\nuse-ipv6=no\n[wide-area]\nenable-wide-area=no\n")
            self.start(host, f"mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon -f {self.dir}/avahi-{host}.conf --no-drop-root --no-chroot --no-rlimits")

    # --- habits ---

    def does(self, host, *habits):
        """One person or program on a host. A habit is a function, how often it is chosen, and the mean pause after it."""
        def live():
            r = random.Random(f"{SEED} {self.name} {host} {[h[0].__name__ for h in habits]}")
            time.sleep(r.uniform(0, 12))
            while not self.over.is_set():
                habit, _, pause = r.choices(habits, [h[1] for h in habits])[0]
                try:
                    habit(self, host, r)
                except (OSError, ValueError) as err:
                    if not self.over.is_set():
                        print(f"{self.name} {host} {habit.__name__}: {err}", file=sys.stderr)
                with self.guard:
                    self.counts[habit.__name__] = self.counts.get(habit.__name__, 0) + 1
                self.over.wait(min(pause * 5, r.expovariate(1 / pause)))
        threading.Thread(target=live, daemon=True).start()


def browse(s, h, r):
    i = r.randrange(PUBLIC)
    page, scheme = r.randrange(12), "http" if r.random() < 0.1 else "https"
    urls = (s.dir / f"www/{i}/page{page}.list").read_text().split()
    agent = r.choice(AGENTS)
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem -A '{agent}' --compressed -o /dev/null {scheme}://www.{s.names[i]}/page{page}.html")
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem -A '{agent}' --compressed -Z --parallel-max 6 " + " ".join(f"-o /dev/null {scheme}:{u}" for u in urls))


def browser(s, h, r):
    i, scheme = r.randrange(PUBLIC), r.choice(["https", "https", "http"])
    s.run(h, f"chromium --headless --no-sandbox --disable-gpu --ignore-certificate-errors --user-data-dir={s.dir}/profile-{h} --virtual-time-budget=4000 --dump-dom {scheme}://www.{s.names[i]}/page{r.randrange(12)}.html >/dev/null 2>&1", 25)


def stream(s, h, r):
    n = r.randint(8, 25)
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem --rate {r.choice([12, 15, 20])}/m -A '{r.choice(AGENTS)}' " + " ".join(f"-o /dev/null https://{s.there('video')}/segment{r.randrange(8)}.m4s" for _ in range(n)), 200)


def download(s, h, r):
    n = r.randint(3, 14)
    s.run(h, "curl -s -A 'Debian APT-HTTP/1.3 (2.6.1)' " + " ".join(f"-o /dev/null http://{s.there('deb.mirror')}/pool/package{k}_1.{k}_amd64.deb" for k in r.sample(range(24), n)))


def update_check(s, h, r):
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem -A 'updater/3.{r.randrange(9)}' -o /dev/null https://{s.there('update')}/api/v1/check?channel=stable")


def telemetry(s, h, r):
    body = s.text(r.randint(20, 160))
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem -A 'metrics-client/2.1' -o /dev/null -d '{body}' https://{s.there('telemetry')}/up/events")


def photos(s, h, r):
    for _ in range(r.randint(1, 5)):
        blob = s.file(f"photo-{h}", r.randbytes(r.randint(200_000, 2_500_000)))
        s.run(h, f"curl -s --cacert {s.dir}/ca.pem -T {blob} https://{s.there('photos')}/up/IMG_{r.randrange(10000):04}.jpg")


def offsite(s, h, r):
    """What changed since yesterday goes to a provider's storage, in parts."""
    for part in range(r.randint(3, 6)):
        blob = s.file(f"backup-{h}", r.randbytes(r.randint(4_000_000, 8_000_000)))
        s.run(h, f"curl -s --cacert {s.dir}/ca.pem -A restic/0.15 -T {blob} https://{s.there('backup')}/up/data/{r.getrandbits(128):032x}")


def call(s, h, r):
    s.run(h, f"iperf3 -c {s.there('meet')} -p {r.randint(5201, 5204)} -u --bidir -b {r.choice([300, 600, 900])}K -l {r.choice([180, 700, 1100])} -t {r.randint(20, 60)}", 90)


def lookups(s, h, r):
    known = r.choices(list(s.address), k=r.randint(1, 6))
    odd = [f"_ldap._tcp.dc._msdcs.{s.name}.lan", f"wpad.{s.name}.lan", f"{r.choice(WORDS)}.{s.name}.lan", f"{s.net.split('.')[0]}.in-addr.arpa", f"www.{r.choice(WORDS)}{r.choice(WORDS)}.com", "isatap", f"_kerberos._udp.{s.name}.lan"]
    for name in [*known, *r.sample(odd, r.choice([0, 0, 1, 2]))]:
        s.run(h, f"dig +tries=1 +time=2 {name} {r.choice(['A', 'A', 'AAAA', 'HTTPS', 'SRV'])}", 5)
    s.run(h, f"dig +tries=1 +time=2 -x {r.choice([s.ip(r.choice(list(s.hosts))), r.choice(OUTSIDE)])}", 5)


def private_lookups(s, h, r):
    name = r.choice(s.names)
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem --doh-url https://{s.there('dns')}/dns-query -o /dev/null https://api.{name}/api/{r.choice(WORDS)} -o /dev/null https://www.{name}/page{r.randrange(12)}.html")


def push(s, h, r):
    s.run(h, f"mosquitto_sub -h {s.there('push')} -p 8883 --cafile {s.dir}/ca.pem -k 30 -W {r.randint(120, 400)} -t phone/{h}", 420)


def pushed(s, h, r):
    s.run("outside", f"mosquitto_pub -h 127.0.0.1 -p 8883 --cafile {s.dir}/ca.pem --insecure -t phone/{r.choice(list(s.hosts))} -m '{s.text(12)}'", 10)


def mail_read(s, h, r):
    s.run(h, f"curl -s --cacert {s.dir}/ca.pem -u {h}:secret 'imaps://{s.name}-mail/INBOX' --resolve {s.name}-mail:993:{s.ip(r.choice([x for x in s.hosts if x.startswith('mail')]))} -k -X 'STATUS INBOX (MESSAGES UNSEEN)'", 20)
    s.run(h, f"curl -s -k -u {h}:secret 'imaps://{s.ip('mail')}/INBOX;MAILINDEX={r.randint(1, 40)}' -o /dev/null", 20)


def mail_send(s, h, r):
    letter = s.file(f"letter-{h}", f"From: {h}@{s.name}.lan\r\nTo: someone@{s.name}.lan\r\nSubject: {s.text(4)}\r\n\r\n{s.text(r.randint(20, 400))}\r\n" + ("\r\n".join(f"{r.getrandbits(440):0110x}" for _ in range(r.choice([0, 0, 0, 2000, 9000])))))
    s.run(h, f"curl -s {'--ssl-reqd -k' if r.random() < 0.7 else ''} --url smtp://{s.ip('mail')}:587 --mail-from {h}@{s.name}.lan --mail-rcpt someone@{s.name}.lan --upload-file {letter}", 30)


def documents(s, h, r):
    names = sorted(p.name for p in (s.dir / "share").iterdir())
    mine = s.file(f"mine-{h}", r.randbytes(int(r.lognormvariate(10.5, 1))))
    acts = [r.choice([f"get {r.choice(names)} {s.dir}/got-{h}", "ls", f"put {mine} {r.choice(WORDS)}-{h}.docx", f"get {r.choice(names)} {s.dir}/got-{h}", "dir", f"allinfo {r.choice(names)}"]) for _ in range(r.randint(2, 9))]
    s.run(h, f"smbclient -s {s.dir}/smb.conf -N //{s.ip('files')}/files -c '{'; '.join(acts)}'", 30)


def transfers(s, h, r):
    name = r.choice(sorted(p.name for p in (s.dir / "share").iterdir()))
    s.run(h, r.choice([f"curl -s -o /dev/null ftp://{s.ip('files')}/{name}", f"lftp -c 'open ftp://{s.ip('files')}; ls; get {name} -o /dev/null'", f"rsync rsync://{s.ip('files')}/share/{name} {s.dir}/synced-{h}"]), 30)


def intranet(s, h, r):
    secret = "correct%20horse" if r.random() < 0.93 else "corect%20horse"
    pages = " ".join(f"-o /dev/null {r.choice(['http', 'https'])}://{s.ip(r.choice(s.web))}/{r.choice(['', 'staff/'])}page{r.randrange(13)}.html" for _ in range(r.randint(1, 7)))
    s.run(h, f"curl -s -k -u staff:{secret.replace('%20', ' ')!r} -A '{r.choice(AGENTS)}' {pages}", 30)


def shell(s, h, r):
    to, key = s.ip(r.choice(s.shells)), f"-i {s.dir}/old {KEEP_SSH}" if r.random() < 0.04 else s.login
    s.run(h, f"ssh {key} -o BatchMode=yes root@{to} 'for n in 1 2 3 4 5 6; do uptime; ls -l /etc | head -{r.randint(5, 60)}; sleep {r.uniform(0.2, 3):.1f}; done'", 40)


def copies(s, h, r):
    blob = s.file(f"copy-{h}", r.randbytes(int(min(2e7, r.lognormvariate(13.5, 1.3)))))
    to = f"root@{s.ip(r.choice(s.shells))}:{s.dir}/home/{h}"
    s.run(h, r.choice([f"scp {s.login} {blob} {to}", f"rsync -e 'ssh {s.login}' {blob} {to}", f"scp {s.login} {to} {s.dir}/back-{h}"]), 60)


def repository(s, h, r):
    d, me = f"{s.dir}/clone-{h}", "-c user.name=a -c user.email=a@example.net"
    s.run(h, f"export GIT_SSH_COMMAND='ssh {s.login}'; [ {r.random():.2f} \\> 0.7 ] && rm -rf {d}; [ -d {d} ] || git clone -q root@{s.ip('files')}:{s.dir}/work.git {d}; cd {d} && git pull -q --rebase; "
             f"head -c {r.randint(100, 60000)} /dev/urandom | base64 >part{r.randint(1, 80)}.txt; git add . ; git {me} commit -qm change; git push -q", 40)


def queries(s, h, r):
    s.run(h, f"pgbench -n -c {r.randint(1, 3)} -T {r.randint(2, 8)} -R {r.randint(5, 60)} -h {s.ip('data')} -U postgres postgres", 30)


def report(s, h, r):
    s.run(h, f"psql -q -h {s.ip('data')} -U postgres postgres -c 'select * from pgbench_accounts where aid > {r.randrange(90000)} order by aid limit {r.choice([50, 500, 20000])}'", 30)


def cache(s, h, r):
    s.run(h, f"redis-benchmark -q -h {s.ip('data')} -n {r.randint(50, 900)} -c {r.randint(1, 5)} -d {r.randint(10, 900)} -t set,get,lpush", 30)


def sensors(s, h, r):
    for _ in range(12):
        s.run(h, f"mosquitto_pub -h {s.ip('data')} -t plant/{h}/{r.choice(WORDS)} -m '{{\"value\": {r.gauss(20, 3):.3f}}}'", 10)
        s.over.wait(5)


def listens(s, h, r):
    s.run(h, f"mosquitto_sub -h {s.ip('data')} -t 'plant/#' -k 30 -W {r.randint(60, 300)}", 320)


def poll(s, h, r):
    """A master asks its controllers every second, and now and then an operator sets something, as every day."""
    plcs = [s.ip(x) for x in s.hosts if x.startswith("plc")]
    s.run(h, f"/usr/bin/python3 {s.file('master.py', MASTER)} {r.randint(120, 300)} {' '.join(plcs)}", 400)


MASTER = """
import sys, time
from pymodbus.client import ModbusTcpClient
cs = [ModbusTcpClient(a, port=502) for a in sys.argv[2:]]
for c in cs: c.connect()
for n in range(int(sys.argv[1])):
    for c in cs:
        c.read_holding_registers(10, 8 + n % 5, slave=1); c.read_coils(0, 16, slave=1)
    if n % 60 == 30: cs[0].write_register(12, n, slave=1)
    time.sleep(1)
"""


def checks(s, h, r):
    """A monitoring system's round: every server, every service that it should have."""
    for host, ports in s.services.items():
        a = s.ip(host)
        s.run(h, f"ping -q -c 2 -i 0.3 {a}; for p in {ports}; do nc -z -w 2 {a} $p; done; snmpget -m '' -t 1 -r 1 -v2c -c watch {a} 1.3.6.1.2.1.1.3.0 1.3.6.1.2.1.1.5.0", 30)
    for host in s.web:
        s.run(h, f"curl -s -k -o /dev/null https://{s.ip(host)}/health -o /dev/null http://{s.ip(host)}/health", 10)


def walks(s, h, r):
    s.run(h, f"snmpbulkwalk -m '' -t 1 -r 1 -v2c -c watch {s.ip(r.choice(list(s.services)))} 1.3.6.1.2.1.{r.choice([1, 2, 4, 25])}", 30)


def playbook(s, h, r):
    """Configuration management: the same on every machine, one after the other."""
    for host in s.shells:
        s.run(h, f"ssh {s.login} root@{s.ip(host)} 'hostname; cat /etc/os-release; dpkg -l | head -{r.randint(20, 400)}'; scp {s.login} /etc/services root@{s.ip(host)}:{s.dir}/home/services-{host}", 30)


def backup(s, h, r):
    blob = s.file(f"night-{h}", r.randbytes(r.randint(5_000_000, 25_000_000)))
    s.run(h, f"rsync {blob} rsync://{s.ip('files')}/store/night-{h}", 60)


def logs(s, h, r):
    for _ in range(r.randint(1, 12)):
        s.run(h, f"logger -n {s.ip('monitor')} -P 514 -d -t {r.choice(['cron', 'sshd', 'kernel', 'app'])} '{s.text(r.randint(4, 30))}'", 5)


def prints(s, h, r):
    page = s.file(f"page-{h}", b"%!PS\n" + s.text(r.randint(200, 9000)).encode())
    s.run(h, f"snmpget -m '' -t 1 -r 1 -v2c -c watch {s.ip('printer')} 1.3.6.1.2.1.1.5.0; nc -N -w 3 {s.ip('printer')} 9100 <{page}", 15)


def lease(s, h, r):
    s.run(h, "udhcpc -f -q -n -t 3 -T 1 -s /bin/true -i eth0", 12)


def neighbourhood(s, h, r):
    s.run(h, f"nmblookup -s {s.dir}/smb.conf {r.choice(WORDS)}; " + f"/usr/bin/python3 {s.file('ssdp.py', SSDP)}", 15)


SSDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for what in ("ssdp:all", "upnp:rootdevice", "urn:dial-multiscreen-org:service:dial:1"):
    s.sendto(f"M-SEARCH * HTTP/1.1\\r\\nHOST: 239.255.255.250:1900\\r\\nMAN: \\"ssdp:discover\\"\\r\\nMX: 2\\r\\nST: {what}\\r\\n\\r\\n".encode(), ("239.255.255.250", 1900))
"""


def tunnelled(s, h, r):
    """Work from home: what is behind the tunnel."""
    for _ in range(r.randint(2, 8)):
        s.run(h, f"curl -s -o /dev/null http://10.88.0.1/page{r.randrange(12)}.html -o /dev/null http://10.88.0.1/r{r.randrange(9)}.jpg", 20)
        s.over.wait(r.expovariate(1 / 4))


def visit(s, h, r):
    """A visitor of our own shop, from anywhere."""
    pages = " ".join(f"-o /dev/null https://{s.ip(r.choice(s.web))}/page{r.randrange(13)}.html" for _ in range(r.randint(2, 20)))
    s.run("outside", f"curl -s -k --interface {r.choice(VISITORS)} -A '{r.choice(AGENTS)}' {'--rate 1/s' if r.random() < 0.3 else '-Z --parallel-max 4'} {pages}", 40)


def crawler(s, h, r):
    s.run("outside", f"curl -s --interface {VISITORS[0]} -A 'Mozilla/5.0 (compatible; searchbot/2.1)' --rate 2/s " + " ".join(f"-o /dev/null http://{s.ip(r.choice(s.web))}/{p}" for p in ["robots.txt", *(f"page{n}.html" for n in r.sample(range(20), 15))]), 40)


def throughput(s, h, r):
    s.run(h, f"iperf3 -c {s.there('meet')} -p {r.randint(5201, 5204)} -t 6 -b {r.choice([20, 40])}M {r.choice(['', '-R'])}", 20)


# --- sites ---

PEOPLE = ["ada", "ben", "cleo", "dora", "emil", "fred"]


def office(s):
    s.resolver(); s.world(); s.shares("files"); s.mail("mail"); s.ssh("files", "mail"); s.intranet("files")
    s.web, s.shells, s.services = ["files"], ["files", "mail"], {"files": "22 80 443 445 21", "mail": "25 587 993 22", "printer": "9100", "gateway": "53"}
    s.agents("files", "mail", "printer", "gateway"); s.clocks(*PEOPLE, "files"); s.neighbours("ada", "ben", "printer")
    s.start("printer", "nc -lk 9100 >/dev/null")
    for p in PEOPLE:
        s.does(p, (browse, 10, 5), (lookups, 3, 3), (documents, 3, 8), (intranet, 2, 6), (prints, 0.4, 10), (mail_send, 1, 8), (download, 0.2, 15), (neighbourhood, 0.3, 5))
        s.does(p, (mail_read, 1, 25))
        s.does(p, (update_check, 1, 90), (telemetry, 2, 40), (lease, 0.6, 60))
        s.does(p, (stream, 1, 90), (call, 1, 90))
    s.does("ada", (browser, 1, 25))
    s.does("monitor", (checks, 1, 20)); s.does("monitor", (walks, 1, 15)); s.does("files", (backup, 1, 200), (logs, 4, 20))


def workshop(s):
    s.resolver(); s.world(); s.shares("files"); s.ssh("files", "data", "build", "monitor"); s.database("data"); s.intranet("build")
    s.web, s.shells, s.services = ["build"], ["files", "data", "build", "monitor"], {"files": "22 445 873", "data": "22 5432 6379", "build": "22 80 443"}
    s.agents("files", "data", "build"); s.clocks(*PEOPLE, "build", "data")
    for p in PEOPLE:
        s.does(p, (repository, 4, 10), (shell, 4, 8), (copies, 2, 10), (browse, 6, 6), (lookups, 2, 4), (queries, 2, 8), (report, 1, 10), (intranet, 1, 6), (download, 1, 15), (transfers, 1, 10))
        s.does(p, (stream, 1, 100), (telemetry, 2, 45), (update_check, 1, 80))
    s.does("build", (repository, 2, 12), (download, 3, 20), (copies, 1, 20), (queries, 1, 15))
    s.does("monitor", (checks, 1, 20)); s.does("monitor", (playbook, 1, 90)); s.does("data", (backup, 1, 180), (logs, 4, 15)); s.does("build", (offsite, 1, 500))


def plant(s):
    s.resolver(); s.world(); s.ssh("data", "monitor"); s.database("data"); s.broker("data"); s.intranet("panel"); s.controller("plc1"); s.controller("plc2"); s.shares("files")
    s.web, s.shells, s.services = ["panel"], ["data", "monitor"], {"data": "22 1883 5432", "panel": "80 443", "plc1": "502", "plc2": "502", "files": "445"}
    s.agents("data", "panel", "plc1", "plc2", "files"); s.clocks("data", "panel", "plc1", "plc2", *PEOPLE[:3])
    time.sleep(2)
    s.does("master", (poll, 1, 2)); s.does("master", (queries, 1, 6))
    for n in ("plc1", "plc2", "panel"):
        s.does(n, (sensors, 1, 1)); s.does(n, (logs, 1, 20))
    s.does("data", (listens, 1, 3)); s.does("data", (backup, 1, 150)); s.does("panel", (listens, 1, 2), (report, 1, 10))
    s.does("monitor", (checks, 1, 15)); s.does("monitor", (walks, 1, 8))
    for p in PEOPLE[:3]:
        s.does(p, (intranet, 4, 4), (report, 3, 8), (browse, 6, 5), (documents, 2, 8), (lookups, 2, 4), (shell, 1, 15), (transfers, 1, 10))
        s.does(p, (telemetry, 1, 45), (stream, 1, 60))


def hosting(s):
    s.resolver(); s.world(); s.ssh("files", "data", "web1", "web2"); s.database("data"); s.shares("files"); s.intranet("web1"); s.intranet("web2"); s.mail("mail")
    s.web, s.shells, s.services = ["web1", "web2"], ["files", "data", "web1", "web2"], {"web1": "22 80 443", "web2": "22 80 443", "data": "5432 6379", "mail": "25 587 993", "files": "873"}
    s.agents("web1", "web2", "data", "files", "mail"); s.clocks("web1", "web2", "data")
    for n in range(10):
        s.does(f"visitor{n}", (visit, 10, 4), (crawler, 0.3, 30))
    for w in ("web1", "web2"):
        s.does(w, (queries, 5, 3), (cache, 5, 3), (report, 1, 8)); s.does(w, (download, 1, 60), (lookups, 3, 10), (logs, 6, 8), (mail_send, 1, 15))
        s.does(w, (backup, 1, 100))
    s.does("files", (offsite, 1, 300)); s.does("monitor", (checks, 1, 15)); s.does("monitor", (walks, 1, 12)); s.does("monitor", (playbook, 1, 120))
    s.does("admin", (shell, 4, 10), (copies, 2, 15), (browse, 4, 8), (report, 1, 15))


def home(s):
    s.resolver(); s.world()
    certificate, key = s.certificate("tunnel", ["laptop"])
    far, near = s.certificate("far", ["vpn"]), (certificate, key)
    base = "openvpn --dev tun0 --proto udp --port 1194 --ca {d}/ca.pem --cert {c} --key {k} --verb 1 --keepalive 10 60 "
    s.start("outside", base.format(d=s.dir, c=far[0], k=far[1]) + "--tls-server --dh none --ifconfig 10.88.0.1 10.88.0.2")
    s.start("laptop", base.format(d=s.dir, c=near[0], k=near[1]) + f"--tls-client --remote {s.address[s.there('vpn')]} --ifconfig 10.88.0.2 10.88.0.1")
    s.clocks("laptop", "tv", "nas"); s.neighbours("laptop", "tv", "nas"); s.shares("nas")
    s.hosts["files"] = s.hosts["nas"]
    for p in ("laptop", "tablet", "phone1", "phone2"):
        s.does(p, (browse, 10, 6), (private_lookups, 2, 6), (lookups, 2, 4), (photos, 0.5, 20), (neighbourhood, 0.6, 8))
        s.does(p, (telemetry, 3, 30), (update_check, 1, 60), (lease, 1, 60))
    for p in ("phone1", "phone2", "tablet", "tv"):
        s.does(p, (push, 1, 2))
    s.does("outside", (pushed, 1, 10))
    s.does("tv", (stream, 1, 10)); s.does("tablet", (stream, 1, 30)); s.does("phone1", (stream, 1, 60), (call, 2, 60)); s.does("laptop", (call, 1, 120), (throughput, 0.3, 60))
    s.does("laptop", (tunnelled, 1, 5)); s.does("laptop", (documents, 1, 15)); s.does("nas", (offsite, 1, 600), (download, 1, 100)); s.does("tablet", (browser, 1, 25))


def numbered(*names):
    return {name: 10 + n for n, name in enumerate(names)}


SITES = {
    "office": (office, "192.168.10", numbered(*PEOPLE, "files", "mail", "printer", "monitor")),
    "workshop": (workshop, "10.20.30", numbered(*PEOPLE, "files", "data", "build", "monitor")),
    "plant": (plant, "172.16.5", numbered(*PEOPLE[:3], "files", "data", "panel", "plc1", "plc2", "master", "monitor")),
    "hosting": (hosting, "185.12.64", numbered("web1", "web2", "data", "files", "mail", "monitor", "admin")),
    "home": (home, "192.168.178", numbered("laptop", "tablet", "phone1", "phone2", "tv", "nas")),
}


def record(folder, name, minutes):
    play, net, hosts = SITES[name]
    out = folder / f"{name}.pcap"
    with Site(name, net, hosts) as site:
        tap = site.start("hub", f"exec tcpdump -Z root -q -n -i br0 -s 0 -B 65536 -w {out}")
        time.sleep(1)
        began = time.time()
        play(site)
        time.sleep(max(1, began + minutes * 60 - time.time()))
        site.over.set()
        time.sleep(8)  # what has begun may end
        seconds = time.time() - began
        os.kill(int(subprocess.check_output(["pgrep", "-f", f"tcpdump .*-w {out}"], text=True).split()[-1]), signal.SIGINT)
        tap.wait(20)
        log = (site.dir / "out.log").read_text(errors="replace")
        counts = dict(site.counts)
    dropped = [line for line in log.splitlines() if "packets" in line and ("captured" in line or "dropped by kernel" in line)][-2:]
    (folder / f"{name}.log").write_text(log[-200_000:])
    print(f"{name}: {seconds:.0f} s, {out.stat().st_size >> 20} MiB, {'; '.join(dropped)}", flush=True)
    print(f"{name}: " + ", ".join(f"{k} {n}" for k, n in sorted(counts.items())), flush=True)
    digest = hashlib.file_digest(open(out, "rb"), "sha256").hexdigest()
    return [out.name, "ordinary", "", f"{seconds:.1f}", "https://github.com/picketwatch/picket", digest, name]


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 25
    folder.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(len(SITES)) as pool:
        rows = list(pool.map(lambda name: record(folder, name, minutes), sys.argv[3:] or SITES))
    head = ["file", "dataset", "technique", "seconds", "source", "sha256", "family"]
    (folder / "labels.tsv").write_text("\n".join("\t".join(r) for r in [head, *rows]) + "\n")


if __name__ == "__main__":
    main()
