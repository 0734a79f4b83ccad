package sigma

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// languageCase is what a modifier or a form of search means: searches that find something in the capture marked and nothing in other,
// and one that finds nothing in marked.
type languageCase struct {
	log          log
	fires, quiet string
}

var (
	dnsLog  = log{category: "dns"}
	webLog  = log{category: "webserver"}
	connLog = log{product: "zeek", service: "conn"}
	smbLog  = log{product: "zeek", service: "smb_files"}
)

var modifierCases = map[string]languageCase{
	"contains":     {dnsLog, "query|contains: .STAGE.", "query|contains: .stag."},
	"startswith":   {dnsLog, "query|startswith: Evil.", "query|startswith: stage."},
	"endswith":     {webLog, "cs-uri-stem|endswith: setup.exe", "cs-uri-stem|endswith: /setup"},
	"re":           {webLog, `cs-uri-stem|re: '/S\w+\.exe$'`, `cs-uri-stem|re: '/s\w+\.exe$'`},
	"i":            {webLog, `cs-uri-stem|re|i: '/s\w+\.EXE$'`, `cs-uri-stem|re|i: '^s\w+\.EXE$'`},
	"m":            {webLog, `cs-uri-stem|re|m: '^/shop/Setup\.exe$'`, `cs-uri-stem|re|m: '^Setup\.exe$'`},
	"s":            {webLog, `cs-uri-stem|re|s: '^/shop.Setup.exe$'`, `cs-uri-stem|re|s: '^shop.Setup.exe$'`},
	"cidr":         {connLog, "id.orig_h|cidr: 10.0.0.64/28", "id.orig_h|cidr: 10.0.0.80/28"},
	"lt":           {webLog, "dst_port|lt: 8081\nsc-status|lt: 404\nc-uri-extension: exe", "dst_port|lt: 8080\nc-uri-extension: exe"},
	"lte":          {webLog, "sc-status|lte: 403\nc-uri-extension: exe", "sc-status|lte: 402\nc-uri-extension: exe\ncs-method: PUT"},
	"gt":           {webLog, "sc-status|gt: 402", "sc-status|gt: 403"},
	"gte":          {webLog, "sc-status|gte: 403", "sc-status|gte: 404"},
	"exists":       {webLog, "cs-referer|exists: false\nc-uri-extension: exe", "cs-referer|exists: false\ncs-method: PUT"},
	"fieldref":     {connLog, "proto: udp\norig_pkts|fieldref: resp_pkts", "id.orig_h|fieldref: id.resp_h"},
	"all":          {webLog, "cs-uri-query|contains|all:\n    - cmd=\n    - to=", "cs-uri-query|contains|all:\n    - cmd=\n    - too="},
	"neq":          {webLog, "cs-method|neq: GET", "cs-method|neq: PUT\nsc-status: 403"},
	"cased":        {webLog, "cs-uri-stem|endswith|cased: Setup.exe", "cs-uri-stem|endswith|cased: setup.exe"},
	"wide":         {webLog, "cs-uri-query|wide|base64|contains: evil words", "cs-uri-query|wide|base64|contains: good words"},
	"utf16le":      {webLog, "cs-uri-query|utf16le|base64|contains: evil words", "cs-uri-query|utf16le|base64|contains: good words"},
	"utf16be":      {webLog, "cs-uri-query|utf16be|base64|contains: evil words", "cs-uri-query|utf16be|base64|contains: good words"},
	"utf16":        {webLog, "cs-uri-query|utf16|base64|contains: evil words", "cs-uri-query|utf16|base64|contains: good words"},
	"base64":       {webLog, "cs-uri-query|base64|contains: evil words", "cs-uri-query|base64|contains: good words"},
	"base64offset": {webLog, "cs-uri-query|base64offset|contains: vil word", "cs-uri-query|base64offset|contains: vile word"},
}

func TestModifiers(t *testing.T) {
	c := captures(t)
	left := slices.Concat(matching, others)
	for _, name := range slices.Sorted(maps.Keys(modifierCases)) {
		left = slices.DeleteFunc(left, func(s string) bool { return s == name })
		modifierCases[name].check(t, name, c, "found")
	}
	if len(left) > 0 {
		t.Errorf("no cases for %v", left)
	}
}

