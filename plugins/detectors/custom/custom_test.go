package custom

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

var morning = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// newDetector starts one with rules, of all kinds.
func newDetector(tb testing.TB, rules string, strict bool) (*Detector, error) {
	tb.Helper()
	cfg, err := json.Marshal(map[string]any{"rules": rules, "kinds": factKinds, "strict": strict})
	if err != nil {
		tb.Fatal(err)
	}
	d := &Detector{}
	if err := config.Decode(cfg, d.Config()); err != nil {
		tb.Fatal(err)
	}
	return d, d.Start(context.Background(), nil)
}

func detector(tb testing.TB, rules string) *Detector {
	tb.Helper()
	d, err := newDetector(tb, rules, true)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func host(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

func seen(at time.Duration, client byte) sdk.Seen {
	return sdk.Seen{Flow: 3, Packet: 5, Time: morning.Add(at), Client: host(client), Server: host(1), ClientPort: 40000, ServerPort: 53, Proto: sdk.ProtoUDP}
}

func asks(at time.Duration, client byte, query string) sdk.DNS {
	return sdk.DNS{Seen: seen(at, client), Protocol: "dns", Query: query, QType: 16}
}

func inspect(tb testing.TB, d *Detector, b sdk.Batch) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	if err := d.Inspect(context.Background(), b, s); err != nil {
		tb.Fatal(err)
	}
	return s.findings
}

func flush(tb testing.TB, d *Detector) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s.findings
}

// ruleOn is a rule file with one rule of DNS, whose samples are right for any condition that mentions evil.example.
func ruleOn(when string, further ...string) string {
	return "version: 1\nrules:\n  - id: one\n    title: \"{client} asked for {query}\"\n    on: dns\n    when: " + when + "\n" +
		strings.Join(further, "") + "    samples:\n      fires: [{query: a.evil.example, qtype: 16, client: 10.0.0.5}]\n      silent: [{query: example.org, client: 192.0.2.1}]\n"
}

func TestConditions(t *testing.T) {
	record := asks(0, 5, "A.b.Evil.example")
	record.Answers = []string{"192.0.2.1", "192.0.2.2"}
	record.AnswerTTLs = []uint64{5, 300}
	for when, want := range map[string]bool{
		`under(query, "evil.example")`:              true,
		`under(query, "vil.example")`:               false,
		`query == "A.b.Evil.example"`:               true,
		`query.endsWith("evil.example")`:            false,
		`lower(query).endsWith("evil.example")`:     true,
		`domain(query) == "evil.example"`:           true,
		`entropy(query) > 3.0`:                      true,
		`entropy(query) > 4.5`:                      false,
		`entropy(query) > 4`:                        false,
		`isPrivate(client)`:                         true,
		`isPrivate("8.8.8.8")`:                      false,
		`inCIDR(client, "10.0.0.0/8")`:              true,
		`inCIDR(client, ["192.168.0.0/16", "::1"])`: false,
		`inCIDR(server, "10.0.0.1")`:                true,
		`client == "10.0.0.5" && server_port == 53`: true,
		`proto == udp`:                              true,
		`proto in [tcp, icmp]`:                      false,
		`qtype in [16, 255] || response`:            true,
		`size(query) > 10 && size(answers) == 2`:    true,
		`answers.exists(a, a.startsWith("192.0.2.")) && answer_ttls.exists(t, t < 10)`: true,
		`answers.all(a, inCIDR(a, "192.0.2.2"))`:                                       false,
		`query.matches("(?i)evil\\.example$")`:                                         true,
		`time.getHours() == 8 && time.getHours("+02:00") == 10`:                        true,
		`time > timestamp("2026-03-02T09:00:00Z")`:                                     false,
		`!response && 16 == qtype && !(rcode != 0)`:                                    true,
		`"x" in {"x": 1} && qtype < 16`:                                                false,
	} {
		s := source{id: "x", file: "x", when: when, whenAt: position{line: 1, column: 1}, title: "x"}
		r, problems := compileRule(&dnsKind, &s)
		if len(problems) > 0 {
			t.Errorf("%s: %s", when, told(problems))
			continue
		}
		set := ruleSet[sdk.DNS]{kind: &dnsKind}
		fired, err := set.judge(r, &record)
		if err != nil || fired != want {
			t.Errorf("%s: %v, %v", when, fired, err)
		}
		t.Logf("%-80s native %v, CEL %v, watched %v", when, r.holds != nil, r.program != nil, r.watched)
	}
}

