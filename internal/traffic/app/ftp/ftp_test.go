package ftp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

var talk = []apptest.Said{
	apptest.Server("220-Welcome\r\n to the\r\n220 FTP server\r\n"),
	apptest.Client("USER bob\r\n"), apptest.Server("331 Password?\r\n"), apptest.Client("PASS wrong\r\n"), apptest.Server("530 No.\r\n"),
	apptest.Client("user bob\r\nPASS sesame\r\n"), apptest.Server("331 Password?\r\n230-Hello\r\n230 Bob\r\n"),
	apptest.Client("PASV\r\n"), apptest.Server("227 Entering Passive Mode (10,0,0,1,4,1).\r\n"),
	apptest.Client("RETR a file\r\n"), apptest.Server("150 Opening\r\n226 Done\r\n"),
	apptest.Client("EPRT |2|::1|99|\r\n"), apptest.Server("200 ok\r\n"), apptest.Client("EPSV\r\n"), apptest.Server("229 Entering (|||77|)\r\n"),
	apptest.Client("\xff\xf4\xff\xf2ABOR\r\n"), apptest.Server("226 ok\r\n"),
	apptest.Client("se-same x\r\n"), apptest.Server("500 what?\r\n"),
	apptest.Client("AUTH TLS\r\n"), apptest.Server("234 go\r\n"),
}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Banner:
		return fmt.Sprintf("banner %q", m.Text)
	case *Command:
		text := fmt.Sprintf("%s %q %d", m.Name, m.Arg, m.Code)
		if m.Data.Addr.Port() != 0 {
			text += fmt.Sprint(" ", m.Data.Addr, " ", m.Data.Passive)
		}
		return text
	case *login.Attempt:
		return fmt.Sprintf("login %s %s clear %t: %d %s", m.User, m.Method, m.Clear, m.Result, m.Code)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		`banner "Welcome\n to the\nFTP server"`, `USER "bob" 331`, `PASS "" 530`, `login bob PASS clear true: 1 530`, `USER "bob" 331`,
		`PASS "" 230`, `login bob PASS clear true: 2 230`, `PASV "" 227 10.0.0.1:1025 true`, `RETR "a file" 226`,
		`EPRT "|2|::1|99|" 200 [::1]:99 false`, `EPSV "" 229 invalid AddrPort true`, `ABOR "" 226`, `? "" 500`, `AUTH "TLS" 234`,
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(FTP, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Again {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

// What is cut off gives fewer facts and never other ones.
func TestCutOff(t *testing.T) {
	for i := range talk {
		for n := range talk[i].Text {
			part := slices.Clone(talk[:i+1])
			part[i].Text = part[i].Text[:n]
			apptest.Stream(FTP, 5, func(f *app.Fact) {
				if strings.Contains(show(f), "sesame") {
					t.Fatalf("a password in %s", show(f))
				}
			}, part...)
		}
	}
}

func TestHostile(t *testing.T) {
	for name, talk := range map[string][]apptest.Said{
		"no reply":      {apptest.Server("hello\r\n")},
		"many commands": {apptest.Client(strings.Repeat("NOOP\r\n", maxPending+1))},
		"hole":          {apptest.Client("USER a\r\n"), {Text: "x", Missing: 1}},
		"Kerberos":      {apptest.Server("220 x\r\n"), apptest.Client("AUTH GSSAPI\r\n"), apptest.Server("334 go\r\n")},
	} {
		if next := apptest.Stream(FTP, 3, func(*app.Fact) {}, talk...); next != app.Done {
			t.Errorf("%s: %d", name, next)
		}
	}
	for _, text := range []string{"", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2,3,4,5,256", "a,b,c,d,e,f", "1,,3,4,5,6"} {
		if have := six(text); have.IsValid() {
			t.Errorf("%q: %v", text, have)
		}
	}
	for _, text := range []string{"", "||||", "|1|x|1|", "|1|1.2.3.4|99999|", "|1|1.2.3.4|1", "||||||||||"} {
		if have := extended(text, netip.MustParseAddr("10.0.0.1")); have.IsValid() {
			t.Errorf("%q: %v", text, have)
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		d    app.Dir
		text string
		want app.Verdict
	}{
		{app.Server, "220 an FTP server\r\n", app.Sure}, {app.Server, "220 hello\r\n", app.Likely}, {app.Server, "220 x ESMTP\r\n", app.No},
		{app.Server, "220-a\r\n", app.More}, {app.Server, "220-a\r\n220 b\r\n", app.Likely}, {app.Server, "22", app.More},
		{app.Server, "200 ok\r\n", app.No}, {app.Server, "220 " + strings.Repeat("x", 5000), app.No},
		{app.Client, "USER bob\r\n", app.Likely}, {app.Client, "US", app.More}, {app.Client, "USER ", app.More}, {app.Client, "AUTH TLS\r\n", app.Sure},
		{app.Client, "FEAT\r\n", app.Likely}, {app.Client, "0\x9d0", app.No}, {app.Client, "HEAD / HTTP/1.0\r\n", app.No}, {app.Client, "EHLO x\r\n", app.No},
		{app.Client, "USER " + strings.Repeat("x", maxLine), app.No},
	} {
		if have := recognise(c.d, []byte(c.text)); have != c.want {
			t.Errorf("%.40q: %d", c.text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{"benign-ftp__zeek__ipv4.pcap": 15, "atk-brute-ftp__zeek__bruteforce.pcap": 90, "atk-exfil__corelight__f9421792-7d2c-47d3-90e0-07eb54ae12fa.pcap": 9} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

func compare(t *testing.T, path string, least int) {
	t.Helper()
	var have, want []string
	logins := map[login.Result]int{}
	apptest.Run(t, path, []app.Protocol{FTP}, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *Command:
			have = append(have, fmt.Sprintf("%d %s %s %d", f.Flow.Client.Port(), m.Name, m.Arg, m.Code))
		case *login.Attempt:
			logins[m.Result]++
		}
	})
	open := map[string]string{} // by connection, the command that has no answer yet
	for _, row := range apptest.Tshark(t, path, "ftp && (ftp.request.command || ftp.response.code)", "tcp.stream", "tcp.srcport", "ftp.request.command", "ftp.request.arg", "ftp.response.code") {
		stream := row[0][0]
		if len(row[2]) > 0 {
			arg := strings.Join(row[3], "")
			if row[2][0] == "PASS" {
				arg = ""
			}
			open[stream] = fmt.Sprintf("%s %s %s", row[1][0], row[2][0], arg)
			continue
		}
		for _, code := range row[4] {
			if n, _ := strconv.Atoi(code); n >= 200 && open[stream] != "" {
				want = append(want, open[stream]+" "+code)
				open[stream] = ""
			}
		}
	}
	// tshark takes this answer, whose first copy is not in the capture, for a retransmission that was read before.
	if i := slices.Index(have, "49214 PASS  230"); i >= 0 {
		have = slices.Delete(have, i, i+1)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < least {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d commands compared, logins %v", len(want), logins)
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, FTP, talk) }
