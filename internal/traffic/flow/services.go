package flow

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/sdk"
)

// Service is a port at which hosts of a capture answered, and how many did.
type Service struct {
	Proto uint8  `json:"proto"`
	Port  uint16 `json:"port"`
	Hosts int    `json:"hosts"`
}

// Bounds on what a capture can make Services remember.
const (
	maxServices     = 64
	maxServiceHosts = 4096
)

// Services counts the hosts that answer at the ports where services listen. A probe that nobody answers counts nothing,
// so a scan does not make a network look busy. The zero value is ready for use.
type Services struct {
	hosts map[Service]map[netip.Addr]struct{} // Hosts of the key is 0
}

// Add counts what flows show.
func (s *Services) Add(flows []sdk.Flow) {
	for i := range flows {
		f := &flows[i]
		switch {
		case !isServerPort(f.DstPort):
		case f.Proto == sdk.ProtoUDP && f.Dst.IsMulticast():
			s.note(f, f.Src) // who announces something on a group offers it
		case f.Proto == sdk.ProtoUDP && f.RevPackets > 0, f.Proto == sdk.ProtoTCP && f.RevFlags&(sdk.FlagSYN|sdk.FlagACK) == sdk.FlagSYN|sdk.FlagACK:
			s.note(f, f.Dst)
		}
	}
}

func (s *Services) note(f *sdk.Flow, host netip.Addr) {
	key := Service{Proto: f.Proto, Port: f.DstPort}
	known := s.hosts[key]
	if known == nil {
		if len(s.hosts) == maxServices {
			return
		}
		if s.hosts == nil {
			s.hosts = map[Service]map[netip.Addr]struct{}{}
		}
		known = map[netip.Addr]struct{}{}
		s.hosts[key] = known
	}
	if len(known) < maxServiceHosts {
		known[host] = struct{}{}
	}
}

// List returns what was counted, the most hosts first.
func (s *Services) List() []Service {
	out := make([]Service, 0, len(s.hosts))
	for key, hosts := range s.hosts {
		key.Hosts = len(hosts)
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b Service) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto))
	})
	return out
}