func TestRefused(t *testing.T) {
	const samples = "    samples: {fires: [{qtype: 16}], silent: [{qtype: 1}]}\n"
	one := func(lines string) string {
		return "version: 1\nrules:\n  - id: one\n    title: x\n    on: dns\n" + lines
	}
	for name, test := range map[string]struct{ rules, want string }{
		"no version":             {"rules: []\n", `rules:1:6: the file says version "": begin it with version: 1`},
		"another version":        {"version: 2\nrules: []\n", `version "2"`},
		"no YAML":                {"version: 1\nrules: [\n", "this is no YAML"},
		"an unknown key":         {"version: 1\nrule: []\n", `rules:2:1: a rule file has no "rule"; did you mean rules?`},
		"a key twice":            {one("    when: qtype == 16\n    when: true\n" + samples), "already defined"},
		"a field":                {one("    when: |\n      !response &&\n        qyery == \"x\"\n" + samples), `rules:8:9: rule one: dns has no field or function "qyery"; did you mean query?`},
		"a field on its line":    {one("    when: qtipe == 16\n" + samples), `rules:6:11: rule one: dns has no field or function "qtipe"; did you mean qtype?`},
		"a type":                 {one("    when: qtype == \"TXT\"\n" + samples), "rules:6:17: rule one: found no matching overload for '_==_' applied to '(int, string)'"},
		"no condition":           {one("    when: qtype\n" + samples), "when is a int, and must be true or false"},
		"a function":             {one("    when: undr(query, \"x\")\n" + samples), `"undr"; did you mean under?`},
		"a regular expression":   {one("    when: query.matches(\"(\")\n" + samples), "rules:6:"},
		"a large one":            {one("    when: query.matches(\"(a{100}){10}\")\n" + samples), "rules:6:"},
		"one that is made":       {one("    when: query.matches(query)\n" + samples), "matches wants a regular expression that stands in the rule"},
		"a network":              {one("    when: inCIDR(client, \"10.0.0.0/33\")\n" + samples), `"10.0.0.0/33" is no network`},
		"a network that is made": {one("    when: inCIDR(client, query)\n" + samples), "inCIDR wants networks that stand in the rule"},
		"a time zone":            {one("    when: time.getHours(\"Europe/Berlin\") == 3\n" + samples), `getHours knows no names of time zones`},
		"loops in loops":         {one("    when: answers.exists(a, answers.exists(b, answers.exists(c, a + b == c)))\n" + samples), "rules:6:"},
		"no samples":             {one("    when: qtype == 16\n"), "rules:3:7: rule one: it needs samples: under samples, list at least one record under fires"},
		"no silent sample":       {one("    when: qtype == 16\n    samples: {fires: [{qtype: 16}]}\n"), "it needs samples"},
		"a sample not found":     {one("    when: qtype == 17\n" + samples), "rules:7:23: rule one: sample 1 of fires is not found"},
		"a sample found":         {one("    when: qtype < 17\n" + samples), "sample 1 of silent is found"},
		"a field of a sample":    {one("    when: true\n    samples: {fires: [{qtype: 1, quary: x}], silent: [{}]}\n"), `dns has no field "quary"; did you mean query?`},
		"a value of a sample":    {one("    when: true\n    samples: {fires: [{client: nobody}], silent: [{}]}\n"), "client: it must be an address"},
		"a number of a sample":   {one("    when: true\n    samples: {fires: [{qtype: 70000}], silent: [{}]}\n"), "qtype: it must be a number of 16 bits"},
		"a key that is missing":  {"version: 1\nrules:\n  - id: one\n    title: x\n    on: messages\n    when: fields[\"a\"] == \"b\"\n    samples: {fires: [{name: x}], silent: [{fields: {a: c}}]}\n", "sample 1 of fires comes to no answer: no such key: a"},
		"a kind":                 {"version: 1\nrules:\n  - id: one\n    title: x\n    on: htp\n    when: true\n    samples: {fires: [{}], silent: [{}]}\n", `there are no "htp"; did you mean http?`},
		"no title":               {"version: 1\nrules:\n  - id: one\n    on: dns\n    when: true\n" + samples, "it has no title"},
		"a field of the title":   {"version: 1\nrules:\n  - id: one\n    on: dns\n    title: \"{qery}\"\n    when: qtype == 16\n" + samples, `title: dns has no field "qery"; did you mean query?`},
		"an open title":          {"version: 1\nrules:\n  - id: one\n    on: dns\n    title: \"{query\"\n    when: qtype == 16\n" + samples, `"{query" has no end`},
		"an id":                  {"version: 1\nrules:\n  - id: One\n    on: dns\n    title: x\n    when: qtype == 16\n" + samples, `the id "One" must be of small letters`},
		"two of one id":          {one("    when: qtype == 16\n"+samples) + strings.TrimPrefix(one("    when: qtype == 16\n"+samples), "version: 1\nrules:\n"), "rules:8:1: rule one: rules:3 has a rule of that id"},
		"a severity":             {one("    when: qtype == 16\n    severity: bad\n" + samples), "severity must be one of info, low"},
		"a confidence":           {one("    when: qtype == 16\n    confidence: 2\n" + samples), "confidence must be a number from 0 to 1"},
		"a technique":            {one("    when: qtype == 16\n    techniques: [T9999]\n" + samples), `ATT&CK has no technique "T9999"`},
		"a count without over":   {one("    when: qtype == 16\n    count: {at_least: 3}\n" + samples), "count needs over"},
		"a long count":           {one("    when: qtype == 16\n    count: {over: 48h, at_least: 3}\n" + samples), "over must be a duration"},
		"a count by a list":      {one("    when: qtype == 16\n    count: {over: 1m, at_least: 3, by: [answers]}\n" + samples), "answers holds several values"},
		"too many distinct":      {one("    when: qtype == 16\n    count: {over: 1m, at_least: 3000, distinct: query}\n" + samples), "at most 1000"},
		"an anchor":              {one("    when: &a qtype == 16\n" + samples), "when must be a text"},
		"brackets without end":   {strings.Repeat("[", 100_000), "more than 32 deep"},
		"too expensive":          {one("    when: answers.exists(a, answer_names.exists(b, a.matches(\"x+y+z+x+y+z+\") || b.contains(a + a + a + a)))\n" + samples), "steps at one record"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newDetector(t, test.rules, true)
			if sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

// One wrong rule does not keep the others from running, and is not forgotten either.
func TestTheOthersRun(t *testing.T) {
	rules := ruleOn("qtype == 16 && under(query, \"evil.example\")") + strings.ReplaceAll(strings.TrimPrefix(ruleOn("qtype == 17"), "version: 1\nrules:\n"), "id: one", "id: two")
	d, err := newDetector(t, rules, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "rule two: sample 1 of fires is not found") {
		t.Errorf("health: %v", err)
	}
	found := inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(0, 5, "x.evil.example"), asks(time.Second, 5, "example.org")}})
	if len(found) != 1 || found[0].Rule != "own/one" || found[0].Summary != "10.0.0.5 asked for x.evil.example" || found[0].Src != "10.0.0.5" || found[0].Risk != 42 {
		t.Errorf("%+v", found)
	}
	d.cfg.Kinds = nil
	if err := d.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "add dns to kinds") {
		t.Errorf("health: %v", err)
	}
}

