package custom

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// What one rule costs at one record. "native" are conditions that need no CEL; "behind native" is a record that such a part turns
// down; "CEL" is a rule that no record can make expensive, "CEL, watched" one whose steps are counted.
func BenchmarkRule(b *testing.B) {
	for _, c := range []struct{ name, when string }{
		{"native, one test", `qtype == 255`},
		{"native, three tests", `!response && qtype in [16, 255] && under(query, "evil.example")`},
		{"behind native", `qtype == 255 && query.matches("^[a-z]+[.]evil[.]example$")`},
		{"CEL", `time.getHours() < 6`},
		{"CEL, watched", `entropy(query) > 4.5`},
		{"CEL, regular expression", `query.matches("^[a-f0-9]{16,}[.]")`},
		{"CEL, list of four", `answers.exists(a, a.startsWith("203.0.113."))`},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := source{id: "x", file: "x", when: c.when, whenAt: position{line: 1, column: 1}, title: "x"}
			r, problems := compileRule(&dnsKind, &s)
			if len(problems) > 0 {
				b.Fatal(told(problems))
			}
			d := &Detector{}
			set := ruleSet[sdk.DNS]{kind: &dnsKind, rules: []*rule[sdk.DNS]{r}}
			list := []sdk.DNS{asks(0, 5, "mail-17.customers.example.org")}
			list[0].Answers = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}
			b.ReportAllocs()
			for b.Loop() {
				if err := set.inspect(d, list, nil); err != nil {
					b.Fatal(err)
				}
				r.credit = burst
			}
		})
	}
}

// What a hundred rules cost at a record that none of them is about.
func BenchmarkHundredRules(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nrules:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - id: rule-%d\n    title: x\n    on: dns\n    when: qtype == 16 && under(query, \"host%d.evil.example\")\n"+
			"    samples: {fires: [{qtype: 16, query: a.host%d.evil.example}], silent: [{qtype: 1}]}\n", i, i, i)
	}
	d := detector(b, text.String())
	batch := sdk.Batch{DNS: []sdk.DNS{asks(0, 5, "mail-17.customers.example.org")}}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Inspect(context.Background(), batch, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/rule")
}
