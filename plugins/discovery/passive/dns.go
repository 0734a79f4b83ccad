package passive

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Types of records.
const (
	typeA    = 1
	typePTR  = 12
	typeTXT  = 16
	typeAAAA = 28
	typeSRV  = 33
	typeANY  = 255
)

// dns: on a link every host answers for its own names. Elsewhere only that somebody answers is of interest.
func (l listener) dns(r *sdk.DNS) error {
	ip, _ := sender(&r.Seen)
	switch {
	case r.Damaged:
		return nil
	case r.Protocol == "dns" && r.Response:
		return l.serves(&r.Seen, "dns")
	case r.Protocol == "dns":
		return nil
	case !r.Response:
		s := l.about(&r.Seen, r.Protocol, ip, true, likely)
		if r.Protocol == "mdns" && r.QType == typeANY && r.AuthorityCount > 0 {
			s.hostname = owner(unescape(r.Query)) // it asks whether anybody else has the name that it is about to take
		}
		return l.tell(s)
	}
	s := of(&r.Seen, r.Protocol, ip, true, claimed)
	var told []error
	own := ownName(r, ip)
	for i, answer := range r.Answers {
		if i >= len(r.AnswerTypes) || i >= len(r.AnswerNames) {
			break
		}
		if r.Protocol == "mdns" && i < len(r.AnswerTTLs) && r.AnswerTTLs[i] == 0 {
			continue // it takes back what it said
		}
		name := unescape(r.AnswerNames[i])
		switch r.AnswerTypes[i] {
		case typeA, typeAAAA:
			if addr, err := netip.ParseAddr(answer); err == nil {
				other := of(&r.Seen, r.Protocol, addr, true, claimed)
				if other.hostname = owner(name); own != "" && strings.EqualFold(other.hostname, own) {
					other.facts = facts{{"link_name", hostname(own)}}
				}
				if addr.Unmap() == ip.Unmap() {
					s.hostname = other.hostname
				}
				told = append(told, l.tell(other))
			}
		case typePTR:
			if ofAddress(name, ip) {
				s.hostname = owner(unescape(answer))
			}
			told = append(told, l.service(s, name, fact{}))
		case typeSRV:
			s.hostname = first(s.hostname, target(answer))
			told = append(told, l.service(s, name, fact{"ports", servedAt(name, answer)}))
		case typeTXT:
			told = append(told, l.service(s, name, fact{}))
			s.facts = described(s.facts, strings.ToLower(name), answer)
		}
	}
	return join(append(told, l.tell(s))...)
}

// ownName is the name that a host gives the address from which it speaks. The other addresses that it gives this name are its
// own, too: on a link a name belongs to one host.
func ownName(r *sdk.DNS, ip netip.Addr) string {
	for i, answer := range r.Answers {
		if i >= len(r.AnswerTypes) || i >= len(r.AnswerNames) || r.Protocol != "mdns" {
			return ""
		}
		if t := r.AnswerTypes[i]; t != typeA && t != typeAAAA {
			continue
		}
		if addr, err := netip.ParseAddr(answer); err == nil && addr.Unmap() == ip.Unmap() {
			return owner(unescape(r.AnswerNames[i]))
		}
	}
	return ""
}

// owner is the host's name in the name of a record, which is no more in presentation format; "" when that names a service or an
// address.
func owner(name string) string {
	if strings.Contains(name, "._") || strings.HasPrefix(name, "_") || strings.HasSuffix(strings.ToLower(name), ".arpa") {
		return ""
	}
	return name
}

// serviceRoles are the kinds of service that tell what a device is.
var serviceRoles = map[string]string{
	"_ipp._tcp": "printer", "_ipps._tcp": "printer", "_printer._tcp": "printer", "_pdl-datastream._tcp": "printer", "_scanner._tcp": "printer",
	"_googlecast._tcp": "tv", "_androidtvremote2._tcp": "tv", "_amzn-wplay._tcp": "tv", "_viziocast._tcp": "tv",
	"_axis-video._tcp": "camera", "_sip._udp": "phone", "_readynas._tcp": "nas",
}

