package decode

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// bytesOf reads hex with spaces.
func bytesOf(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const (
	ethIPv4 = "020000000002 020000000001 0800 "
	ethIPv6 = "020000000002 020000000001 86dd "
	ipv4TCP = "4500 0030 0001 0000 40 06 0000 0a000001 0a000002 " // 48 bytes: 20 header, 20 TCP, 8 payload
	tcpSYN  = "c000 0050 00000007 00000000 5002 ffff 0000 0000 "
	eight   = "0102030405060708 "
)

func TestDecode(t *testing.T) {
	tcp := Packet{Version: 4, Proto: 6, SrcPort: 49152, DstPort: 80, Seq: 7, Flags: 2, Length: 48, Payload: 8, TTL: 64, Window: 0xffff, Whole: true}
	with := func(change func(*Packet)) Packet {
		p := tcp
		change(&p)
		return p
	}
	tests := []struct {
		name, data string
		link       capture.LinkType
		outcome    Outcome
		want       Packet
	}{
		{"ethernet", ethIPv4 + ipv4TCP + tcpSYN + eight, capture.LinkEthernet, Flow, tcp},
		{"padding is not payload", ethIPv4 + ipv4TCP + tcpSYN + eight + "000000000000", capture.LinkEthernet, Flow, tcp},
		{"raw", ipv4TCP + tcpSYN + eight, capture.LinkRaw, Flow, tcp},
		{"null, little endian host", "02000000" + ipv4TCP + tcpSYN + eight, capture.LinkNull, Flow, tcp},
		{"null, big endian host", "00000002" + ipv4TCP + tcpSYN + eight, capture.LinkNull, Flow, tcp},
		{"linux cooked", "0000 0001 0006 020000000001 0000 0800" + ipv4TCP + tcpSYN + eight, capture.LinkSLL, Flow, tcp},
		{"linux cooked 2", "0800 0000 00000001 0001 00 06 0200000000010000" + ipv4TCP + tcpSYN + eight, capture.LinkSLL2, Flow, tcp},
		{"vlan", "020000000002 020000000001 8100 e064 0800" + ipv4TCP + tcpSYN + eight, capture.LinkEthernet, Flow, with(func(p *Packet) { p.VLAN = 100 })},
		{"qinq: the outer tag is the packet's", "020000000002 020000000001 88a8 0005 8100 0064 0800" + ipv4TCP + tcpSYN + eight, capture.LinkEthernet, Flow,
			with(func(p *Packet) {
				p.VLAN, p.Tunnel, p.Carrier, p.TunnelID = 5, carried(carrierTag, 100), carrierTag, 100
			})},
		{"mpls, two labels", "020000000002 020000000001 8847 00010040 00020140" + ipv4TCP + tcpSYN + eight, capture.LinkEthernet, Flow, tcp},
		{"pppoe", "020000000002 020000000001 8864 1100 0001 0032 0021" + ipv4TCP + tcpSYN + eight, capture.LinkEthernet, Flow, tcp},
		{"segmentation offload: total length 0", ethIPv4 + strings.Replace(ipv4TCP, "0030", "0000", 1) + tcpSYN + eight, capture.LinkEthernet, Flow, tcp},
		{"cut off in the TCP header", ethIPv4 + ipv4TCP + "c000 0050 0000", capture.LinkEthernet, Flow,
			with(func(p *Packet) {
				p.Seq, p.Flags, p.Payload, p.Short, p.Length, p.Window, p.Whole = 0, 0, 0, true, 26, 0, false
			})},
		{"cut off before the ports", ethIPv4 + ipv4TCP + "c0", capture.LinkEthernet, Flow,
			with(func(p *Packet) {
				p.SrcPort, p.DstPort, p.Seq, p.Flags, p.Payload, p.Short, p.Length, p.Window, p.Whole = 0, 0, 0, 0, 0, true, 21, 0, false
			})},
		{"first fragment has ports", ethIPv4 + strings.Replace(ipv4TCP, "0001 0000", "0001 2000", 1) + tcpSYN + eight, capture.LinkEthernet, Flow, tcp},
		{"later fragment has none", ethIPv4 + strings.Replace(ipv4TCP, "0001 0000", "0001 2003", 1) + tcpSYN + eight, capture.LinkEthernet, Fragment,
			Packet{Version: 4, Proto: 6, Length: 48, Payload: 28, TTL: 64}},
		{"udp", ethIPv4 + "4500 001e 0001 0000 40 11 0000 0a000001 0a000002 c001 0035 000a 0000 abcd", capture.LinkEthernet, Flow,
			Packet{Version: 4, Proto: 17, SrcPort: 49153, DstPort: 53, Length: 30, Payload: 2, TTL: 64}},
		{"icmp echo", ethIPv4 + "4500 0020 0001 0000 40 01 0000 0a000001 0a000002 0800 0000 0001 0001 aabbccdd", capture.LinkEthernet, Flow,
			Packet{Version: 4, Proto: 1, SrcPort: 8, Seq: 1<<16 | 1, Length: 32, Payload: 4, TTL: 64}},
		{"ip options", ethIPv4 + "4600 0020 0001 0000 40 11 0000 0a000001 0a000002 01010101 c001 0035 0008 0000", capture.LinkEthernet, Flow,
			Packet{Version: 4, Proto: 17, SrcPort: 49153, DstPort: 53, Length: 32, TTL: 64}},
		{"arp", "ffffffffffff 020000000001 0806 0001080006040001", capture.LinkEthernet, NotIP, Packet{}},
		{"802.3 length field", "0180c2000000 020000000001 0026 424203", capture.LinkEthernet, NotIP, Packet{}},
		{"short ethernet", "020000000002", capture.LinkEthernet, Malformed, Packet{}},
		{"header length below 20", ethIPv4 + "41" + ipv4TCP[2:] + tcpSYN, capture.LinkEthernet, Malformed, Packet{}},
		{"total length below the header", ethIPv4 + strings.Replace(ipv4TCP, "0030", "0008", 1) + tcpSYN, capture.LinkEthernet, Malformed, Packet{}},
		{"tags without end", "020000000002 020000000001 " + strings.Repeat("8100 0001", 40), capture.LinkEthernet, Malformed, Packet{}},
		{"netlink", "00", 253, Unsupported, Packet{}},
	}
	for _, test := range tests {
		data := bytesOf(t, test.data)
		var have Packet
		outcome := Decode(&have, test.link, data, uint32(len(data)))
		if outcome == Flow || outcome == Fragment {
			if src, dst := have.SrcAddr(), have.DstAddr(); src != netip.MustParseAddr("10.0.0.1") || dst != netip.MustParseAddr("10.0.0.2") {
				t.Errorf("%s: addresses %s, %s", test.name, src, dst)
			}
			have.Src, have.Dst = [16]byte{}, [16]byte{}
			if outcome == Flow && (have.Proto == 6 || have.Proto == 17) && len(have.Body) != int(have.Payload) {
				t.Errorf("%s: %d bytes of a payload of %d", test.name, len(have.Body), have.Payload)
			}
			have.Body, have.Part = nil, Part{}
		}
		if test.outcome != outcome {
			t.Errorf("%s: %s, want %s", test.name, outcome, test.outcome)
		} else if outcome == Flow || outcome == Fragment {
			if !reflect.DeepEqual(have, test.want) {
				t.Errorf("%s:\n have %+v\n want %+v", test.name, have, test.want)
			}
		}
	}
}

// carried is Packet.Tunnel for one tunnel.
func carried(kind Carrier, id uint32) uint64 { return uint64(kind)<<32 | uint64(id) }

// ip6 builds an IPv6 packet from the headers behind the fixed one.
func ip6(t *testing.T, next byte, headers string) []byte {
	t.Helper()
	body := bytesOf(t, headers)
	b := bytesOf(t, ethIPv6+"60000000 0000 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002")
	binary.BigEndian.PutUint16(b[14+4:], uint16(len(body)))
	b[14+6] = next
	return append(b, body...)
}

func TestIPv6ExtensionHeaders(t *testing.T) {
	const udp = "c001 0035 000a 0000 abcd"
	tests := []struct {
		name    string
		next    byte
		headers string
		outcome Outcome
		want    Packet // proto, ports, payload, short
	}{
		{"none", 17, udp, Flow, Packet{Proto: 17, SrcPort: 49153, DstPort: 53, Payload: 2}},
		{"hop by hop", 0, "11 00 010400000000" + udp, Flow, Packet{Proto: 17, SrcPort: 49153, DstPort: 53, Payload: 2}},
		{"hop by hop, routing, destination", 0, "2b 00 010400000000" + "3c 00 000000000000" + "11 00 010400000000" + udp, Flow,
			Packet{Proto: 17, SrcPort: 49153, DstPort: 53, Payload: 2}},
		{"authentication header counts in words", 51, "11 04 0000 00000001 00000001" + "000000000000000000000000" + udp, Flow,
			Packet{Proto: 17, SrcPort: 49153, DstPort: 53, Payload: 2}},
		{"first fragment", 44, "11 00 0001 00000009" + udp, Flow, Packet{Proto: 17, SrcPort: 49153, DstPort: 53, Payload: 2}},
		{"later fragment", 44, "11 00 0009 00000009" + udp, Fragment, Packet{Proto: 17, Payload: 10}},
		{"two fragment headers", 44, "2c 00 0001 00000009 11 00 0001 00000009" + udp, Malformed, Packet{Proto: 44}},
		{"header longer than the packet", 0, "11 20 010400000000" + udp, Flow, Packet{Proto: 0, Short: true}},
		{"header cut off", 60, "11 00", Flow, Packet{Proto: 60, Short: true}},
		{"chain without end", 60, strings.Repeat("3c 00 010400000000", 40), Flow, Packet{Proto: 60, Short: true}},
		{"no next header", 59, "", Flow, Packet{Proto: 59}},
		{"encrypted", 50, "0000000100000001", Flow, Packet{Proto: 50, Payload: 8}},
	}
	for _, test := range tests {
		data := ip6(t, test.next, test.headers)
		var have Packet
		outcome := Decode(&have, capture.LinkEthernet, data, uint32(len(data)))
		have = Packet{Proto: have.Proto, SrcPort: have.SrcPort, DstPort: have.DstPort, Payload: have.Payload, Short: have.Short}
		if outcome != test.outcome || !reflect.DeepEqual(have, test.want) {
			t.Errorf("%s: %s\n have %+v\n want %+v", test.name, outcome, have, test.want)
		}
	}
}

// However a packet is cut, decoding it finds less, never something else.
func TestTruncationOnlyLoses(t *testing.T) {
	data := bytesOf(t, ethIPv4+ipv4TCP+tcpSYN+eight)
	var whole Packet
	Decode(&whole, capture.LinkEthernet, data, uint32(len(data)))
	for n := range data {
		var cut Packet
		outcome := Decode(&cut, capture.LinkEthernet, data[:n], uint32(len(data)))
		if n < 34 {
			if outcome != Malformed {
				t.Errorf("cut at %d: %s", n, outcome)
			}
			continue
		}
		if outcome != Flow || cut.Length != whole.Length || cut.Src != whole.Src || cut.Proto != whole.Proto {
			t.Errorf("cut at %d: %s %+v", n, outcome, cut)
		}
		if cut.SrcPort != 0 && cut.SrcPort != whole.SrcPort || cut.Flags != 0 && cut.Flags != whole.Flags {
			t.Errorf("cut at %d: %+v", n, cut)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint16(1), uint32(62), bytesOf(f, ethIPv4+ipv4TCP+tcpSYN+eight))
	f.Add(uint16(1), uint32(80), bytesOf(f, "020000000002 020000000001 88a8 0005 8864 1100 0001 0032 0021"+ipv4TCP+tcpSYN))
	f.Add(uint16(101), uint32(60), bytesOf(f, "60000000 0012 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002 2c00010400000000 1100000100000009 c0010035"))
	for _, link := range []capture.LinkType{capture.LinkNull, capture.LinkSLL, capture.LinkSLL2, capture.LinkIPv6} {
		f.Add(uint16(link), uint32(40), make([]byte, 40))
	}
	for _, text := range []string{
		overUDP(f, 50000, 4789, "08000000 00006400"+ethInner+innerIPv4), overUDP(f, 50000, 6081, "0200 0800 00006400 0000000100000000"+innerIPv4),
		overUDP(f, 2152, 2152, "34ff 0024 00000001 00000085 01000085 01000000"+innerIPv4), overUDP(f, 50000, 3544, "00010000 0000000000000000 00"+innerIPv6),
		outer(f, 47, "b000 0800 00000000 00000007 00000001"+innerIPv4), outer(f, 47, "1000 22eb 00000001 2001000a 00000000 00000000"+ethInner+innerIPv4),
		outer(f, 4, outer(f, 41, innerIPv6)),
	} {
		f.Add(uint16(capture.LinkRaw), uint32(0), bytesOf(f, text))
	}
	f.Add(uint16(capture.LinkEthernet), uint32(0), bytesOf(f, "020000000002 020000000001 8847 00010140 00000000"+ethInner+innerIPv4))
	f.Add(uint16(capture.Link80211), uint32(0), bytesOf(f, "8802 0000"+addresses80+"8000 0a0000000001 0a0000000002 002c"+snapHeader+innerIPv4))
	f.Add(uint16(capture.LinkRadiotap), uint32(0), bytesOf(f, "0000 1900 0300 0080 00000000 00000000 0000000000000000 30 0801 0000"+addresses80+snapHeader+innerIPv4))
	f.Add(uint16(capture.LinkPPPSerial), uint32(0), bytesOf(f, "ff03 0281 00010140"+innerIPv4))
	f.Fuzz(func(t *testing.T, link uint16, length uint32, data []byte) {
		length = max(length, uint32(len(data))) // what the reader promises
		var p, again Packet
		outcome := Decode(&p, capture.LinkType(link), data, length)
		if outcome >= Outcomes {
			t.Fatalf("outcome %d", outcome)
		}
		if p.Length > length || outcome == Flow && p.Payload > p.Length {
			t.Fatalf("%d bytes, %d of payload, from %d on the wire", p.Length, p.Payload, length)
		}
		if outcome == Flow && p.Version != 4 && p.Version != 6 {
			t.Fatalf("a flow of IP version %d", p.Version)
		}
		if int(p.tunnels) > maxTunnels || len(p.Body) > int(p.Payload) || outcome == Fragment && !p.Part.Is || outcome > Fragment && p.Part.Is {
			t.Fatalf("%+v", p)
		}
		if p.Part.Is && outcome <= Fragment {
			if piece := p.Piece(data); len(piece.Data) > int(piece.Length) || piece.Of.Version != 4 && piece.Of.Version != 6 {
				t.Fatalf("%+v of %+v", piece, p)
			}
		}
		again.Seq, again.VLAN = 1, 1 // nothing of the packet before may remain
		if Decode(&again, capture.LinkType(link), data, length); !reflect.DeepEqual(again, p) {
			t.Fatalf("decoded twice:\n%+v\n%+v", p, again)
		}
	})
}
