package passive

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// serves tells of a server that answered: the protocol that it speaks, and at which port.
func (l listener) serves(at *sdk.Seen, protocol string, what facts) error {
	s := of(at, protocol, at.Server, false, certain)
	s.facts = what
	s.lists = facts{{"services", protocol}, {"ports", l.ports.name(at.Proto, at.ServerPort)}}
	return l.tell(s)
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

// uses tells of a client by what it says of itself.
func (l listener) uses(at *sdk.Seen, protocol, name string, what facts) error {
	s := of(at, protocol, at.Client, false, likely)
	s.hostname, s.facts = name, what
	return l.tell(s)
}

func (l listener) tls(r *sdk.TLS) error {
	if r.Version == 0 {
		return nil // nobody answered
	}
	what := facts{{"tls_subject", r.Subject}}
	if len(r.Names) > 0 {
		what = append(what, fact{"tls_names", strings.Join(r.Names[:min(len(r.Names), 8)], " ")})
	}
	return l.serves(&r.Seen, r.Protocol, what)
}

func (l listener) http(r *sdk.HTTP) error {
	if r.UserAgent != "" {
		what := facts{{"http_user_agent", r.UserAgent}, {"os", l.means.of(r.UserAgent).os}}
		if err := l.uses(&r.Seen, "http", "", what); err != nil {
			return err
		}
	}
	if r.Status == 0 {
		return nil
	}
	return l.serves(&r.Seen, "http", l.means.of(r.Software).and(fact{"http_server", r.Software}))
}

// smb: who logs on says the name of the machine.
func (l listener) smb(r *sdk.SMB) error {
	if !r.Response {
		if r.Host == "" {
			return nil
		}
		return l.uses(&r.Seen, "smb", r.Host, facts{{"domain", r.Domain}})
	}
	if r.Host != "" {
		s := of(&r.Seen, "smb", r.Server, false, claimed)
		s.hostname, s.facts = r.Host, facts{{"domain", r.Domain}}
		if err := l.tell(s); err != nil {
			return err
		}
	}
	return l.serves(&r.Seen, "smb", nil)
}

// otFacts are the details by which controllers say what they are, in the words of each protocol.
var otFacts = map[string]string{
	"vendor": "vendor", "vendor_name": "vendor", "model": "model", "product_name": "model", "product_code": "product", "product": "product", "order": "product",
	"firmware": "firmware", "revision": "firmware", "software": "software", "serial": "serial", "location": "location", "description": "description",
	"station": "ot_station", "object_name": "ot_station", "device_id": "ot_device_id", "vendor_id": "ot_vendor_id",
}

func (l listener) ot(r *sdk.OT) error {
	var what facts
	for key, value := range r.Details {
		name := otFacts[key]
		if r.Protocol == "enip" && key == "vendor" {
			name = "ot_vendor_id" // a number there
		}
		if name != "" && value > what.get(name) { // of two, the same one each time
			what = what.set(name, value)
		}
	}
	if r.Protocol == "profinet-dcp" {
		return l.dcp(r, what)
	}
	if !r.Response || r.Failed {
		return nil
	}
	if r.Protocol != "bacnet" { // which buildings' devices of all kinds speak
		what = what.set("role", "plc")
	}
	from, onLink := sender(&r.Seen)
	if onLink || from != r.Server {
		s := of(&r.Seen, r.Protocol, from, onLink, claimed)
		s.facts, s.lists = what, facts{{"services", r.Protocol}}
		return l.tell(s)
	}
	return l.serves(&r.Seen, r.Protocol, what)
}

// dcp: a station of PROFINET says its name in a frame without IP.
func (l listener) dcp(r *sdk.OT, what facts) error {
	s := of(&r.Seen, r.Protocol, netip.Addr{}, true, claimed)
	s.mac = r.Details["source"]
	if r.Response {
		s.facts, s.hostname = what, r.Details["station"]
		s.lists = facts{{"services", "profinet"}}
		s.ip, _ = netip.ParseAddr(r.Details["ip"])
		if isController := number(r.Details["role"])&2 != 0; isController {
			s.facts = s.facts.set("role", "plc")
		}
	}
	return l.tell(s)
}
