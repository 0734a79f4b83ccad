package dnsname

import (
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for name, want := range map[string][2]string{
		"a.b.example.org":              {"a.b", "example.org"},
		"example.org":                  {"", "example.org"},
		"org":                          {"", "org"},
		"co.uk":                        {"", "co.uk"},
		"x.example.co.uk":              {"x", "example.co.uk"},
		"x.home.duckdns.org":           {"x", "home.duckdns.org"},
		"x.corp.local":                 {"x.corp", "local"},
		"local":                        {"", "local"},
		"cat.0a1b2c":                   {"cat.0a1b2c", ""},
		".":                            {"", ""},
		"":                             {"", ""},
		`x.\255\000`:                   {`x.\255\000`, ""},
		"abcdefghijklmnopqrstuvwxyzab": {"abcdefghijklmnopqrstuvwxyzab", ""},
	} {
		made, domain := Split(name)
		if [2]string{made, domain} != want {
			t.Errorf("%q is %q below %q, want %q", name, made, domain, want)
		}
	}
}

func TestReversed(t *testing.T) {
	for made, want := range map[string]bool{
		"4.3.2.1": true, "4.3.2.1.zen": true, "4.3.2": false, "4.3.2.1000": false, "x.4.3.2.1": false, "": false,
		strings.Repeat("a.", 31) + "b": true, strings.Repeat("a.", 30) + "b": false, "4.3.2.1." + strings.Repeat("data", 10): false,
	} {
		if Reversed(made) != want {
			t.Errorf("%q: %v", made, !want)
		}
	}
}

func TestEncoded(t *testing.T) {
	for label, want := range map[string]bool{
		"static-content-of-a-news-site-with-images-and-videos-and-mail-for-accounts": false,
		"0123456789012345678901234567890123456789012345678901234567890123456789":     false,
		"a0f3c2917be45d68a0f3c2917be45d68a0f3c2917be45d68a0f3c2917be45d68a0f3":       true,
		"mzxw6ytboi3xqy2hkr5dlnpvfgusm7ajehtob4wzcqxk5v2rfyiuldsgn3p7mjahetobw":      true,
		"mzxw6ytboi3xqy2h":         false,
		strings.Repeat(`\255`, 70): true,
	} {
		var text Text
		text.Add(label)
		if text.Encoded() != want {
			t.Errorf("%s: %v, evenness %v", label, !want, text.Evenness())
		}
	}
}

func TestLower(t *testing.T) {
	if Lower("eXample.ORG") != "example.org" || Lower("example.org") != "example.org" {
		t.Error("not in lower case")
	}
}
