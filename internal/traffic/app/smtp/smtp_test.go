package smtp

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

var talk = []apptest.Said{
	apptest.Server("220 mail ESMTP\r\n"), apptest.Client("EHLO me\r\n"), apptest.Server("250-mail\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"),
	apptest.Client("AUTH LOGIN\r\n"), apptest.Server("334 VXNlcm5hbWU6\r\n"), apptest.Client("Ym9i\r\n"), apptest.Server("334 UGFzc3dvcmQ6\r\n"),
	apptest.Client("c2VzYW1l\r\n"), apptest.Server("535 no\r\n"),
	apptest.Client("AUTH PLAIN AGJvYgBzZXNhbWU=\r\n"), apptest.Server("235 yes\r\n"),
	apptest.Client("MAIL FROM:<bob@example.com> SIZE=9\r\nRCPT TO:<a@example.com>\r\nRCPT TO: <b@example.com>\r\nDATA\r\n"),
	apptest.Server("250 ok\r\n250 ok\r\n550 who?\r\n354 go\r\n"),
	apptest.Client("From: Bob <bob@example.com>\r\nSubject: one\r\n two\r\nX-Mailer: me\r\n\r\nSubject: not this\r\n..dot\r\nContent-Disposition: attachment;\r\n filename=\"a b.zip\"\r\n.\r\n"),
	apptest.Server("250 queued\r\n"),
	apptest.Client("MAIL FROM:<>\r\nRCPT TO:c@example.com\r\nBDAT 13\r\nSubject: x\r\n\rBDAT 6 LAST\r\n\nmore\n"),
	apptest.Server("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"),
	apptest.Client("DATA\r\n"), apptest.Server("503 no\r\n"), apptest.Client("se-same\r\n"), apptest.Server("500 what?\r\n"),
	apptest.Client("STARTTLS\r\n"), apptest.Server("220 go\r\n"),
}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Session:
		return fmt.Sprintf("session %q %q %t", m.Banner, m.Hello, m.StartTLS)
	case *Command:
		return fmt.Sprintf("%s %q %d", m.Name, m.Arg, m.Code)
	case *Mail:
		return fmt.Sprintf("mail %+v", *m)
	case *login.Attempt:
		return fmt.Sprintf("login %s %s clear %t: %d %s", m.User, m.Method, m.Clear, m.Result, m.Code)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		`EHLO "me" 250`, `session "mail ESMTP" "me" true`, `AUTH "LOGIN" 535`, `login bob LOGIN clear true: 1 535`, `AUTH "PLAIN" 235`,
		`login bob PLAIN clear true: 2 235`, `MAIL "FROM:<bob@example.com> SIZE=9" 250`, `RCPT "TO:<a@example.com>" 250`, `RCPT "TO: <b@example.com>" 550`,
		`DATA "" 250`, `mail {From:bob@example.com To:[a@example.com] Code:250 Subject:one two HeaderFrom:Bob <bob@example.com> MessageID: UserAgent:me Files:[a b.zip] Size:146}`,
		`MAIL "FROM:<>" 250`, `RCPT "TO:c@example.com" 250`, `BDAT "13" 250`, `BDAT "6 LAST" 250`,
		`mail {From: To:[c@example.com] Code:250 Subject:x HeaderFrom: MessageID: UserAgent: Files:[] Size:19}`,
		`DATA "" 503`, `? "" 500`, `STARTTLS "" 220`,
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(SMTP, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Again {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

// What is cut off never shows a password.
func TestCutOff(t *testing.T) {
	for i := range talk {
		for n := range talk[i].Text {
			part := slices.Clone(talk[:i+1])
			part[i].Text = part[i].Text[:n]
			apptest.Stream(SMTP, 5, func(f *app.Fact) {
				if text := show(f); strings.Contains(text, "sesame") || strings.Contains(text, "c2VzYW1l") || strings.Contains(text, "AGJvYg") {
					t.Fatalf("a password in %s", text)
				}
			}, part...)
		}
	}
}

// A hole in a mail is stepped over, and the server's answer tells that the mail is over.
func TestHoleInMail(t *testing.T) {
	var have []string
	next := apptest.Stream(SMTP, 100, func(f *app.Fact) { have = append(have, show(f)) },
		apptest.Server("220 mail ESMTP\r\n"), apptest.Client("MAIL FROM:<a>\r\nDATA\r\n"), apptest.Server("250 ok\r\n354 go\r\n"),
		apptest.Client("Subject: x\r\n\r\nhalf a li"), apptest.Said{Missing: 100, Text: "end of another"}, apptest.Server("250 ok\r\n"),
		apptest.Client("QUIT\r\n"), apptest.Server("221 bye\r\n"))
	want := []string{
		`MAIL "FROM:<a>" 250`, `DATA "" 250`,
		`mail {From:a To:[] Code:250 Subject:x HeaderFrom: MessageID: UserAgent: Files:[] Size:137}`, `QUIT "" 221`,
	}
	if !slices.Equal(have, want) || next != app.Continue {
		t.Errorf("%d\n%s", next, strings.Join(have, "\n"))
	}
}

func TestHostile(t *testing.T) {
	for name, talk := range map[string][]apptest.Said{
		"no reply":      {apptest.Server("hello\r\n")},
		"many commands": {apptest.Client(strings.Repeat("NOOP\r\n", maxPending+1))},
		"chunk":         {apptest.Client("BDAT 99999999999999999999\r\n")},
		"hole":          {apptest.Client("NOOP\r\n"), {Text: "x", Missing: 1}},
		"hole in chunk": {apptest.Client("BDAT 5\r\n"), {Text: "x", Missing: 6}},
	} {
		if next := apptest.Stream(SMTP, 3, func(*app.Fact) {}, talk...); next != app.Done {
			t.Errorf("%s: %d", name, next)
		}
	}
	var to, files, subject int
	many := []apptest.Said{apptest.Server("220 x\r\n")}
	for range maxTo + 10 {
		many = append(many, apptest.Client("RCPT TO:<x>\r\n"), apptest.Server("250 ok\r\n"))
	}
	many = append(many, apptest.Client("DATA\r\nSubject: x\r\n"+strings.Repeat(" "+strings.Repeat("y", 2000)+"\r\n", 50)+
		"\r\n"+strings.Repeat("Content-Disposition: x; filename=y\r\n", 100)+".\r\n"), apptest.Server("250 ok\r\n"))
	apptest.Stream(SMTP, 1000, func(f *app.Fact) {
		if m, ok := f.Body.(*Mail); ok {
			to, files, subject = len(m.To), len(m.Files), len(m.Subject)
		}
	}, many...)
	if to != maxTo || files != maxFiles || subject > 2*maxField+1 {
		t.Errorf("%d addresses, %d files, %d bytes of subject", to, files, subject)
	}
}

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		d    app.Dir
		text string
		want app.Verdict
	}{
		{app.Server, "220 an ESMTP server\r\n", app.Sure}, {app.Server, "220 hello\r\n", app.Likely}, {app.Server, "220 FTP\r\n", app.No},
		{app.Server, "554 go away\r\n", app.Likely}, {app.Server, "220-a\r\n", app.More}, {app.Server, "250 ok\r\n", app.No},
		{app.Client, "EHLO x\r\n", app.Sure}, {app.Client, "helo x\r\n", app.Sure}, {app.Client, "EH", app.More}, {app.Client, "EHLO x", app.More},
		{app.Client, "HEAD / HTTP/1.0\r\n", app.No}, {app.Client, "EHLO " + strings.Repeat("x", maxLine), app.No},
	} {
		if have := recognise(c.d, []byte(c.text)); have != c.want {
			t.Errorf("%.40q: %d", c.text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{
		"benign-mail__zeek__smtp.pcap": 12, "atk-exfil__jstrosch__b0f2d519ccae5bf1435264e0979770ce.pcap": 5, "atk-c2__ntop__emotet.pcap": 3,
	} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

func compare(t *testing.T, path string, least int) {
	t.Helper()
	var have, want, mails []string
	apptest.Run(t, path, []app.Protocol{SMTP}, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *Command:
			arg := m.Arg
			if m.Name == "AUTH" {
				arg = ""
			}
			have = append(have, fmt.Sprintf("%d %s %s %d", f.Flow.Client.Port(), m.Name, arg, m.Code))
		case *login.Attempt, *Mail, *Session:
			mails = append(mails, show(f))
		}
	})
	open := map[string]string{} // by connection, the command that has no answer yet
	for _, row := range apptest.Tshark(t, path, "smtp && (smtp.req.command || smtp.response.code)", "tcp.stream", "tcp.srcport", "smtp.req.command", "smtp.req.parameter", "smtp.response.code") {
		stream := row[0][0]
		if len(row[2]) > 0 {
			arg := strings.Join(row[3], "")
			if row[2][0] == "AUTH" {
				arg = ""
			}
			open[stream] = fmt.Sprintf("%s %s %s", row[1][0], row[2][0], arg)
			continue
		}
		if n, _ := strconv.Atoi(row[4][0]); n != 334 && n != 354 && open[stream] != "" {
			want = append(want, open[stream]+" "+row[4][0])
			open[stream] = ""
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < least {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d commands compared\n%s", len(want), strings.Join(mails, "\n"))
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, SMTP, talk) }
