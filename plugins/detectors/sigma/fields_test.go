package sigma

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// fieldCases have for each field of each log what it is in the capture marked, and not in other.
var fieldCases = map[string]map[string]string{
	"logsource category dns": {
		"query": "evil.stage.example", "record_type": "TXT", "answer|contains": "IEX", "src_ip": "10.0.0.66", "dst_ip": "10.0.0.20", "src_port": "41001", "dst_port": "5355",
	},
	"logsource category proxy": {
		"src_ip": "10.0.0.66", "dst_ip": "10.0.0.20", "src_port": "41003", "dst_port": "8080", "c-ip": "10.0.0.66",
		"c-uri": "http://evil.example:8080/shop/Setup.exe?cmd=read&to=evil.example", "cs-uri": "/shop/Setup.exe?cmd=read&to=evil.example", "c-uri-query": "cmd=read&to=evil.example", "cs-uri-query": "/shop/Setup.exe?cmd=read&to=evil.example",
		"c-uri-stem": "/shop/Setup.exe", "cs-uri-stem": "/shop/Setup.exe", "c-uri-extension": "exe", "cs-host": "evil.example", "r-dns": "evil.example", "cs-method": "PUT",
		"c-useragent": "Probe/1.0", "cs-user-agent": "Probe/1.0", "cs-referer": "http://from.example/x", "cs-referrer": "http://from.example/x", "cs-version": "'1.0'", "sc-status": "403",
	},
	"logsource category webserver": {
		"src_ip": "10.0.0.66", "dst_ip": "10.0.0.20", "src_port": "41003", "dst_port": "8080", "c-ip": "10.0.0.66",
		"c-uri": "/shop/Setup.exe?cmd=read&to=evil.example", "cs-uri|endswith": "read&to=evil.example", "c-uri-query": "cmd=read&to=evil.example", "cs-uri-query": "/shop/Setup.exe?cmd=read&to=evil.example",
		"c-uri-stem": "/shop/Setup.exe", "cs-uri-stem": "/shop/Setup.exe", "c-uri-extension": "exe", "cs-host": "evil.example", "cs-method": "PUT",
		"c-useragent": "Probe/1.0", "cs-user-agent": "Probe/1.0", "cs-referer": "http://from.example/x", "cs-referrer": "http://from.example/x", "cs-version": "'1.0'", "sc-status": "403",
	},
	"logsource category firewall": {"src_ip": "10.0.0.66", "dst_ip": "10.0.0.20", "src_port": "41003", "dst_port": "8080"},
	"logsource product zeek, service conn": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41003", "id.resp_p": "8080",
		"proto": "udp", "orig_bytes|gt": "19999", "resp_bytes|gt": "19999", "orig_pkts|gt": "15", "resp_pkts|gt": "15",
	},
	"logsource product zeek, service dns": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41001", "id.resp_p": "5355", "query": "evil.stage.example", "qtype_name": "TXT", "qtype": "16",
		"answers|contains": "Invoke-Expression", "rejected": "'true'", "rcode": "5", "rcode_name": "REFUSED",
	},
	"logsource product zeek, service http": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41003", "id.resp_p": "8080", "c-uri": "http://evil.example:8080/.git/HEAD", "c-useragent": "Probe/1.0",
		"host": "evil.example", "uri": "/.git/HEAD", "method": "PUT", "user_agent": "Probe/1.0", "referrer": "http://from.example/x", "status_code": "403", "version": "'1.0'",
		"resp_mime_types": "application/x-dosexec",
	},
	"logsource product zeek, service ssl": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41007", "id.resp_p": "8443", "server_name": "evil.example", "version": "TLSv11", "next_protocol": "spoke",
		"subject": "CN=evil.example", "issuer": "CN=Evil Authority", "ja3": "45a2a9e9513dee2f47dc73f50fb798b2", "ja3s": "75ee3dce0d0d7a9055d2c5ab5b2faa5b",
	},
	"logsource product zeek, service x509": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41007", "id.resp_p": "8443",
		"certificate.serial": "8BB00EE", "certificate.subject": "CN=evil.example", "certificate.issuer": "CN=Evil Authority", "certificate.key_length|lt": "2048", "san.dns": "evil.example",
	},
	"logsource product zeek, service smb_files": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41008", "id.resp_p": "1445", "path": `'\\\\server\IPC$'`, "name": "atsvc",
	},
	"logsource product zeek, service dce_rpc": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41009", "id.resp_p": "49154", "endpoint": "svcctl", "operation": "CreateServiceW",
	},
	"logsource product zeek, service kerberos": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41010", "id.resp_p": "750", "request_type": "TGS", "cipher": "rc4-hmac", "service|startswith": "HTTP/",
	},
	"logsource product zeek, service rdp": {
		"id.orig_h": "10.0.0.66", "id.resp_h": "10.0.0.20", "id.orig_p": "41011", "id.resp_p": "3390", "cookie": "evil",
	},
}

