package passive

import "strings"

// word is what a word in a device's description means.
type word struct{ text, os, role, vendor string }

// words are looked for in order, without regard to case: the first one that says something about a fact decides it.
var words = []word{
	{text: "cisco ios", os: "cisco-ios", vendor: "Cisco"},
	{text: "cisco nx-os", os: "cisco-nxos", role: "switch", vendor: "Cisco"},
	{text: "cisco adaptive security", role: "firewall", vendor: "Cisco"},
	{text: "cisco ap", role: "access-point", vendor: "Cisco"},
	{text: "RouterOS", os: "mikrotik", role: "router", vendor: "MikroTik"},
	{text: "mikrotik", os: "mikrotik", vendor: "MikroTik"},
	{text: "junos", os: "junos", vendor: "Juniper"},
	{text: "arubaap", role: "access-point", vendor: "Aruba"},
	{text: "ubnt", vendor: "Ubiquiti"},
	{text: "fortigate", role: "firewall", vendor: "Fortinet"},
	{text: "opnsense", os: "freebsd", role: "firewall"},
	{text: "pfsense", os: "freebsd", role: "firewall"},
	{text: "fritz!box", os: "linux", role: "router", vendor: "AVM"},
	{text: "openwrt", os: "linux", role: "router"},
	{text: "synology", os: "linux", role: "nas", vendor: "Synology"},
	{text: "qnap", os: "linux", role: "nas", vendor: "QNAP"},
	{text: "jetdirect", role: "printer", vendor: "HP"},
	{text: "laserjet", role: "printer", vendor: "HP"},
	{text: "hp printer", role: "printer", vendor: "HP"},
	{text: "apc web", role: "ups", vendor: "APC"},
	{text: "hikvision", role: "camera", vendor: "Hikvision"},
	{text: "axis communications", role: "camera", vendor: "Axis"},
	{text: "polycom", role: "phone", vendor: "Polycom"},
	{text: "yealink", role: "phone", vendor: "Yealink"},
	{text: "snom", role: "phone", vendor: "Snom"},
	{text: "grandstream", role: "phone", vendor: "Grandstream"},
	{text: "vmware esx", os: "vmware-esxi", role: "hypervisor", vendor: "VMware"},
	{text: "simatic", role: "plc", vendor: "Siemens"},
	{text: "msft", os: "windows"},
	{text: "microsoft-iis", os: "windows"},
	{text: "microsoft-httpapi", os: "windows"},
	{text: "windows", os: "windows"},
	{text: "android", os: "android"},
	{text: "iphone os", os: "ios"},
	{text: "darwin", os: "darwin"},
	{text: "mac os x", os: "darwin"},
	{text: "macintosh", os: "darwin"},
	{text: "ubuntu", os: "linux"},
	{text: "debian", os: "linux"},
	{text: "raspbian", os: "linux"},
	{text: "centos", os: "linux"},
	{text: "red hat", os: "linux"},
	{text: "freebsd", os: "freebsd"},
	{text: "linux", os: "linux"},
	{text: "udhcp", os: "linux"},
}

func init() {
	for i := range words {
		words[i].text = strings.ToLower(words[i].text)
	}
}

// meant is what a device's description says of its system, its role and its maker. What no word is known for stays unsaid.
type meant struct{ os, role, vendor string }

// meaning looks for words in a description.
func meaning(description string) (m meant) {
	const longest = 1024
	low := strings.ToLower(description[:min(len(description), longest)])
	for _, w := range words {
		if low == "" || !strings.Contains(low, w.text) {
			continue
		}
		m.os, m.role, m.vendor = first(m.os, w.os), first(m.role, w.role), first(m.vendor, w.vendor)
	}
	return m
}

// meanings remembers what descriptions mean: the same few come again and again.
type meanings map[string]meant

// Bounds on what is remembered.
const (
	maxMeanings    = 1024
	maxDescription = 512
)

func (known meanings) of(description string) meant {
	if description == "" {
		return meant{}
	}
	if m, found := known[description]; found {
		return m
	}
	m := meaning(description)
	if len(description) > maxDescription {
		return m
	}
	if len(known) >= maxMeanings {
		clear(known)
	}
	known[strings.Clone(description)] = m
	return m
}