func (c languageCase) check(t *testing.T, name string, captures captured, condition string) {
	t.Helper()
	if _, found := run(t, withRules(t, ruleFor(c.log, c.fires, condition)), captures["marked"])["test"]; !found {
		t.Errorf("%s: silent: %s", name, c.fires)
	}
	if f, found := run(t, withRules(t, ruleFor(c.log, c.fires, condition)), captures["other"])["test"]; found {
		t.Errorf("%s: %s fires on other traffic too: %s", name, c.fires, f.Summary)
	}
	if f, found := run(t, withRules(t, ruleFor(c.log, c.quiet, condition)), captures["marked"])["test"]; found {
		t.Errorf("%s: %s fires: %s", name, c.quiet, f.Summary)
	}
}

// What encodings make of a text.
func TestEncodings(t *testing.T) {
	for modifiers, want := range map[string][]string{
		"wide":                {"a\x00b\x00"},
		"utf16le":             {"a\x00b\x00"},
		"utf16be":             {"\x00a\x00b"},
		"utf16":               {"\xff\xfea\x00b\x00"},
		"base64":              {"YWI="},
		"wide|base64":         {"YQBiAA=="},
		"base64offset":        {"YW", "Fi", "hY"},
		"wide|base64offset":   {"YQBiA", "EAYg", "hAGIA"},
		"utf16be|base64":      {"AGEAYg=="},
		"contains|startswith": nil,
		"re|base64":           nil,
		"base64|base64offset": nil,
		"cased|cased":         nil,
		"windash":             nil,
		"expand":              nil,
		"minute":              nil,
		"cidr|cased":          nil,
		"contains|i":          nil,
	} {
		m, err := readModifiers(strings.Split(modifiers, "|"))
		if want == nil {
			if err == nil {
				t.Errorf("%s is read", modifiers)
			}
			continue
		}
		got, err2 := m.encoded(literal("ab"))
		if err != nil || err2 != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v, %v", modifiers, got, err, err2)
			continue
		}
		for i := range got {
			if text, _ := plain(got[i]); text != want[i] {
				t.Errorf("%s: %q, want %q", modifiers, text, want[i])
			}
		}
	}
}

// Each text in base64, wherever it begins, holds one of the forms that are looked for.
func TestOffsets(t *testing.T) {
	for _, text := range []string{"ab", "abc", "cmd.exe", "Invoke-Expression"} {
		forms := offsets(text)
		for before := range 7 {
			for after := range 7 {
				whole := encoders["base64"](strings.Repeat("\xb7", before) + text + strings.Repeat("\x5a", after))[0]
				if !slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(whole, f) }) {
					t.Errorf("%q at %d is not found in %q by %q", text, before, whole, forms)
				}
			}
		}
	}
}

