package dga

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// The longest name and label of DNS, and the shortest label that tells anything.
const (
	maxName  = 253
	maxLabel = 63
	minLabel = 5
)

// Label is the part of a name that somebody registered, and the suffix below which it was: what an algorithm makes up. Names of
// services, of the own network and of addresses have none, nor do those below the suffixes of hosting providers, whose customers'
// names are hashes by design. A label in another script, or one too short to tell anything, is left out, too.
func Label(name string) (label, suffix string, ok bool) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName {
		return "", "", false
	}
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			name = strings.ToLower(name)
			break
		}
	}
	suffix, public := publicsuffix.PublicSuffix(name)
	managed := public || strings.IndexByte(suffix, '.') >= 0
	if !managed || !public && !slices.Contains(dynamic, suffix) || strings.HasSuffix(suffix, "arpa") || len(suffix)+1 >= len(name) {
		return "", "", false
	}
	label = name[:len(name)-len(suffix)-1]
	label = label[strings.LastIndexByte(label, '.')+1:]
	if len(label) < minLabel || len(label) > maxLabel || !plain(label) {
		return "", "", false
	}
	return label, suffix, true
}

// plain reports whether a label is of letters, digits and hyphens, and not one of another script in disguise.
func plain(label string) bool {
	for i := range len(label) {
		if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return !strings.HasPrefix(label, "xn--")
}

// dynamic are suffixes of providers that give names to addresses that change: anybody gets as many as wanted, at once.
var dynamic = []string{
	"chickenkiller.com", "crabdance.com", "ddns.net", "ddnsking.com", "duckdns.org", "dyndns.org", "dynu.net", "freeddns.org",
	"freedynamicdns.net", "hopto.org", "jumpingcrab.com", "mooo.com", "myddns.me", "myftp.org", "no-ip.org", "noip.me", "now-dns.net",
	"publicvm.com", "servebeer.com", "serveftp.com", "servegame.com", "strangled.net", "sytes.net", "theworkpc.com", "us.to", "zapto.org",
}
