package flow

import (
	"net/netip"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/decode"
)

// The vectors are published by the specification (github.com/corelight/community-id-spec, baseline folder and README).
func TestCommunityID(t *testing.T) {
	const v6a, v6b = "fe80:1:203:405:607:809:a0b:c0d", "fe80:1011:1213:1415:1617:1819:1a1b:1c1d"
	tests := []struct {
		proto            uint8
		src, dst         string
		srcPort, dstPort uint16
		want             string
	}{
		{6, "1.2.3.4", "5.6.7.8", 1122, 3344, "1:wCb3OG7yAFWelaUydu0D+125CLM="},
		{6, "5.6.7.8", "1.2.3.4", 3344, 1122, "1:wCb3OG7yAFWelaUydu0D+125CLM="},
		{6, "128.232.110.120", "66.35.250.204", 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{17, "1.2.3.4", "5.6.7.8", 1122, 3344, "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg="},
		{17, "5.6.7.8", "1.2.3.4", 3344, 1122, "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg="},
		{17, "192.168.1.52", "8.8.8.8", 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{132, "1.2.3.4", "5.6.7.8", 1122, 3344, "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8="},
		{132, "5.6.7.8", "1.2.3.4", 3344, 1122, "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8="},
		{1, "1.2.3.4", "5.6.7.8", 8, 0, "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="},
		{1, "5.6.7.8", "1.2.3.4", 0, 0, "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="},
		{1, "1.2.3.4", "5.6.7.8", 11, 0, "1:f/YiSyWqczrTgfUCZlBUnvHRcPk="},
		{58, v6a, v6b, 128, 0, "1:0bf7hyMJUwt3fMED7z8LIfRpBeo="},
		{58, v6b, v6a, 129, 0, "1:0bf7hyMJUwt3fMED7z8LIfRpBeo="},
		{58, v6a, v6b, 146, 0, "1:fYC8+pz24E+EhANP1EZhpX0Dw10="},
		{46, "1.2.3.4", "5.6.7.8", 0, 0, "1:ikv3kmf89luf73WPz1jOs49S768="},
		{46, "5.6.7.8", "1.2.3.4", 0, 0, "1:ikv3kmf89luf73WPz1jOs49S768="},
		{46, v6a, v6b, 0, 0, "1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0="},
		{46, v6b, v6a, 0, 0, "1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0="},
	}
	for _, test := range tests {
		p := decoded(test.proto, netip.AddrPortFrom(netip.MustParseAddr(test.src), test.srcPort), netip.AddrPortFrom(netip.MustParseAddr(test.dst), test.dstPort))
		var c collected
		table := New(Config{}, c.emit)
		add(t, table, 1, 0, &p)
		closed(t, table)
		if got := c.flows[0].CommunityID; got != test.want {
			t.Errorf("protocol %d, %s:%d to %s:%d: %s, want %s", test.proto, test.src, test.srcPort, test.dst, test.dstPort, got, test.want)
		}
	}
}

// A one-way message sorts by nothing: from the higher address too, the sender comes first.
func TestCommunityIDOneWay(t *testing.T) {
	var there key
	there.of(&decode.Packet{Version: 4, Proto: 1, Src: netip.MustParseAddr("5.6.7.8").As16(), Dst: netip.MustParseAddr("1.2.3.4").As16(), SrcPort: 11})
	// sha1(00 00 05060708 01020304 01 00 000b 0000), computed with Python's hashlib
	if got, want := string(appendCommunityID(nil, &there, false)), "1:1Vae9INpTJ+fZaSmjhtK/hyOPac="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
