package decode

import (
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// BenchmarkDecode is the cost of one packet that is in the cache, by what it holds.
func BenchmarkDecode(b *testing.B) {
	for name, text := range map[string]string{
		"tcp":   ethIPv4 + ipv4TCP + tcpSYN + eight,
		"udp":   ethIPv4 + "4500 0024 0001 0000 40 11 0000 0a000001 0a000002 c001 0035 0010 0000" + eight,
		"vlan":  "020000000002 020000000001 8100 e064 0800" + ipv4TCP + tcpSYN + eight,
		"vxlan": ethIPv4 + "4500 0062 0001 0000 40 11 0000 0a000001 0a000002 c001 12b5 004e 0000 08000000 00006400" + ethIPv4 + ipv4TCP + tcpSYN + eight,
	} {
		data := bytesOf(b, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			p := new(Packet)
			for b.Loop() {
				if Decode(p, capture.LinkEthernet, data, uint32(len(data))) != Flow {
					b.Fatal("not decoded")
				}
			}
		})
	}
}
