package sdk_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestRefsOfAFact(t *testing.T) {
	q := sdk.DNS{Seen: sdk.Seen{Flow: 7, Proto: sdk.ProtoUDP, Client: netip.MustParseAddr("10.0.0.1"), ClientPort: 40000,
		Server: netip.MustParseAddr("2001:db8::53"), ServerPort: 53}}
	want := []sdk.FlowRef{{ID: 7, Proto: "udp", Src: "10.0.0.1:40000", Dst: "[2001:db8::53]:53"}}
	if got := q.Refs(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	arp := sdk.ARP{Seen: sdk.Seen{Packet: 3}}
	if got := arp.Refs(); len(got) != 0 {
		t.Errorf("a fact of no flow names %+v", got)
	}
}
