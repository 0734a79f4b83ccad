package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// The packet inside: 10.9.0.1 to 10.9.0.2, and the same over IPv6.
const (
	innerIPv4 = "4500 0024 0001 0000 40 11 0000 0a090001 0a090002 c001 0035 0010 0000" + eight
	innerIPv6 = "60000000 0010 11 40 20010000000000000000000000000001 20010db8000000000000000000000002 c001 0035 0010 0000" + eight
	innerARP  = ethARP + "0001080006040001"

	ethARP      = "020000000004 020000000003 0806 "
	ethInner    = "020000000004 020000000003 0800 "
	ethInner6   = "020000000004 020000000003 86dd "
	snapHeader  = "aaaa03 000000 0800 "
	addresses80 = "0a0000000001 0a0000000002 0a0000000003 1000 " // of an 802.11 header, and its sequence number
)

// outer puts a header from 10.0.0.1 to 10.0.0.2 before a payload.
func outer(tb testing.TB, proto byte, payload string) string {
	tb.Helper()
	return fmt.Sprintf("4500 %04x 0001 0000 40 %02x 0000 0a000001 0a000002 %s", 20+len(bytesOf(tb, payload)), proto, payload)
}

func overUDP(tb testing.TB, src, dst uint16, payload string) string {
	tb.Helper()
	return outer(tb, protoUDP, fmt.Sprintf("%04x %04x %04x 0000 %s", src, dst, 8+len(bytesOf(tb, payload)), payload))
}

