package kerberos

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) > 127 {
		return string([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}) + body
	}
	return string([]byte{tag, byte(len(body))}) + body
}

func integer(n byte) string { return tlv(2, string([]byte{n})) }

func principal(parts ...string) string {
	list := ""
	for _, p := range parts {
		list += tlv(0x1b, p)
	}
	return tlv(0x30, tlv(0xa0, integer(1)), tlv(0xa1, tlv(0x30, list)))
}

func request(kind byte, data string, encryptions ...byte) string {
	list := ""
	for _, e := range encryptions {
		list += integer(e)
	}
	return tlv(0x60+kind, tlv(0x30, tlv(0xa1, integer(5)), tlv(0xa2, integer(kind)), data, tlv(0xa4, tlv(0x30,
		tlv(0xa0, tlv(3, "\x00\x40\x81\x00\x10")), tlv(0xa1, principal("bob")), tlv(0xa2, tlv(0x1b, "EXAMPLE.COM")),
		tlv(0xa3, principal("krbtgt", "EXAMPLE.COM")), tlv(0xa8, tlv(0x30, list))))))
}

var (
	proof  = tlv(0xa3, tlv(0x30, tlv(0x30, tlv(0xa1, integer(2)), tlv(0xa2, tlv(4, "x")))))
	bare   = request(ASRequest, "", 18, 23)
	proven = request(ASRequest, proof, 18)
	// An AP-REQ with the first ticket.
	presented = tlv(0x6e, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa1, integer(14)), tlv(0xa2, tlv(3, "\x00\x00\x00\x00\x00")), tlv(0xa3, ticket(18))))
	service   = request(TGSRequest, tlv(0xa3, tlv(0x30, tlv(0x30, tlv(0xa1, integer(1)), tlv(0xa2, tlv(4, presented))))), 23)
)

func ticket(encryption byte) string {
	return tlv(0x61, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa2, principal("http", "web")), tlv(0xa3, tlv(0x30, tlv(0xa0, integer(encryption))))))
}

func reply(kind byte) string {
	return tlv(0x60+kind, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa1, integer(kind)), tlv(0xa3, tlv(0x1b, "EXAMPLE.COM")), tlv(0xa4, principal("bob")),
		tlv(0xa5, ticket(23))))
}

func failure(code byte) string {
	return tlv(0x60+Error, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa1, integer(Error)), tlv(0xa6, integer(code)), tlv(0xa9, tlv(0x1b, "EXAMPLE.COM")),
		tlv(0xaa, principal("krbtgt", "EXAMPLE.COM"))))
}

func framed(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}

var talk = []apptest.Said{
	apptest.Client(framed(bare)), apptest.Server(framed(failure(codeProofWanted))), apptest.Client(framed(proven)), apptest.Server(framed(failure(24))),
	apptest.Client(framed(proven)), apptest.Server(framed(reply(ASReply))), apptest.Client(framed(bare)), apptest.Server(framed(reply(ASReply))),
	apptest.Client(framed(service)), apptest.Server(framed(reply(TGSReply))), apptest.Client(framed(bare)), apptest.Server(framed(failure(6))),
}

func show(f *app.Fact) string {
	if a, ok := f.Body.(*login.Attempt); ok {
		return fmt.Sprintf("login %+v", *a)
	}
	return fmt.Sprintf("%+v", *f.Body.(*Message))
}

var want = []string{
	"{Type:10 Client:bob Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:1082195984 Encryptions:[18 23] Proof:false Presented:0 Ticket:0 Code:0}",
	"{Type:30 Client: Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:0 Encryptions:[] Proof:false Presented:0 Ticket:0 Code:25}",
	"{Type:10 Client:bob Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:1082195984 Encryptions:[18] Proof:true Presented:0 Ticket:0 Code:0}",
	"{Type:30 Client: Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:0 Encryptions:[] Proof:false Presented:0 Ticket:0 Code:24}",
	"login {User:bob@EXAMPLE.COM Method:AS Clear:false Result:1 Code:24}",
	"{Type:10 Client:bob Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:1082195984 Encryptions:[18] Proof:true Presented:0 Ticket:0 Code:0}",
	"{Type:11 Client:bob Realm:EXAMPLE.COM Service:http/web Options:0 Encryptions:[] Proof:false Presented:0 Ticket:23 Code:0}",
	"login {User:bob@EXAMPLE.COM Method:AS Clear:false Result:2 Code:0}",
	"{Type:10 Client:bob Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:1082195984 Encryptions:[18 23] Proof:false Presented:0 Ticket:0 Code:0}",
	"{Type:11 Client:bob Realm:EXAMPLE.COM Service:http/web Options:0 Encryptions:[] Proof:false Presented:0 Ticket:23 Code:0}",
	"{Type:12 Client:bob Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:1082195984 Encryptions:[23] Proof:false Presented:18 Ticket:0 Code:0}",
	"{Type:13 Client:bob Realm:EXAMPLE.COM Service:http/web Options:0 Encryptions:[] Proof:false Presented:0 Ticket:23 Code:0}",
	"{Type:10 Client:bob Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:1082195984 Encryptions:[18 23] Proof:false Presented:0 Ticket:0 Code:0}",
	"{Type:30 Client: Realm:EXAMPLE.COM Service:krbtgt/EXAMPLE.COM Options:0 Encryptions:[] Proof:false Presented:0 Ticket:0 Code:6}",
	"login {User:bob@EXAMPLE.COM Method:AS Clear:false Result:1 Code:6}",
}

