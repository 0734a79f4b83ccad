package flowref

import (
	"net/netip"
	"testing"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
)

func TestKeepsWhatAFindingNeeds(t *testing.T) {
	const community = "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
	tests := []sdk.Flow{
		{ID: 7, CommunityID: community, Proto: sdk.ProtoTCP, SrcPort: 50000, DstPort: 443,
			Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("198.51.100.7")},
		{ID: 1 << 60, CommunityID: community, Proto: sdk.ProtoICMPv6, SrcPort: 128,
			Src: netip.MustParseAddr("fe80::1%eth0"), Dst: netip.MustParseAddr("2001:db8::2")},
		{ID: 3, Proto: sdk.ProtoUDP, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")},
	}
	for _, f := range tests {
		r := Of(&f)
		if got := r.Full(f.Src, f.Dst, f.Proto); got != f.Ref() {
			t.Errorf("%+v, want %+v", got, f.Ref())
		}
		if From(f.Ref()) != r {
			t.Errorf("%+v came back as %+v", r, From(f.Ref()))
		}
	}
}

// What is no community id of version 1 is left out, and harms nothing.
func TestOddCommunityIDs(t *testing.T) {
	for _, text := range []string{"", "1:", "2:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:LQU9qZlK+B5F3KDmev6m5PMib===", "1:LQU9qZlK+B5F3KDmev6m5PMibrgg", "1:****************************", "hello"} {
		r := Of(&sdk.Flow{ID: 1, CommunityID: text})
		if got := r.communityID(); got != "" {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Ref{}); n > 32 {
		t.Errorf("%d bytes", n)
	}
}
