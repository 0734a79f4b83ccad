package flow

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestServices(t *testing.T) {
	at := netip.MustParseAddr
	const both = sdk.FlagSYN | sdk.FlagACK
	tcp := func(dst string, port uint16, answer uint8) sdk.Flow {
		return sdk.Flow{Proto: sdk.ProtoTCP, Src: at("10.0.0.1"), Dst: at(dst), DstPort: port, RevFlags: answer}
	}
	udp := func(src, dst string, port uint16, answers uint64) sdk.Flow {
		return sdk.Flow{Proto: sdk.ProtoUDP, Src: at(src), Dst: at(dst), DstPort: port, RevPackets: answers}
	}
	var s Services
	if got := s.List(); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	s.Add([]sdk.Flow{
		tcp("10.0.0.2", 502, both), tcp("10.0.0.2", 502, both|sdk.FlagPSH), tcp("10.0.0.3", 502, both),
		tcp("10.0.0.4", 502, sdk.FlagRST|sdk.FlagACK), tcp("10.0.0.5", 502, 0), // a scan meets closed ports and silence
		tcp("10.0.0.2", 50123, both), // no port of a service
		udp("10.0.0.1", "10.0.0.2", 161, 1), udp("10.0.0.1", "10.0.0.3", 161, 0),
	})
	s.Add([]sdk.Flow{
		udp("10.0.0.7", "224.0.0.251", 5353, 0), udp("10.0.0.8", "224.0.0.251", 5353, 0), udp("fe80::1", "ff02::fb", 5353, 0),
	})
	want := []Service{{sdk.ProtoUDP, 5353, 3}, {sdk.ProtoTCP, 502, 2}, {sdk.ProtoUDP, 161, 1}}
	if got := s.List(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestServicesAreBounded(t *testing.T) {
	var s Services
	for n := range 2 * maxServiceHosts {
		host := netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})
		s.Add([]sdk.Flow{{Proto: sdk.ProtoUDP, Dst: host, DstPort: 53, RevPackets: 1}})
	}
	for port := range uint16(1000) {
		s.Add([]sdk.Flow{{Proto: sdk.ProtoUDP, Dst: netip.AddrFrom4([4]byte{10}), DstPort: port, RevPackets: 1}})
	}
	got := s.List()
	if len(got) != maxServices || got[0].Hosts != maxServiceHosts {
		t.Errorf("%d services, %s", len(got), fmt.Sprint(got[:1]))
	}
}
