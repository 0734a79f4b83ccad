package snmp

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

// Bounds on what is kept of one device.
const (
	maxPorts = 8000
	maxLinks = 4000
	maxARP   = 20_000
	maxFDB   = 50_000
	maxParts = 4000
)

// device is what one said of itself and of those around it.
type device struct {
	system system
	ports  []sdk.Port
	links  []sdk.Link
	around []neighbour
}

// neighbour is an entry of an ARP table.
type neighbour struct {
	ip   netip.Addr
	mac  string
	port string
}

// reader reads one device.
type reader struct {
	client *snmp.Client
	device
	byIndex map[uint32]int // port by its index
	bridge  map[uint32]uint32
}

// read asks a device for everything. What it does not have, or is too slow for, is missing.
func read(c *snmp.Client) (*device, error) {
	r := &reader{client: c, byIndex: map[uint32]int{}, bridge: map[uint32]uint32{}}
	if err := r.readSystem(); err != nil {
		return nil, err
	}
	var errs []error
	for _, part := range []func() error{r.readPorts, r.readAddresses, r.readParts, r.readBridge, r.readLLDP, r.readCDP, r.readARP} {
		errs = append(errs, part())
	}
	return &r.device, errors.Join(errs...)
}

const ifEntry, ifXEntry = "1.3.6.1.2.1.2.2.1.", "1.3.6.1.2.1.31.1.1.1."

func (r *reader) readPorts() error {
	t, err := r.client.Walk(maxPorts, ifEntry+"2", ifEntry+"3", ifEntry+"5", ifEntry+"6", ifEntry+"7", ifEntry+"8",
		ifXEntry+"1", ifXEntry+"15", ifXEntry+"18", ifEntry+"1")
	for _, at := range t.Order {
		arcs := snmp.Index(at)
		if len(arcs) != 1 {
			continue
		}
		row := t.Rows[at]
		p := sdk.Port{
			Index: arcs[0], Description: row[0].Text(), MAC: unicast(row[3].MAC()), Speed: speed(row[2], row[7]), Alias: row[8].Text(),
			State: state(row[4], row[5]),
		}
		kind, _ := row[1].Uint()
		p.Type = kinds[kind]
		p.Name = cmp.Or(row[6].Text(), p.Description, "port "+at)
		r.ports = append(r.ports, p)
	}
	slices.SortFunc(r.ports, func(a, b sdk.Port) int { return cmp.Compare(a.Index, b.Index) })
	for i, p := range r.ports {
		r.byIndex[p.Index] = i
	}
	return err
}

// unicast leaves out what is no address of one card.
func unicast(mac string) string {
	if mac == "" || strings.IndexByte("02468ace", mac[1]) < 0 {
		return ""
	}
	return mac
}

// kinds are the words for the types of interface that one meets (IANAifType).
var kinds = map[uint64]string{
	6: "ethernet", 23: "ppp", 24: "loopback", 32: "frame-relay", 37: "atm", 53: "virtual", 62: "ethernet", 69: "ethernet", 71: "wireless", 96: "dsl", 97: "dsl",
	117: "ethernet", 131: "tunnel", 135: "vlan", 136: "vlan", 150: "tunnel", 161: "aggregate", 166: "mpls", 209: "bridge", 250: "pon",
}

// speed is in bits per second. ifSpeed ends below 4.3 Gbit/s, ifHighSpeed counts millions.
func speed(low, high snmp.Value) uint64 {
	const mega, fastest = 1_000_000, 1<<32 - 1
	l, _ := low.Uint()
	h, _ := high.Uint()
	if h > 0 && (l == 0 || l == fastest || h >= fastest/mega) {
		return h * mega
	}
	return l
}

func state(admin, oper snmp.Value) string {
	const up, down = 1, 2
	a, _ := admin.Uint()
	o, ok := oper.Uint()
	switch {
	case a == down:
		return "off"
	case o == up:
		return "up"
	case ok:
		return "down"
	}
	return ""
}

// port is the one with an index, nil for none.
func (r *reader) port(index uint32) *sdk.Port {
	if i, ok := r.byIndex[index]; ok {
		return &r.ports[i]
	}
	return nil
}

// portName is how a port is called, "" when the device has no such port.
func (r *reader) portName(index uint32) string {
	if p := r.port(index); p != nil {
		return p.Name
	}
	return ""
}

