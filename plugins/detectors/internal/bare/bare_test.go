package bare

import (
	"net/netip"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

func TestAnAddressComesBack(t *testing.T) {
	seen := map[Addr]netip.Addr{}
	for _, a := range []netip.Addr{
		{}, netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("2001:db8::1"),
	} {
		b := Of(a)
		if got := b.Addr(); got != a {
			t.Errorf("%s came back as %s", a, got)
		}
		if written := b.AppendTo(nil); Read(saved.NewPacked(written)) != b {
			t.Errorf("%s was written as %x", a, written)
		}
		if other, known := seen[b]; known {
			t.Errorf("%s and %s are one", a, other)
		}
		seen[b] = a
	}
	if got := Read(saved.NewPacked([]byte{3, 1, 2, 3})); got != (Addr{}) {
		t.Errorf("three bytes are %s", got.Addr())
	}
	b := Of(netip.MustParseAddr("fe80::1%eth0"))
	if got := b.Addr().String(); got != "fe80::1" {
		t.Errorf("of an address with a zone: %s", got)
	}
}
