package idsrules

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// get is a connection with one request and its answer.
func get(request, answer string) func(*wire) {
	return func(w *wire) {
		c := w.dial(40000, 80).up(request)
		if answer != "" {
			c.down(answer)
		}
		c.close()
	}
}

func talk(port uint16, up ...string) func(*wire) {
	return func(w *wire) {
		c := w.dial(40000, port)
		for _, text := range up {
			c.up(text)
		}
		c.close()
	}
}

func datagram(port uint16, payload string) func(*wire) {
	return func(w *wire) { w.udp(client, server, 40000, port, payload) }
}

func bare(do func(w *wire)) func(*wire) { return do }

const page = "GET /a%20b/../c/index.php?id=1%41 HTTP/1.1\r\nHost: WWW.Example.org:8080\r\nUser-Agent: Probe/1.0\r\nCookie: id=secret\r\n" +
	"Accept: text/x-odd\r\nAccept-Encoding: br\r\nAccept-Language: xx-YY\r\nReferer: http://from.example/\r\nConnection: keep-alive\r\n\r\n"

const form = "POST /submit HTTP/1.1\r\nHost: example.org\r\nContent-Type: application/x-form\r\nContent-Length: 11\r\n\r\nname=mallet"

const answer = "HTTP/1.1 404 Not Here\r\nServer: Odd/2\r\nLocation: /else\r\nSet-Cookie: k=v\r\nContent-Length: 12\r\n\r\nplain answer"

func packed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", b.Len(), b.String())
}

func question(name string) string {
	b := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for label := range strings.SplitSeq(name, ".") {
		b += string(rune(len(label))) + label
	}
	return b + "\x00\x00\x01\x00\x01"
}

func record(kind byte, version uint16, body string) string {
	return string([]byte{kind, byte(version >> 8), byte(version), byte(len(body) >> 8), byte(len(body))}) + body
}

func message24(kind byte, body string) string {
	return string([]byte{kind, 0, byte(len(body) >> 8), byte(len(body))}) + body
}

func prefixed(n int, body string) string {
	b := make([]byte, 4)
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	return string(b[4-n:]) + body
}

// clientHello asks for a name.
func clientHello(version uint16, name string) string {
	sni := "\x00\x00" + prefixed(2, prefixed(2, "\x00"+prefixed(2, name)))
	groups := "\x00\x0a" + prefixed(2, prefixed(2, "\x00\x1d\x00\x17"))
	body := string([]byte{byte(version >> 8), byte(version)}) + strings.Repeat("r", 32) + "\x00" + prefixed(2, "\xc0\x2f\x00\x35") + "\x01\x00" + prefixed(2, sni+groups)
	return record(22, 0x0301, message24(1, body))
}

func serverHello(version uint16) string {
	return record(22, version, message24(2, string([]byte{byte(version >> 8), byte(version)})+strings.Repeat("s", 32)+"\x00\xc0\x2f\x00"))
}

// ownCertificate is a chain of one certificate with the serial number 0x1234AB.
var ownCertificate = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0x1234AB), Subject: pkix.Name{Country: []string{"DE"}, CommonName: "odd.example"},
		NotBefore: noon, NotAfter: noon.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return string(der)
}()

func handshakeOf(name string, version uint16) func(*wire) {
	return func(w *wire) {
		c := w.dial(40000, 443).up(clientHello(version, name))
		c.down(serverHello(version) + record(22, version, message24(11, prefixed(3, prefixed(3, ownCertificate)))) + record(22, version, message24(12, "key")))
		c.up(record(22, version, message24(16, "key")) + record(20, version, "\x01"))
		c.close()
	}
}

