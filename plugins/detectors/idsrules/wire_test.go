package idsrules

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// final returns the last finding of each id.
func (s *sink) final() []sdk.Finding {
	var out []sdk.Finding
	for _, f := range s.findings {
		if i := slices.IndexFunc(out, func(o sdk.Finding) bool { return sdk.FindingID(o) == sdk.FindingID(f) }); i >= 0 {
			out[i] = f
		} else {
			out = append(out, f)
		}
	}
	return out
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// wire makes packets.
type wire struct {
	packets []sdk.Packet
	at      time.Duration
	ttl     byte
	id      uint16
	place   uint16 // of fragments
	window  uint16
}

var (
	client = netip.MustParseAddr("10.0.0.5")
	server = netip.MustParseAddr("203.0.113.7")

	client6 = netip.MustParseAddr("fd00::5")
	server6 = netip.MustParseAddr("2001:db8::7")
)

func (w *wire) frame(kind uint16, body []byte) {
	b := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, byte(kind>>8), byte(kind))
	w.raw(linkEthernet, append(b, body...))
}

func (w *wire) raw(link uint16, b []byte) {
	w.at += time.Millisecond
	w.packets = append(w.packets, sdk.Packet{Number: uint64(len(w.packets) + 1), Time: noon.Add(w.at), Link: link, Length: uint32(len(b)), Data: b})
}

// ip adds a packet with right checksums.
func (w *wire) ip(src, dst netip.Addr, proto byte, body []byte) {
	if src.Is4() {
		w.frame(0x0800, ipv4(src, dst, proto, body, w))
	} else {
		w.frame(0x86dd, ipv6(src, dst, proto, body))
	}
}

func ipv4(src, dst netip.Addr, proto byte, body []byte, w *wire) []byte {
	ttl := byte(64)
	b := make([]byte, 20, 20+len(body))
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	if w != nil {
		binary.BigEndian.PutUint16(b[4:], w.id)
		binary.BigEndian.PutUint16(b[6:], w.place)
		if w.ttl > 0 {
			ttl = w.ttl
		}
	}
	b[8], b[9] = ttl, proto
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b))
	return append(b, body...)
}

func ipv6(src, dst netip.Addr, proto byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(b, body...)
}

func pseudo(src, dst netip.Addr, proto byte, size int) uint32 {
	return uint32(proto) + uint32(size) + uint32(sum(0, src.AsSlice())) + uint32(sum(0, dst.AsSlice()))
}

func (w *wire) tcp(src, dst netip.Addr, from, to uint16, flags byte, seq, ack uint32, payload string) {
	b := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13] = 0x50, flags
	window := w.window
	if window == 0 {
		window = 1024
	}
	binary.BigEndian.PutUint16(b[14:], window)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[16:], ^sum(pseudo(src, dst, protoTCP, len(b)), b))
	w.ip(src, dst, protoTCP, b)
}

func (w *wire) udp(src, dst netip.Addr, from, to uint16, payload string) {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[6:], ^sum(pseudo(src, dst, protoUDP, len(b)), b))
	w.ip(src, dst, protoUDP, b)
}

func (w *wire) icmp(src, dst netip.Addr, kind, code byte, id, seq uint16, payload string) {
	b := append([]byte{kind, code, 0, 0, byte(id >> 8), byte(id), byte(seq >> 8), byte(seq)}, payload...)
	proto := byte(protoICMP)
	start := uint32(0)
	if src.Is6() {
		proto = protoICMPv6
		start = pseudo(src, dst, proto, len(b))
	}
	binary.BigEndian.PutUint16(b[2:], ^sum(start, b))
	w.ip(src, dst, proto, b)
}

// conn is a TCP connection from client to server.
type conn struct {
	w        *wire
	from, to uint16
	next     [2]uint32
}

func (w *wire) dial(from, to uint16) *conn {
	c := &conn{w: w, from: from, to: to, next: [2]uint32{1000, 2000}}
	w.tcp(client, server, from, to, 2, 1000, 0, "")
	w.tcp(server, client, to, from, 18, 2000, 1001, "")
	c.next = [2]uint32{1001, 2001}
	w.tcp(client, server, from, to, 16, 1001, 2001, "")
	return c
}

func (c *conn) say(d direction, payload string) *conn {
	c.sayAt(d, c.next[d], payload)
	c.next[d] += uint32(len(payload))
	return c
}

func (c *conn) sayAt(d direction, seq uint32, payload string) {
	if d == toServer {
		c.w.tcp(client, server, c.from, c.to, 24, seq, c.next[1], payload)
	} else {
		c.w.tcp(server, client, c.to, c.from, 24, seq, c.next[0], payload)
	}
}

func (c *conn) up(payload string) *conn   { return c.say(toServer, payload) }
func (c *conn) down(payload string) *conn { return c.say(toClient, payload) }

func (c *conn) close() {
	c.w.tcp(client, server, c.from, c.to, 17, c.next[0], c.next[1], "")
	c.w.tcp(server, client, c.to, c.from, 17, c.next[1], c.next[0]+1, "")
}

// sids are the rules that fire on the packets, with the number of their matches.
func sids(tb testing.TB, d *Detector, packets []sdk.Packet) map[int]int {
	tb.Helper()
	s := &sink{}
	if err := d.Inspect(context.Background(), sdk.Batch{Packets: packets}, s); err != nil {
		tb.Fatal(err)
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	out := map[int]int{}
	for _, f := range s.final() {
		out[int(f.Features["sid"])] += int(f.Features["matches"])
	}
	return out
}

func ruleFile(text string) map[string][]byte { return map[string][]byte{"test.rules": []byte(text)} }
