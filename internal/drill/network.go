//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hosts of a run's network, with the last byte of their addresses. The gateway also has the addresses outside.
var hosts = map[string]int{"gateway": 1, "client": 10, "desk": 11, "server": 20, "attacker": 66}

// network is one run's own: a few machines at a lane, with addresses that no other run has.
type network struct {
	*site
	*rand.Rand
	number   int
	lane     int
	dir      string
	outside  netip.Addr // where the gateway leads to
	resolves bool       // the gateway does
	lost     int        // of 1000 frames, at two of the cables
	started  []*process
	began    time.Time // the attack
	due      time.Time // when it must be found
	quick    bool      // it rests on packets alone, and is found within a second of the one that proves it
	what     []string  // how this run differs from others
	find     []string  // the detectors one of which must find it
}

func (s *site) network(number int, random *rand.Rand) (*network, error) {
	n := &network{site: s, Rand: random, number: number, lane: number % lanes, dir: s.path(fmt.Sprintf("run%d", number))}
	n.outside = netip.AddrFrom4([4]byte{198, 18 + byte(number>>8&1), byte(number), byte(1 + random.IntN(250))})
	if err := os.Mkdir(n.dir, 0o755); err != nil { //nolint:gosec // servers that give up their rights read here
		return nil, err
	}
	var setup strings.Builder
	for name := range hosts {
		ns, port := n.ns(n.host(name)), fmt.Sprintf("r%d%s", number, name[:1])
		fmt.Fprintf(&setup, `ip netns add %[1]s; ip -n %[1]s link set lo up
ip -n %[2]s link add %[3]s type veth peer name eth0 netns %[1]s; ip -n %[2]s link set %[3]s master br0; ip -n %[2]s link set %[3]s up
ip -n %[1]s link set eth0 address %[4]s; ip -n %[1]s addr add %[5]s/24 dev eth0; ip -n %[1]s link set eth0 up
`, ns, n.ns(hub(n.lane)), port, n.mac(name), n.addr(name))
		if name != "gateway" {
			fmt.Fprintf(&setup, "ip -n %s route add default via %s\n", ns, n.addr("gateway"))
		}
	}
	// What the gateway does not know is lost on its way.
	fmt.Fprintf(&setup, "ip -n %[1]s addr add %[2]s/32 dev lo; ip -n %[1]s route add blackhole default; ip netns exec %[1]s sysctl -qw net.ipv4.ip_forward=1\n", n.ns(n.host("gateway")), n.outside)
	if n.lost = []int{0, 0, 5, 20}[random.IntN(4)]; n.lost > 0 {
		n.note("loss %g %%", float64(n.lost)/10)
		for _, p := range [][2]string{{hub(n.lane), fmt.Sprintf("r%da", number)}, {n.host("server"), "eth0"}} {
			fmt.Fprintf(&setup, "ip netns exec %[1]s nft 'add table netdev r%[2]d; add chain netdev r%[2]d in { type filter hook ingress device %[3]s priority 0; }; add rule netdev r%[2]d in numgen random mod 1000 < %[4]d drop'\n",
				n.ns(p[0]), number, p[1], n.lost)
		}
	}
	return n, s.sh("", setup.String())
}

func (n *network) host(name string) string { return fmt.Sprintf("%d%s", n.number, name[:1]) }

// addr is the address of a machine.
func (n *network) addr(name string) string {
	return netip.AddrFrom4([4]byte{10, byte(16 + n.number>>8), byte(n.number), byte(hosts[name])}).String()
}

func (n *network) mac(name string) string {
	return fmt.Sprintf("02:%02x:%02x:00:00:%02x", byte(n.number>>8), byte(n.number), hosts[name])
}

// mine reports whether what an alert or incident names belongs to this run: an address, a network, a card.
func (n *network) mine(name string) bool {
	if slices.ContainsFunc([]string{"gateway", "client", "desk", "server", "attacker"}, func(h string) bool { return strings.EqualFold(name, n.mac(h)) }) {
		return true
	}
	if strings.HasPrefix(strings.ToLower(name), fmt.Sprintf("02:%02x:%02x:01:", byte(n.number>>8), byte(n.number))) {
		return true // a card that was made up for DHCP
	}
	if ap, err := netip.ParseAddrPort(name); err == nil {
		name = ap.Addr().String()
	}
	text, _, _ := strings.Cut(name, "/")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	a = a.Unmap()
	if !a.Is4() {
		return false
	}
	b := a.As4()
	of := n.outside.As4()
	return b[0] == 10 && b[1] == byte(16+n.number>>8) && b[2] == byte(n.number) || b[0] == 198 && b[1] == of[1] && b[2] == of[2]
}

// note says how this run differs from others.
func (n *network) note(format string, args ...any) {
	n.what = append(n.what, fmt.Sprintf(format, args...))
}

// on runs a line of shell on a machine, and waits for it no longer than most.
func (n *network) on(host string, most time.Duration, format string, args ...any) error {
	p, err := n.leave(host, format, args...)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(most):
		p.stop()
	}
	return nil
}

// leave starts a line of shell on a machine, and lets it go on until the end of the run.
func (n *network) leave(host, format string, args ...any) (*process, error) {
	p, err := n.start(n.host(host), n.dir, "sh", "-c", fmt.Sprintf(format, args...))
	if err == nil {
		n.started = append(n.started, p)
	}
	return p, err
}

// serve starts a server on a machine and waits until it listens.
func (n *network) serve(host string, port int, format string, args ...any) error {
	if _, err := n.leave(host, format, args...); err != nil {
		return err
	}
	return n.sh(n.host(host), fmt.Sprintf("for i in $(seq 200); do ss -Hlntu sport = :%d | grep -q . && exit; sleep 0.1; done; echo nobody listens at port %[1]d; exit 1", port))
}

func (n *network) file(name, text string) string {
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // servers that give up their rights read here
		panic(err) // the folder was just made
	}
	return path
}

// attack says that the attack begins now, and how long it may go on before it is found.
func (n *network) attack(within time.Duration) {
	n.began = time.Now()
	n.due = n.began.Add(within)
}

// between is a number of a range.
func (n *network) between(least, most int) int { return least + n.IntN(most-least+1) }

func (n *network) one(of ...string) string { return of[n.IntN(len(of))] }

// words are passwords that nobody has.
func (n *network) words(count int) string {
	var b strings.Builder
	for range count {
		fmt.Fprintf(&b, "%s%d%s\n", n.one("Winter", "Summer", "Berlin", "dragon", "letmein"), n.IntN(10000), n.one("!", "", "#"))
	}
	return n.file(fmt.Sprintf("words%d", n.IntN(1<<30)), b.String())
}

// clear removes the network with all that runs in it.
func (n *network) clear() {
	for _, p := range slices.Backward(n.started) {
		p.stop()
	}
	for name := range hosts {
		_ = n.sh("", fmt.Sprintf("ip netns pids %[1]s | xargs -r kill -9; ip netns del %[1]s", n.ns(n.host(name))))
	}
	_ = os.RemoveAll(n.dir)
}
