package inventory

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/picketwatch/picket/sdk"
)

// Protocol is something that devices speak and that plugins are made for.
type Protocol struct {
	Name  string // as plugins write it among their tags
	Label string // as people write it
	// Announced means that a device speaks it unasked.
	Announced bool

	tcp, udp []uint16
	also     []string // other names
}

// protocols are what the survey knows. Facts come from the network, so nothing outside this list is believed to be one.
var protocols = []Protocol{
	{Name: "bacnet", Label: "BACnet", udp: []uint16{47808}},
	{Name: "cdp", Label: "CDP", Announced: true},
	{Name: "coap", Label: "CoAP", udp: []uint16{5683}},
	{Name: "dnp3", Label: "DNP3", tcp: []uint16{20000}},
	{Name: "dns", Label: "DNS", tcp: []uint16{53}, udp: []uint16{53}, also: []string{"domain"}},
	{Name: "docker", Label: "the Docker API", tcp: []uint16{2375, 2376}},
	{Name: "elasticsearch", Label: "Elasticsearch", tcp: []uint16{9200}},
	{Name: "ethernet-ip", Label: "EtherNet/IP", tcp: []uint16{44818}, also: []string{"enip"}},
	{Name: "ftp", Label: "FTP", tcp: []uint16{21}},
	{Name: "http", Label: "HTTP", tcp: []uint16{80, 8000, 8008, 8080, 8081}},
	{Name: "iec104", Label: "IEC 104", tcp: []uint16{2404}, also: []string{"iec-104"}},
	{Name: "ipmi", Label: "IPMI", udp: []uint16{623}},
	{Name: "ipp", Label: "IPP", tcp: []uint16{631}, also: []string{"ipps"}},
	{Name: "kerberos", Label: "Kerberos", tcp: []uint16{88}, udp: []uint16{88}},
	{Name: "kubernetes", Label: "the Kubernetes API", tcp: []uint16{6443}},
	{Name: "ldap", Label: "LDAP", tcp: []uint16{389, 636}, also: []string{"ldaps"}},
	{Name: "lldp", Label: "LLDP", Announced: true},
	{Name: "mdns", Label: "mDNS", Announced: true, udp: []uint16{5353}, also: []string{"bonjour", "zeroconf"}},
	{Name: "modbus", Label: "Modbus", tcp: []uint16{502}, also: []string{"mbap"}},
	{Name: "mongodb", Label: "MongoDB", tcp: []uint16{27017}},
	{Name: "mqtt", Label: "MQTT", tcp: []uint16{1883, 8883}},
	{Name: "mssql", Label: "Microsoft SQL Server", tcp: []uint16{1433}, also: []string{"ms-sql-s"}},
	{Name: "mysql", Label: "MySQL", tcp: []uint16{3306}},
	{Name: "netbios", Label: "NetBIOS", Announced: true, udp: []uint16{137, 138}},
	{Name: "netconf", Label: "NETCONF", tcp: []uint16{830}},
	{Name: "nfs", Label: "NFS", tcp: []uint16{2049}, udp: []uint16{2049}},
	{Name: "ntp", Label: "NTP", udp: []uint16{123}},
	{Name: "opcua", Label: "OPC UA", tcp: []uint16{4840}, also: []string{"opc-ua"}},
	{Name: "postgresql", Label: "PostgreSQL", tcp: []uint16{5432}, also: []string{"postgres"}},
	{Name: "profinet", Label: "PROFINET", udp: []uint16{34964}},
	{Name: "radius", Label: "RADIUS", udp: []uint16{1812, 1813}},
	{Name: "rdp", Label: "RDP", tcp: []uint16{3389}, also: []string{"ms-wbt-server"}},
	{Name: "redis", Label: "Redis", tcp: []uint16{6379}},
	{Name: "rtsp", Label: "RTSP", tcp: []uint16{554}},
	{Name: "s7", Label: "S7", tcp: []uint16{102}, also: []string{"s7comm", "iso-tsap"}},
	{Name: "sip", Label: "SIP", tcp: []uint16{5060, 5061}, udp: []uint16{5060}},
	{Name: "smb", Label: "SMB", tcp: []uint16{445}, also: []string{"cifs", "microsoft-ds"}},
	{Name: "smtp", Label: "SMTP", tcp: []uint16{25, 465, 587}},
	{Name: "snmp", Label: "SNMP", udp: []uint16{161}},
	{Name: "ssdp", Label: "SSDP", Announced: true, udp: []uint16{1900}, also: []string{"upnp"}},
	{Name: "ssh", Label: "SSH", tcp: []uint16{22}},
	{Name: "syslog", Label: "syslog", tcp: []uint16{601}, udp: []uint16{514}},
	{Name: "telnet", Label: "Telnet", tcp: []uint16{23}},
	{Name: "tls", Label: "TLS", tcp: []uint16{443, 8443}, also: []string{"https", "ssl"}},
	{Name: "vnc", Label: "VNC", tcp: []uint16{5900}, also: []string{"rfb"}},
	{Name: "winrm", Label: "WinRM", tcp: []uint16{5985, 5986}},
	{Name: "wireguard", Label: "WireGuard", udp: []uint16{51820}},
}

