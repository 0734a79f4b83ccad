package spoof

import (
	"bytes"
	"encoding/binary"
	"flag"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// made makes the input of the cases that the detectors' common program does not make, by folder.
var made = map[string]func(*network){
	"rogue-dhcp":     rogueServer,
	"dhcp-failover":  twoServers,
	"starvation":     starvation,
	"rogue-router":   rogueRouter,
	"neighbours":     poisoned,
	"neighbourhood":  quietNeighbours,
	"router-flood":   manyRouters,
	"listed-servers": twoServers,
}

// TestCapturesAreFresh compares the captures of the cases with what this file makes; with -update it writes them.
func TestCapturesAreFresh(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(made)) {
		n := &network{}
		made[name](n)
		file := filepath.Join("testdata", name, "input.pcap")
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, n.pcap(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, n.pcap()) {
			t.Errorf("%s is not what this test makes (%v): run it with -update", file, err)
		}
	}
}

// network writes packets. They come in the order in which they are made.
type network struct{ out []byte }

func (n *network) frame(at float64, to, from mac, kind uint16, body []byte) {
	b := binary.BigEndian.AppendUint16(append(slices.Clone(to[:]), from[:]...), kind)
	b = append(b, body...)
	micros := int(at * 1e6)
	for _, v := range []int{int(noon.Unix()) + micros/1e6, micros % 1e6, len(b), len(b)} {
		n.out = binary.LittleEndian.AppendUint32(n.out, uint32(v))
	}
	n.out = append(n.out, b...)
}

func (n *network) pcap() []byte {
	return append([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0}, n.out...)
}

// dhcp sends a message of a client, or with a server the answer to it, which names the router and the server of names.
func (n *network) dhcp(at float64, kind byte, client mac, xid uint32, server, given, router, dns int) {
	b := make([]byte, 240)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[4:], xid)
	copy(b[28:], client[:])
	copy(b[236:], "\x63\x82\x53\x63")
	b = append(b, 53, 1, kind)
	from, src, dst := client, netip.IPv4Unspecified(), everyAddr
	ports := [2]uint16{68, 67}
	if server != 0 {
		b[0], ports = 2, [2]uint16{67, 68}
		from, src = cardOf(server), ip(server)
		your := ip(given).As4()
		copy(b[16:], your[:])
		option := func(code byte, a netip.Addr) { b = append(append(b, code, 4), a.AsSlice()...) }
		option(54, src)
		option(1, netip.AddrFrom4([4]byte{255, 255, 255, 0}))
		option(3, ip(router))
		option(6, ip(dns))
	}
	b = append(b, 255)
	udp := binary.BigEndian.AppendUint16(nil, ports[0])
	udp = binary.BigEndian.AppendUint16(udp, ports[1])
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(b)))
	udp = append(append(udp, 0, 0), b...)
	head := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(udp)))
	head = append(append(head, src.AsSlice()...), dst.AsSlice()...)
	n.frame(at, broadcast, from, 0x0800, append(head, udp...))
}

// given is a whole exchange.
func (n *network) given(at float64, client, server, router, dns int) {
	card := mac{2, 1, 1, 0, 0, byte(client)}
	n.dhcp(at, 1, card, uint32(client), 0, 0, 0, 0)
	n.dhcp(at+0.01, 2, card, uint32(client), server, 100+client, router, dns)
	n.dhcp(at+0.02, 3, card, uint32(client), 0, 0, 0, 0)
	n.dhcp(at+0.03, 5, card, uint32(client), server, 100+client, router, dns)
}

// rogueServer is one server for ten clients, then another one that is faster.
func rogueServer(n *network) {
	for i := range 10 {
		n.given(20*float64(i), i, gateway, gateway, gateway)
	}
	for i := range 4 {
		n.given(200+20*float64(i), 20+i, mallory, mallory, mallory)
	}
}