func TestTunnels(t *testing.T) {
	const vxlanHeader, geneveHeader = "08000000 00006400 ", "0000 6558 00006400 "
	tests := []struct {
		name, data string
		tunnel     uint64
	}{
		{"4in4", outer(t, 4, innerIPv4), carried(carrierIP, 0)},
		{"6in4", outer(t, 41, innerIPv6), carried(carrierIP, 0)},
		{"gre", outer(t, 47, "0000 0800"+innerIPv4), carried(carrierGRE, 0)},
		{"gre with checksum, key and number", outer(t, 47, "b000 0800 00000000 00000007 00000001"+innerIPv4), carried(carrierGRE, 7)},
		{"gre with ethernet", outer(t, 47, "0000 6558"+ethInner+innerIPv4), carried(carrierGRE, 0)},
		{"nvgre: the flow id is no part of the network", outer(t, 47, "2000 6558 00006423"+ethInner+innerIPv4), carried(carrierGRE, 100)},
		{"gre with mpls", outer(t, 47, "0000 8847 00010140"+innerIPv4), carried(carrierGRE, 0)},
		{"pptp", outer(t, 47, "3081 880b 00280001 00000001 00000001 ff03 0021"+innerIPv4), carried(carrierPPTP, 0)},
		{"pptp, compressed", outer(t, 47, "3001 880b 00280001 00000001 21"+innerIPv4), carried(carrierPPTP, 0)},
		{"erspan I", outer(t, 47, "0000 88be"+ethInner+innerIPv4), carried(carrierERSPAN, 0)},
		{"erspan II", outer(t, 47, "1000 88be 00000001 1001000a00000000"+ethInner+innerIPv4), carried(carrierERSPAN, 0)},
		{"erspan III", outer(t, 47, "1000 22eb 00000001 2001000a 00000000 00000000"+ethInner+innerIPv4), carried(carrierERSPAN, 0)},
		{"erspan III with subheader", outer(t, 47, "1000 22eb 00000001 2001000a 00000000 00000001 0000000000000000"+ethInner+innerIPv4), carried(carrierERSPAN, 0)},
		{"etherip", outer(t, 97, "3000"+ethInner+innerIPv4), carried(carrierEtherIP, 0)},
		{"mpls in ip", outer(t, 137, "00010140"+innerIPv4), carried(carrierMPLS, 0)},
		{"mpls over udp", overUDP(t, 50000, 6635, "00010140"+innerIPv4), carried(carrierMPLS, 0)},
		{"vxlan", overUDP(t, 50000, 4789, vxlanHeader+ethInner+innerIPv4), carried(carrierVXLAN, 100)},
		{"vxlan on the old port, IPv6 inside", overUDP(t, 50000, 8472, vxlanHeader+ethInner6+innerIPv6), carried(carrierVXLAN, 100)},
		{"vxlan with group policy", overUDP(t, 50000, 4789, "88000001 00006400"+ethInner+innerIPv4), carried(carrierVXLAN, 100)},
		{"vxlan-gpe", overUDP(t, 50000, 4790, "0c000001 00006400"+innerIPv4), carried(carrierVXLAN, 100)},
		{"vxlan-gpe with ethernet", overUDP(t, 50000, 4790, "0c000003 00006400"+ethInner+innerIPv4), carried(carrierVXLAN, 100)},
		{"geneve", overUDP(t, 50000, 6081, geneveHeader+ethInner+innerIPv4), carried(carrierGENEVE, 100)},
		{"geneve with options and ip", overUDP(t, 50000, 6081, "0200 0800 00006400 0000000100000000"+innerIPv4), carried(carrierGENEVE, 100)},
		{"gtp", overUDP(t, 2152, 2152, "30ff 0024 00000001"+innerIPv4), carried(carrierGTP, 0)},
		{"gtp with extensions", overUDP(t, 2152, 2152, "34ff 0024 00000001 00000085 01000085 01000000"+innerIPv4), carried(carrierGTP, 0)},
		{"teredo", overUDP(t, 50000, 3544, innerIPv6), carried(carrierTeredo, 0)},
		{"teredo with authentication and origin", overUDP(t, 3544, 50000, "00010000 0000000000000000 00 0000 63bf f5fffffe"+innerIPv6), carried(carrierTeredo, 0)},
		{"teredo between peers", overUDP(t, 50000, 50001, innerIPv6), carried(carrierTeredo, 0)},
	}
	for _, test := range tests {
		data := bytesOf(t, ethIPv4+test.data)
		var have Packet
		if outcome := Decode(&have, capture.LinkEthernet, data, uint32(len(data))); outcome != Flow || have.tunnels != 1 {
			t.Errorf("%s: %s, %d tunnels", test.name, outcome, have.tunnels)
			continue
		}
		src := netip.MustParseAddr("10.9.0.1")
		if have.Version == 6 {
			src = netip.MustParseAddr("2001::1")
		}
		if have.SrcAddr() != src || have.DstPort != 53 || have.Payload != 8 || len(have.Body) != 8 || have.Length != 8+8+20+uint32(have.Version-4)*10 {
			t.Errorf("%s: %+v", test.name, have)
		}
		if have.Tunnel != test.tunnel {
			t.Errorf("%s: tunnel %#x, want %#x", test.name, have.Tunnel, test.tunnel)
		}
		// However it is cut, there is an IP packet: the one inside or the one around it.
		for n := 34; n < len(data); n++ {
			if outcome := Decode(&have, capture.LinkEthernet, data[:n], uint32(len(data))); outcome != Flow {
				t.Errorf("%s cut at %d: %s", test.name, n, outcome)
			}
		}
	}
}