// byWord finds a protocol by its name; byPort by "tcp 22", "udp 53", or by "22" when the transport is not said.
var byWord, byPort = index()

func index() (words, ports map[string]*Protocol) {
	words, ports = map[string]*Protocol{}, map[string]*Protocol{}
	for i := range protocols {
		p := &protocols[i]
		for _, w := range append([]string{p.Name}, p.also...) {
			words[w] = p
		}
		for _, n := range p.udp {
			ports["udp "+number(n)], ports[number(n)] = p, p
		}
		for _, n := range p.tcp {
			ports["tcp "+number(n)], ports[number(n)] = p, p
		}
	}
	return words, ports
}

func number(port uint16) string { return strconv.Itoa(int(port)) }

// ProtocolAt is the protocol that usually answers at a port.
func ProtocolAt(transport uint8, port uint16) (Protocol, bool) {
	name := map[uint8]string{sdk.ProtoTCP: "tcp ", sdk.ProtoUDP: "udp "}[transport]
	p, ok := byPort[name+number(port)]
	if !ok || name == "" {
		return Protocol{}, false
	}
	return *p, true
}

// ProtocolNamed is the protocol of a survey's name.
func ProtocolNamed(name string) (Protocol, bool) {
	p, ok := byWord[name]
	if !ok {
		return Protocol{}, false
	}
	return *p, true
}

// The facts by which discoveries say what a device answers: lists of names ("snmp https"), of ports ("22, 161/udp") or
// of announced services ("_ipp._tcp").
var answerFacts = []string{"service", "services", "protocol", "protocols", "port", "ports", "open_ports"}

// spoken are the protocols that a device was seen to speak.
func spoken(d Device) map[*Protocol]bool {
	out := map[*Protocol]bool{}
	for name, fact := range d.Facts {
		if slices.Contains(answerFacts, name) {
			named(fact.Value, out)
			continue
		}
		// What is known by a protocol, such as "snmp_location" or "lldp_port", was learned by it. Names in DNS were not
		// learned from the device.
		first, _, more := strings.Cut(name, "_")
		if p := byWord[first]; p != nil && more && p.Name != "dns" {
			out[p] = true
		}
	}
	return out
}

// named adds the protocols that a text lists.
func named(text string, into map[*Protocol]bool) {
	entries := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' })
	for _, entry := range entries {
		words := strings.FieldsFunc(entry, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' })
		transport := ""
		for _, w := range words {
			if w == "tcp" || w == "udp" {
				transport = w + " "
			}
		}
		for _, w := range words {
			if p := byPort[transport+w]; p != nil {
				into[p] = true
			} else if p := byWord[w]; p != nil {
				into[p] = true
			}
		}
	}
}
