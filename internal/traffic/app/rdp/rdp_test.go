package rdp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/tls"
)

func message(code byte, data string) string {
	n := headSize + len(data)
	b := append([]byte{tpktVersion, 0}, binary.BigEndian.AppendUint16(nil, uint16(n))...)
	return string(append(b, byte(n-5), code, 0, 0, 0, 0, 0)) + data
}

const (
	cookie = "Cookie: mstshash=bob\r\n"
	offer  = "\x01\x00\x08\x00\x03\x00\x00\x00"
	choice = "\x02\x00\x08\x00\x02\x00\x00\x00"
	refuse = "\x03\x00\x08\x00\x05\x00\x00\x00"
)

var talk = []apptest.Said{apptest.Client(message(codeRequest, cookie+offer)), apptest.Server(message(codeConfirm, choice))}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Request:
		return fmt.Sprintf("request %+v", *m)
	case *Answer:
		return fmt.Sprintf("answer %+v", *m)
	case *login.Attempt:
		return fmt.Sprintf("login %+v", *m)
	}
	return ""
}

func TestConversation(t *testing.T) {
	const attempt = " login {User:bob Method:RDP Clear:false Result:0 Code:}"
	for _, c := range []struct {
		client, server, want string
		next                 app.Next
	}{
		{cookie + offer, choice, "request {User:bob Token: Negotiates:true Protections:3} answer {Negotiates:true Protection:2 Failure:0}" + attempt, app.Again},
		{cookie + offer, refuse, "request {User:bob Token: Negotiates:true Protections:3} answer {Negotiates:true Protection:0 Failure:5}", app.Done},
		{cookie, "", "request {User:bob Token: Negotiates:false Protections:0} answer {Negotiates:false Protection:0 Failure:0}" + attempt, app.Done},
		{"Cookie: msts=1.2.3\r\n" + offer, refuse, "request {User: Token:msts=1.2.3 Negotiates:true Protections:3} answer {Negotiates:true Protection:0 Failure:5}", app.Done},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			var have []string
			next := apptest.Stream(RDP, size, func(f *app.Fact) { have = append(have, show(f)) },
				apptest.Client(message(codeRequest, c.client)), apptest.Server(message(codeConfirm, c.server)))
			if got := strings.Join(have, " "); got != c.want || next != c.next {
				t.Errorf("pieces of %d: %d\nhave %s\nwant %s", size, next, got, c.want)
			}
		}
	}
}

func TestHostile(t *testing.T) {
	for name, said := range map[string]apptest.Said{
		"too long":     apptest.Client("\x03\x00\xff\xff"),
		"too short":    apptest.Client("\x03\x00\x00\x05"),
		"other":        apptest.Client("hello"),
		"other code":   apptest.Client(message(0xf0, "")),
		"wrong side":   apptest.Server(message(codeRequest, cookie)),
		"hole":         {Text: "\x03", Missing: 1},
		"wrong choice": apptest.Server(message(codeConfirm, "\x02\x00\x09\x00\x02\x00\x00\x00")),
	} {
		if next := apptest.Stream(RDP, 3, func(*app.Fact) {}, said); next != app.Done {
			t.Errorf("%s: %d", name, next)
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, said := range talk {
		for n := 1; n <= len(said.Text); n++ {
			want := app.More
			if n == len(said.Text) {
				want = app.Sure
			}
			if have := recognise(said.Dir, []byte(said.Text[:n])); have != want {
				t.Errorf("%q: %d", said.Text[:n], have)
			}
		}
		if have := recognise(1-said.Dir, []byte(said.Text)); have != app.No {
			t.Errorf("%q from the other side: %d", said.Text, have)
		}
	}
	for text, want := range map[string]app.Verdict{
		message(codeRequest, ""): app.Likely, message(codeRequest, "\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02"): app.No, // that is a controller's
		message(codeRequest, offer): app.Sure, "\x03\x01\x00\x20": app.No, "\x03\x00\x00\x20\x05": app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
}

// The TLS behind the negotiation is read as such.
func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-rdp__zeek__rdp-to-ssl.pcap")
	var have, want []string
	inside := 0
	apptest.Run(t, path, []app.Protocol{tls.TLS(), RDP}, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *Request:
			have = append(have, fmt.Sprintf("%d Cookie: mstshash=%s %d", f.Flow.Packet, m.User, m.Protections))
		case *Answer:
			have = append(have, fmt.Sprintf("%d chosen %d", f.Flow.Packet, m.Protection))
		case *login.Attempt:
		default:
			if f.Protocol == "tls" {
				inside++
			}
		}
	})
	for _, row := range apptest.Tshark(t, path, "rdp", "frame.number", "rdp.rt_cookie", "rdp.negReq.requestedProtocols", "rdp.negReq.selectedProtocol") {
		line := row[0][0]
		if len(row[1]) > 0 {
			line += " " + row[1][0] + " " + number(t, row[2])
		} else {
			line += " chosen " + number(t, row[3])
		}
		want = append(want, line)
	}
	if !slices.Equal(have, want) || len(want) < 4 || inside < 4 {
		t.Errorf("%d facts of TLS; have\n%s\nwant\n%s", inside, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d messages compared, %d facts of TLS behind them", len(want), inside)
}

func number(t *testing.T, list []string) string {
	t.Helper()
	n, err := strconv.ParseUint(list[0], 0, 32)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(n, 10)
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, RDP, talk) }
