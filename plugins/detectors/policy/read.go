package policy

import (
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// kind is what is noted.
type kind uint8

const (
	cleartext kind = iota
	snmp
	telnet
	rCommands
	smb1
	ssh1
	encryptedDNS
	ntlm1
	kinds
)

// rule is what is said of a kind. Words belong to its signs; some make it worse.
type rule struct {
	id, purpose, does string
	techniques        []string
	severity          sdk.Severity
	worse             uint32
	words             []string
	benign            string
}

var rules = [kinds]rule{
	cleartext: {id: "cleartext-login", purpose: "Somebody logged in with a password or a token that everybody on the way could read.", does: "takes passwords that everybody on the way can read",
		techniques: []string{"T1040", "T1552"}, severity: sdk.SeverityLow, words: loginWords[:], benign: "A network in which nobody else can listen, a tunnel around it."},
	snmp: {id: "snmp", purpose: "A device answers SNMP of version 1 or 2c, whose community is a password in the clear.", does: "answers SNMP in the clear",
		techniques: []string{"T1040"}, severity: sdk.SeverityInfo, worse: public | private, words: []string{"version 1", "version 2c", `community "public"`, `community "private"`}, benign: "Management in a network of its own."},
	telnet: {id: "telnet", purpose: "Telnet was spoken, in which all that is typed can be read.", does: "speaks Telnet",
		techniques: []string{"T1040"}, severity: sdk.SeverityInfo, benign: "Old devices, games, services for everybody."},
	rCommands: {id: "r-commands", purpose: "rlogin or rsh was spoken, which trust the address of the client.", does: "speaks",
		techniques: []string{"T1040"}, severity: sdk.SeverityLow, words: []string{"rlogin", "rsh"}, benign: "Old devices."},
	smb1: {id: "smb1", purpose: "A session of SMB 1 was opened, which is neither signed nor encrypted as it should be.", does: "takes sessions of SMB 1",
		severity: sdk.SeverityLow, benign: "Old devices, scanners, shares of things."},
	ssh1: {id: "ssh1", purpose: "A server speaks SSH of version 1 alone, which is broken.", does: "speaks SSH of version 1",
		severity: sdk.SeverityLow, benign: "Old devices."},
	encryptedDNS: {id: "encrypted-dns", purpose: "A resolver was asked over TLS, HTTPS or QUIC, where nobody sees for what.", does: "is asked for names in secret",
		severity: sdk.SeverityInfo, words: []string{"DNS over TLS", "DNS over QUIC", "a public resolver over HTTPS"}, benign: "Where it is allowed: name the resolver in servers."},
	ntlm1: {id: "ntlm1", purpose: "Somebody logged on with NTLM of version 1, whose answers give the password's digest away to whoever hears one.", does: "takes logons with NTLM of version 1",
		techniques: []string{"T1040", "T1110.002"}, severity: sdk.SeverityLow, benign: "Old devices and clients."},
}

// loginWords are the protocols of logins, by sign; the last one stands for all others.
var loginWords = [...]string{"FTP", "Telnet", "HTTP Basic", "HTTP with a token", "POP3", "IMAP", "SMTP", "LDAP", "MQTT", "SIP", "another protocol"}

func loginSigns(r *sdk.Login) uint32 {
	switch r.Protocol {
	case "ftp":
		return 1 << 0
	case "telnet":
		return 1 << 1
	case "http", "http2":
		if r.Method == "BEARER" {
			return 1 << 3
		}
		return 1 << 2
	case "pop3":
		return 1 << 4
	case "imap":
		return 1 << 5
	case "smtp":
		return 1 << 6
	case "ldap":
		return 1 << 7
	case "mqtt":
		return 1 << 8
	case "sip":
		return 1 << 9
	}
	return 1 << (len(loginWords) - 1)
}

// anonymous reports whether who logs in has no secret: the password is that of everybody, by custom an address.
func anonymous(r *sdk.Login) bool {
	return r.Protocol == "ftp" && (strings.EqualFold(r.User, "anonymous") || strings.EqualFold(r.User, "ftp"))
}

// Signs of SNMP.
const (
	version1 uint32 = 1 << iota
	version2c
	public
	private
)

// readMessage knows answers of SNMP, without which nobody knows whether a device speaks it, and the banner of SSH.
func readMessage(r *sdk.Message) (kind, uint32) {
	switch {
	case r.Protocol == "snmp" && r.Response:
		var signs uint32
		switch r.Fields["version"] {
		case "1":
			signs = version1
		case "2":
			signs = version2c
		default:
			return kinds, 0
		}
		switch r.Fields["community"] {
		case "public":
			signs |= public
		case "private":
			signs |= private
		}
		return snmp, signs
	case r.Protocol == "ssh" && r.Name == "banner" && r.FromServer:
		if v := r.Fields["version"]; strings.HasPrefix(v, "1.") && v != "1.99" { // which speaks 2.0, too
			return ssh1, 0
		}
	}
	return kinds, 0
}

// Ports of what Berkeley's servers were, and from where their clients come: only a superuser may use such a port.
const (
	portRlogin, portRsh       = 513, 514
	firstTrusted, lastTrusted = 512, 1023
)

// readFlow knows connections in which both sides have said something.
func readFlow(f *sdk.Flow) (kind, uint32) {
	if f.Proto != sdk.ProtoTCP || f.FwdPayload == 0 || f.RevPayload == 0 {
		return kinds, 0
	}
	if f.App == "telnet" {
		return telnet, 0
	}
	if (f.DstPort == portRlogin || f.DstPort == portRsh) && f.SrcPort >= firstTrusted && f.SrcPort <= lastTrusted && f.App == "" {
		return rCommands, 1 << (f.DstPort - portRlogin)
	}
	return kinds, 0
}

// Signs of encrypted DNS.
const (
	overTLS uint32 = 1 << iota
	overQUIC
	overHTTPS
)

const portDNS = 853

// resolvers are public ones by the names that they are asked by over HTTPS, as their operators publish them.
var resolvers = map[string]struct{}{
	"dns.google": {}, "dns64.dns.google": {}, "cloudflare-dns.com": {}, "mozilla.cloudflare-dns.com": {}, "chrome.cloudflare-dns.com": {}, "security.cloudflare-dns.com": {},
	"family.cloudflare-dns.com": {}, "one.one.one.one": {}, "dns.quad9.net": {}, "dns9.quad9.net": {}, "dns10.quad9.net": {}, "dns11.quad9.net": {}, "doh.opendns.com": {}, "dns.umbrella.com": {},
	"dns.adguard-dns.com": {}, "unfiltered.adguard-dns.com": {}, "dns.nextdns.io": {}, "doh.cleanbrowsing.org": {}, "freedns.controld.com": {}, "dns.mullvad.net": {}, "doh.dns.sb": {},
	"dns.alidns.com": {}, "doh.pub": {}, "dns0.eu": {}, "doh.libredns.gr": {}, "dns.digitale-gesellschaft.ch": {}, "ordns.he.net": {}, "wikimedia-dns.org": {}, "doh.xfinity.com": {},
}

// secretDNS knows resolvers outside.
func secretDNS(r *sdk.TLS) uint32 {
	if r.Server.IsPrivate() {
		return 0
	}
	if r.ServerPort == portDNS {
		if r.Proto == sdk.ProtoUDP {
			return overQUIC
		}
		return overTLS
	}
	if _, found := resolvers[strings.ToLower(r.ServerName)]; found {
		return overHTTPS
	}
	return 0
}
