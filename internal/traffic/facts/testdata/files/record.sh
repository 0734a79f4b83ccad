#!/bin/sh
# Records the captures in this folder with real clients and servers, in a network namespace of its own. It needs root, curl,
# python3, vsftpd, smbd, smbclient and tcpdump. The file that stands for malware is the harmless one of EICAR.
set -eu
out=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
chmod 755 "$work"
ns=carved$$
trap 'for f in "$work"/*.pid; do [ -e "$f" ] && kill "$(cat "$f")" 2>/dev/null; done; ip netns pids $ns 2>/dev/null | xargs -r kill 2>/dev/null; ip netns del $ns 2>/dev/null; ip netns del ${ns}b 2>/dev/null; rm -rf "$work"' EXIT
ip netns add $ns
ip netns add ${ns}b
ip link add a0 netns $ns type veth peer name b0 netns ${ns}b
ip -n $ns addr add 10.99.0.1/24 dev a0; ip -n $ns link set a0 up; ip -n $ns link set lo up
ip -n ${ns}b addr add 10.99.0.2/24 dev b0; ip -n ${ns}b link set b0 up; ip -n ${ns}b link set lo up
for d in "$ns a0" "${ns}b b0"; do set -- $d; ip netns exec $1 ethtool -K $2 tso off gso off gro off >/dev/null 2>&1 || true; done
client="ip netns exec $ns"
server="ip netns exec ${ns}b"