// The forms of searches.
var searchCases = map[string]languageCase{
	"values":             {dnsLog, "query:\n    - nothing.example\n    - evil.stage.example", "query:\n    - nothing.example\n    - stage.example"},
	"fields":             {webLog, "cs-method: PUT\ncs-host: evil.example", "cs-method: PUT\ncs-host: www.example"},
	"list of fields":     {webLog, "- cs-method: DELETE\n- cs-host: evil.example", "- cs-method: DELETE\n- cs-host: evil.test"},
	"words":              {webLog, "- nothing\n- '/setup.EXE?cmd'", "- nothing\n- '/setup.exe/'"},
	"a word":             {smbLog, "ATSVC", "svcctl"},
	"words of the line":  {webLog, `'PUT /shop/*HTTP/1.0" 403 "http://from.example/x" "Probe/1.0"'`, `'PUT /shop/*HTTP/1.1"'`},
	"all words":          {webLog, "'|all':\n    - Probe\n    - PUT", "'|all':\n    - Probe\n    - GET"},
	"an expression":      {webLog, "'|re': 'Probe/\\d'", "'|re': 'probe/\\d'"},
	"words of names":     {dnsLog, "- evil.stage", "- evilstage"},
	"star":               {dnsLog, "query: 'e*stage*ple'", "query: 'e*stage*pl'"},
	"question mark":      {dnsLog, "query: 'evil?stage.example'", "query: 'evil?.stage.example'"},
	"escaped star":       {dnsLog, "query: 'evil.*'", `query: 'evil.\*'`},
	"escaped mark":       {webLog, `cs-uri|contains: 'exe\?cmd'`, `cs-uri|contains: 'exe\??cmd'`},
	"backslashes":        {smbLog, `path: '\\\\server\IPC$'`, `path: '\\\\\server\IPC$'`},
	"nothing":            {webLog, "cs-referer: null\nc-uri-extension: exe", "cs-referer: null\ncs-method: PUT"},
	"empty":              {webLog, "cs-referer: ''\nc-uri-extension: exe", "cs-referer: ''\ncs-method: PUT"},
	"anything":           {webLog, "cs-referer: '*'\ncs-method: PUT", "cs-referer: '*'\nsc-status: 200\ncs-version: '1.0'"},
	"number as pattern":  {webLog, "sc-status|startswith: 40", "sc-status|startswith: 50"},
	"address as pattern": {connLog, "id.orig_h|endswith: .66", "id.orig_h|endswith: .6"},
	"network of texts":   {log{product: "zeek", service: "dns"}, "qtype: 16\nanswers|cidr|neq: 10.0.0.0/8", "qtype: 16\nanswers|cidr: 10.0.0.0/8"},
	"number as written":  {webLog, "cs-version: 1.0\nc-uri-extension: exe", "cs-version: 1\nc-uri-extension: exe"},
	"part of a pattern":  {dnsLog, "query|contains: 'evil*example'", "query|contains: 'example*evil'"},
}

func TestSearches(t *testing.T) {
	c := captures(t)
	for _, name := range slices.Sorted(maps.Keys(searchCases)) {
		searchCases[name].check(t, name, c, "found")
	}
}

// conditionCases are conditions over two searches that are true of marked (yes_one, yes_two) and two that are not (no_one, no_two).
var conditionCases = map[string]bool{
	"yes_one":                             true,
	"no_one":                              false,
	"yes_one and yes_two":                 true,
	"yes_one and no_one":                  false,
	"no_one or yes_one":                   true,
	"no_one or no_two":                    false,
	"not no_one":                          true,
	"not yes_one":                         false,
	"yes_one and not no_one":              true,
	"yes_one and not yes_two":             false,
	"no_one and no_two or yes_one":        true,
	"no_one and (no_two or yes_one)":      false,
	"yes_one or no_one and no_two":        true,
	"not (no_one or no_two)":              true,
	"not (no_one or yes_two)":             false,
	"NOT no_one AND yes_one OR no_one":    true,
	"1 of yes_*":                          true,
	"1 of no_*":                           false,
	"any of *_one":                        true,
	"1 of yes_one":                        true,
	"1 of no_one":                         false,
	"all of yes_*":                        true,
	"all of *_one":                        false,
	"all of no_*":                         false,
	"1 of them":                           true,
	"all of them":                         false,
	"not all of them":                     true,
	"yes_one and not 1 of no_*":           true,
	"all of yes_* and not 1 of no_*":      true,
	"all of yes_* and not 1 of *_two":     false,
	"((yes_one))":                         true,
	"not not yes_one":                     true,
	"yes_one and (no_one or not no_two )": true,
	"_hidden":                             true,
	"not 1 of them and _hidden":           false,
}

const conditionRule = `title: Test
id: test
logsource: {product: zeek, service: http}
detection:
    yes_one: {method: PUT}
    yes_two: {host: evil.example, status_code: 403}
    no_one: {method: GET, status_code: 403}
    no_two: {host: evil.test, method: PUT}
    _hidden: {status_code: 403}
    apart: {status_code: 403}
    condition: apart and (CONDITION)
`

func TestConditions(t *testing.T) {
	c := captures(t)
	for text, want := range conditionCases {
		d := withRules(t, strings.Replace(conditionRule, "CONDITION", text, 1))
		if _, found := run(t, d, c["marked"])["test"]; found != want {
			t.Errorf("%q is %v", text, found)
		}
		if f, found := run(t, d, c["other"])["test"]; found {
			t.Errorf("%q fires on other traffic too: %s", text, f.Summary)
		}
	}
	d := withRules(t, strings.Replace(conditionRule, "apart and (CONDITION)", "\n        - no_one\n        - yes_one", 1))
	if _, found := run(t, d, c["marked"])["test"]; !found {
		t.Error("of a list of conditions none is true")
	}
}

