package pop3

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

func conversation() []apptest.Said {
	return []apptest.Said{
		apptest.Server("+OK ready\r\n"), apptest.Client("CAPA\r\n"), apptest.Server("+OK list\r\nUSER\r\n.\r\n"), apptest.Client("user alice\r\n"), apptest.Server("+OK\r\n"),
		apptest.Client("PASS secret\r\n"), apptest.Server("-ERR [AUTH] no\r\n"), apptest.Client("APOP bob 0123\r\n"), apptest.Server("+OK in\r\n"),
		apptest.Client("AUTH PLAIN\r\n"), apptest.Server("+ \r\n"), apptest.Client("AGNhcm9sAHNlY3JldA==\r\n"), apptest.Server("+OK\r\n"),
		apptest.Client("LIST\r\nLIST 1\r\nRETR 1\r\n"), apptest.Server("+OK 1\r\n1 20\r\n.\r\n+OK 1 20\r\n+OK mail\r\nSubject: +OK\r\n\r\n-ERR in a mail\r\n.\r\n"),
		apptest.Client("QUIT\r\n"), apptest.Server("+OK bye\r\n"),
	}
}

func line(f *app.Fact) string {
	switch b := f.Body.(type) {
	case *Greeting:
		return "greeting " + b.Text
	case *Command:
		return fmt.Sprint(b.Name, " ", b.OK, " ", b.Text)
	case *login.Attempt:
		return fmt.Sprintf("%+v", *b)
	}
	return "?"
}

func TestConversation(t *testing.T) {
	want := []string{
		"greeting ready", "CAPA true list", "USER true ", "PASS false [AUTH] no", "{User:alice Method:PASS Clear:true Result:1 Code:-ERR AUTH}",
		"APOP true in", "{User:bob Method:APOP Clear:false Result:2 Code:+OK}", "AUTH true ", "{User:carol Method:PLAIN Clear:true Result:2 Code:+OK}",
		"LIST true 1", "LIST true 1 20", "RETR true mail", "QUIT true bye",
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(POP3, size, func(f *app.Fact) { have = append(have, line(f)) }, conversation()...)
		if !slices.Equal(have, want) || next != app.Done {
			t.Errorf("pieces of %d: %d\n%s\nwant\n%s", size, next, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		if strings.Contains(strings.Join(have, ""), "secret") {
			t.Error("a password is told")
		}
	}
}

func TestStartTLS(t *testing.T) {
	if next := apptest.Stream(POP3, 100, func(*app.Fact) {}, apptest.Server("+OK\r\n"), apptest.Client("STLS\r\n"), apptest.Server("+OK go\r\n")); next != app.Again {
		t.Error(next)
	}
}

func TestMissingBytes(t *testing.T) {
	for name, c := range map[string]struct {
		talk []apptest.Said
		want app.Next
	}{
		"in a mail":   {[]apptest.Said{apptest.Server("+OK\r\n"), apptest.Client("RETR 1\r\n"), apptest.Server("+OK\r\nhalf a li"), {Dir: app.Server, Text: "ne\r\n.\r\n", Missing: 90}, apptest.Client("NOOP\r\n"), apptest.Server("+OK\r\n")}, app.Continue},
		"elsewhere":   {[]apptest.Said{apptest.Server("+OK\r\n"), {Dir: app.Server, Text: "+OK\r\n", Missing: 9}}, app.Done},
		"of a client": {[]apptest.Said{apptest.Server("+OK\r\n"), {Dir: app.Client, Text: "NOOP\r\n", Missing: 9}}, app.Done},
		"no command":  {[]apptest.Said{apptest.Server("+OK\r\n"), apptest.Server("+OK\r\n")}, app.Done},
		"junk":        {[]apptest.Said{apptest.Server("* OK\r\n")}, app.Done},
		"many":        {[]apptest.Said{apptest.Client(strings.Repeat("NOOP\r\n", maxPending+1))}, app.Done},
	} {
		facts := 0
		if next := apptest.Stream(POP3, 1000, func(*app.Fact) { facts++ }, c.talk...); next != c.want || c.want == app.Continue && facts != 3 {
			t.Errorf("%s: %d, %d facts", name, next, facts)
		}
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		"+OK hello\r\n": app.Likely, "+OK\r\n": app.Likely, "+OK": app.More, "+O": app.More, "-ERR no\n": app.Likely, "+OKAY\r\n": app.No, "* OK\r\n": app.No, "+" + strings.Repeat("x", 600): app.No,
	} {
		if have := recognise(app.Server, []byte(text)); have != want {
			t.Errorf("server's %q: %d", text, have)
		}
	}
	for text, want := range map[string]app.Verdict{"USER a\r\n": app.Likely, "capa\n": app.Likely, "USER": app.More, "GET / HTTP\r\n": app.No, "USERS a\r\n": app.No} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("client's %q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-mail__zeek__pop3.pcap")
	var have, want, logins []string
	apptest.Run(t, path, []app.Protocol{POP3}, func(f *app.Fact) {
		switch b := f.Body.(type) {
		case *Command:
			have = append(have, b.Name)
		case *login.Attempt:
			logins = append(logins, b.User+" "+b.Method+" "+b.Code)
		}
	})
	for _, row := range apptest.Tshark(t, path, "pop.request.command", "pop.request.command") {
		for _, name := range row[0] {
			if _, known := commands[strings.ToUpper(name)]; known {
				want = append(want, strings.ToUpper(name))
			}
		}
	}
	if !slices.Equal(have, want) || len(want) < 3 {
		t.Errorf("have %q\nwant %q", have, want)
	}
	t.Log(have, logins)
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, POP3, conversation()) }