files=$work/files; mkdir -p "$files" "$work/get" "$work/up"; chmod 755 "$work" "$files"; chmod 777 "$work/up"
printf 'X5O!P%%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' > "$files/eicar.com"
printf 'nothing of note\n' > "$files/note.txt"
python3 - "$files" <<'P'
import random, sys, gzip, zipfile
random.seed(7); d = sys.argv[1]
eicar = open(d + "/eicar.com", "rb").read()
words = [b"alpha", b"bravo", b"charlie", b"delta"]
text = b" ".join(random.choice(words) for _ in range(3000))
open(d + "/words.txt", "wb").write(text)
open(d + "/late.bin", "wb").write(text + eicar)
open(d + "/big.bin", "wb").write(random.randbytes(40000) + b"MARK-IN-THE-MIDDLE" + random.randbytes(20000))
with zipfile.ZipFile(d + "/stored.zip", "w", zipfile.ZIP_STORED) as z: z.writestr(zipfile.ZipInfo("eicar.com"), eicar)
open(d + "/program.exe", "wb").write(b"MZ" + bytes(58) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0" + bytes(400) + b"harmless own sample")
P
cat > "$work/web.py" <<'P'
import gzip, http.server, os, sys
os.chdir(sys.argv[1])
class H(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def do_PUT(self):
        n = int(self.headers["Content-Length"]); self.rfile.read(n)
        self.send_response(201); self.send_header("Content-Length", "0"); self.end_headers()
    do_POST = do_PUT
    def do_GET(self):
        if self.path.startswith("/plain/"):
            self.path = self.path[6:]; return super().do_GET()
        data = open("." + self.path.split("?")[0].replace("/gzip", "").replace("/chunks", ""), "rb").read()
        self.send_response(200)
        if self.path.startswith("/gzip"):
            data = gzip.compress(data, mtime=0); self.send_header("Content-Encoding", "gzip")
        if self.path.startswith("/chunks"):
            self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            for i in range(0, len(data), 31): self.wfile.write(b"%x\r\n%s\r\n" % (len(data[i:i+31]), data[i:i+31]))
            self.wfile.write(b"0\r\n\r\n"); return
        self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
http.server.ThreadingHTTPServer(("10.99.0.2", 80), H).serve_forever()
P
$server python3 "$work/web.py" "$files" & echo $! > "$work/http.pid"

mkdir -p "$work/empty"
cat > "$work/vsftpd.conf" <<C
listen=YES
listen_address=10.99.0.2
background=NO
anonymous_enable=YES
anon_root=$work
no_anon_password=YES
write_enable=YES
anon_upload_enable=YES
anon_umask=022
connect_from_port_20=YES
secure_chroot_dir=$work/empty
seccomp_sandbox=NO
ftp_username=daemon
C
$server vsftpd "$work/vsftpd.conf" & echo $! > "$work/ftp.pid"

mkdir -p "$work/smb"
cat > "$work/smb.conf" <<C
[global]
server min protocol = NT1
map to guest = Bad User
guest account = nobody
interfaces = 10.99.0.2
bind interfaces only = yes
smb ports = 445
private dir = $work/smb
lock directory = $work/smb
state directory = $work/smb
cache directory = $work/smb
pid directory = $work/smb
ncalrpc dir = $work/smb/rpc
log file = $work/smb/log
load printers = no
disable spoolss = yes
[share]
path = $files
guest ok = yes
read only = yes
[up]
path = $work/up
guest ok = yes
read only = no
C
$server smbd --foreground --no-process-group -s "$work/smb.conf" & echo $! > "$work/smbd.pid"
sleep 3

# record NAME COMMAND...
record() {
	name=$1; shift
	$client tcpdump -q --immediate-mode -i a0 -s 0 -U -w "$out/$name.pcap" tcp 2>"$work/said" & t=$!
	until grep -q listening "$work/said"; do sleep 0.1; done
	sleep 0.2
	(cd "$work/get" && $client "$@" >/dev/null 2>"$work/err") || { echo "$name: $(cat "$work/err")" >&2; }
	sleep 1
	kill -INT $t; wait $t || true
}
h=http://10.99.0.2
f=ftp://10.99.0.2
record http-get curl -sS -o x $h/eicar.com
record http-late curl -sS -o x $h/late.bin
record http-gzip curl -sS -o x $h/gzip/late.bin
record http-chunks curl -sS -o x $h/chunks/late.bin
record http-query curl -sS -o x "$h/eicar.com?id=7"
record http-put curl -sS -T "$files/eicar.com" $h/up/eicar.com
record http-form curl -sS -F "file=@$files/eicar.com" $h/up
record http-kept curl -sS -o x $h/note.txt -o y $h/eicar.com -o z $h/words.txt
record http-big curl -sS -o x $h/big.bin
record http-zip curl -sS -o x $h/stored.zip
record http-range curl -sS -r 0-40 -o x $h/plain/eicar.com
record http-benign curl -sS -o x $h/words.txt
record ftp-passive curl -sS -o x $f/files/eicar.com
record ftp-passive-old curl -sS --disable-epsv -o x $f/files/late.bin
record ftp-active curl -sS -P 10.99.0.1 --disable-eprt -o x $f/files/eicar.com
record ftp-active-new curl -sS -P 10.99.0.1 -o x $f/files/program.exe
record ftp-upload curl -sS -T "$files/eicar.com" $f/up/sample.com
record ftp-list curl -sS -o x $f/files/
record ftp-big curl -sS -o x $f/files/big.bin
record ftp-several curl -sS -o x $f/files/note.txt -o y $f/files/eicar.com -o z $f/files/words.txt
record smb-get smbclient -N -m SMB3 //10.99.0.2/share -c "get eicar.com x"
record smb-get2 smbclient -N -m SMB2 //10.99.0.2/share -c "get late.bin x"
record smb-put smbclient -N -m SMB3 //10.99.0.2/up -c "put $files/eicar.com other.com"
record smb-big smbclient -N -m SMB3 //10.99.0.2/share -c "get big.bin x"
record smb-put-big smbclient -N -m SMB3 //10.99.0.2/up -c "put $files/big.bin big.bin"
record smb-several smbclient -N -m SMB3 //10.99.0.2/share -c "get note.txt x; get eicar.com y; get program.exe z"
record smb-list smbclient -N -m SMB3 //10.99.0.2/share -c "ls"
record smb-benign smbclient -N -m SMB3 //10.99.0.2/share -c "get words.txt x"
