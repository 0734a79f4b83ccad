#!/usr/bin/env bash
# Records first-light.pcap, the capture that `picketd --dev` analyses at its first start: an ordinary small office
# (web, DNS, SSH) in network namespaces, and in it two attacks by real tools:
#   1. nmap scans 200 TCP ports of the web server from 10.77.0.66;
#   2. a jittered client on 10.77.0.22 calls its controller 203.0.113.50:443 every 5 s ± 20 %.
# Nothing leaves the namespaces. Needs root, iproute2, tcpdump, nmap, nginx, dnsmasq, openssh-server, curl, dig.
#
#   sudo ./record.sh [OUT.pcap]        takes about 2.5 minutes
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-first-light.pcap}")
seconds=${SECONDS_TO_RECORD:-160}

for tool in ip tcpdump nmap nginx dnsmasq sshd ssh-keygen curl dig openssl; do
  PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || { echo "record.sh: $tool is missing; install it and run again" >&2; exit 1; }
done
PATH=$PATH:/usr/sbin
[ "$(id -u)" = 0 ] || { echo "record.sh: needs root to make network namespaces" >&2; exit 1; }

work=$(mktemp -d)
ns() { echo "fl-$1"; }
hosts="sw web dns ws1 ws2 ws3 intruder c2"
stop() {
  set +e
  for h in $hosts; do
    ip netns pids "$(ns "$h")" 2>/dev/null | xargs -r kill 2>/dev/null
    ip netns del "$(ns "$h")" 2>/dev/null
  done
  rm -rf "$work"
}
trap stop EXIT

# One switch, seven hosts. The controller has an outside address and is reached on the same wire.
ip netns add "$(ns sw)"
ip -n "$(ns sw)" link add br0 type bridge
ip -n "$(ns sw)" link set br0 up
host() { # host NAME ADDRESS
  ip netns add "$(ns "$1")"
  ip link add eth0 netns "$(ns "$1")" type veth peer name "p-$1" netns "$(ns sw)"
  ip -n "$(ns sw)" link set "p-$1" master br0 up
  ip -n "$(ns "$1")" addr add "$2/24" dev eth0
  ip -n "$(ns "$1")" link set lo up
  ip -n "$(ns "$1")" link set eth0 up gso_max_segs 1 # packets as they are on a wire
  ip -n "$(ns "$1")" route add default dev eth0
}
host web 10.77.0.10
host dns 10.77.0.53
host ws1 10.77.0.21
host ws2 10.77.0.22
host ws3 10.77.0.23
host intruder 10.77.0.66
host c2 203.0.113.50
in_ns() { local h=$1; shift; ip netns exec "$(ns "$h")" "$@"; }

# Servers.
mkdir -p "$work/www" "$work/c2"
for size in 2 5 10 20 40; do head -c "${size}000" /dev/urandom | base64 >"$work/www/page$size.html"; done
echo ok >"$work/c2/poll"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=updates.example -keyout "$work/key.pem" -out "$work/crt.pem" 2>/dev/null
nginx_conf() { # nginx_conf NAME ROOT LISTEN...
  local name=$1 root=$2; shift 2
  { echo "daemon off; pid $work/$name.pid; error_log $work/$name.log; events {} http { access_log off; server {"
    for l in "$@"; do echo "listen $l;"; done
    echo "ssl_certificate $work/crt.pem; ssl_certificate_key $work/key.pem; root $root; } }"; } >"$work/$name.conf"
}
nginx_conf web "$work/www" 80 "443 ssl"
nginx_conf c2 "$work/c2" "443 ssl"
chmod -R a+rX "$work"
in_ns web nginx -c "$work/web.conf" 2>/dev/null &
in_ns c2 nginx -c "$work/c2.conf" 2>/dev/null &
in_ns dns dnsmasq -k -C /dev/null --no-resolv --no-hosts --address=/example/10.77.0.10 --pid-file="$work/dns.pid" --user=root &
ssh-keygen -q -t ed25519 -N '' -f "$work/hostkey"
ssh-keygen -q -t ed25519 -N '' -f "$work/userkey"
mkdir -p /run/sshd
in_ns web "$(command -v sshd)" -D -f /dev/null -h "$work/hostkey" -o "AuthorizedKeysFile=$work/userkey.pub" \
  -o StrictModes=no -o PidFile="$work/sshd.pid" -o UsePAM=no -o PermitRootLogin=yes 2>/dev/null &
sleep 1

ip netns exec "$(ns sw)" tcpdump -Z root -i br0 -s 112 -U -w "$work/out.pcap" 2>"$work/tcpdump.log" &
dump=$!
sleep 1
end=$((SECONDS + seconds))

# People: think time is uneven, pages differ, names are looked up first.
person() { # person HOST SEED
  RANDOM=$2
  local page sizes=(2 5 10 20 40)
  while [ $SECONDS -lt $end ]; do
    page=page${sizes[RANDOM % 5]}.html
    in_ns "$1" dig +short +tries=1 +time=1 @10.77.0.53 "host$((RANDOM % 40)).example" >/dev/null || true
    if [ $((RANDOM % 3)) = 0 ]; then
      in_ns "$1" curl -sk -m 5 -o /dev/null -o /dev/null "https://10.77.0.10/$page" "https://10.77.0.10/page5.html" || true
    else
      in_ns "$1" curl -s -m 5 -o /dev/null -o /dev/null "http://10.77.0.10/$page" "http://10.77.0.10/page2.html" || true
    fi
    sleep "$((RANDOM % 6)).$((RANDOM % 10))"
  done
}
person ws1 11 & person ws2 22 & person ws3 33 &

# An administrator works on the server now and then.
( RANDOM=7
  while [ $SECONDS -lt $end ]; do
    in_ns ws1 ssh -q -i "$work/userkey" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
      root@10.77.0.10 'for i in 1 2 3 4 5; do uptime; sleep 0.4; done; ls -l /usr/bin | head -200' >/dev/null 2>&1 || true
    sleep "$((12 + RANDOM % 25))"
  done ) &

# Attack 1: the scan, half a minute in.
( sleep 30; in_ns intruder nmap -sS -n -Pn --top-ports 200 10.77.0.10 >"$work/nmap.txt" ) &

# Attack 2: the implant calls home.
( RANDOM=5
  while [ $SECONDS -lt $end ]; do
    in_ns ws2 curl -sk -m 3 -o /dev/null https://203.0.113.50/poll || true
    ms=$((4000 + RANDOM % 2000))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
  done ) &

for left in $(seq "$seconds" -10 1); do printf '\rrecording, %3d s left ' "$left" >&2; sleep 10; done
printf '\r%-30s\n' "recorded" >&2
sleep 2
kill -TERM "$dump" # a background job ignores SIGINT
wait "$dump" || true
mv "$work/out.pcap" "$out"
grep -h packets "$work/tcpdump.log" >&2
cat "$work/nmap.txt" >&2
