package idsrules

import (
	"context"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// Whatever a rule file holds, it is loaded or refused, and a rule that was loaded can be run.
func FuzzRules(f *testing.F) {
	for _, c := range keywordCases {
		head := c.head
		if head == "" {
			head = "tcp any any -> any any"
		}
		f.Add("alert "+head+" ("+c.rule+" sid:1;)", []byte("needle 123 GET / HTTP/1.1\r\n"))
	}
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		l := newLoader(nil)
		if err := l.add("x.rules", []byte(text)); err != nil || len(payload) > 4<<10 {
			return
		}
		d := withRules(t, `{}`, ruleFile(text))
		w := &wire{}
		w.udp(client, server, 40000, 53, string(payload))
		w.dial(40000, 80).up(string(payload)).down(string(payload)).close()
		if err := d.Inspect(context.Background(), sdk.Batch{Packets: w.packets}, &sink{}); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(context.Background(), &sink{}); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever is on the wire, it is read within its bounds.
func FuzzPackets(f *testing.F) {
	for _, c := range keywordCases {
		w := &wire{}
		c.fires(w)
		for _, p := range w.packets {
			f.Add(p.Link, p.Data, []byte("x"))
		}
	}
	rules := ruleFile(`alert tcp any any -> any any (content:"a"; byte_jump:1,0,relative; content:"b"; distance:0; sid:1;)
alert http any any -> any any (http.uri; content:"a"; sid:2;)
alert http any any -> any any (file.data; content:"a"; sid:3;)
alert dns any any -> any any (dns.query; content:"a"; sid:4;)
alert tls any any -> any any (tls.sni; content:"a"; ja3.hash; content:"b"; sid:5;)
alert tls any any -> any any (tls.cert_subject; content:"a"; sid:6;)
alert ip any any -> any any (tcpv4-csum:invalid; sid:7;)
alert ssh any any -> any any (ssh.software; content:"a"; sid:8;)`)
	f.Fuzz(func(t *testing.T, link uint16, data, payload []byte) {
		d := withRules(t, `{}`, rules)
		w := &wire{}
		w.raw(link, data)
		w.raw(link, payload)
		w.dial(40000, 53).up(string(payload)).down(string(data)).close()
		w.dial(40001, 443).up(string(data)).down(string(payload))
		w.udp(client, server, 40000, 53, string(payload))
		if err := d.Inspect(context.Background(), sdk.Batch{Packets: w.packets}, &sink{}); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(context.Background(), &sink{}); err != nil {
			t.Fatal(err)
		}
		if d.engine.flows.buffered < 0 {
			t.Errorf("%d bytes are held", d.engine.flows.buffered)
		}
	})
}
