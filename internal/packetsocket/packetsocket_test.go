package packetsocket

import (
	"strings"
	"testing"
)

// Opening a socket is tested where its packets are read: internal/traffic/live.

func TestGeometryIsReadAsItIsWritten(t *testing.T) {
	for _, g := range []Geometry{{Blocks: 128, BlockSize: 256 << 10}, {Blocks: 1, BlockSize: 4096, RawIP: true}} {
		if got, err := ParseGeometry(g.String()); err != nil || got != g {
			t.Errorf("%s: %+v, %v", g, got, err)
		}
	}
	for _, text := range []string{"", "128", "128x262144", "128x262144:tokenring", "0x4096:ip", "-1x4096:ip", "1x100:ip", "999999x262144:ip", "1x9223372036854775807:ip", "ax4096:ip"} {
		if g, err := ParseGeometry(text); err == nil {
			t.Errorf("%q is %+v", text, g)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check(Config{Interface: "eth0", Filter: "tcp port 443"}); err != nil {
		t.Error(err)
	}
	for says, c := range map[string]Config{
		"name an interface": {}, "at most": {Interface: "e", SnapLen: MaxSnapLen + 1}, "are possible": {Interface: "e", RingBytes: MinRing - 1},
		"expected": {Interface: "e", Filter: "port http"},
	} {
		if err := Check(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", c, err, says)
		}
	}
}
