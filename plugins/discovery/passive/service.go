package passive

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// served is about a server that answered: the protocol that it speaks, and at which port.
func (l listener) served(at *sdk.Seen, protocol string) *said {
	s := l.about(at, protocol, at.Server, false, certain)
	s.lists = append(s.lists, fact{"services", protocol}, fact{"ports", l.ports.name(at.Proto, at.ServerPort)})
	return s
}

// maxServes is how many of its services a device remembers to have told by themselves.
const maxServes = 16

// serves tells of a server of which no more is known than that it answered. That is what most messages say, and again and
// again: once it was told, the service is known for as long as the device is.
func (l listener) serves(at *sdk.Seen, protocol string) error {
	what, ip := service{protocol, port{at.Proto, at.ServerPort}}, plain(at.Server)
	one := l.devices.byIP[ip]
	if one != nil && slices.Contains(one.serves, what) && !l.devices.due(one, at.Time) {
		l.devices.heard(one)
		return nil
	}
	if err := l.tell(l.served(at, protocol)); err != nil {
		return err
	}
	if one = l.devices.byIP[ip]; one != nil && l.scope.wants(ip, false) && len(one.serves) < maxServes && !slices.Contains(one.serves, what) {
		what.protocol = strings.Clone(protocol)
		one.serves = append(one.serves, what)
	}
	return nil
}

// ports are the names of ports, as "443/tcp": there are few, and they come again and again.
type ports map[port]string

type port struct {
	transport uint8
	number    uint16
}

func (known ports) name(transport uint8, number uint16) string {
	name, found := known[port{transport, number}]
	if found {
		return name
	}
	if word := transports[transport]; word != "" && number > 0 {
		name = strconv.Itoa(int(number)) + "/" + word
	}
	const most = 4096
	if len(known) >= most {
		clear(known)
	}
	known[port{transport, number}] = name
	return name
}

var transports = map[uint8]string{sdk.ProtoTCP: "tcp", sdk.ProtoUDP: "udp"}

// used is about a client, by what it says of itself.
func (l listener) used(at *sdk.Seen, protocol string) *said {
	return l.about(at, protocol, at.Client, false, likely)
}

func (l listener) tls(r *sdk.TLS) error {
	if r.Version == 0 {
		return nil // nobody answered
	}
	if r.Subject == "" && len(r.Names) == 0 {
		return l.serves(&r.Seen, r.Protocol)
	}
	s := l.served(&r.Seen, r.Protocol)
	s.facts = append(s.facts, fact{"tls_subject", r.Subject}, fact{"tls_names", strings.Join(r.Names[:min(len(r.Names), 8)], " ")})
	return l.tell(s)
}

func (l listener) http(r *sdk.HTTP) error {
	if r.UserAgent != "" {
		s := l.used(&r.Seen, "http")
		s.facts = append(s.facts, fact{"http_user_agent", r.UserAgent}, fact{"os", l.means.of(r.UserAgent).os})
		if err := l.tell(s); err != nil {
			return err
		}
	}
	if r.Status == 0 {
		return nil
	}
	s := l.served(&r.Seen, "http")
	s.facts = s.facts.means(l.means.of(r.Software), fact{"http_server", r.Software})
	return l.tell(s)
}

// smb: who logs on says the name of the machine.
func (l listener) smb(r *sdk.SMB) error {
	if !r.Response {
		if r.Host == "" {
			return nil
		}
		s := l.used(&r.Seen, "smb")
		s.hostname, s.facts = r.Host, append(s.facts, fact{"domain", r.Domain})
		return l.tell(s)
	}
	if r.Host != "" {
		s := l.about(&r.Seen, "smb", r.Server, false, claimed)
		s.hostname, s.facts = r.Host, append(s.facts, fact{"domain", r.Domain})
		if err := l.tell(s); err != nil {
			return err
		}
	}
	return l.serves(&r.Seen, "smb")
}

// otFact is the fact that a detail by which controllers say what they are tells, in the words of each protocol; "" for others.
// It is no part of the record, which is borrowed.
func otFact(detail string) string {
	switch detail {
	case "vendor", "vendor_name":
		return "vendor"
	case "model", "product_name":
		return "model"
	case "product", "product_code", "order":
		return "product"
	case "firmware", "revision":
		return "firmware"
	case "software":
		return "software"
	case "serial":
		return "serial"
	case "location":
		return "location"
	case "description":
		return "description"
	case "station", "object_name":
		return "ot_station"
	case "device_id":
		return "ot_device_id"
	case "vendor_id":
		return "ot_vendor_id"
	}
	return ""
}

func (l listener) ot(r *sdk.OT) error {
	if r.Protocol == "profinet-dcp" {
		return l.dcp(r)
	}
	if !r.Response || r.Failed {
		return nil
	}
	from, onLink := sender(&r.Seen)
	var s *said
	if onLink || from != r.Server {
		s = l.about(&r.Seen, r.Protocol, from, onLink, claimed)
		s.lists = append(s.lists, fact{"services", r.Protocol})
	} else {
		s = l.served(&r.Seen, r.Protocol)
	}
	s.facts = s.facts.controller(r)
	if r.Protocol != "bacnet" { // which buildings' devices of all kinds speak
		s.facts = s.facts.set("role", "plc")
	}
	return l.tell(s)
}

// controller adds what a controller says of itself.
func (f facts) controller(r *sdk.OT) facts {
	for key, value := range r.Details {
		name := otFact(key)
		if r.Protocol == "enip" && key == "vendor" {
			name = "ot_vendor_id" // a number there
		}
		if name != "" && value > f.get(name) { // of two, the same one each time
			f = f.set(name, value)
		}
	}
	return f
}

// dcp: a station of PROFINET says its name in a frame without IP.
func (l listener) dcp(r *sdk.OT) error {
	s := l.about(&r.Seen, r.Protocol, netip.Addr{}, true, claimed)
	s.mac = r.Details["source"]
	if r.Response {
		s.facts, s.hostname = s.facts.controller(r), r.Details["station"]
		s.lists = append(s.lists, fact{"services", "profinet"})
		s.ip, _ = netip.ParseAddr(r.Details["ip"])
		if isController := number(r.Details["role"])&2 != 0; isController {
			s.facts = s.facts.set("role", "plc")
		}
	}
	return l.tell(s)
}