// A rule that is not enabled is checked like the others, and finds nothing.
func TestNotEnabled(t *testing.T) {
	rule := "version: 1\nrules:\n  - id: a\n    title: t\n    enabled: %s\n    on: dns\n    when: query == 'a.example'\n    samples: {fires: [{query: a.example}], silent: [{query: %s}]}\n"
	for enabled, want := range map[string]int{"true": 1, "false": 0} {
		d := detector(t, fmt.Sprintf(rule, enabled, "b.example"))
		if got := inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(0, 7, "a.example")}}); len(got) != want {
			t.Errorf("enabled: %s finds %d", enabled, len(got))
		}
	}
	if _, err := newDetector(t, fmt.Sprintf(rule, "false", "a.example"), true); err == nil {
		t.Error("its samples are not tried")
	}
	if _, err := newDetector(t, fmt.Sprintf(rule, "no-never", "b.example"), true); err == nil {
		t.Error("a word is taken for enabled")
	}
}

// Findings of one rule differ in their ids, however long what they are counted by is.
func TestLongIDs(t *testing.T) {
	d := detector(t, "version: 1\nrules:\n  - id: a\n    title: t\n    on: dns\n    when: protocol == 'dns'\n    count: {over: 1h, by: [query, protocol], at_least: 2}\n    samples: {fires: [{protocol: dns}], silent: [{protocol: mdns}]}\n")
	long := strings.Repeat("x", 199)
	if id := shortID(long + "\x00" + long + "\x001"); len(id) > maxID || id == shortID(long+"\x00"+long+"\x002") {
		t.Errorf("an id of %d bytes", len(id))
	}
	var ids []string
	for _, query := range []string{"a.example", "b.example"} {
		for i := range 2 {
			for _, f := range inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(time.Duration(i)*time.Second, 7, query)}}) {
				ids = append(ids, f.ID)
			}
		}
	}
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("ids %q", ids)
	}
}