// keywordCases have for each keyword a rule, traffic on which it fires and traffic on which it does not.
var keywordCases = []struct {
	keyword      string
	rule         string // its options
	head         string // before them; tcp any any -> any any when empty
	fires, quiet func(*wire)
}{
	{"content", `content:"needle";`, "", talk(9, "hay needle hay"), talk(9, "hay NEEDLE hay")},
	{"content", `content:"|00 ff|a|3b|";`, "", talk(9, "x\x00\xffa;"), talk(9, "x\x00\xfea;")},
	{"content", `content:"a"; content:!"needle";`, "", talk(9, "hay"), talk(9, "hay needle")},
	{"content", `content:"over two segments";`, "", talk(9, "over tw", "o segments"), talk(9, "over tw", "segments")},
	{"content", `content:"a\"b\;c\\d\:";`, "", talk(9, `a"b;c\d:`), talk(9, `a"b;c\d`)},
	{"nocase", `content:"NeeDle"; nocase;`, "", talk(9, "nEEdlE"), talk(9, "nEEdl3")},
	{"rawbytes", `content:"needle"; rawbytes;`, "", talk(9, "needle"), talk(9, "noodle")},
	{"offset", `content:"bb"; offset:2;`, "", talk(9, "aabb"), talk(9, "abbaa")},
	{"depth", `content:"bb"; depth:3;`, "", talk(9, "abbaa"), talk(9, "aabb")},
	{"distance", `content:"aa"; content:"bb"; distance:2;`, "", talk(9, "aa..bb"), talk(9, "aa.bb.")},
	{"distance", `content:"aa"; content:"bb"; distance:-4; within:4;`, "", talk(9, "..bbaa"), talk(9, "bb....aa")},
	{"within", `content:"aa"; content:"bb"; within:4;`, "", talk(9, "aa..bb"), talk(9, "aa...bb")},
	{"within", `content:"aa"; content:"bb"; distance:0; within:2;`, "", talk(9, "aa.bbaabb"), talk(9, "aa.bbaa.bb")},
	{"startswith", `content:"GET"; startswith;`, "", talk(9, "GET x"), talk(9, "x GET")},
	{"endswith", `dns.query; content:".top"; endswith;`, "dns any any -> any any", datagram(53, question("bad.top")), datagram(53, question("bad.top.org"))},
	{"fast_pattern", `content:"abcd"; content:"xyz"; fast_pattern;`, "", talk(9, "xyz abcd"), talk(9, "xyz abc")},
	{"fast_pattern", `content:"abcdef"; fast_pattern:2,3;`, "", talk(9, "abcdef"), talk(9, "cde")},
	{"fast_pattern", `content:"abcdef"; nocase; fast_pattern:only;`, "", talk(9, "ABCdef"), talk(9, "abcdeg")},
	{"prefilter", `content:"needle"; prefilter;`, "", talk(9, "needle"), talk(9, "noodle")},
	{"pcre", `content:"id="; pcre:"/id=(\d+)&x=\1\b/";`, "", talk(9, "id=12&x=12"), talk(9, "id=12&x=13")},
	{"pcre", `content:"a"; pcre:"/^b+c$/R";`, "", talk(9, "xabbc"), talk(9, "xa.bbc")},
	{"pcre", `content:"a"; pcre:!"/b{3,}/";`, "", talk(9, "abb"), talk(9, "abbb")},
	{"pcre", `pcre:"/^\/c\/index/U";`, "http any any -> any any", get(page, ""), get(form, "")},
	{"pcre", `content:"GET"; pcre:"/Probe\/\d/Vi"; pcre:"/^get$/Mi"; pcre:"/secret/C"; pcre:"/example\.org/W"; pcre:"/a%20b/I"; pcre:"/Referer/H"; pcre:"/Referer/D"; pcre:"/:8080$/Z";`, "http any any -> any any", get(page, ""), get(form, "")},
	{"pcre", `pcre:"/mallet$/P";`, "http any any -> any any", get(form, ""), get(page, "")},
	{"pcre", `pcre:"/^40\d/S"; pcre:"/Here/Y"; pcre:"/plain/Q";`, "http any any -> any any", get(page, answer), get(page, packed("plain"))},
	{"isdataat", `content:"aa"; isdataat:3,relative;`, "", talk(9, "aabbb"), talk(9, "aabb")},
	{"isdataat", `content:"aa"; isdataat:!1,relative;`, "", talk(9, "aabaa"), talk(9, "aabaac")},
	{"isdataat", `content:"aa"; isdataat:4;`, "", talk(9, "aabbb"), talk(9, "aabb")},
	{"bsize", `http.method; bsize:4; content:"P";`, "http any any -> any any", get(form, ""), get(strings.Replace(form, "POST", "PUT", 1), "")},
	{"urilen", `urilen:5<>8; content:"POST"; http_method;`, "http any any -> any any", get(form, ""), get(strings.Replace(form, "/submit", "/submitted", 1), "")},
	{"urilen", `urilen:25,norm; content:"/c"; http_uri;`, "http any any -> any any", get(strings.Replace(page, "1%41", "1%412345678", 1), ""), get(page, "")},
	{"byte_test", `content:"len"; byte_test:2,>,255,0,relative;`, "", talk(9, "len\x01\x00"), talk(9, "len\x00\xff")},
	{"byte_test", `content:"len"; byte_test:2,!&,0x0100,3,little;`, "", talk(9, "len\x00\x02"), talk(9, "len\x00\x01")},
	{"byte_test", `content:"len"; byte_test:4,=,0x1f,0,relative,string,hex;`, "", talk(9, "len001f"), talk(9, "len002f")},
	{"byte_test", `content:"len"; byte_test:1,!=,3,0,relative; byte_test:1,<=,9,0,relative; byte_test:1,^,8,0,relative;`, "", talk(9, "len\x09"), talk(9, "len\x08")},
	{"byte_jump", `byte_jump:2,0; content:"end"; distance:0; within:3;`, "", talk(9, "\x00\x04....end"), talk(9, "\x00\x03....end")},
	{"byte_jump", `content:"x"; byte_jump:1,0,relative,multiplier 2,align,post_offset -1; content:"end"; within:3;`, "", talk(9, "x\x01...end"), talk(9, "x\x03...end")},
	{"byte_jump", `content:"x"; byte_jump:1,0,relative,from_beginning; content:"ab"; within:2;`, "", talk(9, "..abx\x02"), talk(9, "..abx\x01")},
	{"byte_jump", `content:"x"; byte_jump:1,0,relative,from_end,post_offset -2; content:"ab"; within:2;`, "", talk(9, "x\x00..ab"), talk(9, "x\x00.ab.")},
	{"byte_extract", `byte_extract:1,0,n; content:"ab"; offset:n; depth:2;`, "", talk(9, "\x03..ab"), talk(9, "\x02..ab")},
	{"byte_extract", `byte_extract:1,0,n,multiplier 2; content:"x"; content:"ab"; distance:n; within:2;`, "", talk(9, "\x01x..ab"), talk(9, "\x02x..ab")},
	{"byte_math", `byte_math:bytes 1, offset 0, oper +, rvalue 2, result n; byte_test:1,=,n,1;`, "", talk(9, "\x01\x03"), talk(9, "\x01\x02")},
	{"flow", `flow:to_server,established; content:"needle";`, "", talk(9, "needle"), bare(func(w *wire) { w.dial(40000, 9).down("needle") })},
	{"flow", `flow:from_server; content:"needle";`, "", bare(func(w *wire) { w.dial(40000, 9).down("needle") }), talk(9, "needle")},
	{"flow", `flow:not_established; content:"needle";`, "udp any any -> any any", datagram(9, "needle"), bare(func(w *wire) {
		w.udp(client, server, 40000, 9, "a")
		w.udp(server, client, 9, 40000, "b")
		w.udp(client, server, 40000, 9, "needle")
	})},
	{"flow", `flow:stateless; content:"needle";`, "", bare(func(w *wire) { w.tcp(client, server, 1, 2, 8, 5, 0, "needle") }), talk(9, "noodle")},
	{"flow", `flow:only_stream; content:"over two segments";`, "", talk(9, "over two", " segments"), talk(9, "over two segment")},
	{"flow", `flow:no_stream; content:"one segment";`, "", talk(9, "one segment"), talk(9, "one seg", "ment")},
	{"flowbits", `flowbits:set,seen; flowbits:noalert; content:"first";) alert tcp any any -> any any (sid:2; flowbits:isset,other|seen; content:"second";`, "", talk(9, "first", "second"), talk(9, "second", "first")},
	{"flowbits", `flowbits:set,seen; noalert; content:"first";) alert tcp any any -> any any (sid:2; flowbits:isnotset,seen; content:"second";`, "", talk(9, "second", "first"), talk(9, "first", "second")},
	{"flowbits", "flowbits:toggle,seen; noalert; content:\"first\";) alert tcp any any -> any any (sid:3; flowbits:unset,seen; noalert; content:\"third\";)\nalert tcp any any -> any any (sid:2; flowbits:isset,seen; content:\"second\";", "", talk(9, "first", "second"), talk(9, "first", "third", "second")},
	{"noalert", `content:"first"; flowbits:set,a;) alert tcp any any -> any any (sid:2; content:"first"; noalert;`, "", talk(9, "first"), talk(9, "second")},
	{"flags", `flags:S;`, "tcp any any -> any 9", talk(9, "x"), bare(func(w *wire) { w.tcp(client, server, 1, 9, 18, 5, 0, "") })},
	{"flags", `flags:S,CE;`, "", bare(func(w *wire) { w.tcp(client, server, 1, 9, 0xc2, 5, 0, "") }), bare(func(w *wire) { w.tcp(client, server, 1, 9, 3, 5, 0, "") })},
	{"flags", `flags:FPU+;`, "", bare(func(w *wire) { w.tcp(client, server, 1, 9, 0x39, 5, 0, "") }), bare(func(w *wire) { w.tcp(client, server, 1, 9, 0x19, 5, 0, "") })},
	{"flags", `flags:*RU;`, "", bare(func(w *wire) { w.tcp(client, server, 1, 9, 4, 5, 0, "") }), bare(func(w *wire) { w.tcp(client, server, 1, 9, 16, 5, 0, "") })},
	{"flags", `flags:!A;`, "", bare(func(w *wire) { w.tcp(client, server, 1, 9, 4, 5, 0, "") }), bare(func(w *wire) { w.tcp(client, server, 1, 9, 16, 5, 0, "") })},
	{"dsize", `dsize:>4;`, "udp any any -> any any", datagram(9, "12345"), datagram(9, "1234")},
	{"dsize", `dsize:2<>5; content:"1";`, "udp any any -> any any", datagram(9, "1234"), datagram(9, "12345")},
	{"ttl", `ttl:<5;`, "ip any any -> any any", bare(func(w *wire) { w.ttl = 4; w.udp(client, server, 1, 2, "") }), datagram(9, "")},
	{"id", `id:4660;`, "ip any any -> any any", bare(func(w *wire) { w.id = 0x1234; w.udp(client, server, 1, 2, "") }), datagram(9, "")},
	{"seq", `seq:77; flags:S;`, "", bare(func(w *wire) { w.tcp(client, server, 1, 9, 2, 77, 0, "") }), bare(func(w *wire) { w.tcp(client, server, 1, 9, 2, 78, 0, "") })},
	{"ack", `ack:77; flags:A;`, "", bare(func(w *wire) { w.tcp(client, server, 1, 9, 16, 5, 77, "") }), bare(func(w *wire) { w.tcp(client, server, 1, 9, 16, 5, 78, "") })},
	{"window", `window:55808;`, "", bare(func(w *wire) { w.window = 55808; w.tcp(client, server, 1, 9, 2, 5, 0, "") }), talk(9, "")},
	{"itype", `itype:8;`, "icmp any any -> any any", bare(func(w *wire) { w.icmp(client, server, 8, 0, 1, 1, "") }), bare(func(w *wire) { w.icmp(client, server, 0, 0, 1, 1, "") })},
	{"icode", `icode:>2;`, "icmp any any -> any any", bare(func(w *wire) { w.icmp(client, server, 3, 3, 1, 1, "") }), bare(func(w *wire) { w.icmp(client, server, 3, 2, 1, 1, "") })},
	{"icmp_id", `icmp_id:512;`, "icmp any any -> any any", bare(func(w *wire) { w.icmp(client, server, 8, 0, 512, 1, "") }), bare(func(w *wire) { w.icmp(client, server, 8, 0, 513, 1, "") })},
	{"icmp_seq", `icmp_seq:7; content:"x";`, "icmp any any -> any any", bare(func(w *wire) { w.icmp(client, server, 8, 0, 1, 7, "xxx") }), bare(func(w *wire) { w.icmp(client, server, 8, 0, 1, 8, "xxx") })},
	{"ip_proto", `ip_proto:47;`, "ip any any -> any any", bare(func(w *wire) { w.ip(client, server, 47, make([]byte, 8)) }), datagram(9, "")},
	{"ip_proto", `ip_proto:!UDP;`, "ip any any -> any any", talk(9, ""), datagram(9, "")},
	{"sameip", `sameip;`, "ip any any -> any any", bare(func(w *wire) { w.udp(client, client, 1, 2, "") }), datagram(9, "")},
	{"fragbits", `fragbits:M;`, "ip any any -> any any", bare(func(w *wire) { w.place = 0x2000; w.ip(client, server, 17, make([]byte, 24)) }), datagram(9, "")},
	{"threshold", `threshold:type threshold, track by_src, count 3, seconds 60; content:"needle";`, "udp any any -> any any", repeated(3), repeated(2)},
	{"threshold", `threshold:type both, track by_dst, count 2, seconds 60; content:"needle";`, "udp any any -> any any", repeated(2), repeated(1)},
	{"threshold", `threshold:type limit, track by_rule, count 1, seconds 60; content:"needle";`, "udp any any -> any any", repeated(1), datagram(9, "")},
	{"threshold", `threshold:type backoff, track by_flow, count 2, multiplier 10; content:"needle";`, "udp any any -> any any", repeated(2), repeated(1)},
	{"detection_filter", `detection_filter:track by_both, count 2, seconds 60; content:"needle";`, "udp any any -> any any", repeated(3), repeated(2)},
	{"app-layer-protocol", `app-layer-protocol:!http; content:"needle";`, "tcp any any -> any 80", talk(80, "SSH-2.0-needle\r\n"), get(strings.Replace(page, "Probe", "needle", 1), "")},
	{"app-layer-protocol", `app-layer-protocol:smb;`, "", talk(445, "\x00\x00\x00\x20\xfeSMB@\x00"), talk(445, "\x00\x00\x00\x20\xfeSMC@\x00")},
	{"ssl_state", `ssl_state:client_hello; content:"sni.example";`, "tls any any -> any any", handshakeOf("sni.example", 0x303), handshakeOf("other.example", 0x303)},
	{"ssl_state", `ssl_state:server_hello|server_keyx;`, "tls any any -> any any", handshakeOf("x", 0x303), bare(func(w *wire) { w.dial(1, 443).up(clientHello(0x303, "x")).close() })},
	{"ssl_version", `ssl_version:sslv3,tls1.0; flow:to_client;`, "tls any any -> any any", handshakeOf("x", 0x300), handshakeOf("x", 0x303)},
	{"ssh.softwareversion", `ssh.softwareversion:"PUTTY";`, "ssh any any -> any any", talk(22, "SSH-2.0-PuTTY\r\n"), talk(22, "SSH-2.0-PuTTY_1\r\n")},
	{"msg", `msg:"said"; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"rev", `rev:7; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"gid", `gid:2; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"sid", `content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"classtype", `classtype:misc-attack; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"priority", `priority:1; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"metadata", `metadata:created_at 2020_01_01, mitre_technique_id T1059_001; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"reference", `reference:url,example.org; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},
	{"target", `target:dest_ip; content:"needle";`, "", talk(9, "needle"), talk(9, "noodle")},

	{"uricontent", `uricontent:"/c/index"; nocase;`, "tcp any any -> any 80", get(page, ""), get(form, "")},
	{"http_uri", `content:"id=1A"; http_uri;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_raw_uri", `content:"b/../c"; http_raw_uri;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_method", `content:"GET"; http_method; content:"HTTP/1.1|0d 0a|Host";`, "http any any -> any any", get(page, ""), get(strings.Replace(page, "GET", "PUT", 1), "")},
	{"http_header", `content:"|0d 0a|User-Agent|3a 20|Probe"; http_header; content:!"secret"; http_header;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_raw_header", `content:"Cookie|3a| id"; http_raw_header;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_cookie", `content:"secret"; http_cookie;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_user_agent", `content:"Probe"; http_user_agent; depth:5; content:"/1"; http_user_agent; distance:0;`, "http any any -> any any", get(page, ""), get(strings.Replace(page, "Probe", "xProbe", 1), "")},
	{"http_host", `content:"www.example.org"; http_host; isdataat:!1,relative;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_raw_host", `content:"WWW.Example.org|3a|8080"; http_raw_host;`, "http any any -> any any", get(page, ""), get(form, "")},
	{"http_client_body", `content:"mallet"; http_client_body;`, "http any any -> any any", get(form, ""), get(page, "")},
	{"http_server_body", `content:"hidden"; http_server_body;`, "http any any -> any any", get(page, packed("well hidden")), get(page, answer)},
	{"http_stat_code", `content:"404"; http_stat_code;`, "http any any -> any any", get(page, answer), get(page, packed(""))},
	{"http_stat_msg", `content:"Not Here"; http_stat_msg;`, "http any any -> any any", get(page, answer), get(page, packed(""))},
	{"file_data", `flow:to_client; file_data; content:"hidden"; distance:0;`, "http any any -> any any", get(page, packed("well hidden")), get(page, answer)},
	{"pkt_data", `flow:to_client; file_data; content:"plain"; pkt_data; content:"404 Not";`, "http any any -> any any", get(page, answer), get(page, packed("plain"))},
}

func repeated(n int) func(*wire) {
	return func(w *wire) {
		for range n {
			w.udp(client, server, 40000, 9, "needle")
		}
	}
}

// bufferCases have for each sticky buffer what is in it, and traffic of which that is not true.
var bufferCases = map[buffer]struct {
	holds        string
	fires, quiet func(*wire)
}{
	bufFile:            {"hidden", get(page, packed("well hidden")), get(page, answer)},
	bufURI:             {"/c/index.php?id=1A", get(page, ""), get(form, "")},
	bufRawURI:          {"/a%20b/../c", get(page, ""), get(form, "")},
	bufMethod:          {"GET", get(page, ""), get(form, "")},
	bufHeader:          {"User-Agent|3a| Probe/1.0|0d 0a|Accept", get(page, ""), get(form, "")},
	bufRawHeader:       {"Cookie|3a| id=secret|0d 0a|Accept", get(page, ""), get(form, "")},
	bufCookie:          {"id=secret", get(page, ""), get(form, "")},
	bufUserAgent:       {"Probe/1.0", get(page, ""), get(form, "")},
	bufHost:            {"www.example.org", get(page, ""), get(form, "")},
	bufRawHost:         {"WWW.Example.org|3a|8080", get(page, ""), get(form, "")},
	bufRequestBody:     {"name=mallet", get(form, ""), get(page, "")},
	bufResponseBody:    {"plain answer", get(page, answer), get(page, packed("x"))},
	bufStatus:          {"404", get(page, answer), get(page, packed("x"))},
	bufStatusText:      {"Not Here", get(page, answer), get(page, packed("x"))},
	bufHeaderNames:     {"|0d 0a|Host|0d 0a|User-Agent|0d 0a|Cookie|0d 0a|", get(page, ""), get(form, "")},
	bufContentType:     {"application/x-form", get(form, ""), get(page, "")},
	bufContentLength:   {"11", get(form, ""), get(page, "")},
	bufReferer:         {"http|3a|//from.example/", get(page, ""), get(form, "")},
	bufServer:          {"Odd/2", get(page, answer), get(page, packed("x"))},
	bufLocation:        {"/else", get(page, answer), get(page, packed("x"))},
	bufAccept:          {"text/x-odd", get(page, ""), get(form, "")},
	bufAcceptEncoding:  {"br", get(page, ""), get(form, "")},
	bufAcceptLanguage:  {"xx-YY", get(page, ""), get(form, "")},
	bufConnection:      {"keep-alive", get(page, ""), get(form, "")},
	bufProtocol:        {"HTTP/1.1", get(page, ""), get(strings.Replace(page, "HTTP/1.1", "HTTP/1.0", 1), "")},
	bufRequestLine:     {"POST /submit HTTP/1.1", get(form, ""), get(page, "")},
	bufResponseLine:    {"HTTP/1.1 404 Not Here", get(page, answer), get(page, packed("x"))},
	bufRequestHeader:   {"Accept-Encoding|3a| br", get(page, ""), get(form, "")},
	bufResponseHeader:  {"Server|3a| Odd/2", get(page, answer), get(page, packed("x"))},
	bufDNSQuery:        {"www.example.org", datagram(53, question("www.example.org")), datagram(53, question("www.example.com"))},
	bufSNI:             {"odd.example", handshakeOf("odd.example", 0x303), handshakeOf("other.example", 0x303)},
	bufCertSubject:     {"C=DE, CN=odd.example", handshakeOf("x", 0x303), func(w *wire) { w.dial(1, 443).up(clientHello(0x303, "x")) }},
	bufCertIssuer:      {"C=DE, CN=odd.example", handshakeOf("x", 0x303), func(w *wire) { w.dial(1, 443).up(clientHello(0x303, "x")) }},
	bufCertSerial:      {"12|3a|34|3a|AB", handshakeOf("x", 0x303), func(w *wire) { w.dial(1, 443).up(clientHello(0x303, "x")) }},
	bufCertFingerprint: {"|3a|", handshakeOf("x", 0x303), func(w *wire) { w.dial(1, 443).up(clientHello(0x303, "x")) }},
	bufJA3:             {"aeacca59c912b912ecbcd44062b628c7", handshakeOf("x", 0x303), handshakeOf("x", 0x301)},
	bufSSHSoftware:     {"Odd_1.0", talk(22, "SSH-2.0-Odd_1.0 comment\r\n"), talk(22, "SSH-2.0-comment Odd_1.0\r\n")},
	bufSSHProtocol:     {"1.99", talk(22, "SSH-1.99-Odd\r\n"), talk(22, "SSH-2.0-1.99\r\n")},
}

func fires(t *testing.T, text string, traffic func(*wire)) map[int]int {
	t.Helper()
	d := withRules(t, `{}`, ruleFile(text))
	if len(d.loaded.refused) > 0 {
		t.Fatalf("%v", d.loaded.refused[0])
	}
	w := &wire{}
	traffic(w)
	return sids(t, d, w.packets)
}

func check(t *testing.T, text string, on, off func(*wire)) {
	t.Helper()
	got := fires(t, text, on)
	if strings.Contains(text, "sid:2;") && !strings.Contains(text, "sid:2; content:\"first\"; noalert") {
		got = map[int]int{1: got[2]}
	}
	if got[1] == 0 {
		t.Errorf("silent: %s", text)
	}
	got = fires(t, text, off)
	if strings.Contains(text, "sid:2;") && !strings.Contains(text, "sid:2; content:\"first\"; noalert") {
		got = map[int]int{1: got[2]}
	}
	if got[1] != 0 {
		t.Errorf("fires on the other traffic too: %s", text)
	}
}

// Every keyword fires where it should, and is silent where it should be.
func TestKeywords(t *testing.T) {
	left := map[string]bool{}
	for name := range keywords {
		left[name] = true
	}
	for _, c := range keywordCases {
		head := c.head
		if head == "" {
			head = "tcp any any -> any any"
		}
		delete(left, c.keyword)
		text := "alert " + head + " (" + c.rule
		if !strings.Contains(text, "sid:2;") {
			text += " sid:1;"
		}
		text += ")"
		check(t, strings.Replace(text, ") alert", "sid:1;)\nalert", 1), c.fires, c.quiet)
	}
	for name, b := range sticky {
		c, has := bufferCases[b]
		if !has && b != bufPayload {
			t.Errorf("no case for %s", name)
			continue
		}
		if b != bufPayload {
			delete(left, name)
			app := map[application]string{appHTTP: "http", appDNS: "dns", appTLS: "tls", appSSH: "ssh", appNone: "http"}[bufferApplication[b]]
			check(t, fmt.Sprintf(`alert %s any any -> any any (%s; content:"%s"; sid:1;)`, app, name, c.holds), c.fires, c.quiet)
		}
	}
	for name := range checksumEvents {
		delete(left, name) // TestChecksums
	}
	delete(left, "decode-event") // TestDecodeEvents
	if len(left) > 0 {
		t.Errorf("no cases for %v", slices.Sorted(maps.Keys(left)))
	}
}
