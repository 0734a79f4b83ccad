package passive

import (
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// message is for protocols without a record of their own.
func (l listener) message(m *sdk.Message) error {
	switch m.Protocol {
	case "lldp":
		return l.lldp(m)
	case "cdp":
		return l.cdp(m)
	case "stp":
		return l.stp(m)
	case "hsrp":
		return l.hsrp(m)
	case "802.11":
		return l.wireless(m)
	case "ssdp":
		return l.ssdp(m)
	case "netbios-ns":
		return l.netbios(m)
	case "netbios-dgm":
		return l.neighbourhood(m)
	case "snmp":
		return l.snmp(m)
	case "ssh":
		return l.ssh(m)
	case "sip":
		return l.sip(m)
	case "mqtt":
		return l.mqtt(m)
	case "ftp", "smtp", "imap", "pop3", "telnet", "ldap", "kerberos", "rdp", "ntp":
		if m.FromServer || m.Response {
			return l.serves(&m.Seen, m.Protocol)
		}
	}
	return nil
}

// upnpRoles are the kinds of UPnP device that tell what it is.
var upnpRoles = map[string]string{"InternetGatewayDevice": "gateway", "Printer": "printer", "DigitalSecurityCamera": "camera", "WLANAccessPointDevice": "access-point"}

func (l listener) ssdp(m *sdk.Message) error {
	ip, onLink := sender(&m.Seen)
	if m.Name == "search" { // a datagram to 1900 without a word in it may be anybody's
		s := l.about(&m.Seen, m.Protocol, ip, onLink, likely)
		agent := m.Fields["agent"]
		s.facts = append(s.facts, fact{"software", agent}, fact{"os", l.means.of(agent).os})
		return l.tell(s)
	}
	s := l.about(&m.Seen, m.Protocol, ip, onLink, claimed)
	server := m.Fields["server"]
	s.facts = s.facts.means(l.means.of(server), fact{"software", server}, fact{"upnp_location", m.Fields["location"]})
	s.lists = append(s.lists, fact{"services", "ssdp"})
	if _, rest, found := strings.Cut(m.Fields["target"], ":device:"); found {
		kind, _, _ := strings.Cut(rest, ":")
		s.facts = s.facts.set("upnp_device", kind).set("role", first(upnpRoles[kind], s.facts.get("role")))
	}
	return l.tell(s)
}

// Suffixes of NetBIOS names that name a host.
const (
	suffixHost   = "" // 0, which is left out
	suffixServer = "32"
)

// netbios: a host takes its name, keeps it, and answers for it.
func (l listener) netbios(m *sdk.Message) error {
	ip, _ := sender(&m.Seen)
	f := m.Fields
	s := l.about(&m.Seen, m.Protocol, ip, f["broadcast"] == "true", likely)
	own := f["group"] == "" && (f["subject_suffix"] == suffixHost || f["subject_suffix"] == suffixServer)
	switch m.Name {
	case "registration", "refresh", "release":
		if own && !m.Response {
			s.hostname, s.confidence = f["subject"], claimed
		}
	case "query":
		addr, _, _ := strings.Cut(f["addrs"], ", ")
		if a, err := netip.ParseAddr(addr); own && m.Response && err == nil && a == ip.Unmap() {
			s.hostname, s.confidence = f["subject"], claimed
		}
	case "status":
		if m.Response {
			var domain string
			var server bool
			s.hostname, domain, server = held(f["held"])
			s.mac, s.confidence, s.facts = f["mac"], claimed, append(s.facts, fact{"domain", domain})
			s.lists = append(s.lists, fact{"services", "netbios"})
			if server {
				s.lists = append(s.lists, fact{"services", "smb"})
			}
		}
	}
	return l.tell(s)
}

// held finds in a list of the names that a host has its own, that of its domain, and whether it serves files. An entry is a name,
// its suffix unless that is 0, and whether the name is a group's.
func held(list string) (host, domain string, server bool) {
	for entry := range strings.SplitSeq(list, ", ") {
		entry, group := strings.CutSuffix(entry, " true")
		name := strings.TrimSuffix(entry, " false")
		if at := strings.LastIndexByte(name, ' '); at >= 0 && number(name[at+1:]) > 0 {
			server = server || !group && name[at+1:] == suffixServer
			continue
		}
		switch {
		case group && domain == "":
			domain = name
		case !group && host == "":
			host = name
		}
	}
	return host, domain, server
}

// neighbourhood: hosts say who they are to those that list them.
func (l listener) neighbourhood(m *sdk.Message) error {
	const hostAnnouncement, masterAnnouncement = "1", "15"
	ip, _ := sender(&m.Seen)
	f := m.Fields
	s := l.about(&m.Seen, m.Protocol, ip, true, claimed)
	if f["source_suffix"] == suffixHost || f["source_suffix"] == suffixServer {
		s.hostname = f["source"]
	}
	if c := f["announced_command"]; c == hostAnnouncement || c == masterAnnouncement {
		s.hostname, s.facts = f["announced_host"], append(s.facts, fact{"description", f["announced_comment"]})
		s.lists = append(s.lists, fact{"services", "netbios"})
	}
	if from := f["addr"]; from != "" {
		if a, err := netip.ParseAddr(from); err == nil && a != ip.Unmap() {
			s.hostname = "" // passed on for another host
		}
	}
	return l.tell(s)
}

// Objects of SNMP by which a device says what it is.
const (
	oidDescription = "1.3.6.1.2.1.1.1.0"
	oidObject      = "1.3.6.1.2.1.1.2.0"
	oidName        = "1.3.6.1.2.1.1.5.0"
	oidLocation    = "1.3.6.1.2.1.1.6.0"
)

func (l listener) snmp(m *sdk.Message) error {
	if m.Name == "trap" {
		ip, onLink := sender(&m.Seen)
		return l.tell(l.about(&m.Seen, m.Protocol, ip, onLink, likely))
	}
	if !m.Response || !m.FromServer {
		return nil
	}
	f := m.Fields
	if name := f[oidName]; name != "" {
		s := l.about(&m.Seen, m.Protocol, m.Server, false, claimed)
		s.hostname = name
		if err := l.tell(s); err != nil {
			return err
		}
	}
	s := l.served(&m.Seen, m.Protocol)
	s.facts = s.facts.means(l.means.of(f[oidDescription]), fact{"description", f[oidDescription]}, fact{"snmp_object", f[oidObject]}, fact{"location", f[oidLocation]})
	return l.tell(s)
}

func (l listener) ssh(m *sdk.Message) error {
	if m.Name != "banner" {
		return nil
	}
	words := m.Fields["software"] + " " + m.Fields["comment"]
	if !m.FromServer {
		s := l.used(&m.Seen, m.Protocol)
		s.facts = append(s.facts, fact{"ssh_client", words}, fact{"os", l.means.of(words).os})
		return l.tell(s)
	}
	s := l.served(&m.Seen, m.Protocol)
	s.facts = s.facts.means(l.means.of(words), fact{"ssh_server", words})
	return l.tell(s)
}

func (l listener) sip(m *sdk.Message) error {
	agent := m.Fields["user_agent"]
	if m.FromServer {
		s := l.served(&m.Seen, m.Protocol)
		s.facts = append(s.facts, fact{"sip_server", agent})
		return l.tell(s)
	}
	s := l.used(&m.Seen, m.Protocol)
	s.facts = s.facts.means(l.means.of(agent), fact{"sip_client", agent})
	return l.tell(s)
}

func (l listener) mqtt(m *sdk.Message) error {
	if m.FromServer {
		return l.serves(&m.Seen, m.Protocol)
	}
	if m.Name != "connect" {
		return nil
	}
	s := l.used(&m.Seen, m.Protocol)
	s.facts = append(s.facts, fact{"mqtt_client", m.Fields["client"]})
	return l.tell(s)
}
