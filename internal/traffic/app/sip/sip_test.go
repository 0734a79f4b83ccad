package sip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

func message(first string, headers ...string) string {
	return first + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func register(sequence string, more ...string) string {
	return message("REGISTER sip:example.com SIP/2.0", append([]string{
		`From: "Bob" <sip:bob@example.com>;tag=1`, "t: sip:bob@example.com;tag=2", "i: call1", "CSeq: " + sequence + " REGISTER", "User-Agent: phone 1"}, more...)...)
}

func answer(status, sequence string) string {
	return message("SIP/2.0 "+status, "Call-ID: call1", "CSeq: "+sequence+" REGISTER", "Server: box", "Content-Length: 0")
}

const proof = `Authorization: Digest username="bob", realm="x", response="sesame"`

var talk = []apptest.Said{
	apptest.Client(register("1")), apptest.Server(answer("401 Unauthorized", "1")), apptest.Client(register("2", proof)), apptest.Server(answer("100 Trying", "2")),
	apptest.Server(answer("403 Wrong", "2")), apptest.Client(register("3", proof, "l: 5") + "\r\n\r\nx" + "\r\n\r\n"), apptest.Server(answer("200 OK", "3")),
	apptest.Server(message("OPTIONS sip:bob@10.0.0.1 SIP/2.0", "Call-ID: 2", "CSeq: 9 OPTIONS")), apptest.Client(message("SIP/2.0 486 Busy Here", "Call-ID: 2", "CSeq: 9 OPTIONS")),
}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Message:
		return fmt.Sprintf("%d %s %s %d %s %s", f.Dir, m.Method, m.URI, m.Code, m.Reason, strings.Join([]string{m.From, m.To, m.CallID, m.Sequence, m.UserAgent, m.User}, "|"))
	case *login.Attempt:
		return fmt.Sprintf("login %d %+v", f.Dir, *m)
	}
	return ""
}

func TestConversation(t *testing.T) {
	who := "sip:bob@example.com|sip:bob@example.com|call1|"
	want := []string{
		"0 REGISTER sip:example.com 0  " + who + "1|phone 1|", "1 REGISTER  401 Unauthorized ||call1|1|box|", "0 REGISTER sip:example.com 0  " + who + "2|phone 1|bob",
		"1 REGISTER  100 Trying ||call1|2|box|", "1 REGISTER  403 Wrong ||call1|2|box|", "login 0 {User:bob Method:DIGEST Clear:false Result:1 Code:403}",
		"0 REGISTER sip:example.com 0  " + who + "3|phone 1|bob", "1 REGISTER  200 OK ||call1|3|box|", "login 0 {User:bob Method:DIGEST Clear:false Result:2 Code:200}",
		"1 OPTIONS sip:bob@10.0.0.1 0  ||2|9||", "0 OPTIONS  486 Busy Here ||2|9||",
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(SIP, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
	var have []string
	p := SIP.NewDatagram()
	p.Start(app.TestFlow(SIP, 17, func(f *app.Fact) { have = append(have, show(f)) }))
	for _, s := range talk {
		p.Datagram(s.Dir, []byte(s.Text), 0)
		p.Datagram(s.Dir, []byte("\r\n\r\n"), 0)
	}
	p.Close()
	if !slices.Equal(have, want) {
		t.Errorf("datagrams:\n%s", strings.Join(have, "\n"))
	}
}

func TestHostile(t *testing.T) {
	for name, said := range map[string]apptest.Said{
		"no message":       apptest.Client("hello\r\n"),
		"many headers":     apptest.Client("OPTIONS sip:a SIP/2.0\r\n" + strings.Repeat("X: y\r\n", maxHeaders+1)),
		"length":           apptest.Client("OPTIONS sip:a SIP/2.0\r\nl: 99999999999\r\n"),
		"length below 0":   apptest.Client("OPTIONS sip:a SIP/2.0\r\nl: -1\r\n"),
		"hole":             {Text: "x", Missing: 1},
		"code":             apptest.Server("SIP/2.0 999 x\r\n"),
		"code of no digit": apptest.Server("SIP/2.0 x y\r\n"),
	} {
		if next := apptest.Stream(SIP, 100, func(*app.Fact) {}, said); next != app.Done {
			t.Errorf("%s: %d", name, next)
		}
	}
	p := newDatagrams()
	p.Start(app.TestFlow(SIP, 17, func(*app.Fact) {}))
	for i := range 100 {
		p.Datagram(app.Client, []byte(register(strconv.Itoa(i), proof)), 0)
	}
	if len(p.proofs.pending) != maxPending {
		t.Errorf("%d requests are kept", len(p.proofs.pending))
	}
	for _, s := range talk {
		for n := range s.Text {
			p.Datagram(s.Dir, []byte(s.Text[:n]), 0)
		}
	}
	facts := 0
	apptest.Stream(SIP, 100, func(*app.Fact) { facts++ }, apptest.Client("OPTIONS sip:a SIP/2.0\r\nl: 500\r\n\r\n"), apptest.Said{Text: strings.Repeat("x", 100), Missing: 400},
		apptest.Client("OPTIONS sip:a SIP/2.0\r\n\r\n"))
	if facts != 2 {
		t.Errorf("%d facts around a hole", facts)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		talk[0].Text: app.Sure, talk[1].Text: app.Sure, "OPTIONS sip:a SIP/2.0\n": app.Sure, "OPT": app.More, "OPTIONS si": app.More, "SIP/2": app.More, "SIP/2.0 1": app.More,
		"OPTIONS / HTTP/1.1\r\n": app.No, "GET / HTTP/1.1": app.No, "SSH-2.0-x\r\n": app.No, "\r\n": app.No, "OPTIONS sip:a SIP/3.0\r\n": app.No, "SIP/2.0 0\r\n": app.No,
		"OPTIONS sip:" + strings.Repeat("a", maxFirst): app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%.40q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-voip__odedshimon__sip-rtp-g722.pcap")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{SIP}, func(f *app.Fact) {
		if m, ok := f.Body.(*Message); ok {
			code := ""
			if m.Code > 0 {
				code = strconv.Itoa(m.Code)
			}
			have = append(have, strings.Join([]string{strconv.FormatUint(f.Flow.Packet, 10), m.Method, m.URI, code, m.From, m.To, m.CallID, m.UserAgent}, " "))
		}
	})
	for _, row := range apptest.Tshark(t, path, "sip", "frame.number", "sip.CSeq.method", "sip.r-uri", "sip.Status-Code", "sip.from.addr", "sip.to.addr", "sip.Call-ID", "sip.User-Agent") {
		var line []string
		for _, field := range row {
			line = append(line, strings.Join(field, ""))
		}
		want = append(want, strings.Join(line, " "))
	}
	if !slices.Equal(have, want) || len(want) < 6 {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d messages compared", len(want))
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, SIP, talk) }

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, SIP, []byte(register("2", proof)), []byte(answer("200 OK", "2")))
}