func TestFindingsGrow(t *testing.T) {
	d := detector(t, ruleOn(`under(query, "evil.example")`, "    severity: high\n    confidence: 0.9\n    techniques: [T1071.004]\n"))
	told := 0
	for i := range 50 {
		told += len(inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(time.Duration(i)*time.Second, 5, "evil.example")}}))
	}
	last := flush(t, d)
	if told != 2 || len(last) != 1 || last[0].Summary != "10.0.0.5 asked for evil.example, 50 times" || last[0].Features["times"] != 50 {
		t.Errorf("told %d times; %+v", told, last)
	}
	if f := last[0]; f.Severity != sdk.SeverityHigh || f.Risk != 77 || f.Confidence != 0.9 || len(f.Techniques) != 1 || len(f.Flows) != 1 || f.Flows[0].Dst != "10.0.0.1:53" {
		t.Errorf("%+v", f)
	}
	if again := flush(t, d); len(again) > 0 {
		t.Errorf("after the end: %+v", again)
	}
}

// A text of the wire cannot break out of a title.
func TestTitlesAreClean(t *testing.T) {
	d := detector(t, ruleOn(`under(query, "evil.example")`, "    count: {over: 10m, by: [client], at_least: 2}\n"))
	query := "a\x01\x02\n\x1b[31m.evil.example"
	found := inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(0, 5, query), asks(1, 5, query)}})
	if len(found) != 1 || found[0].Summary != "10.0.0.5 asked for a����[31m.evil.example" {
		t.Errorf("%+v", found)
	}
}

