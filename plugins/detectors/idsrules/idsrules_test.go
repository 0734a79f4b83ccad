package idsrules

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ids-rules") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

// A rule is refused for what is not understood, whatever else it says.
func TestRefused(t *testing.T) {
	const head, tail = "alert tcp any any -> any any (", " sid:1;)"
	for _, c := range []struct{ rule, keyword string }{
		{head + `content:"a"; lua:evil.lua;` + tail, "lua"},
		{head + `content:"a"; tag:session,5,packets;` + tail, "tag"},
		{head + `iprep:src,x,>,1;` + tail, "iprep"},
		{head + `app-layer-event:http.x;` + tail, "app-layer-event"},
		{head + `stream-event:x;` + tail, "stream-event"},
		{head + `decode-event:gre.x;` + tail, "decode-event"},
		{head + `content:"a"; within:1,bitmask;` + tail, "within"},
		{head + `content:"abc"; depth:2;` + tail, "content"},
		{head + `content:"a"; offset:1; distance:1;` + tail, "content"},
		{head + `nocase; content:"a";` + tail, "nocase"},
		{head + `content:a;` + tail, "content"},
		{head + `content:"|0|";` + tail, "content"},
		{head + `content:"|00";` + tail, "content"},
		{head + `content:"";` + tail, "content"},
		{head + `content:"a"; http_uri; content:"b"; http.uri; content:"c"; http_uri;` + tail, "http_uri"},
		{head + `pcre:"/(/";` + tail, "pcre"},
		{head + `pcre:"/a/k";` + tail, "pcre"},
		{head + `pcre:"/(?<x>a)/,flow:x";` + tail, "pcre"},
		{head + `flow:established,sideways;` + tail, "flow"},
		{head + `flowbits:count,x;` + tail, "flowbits"},
		{head + `byte_test:1,~,1,0;` + tail, "byte_test"},
		{head + `byte_test:4,>,1,0,dce;` + tail, "byte_test"},
		{head + `byte_jump:4;` + tail, "byte_jump"},
		{head + `threshold:type odd, track by_src, count 1, seconds 1;` + tail, "threshold"},
		{head + `dsize:<x;` + tail, "dsize"},
		{head + `http.uri;` + tail, "content"},
		{head + `dns.query; content:"a"; http.uri; content:"b";` + tail, "protocol"},
		{`pass tcp any any -> any any (sid:1;)`, "action pass"},
		{`alert nfs any any -> any any (sid:1;)`, "protocol nfs"},
		{`alert tcp $NOBODY any -> any any (sid:1;)`, "addresses"},
		{`alert tcp 1.2.3.400 any -> any any (sid:1;)`, "addresses"},
		{`alert tcp !any any -> any any (sid:1;)`, "addresses"},
		{`alert tcp any 99999 -> any any (sid:1;)`, "ports"},
		{`alert tcp any any <- any any (sid:1;)`, "syntax"},
		{`alert tcp any any -> any any (msg:"no sid";)`, "syntax"},
		{`alert tcp any any -> any any (msg:"x"; sid:1)`, "syntax"},
		{`alert tcp any any -> any (sid:1;)`, "syntax"},
		{`alert tcp [any any -> any any (sid:1;)`, "syntax"},
		{`hello`, "syntax"},
	} {
		l := newLoader(nil)
		if err := l.add("x.rules", []byte("# first\n"+c.rule)); err != nil {
			t.Fatal(err)
		}
		if len(l.out.rules) > 0 || len(l.out.refused) != 1 {
			t.Errorf("it was loaded: %s", c.rule)
			continue
		}
		if r := l.out.refused[0]; r.Keyword != c.keyword || r.Line != 2 || r.File != "x.rules" {
			t.Errorf("%v, want the keyword %s: %s", r, c.keyword, c.rule)
		}
	}
}

func TestAddresses(t *testing.T) {
	v := variables{"HOME": "[10.0.0.0/8,fd00::/8]", "OUT": "!$HOME", "LOOP": "$LOOP"}
	for _, c := range []struct{ set, in, out string }{
		{"any", "1.2.3.4", ""},
		{"[any]", "fe80::1", ""},
		{"$HOME", "10.1.2.3 fd00::1", "11.0.0.1 fe80::1"},
		{"$OUT", "11.0.0.1", "10.1.2.3"},
		{"!10.0.0.1", "10.0.0.2", "10.0.0.1"},
		{"[10.0.0.0/8,!10.1.0.0/16]", "10.2.0.1", "10.1.0.1 11.0.0.1"},
		{"[10.0.0.1-10.0.0.5, 10.0.0.9]", "10.0.0.3 10.0.0.9", "10.0.0.6"},
		{"[$HOME,[1.2.3.4,5.6.7.8]]", "1.2.3.4 10.0.0.1", "1.2.3.5"},
	} {
		s, err := v.addresses(c.set)
		if err != nil {
			t.Errorf("%s: %v", c.set, err)
			continue
		}
		for in, list := range map[bool]string{true: c.in, false: c.out} {
			for text := range strings.FieldsSeq(list) {
				one, _, _ := addressSpan(text)
				if s.has(one.lo) != in {
					t.Errorf("%s has %s: %v", c.set, text, !in)
				}
			}
		}
	}
	for _, text := range []string{"$LOOP", "$NONE", "[1.2.3.4", "![10.0.0.1,!10.0.0.2]", "10.0.0.5-10.0.0.1", ""} {
		if _, err := v.addresses(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	p, err := v.ports("[80,1024:2000,!1500,5000:]")
	if err != nil {
		t.Fatal(err)
	}
	for port, in := range map[uint16]bool{80: true, 81: false, 1024: true, 1500: false, 2001: false, 65535: true} {
		if p.has(port) != in {
			t.Errorf("port %d: %v", port, !in)
		}
	}
}

// Segments that come out of order, twice or overlapping make the same stream.
func TestReassembly(t *testing.T) {
	const rules = `alert tcp any any -> any any (flow:established,to_server; content:"one two three four"; sid:1;)`
	for name, send := range map[string]func(c *conn){
		"swapped":   func(c *conn) { c.sayAt(0, 1008, " three four"); c.sayAt(0, 1001, "one two") },
		"backwards": func(c *conn) { c.sayAt(0, 1014, " four"); c.sayAt(0, 1008, " three"); c.sayAt(0, 1001, "one two") },
		"twice": func(c *conn) {
			c.sayAt(0, 1001, "one two")
			c.sayAt(0, 1001, "one two")
			c.sayAt(0, 1008, " three four")
		},
		"overlapping": func(c *conn) { c.sayAt(0, 1001, "one two"); c.sayAt(0, 1004, " XXX three four") },
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{}
			send(w.dial(40000, 9))
			got := sids(t, withRules(t, `{}`, ruleFile(rules)), w.packets)
			if got[1] == 0 {
				t.Error("it was not found")
			}
		})
	}
	t.Run("lost", func(t *testing.T) {
		w := &wire{}
		c := w.dial(40000, 9)
		c.sayAt(0, 1001, "one two ")
		for i := range uint32(maxEarly) {
			c.sayAt(0, 1100+i*20, "one two three four..")
		}
		if got := sids(t, withRules(t, `{}`, ruleFile(rules)), w.packets); got[1] == 0 {
			t.Error("what comes behind a hole is not looked into")
		}
	})
}