// Where nothing good is inside, the packet around it counts, as if there were no tunnel.
func TestClosedTunnels(t *testing.T) {
	tests := []struct {
		name, data string
		proto      uint8
		port       uint16
	}{
		{"arp in vxlan", overUDP(t, 50000, 4789, "08000000 00006400"+innerARP), 17, 4789},
		{"no vxlan at all", overUDP(t, 50000, 4789, "00000000 00006400"+ethInner+innerIPv4), 17, 4789},
		{"damaged inside", overUDP(t, 50000, 4789, "08000000 00006400"+ethInner+"41"+innerIPv4[2:]), 17, 4789},
		{"vxlan-gpe with something else", overUDP(t, 50000, 4790, "0c000004 00006400"+innerIPv4), 17, 4790},
		{"geneve of another version", overUDP(t, 50000, 6081, "4000 0800 00006400"+innerIPv4), 17, 6081},
		{"geneve with options beyond the end", overUDP(t, 50000, 6081, "3f00 0800 00006400"+innerIPv4), 17, 6081},
		{"gtp echo", overUDP(t, 2152, 2152, "3001 0024 00000001"+innerIPv4), 17, 2152},
		{"gtp with extensions without end", overUDP(t, 2152, 2152, "34ff 0024 00000001 00000085"+strings.Repeat("01000085", 9)+innerIPv4), 17, 2152},
		{"gtp with an extension of no length", overUDP(t, 2152, 2152, "34ff 0024 00000001 00000085 00000085"+innerIPv4), 17, 2152},
		{"a six in the first byte is no teredo", overUDP(t, 50000, 50001, strings.Replace(innerIPv6, "20010000", "20010db8", 1)), 17, 50001},
		{"teredo that does not fill the datagram", overUDP(t, 50000, 3544, innerIPv6+"00"), 17, 3544},
		{"gre with a route", outer(t, 47, "4000 0800 00000000"+innerIPv4), 47, 0},
		{"gre of another version", outer(t, 47, "0002 0800"+innerIPv4), 47, 0},
		{"gre with keepalive", outer(t, 47, "0000 0000"), 47, 0},
		{"ipv6 where it says ipv4", outer(t, 4, innerIPv6), 4, 0},
	}
	for _, test := range tests {
		data := bytesOf(t, ethIPv4+test.data)
		var have Packet
		outcome := Decode(&have, capture.LinkEthernet, data, uint32(len(data)))
		if outcome != Flow || have.Tunnel != 0 || have.tunnels != 0 || have.Proto != test.proto || have.DstPort != test.port ||
			have.SrcAddr() != netip.MustParseAddr("10.0.0.1") || int(have.Length) != len(data)-14 {
			t.Errorf("%s: %s %+v", test.name, outcome, have)
		}
	}
}

func TestNestedTunnels(t *testing.T) {
	data := innerIPv4
	for n := 1; n <= maxTunnels+2; n++ {
		data = outer(t, 4, data)
		raw := bytesOf(t, data)
		var have Packet
		outcome := Decode(&have, capture.LinkRaw, raw, uint32(len(raw)))
		if outcome != Flow || int(have.tunnels) != min(n, maxTunnels) || (have.DstPort == 53) != (n <= maxTunnels) {
			t.Errorf("%d tunnels: %s, %d opened, port %d", n, outcome, have.tunnels, have.DstPort)
		}
	}
	// The order counts, and so does each identifier.
	seen := map[uint64]string{}
	for _, chain := range [][]uint32{{1}, {2}, {1, 2}, {2, 1}, {1, 1}, {1, 1, 1}} {
		var p Packet
		for _, id := range chain {
			p.within(carrierVXLAN, id)
		}
		if before, double := seen[p.Tunnel]; double || p.Tunnel == 0 {
			t.Errorf("%v and %s have the same number", chain, before)
		}
		seen[p.Tunnel] = fmt.Sprint(chain)
	}
}

