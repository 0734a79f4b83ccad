package decode

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// Each packet of the shared captures is also decoded by gopacket, which must agree wherever it gives an answer.
func TestAgreesWithGopacket(t *testing.T) {
	files, _ := filepath.Glob("../../../../shared/pcaps/*")
	if len(files) == 0 {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	compared := 0
	for _, file := range files {
		if ext := filepath.Ext(file); ext == ".tsv" || ext == ".csv" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := capture.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			var p capture.Packet
			for {
				if err := r.Next(&p); err != nil {
					var damaged *capture.DamagedError
					if !errors.Is(err, io.EOF) && !errors.As(err, &damaged) {
						t.Fatal(err)
					}
					break
				}
				if compareOne(t, &p) {
					compared++
				}
			}
		})
	}
	if compared < 50_000 {
		t.Errorf("only %d packets were compared", compared)
	}
}

func compareOne(t *testing.T, p *capture.Packet) bool {
	t.Helper()
	want, ok := oracle(p)
	var have Packet
	outcome := Decode(&have, p.Link, p.Data, p.Length)
	if !ok {
		return false
	}
	if outcome != Flow && outcome != Fragment {
		t.Errorf("packet %d: %s, gopacket decodes %+v", p.Number, outcome, want)
		return true
	}
	got := answer{src: have.SrcAddr(), dst: have.DstAddr(), proto: have.Proto, fragment: outcome == Fragment}
	if want.transport {
		got.transport, got.srcPort, got.dstPort, got.flags, got.seq = true, have.SrcPort, have.DstPort, have.Flags, have.Seq
	}
	if want.payload >= 0 && !have.Short {
		got.payload = int(have.Payload)
	} else {
		got.payload = want.payload
	}
	if got != want {
		t.Errorf("packet %d:\n have %+v\n want %+v", p.Number, got, want)
	}
	return true
}

// answer is what both decoders say about the first IP header and the transport header behind it.
type answer struct {
	src, dst         netip.Addr
	proto            uint8
	fragment         bool
	transport        bool // ports and flags are known
	srcPort, dstPort uint16
	flags            uint8
	seq              uint32
	payload          int // -1 when it cannot be told
}

var gopacketLinks = map[capture.LinkType]gopacket.Decoder{
	capture.LinkEthernet: layers.LinkTypeEthernet, capture.LinkSLL: layers.LinkTypeLinuxSLL, capture.LinkNull: layers.LinkTypeNull,
	capture.LinkRaw: layers.LinkTypeRaw, capture.LinkIPv4: layers.LinkTypeIPv4, capture.LinkIPv6: layers.LinkTypeIPv6,
	capture.LinkSLL2: layers.LinkTypeLinuxSLL2,
}

func oracle(p *capture.Packet) (answer, bool) {
	link, known := gopacketLinks[p.Link]
	if !known {
		return answer{}, false
	}
	a := answer{payload: -1}
	found := false
	for _, l := range gopacket.NewPacket(p.Data, link, gopacket.NoCopy).Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			if found {
				return a, true // a tunnel: only the outer header counts
			}
			found = true
			a.src, _ = netip.AddrFromSlice(l.SrcIP)
			a.dst, _ = netip.AddrFromSlice(l.DstIP)
			a.proto, a.fragment = uint8(l.Protocol), l.FragOffset != 0
			if l.Version != 4 || !a.src.IsValid() {
				return a, false // a broken header, which gopacket reads all the same or gives up on halfway
			}
		case *layers.IPv6:
			if found {
				return a, true
			}
			found = true
			a.src, _ = netip.AddrFromSlice(l.SrcIP)
			a.dst, _ = netip.AddrFromSlice(l.DstIP)
			a.proto = uint8(l.NextHeader)
			if l.Version != 6 || !a.src.IsValid() {
				return a, false
			}
		case *layers.IPv6HopByHop:
			a.proto = uint8(l.NextHeader)
		case *layers.IPv6Routing:
			a.proto = uint8(l.NextHeader)
		case *layers.IPv6Destination:
			a.proto = uint8(l.NextHeader)
		case *layers.IPv6Fragment:
			a.proto, a.fragment = uint8(l.NextHeader), l.FragmentOffset != 0
		case *layers.TCP:
			if found && !a.fragment && a.proto == protoTCP {
				a.transport, a.srcPort, a.dstPort, a.seq = true, uint16(l.SrcPort), uint16(l.DstPort), l.Seq
				a.flags = l.Contents[13]
				if p.Length == uint32(len(p.Data)) {
					a.payload = len(l.Payload)
				}
			}
			return a, found
		case *layers.UDP:
			if found && !a.fragment && a.proto == protoUDP {
				a.transport, a.srcPort, a.dstPort = true, uint16(l.SrcPort), uint16(l.DstPort)
			}
			return a, found
		case *layers.ICMPv4:
			if found && !a.fragment && a.proto == protoICMP {
				a.transport, a.srcPort, a.dstPort = true, uint16(l.TypeCode.Type()), uint16(l.TypeCode.Code())
			}
			return a, found
		case *layers.ICMPv6:
			if found && !a.fragment && a.proto == protoICMPv6 {
				a.transport, a.srcPort, a.dstPort = true, uint16(l.TypeCode.Type()), uint16(l.TypeCode.Code())
			}
			return a, found
		}
	}
	return a, found
}
