package facts

import (
	"net"
	"net/netip"
	"strconv"
)

// named is the name of a number, or the number where it has none.
func named(names []string, n int) string {
	if n < len(names) {
		return names[n]
	}
	return strconv.Itoa(n)
}

// mac writes a hardware address in lower case with colons.
func mac(b []byte) string { return net.HardwareAddr(b).String() }

// appendAddrs appends addresses as texts, within the limit.
func appendAddrs(dst []string, list []netip.Addr) []string {
	for _, a := range list[:min(len(list), maxList)] {
		dst = append(dst, a.String())
	}
	return dst
}
