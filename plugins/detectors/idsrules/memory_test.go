package idsrules

import (
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// However much a capture holds, what is remembered of it stays within bounds.
func TestMemoryIsBounded(t *testing.T) {
	const settings = `{"max_flows": 2000, "max_buffer": 1048576, "max_alerts": 1000}`
	const rules = `alert tcp any any -> any any (content:"needle"; content:"never"; distance:0; threshold:type limit, track by_both, count 2, seconds 60; sid:1;)
alert tcp any any -> any any (content:"needle"; flowbits:set,a; sid:2;)
alert http any any -> any any (http.uri; content:"x"; file.data; content:"y"; sid:3;)`
	for name, text := range map[string]string{
		"streams":      "needle" + strings.Repeat("x", 900),
		"heads":        "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 900),
		"bodies":       "POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + strings.Repeat("x", 900),
		"requests":     "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"TLS":          "\x16\x03\x01\x3f\xff\x01\x00\x3f\x00" + strings.Repeat("x", 900),
		"out of order": "late",
	} {
		t.Run(name, func(t *testing.T) {
			d := withRules(t, settings, ruleFile(rules))
			s := &sink{}
			w := &wire{}
			w.tcp(client, server, 1, 80, 24, 1000, 1, text)
			p := w.packets[0]
			b := p.Data
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for i := range 60_000 {
				binary.BigEndian.PutUint32(b[14+12:], uint32(i%20_000))
				seq := uint32(1000 + i/20_000*len(text))
				if name == "out of order" && i >= 20_000 {
					seq += 5
				}
				binary.BigEndian.PutUint32(b[14+20+4:], seq)
				p.Number++
				s.findings = nil
				if err := d.Inspect(context.Background(), sdk.Batch{Packets: []sdk.Packet{p}}, s); err != nil {
					t.Fatal(err)
				}
				if n := d.engine.flows.count; n > 2000 {
					t.Fatalf("%d flows", n)
				}
			}
			f := &d.engine.flows
			if f.buffered > f.mostBuffered+maxWindow || f.buffered < 0 {
				t.Errorf("%d bytes are held", f.buffered)
			}
			if len(d.ledger.byKey) > 1000 || len(d.engine.limits.now) > 1000 {
				t.Errorf("%d findings, %d limits", len(d.ledger.byKey), len(d.engine.limits.now))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 12<<20 {
				t.Errorf("%d bytes are in use", grown)
			}
			for f.oldest != nil {
				f.remove(f.oldest)
			}
			if f.buffered != 0 {
				t.Errorf("%d bytes are counted for no flow", f.buffered)
			}
			runtime.KeepAlive(d)
		})
	}
}

// An evaluation that would take forever is given up, and counted.
func TestStepsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`alert udp any any -> any any (content:"a"; `)
	for range 10 {
		b.WriteString(`content:"a"; distance:0; `)
	}
	b.WriteString(`content:"b"; distance:0; sid:1;)`)
	d := withRules(t, `{}`, ruleFile(b.String()))
	w := &wire{}
	w.udp(client, server, 1, 2, "b"+strings.Repeat("a", 1000))
	if err := d.Inspect(context.Background(), sdk.Batch{Packets: w.packets}, &sink{}); err != nil {
		t.Fatal(err)
	}
	if d.engine.exhausted != 1 {
		t.Errorf("%d evaluations were given up", d.engine.exhausted)
	}
}