func TestFragmentsAndTunnels(t *testing.T) {
	vxlan := bytesOf(t, overUDP(t, 50000, 4789, "08000000 00006400"+ethInner+innerIPv4))
	vxlan[6] |= 0x20 // the first fragment of the packet around it
	var p Packet
	if outcome := Decode(&p, capture.LinkRaw, vxlan, uint32(len(vxlan))); outcome != Flow || p.tunnels != 1 || !p.Part.Is || p.Part.Tunnel != 0 {
		t.Errorf("%s %+v", outcome, p)
	}
	if piece := p.Piece(vxlan); piece.Of.Src != netip.MustParseAddr("10.0.0.1").As16() || !piece.More || int(piece.Length) != len(vxlan)-20 {
		t.Errorf("%+v", piece)
	}
	inside := len(vxlan) - len(bytesOf(t, innerIPv4))
	vxlan[inside+6] = 0x20 // a fragment in a fragment
	if outcome := Decode(&p, capture.LinkRaw, vxlan, uint32(len(vxlan))); outcome != Flow || p.tunnels != 0 || p.DstPort != 4789 {
		t.Errorf("%s %+v", outcome, p)
	}
	vxlan[6], vxlan[inside+7] = 0, 9 // a later, not the last, fragment in a whole packet
	if outcome := Decode(&p, capture.LinkRaw, vxlan, uint32(len(vxlan))); outcome != Fragment || p.Part.Tunnel != carried(carrierVXLAN, 100) {
		t.Errorf("%s %+v", outcome, p)
	}
	if piece := p.Piece(vxlan); piece.Of.Src != netip.MustParseAddr("10.9.0.1").As16() || piece.Offset != 72 || !piece.More || piece.Of.Tunnel == 0 {
		t.Errorf("%+v", piece)
	}
}

func TestLinksWithoutIPAround(t *testing.T) {
	flow, notIP, malformed := "flow", "not-ip", "malformed"
	eth := func(kind string) string { return "020000000002 020000000001 " + kind }
	tests := []struct {
		name string
		link capture.LinkType
		data string
		want string
	}{
		{"pseudowire with control word", capture.LinkEthernet, eth("8847") + "00010140 00000000" + ethInner + innerIPv4, flow},
		{"pseudowire without", capture.LinkEthernet, eth("8847") + "00010140 f2" + ethInner[2:] + innerIPv4, flow},
		{"pseudowire with arp", capture.LinkEthernet, eth("8847") + "00010140 00000000" + innerARP, notIP},
		{"pseudowire's own channel", capture.LinkEthernet, eth("8847") + "00010140 10000021" + innerIPv4, notIP},
		{"labels without end", capture.LinkEthernet, eth("8847") + strings.Repeat("00010040", 40), malformed},
		{"pseudowires without end", capture.LinkEthernet, eth("8847") + strings.Repeat("00010140 00000000 020000000002 020000000001 8847", 20), malformed},
		{"backbone", capture.LinkEthernet, eth("88e7") + "00000064" + ethInner + innerIPv4, flow},
		{"backbone with arp", capture.LinkEthernet, eth("88e7") + "00000064" + innerARP, notIP},
		{"802.3 with SNAP", capture.LinkEthernet, eth("002c") + snapHeader + innerIPv4, flow},
		{"cdp", capture.LinkEthernet, eth("0010") + "aaaa03 00000c 2000 0102030405060708", notIP},
		{"ppp", capture.LinkPPP, "ff03 0021" + innerIPv4, flow},
		{"ppp, compressed", capture.LinkPPP, "21" + innerIPv4, flow},
		{"ppp control", capture.LinkPPP, "ff03 c021 01010004", notIP},
		{"serial line with cisco's frames", capture.LinkPPPSerial, "0f00 0800" + innerIPv4, flow},
		{"serial line with ppp", capture.LinkPPPSerial, "ff03 0021" + innerIPv4, flow},
		{"cisco hdlc", capture.LinkCHDLC, "0f00 0800" + innerIPv4, flow},
		{"pppoe", capture.LinkPPPoE, "1100 0001 0026 0021" + innerIPv4, flow},
		{"802.11 from a client", capture.Link80211, "0801 0000" + addresses80 + snapHeader + innerIPv4, flow},
		{"802.11 with quality of service", capture.Link80211, "8802 0000" + addresses80 + "0000" + snapHeader + innerIPv4, flow},
		{"802.11 with high throughput control", capture.Link80211, "8882 0000" + addresses80 + "0000 00000000" + snapHeader + innerIPv4, flow},
		{"802.11 between stations of a bridge", capture.Link80211, "0803 0000" + addresses80 + "0a0000000004" + snapHeader + innerIPv4, flow},
		{"802.11, several packets in one", capture.Link80211, "8802 0000" + addresses80 + "8000" + "0a0000000001 0a0000000002 002c" + snapHeader + innerIPv4, flow},
		{"802.11, encrypted", capture.Link80211, "0841 0000" + addresses80 + snapHeader + innerIPv4, notIP},
		{"802.11 beacon", capture.Link80211, "8000 0000" + addresses80, notIP},
		{"802.11 without data", capture.Link80211, "4801 0000" + addresses80, notIP},
		{"802.11, a later fragment", capture.Link80211, "0801 0000" + strings.Replace(addresses80, "1000 ", "1100 ", 1) + snapHeader + innerIPv4, notIP},
		{"802.11 cut off", capture.Link80211, "0801 0000 0a0000000001", malformed},
		{"radiotap", capture.LinkRadiotap, "0000 0800 00000000" + "0801 0000" + addresses80 + snapHeader + innerIPv4, flow},
		{"radiotap with time, flags, check sequence and padding", capture.LinkRadiotap,
			"0000 1900 0300 0080 00000000 00000000 0000000000000000 30" + "8801 0000" + addresses80 + "0000 0000" + snapHeader + innerIPv4 + "deadbeef", flow},
		{"radiotap: the card knows of the damage", capture.LinkRadiotap, "0000 0900 02000000 40" + "0801 0000" + addresses80 + snapHeader + innerIPv4, malformed},
		{"radiotap longer than the packet", capture.LinkRadiotap, "0000 ff00 00000000", malformed},
		{"ppi", capture.LinkPPI, "0000 0800 69000000" + "0801 0000" + addresses80 + snapHeader + innerIPv4, flow},
		{"ppi in ppi", capture.LinkPPI, "0000 0800 c0000000 0000 0800 c0000000", malformed},
	}
	for _, test := range tests {
		data := bytesOf(t, test.data)
		var have Packet
		outcome := Decode(&have, test.link, data, uint32(len(data)))
		if outcome.String() != test.want {
			t.Errorf("%s: %s, want %s", test.name, outcome, test.want)
		} else if outcome == Flow && (have.SrcAddr() != netip.MustParseAddr("10.9.0.1") || have.DstPort != 53 || have.Length != 36) {
			t.Errorf("%s: %+v", test.name, have)
		}
	}
}