// twoServers take turns, and agree.
func twoServers(n *network) {
	for i := range 16 {
		n.given(20*float64(i), i, 2+i%2, gateway, 9)
	}
}

// starvation is clients that do not exist.
func starvation(n *network) {
	r := rand.New(rand.NewPCG(1, 2))
	n.given(0, 1, gateway, gateway, gateway)
	for i := range 100 {
		var card mac
		binary.BigEndian.PutUint32(card[:], r.Uint32())
		card[0] &^= 1
		n.dhcp(5+float64(i)/20, 1, card, r.Uint32(), 0, 0, 0, 0)
	}
}

var (
	allNodes  = netip.MustParseAddr("ff02::1")
	allGroups = mac{0x33, 0x33, 0, 0, 0, 1}
)

// icmp sends a message of neighbour discovery.
func (n *network) icmp(at float64, from mac, src, dst netip.Addr, body ...byte) {
	to := allGroups
	if !dst.IsMulticast() {
		to = cardOf(int(dst.As16()[15]))
	}
	b := []byte{0x60, 0, 0, 0, 0, byte(len(body)), 58, 255}
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	n.frame(at, to, from, 0x86dd, append(b, body...))
}

// advert says that a host is a router.
func (n *network) advert(at float64, host int, lifetime byte) {
	card := cardOf(host)
	body := []byte{134, 0, 0, 0, 64, 0, lifetime, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
	n.icmp(at, card, ip6(host), allNodes, append(body, card[:]...)...)
}

// ask asks who has an address; from nobody it is a question whether it is free.
func (n *network) ask(at float64, host, wanted int, nobody bool) {
	card := cardOf(host)
	body := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, ip6(wanted).AsSlice()...)
	group := netip.MustParseAddr("ff02::1:ff00:1")
	if nobody {
		n.icmp(at, card, netip.IPv6Unspecified(), group, body...)
		return
	}
	n.icmp(at, card, ip6(host), group, append(append(body, 1, 1), card[:]...)...)
}

// answer says that a host has an address.
func (n *network) answer(at float64, by, about int, to netip.Addr) {
	card := cardOf(by)
	flags := byte(0x60)
	if to.IsMulticast() {
		flags = 0x20
	}
	body := append([]byte{136, 0, 0, 0, flags, 0, 0, 0}, ip6(about).AsSlice()...)
	n.icmp(at, card, ip6(about), to, append(append(body, 2, 1), card[:]...)...)
}

// rogueRouter is a router, and a host that begins to be one beside it.
func rogueRouter(n *network) {
	for i := range 12 {
		n.advert(30*float64(i), gateway, 7)
		if i >= 6 {
			n.advert(30*float64(i)+5, mallory, 7)
		}
	}
}

// quietNeighbours is hosts that look for one another, addresses that are taken into use, and a router that gives way to another.
func quietNeighbours(n *network) {
	for i := range 40 {
		at := 5 * float64(i)
		n.ask(at, victim, gateway, false)
		n.answer(at+0.01, gateway, gateway, ip6(victim))
		n.ask(at+1, 30+i, 30+i, true)
		if i == 20 {
			n.answer(at+1.01, 9, 50, allNodes)
		}
		if i < 20 {
			n.advert(at+2, 1, 7)
		} else {
			n.advert(at+2, 2, 7)
		}
	}
}

// poisoned is quietNeighbours, and a host that answers for the router and says of all addresses that they are taken.
func poisoned(n *network) {
	for i := range 10 {
		at := 5 * float64(i)
		n.ask(at, victim, gateway, false)
		n.answer(at+0.01, gateway, gateway, ip6(victim))
		n.answer(at+0.02, mallory, gateway, ip6(victim))
		n.ask(at+1, 30+i, 30+i, true)
		n.answer(at+1.01, mallory, 30+i, allNodes)
	}
}

// manyRouters is more routers than any network has.
func manyRouters(n *network) {
	for i := range 60 {
		n.advert(float64(i)/10, 100+i, 7)
	}
}
