package pcre

import (
	"regexp"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		re    string
		flags Flags
		text  string
		want  string // what is found, "-" for nothing
	}{
		{`abc`, Flags{}, "xxabc", "abc"},
		{`abc`, Flags{}, "xxABC", "-"},
		{`abc`, Flags{Fold: true}, "xxABC", "ABC"},
		{`a.c`, Flags{}, "a\nc", "-"},
		{`a.c`, Flags{DotAll: true}, "a\nc", "a\nc"},
		{`^b`, Flags{}, "a\nb", "-"},
		{`^b`, Flags{Lines: true}, "a\nb", "b"},
		{`a$`, Flags{}, "a\n", "a"},
		{`a$`, Flags{EndOnly: true}, "a\n", "-"},
		{`a b # comment`, Flags{Extended: true}, "ab", "ab"},
		{`b`, Flags{Anchored: true}, "ab", "-"},
		{`a+`, Flags{Ungreedy: true}, "aaa", "a"},
		{`a+?b`, Flags{}, "aaab", "aaab"},
		{`<.+?>`, Flags{}, "<a><b>", "<a>"},
		{`<.+>`, Flags{}, "<a><b>", "<a><b>"},
		{`.{1,3}?x`, Flags{}, "abcx", "abcx"},
		{`.{1,2}?x`, Flags{}, "abcx", "bcx"},
		{`a*+a`, Flags{}, "aaa", "-"},
		{`(?>a*)a`, Flags{}, "aaa", "-"},
		{`(?:ab)*+ab`, Flags{}, "abab", "-"},
		{`foo(?=bar)`, Flags{}, "foobar", "foo"},
		{`foo(?!bar)`, Flags{}, "foobar foox", "foo"},
		{`(?<=a)b`, Flags{}, "cb ab", "b"},
		{`(?<!c)b`, Flags{}, "cb", "-"},
		{`(?<=ab|c)d`, Flags{}, "abd", "d"},
		{`(?<!ab|c)d`, Flags{}, "abd cd", "-"},
		{`(a|b)\1`, Flags{}, "abb", "bb"},
		{`(a|b)\g1`, Flags{}, "abb", "bb"},
		{`(a|b)\g{1}c`, Flags{}, "abbc", "bbc"},
		{`(a)(b)\g{-1}`, Flags{}, "ababb", "abb"},
		{`(?P<x>a|b)\g{x}`, Flags{}, "abb", "bb"},
		{`(?P<x>[a-c])(?P=x)`, Flags{}, "abcc", "cc"},
		{`(?i)AB(?-i)c`, Flags{}, "abC abc", "abc"},
		{`(?i:A)b`, Flags{}, "aB ab", "ab"},
		{`\x41\101\cA`, Flags{}, "AA\x01", "AA\x01"},
		{`[^\x00-\x7f]`, Flags{}, "abc\xff", "\xff"},
		{`[[:alpha:]_-]+`, Flags{}, "12a_-b", "a_-b"},
		{`[]a]+`, Flags{}, "x]a", "]a"},
		{`[\d\-z]+`, Flags{}, "a1-z", "1-z"},
		{`\bcat\b`, Flags{}, "concat cat", "cat"},
		{`\Bcat`, Flags{}, "cat concat", "cat"},
		{`(a*)*b`, Flags{}, "aab", "aab"},
		{`(a|ab)(c|bcd)$`, Flags{}, "abcd", "abcd"},
		{`x{2,}`, Flags{}, "xxxx", "xxxx"},
		{`x{,2}`, Flags{}, "x{,2}", "x{,2}"},
		{`\Qa.b\E+`, Flags{}, "a.ba.b", "a.ba.b"},
		{`(?#note)a`, Flags{}, "a", "a"},
		{`\R`, Flags{}, "a\r\n", "\r\n"},
		{`^$`, Flags{}, "", ""},
		{`a(?=(b))\1`, Flags{}, "ab", "ab"},
	} {
		re, err := Compile(c.re, c.flags)
		if err != nil {
			t.Errorf("%s: %v", c.re, err)
			continue
		}
		got := "-"
		if start, end, found, _ := re.Find([]byte(c.text), 0); found {
			got = c.text[start:end]
		}
		if got != c.want {
			t.Errorf("/%s/ in %q: %q, want %q", c.re, c.text, got, c.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, text := range []string{`(`, `)`, `[`, `a**`, `*`, `\`, `(?P=x)`, `\1`, `(a)\g2`, `(a)\g{-2}`, `(a)\g{x}`, `(a)\g{1`, `(a)\g`, `(a)\g0`, `(?<=a*)b`, `[z-a]`, `\x{999}`, `(?R)`, `(*FAIL)`, `\p{L}`,
		`a{3,2}`, `((a{200}){200}){200}`, `(?:(?:){65535}){65535}`, strings.Repeat("(", 200), `[[:nothing:]]`} {
		if _, err := Compile(text, Flags{}); err == nil {
			t.Errorf("/%s/ was taken", text)
		}
	}
}

// An expression that explodes is given up after a known number of steps.
func TestExhausted(t *testing.T) {
	re, err := Compile(`^(a+)+$`, Flags{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, found, exhausted := re.Find([]byte(strings.Repeat("a", 40)+"b"), 0); found || !exhausted {
		t.Errorf("found %v, exhausted %v", found, exhausted)
	}
}

// What both engines can do they agree on.
func FuzzAgainstRegexp(f *testing.F) {
	for _, s := range []string{`a+b*`, `(a|ab)(c|bcd)`, `[a-c]{2,3}?d`, `^x.*y$`, `(?i)ab|cd`, `\w+\s\d`, `(a?b)+c`} {
		f.Add(s, "abcd aab xAy")
	}
	f.Fuzz(func(t *testing.T, text, subject string) {
		re, err := Compile(text, Flags{})
		if err != nil || len(subject) > 200 {
			return
		}
		start, end, found, exhausted := re.Find([]byte(subject), 0)
		other, err := regexp.Compile(text)
		if err != nil || exhausted || !plain(text) || !plain(subject) {
			return
		}
		want := other.FindStringIndex(subject)
		if found != (want != nil) || found && (start != want[0] || end != want[1]) {
			t.Errorf("/%s/ in %q: %v %d-%d, want %v", text, subject, found, start, end, want)
		}
	})
}

// plain leaves out where the two differ by intention: bytes beyond ASCII, $, Perl's own classes, flags and counted groups.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] >= 128 || strings.IndexByte("$?\\*{}+", s[i]) >= 0 && i > 0 && strings.IndexByte("\\)*+?}", s[i-1]) >= 0 || s[i] == '$' || s[i] == '\\' {
			return false
		}
	}
	return !strings.Contains(s, "(?") && !strings.Contains(s, "[:") && !strings.Contains(s, "{,")
}