func TestCounts(t *testing.T) {
	for name, test := range map[string]struct {
		count string
		every time.Duration
		names int // different ones
		want  int // the record at which it fires first, 0 for never
	}{
		"enough":              {"{over: 10m, by: [client], at_least: 20}", time.Second, 1, 20},
		"too slow":            {"{over: 10m, by: [client], at_least: 20}", time.Minute, 1, 0},
		"just enough":         {"{over: 19s, by: [client], at_least: 20}", time.Second, 1, 20},
		"distinct":            {"{over: 10m, by: [client], at_least: 20, distinct: query}", time.Second, 100, 20},
		"distinct, too few":   {"{over: 10m, by: [client], at_least: 20, distinct: query}", time.Second, 19, 0},
		"distinct, too slow":  {"{over: 10m, by: [client], at_least: 20, distinct: query}", time.Minute, 100, 0},
		"by somebody else":    {"{over: 10m, by: [query], at_least: 2}", time.Second, 100, 0},
		"of everybody":        {"{over: 10m, at_least: 30}", time.Second, 3, 30},
		"by several together": {"{over: 10m, by: [client, query], at_least: 5}", time.Second, 4, 17},
	} {
		t.Run(name, func(t *testing.T) {
			d := detector(t, ruleOn(`under(query, "evil.example")`, "    count: "+test.count+"\n"))
			first := 0
			for i := range 100 {
				query := string(rune('a'+i%test.names%26)) + string(rune('a'+i%test.names/26)) + ".evil.example"
				if found := inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(time.Duration(i)*test.every, 5, query)}}); len(found) > 0 && first == 0 {
					first = i + 1
				}
			}
			if first != test.want {
				t.Errorf("fires at record %d, want %d", first, test.want)
			}
			held := 0
			for m := range d.matters.All() {
				held += len(m.marks)
			}
			if d.marks != held {
				t.Errorf("%d marks are counted, %d held", d.marks, held)
			}
		})
	}
}

func TestCountedFinding(t *testing.T) {
	d := detector(t, strings.Replace(ruleOn(`under(query, "evil.example")`, "    count: {over: 10m, by: [client], at_least: 3, distinct: query}\n"),
		"{client} asked for {query}", "{client} asked {count} times for {distinct} names", 1))
	var list []sdk.DNS
	for i := range 8 {
		list = append(list, asks(time.Duration(i)*time.Second, byte(5+i%2), string(rune('a'+i/2))+".evil.example"))
		list[i].Flow, list[i].Packet = uint64(i+1), uint64(10+i)
	}
	found := inspect(t, d, sdk.Batch{DNS: list})
	if len(found) != 2 || found[0].Src != "10.0.0.5" || found[1].Src != "10.0.0.6" || found[0].Dst != "" || found[0].Summary != "10.0.0.5 asked 3 times for 3 names" {
		t.Fatalf("%+v", found)
	}
	if f := found[0]; len(f.Packets) != 3 || f.Packets[0] != 10 || len(f.Flows) != 3 || !f.Start.Equal(morning) {
		t.Errorf("%+v", f)
	}
	last := flush(t, d)
	if len(last) != 2 || last[0].Summary != "10.0.0.5 asked 4 times for 4 names" || sdk.FindingID(last[0]) != sdk.FindingID(found[0]) || sdk.FindingID(last[0]) == sdk.FindingID(last[1]) {
		t.Errorf("%+v", last)
	}
}

// A rule that costs more than it may is switched off and said, and the others go on.
func TestRunaway(t *testing.T) {
	rules := ruleOn(`answers.exists(a, answers.exists(b, a != b && size(a) + size(b) == 7)) || under(query, "evil.example")`) +
		strings.ReplaceAll(strings.TrimPrefix(ruleOn(`under(query, "evil.example")`), "version: 1\nrules:\n"), "id: one", "id: two")
	d := detector(t, rules)
	expensive := asks(0, 5, "www.example.org")
	for i := range 250 {
		expensive.Answers = append(expensive.Answers, strings.Repeat("evil ", 100)+strconv.Itoa(i))
	}
	var found []sdk.Finding
	records := 0
	for ; records < 10_000 && len(found) == 0; records++ {
		found = inspect(t, d, sdk.Batch{DNS: []sdk.DNS{expensive}})
	}
	if len(found) != 1 || found[0].Rule != RuleRunaway || !strings.Contains(found[0].Summary, "rule one") {
		t.Fatalf("after %d records: %+v", records, found)
	}
	t.Logf("switched off after %d records: %s", records, found[0].Summary)
	if err := d.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "rule one cost too much") {
		t.Errorf("health: %v", err)
	}
	next := &Detector{cfg: d.cfg}
	if err := next.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	savedtest.HandsOn(t, d, next)
	for _, d := range []*Detector{d, next} {
		if found := inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(0, 5, "x.evil.example")}}); len(found) != 1 || found[0].Rule != "own/two" {
			t.Errorf("%+v", found)
		}
	}
	flush(t, d)
	if err := d.Health(t.Context()); err != nil {
		t.Errorf("after the capture: %v", err)
	}
	// What is ordinary never costs so much.
	for range 20_000 {
		if found := inspect(t, d, sdk.Batch{DNS: []sdk.DNS{asks(0, 5, "www.example.org")}}); len(found) > 0 {
			t.Fatalf("%+v", found)
		}
	}
}

