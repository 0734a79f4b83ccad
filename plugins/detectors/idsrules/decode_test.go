package idsrules

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// unhex reads hexadecimal digits; spaces do not matter, and a number of times in brackets stands for as many zeros.
func unhex(t *testing.T, text string) []byte {
	t.Helper()
	var out []byte
	for word := range strings.FieldsSeq(text) {
		if zeros, is := strings.CutPrefix(word, "0*"); is {
			n := 0
			for _, c := range zeros {
				n = 10*n + int(c-'0')
			}
			out = append(out, make([]byte, n)...)
			continue
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// eventCases have for each event a link type or the protocol below, bytes that have the fault, and bytes that do not.
var eventCases = []struct {
	event      string
	over       string // link, eth:TYPE, ip4:PROTO or ip6:PROTO
	bad, right string
}{
	{"ethernet.pkt_too_small", "link:1", "0*13", "0*14"},
	{"sll.pkt_too_small", "link:113", "0*15", "0*16"},
	{"ipraw.invalid_ip_version", "link:101", "50 0*30", "45 0*30"},
	{"ltnull.pkt_too_small", "link:0", "020000", "02000000"},
	{"ltnull.unsupported_type", "link:0", "03000000", "02000000"},
	{"vlan.header_too_small", "eth:8100", "0001", "00010806"},
	{"vlan.too_many_layers", "eth:8100", "00018100 00018100 00010806", "00018100 00010806"},
	{"vlan.unknown_type", "eth:8100", "00011234", "00010806"},
	{"mpls.header_too_small", "eth:8847", "000101", "00010140 45"},
	{"mpls.bad_label_router_alert", "eth:8847", "00001140 45", "00010140 45"},
	{"mpls.bad_label_implicit_null", "eth:8847", "00003140 45", "00010140 45"},
	{"mpls.bad_label_reserved", "eth:8847", "00005140 45", "00010140 45"},
	{"mpls.pkt_too_small", "eth:8847", "00010140", "00010140 45"},
	{"mpls.unknown_payload_type", "eth:8847", "00010140 35", "00010140 45"},
	{"pppoe.pkt_too_small", "eth:8863", "1109000000", "110900000000"},
	{"pppoe.wrong_code", "eth:8863", "110100000000", "110900000000"},
	{"ppp.pkt_too_small", "link:9", "00", "c021"},
	{"ppp.ip4_pkt_too_small", "link:9", "0021 0*19", "0021 45 0*19"},
	{"ppp.ip6_pkt_too_small", "link:9", "0057 0*39", "0057 60 0*39"},
	{"ppp.unsup_proto", "link:9", "00ff 00", "c021 00"},
	{"ipv4.pkt_too_small", "eth:0800", "45 0*18", "45 0*19"},
	{"ipv4.wrong_ip_version", "eth:0800", "65 0*19", "45 0*19"},
	{"ipv4.hlen_too_small", "eth:0800", "44 0*19", "45 0*19"},
	{"ipv4.iplen_smaller_than_hlen", "eth:0800", "450000 13 0*16", "450000 14 0*16"},
	{"ipv4.trunc_pkt", "eth:0800", "450000 15 0*16", "450000 14 0*16"},
	{"ipv4.opt_invalid_len", "eth:0800", "46000018 0*16 07010000", "46000018 0*16 07030400"},
	{"ipv4.opt_duplicate", "eth:0800", "4700001c 0*16 07030407 03040000", "4700001c 0*16 07030444 04050000"},
	{"ipv4.opt_unknown", "eth:0800", "46000018 0*16 55030000", "46000018 0*16 07030400"},
	{"ipv4.icmpv6", "ip4:58", "0*8", "0*8 ; ip4:1"},
	{"ipv6.pkt_too_small", "eth:86dd", "60 0*38", "60 0*5 3b 0*33"},
	{"ipv6.wrong_ip_version", "eth:86dd", "50 0*39", "60 0*39"},
	{"ipv6.trunc_pkt", "eth:86dd", "60000000 0001 3b 0*33", "60000000 0000 3b 0*33"},
	{"ipv6.trunc_exthdr", "ip6:0", "3b01 0*6", "3b00 0*6"},
	{"ipv6.exthdr_dupl_hh", "ip6:0", "0000 0*6 3b00 0*6", "3b00 0*6"},
	{"ipv6.exthdr_dupl_rh", "ip6:43", "2b00 02 0*5 3b00 02 0*5", "3b00 02 0*5"},
	{"ipv6.exthdr_dupl_fh", "ip6:44", "2c00 0001 0*4 3b00 0001 0*4", "3b00 0001 0*4"},
	{"ipv6.exthdr_dupl_dh", "ip6:60", "3c00 0*6 3c00 0*6 3b00 0*6", "3c00 0*6 3b00 0*6"},
	{"ipv6.exthdr_dupl_ah", "ip6:51", "3300 0*6 3b00 0*6", "3b00 0*6"},
	{"ipv6.data_after_none_header", "ip6:59", "00", ""},
	{"ipv6.rh_type_0", "ip6:43", "3b00 00 0*5", "3b00 02 0*5"},
	{"ipv6.fh_non_zero_reserved_field", "ip6:44", "3b01 0001 0*4", "3b00 0001 0*4"},
	{"ipv6.exthdr_useless_fh", "ip6:44", "3b00 0000 0*4", "3b00 0001 0*4"},
	{"ipv6.exthdr_ah_res_not_null", "ip6:51", "3b00 0001 0*4", "3b00 0*6"},
	{"ipv6.dstopts_unknown_opt", "ip6:60", "3b00 9904 00000000", "3b00 c904 00000000"},
	{"ipv6.dstopts_only_padding", "ip6:60", "3b00 0104 00000000", "3b00 c904 00000000"},
	{"ipv6.hopopts_unknown_opt", "ip6:0", "3b00 9904 00000000", "3b00 0502 0000 0100"},
	{"ipv6.hopopts_only_padding", "ip6:0", "3b00 0104 00000000", "3b00 0502 0000 0100"},
	{"ipv6.exthdr_invalid_optlen", "ip6:0", "3b00 0503 000000 00", "3b00 0502 0000 0100"},
	{"ipv6.zero_len_padn", "ip6:0", "3b00 0100 0502 0000", "3b00 0502 0000 0101"},
	{"ipv6.icmpv4", "ip6:1", "0*8", "0*8 ; ip6:58"},
	{"ipv6.unknown_next_header", "ip6:200", "0*8", "0*8 ; ip6:89"},
	{"ipv6.ipv4_in_ipv6_too_small", "ip6:4", "45 0*18", "450000 14 0*16"},
	{"ipv6.ipv4_in_ipv6_wrong_version", "ip6:4", "65 0*19", "450000 14 0*16"},
	{"ipv6.ipv6_in_ipv6_too_small", "ip6:41", "60 0*38", "60 0*5 3b 0*33"},
	{"ipv6.ipv6_in_ipv6_wrong_version", "ip6:41", "40 0*39", "60 0*5 3b 0*33"},
	{"tcp.pkt_too_small", "ip4:6", "0*12 50 0*6", "0*12 50 0*7"},
	{"tcp.hlen_too_small", "ip4:6", "0*12 40 0*7", "0*12 50 0*7"},
	{"tcp.invalid_optlen", "ip4:6", "0*12 60 0*7 02050000", "0*12 60 0*7 02040000"},
	{"tcp.opt_invalid_len", "ip4:6", "0*12 60 0*7 02030000", "0*12 60 0*7 02040000"},
	{"tcp.opt_duplicate", "ip4:6", "0*12 70 0*7 0204000002040000", "0*12 60 0*7 02040000"},
	{"udp.hlen_too_small", "ip4:17", "0*7", "0*5 08 0*2"},
	{"udp.pkt_too_small", "ip4:17", "0*5 09 0*2", "0*5 08 0*2"},
	{"udp.len_invalid", "ip4:17", "0*5 07 0*2", "0*5 08 0*2"},
	{"icmpv4.pkt_too_small", "ip4:1", "08 0*6", "08 0*7"},
	{"icmpv4.unknown_type", "ip4:1", "ff 0*7", "08 0*7"},
	{"icmpv4.unknown_code", "ip4:1", "0801 0*6", "0800 0*6"},
	{"icmpv4.ipv4_trunc_pkt", "ip4:1", "0301 0*6 45 0*18", "0301 0*6 45 0*19"},
	{"icmpv4.ipv4_unknown_ver", "ip4:1", "0301 0*6 55 0*19", "0301 0*6 45 0*19"},
	{"icmpv6.pkt_too_small", "ip6:58", "80 0*6", "80 0*7"},
	{"icmpv6.unknown_code", "ip6:58", "8001 0*6", "8000 0*6"},
	{"icmpv6.ipv6_trunc_pkt", "ip6:58", "0100 0*6 60 0*38", "0100 0*6 60 0*39"},
	{"icmpv6.ipv6_unknown_version", "ip6:58", "0100 0*6 50 0*39", "0100 0*6 60 0*39"},
	{"icmpv6.unassigned_type", "ip6:58", "05 0*7", "80 0*7"},
	{"icmpv6.experimentation_type", "ip6:58", "64 0*7", "80 0*7"},
	{"icmpv6.unknown_type", "ip6:58", "f0 0*7", "80 0*7"},
	{"icmpv6.mld_message_with_invalid_hl", "ip6:58", "82 0*7", "80 0*7"},
	{"igmp.pkt_too_small", "ip4:2", "0*7", "0*8"},
	{"sctp.pkt_too_small", "ip4:132", "0*11", "0*12"},
	{"sctp.chunk_too_small", "ip4:132", "0*12 0400", "0*12 04000004"},
	{"sctp.chunk_len_invalid", "ip4:132", "0*12 04000003", "0*12 04000004"},
	{"sctp.init_chunk_bundled", "ip4:132", "0*12 01000004 04000004", "0*12 01000004"},
	{"sctp.init_with_non_zero_vtag", "ip4:132", "0*7 01 0*4 01000004", "0*12 01000004"},
	{"sctp.data_with_zero_vtag", "ip4:132", "0*12 00000004", "0*7 01 0*4 00000004"},
	{"gre.pkt_too_small", "ip4:47", "000008", "00000806"},
	{"gre.wrong_version", "ip4:47", "00020806", "00000806"},
	{"gre.version0_recur", "ip4:47", "01000806", "00000806"},
	{"gre.version0_flags", "ip4:47", "00080806", "00000806"},
	{"gre.version0_hdr_too_big", "ip4:47", "80000806", "00000806"},
	{"gre.version1_chksum", "ip4:47", "a001880b 0*4", "2001880b 0*4"},
	{"gre.version1_route", "ip4:47", "6001880b 0*4", "2001880b 0*4"},
	{"gre.version1_ssr", "ip4:47", "2801880b 0*4", "2001880b 0*4"},
	{"gre.version1_recur", "ip4:47", "2101880b 0*4", "2001880b 0*4"},
	{"gre.version1_flags", "ip4:47", "2009880b 0*4", "2001880b 0*4"},
	{"gre.version1_wrong_protocol", "ip4:47", "20010800 0*4", "2001880b 0*4"},
	{"gre.version1_no_key", "ip4:47", "0001880b", "2001880b 0*4"},
	{"gre.version1_hdr_too_big", "ip4:47", "2001880b 0*3", "2001880b 0*4"},
}

func framed(t *testing.T, over, body string) []sdk.Packet {
	t.Helper()
	if text, other, is := strings.Cut(body, ";"); is { // the same over another protocol
		over, body = strings.TrimSpace(other), text
	}
	w := &wire{}
	kind, number, _ := strings.Cut(over, ":")
	n := 0
	for _, c := range number {
		switch {
		case c >= 'a':
			n = n*16 + int(c-'a') + 10
		case kind == "eth":
			n = n*16 + int(c-'0')
		default:
			n = n*10 + int(c-'0')
		}
	}
	b := unhex(t, body)
	switch kind {
	case "link":
		w.raw(uint16(n), b)
	case "eth":
		w.frame(uint16(n), b)
	case "ip4":
		w.ip(client, server, byte(n), b)
	case "ip6":
		w.ip(client6, server6, byte(n), b)
	}
	return w.packets
}

func TestDecodeEvents(t *testing.T) {
	left := maps.Clone(decodeEvents)
	for _, c := range eventCases {
		delete(left, c.event)
		d := withRules(t, `{}`, ruleFile("alert pkthdr any any -> any any (decode-event:"+c.event+"; sid:1;)"))
		if got := sids(t, d, framed(t, c.over, c.bad)); got[1] != 1 {
			t.Errorf("%s: silent", c.event)
		}
		if got := sids(t, d, framed(t, c.over, c.right)); got[1] != 0 {
			t.Errorf("%s: fires on what is right", c.event)
		}
	}
	if len(left) > 0 {
		t.Errorf("no cases for %v", slices.Sorted(maps.Keys(left)))
	}
	// What the capture left out is nobody's fault.
	d := withRules(t, `{}`, ruleFile("alert pkthdr any any -> any any (decode-event:tcp.pkt_too_small; sid:1;)"))
	cut := framed(t, "ip4:6", "0*12 50 0*6")
	cut[0].Length += 100
	if got := sids(t, d, cut); got[1] != 0 {
		t.Errorf("a packet that was cut: %v", got)
	}
}

func TestChecksums(t *testing.T) {
	send := map[string]func(w *wire){
		"ipv4-csum":   func(w *wire) { w.udp(client, server, 1, 2, "x") },
		"tcpv4-csum":  func(w *wire) { w.tcp(client, server, 1, 2, 2, 3, 4, "x") },
		"udpv4-csum":  func(w *wire) { w.udp(client, server, 1, 2, "x") },
		"icmpv4-csum": func(w *wire) { w.icmp(client, server, 8, 0, 1, 2, "x") },
		"tcpv6-csum":  func(w *wire) { w.tcp(client6, server6, 1, 2, 2, 3, 4, "x") },
		"udpv6-csum":  func(w *wire) { w.udp(client6, server6, 1, 2, "x") },
		"icmpv6-csum": func(w *wire) { w.icmp(client6, server6, 128, 0, 1, 2, "x") },
		"igmp-csum": func(w *wire) {
			b := make([]byte, 8)
			b[0] = 0x11
			binary.BigEndian.PutUint16(b[2:], ^sum(0, b))
			w.ip(client, server, protoIGMP, b)
		},
	}
	for name := range checksumEvents {
		d := withRules(t, `{}`, ruleFile("alert ip any any -> any any ("+name+":invalid; sid:1;)"))
		w := &wire{}
		send[name](w)
		if got := sids(t, d, w.packets); got[1] != 0 {
			t.Errorf("%s: fires on what is right", name)
		}
		b := w.packets[0].Data
		if name == "ipv4-csum" {
			b[14+10]++
		} else {
			b[len(b)-1] ^= 0x55
		}
		if got := sids(t, d, w.packets); got[1] != 1 {
			t.Errorf("%s: silent", name)
		}
	}
}
