package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

var talk = []apptest.Said{
	apptest.Server("* OK [CAPABILITY IMAP4rev1] ready\r\n"), apptest.Client("a1 login bob sesame\r\n"), apptest.Server("a1 NO [AUTHENTICATIONFAILED] no\r\n"),
	apptest.Client("a2 LOGIN \"b\\\"ob\" \"se same\"\r\n"), apptest.Server("a2 BAD what\r\n"),
	apptest.Client("a3 LOGIN {3}\r\n"), apptest.Server("+ go\r\n"), apptest.Client("eve {6}\r\n"), apptest.Server("+ go\r\n"), apptest.Client("sesame\r\n"),
	apptest.Server("a3 OK [CAPABILITY IMAP4rev1] in\r\n"),
	apptest.Client("a4 AUTHENTICATE PLAIN\r\n"), apptest.Server("+ \r\n"), apptest.Client("AGJvYgBzZXNhbWU=\r\n"), apptest.Server("a4 OK in\r\n"),
	apptest.Client("a5 SELECT inbox\r\na6 FETCH 1 BODY[]\r\na7 sesame\r\na8 se-same\r\n"),
	apptest.Server("* 1 FETCH (BODY[] {12}\r\na6 OK no\r\n\r\n)\r\na6 OK\r\na5 OK [READ-WRITE] yes\r\na7 BAD\r\na8 BAD\r\n"),
	apptest.Client("b1 APPEND x {7+}\r\nc1 NO\r\n\r\nb2 IDLE\r\nDONE\r\n"), apptest.Server("b1 OK\r\nb2 OK\r\n"),
	apptest.Client("b3 STARTTLS\r\n"), apptest.Server("b3 OK go\r\n"),
}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Greeting:
		return "greeting " + m.Text
	case *Command:
		return fmt.Sprintf("%s %s %q", m.Name, m.Result, m.Text)
	case *login.Attempt:
		return fmt.Sprintf("login %+v", *m)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		"greeting OK [CAPABILITY IMAP4rev1] ready", `LOGIN NO "[AUTHENTICATIONFAILED] no"`,
		"login {User:bob Method:LOGIN Clear:true Result:1 Code:NO AUTHENTICATIONFAILED}", `LOGIN BAD "what"`, `login {User:b"ob Method:LOGIN Clear:true Result:1 Code:BAD}`,
		`LOGIN OK "[CAPABILITY IMAP4rev1] in"`, "login {User:eve Method:LOGIN Clear:true Result:2 Code:OK}", `AUTHENTICATE OK "in"`,
		"login {User:bob Method:PLAIN Clear:true Result:2 Code:OK}", `FETCH OK ""`, `SELECT OK "[READ-WRITE] yes"`, `SESAME BAD ""`, `? BAD ""`, `APPEND OK ""`, `IDLE OK ""`,
		`STARTTLS OK "go"`,
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(IMAP, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Again {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

// What is cut off never shows a password.
func TestCutOff(t *testing.T) {
	for i := range talk[:15] {
		for n := range talk[i].Text {
			part := slices.Clone(talk[:i+1])
			part[i].Text = part[i].Text[:n]
			apptest.Stream(IMAP, 5, func(f *app.Fact) {
				if strings.Contains(show(f), "same") {
					t.Fatalf("a password in %s", show(f))
				}
			}, part...)
		}
	}
}

func TestHostile(t *testing.T) {
	for name, talk := range map[string][]apptest.Said{
		"no greeting":   {apptest.Server("hello\r\n")},
		"many commands": {apptest.Client(strings.Repeat("a NOOP\r\n", maxPending+1))},
		"long line":     {apptest.Client("a " + strings.Repeat("x", maxLine) + "\r\n")},
		"literal":       {apptest.Client("a X {99999999999999999999}\r\n")},
		"no literal":    {apptest.Client("a X {-1}\r\n")},
		"hole":          {apptest.Client("a NOOP\r\n"), {Text: "x", Missing: 1}},
		"large hole":    {apptest.Client("a APPEND {5}\r\n"), {Text: "x", Missing: 6}},
		"hole in name":  {apptest.Client("a LOGIN {5}\r\n"), {Text: "x", Missing: 2}},
		"compression":   {apptest.Server("* OK\r\n"), apptest.Client("a COMPRESS DEFLATE\r\n"), apptest.Server("a OK\r\n")},
	} {
		if next := apptest.Stream(IMAP, 300, func(*app.Fact) {}, talk...); next != app.Done {
			t.Errorf("%s: %d", name, next)
		}
	}
	var have []string
	apptest.Stream(IMAP, 300, func(f *app.Fact) { have = append(have, show(f)) }, apptest.Server("* OK\r\n"), apptest.Client("a APPEND x {500}\r\n"),
		apptest.Said{Text: strings.Repeat("x", 100), Missing: 400}, apptest.Client("\r\n"), apptest.Server("a OK\r\n"))
	if !slices.Equal(have, []string{"greeting OK", `APPEND OK ""`}) {
		t.Errorf("a hole in a literal: %q", have)
	}
}

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		d    app.Dir
		text string
		want app.Verdict
	}{
		{app.Server, "* OK IMAP4 ready\r\n", app.Sure}, {app.Server, "* OK hello\r\n", app.Likely}, {app.Server, "* O", app.More}, {app.Server, "* OK hel", app.More},
		{app.Server, "* NO\r\n", app.No}, {app.Server, "* OK " + strings.Repeat("x", maxFirst), app.No}, {app.Server, "+OK POP3\r\n", app.No},
		{app.Client, "a1 CAPABILITY\r\n", app.Sure}, {app.Client, "a1 login bob x\r\n", app.Sure}, {app.Client, "a1 LOGIN\r\n", app.No}, {app.Client, "please login now\r\n", app.Likely}, {app.Client, "a1 noop\r\n", app.Likely},
		{app.Client, "a1", app.More}, {app.Client, "a1 CAP", app.More}, {app.Client, "a1 LOGIN bob", app.More}, {app.Client, "GET / HTTP/1.1\r\n", app.No},
		{app.Client, "GET /", app.No}, {app.Client, "SSH-2.0-x\r\n", app.No}, {app.Client, "EHLO x\r\n", app.No},
	} {
		if have := recognise(c.d, []byte(c.text)); have != c.want {
			t.Errorf("%.40q: %d", c.text, have)
		}
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, IMAP, talk) }