func TestSnapshot(t *testing.T) {
	rules := ruleOn(`under(query, "evil.example")`, "    count: {over: 10m, by: [client], at_least: 5, distinct: query}\n") +
		strings.ReplaceAll(strings.TrimPrefix(ruleOn(`under(query, "evil.example")`), "version: 1\nrules:\n"), "id: one", "id: two") +
		strings.ReplaceAll(strings.TrimPrefix(ruleOn(`query.matches("evil")`), "version: 1\nrules:\n"), "id: one", "id: three")
	straight := detector(t, rules)
	broken := detector(t, rules)
	var want, got []sdk.Finding
	for i := range 60 {
		b := sdk.Batch{DNS: []sdk.DNS{asks(time.Duration(i)*time.Second, byte(5+i%4), string(rune('a'+i/8))+".evil.example")}}
		want = append(want, inspect(t, straight, b)...)
		got = append(got, inspect(t, broken, b)...)
		next := detector(t, rules)
		savedtest.HandsOn(t, broken, next)
		broken = next
	}
	want, got = append(want, flush(t, straight)...), append(got, flush(t, broken)...)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 12 {
		t.Errorf("%d findings: %s", len(want), diff)
	}
	// What another set of rules no longer has is dropped.
	state, err := straight.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := detector(t, ruleOn("qtype == 16")).Restore(t.Context(), state); err != nil {
		t.Error(err)
	}
	for i := range state {
		if err := detector2(t).Restore(t.Context(), state[:i]); err == nil {
			t.Fatalf("%d bytes are taken", i)
		}
	}
}

func detector2(t *testing.T) *Detector {
	t.Helper()
	d := &Detector{}
	if err := config.Decode([]byte("{}"), d.Config()); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPage(t *testing.T) { plugintest.Page(t, "picket/custom-rules") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, Plugin(), sdktest.Options{StateDir: "testdata/state"})
	t.Run("with rules", func(t *testing.T) {
		plan, err := os.ReadFile("testdata/kit.json")
		if err != nil {
			t.Fatal(err)
		}
		var kit struct{ Config json.RawMessage }
		if err := json.Unmarshal(plan, &kit); err != nil {
			t.Fatal(err)
		}
		sdktest.Run(t, Plugin(), sdktest.Options{Config: kit.Config})
	})
}

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

