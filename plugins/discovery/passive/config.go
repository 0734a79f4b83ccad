package passive

import (
	"net/netip"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Networks   []string        `json:"networks" format:"cidr" doc:"Networks whose devices are reported, in CIDR form; an empty list means private and link-local ones, and whoever speaks on its own link."`
	Exclude    []string        `json:"exclude" format:"cidr" doc:"Networks whose devices are left out."`
	Refresh    config.Duration `json:"refresh" default:"10m" min:"10s" max:"24h" doc:"After what time a device that still speaks is reported again, though nothing new was learned."`
	MaxDevices int             `json:"max_devices" default:"16384" min:"16" max:"1000000" doc:"How many devices are remembered at once. Beyond it, those that were silent for longest are forgotten, and reported anew when they speak."`
}

func (c *Config) scope() (scope, error) {
	networks, err := iprange.Parse("networks", c.Networks)
	if err != nil {
		return scope{}, err
	}
	exclude, err := iprange.Parse("exclude", c.Exclude)
	return scope{networks: networks, exclude: exclude}, err
}

// scope says which devices are reported.
type scope struct{ networks, exclude []netip.Prefix }

// shared is the range that providers use behind their own translation (RFC 6598): not private, and not the internet either.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// wants reports whether a device at ip is reported; onLink is whether the message cannot have come over a router. A device
// without an address is one that a frame told of.
func (s scope) wants(ip netip.Addr, onLink bool) bool {
	if !ip.IsValid() {
		return true
	}
	if ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || contains(s.exclude, ip) {
		return false
	}
	if len(s.networks) > 0 {
		return contains(s.networks, ip)
	}
	return onLink || ip.IsPrivate() || ip.IsLinkLocalUnicast() || shared.Contains(ip)
}

func contains(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
