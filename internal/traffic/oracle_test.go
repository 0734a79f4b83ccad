package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/sdk"
)

// TestFeaturesAgreeWithAPlainComputation computes the features of every conversation that is one flow a second time: another
// reader and decoder (gopacket), the definitions of README.md in their plainest form, two passes in floating point.
func TestFeaturesAgreeWithAPlainComputation(t *testing.T) {
	compared := 0
	for _, file := range sharedCaptures(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			conversations, ok := plainConversations(t, file)
			if !ok {
				return // gopacket cannot read this one
			}
			flows := map[string][]sdk.Flow{}
			_, err := AnalyzeFile(context.Background(), file, Options{}, nil, func(list []sdk.Flow) error {
				for _, f := range list {
					k := conversationKey(f.Proto, f.VLAN, netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort))
					flows[k] = append(flows[k], f)
				}
				return nil
			})
			var damaged *capture.DamagedError
			if err != nil && !errors.As(err, &damaged) {
				t.Fatal(err)
			}
			for k, list := range flows {
				packets := conversations[k]
				if len(list) != 1 || uint64(len(packets)) != list[0].FwdPackets+list[0].RevPackets {
					continue // several flows, or packets that gopacket could not decode
				}
				compared++
				compareFeatures(t, k, &list[0], packets)
			}
		})
	}
	if compared < 5_000 {
		t.Errorf("only %d flows were compared", compared)
	}
}

// plain is what gopacket says about one packet.
type plain struct {
	at      time.Time
	from    netip.AddrPort
	length  float64
	payload float64
	tcp     *layers.TCP
}

func conversationKey(proto uint8, vlan uint16, a, b netip.AddrPort) string {
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return fmt.Sprint(proto, vlan, a, b)
}

func plainConversations(t *testing.T, file string) (map[string][]plain, bool) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var source interface {
		gopacket.PacketDataSource
		LinkType() layers.LinkType
	}
	if source, err = pcapgo.NewReader(bytes.NewReader(data)); err != nil {
		if source, err = pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{}); err != nil {
			return nil, false
		}
	}
	out := map[string][]plain{}
	for {
		packet, info, err := source.ReadPacketData()
		if err != nil {
			return out, errors.Is(err, io.EOF)
		}
		if k, p, ok := plainPacket(gopacket.NewPacket(packet, source.LinkType(), gopacket.Default), info.Timestamp); ok {
			out[k] = append(out[k], p)
		}
	}
}

// plainPacket takes only what is beyond doubt: one IP header, TCP or UDP, nothing cut off.
func plainPacket(packet gopacket.Packet, at time.Time) (key string, p plain, ok bool) {
	var src, dst netip.Addr
	var vlan uint16
	var tcp *layers.TCP
	var udp *layers.UDP
	headers, length, header := 0, 0, 0
	for _, l := range packet.Layers() {
		switch l := l.(type) {
		case *layers.Dot1Q:
			if vlan == 0 {
				vlan = l.VLANIdentifier
			}
		case *layers.IPv4:
			src, _ = netip.AddrFromSlice(l.SrcIP)
			dst, _ = netip.AddrFromSlice(l.DstIP)
			headers, length, header = headers+1, int(l.Length), int(l.IHL)*4
			if l.FragOffset != 0 || l.Version != 4 {
				return "", p, false
			}
		case *layers.IPv6:
			src, _ = netip.AddrFromSlice(l.SrcIP)
			dst, _ = netip.AddrFromSlice(l.DstIP)
			headers, length, header = headers+1, int(l.Length)+40, 40
		case *layers.IPv6HopByHop, *layers.IPv6Routing, *layers.IPv6Destination, *layers.IPv6Fragment:
			return "", p, false
		case *layers.TCP:
			tcp = l
		case *layers.UDP:
			udp = l
		}
	}
	if headers != 1 || packet.ErrorLayer() != nil || packet.Metadata().Truncated {
		return "", p, false
	}
	p = plain{at: at, length: float64(length), tcp: tcp}
	switch {
	case tcp != nil:
		p.from, p.payload = netip.AddrPortFrom(src, uint16(tcp.SrcPort)), float64(len(tcp.Payload))
		return conversationKey(sdk.ProtoTCP, vlan, p.from, netip.AddrPortFrom(dst, uint16(tcp.DstPort))), p, true
	case udp != nil:
		// The IP header counts, as README.md says: the length in a UDP header may lie.
		p.from, p.payload = netip.AddrPortFrom(src, uint16(udp.SrcPort)), float64(length-header-8)
		return conversationKey(sdk.ProtoUDP, vlan, p.from, netip.AddrPortFrom(dst, uint16(udp.DstPort))), p, true
	}
	return "", p, false
}