// handshakeCases are what a proxy tells of connections that are encrypted.
var handshakeCases = map[string]string{
	"src_ip": "10.0.0.66", "c-ip": "10.0.0.66", "dst_ip": "10.0.0.20", "src_port": "41007", "dst_port": "8443", "cs-host": "evil.example", "r-dns": "evil.example",
}

// ruleFor is a rule of a log with one search.
func ruleFor(l log, search, condition string) string {
	var b strings.Builder
	b.WriteString("title: Test\nid: test\nlogsource:\n")
	for _, p := range [...][2]string{{"category", l.category}, {"product", l.product}, {"service", l.service}} {
		if p[1] != "" {
			fmt.Fprintf(&b, "    %s: %s\n", p[0], p[1])
		}
	}
	fmt.Fprintf(&b, "detection:\n    found:\n%s\n    condition: %s\nlevel: high\n", indented(search), condition)
	return b.String()
}

func indented(text string) string {
	return "        " + strings.ReplaceAll(text, "\n", "\n        ")
}

// Every field of every log finds what it should, and is silent where that is not.
func TestFields(t *testing.T) {
	c := captures(t)
	check := func(l log, field, value string) {
		t.Helper()
		text := ruleFor(l, field+": "+value, "found")
		if _, found := run(t, withRules(t, text), c["marked"])["test"]; !found {
			t.Errorf("%s: silent: %s: %s", l, field, value)
		}
		if f, found := run(t, withRules(t, text), c["other"])["test"]; found {
			t.Errorf("%s: %s: %s fires on other traffic too: %s", l, field, value, f.Summary)
		}
	}
	for _, s := range sources {
		cases := fieldCases[s.log.String()]
		left := map[string]bool{}
		for _, r := range s.readings {
			for name := range r.fields {
				left[name] = true
			}
		}
		for _, field := range slices.Sorted(maps.Keys(cases)) {
			name, _, _ := strings.Cut(field, "|")
			delete(left, name)
			check(s.log, field, cases[field])
		}
		if len(left) > 0 {
			t.Errorf("%s: no cases for %v", s.log, slices.Sorted(maps.Keys(left)))
		}
	}
	for field, value := range handshakeCases {
		d := withRules(t, ruleFor(log{category: "proxy"}, field+": "+value, "found"))
		d.loaded.programs = slices.DeleteFunc(d.loaded.programs, func(p program) bool { return p.kind != handshake })
		d.begin()
		if _, found := run(t, d, c["marked"])["test"]; !found {
			t.Errorf("a proxy is silent of a connection that is encrypted: %s", field)
		}
		if _, found := run(t, d, c["other"])["test"]; found {
			t.Errorf("a proxy tells %s of another connection that is encrypted", field)
		}
	}
	if len(handshakeCases) != len(tunnelled) {
		t.Error("there are fields of encrypted connections without a case")
	}
}

// The page names every log and every field.
func TestFieldsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		for _, r := range s.readings {
			for name := range r.fields {
				if !strings.Contains(string(page), "`"+name+"`") {
					t.Errorf("README.md does not name `%s`, of %s", name, s.log)
				}
			}
		}
	}
	for _, name := range slices.Concat(matching, others) {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("README.md does not name the modifier `%s`", name)
		}
	}
}