// service notes a service that a device announces, and where it is when that is known.
func (l listener) service(s *said, name string, at fact) error {
	kind := serviceOf(name)
	if kind == "" {
		return nil
	}
	one := *s
	one.hostname, one.facts, one.lists = "", facts{{"role", serviceRoles[kind]}}, facts{{"services", kind}, at}
	switch instance, _, _ := strings.Cut(name, "._"); {
	case strings.HasPrefix(instance, "_"): // all instances of the kind
	case kind == "_device-info._tcp":
		one.facts = one.facts.set("name", instance)
	case kind == "_workstation._tcp":
		one.hostname, one.mac = station(instance)
	case kind == "_raop._tcp":
		_, name, _ := strings.Cut(instance, "@")
		one.facts = one.facts.set("name", name)
	}
	return l.tell(&one)
}

// station reads the name that Avahi gives a machine: its own, and a hardware address in brackets.
func station(instance string) (name, mac string) {
	name, rest, found := strings.Cut(instance, " [")
	if mac = strings.TrimSuffix(rest, "]"); !found || !isUnicast(mac) {
		return instance, ""
	}
	return name, mac
}

// serviceOf finds the kind of service in a name, as _ipp._tcp in "Printer._ipp._tcp.local".
func serviceOf(name string) string {
	labels := strings.Split(strings.ToLower(name), ".")
	for i := len(labels) - 1; i > 0; i-- {
		if (labels[i] == "_tcp" || labels[i] == "_udp") && strings.HasPrefix(labels[i-1], "_") {
			if kind := labels[i-1] + "." + labels[i]; kind != "_dns-sd._udp" {
				return kind
			}
			return ""
		}
	}
	return ""
}

// target reads at which host a service is: priority, weight, port, host.
func target(answer string) string {
	parts := strings.Fields(answer)
	if len(parts) != 4 {
		return ""
	}
	return owner(unescape(parts[3]))
}

// servedAt is the port of a service, as "631/tcp".
func servedAt(name, answer string) string {
	parts, kind := strings.Fields(answer), serviceOf(name)
	if len(parts) != 4 || kind == "" || number(parts[2]) == 0 || kind == "_workstation._tcp" {
		return "" // a workstation serves nothing, whatever port it writes down
	}
	return parts[2] + "/" + kind[len(kind)-len("tcp"):]
}

// ofAddress reports whether a name is the one under which the name of an address stands.
func ofAddress(name string, ip netip.Addr) bool {
	rest, found := strings.CutSuffix(strings.ToLower(name), ".in-addr.arpa")
	parts := strings.Split(rest, ".")
	slices.Reverse(parts)
	return found && strings.Join(parts, ".") == ip.Unmap().String()
}

// txtFacts are the keys of service descriptions that say what a device is.
var txtFacts = map[string]string{
	"model": "model", "md": "model", "ty": "model", "am": "model", "usb_mdl": "model", "modelname": "model", "usb_mfg": "vendor", "mfg": "vendor", "manufacturer": "vendor", "vendor": "vendor",
	"fv": "firmware", "srcvers": "firmware", "firmware": "firmware", "serialnumber": "serial", "sn": "serial", "serial": "serial", "note": "location", "osxvers": "os_version",
}

// described reads a description: texts in quotes, each a key and a value.
func described(what facts, name, answer string) facts {
	for _, entry := range quoted(answer) {
		key, value, found := strings.Cut(entry, "=")
		about := txtFacts[strings.ToLower(key)]
		if !found || about == "" || value == "" {
			continue
		}
		// What md means differs: only Google's devices and those of HomeKit name their model by it.
		if strings.EqualFold(key, "md") && !strings.Contains(name, "_googlecast.") && !strings.Contains(name, "_hap.") {
			continue
		}
		if what.get(about) == "" {
			what = what.set(about, value)
		}
		if strings.EqualFold(key, "osxvers") {
			what = what.set("os", "darwin")
		}
	}
	return what
}

// quoted reads the texts of a TXT record in presentation format.
func quoted(s string) []string {
	var out []string
	for len(out) < 64 {
		start := strings.IndexByte(s, '"')
		if start < 0 {
			return out
		}
		s = s[start+1:]
		end := 0
		for end < len(s) && s[end] != '"' {
			if s[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(s))
		out = append(out, unescape(s[:end]))
		s = s[min(len(s), end+1):]
	}
	return out
}

// unescape undoes the presentation format: \DDD is a byte by its number, \X is X.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		if i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		i++
		out = append(out, s[i])
	}
	return strings.ToValidUTF8(string(out), "\ufffd")
}