const (
	ipAdEntIfIndex    snmp.OID = "1.3.6.1.2.1.4.20.1.2"
	ipAdEntNetMask    snmp.OID = "1.3.6.1.2.1.4.20.1.3"
	ipAddressIfIndex  snmp.OID = "1.3.6.1.2.1.4.34.1.3"
	ipAddressPrefix   snmp.OID = "1.3.6.1.2.1.4.34.1.5"
	mostPortAddresses          = 32
)

// readAddresses reads the device's own addresses: the old table, and the one that has IPv6, too.
func (r *reader) readAddresses() error {
	old, err := r.client.Walk(maxPorts, ipAdEntIfIndex, ipAdEntNetMask)
	for _, at := range old.Order {
		ip := address(snmp.Index(at))
		index, _ := old.Rows[at][0].Uint()
		bits := maskBits(old.Rows[at][1].IP())
		r.addAddress(uint32(index), ip, bits)
	}
	both, err2 := r.client.Walk(maxPorts, ipAddressIfIndex, ipAddressPrefix)
	for _, at := range both.Order {
		ip, _ := typedAddress(snmp.Index(at))
		index, _ := both.Rows[at][0].Uint()
		bits := -1
		if arcs := both.Rows[at][1].Object().Arcs(); len(arcs) > 0 {
			bits = int(arcs[len(arcs)-1])
		}
		r.addAddress(uint32(index), ip, bits)
	}
	return errors.Join(err, err2)
}

func (r *reader) addAddress(index uint32, ip netip.Addr, bits int) {
	p := r.port(index)
	if p == nil || !ip.IsValid() || ip.IsUnspecified() || ip.IsLoopback() || len(p.Addresses) >= mostPortAddresses ||
		slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return a.Addr() == ip }) {
		return
	}
	if bits <= 0 || bits > ip.BitLen() {
		bits = ip.BitLen()
	}
	p.Addresses = append(p.Addresses, netip.PrefixFrom(ip, bits))
}

// maskBits counts the ones in front, -1 for what is no mask.
func maskBits(mask netip.Addr) int {
	if !mask.Is4() {
		return -1
	}
	n := 0
	for _, b := range mask.AsSlice() {
		for i := 7; i >= 0; i-- {
			if b>>i&1 == 0 {
				return n
			}
			n++
		}
	}
	return n
}

// address reads the numbers of an index as an address.
func address(arcs []uint32) netip.Addr {
	b := make([]byte, len(arcs))
	for i, n := range arcs {
		if n > 255 {
			return netip.Addr{}
		}
		b[i] = byte(n)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip.Unmap()
}

// typedAddress reads InetAddressType and InetAddress in front of an index, and returns what follows.
func typedAddress(arcs []uint32) (netip.Addr, []uint32) {
	if len(arcs) < 2 || uint32(len(arcs)-2) < arcs[1] {
		return netip.Addr{}, nil
	}
	n := int(arcs[1])
	list, rest := arcs[2:2+n], arcs[2+n:]
	if kind := arcs[0]; kind == 3 || kind == 4 { // with a zone behind it
		list = list[:max(0, n-4)]
	}
	return address(list), rest
}

const (
	ipNetToMedia    snmp.OID = "1.3.6.1.2.1.4.22.1.2"
	ipNetToPhysical snmp.OID = "1.3.6.1.2.1.4.35.1.4"
)

func (r *reader) readARP() error {
	seen := map[netip.Addr]bool{}
	for _, p := range r.ports {
		for _, a := range p.Addresses {
			seen[a.Addr()] = true // its own
		}
	}
	add := func(index uint32, ip netip.Addr, mac string) {
		if ip.IsValid() && !seen[ip] && unicast(mac) != "" && len(r.around) < maxARP {
			seen[ip] = true
			r.around = append(r.around, neighbour{ip, mac, r.portName(index)})
		}
	}
	old, err := r.client.Walk(maxARP, ipNetToMedia)
	for _, at := range old.Order {
		if arcs := snmp.Index(at); len(arcs) == 5 {
			add(arcs[0], address(arcs[1:]), old.Rows[at][0].MAC())
		}
	}
	both, err2 := r.client.Walk(maxARP, ipNetToPhysical)
	for _, at := range both.Order {
		if arcs := snmp.Index(at); len(arcs) > 3 {
			ip, _ := typedAddress(arcs[1:])
			add(arcs[0], ip, both.Rows[at][0].MAC())
		}
	}
	return errors.Join(err, err2)
}
