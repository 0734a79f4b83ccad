package snmp

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
)

const (
	basePortIfIndex snmp.OID = "1.3.6.1.2.1.17.1.4.1.2"
	fdbPort         snmp.OID = "1.3.6.1.2.1.17.4.3.1.2"
	fdbStatus       snmp.OID = "1.3.6.1.2.1.17.4.3.1.3"
	vlanFDBPort     snmp.OID = "1.3.6.1.2.1.17.7.1.2.2.1.2"
	vlanFDBStatus   snmp.OID = "1.3.6.1.2.1.17.7.1.2.2.1.3"
	learned                  = 3
)

// readBridge reads which addresses were heard at which port. Where a port heard but one, that is a link.
func (r *reader) readBridge() error {
	base, err := r.client.Walk(maxPorts, basePortIfIndex)
	for _, at := range base.Order {
		if arcs := snmp.Index(at); len(arcs) == 1 {
			if index, ok := base.Rows[at][0].Uint(); ok {
				r.bridge[arcs[0]] = uint32(index)
			}
		}
	}
	if len(r.bridge) == 0 {
		return err
	}
	heard := map[uint32][]string{}
	for _, table := range [][2]snmp.OID{{vlanFDBPort, vlanFDBStatus}, {fdbPort, fdbStatus}} {
		t, err2 := r.client.Walk(maxFDB, table[0], table[1])
		err = errors.Join(err, err2)
		for _, at := range t.Order {
			arcs := snmp.Index(at)
			port, ok := t.Rows[at][0].Uint()
			status, told := t.Rows[at][1].Uint()
			if len(arcs) < 6 || !ok || told && status != learned {
				continue
			}
			mac := unicast(macOf(arcs[len(arcs)-6:]))
			index := r.bridge[uint32(port)]
			if list := heard[index]; mac != "" && r.port(index) != nil && len(list) < 2 && !slices.Contains(list, mac) {
				heard[index] = append(list, mac)
			}
		}
	}
	for i := range r.ports {
		if list := heard[r.ports[i].Index]; len(list) == 1 {
			r.link(sdk.Link{Port: r.ports[i].Name, Protocol: "bridge", MAC: list[0]})
		}
	}
	return err
}

func macOf(arcs []uint32) string {
	b := make([]byte, len(arcs))
	for i, n := range arcs {
		if n > 255 {
			return ""
		}
		b[i] = byte(n)
	}
	return snmp.MAC(b)
}

func (r *reader) link(l sdk.Link) {
	if len(r.links) < maxLinks && l.Port != "" && (l.MAC != "" || l.Name != "" || l.IP.IsValid()) {
		r.links = append(r.links, l)
	}
}

const (
	lldpLocal  = "1.0.8802.1.1.2.1.3.7.1."
	lldpRemote = "1.0.8802.1.1.2.1.4.1.1."
	lldpManage = "1.0.8802.1.1.2.1.4.2.1."
)

// The kinds of name of a chassis and of a port (LldpChassisIdSubtype, LldpPortIdSubtype).
const (
	chassisMAC     = 4
	chassisAddress = 5
	portMAC        = 3
	portAddress    = 4
)

func (r *reader) readLLDP() error {
	remote, err := r.client.Walk(maxLinks, lldpRemote+"4", lldpRemote+"5", lldpRemote+"6", lldpRemote+"7", lldpRemote+"8", lldpRemote+"9", lldpRemote+"10")
	if len(remote.Rows) == 0 {
		return err
	}
	local, err2 := r.client.Walk(maxPorts, lldpLocal+"2", lldpLocal+"3", lldpLocal+"4")
	manage, err3 := r.client.Walk(maxLinks, lldpManage+"3", lldpManage+"4")
	addresses := map[string]netip.Addr{}
	for _, at := range manage.Order {
		arcs := snmp.Index(at)
		if len(arcs) < 5 {
			continue
		}
		key := strings.Join(strings.SplitN(at, ".", 4)[:3], ".")
		ip := managementAddress(arcs[3:])
		if old := addresses[key]; ip.IsValid() && (!old.IsValid() || !old.Is4() && ip.Is4()) {
			addresses[key] = ip
		}
	}
	for _, at := range remote.Order {
		arcs := snmp.Index(at)
		if len(arcs) < 3 {
			continue
		}
		row := remote.Rows[at]
		number := arcs[len(arcs)-2]
		l := sdk.Link{Protocol: "lldp", Port: r.lldpPort(number, local.Rows[strconv.Itoa(int(number))]), IP: addresses[strings.Join(strings.SplitN(at, ".", 4)[:3], ".")],
			Name: row[5].Text(), Description: row[6].Text()}
		switch kind, _ := row[0].Uint(); kind {
		case chassisMAC:
			l.MAC = unicast(writtenMAC(row[1]))
		case chassisAddress:
			if ip := familyAddress(row[1].Bytes()); !l.IP.IsValid() {
				l.IP = ip
			}
		default:
			l.Name = cmp.Or(l.Name, row[1].Text())
		}
		switch kind, _ := row[2].Uint(); kind {
		case portMAC:
			l.RemotePort, l.RemoteMAC = row[4].Text(), unicast(writtenMAC(row[3]))
		case portAddress:
			l.RemotePort = row[4].Text()
		default:
			l.RemotePort = cmp.Or(row[3].Text(), row[4].Text())
		}
		r.link(l)
	}
	return errors.Join(err, err2, err3)
}

