package inventory

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/sdk"
)

// A device has several addresses, and not every one of them is seen with its hardware address. Two things say of an address
// whose it is all the same: an IPv6 address that was made from a hardware address holds it, and one message of multicast DNS
// names all addresses of a host.

// LinkNameFact is the name that a host has on its link, told of each address in the message that said it.
const LinkNameFact = "link_name"

// SameFact says why addresses are those of one device, where no hardware address says it.
const SameFact = "same_device"

// Kin are the hardware address and the address that the sighted device may be known by besides those of the sighting, "" for
// none: devices that have one of them are matches too.
func Kin(s sdk.Sighting) (mac, ip string) {
	if s.MAC == "" {
		return cardIn(s.IP), ""
	}
	return "", linkLocal(s.MAC)
}

// The two bytes in the middle of an interface identifier that was made from a hardware address (RFC 4291, appendix A), and the
// bit that is turned around in it.
const (
	middle0, middle1 = 0xff, 0xfe
	turned           = 2
)

// cardIn is the hardware address that an IPv6 address was made from, "" for none.
func cardIn(ip netip.Addr) string {
	if !ip.Is6() || ip.Is4In6() {
		return ""
	}
	b := ip.As16()
	if b[11] != middle0 || b[12] != middle1 {
		return ""
	}
	return net.HardwareAddr{b[8] ^ turned, b[9], b[10], b[13], b[14], b[15]}.String()
}

// linkLocal is the address that a card makes up for its link.
func linkLocal(mac string) string {
	b, err := net.ParseMAC(mac)
	if err != nil || len(b) != 6 {
		return ""
	}
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: b[0] ^ turned, 9: b[1], 10: b[2], 11: middle0, 12: middle1, 13: b[3], 14: b[4], 15: b[5]}).String()
}

// withKin adds the matches that are the sighted device by its hardware address in the address, or by the message that named it.
// What has another hardware address is another device, whatever was said.
func withKin(out []Device, s sdk.Sighting, matches []Device) []Device {
	cards := 0
	if len(out) > 0 {
		cards = len(out[0].MACs)
	}
	for _, d := range matches {
		if (hasCardOf(d, s) || sameMessage(d, s)) && !slices.ContainsFunc(out, func(o Device) bool { return o.ID == d.ID }) && (cards == 0 || len(d.MACs) == 0) {
			out = append(out, d)
			cards += len(d.MACs)
		}
	}
	return out
}

func hasCardOf(d Device, s sdk.Sighting) bool {
	mac := cardIn(s.IP)
	return mac != "" && slices.Contains(d.MACs, mac)
}

// sameMessage reports whether the message of the sighting gave its name to an address of the device, too.
func sameMessage(d Device, s sdk.Sighting) bool {
	name := s.Facts[LinkNameFact]
	f := d.Facts[LinkNameFact]
	return name != "" && f.Value == name && f.Protocol == s.Source && f.Capture == s.Capture && f.Packet == s.Packet && f.Time.Equal(s.Time)
}

// whySame puts into words what made a sighting join devices that do not have its addresses.
func whySame(s sdk.Sighting, same []Device) string {
	for _, d := range same {
		switch ip := s.IP.String(); {
		case slices.Contains(d.IPs, ip):
		case s.MAC != "" && len(d.MACs) == 0 && slices.Contains(d.IPs, linkLocal(s.MAC)):
			return fmt.Sprintf("%s is made from %s", linkLocal(s.MAC), s.MAC)
		case s.MAC != "" || !s.IP.IsValid():
		case hasCardOf(d, s):
			return fmt.Sprintf("%s is made from %s", ip, cardIn(s.IP))
		case sameMessage(d, s) && len(d.IPs) > 0:
			return fmt.Sprintf("one message gave the name %s to %s and %s", s.Facts[LinkNameFact], d.IPs[len(d.IPs)-1], ip)
		}
	}
	return ""
}