func TestConversation(t *testing.T) {
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(Kerberos, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
	var have []string
	p := Kerberos.NewDatagram()
	p.Start(app.TestFlow(Kerberos, 17, func(f *app.Fact) { have = append(have, show(f)) }))
	for _, s := range talk {
		p.Datagram(s.Dir, []byte(s.Text[4:]), 0)
	}
	p.Close()
	if !slices.Equal(have, want) {
		t.Errorf("datagrams:\n%s", strings.Join(have, "\n"))
	}
}

func TestHostile(t *testing.T) {
	p := Kerberos.NewDatagram()
	p.Start(app.TestFlow(Kerberos, 17, func(*app.Fact) {}))
	for _, s := range talk {
		for n := range s.Text[4:] {
			p.Datagram(s.Dir, []byte(s.Text[4:][:n]), len(s.Text)-n)
			bad := []byte(s.Text[4:])
			bad[n] ^= 0x81
			p.Datagram(s.Dir, bad, 0)
		}
	}
	var have int
	p.Start(app.TestFlow(Kerberos, 17, func(f *app.Fact) { have = len(f.Body.(*Message).Encryptions) }))
	p.Datagram(app.Client, []byte(request(ASRequest, "", make([]byte, 500)...)), 0)
	if have != maxEncryptions {
		t.Errorf("%d encryptions", have)
	}
	if long := name([]byte(principal(slices.Repeat([]string{"a"}, 100)...))); long != "a"+strings.Repeat("/a", maxParts-1) {
		t.Error(long)
	}
	// An answer to nothing is no attempt.
	facts := 0
	apptest.Stream(Kerberos, 100, func(*app.Fact) { facts++ }, apptest.Server(framed(failure(24))), apptest.Server(framed(reply(ASReply))))
	if facts != 2 {
		t.Errorf("%d facts", facts)
	}
}

func TestRecognise(t *testing.T) {
	for _, s := range talk {
		for n := 1; n < len(s.Text); n++ {
			if have := recogniseStream(s.Dir, []byte(s.Text[:n])); have == app.No {
				t.Fatalf("%q: %d", s.Text[:n], have)
			}
		}
		if a, b := recogniseStream(s.Dir, []byte(s.Text)), recogniseDatagram(s.Dir, []byte(s.Text[4:])); a != app.Sure || b != app.Sure {
			t.Errorf("%q: %d %d", s.Text, a, b)
		}
	}
	for _, text := range []string{"\x6a", "\x6a\x05hello", "junk", bare + "x", "\x7e\x80", strings.Replace(bare, "\x02\x01\x05", "\x02\x01\x04", 1)} {
		if have := recogniseDatagram(app.Client, []byte(text)); have != app.No {
			t.Errorf("%q: %d", text, have)
		}
		if have := recogniseStream(app.Client, []byte(framed(text))); have != app.No {
			t.Errorf("%q over TCP: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{
		"benign-krb__zeek__kinit.pcap": 180, "atk-cred__sbousseaden__CA_kerbrute_passwordspray_kerberos_AS-REQ.pcapng": 28, "atk-cred__OISF__kerberoast.pcap": 2,
	} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

func compare(t *testing.T, path string, least int) {
	t.Helper()
	var have, want []string
	logins := map[string]int{}
	apptest.Run(t, path, []app.Protocol{Kerberos}, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *Message:
			encryptions := ""
			if len(m.Encryptions) > 0 {
				encryptions = strings.Trim(fmt.Sprint(m.Encryptions), "[]")
			}
			have = append(have, fmt.Sprintf("%d %d %s %s %s", f.Flow.Packet, m.Type, m.Client, m.Service, encryptions))
			if m.Type == Error {
				have[len(have)-1] += fmt.Sprint(" error ", m.Code)
			}
		case *login.Attempt:
			logins[fmt.Sprint(m.User, " ", m.Result, " ", m.Code)]++
		}
	})
	// Tickets in other protocols are not for this parser.
	for _, row := range apptest.Tshark(t, path, "kerberos.msg_type && !dcerpc", "frame.number", "kerberos.msg_type", "kerberos.CNameString", "kerberos.SNameString", "kerberos.ENCTYPE", "kerberos.error_code") {
		service := row[3]
		if row[1][0] == "12" { // tshark has the ticket in the request first
			service = service[2:]
		}
		line := fmt.Sprintf("%s %s %s %s %s", row[0][0], row[1][0], strings.Join(row[2], "/"), strings.Join(service, "/"), strings.Join(row[4], " "))
		if len(row[5]) > 0 {
			line = strings.TrimSuffix(line, strings.Join(row[4], " ")) + " error " + row[5][0]
		}
		want = append(want, line)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < least {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d messages compared, logins %v", len(want), logins)
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, Kerberos, talk) }

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, Kerberos, []byte(proven), []byte(reply(ASReply)))
}