// writtenMAC is a hardware address, which some devices write as a text.
func writtenMAC(v snmp.Value) string {
	if hw, err := net.ParseMAC(v.Text()); err == nil {
		return snmp.MAC(hw)
	}
	return v.MAC()
}

// managementAddress reads AddressFamilyNumbers and an address of an index. Some devices leave out its length.
func managementAddress(arcs []uint32) netip.Addr {
	if len(arcs) < 2 {
		return netip.Addr{}
	}
	if n := arcs[1]; int(n) == len(arcs)-2 {
		arcs = arcs[1:]
	}
	ip := address(arcs[1:])
	if ip.IsUnspecified() || ip.IsLoopback() {
		return netip.Addr{}
	}
	return ip
}

// familyAddress reads an address behind a byte that says its family.
func familyAddress(b []byte) netip.Addr {
	if len(b) < 5 {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(b[1:])
	return ip
}

// lldpPort names the port that LLDP knows by a number: by what LLDP calls it itself, else as one of the bridge, else as an interface.
func (r *reader) lldpPort(number uint32, row snmp.Row) string {
	texts := []string{row[1].Text(), row[2].Text()}
	kind, _ := row[0].Uint()
	if kind == portMAC {
		texts[0] = ""
		if mac := row[1].MAC(); mac != "" {
			if i := slices.IndexFunc(r.ports, func(p sdk.Port) bool { return p.MAC == mac }); i >= 0 && !r.sharesMAC(mac) {
				return r.ports[i].Name
			}
		}
	}
	for _, text := range texts {
		if i := slices.IndexFunc(r.ports, func(p sdk.Port) bool { return text != "" && (p.Name == text || p.Description == text) }); i >= 0 {
			return r.ports[i].Name
		}
	}
	if index, ok := r.bridge[number]; ok && r.portName(index) != "" {
		return r.portName(index)
	}
	if n, err := strconv.ParseUint(texts[0], 10, 32); err == nil && r.portName(uint32(n)) != "" {
		return r.portName(uint32(n))
	}
	return cmp.Or(r.portName(number), texts[0], texts[1], "port "+strconv.Itoa(int(number)))
}

// sharesMAC reports whether several ports have a hardware address, which names none of them then.
func (r *reader) sharesMAC(mac string) bool {
	n := 0
	for i := range r.ports {
		if r.ports[i].MAC == mac {
			n++
		}
	}
	return n > 1
}

const cdpCache = "1.3.6.1.4.1.9.9.23.1.2.1.1."

func (r *reader) readCDP() error {
	t, err := r.client.Walk(maxLinks, cdpCache+"4", cdpCache+"6", cdpCache+"7", cdpCache+"8")
	for _, at := range t.Order {
		arcs := snmp.Index(at)
		if len(arcs) != 2 {
			continue
		}
		row := t.Rows[at]
		l := sdk.Link{Protocol: "cdp", Port: cmp.Or(r.portName(arcs[0]), "port "+strconv.Itoa(int(arcs[0]))), RemotePort: row[2].Text(), Description: row[3].Text()}
		l.Name = row[1].Text()
		if b := row[1].Bytes(); len(b) == 6 && l.Name != string(b) {
			l.Name, l.MAC = "", unicast(snmp.MAC(b)) // some write their hardware address
		}
		if ip := row[0].IP(); ip.IsValid() && !ip.IsUnspecified() {
			l.IP = ip.Unmap()
		}
		r.link(l)
	}
	return err
}
