package telnet

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
	apptest.Server("\xff\xfd\x18\xff\xfd\x27\xff\xfb\x01"), apptest.Client("\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01"),
	apptest.Client("\xff\xfa\x18\x00xterm\xff\xf0\xff\xfa\x27\x00\x00TERM\x01x\x00USER\x01-f root\xff\xf0"),
	apptest.Server("host 1 > 2\r\n\r\nlogin: "), apptest.Client("b"), apptest.Server("b"), apptest.Client("i\x7fob\r\x00"), apptest.Server("ob\r\nPassword: "),
	apptest.Client("sesame\r\n"), apptest.Server("\r\nLogin incorrect\r\nlogin: "), apptest.Client("eve\r\n"), apptest.Server("Password:"),
	apptest.Client("sesame\r"), apptest.Server("\r\nPassword:"), apptest.Client("sesame\r\n"), apptest.Server("\r\nLast failed login: Monday\r\n$ "),
}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Environment:
		return fmt.Sprintf("environment %+v", *m)
	case *login.Attempt:
		return fmt.Sprintf("login %+v", *m)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		"environment {Terminal:xterm User:}", "environment {Terminal: User:-f root}",
		"login {User:bob Method:TELNET Clear:true Result:1 Code:}", "login {User:eve Method:TELNET Clear:true Result:1 Code:}",
		"login {User:eve Method:TELNET Clear:true Result:2 Code:}",
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(Telnet, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Done {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

func TestResult(t *testing.T) {
	for answer, want := range map[string]login.Result{
		"\r\n# ": login.Granted, "\r\nrouter>": login.Granted, "\r\nWelcome to it\r\n": login.Granted, "% Bad passwords\r\nusername: ": login.Failed,
		"Access denied\r\n": login.Failed, strings.Repeat("news\r\n", maxLines): login.Unknown,
	} {
		var have []login.Result
		apptest.Stream(Telnet, 3, func(f *app.Fact) { have = append(have, f.Body.(*login.Attempt).Result) },
			apptest.Server("User: "), apptest.Client("bob\r\n"), apptest.Server("Password: "), apptest.Client("sesame\r\n"), apptest.Server(answer), apptest.Client("ls\r\n"))
		if !slices.Equal(have, []login.Result{want}) {
			t.Errorf("%.20q: %v", answer, have)
		}
	}
}

// What is cut off never shows a password.
func TestCutOff(t *testing.T) {
	for i := range talk {
		for n := range talk[i].Text {
			part := slices.Clone(talk[:i+1])
			part[i].Text = part[i].Text[:n]
			apptest.Stream(Telnet, 5, func(f *app.Fact) {
				if strings.Contains(show(f), "sesame") {
					t.Fatalf("a password in %s", show(f))
				}
			}, part...)
		}
	}
}

func TestHostile(t *testing.T) {
	var have string
	next := apptest.Stream(Telnet, 100, func(f *app.Fact) { have = show(f) },
		apptest.Client("\xff\xfa\x18\x00"+strings.Repeat("x", 5000)+"\xff\xf0"), apptest.Client("\xff\xfa\x18\xff\xf0\xff\xfa\xff\xff\xff\xf0\xff\xf6"))
	if next != app.Continue || len(have) > maxText+50 {
		t.Errorf("%d: %d bytes", next, len(have))
	}
	if next := apptest.Stream(Telnet, 100, func(*app.Fact) {}, apptest.Server(strings.Repeat("x", 5000)+"login: "), apptest.Said{Text: "x", Missing: 1}); next != app.Done {
		t.Errorf("a hole: %d", next)
	}
	for text, want := range map[string]string{
		"\x00USER\x01bob": "bob", "\x03USER\x01a\x02\x01b\x00X": "a\ufffdb", "\x00USER": "", "": "", "\x00US\x02": "", "\x00A\x01b": "", "\x01bob\x00USER\x01eve": "eve",
	} {
		if have := user([]byte(text)); have != want {
			t.Errorf("%q: %q", text, have)
		}
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		talk[0].Text: app.Sure, talk[2].Text: app.Sure, "\xff\xfd\x18": app.Likely, "\xff\xfd\x18hello": app.Likely, "\xff": app.More, "\xff\xfd": app.More,
		"\xff\xfa\x18": app.More, "\xff\xfd\x18\xff": app.Likely, "\xff\xfd\xf0": app.No, "\xffSMB": app.No, "\xff\xd8\xff\xe0": app.No, "\xff\xd8": app.No, "login: ": app.No,
	} {
		if have := recognise(app.Server, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
}

// No shared capture has a login. One has a negotiation, which tshark knows by its port and we by what it says.
func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "enc-mpls__zeek__mixed-vlan-mpls.pcap")
	engine := apptest.Run(t, path, []app.Protocol{Telnet}, func(*app.Fact) {})
	want := map[string]bool{}
	for _, row := range apptest.Tshark(t, path, "telnet.cmd", "tcp.stream") {
		want[row[0][0]] = true
	}
	have := uint64(0)
	for _, n := range engine.Flows() {
		if n.Name == "telnet" {
			have = n.Flows
		}
	}
	if have != uint64(len(want)) || have == 0 {
		t.Errorf("%d flows, tshark has %d", have, len(want))
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, Telnet, talk) }
