package passive

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Confidence in what was heard: of a device about itself, by a message that it cannot help sending; of a device about itself,
// by what it announces; and what follows from the one or the other.
const (
	certain = 0.95
	claimed = 0.85
	likely  = 0.6
	guessed = 0.4
)

// sender is the address that a message came from, and whether it went to everybody on the link.
func sender(s *sdk.Seen) (ip netip.Addr, onLink bool) {
	from, to := s.Client, s.Server
	if s.FromServer {
		from, to = to, from
	}
	to = to.Unmap()
	return from, to.IsMulticast() || to == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// room is memory for what a record says, used again for the next one.
type room struct {
	said  said
	facts [16]fact
	lists [2]fact
}

// about starts what a record says of a device, all of it: what was started before is overwritten.
func (l listener) about(s *sdk.Seen, source string, ip netip.Addr, onLink bool, confidence float64) *said {
	r := &l.room
	r.said = said{time: s.Time, packet: s.Packet, source: source, ip: ip, onLink: onLink, confidence: confidence, facts: r.facts[:0], lists: r.lists[:0]}
	return &r.said
}

// of starts one of several things that a record says.
func of(s *sdk.Seen, source string, ip netip.Addr, onLink bool, confidence float64) *said {
	return &said{time: s.Time, packet: s.Packet, source: source, ip: ip, onLink: onLink, confidence: confidence}
}

// arp: who says that it has an address says its hardware address, too.
func (l listener) arp(r *sdk.ARP) error {
	if r.Probe || r.Operation == "redirect" {
		return nil
	}
	ip, mac := r.SenderIP, r.SenderMAC
	if r.Protocol == "ndp" && r.Operation == "reply" {
		ip, mac = r.TargetIP, r.TargetMAC // the address that was asked for
	}
	if !ip.IsValid() || ip.IsUnspecified() {
		return nil
	}
	s := l.about(&r.Seen, r.Protocol, ip, true, certain)
	if s.mac = mac; mac == "" {
		s.mac = r.SourceMAC
	} else if r.SourceMAC != "" && r.SourceMAC != mac {
		s.confidence = guessed // somebody speaks for another one
	}
	if r.Router {
		s.facts = append(s.facts, fact{"role", "router"})
	}
	return l.tell(s)
}

// dhcp: the client says its name and kind, the server gives it an address.
func (l listener) dhcp(r *sdk.DHCP) error {
	source := "dhcp"
	if r.Version == 6 {
		source = "dhcpv6"
	}
	client := of(&r.Seen, source, r.ClientAddr, true, claimed)
	client.mac = r.MAC
	if r.Reply {
		if r.YourAddr.IsValid() && !r.YourAddr.IsUnspecified() {
			client.ip = r.YourAddr
		}
		return join(l.dhcpServer(r, source), l.tell(client))
	}
	if r.ClientAddr.IsUnspecified() {
		client.ip = netip.Addr{}
	}
	if from, _ := sender(&r.Seen); r.Version == 6 && !r.Relay.IsValid() {
		client.ip = from
	}
	client.hostname = r.Hostname
	if r.FQDN != "" {
		client.hostname = r.FQDN
	}
	client.facts = client.facts.means(l.means.of(r.VendorClass), fact{"dhcp_vendor_class", r.VendorClass})
	if r.Version == 4 {
		client.facts = client.facts.set("dhcp_fingerprint", numbers(r.Parameters))
	}
	return l.tell(client)
}

func (l listener) dhcpServer(r *sdk.DHCP, source string) error {
	ip := r.ServerAddr
	if !ip.IsValid() {
		ip, _ = sender(&r.Seen)
	}
	server := of(&r.Seen, source, ip, true, claimed)
	server.lists = facts{{"services", source}}
	err := l.tell(server)
	for _, addr := range r.Routers {
		if ip, bad := netip.ParseAddr(addr); bad == nil && err == nil {
			router := of(&r.Seen, source, ip, true, likely) // as the server says
			router.facts = facts{{"role", "router"}}
			err = l.tell(router)
		}
	}
	return err
}

// join returns the first error.
func join(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func numbers(b []byte) string {
	out := make([]byte, 0, 4*len(b))
	for i, n := range b {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(n), 10)
	}
	return string(out)
}

// announcement is what LLDP and CDP have in common: a device's words about itself, in a frame that no router passes on.
func (l listener) announcement(m *sdk.Message, name, addrs string, meant meant, more ...fact) error {
	s := l.about(&m.Seen, m.Protocol, netip.Addr{}, true, claimed)
	s.mac, s.hostname, s.facts = m.Fields["source"], name, s.facts.means(meant, more...)
	for _, one := range strings.Split(addrs, ", ") {
		if ip, err := netip.ParseAddr(one); err == nil && !ip.IsUnspecified() {
			s.ip = ip
			break
		}
	}
	return l.tell(s)
}

// Bits of LLDP's capabilities, and what has them.
const (
	lldpBridge = 1 << 2
	lldpAccess = 1 << 3
	lldpRouter = 1 << 4
	lldpPhone  = 1 << 5
)

func (l listener) lldp(m *sdk.Message) error {
	f := m.Fields
	return l.announcement(m, f["name"], f["addrs"], l.means.of(f["description"]),
		fact{"description", f["description"]}, fact{"vendor", f["vendor"]}, fact{"model", f["model"]}, fact{"serial", f["serial"]},
		fact{"lldp_port", f["port"]}, fact{"lldp_chassis", f["chassis"]}, fact{"firmware", first(f["firmware"], f["software"])},
		fact{"role", role(number(first(f["enabled"], f["capabilities"])), lldpRoles[:])},
	)
}

// bit is a capability and the role of who has it.
type bit struct {
	mask uint64
	role string
}

// The roles, the most telling first: a telephone has a switch in it, too, and a switch may route.
var (
	lldpRoles = [...]bit{{lldpPhone, "phone"}, {lldpAccess, "access-point"}, {lldpBridge, "switch"}, {lldpRouter, "router"}}
	cdpRoles  = [...]bit{{1 << 7, "phone"}, {1 << 3, "switch"}, {1 << 0, "router"}, {1<<1 | 1<<2, "switch"}}
)

func role(bits uint64, roles []bit) string {
	for _, r := range roles {
		if bits&r.mask != 0 {
			return r.role
		}
	}
	return ""
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func (l listener) cdp(m *sdk.Message) error {
	f := m.Fields
	model, vendor := f["platform"], ""
	if rest, found := strings.CutPrefix(strings.ToLower(model), "cisco "); found {
		model, vendor = model[len(model)-len(rest):], "Cisco"
	}
	addrs := f["addrs"]
	if f["management"] != "" {
		addrs = f["management"] + ", " + addrs
	}
	return l.announcement(m, first(f["name"], f["device"]), addrs, l.means.of(f["software"]),
		fact{"description", f["software"]}, fact{"vendor", vendor}, fact{"model", model}, fact{"cdp_port", f["port"]},
		fact{"firmware", after(f["software"], "Version ")}, fact{"role", role(number(f["capabilities"]), cdpRoles[:])},
	)
}

// after is the word behind a mark, without the comma at its end.
func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	word, _, _ := strings.Cut(rest, " ")
	return strings.TrimRight(word, ",;")
}

// stp: who sends a spanning tree is a switch.
func (l listener) stp(m *sdk.Message) error {
	s := l.about(&m.Seen, m.Protocol, netip.Addr{}, true, certain)
	s.mac = first(m.Fields["bridge"], m.Fields["source"])
	s.facts = append(s.facts, fact{"role", "switch"}, fact{"stp_root", m.Fields["root"]})
	return l.tell(s)
}

// hsrp: who stands in for another router is one.
func (l listener) hsrp(m *sdk.Message) error {
	ip, _ := sender(&m.Seen)
	s := l.about(&m.Seen, m.Protocol, ip, true, certain)
	s.facts = append(s.facts, fact{"role", "router"}, fact{"vendor", "Cisco"}, fact{"hsrp_address", m.Fields["address"]},
		fact{"hsrp_group", m.Fields["group"]}, fact{"hsrp_state", m.Fields["state"]})
	return l.tell(s)
}

// wireless: who sends beacons is an access point.
func (l listener) wireless(m *sdk.Message) error {
	if m.Name != "beacon" {
		return nil
	}
	s := l.about(&m.Seen, m.Protocol, netip.Addr{}, true, certain)
	s.mac, s.facts = m.Fields["source"], append(s.facts, fact{"role", "access-point"}, fact{"wifi_network", m.Fields["ssid"]})
	return l.tell(s)
}