func compareFeatures(t *testing.T, key string, f *sdk.Flow, packets []plain) {
	t.Helper()
	src := netip.AddrPortFrom(f.Src, f.SrcPort)
	same := f.SrcPort == f.DstPort && f.Src == f.Dst
	forward := func(p plain) bool { return p.from == src || same }
	want := map[string]float64{}
	var all, fwd, rev []plain
	for _, p := range packets {
		all = append(all, p)
		if forward(p) {
			fwd = append(fwd, p)
		} else {
			rev = append(rev, p)
		}
		if p.tcp == nil {
			continue
		}
		for name, set := range map[string]bool{"syn": p.tcp.SYN, "fin": p.tcp.FIN, "rst": p.tcp.RST, "psh": p.tcp.PSH, "ack": p.tcp.ACK, "urg": p.tcp.URG} {
			if set {
				want[name]++
			}
		}
	}
	length := func(p plain) float64 { return p.length }
	payload := func(p plain) float64 { return p.payload }
	have := map[string]float64{
		"fwd packets": float64(f.FwdPackets), "rev packets": float64(f.RevPackets), "fwd bytes": float64(f.FwdBytes), "rev bytes": float64(f.RevBytes),
		"fwd payload": float64(f.FwdPayload), "rev payload": float64(f.RevPayload),
		"fwd len min": f.FwdLenMin, "fwd len max": f.FwdLenMax, "fwd len mean": f.FwdLenMean, "fwd len std": f.FwdLenStd,
		"rev len min": f.RevLenMin, "rev len max": f.RevLenMax, "rev len mean": f.RevLenMean, "rev len std": f.RevLenStd,
		"iat min": f.IATMin, "iat max": f.IATMax, "iat mean": f.IATMean, "iat std": f.IATStd,
		"fwd iat min": f.FwdIATMin, "fwd iat max": f.FwdIATMax, "fwd iat mean": f.FwdIATMean, "fwd iat std": f.FwdIATStd,
		"rev iat min": f.RevIATMin, "rev iat max": f.RevIATMax, "rev iat mean": f.RevIATMean, "rev iat std": f.RevIATStd,
		"syn": f.SynCount, "fin": f.FinCount, "rst": f.RstCount, "psh": f.PshCount, "ack": f.AckCount, "urg": f.UrgCount,
		"duration": f.Duration().Seconds(),
	}
	want["fwd packets"], want["rev packets"] = float64(len(fwd)), float64(len(rev))
	want["fwd bytes"], want["rev bytes"] = total(fwd, length), total(rev, length)
	want["fwd payload"], want["rev payload"] = total(fwd, payload), total(rev, payload)
	want["duration"] = span(all)
	figures(want, "fwd len", values(fwd, length))
	figures(want, "rev len", values(rev, length))
	figures(want, "iat", gaps(all))
	figures(want, "fwd iat", gaps(fwd))
	figures(want, "rev iat", gaps(rev))
	for name, h := range have {
		if w := want[name]; math.Abs(h-w) > 1e-9*max(1, math.Abs(w)) {
			t.Errorf("flow %d (%s): %s is %g, computed plainly %g", f.ID, key, name, h, w)
		}
	}
}

func values(list []plain, of func(plain) float64) (out []float64) {
	for _, p := range list {
		out = append(out, of(p))
	}
	return out
}

func total(list []plain, of func(plain) float64) (sum float64) {
	for _, v := range values(list, of) {
		sum += v
	}
	return sum
}

func gaps(list []plain) (out []float64) {
	for i := 1; i < len(list); i++ {
		out = append(out, max(0, list[i].at.Sub(list[i-1].at).Seconds()))
	}
	return out
}

func span(list []plain) float64 {
	first, last := list[0].at, list[0].at
	for _, p := range list {
		if p.at.Before(first) {
			first = p.at
		}
		if p.at.After(last) {
			last = p.at
		}
	}
	return last.Sub(first).Seconds()
}

func figures(into map[string]float64, name string, v []float64) {
	if len(v) == 0 {
		return
	}
	lo, hi, sum, squares := v[0], v[0], 0.0, 0.0
	for _, x := range v {
		lo, hi, sum = min(lo, x), max(hi, x), sum+x
	}
	mean := sum / float64(len(v))
	for _, x := range v {
		squares += (x - mean) * (x - mean)
	}
	into[name+" min"], into[name+" max"], into[name+" mean"] = lo, hi, mean
	into[name+" std"] = math.Sqrt(squares / float64(len(v)))
}