// Radiotap's own words may say that there are more of them than there are bytes.
func TestRadiotapWithoutEnd(t *testing.T) {
	data := make([]byte, 64)
	binary.LittleEndian.PutUint16(data[2:], uint16(len(data)))
	for i := 4; i < len(data); i++ {
		data[i] = 0xff
	}
	var p Packet
	if outcome := Decode(&p, capture.LinkRadiotap, data, uint32(len(data))); outcome != Malformed {
		t.Errorf("%s", outcome)
	}
}

// The outer addresses are longer than the inner ones, and nothing of them is left.
func TestIPv4InIPv6(t *testing.T) {
	inner := bytesOf(t, innerIPv4)
	data := append(bytesOf(t, fmt.Sprintf("60000000 %04x 04 40 20010000000000000000000000000001 20010db8000000000000000000000002", len(inner))), inner...)
	var have Packet
	if outcome := Decode(&have, capture.LinkRaw, data, uint32(len(data))); outcome != Flow || have.Version != 4 {
		t.Fatalf("%s, version %d", outcome, have.Version)
	}
	if src, dst := netip.MustParseAddr("10.9.0.1").As16(), netip.MustParseAddr("10.9.0.2").As16(); have.Src != src || have.Dst != dst {
		t.Errorf("%x to %x", have.Src, have.Dst)
	}
}