// What is not understood is refused, and said to be.
func TestRefusals(t *testing.T) {
	const head = "title: Test\nlogsource: {category: proxy}\n"
	search := func(s string) string {
		return head + "detection:\n    found:\n        " + s + "\n    condition: found\n"
	}
	condition := func(s string) string {
		return head + "detection:\n    found: {cs-method: GET}\n    condition: " + s + "\n"
	}
	for text, keyword := range map[string]string{
		search("cs-username: bob"):                      "field cs-username",
		search("cs-cookie|contains: x"):                 "field cs-cookie",
		search("c-uri|windash|contains: x"):             "modifier windash",
		search("c-uri|expand: '%name%'"):                "modifier expand",
		search("c-uri|contains|startswith: x"):          "modifier startswith",
		search("c-uri|re: '(?<=a)b'"):                   "modifier re",
		search("c-uri|re: '(a'"):                        "modifier re",
		search("dst_ip|cidr: nonsense"):                 "modifier cidr",
		search("c-uri|lt: 5"):                           "modifier lt",
		search("sc-status|gt: many"):                    "modifier gt",
		search("sc-status: OK"):                         "field sc-status",
		search("dst_ip: host"):                          "field dst_ip",
		search("c-uri|fieldref: cs-username"):           "field cs-username",
		search("c-uri|exists: perhaps"):                 "modifier exists",
		search("c-uri|base64: 'a*'"):                    "modifier base64",
		search("c-uri: []"):                             "field c-uri",
		search("c-uri: {a: b}"):                         "field c-uri",
		search("- word"):                                "words without a field",
		condition("found | count() > 5"):                "condition |",
		condition("missing"):                            "condition",
		condition("1 of missing_*"):                     "condition",
		condition("all of found"):                       "condition",
		condition("found and"):                          "condition",
		condition("(found"):                             "condition",
		condition("found found"):                        "condition",
		condition("2 of them"):                          "condition",
		condition("''"):                                 "condition",
		condition("[]"):                                 "condition",
		search("c-uri|base64offset|contains: x"):        "modifier base64offset",
		condition("found\n    x: 5"):                    "words without a field",
		condition("found\n    timeframe: 5m"):           "timeframe",
		condition(strings.Repeat("not ", 80) + "found"): "condition",
		head + "detection: found\n":                     "detection",
		head:                                            "detection",
		"logsource: {category: proxy}\n":                "title",
		"title: T\ncorrelation: {type: event_count}\n":  "correlation",
		"title: T\nfilter: {rules: [a]}\n":              "filter",
		"title: T\naction: global\n":                    "action",
		"title: T\ntaxonomy: ecs\n":                     "taxonomy",
		"title: T\nlevel: worst\n":                      "level",
		"title: T\nlogsource: {vendor: x}\n":            "logsource vendor",
		"title: [":                                      "yaml",
		"title: T\ntitle: T\n":                          "yaml",
		"title: &a T\nid: *a\n":                         "yaml",
		"- a\n- b\n":                                    "yaml",
		strings.Replace(search("endpoint: svcctl"), "category: proxy", "product: zeek, service: dce_rpc", 1): "",
		strings.Replace(search("endpoint: lsarpc"), "category: proxy", "product: zeek, service: dce_rpc", 1): "field endpoint: lsarpc",
		strings.Replace(search("cs-host: x"), "category: proxy", "category: proxy, product: zscaler", 1):     "logsource category proxy, product zscaler",
		strings.Replace(search("cs-host: x"), "category: proxy", "category: process_creation", 1):            "logsource category process_creation",
	} {
		l := newLoader(allStatuses())
		if err := l.add("test.yml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		list := append(l.out.refused, l.out.elsewhere...)
		switch {
		case keyword == "" && (len(list) > 0 || len(l.out.rules) != 1):
			t.Errorf("%s\nis refused: %v", text, list)
		case keyword != "" && (len(list) != 1 || list[0].Keyword != keyword || len(l.out.rules) > 0):
			t.Errorf("%s\nis refused for %v, not %q", text, list, keyword)
		}
	}
}