// The memory of counts and findings is bounded, whatever is on the wire, and what is forgotten is counted.
func TestMemory(t *testing.T) {
	d := detector(t, ruleOn(`under(query, "evil.example")`, "    count: {over: 24h, by: [query], at_least: 10000}\n"))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list := make([]sdk.DNS, 1)
	for i := range 60_000 {
		list[0] = asks(time.Duration(i)*time.Millisecond, 5, strings.Repeat("x", 150)+strconv.Itoa(i%40_000)+".evil.example")
		list[0].Flow, list[0].Packet = uint64(i+1), uint64(i+1)
		inspect(t, d, sdk.Batch{DNS: list})
	}
	for i := range maxMarks + maxMarks/10 {
		list[0] = asks(400*time.Second+time.Duration(i)*time.Millisecond, 5, strconv.Itoa(i%150)+".evil.example")
		inspect(t, d, sdk.Batch{DNS: list})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d matters, %d marks, %d forgotten, %d MiB", d.matters.Len(), d.marks, d.matters.Forgotten, held>>20)
	if d.matters.Len() > 16384 || d.marks > maxMarks || d.matters.Forgotten == 0 || held > 64<<20 {
		t.Errorf("%d MiB", held>>20)
	}
	runtime.KeepAlive(d)
}

// What is asked without CEL gives the answer that CEL gives.
func TestNativeIsCEL(t *testing.T) {
	parts := []string{`qtype == 16`, `16 != qtype`, `qtype in [1, 16]`, `qtype >= 16`, `response`, `!response`, `under(query, "evil.example")`,
		`lower(query).contains("evil")`, `query.startsWith("a")`, `domain(query) == "evil.example"`, `client == "10.0.0.5"`, `isPrivate(server)`,
		`inCIDR(client, ["10.0.0.0/29", "2001:db8::/32"])`, `size(query) > 12`, `proto == udp`, `query in ["", "example.org"]`, `"b" < query`, `true`}
	r := rand.New(rand.NewPCG(1, 2))
	one := func() string {
		text := parts[r.IntN(len(parts))]
		for range r.IntN(4) {
			text = "(" + text + []string{" && ", " || "}[r.IntN(2)] + parts[r.IntN(len(parts))] + ")"
			if r.IntN(4) == 0 {
				text = "!" + text
			}
		}
		return text
	}
	records := []sdk.DNS{asks(0, 5, "a.evil.example"), asks(0, 9, "A.Evil.Example."), asks(0, 5, ""), asks(0, 5, "example.org"), {}, asks(0, 5, "b\xff.evil.example"),
		{Seen: sdk.Seen{Client: netip.MustParseAddr("::ffff:10.0.0.5"), Server: netip.MustParseAddr("2001:db8::1"), Proto: 6}, QType: 1, Response: true, Query: "éé.evil.example"}}
	c := compiler[sdk.DNS]{kindOf: &dnsKind, file: &reader{}, networks: map[string]netip.Prefix{}}
	for range 300 {
		when := one()
		fast, problems := compileRule(&dnsKind, &source{id: "x", when: when, title: "x"})
		if len(problems) > 0 || fast.program != nil {
			t.Fatalf("%s: %s, or not native", when, told(problems))
		}
		c.restrictAll(t, when)
		env, err := c.env()
		if err != nil {
			t.Fatal(err)
		}
		checked, issues := env.Compile(when)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := env.Program(checked)
		if err != nil {
			t.Fatal(err)
		}
		slow := &rule[sdk.DNS]{source: &source{id: "x"}, program: program}
		set := ruleSet[sdk.DNS]{kind: &dnsKind}
		for i := range records {
			a, err1 := set.judge(fast, &records[i])
			b, err2 := set.judge(slow, &records[i])
			if a != b || err1 != nil || err2 != nil {
				t.Errorf("%s, record %d: %v without CEL, %v with it (%v, %v)", when, i, a, b, err1, err2)
			}
		}
	}
}

func (c *compiler[T]) restrictAll(t *testing.T, when string) {
	t.Helper()
	env, err := c.env()
	if err != nil {
		t.Fatal(err)
	}
	checked, issues := env.Compile(when)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	c.restrict(&rule[T]{source: &source{}}, checked)
}

// Whatever a file holds, reading it ends, and every problem has a place in it.
func FuzzRules(f *testing.F) {
	f.Add([]byte(ruleOn(`under(query, "evil.example")`, "    count: {over: 10m, by: [client], at_least: 5, distinct: query}\n")))
	f.Add([]byte("version: 1\nrules:\n  - {id: a, title: '{x', on: flows, when: 'src_port == 1 && zz', samples: {fires: [{}], silent: [{src: ::1}]}}\n"))
	f.Add([]byte("version: 1\nrules: &a [*a]\n---\n- ? |\n  x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, problems := read("x", b)
		lines := strings.Count(string(b), "\n") + 2
		for i := range rules {
			if rules[i].on == "dns" {
				_, p := compileRule(&dnsKind, &rules[i])
				problems = append(problems, p...)
			}
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Text == "" {
				t.Errorf("%+v of %d lines", p, lines)
			}
		}
	})
}
