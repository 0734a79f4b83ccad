package login

import (
	"encoding/base64"
	"strings"
	"testing"
)

func code(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s))) }

func TestSASL(t *testing.T) {
	for name, c := range map[string]struct {
		method  string
		initial string
		answers []string
		user    string
		clear   bool
	}{
		"plain":        {"plain", "\x00bob\x00secret", nil, "bob", true},
		"plain for":    {"PLAIN", "", []string{"alice\x00bob\x00s"}, "bob", true},
		"plain cut":    {"PLAIN", "\x00bob", nil, "bob", false},
		"basic":        {"Basic", "bob:secret", nil, "bob", true},
		"login":        {"LOGIN", "", []string{"bob", "secret"}, "bob", true},
		"login short":  {"LOGIN", "bob", nil, "bob", false},
		"login abort":  {"LOGIN", "", []string{"bob"}, "bob", false},
		"cram":         {"CRAM-MD5", "", []string{"bob b913a602c7eda7a495b4e6e7334d3890"}, "bob", false},
		"scram":        {"SCRAM-SHA-256", "n,,n=bob,r=abc", []string{"c=biws,r=abc,p=x"}, "bob", false},
		"oauth":        {"XOAUTH2", "user=bob\x01auth=Bearer t\x01\x01", nil, "bob", true},
		"bearer":       {"OAUTHBEARER", "n,a=bob,\x01auth=Bearer t\x01\x01", nil, "bob", true},
		"unknown":      {"NTLM", "NTLMSSP\x00bob", nil, "", false},
		"long":         {"LOGIN", strings.Repeat("x", 5000), nil, strings.Repeat("x", maxText), false},
		"control":      {"LOGIN", "a\x1b[31mb", nil, "a\ufffd[31mb", false},
		"not a letter": {"LOGIN", "\xff\xfe", nil, "\ufffd", false},
	} {
		var s SASL
		var initial []byte
		if c.initial != "" {
			initial = code(c.initial)
		}
		s.Begin([]byte(c.method), initial)
		for _, a := range c.answers {
			s.Answer(code(a))
		}
		if s.User != c.user || s.Clear != c.clear {
			t.Errorf("%s: %q, clear %t", name, s.User, s.Clear)
		}
		if s.room != [maxAnswer]byte{} {
			t.Errorf("%s: the answer is kept", name)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("PLAIN", []byte("AGJvYgBzZWNyZXQ="), []byte("*"))
	f.Fuzz(func(t *testing.T, method string, a, b []byte) {
		var s SASL
		s.Begin([]byte(method), a)
		s.Answer(b)
		if len(s.User) > 3*maxText {
			t.Fatalf("%d bytes of a name", len(s.User))
		}
	})
}
