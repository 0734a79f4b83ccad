package decode

import (
	"encoding/binary"
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
	levels := oracle(p)
	var have Packet
	outcome := Decode(&have, p.Link, p.Data, p.Length)
	if len(levels) == 0 {
		return false
	}
	// gopacket does not know every tunnel, and guesses at some; whatever both opened, the innermost packet must be the same.
	want := levels[min(int(have.tunnels), len(levels)-1)]
	if int(have.tunnels) < len(levels)-1 && !closed(levels, int(have.tunnels)) {
		t.Errorf("packet %d: %d tunnels opened, gopacket opens %d", p.Number, have.tunnels, len(levels)-1)
		return true
	}
	if int(have.tunnels) > len(levels)-1 {
		return false
	}
	if outcome != Flow && outcome != Fragment {
		t.Errorf("packet %d: %s, gopacket decodes %+v", p.Number, outcome, want)
		return true
	}
	got := answer{src: have.SrcAddr(), dst: have.DstAddr(), proto: have.Proto, fragment: outcome == Fragment, sound: want.sound}
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

// closed reports whether a tunnel is rightly not opened: what is inside has a broken header, or is a fragment in a fragment,
// or lies too deep.
func closed(levels []answer, opened int) bool {
	return opened == maxTunnels || !levels[opened+1].sound
}

// answer is what both decoders say about an IP header and the transport header behind it.
type answer struct {
	sound            bool // the header does not contradict itself
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
	capture.LinkSLL2: layers.LinkTypeLinuxSLL2, capture.LinkRadiotap: layers.LinkTypeIEEE80211Radio, capture.Link80211: layers.LinkTypeIEEE802_11,
	capture.LinkPPP: layers.LinkTypePPP,
}

// oracle gives an answer for each IP header, the outermost first.
func oracle(p *capture.Packet) (levels []answer) {
	link, known := gopacketLinks[p.Link]
	if !known {
		return nil
	}
	var a *answer
	level := func(src, dst []byte, proto uint8, fragment, sound bool) {
		levels = append(levels, answer{proto: proto, fragment: fragment, sound: sound, payload: -1})
		a = &levels[len(levels)-1]
		a.src, _ = netip.AddrFromSlice(src)
		a.dst, _ = netip.AddrFromSlice(dst)
		a.sound = sound && a.src.IsValid()
	}
	transport := func(proto uint8, src, dst uint16) {
		if a != nil && !a.fragment && a.proto == proto {
			a.transport, a.srcPort, a.dstPort = true, src, dst
		}
	}
	rest := func(behindSum []byte) { // of ICMP
		if a != nil && a.transport && len(behindSum) >= 4 {
			a.seq = binary.BigEndian.Uint32(behindSum)
		}
	}
	for _, l := range gopacket.NewPacket(p.Data, link, gopacket.NoCopy).Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			level(l.SrcIP, l.DstIP, uint8(l.Protocol), l.FragOffset != 0, l.Version == 4 && l.IHL >= 5)
		case *layers.IPv6:
			level(l.SrcIP, l.DstIP, uint8(l.NextHeader), false, l.Version == 6)
		case *layers.IPv6HopByHop:
			a.proto = uint8(l.NextHeader)
		case *layers.IPv6Routing:
			a.proto = uint8(l.NextHeader)
		case *layers.IPv6Destination:
			a.proto = uint8(l.NextHeader)
		case *layers.IPv6Fragment:
			a.proto, a.fragment = uint8(l.NextHeader), l.FragmentOffset != 0
		case *layers.TCP:
			if transport(protoTCP, uint16(l.SrcPort), uint16(l.DstPort)); a != nil && a.transport {
				a.seq, a.flags = l.Seq, l.Contents[13]
				if p.Length == uint32(len(p.Data)) {
					a.payload = len(l.Payload)
				}
			}
		case *layers.UDP:
			transport(protoUDP, uint16(l.SrcPort), uint16(l.DstPort))
		case *layers.ICMPv4:
			transport(protoICMP, uint16(l.TypeCode.Type()), uint16(l.TypeCode.Code()))
			rest(l.Contents[4:])
		case *layers.ICMPv6:
			transport(protoICMPv6, uint16(l.TypeCode.Type()), uint16(l.TypeCode.Code()))
			rest(l.Payload)
		}
	}
	// A broken outermost header gopacket reads all the same or gives up on halfway.
	if len(levels) > 0 && !levels[0].sound {
		return nil
	}
	return levels
}