// Matches of one rule between the same two are one finding that grows.
func TestFindings(t *testing.T) {
	d := withRules(t, `{}`, ruleFile(`alert udp any any -> any 9 (msg:"Odd datagram"; content:"needle"; classtype:trojan-activity; metadata:mitre_technique_id T1071_004; sid:7; rev:2;)`))
	w := &wire{}
	for range 9 {
		w.udp(client, server, 40000, 9, "needle")
	}
	w.udp(client6, server6, 40000, 9, "needle")
	s := &sink{}
	for _, p := range w.packets {
		if err := d.Inspect(context.Background(), sdk.Batch{Packets: []sdk.Packet{p}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.findings) != 3 { // at 1 and 8 matches, and the other pair
		t.Errorf("%d findings before the end", len(s.findings))
	}
	if err := d.Flush(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	got := s.final()
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	f := got[0]
	if f.Summary != "Odd datagram (10.0.0.5 to 203.0.113.7, port 9), 9 times." || f.Severity != sdk.SeverityHigh || f.Risk != 75 ||
		!slices.Equal(f.Techniques, []string{"T1071.004"}) || !slices.Equal(f.Packets, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}) || f.ID != "1:7:2" {
		t.Errorf("%+v", f)
	}
}

// Of two rules with one sid the later revision counts.
func TestRevisions(t *testing.T) {
	d := withRules(t, `{}`, ruleFile("alert udp any any -> any any (content:\"a\"; sid:1; rev:2;)\nalert udp any any -> any any (content:\"b\"; sid:1; rev:3;)\nalert udp any any -> any any (content:\"c\"; sid:1; rev:1;)"))
	if len(d.loaded.rules) != 1 || d.loaded.doubled != 2 || d.loaded.rules[0].rev != 3 {
		t.Errorf("%d rules, %d doubled", len(d.loaded.rules), d.loaded.doubled)
	}
	w := &wire{}
	w.udp(client, server, 1, 2, "b")
	if got := sids(t, d, w.packets); got[1] != 1 {
		t.Errorf("%v", got)
	}
}

// The rules that come with the plugin all load, and start without a file.
func TestDefaults(t *testing.T) {
	d := &Detector{cfg: Config{Defaults: true, MaxAlerts: 64, MaxFlows: 64, MaxBuffer: 1 << 20, Depth: 4096}}
	if err := d.Start(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if len(d.loaded.refused) > 0 || len(d.loaded.rules) < 10 {
		t.Errorf("%d rules, refused: %v", len(d.loaded.rules), d.loaded.refused)
	}
	none := &Detector{}
	if err := none.Start(context.Background(), nil); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("it started without a rule: %v", err)
	}
}

// Files are opened by the host, in gzip or not; one that may not be read, or is none, stops the start.
func TestRuleFiles(t *testing.T) {
	dir := t.TempDir()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte("alert tcp $MINE any -> any any (content:\"b\"; sid:2;)\nalert tcp any any -> any any (lua:x; sid:3;)")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	one, two := filepath.Join(dir, "one.rules"), filepath.Join(dir, "two.rules.gz")
	for name, text := range map[string][]byte{one: []byte("alert tcp any any -> any any (content:\"a\"; sid:1;)"), two: z.Bytes()} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func(files ...string) (*Detector, error) {
		d := &Detector{}
		if err := config.Decode([]byte(`{"defaults": false, "variables": {"MINE": "10.0.0.0/8"}}`), d.Config()); err != nil {
			t.Fatal(err)
		}
		d.cfg.Rules = files
		host := sdktest.NewHost(t)
		host.Grants = sdk.Grants{{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": {one, two}}}}
		return d, d.Start(t.Context(), host)
	}
	d, err := start(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.loaded.rules) != 2 || byKeyword(d.loaded.refused) != "lua 1" {
		t.Errorf("%d rules, refused: %v", len(d.loaded.rules), d.loaded.refused)
	}
	for _, name := range []string{filepath.Join(dir, "three.rules"), "/etc/hostname"} {
		if _, err := start(one, name); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
