package tls

import "strings"

// tools are names that tools for attacks give the issuer of their certificates (most of them sign themselves) when nobody tells
// them otherwise, as RFC 2253 writes them. No authority that others trust has such a name. What each of them is known from:
//
//   - AsyncRAT, Cobalt Strike, Gozi, Metasploit, Mythic, Covenant, PoshC2, Quasar: the collection thehappydinoa/awesome-censys-queries.
//   - Quasar: also the Zeek package corelight/zeek-quasarrat-detector.
//   - DcRat, Orcus: where their servers make the certificate (qwqdanchun/DcRat, OrcusRAT); VenomRAT descends from DcRat.
//   - PoshC2: poshc2/server/Config.py of nettitude/PoshC2.
//   - Sliver: the port of its operators, searched for as issuer "operators" and subject "multiplayer" by many.
var tools = map[string]string{
	"CN=AsyncRAT Server":        "AsyncRAT",
	"OU=qwqdanchun":             "DcRat or VenomRAT",
	"CN=Quasar Server CA":       "Quasar",
	"CN=Anony96":                "Quasar",
	"CN=Orcus Server":           "Orcus",
	"CN=Major Cobalt Strike":    "Cobalt Strike",
	"O=cobaltstrike":            "Cobalt Strike",
	"CN=P18055077":              "PoshC2",
	"CN=Covenant":               "Covenant",
	"O=Mythic":                  "Mythic",
	"CN=MetasploitSelfSignedCA": "Metasploit",
	"CN=operators":              "Sliver",
}

// gozi has nothing in its names but this.
var gozi = []string{"OU=1", "O=1", "L=1", "ST=1", "C=XX"}

// toolOf is whose certificates have such an issuer.
func toolOf(issuer string) string {
	for part := range strings.SplitSeq(issuer, ",") {
		if name := tools[part]; name != "" {
			return name
		}
	}
	if has(issuer, gozi[0]) && has(issuer, gozi[1]) && has(issuer, gozi[2]) && has(issuer, gozi[3]) && has(issuer, gozi[4]) {
		return "Gozi"
	}
	return ""
}

// has reports whether a part is one of those of a name.
func has(name, part string) bool {
	for p := range strings.SplitSeq(name, ",") {
		if p == part {
			return true
		}
	}
	return false
}

// placeholders are what makers of certificates put where nobody says anything.
var placeholders = map[string]struct{}{
	"O=Internet Widgits Pty Ltd": {}, "O=Default Company Ltd": {}, "O=My Company Name LTD.": {}, "O=Acme Co": {}, "O=Dis": {}, "ST=Denial": {},
	"ST=Some-State": {}, "L=Default City": {}, "O=Example Company": {}, "O=myorganization": {}, "CN=localhost": {}, "CN=localhost.localdomain": {}, "CN=example.com": {},
	"CN=www.example.com": {}, "CN=*": {}, "CN=server": {}, "CN=test": {},
}

// shortest is how long what a certificate is for must be to say something.
const shortest = 4

// saysLittle reports whether a subject is what nobody has thought of: nothing, a placeholder, a name of a few letters.
func saysLittle(subject string) bool {
	named := false
	for part := range strings.SplitSeq(subject, ",") {
		if _, found := placeholders[part]; found {
			return true
		}
		if name, found := strings.CutPrefix(part, "CN="); found {
			named = len(name) >= shortest
		}
	}
	return !named
}
