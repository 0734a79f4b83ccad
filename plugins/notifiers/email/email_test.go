//go:build unix

package email

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/email") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/email"), sdktest.Options{
		Config: []byte(script(t, func(line string) (string, bool) { return polite(line), false })),
	})
}

var notice = sdk.Notice{
	ID:       "0198c5a2-7d3e-7c40-9a51-3b1f6f2f7a10",
	Time:     time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	Event:    "alert.firing",
	Severity: sdk.SeverityHigh,
	Title:    "Port scan from 192.0.2.7",
	Text:     "192.0.2.7 tried 1000 ports of 192.0.2.9 in 12 s.\n.\nA line with a dot alone must not end the mail; ä is not ASCII.",
	URL:      "https://picket.example.org/alerts/1?a=1&b=2",
	Alert: &sdk.Finding{
		ID: "f-1", Detector: "picket/portscan", Rule: "vertical", Severity: sdk.SeverityHigh, Risk: 70, Confidence: 0.9,
		Techniques: []string{"T1046"}, Src: "192.0.2.7", Dst: "192.0.2.9",
		Start: time.Date(2026, 3, 1, 11, 59, 48, 0, time.UTC), End: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Packets: []uint64{17, 18}, Flows: []sdk.FlowRef{{ID: 1}},
	},
}

func notify(t *testing.T, config string, what sdk.Notice) (sdk.Receipt, error) {
	t.Helper()
	n := New()
	plugintest.Start(t, n, config)
	return n.Notify(t.Context(), what)
}

// parts returns the bodies of a mail by their type.
func parts(t *testing.T, m *mail.Message) map[string]string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q: %v", m.Header.Get("Content-Type"), err)
	}
	out := map[string]string{}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		out[kind] = strings.ReplaceAll(string(body), "\r\n", "\n")
	}
}

func TestDelivery(t *testing.T) {
	s := startExim(t, eximOptions{})
	got, err := notify(t, s.config(t, map[string]any{"to": []string{"ops@example.org", "Nächte <night@example.org>"}}), notice)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logged(t))
	}
	if want := "<picket.notice.0198c5a2-7d3e-7c40-9a51-3b1f6f2f7a10@example.org>"; got.ForeignID != want {
		t.Errorf("receipt %+v, want %s", got, want)
	}
	m := s.mails(t, 2)[0] // one file for each recipient
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "[Picket] high: Port scan from 192.0.2.7" {
		t.Errorf("subject %q, %v", subject, err)
	}
	for name, want := range map[string]string{
		"From": `"Picket" <picket@example.org>`, "Message-Id": got.ForeignID, "Date": "Sun, 01 Mar 2026 12:00:00 +0000",
		"Auto-Submitted": "auto-generated", "References": "<picket.alert.f-1@example.org>",
	} {
		if m.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, m.Header.Get(name), want)
		}
	}
	if to, err := m.Header.AddressList("To"); err != nil || len(to) != 2 || to[1].Name != "Nächte" {
		t.Errorf("To: %v, %v", to, err)
	}
	bodies := parts(t, m)
	for _, want := range []string{notice.Title, notice.Text, notice.URL, "picket/portscan vertical", "T1046", "70 of 100, confidence 90 %", "2 packets, the first is number 17; 1 flows"} {
		if !strings.Contains(bodies["text/plain"], want) {
			t.Errorf("the plain part lacks %q:\n%s", want, bodies["text/plain"])
		}
	}
	if !strings.Contains(bodies["text/html"], `<a href="https://picket.example.org/alerts/1?a=1&amp;b=2">`) {
		t.Errorf("the HTML part lacks the link:\n%s", bodies["text/html"])
	}
	if log := s.logged(t); !strings.Contains(log, " P=esmtps X=TLS1") {
		t.Errorf("the mail was not encrypted on its way, or asks the next server for SMTPUTF8:\n%s", log)
	}
}

func TestWaysToConnect(t *testing.T) {
	login := map[string]any{"username": "picket", "password": "right"}
	with := func(base map[string]any, more map[string]any) map[string]any {
		out := map[string]any{}
		for _, m := range []map[string]any{base, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	t.Run("login", func(t *testing.T) {
		s := startExim(t, eximOptions{login: true})
		for _, c := range []struct {
			what   string
			config map[string]any
			class  sdk.Class // of the error; "" when it is delivered
			logged string
		}{
			{"starttls", login, "", "A=plain:picket"},
			{"tls", with(login, map[string]any{"tls": "tls", "port": s.smtps}), "", "A=plain:picket"},
			{"wrong password", with(login, map[string]any{"password": "wrong"}), sdk.Downstream, ""},
			{"no login", nil, sdk.Downstream, ""},
			{"in the clear: the password is not sent", with(login, map[string]any{"tls": "none"}), sdk.Downstream, ""},
		} {
			t.Run(c.what, func(t *testing.T) {
				_, err := notify(t, s.config(t, c.config), notice)
				if (err == nil) != (c.class == "") || err != nil && sdk.ClassOf(err) != c.class {
					t.Errorf("error %v\n%s", err, s.logged(t))
				}
				if c.logged != "" && !strings.Contains(s.logged(t), c.logged) {
					t.Errorf("the log lacks %q:\n%s", c.logged, s.logged(t))
				}
			})
		}
		s.mails(t, 2)
	})
	t.Run("none", func(t *testing.T) {
		s := startExim(t, eximOptions{noSTARTTLS: true, login: true, cram: true})
		if _, err := notify(t, s.config(t, with(login, map[string]any{"tls": "none"})), notice); err != nil {
			t.Errorf("a login that does not tell the password: %v\n%s", err, s.logged(t))
		}
		if _, err := notify(t, s.config(t, login), notice); sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "STARTTLS") {
			t.Errorf("a server without STARTTLS: %v", err)
		}
		s.mails(t, 1)
	})
}

func TestRefusals(t *testing.T) {
	s := startExim(t, eximOptions{})
	for _, c := range []struct {
		to    string
		class sdk.Class
		says  string
	}{
		{"refused@example.org", sdk.Downstream, "nobody of that name"},
		{"busy@example.org", sdk.Temporary, "try later"},
		{"someone@example.net", sdk.Downstream, "relay not permitted"},
	} {
		_, err := notify(t, s.config(t, map[string]any{"to": []string{"ops@example.org", c.to}}), notice)
		if sdk.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.to) {
			t.Errorf("%s: %v", c.to, err)
		}
	}
	large := notice
	large.Text = strings.Repeat("x", 2<<20)
	if _, err := notify(t, s.config(t, nil), large); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("a mail that is too large: %v", err)
	}
	s.mails(t, 0)
}

func TestRetryHasTheSameID(t *testing.T) {
	s := startExim(t, eximOptions{})
	n := New()
	plugintest.Start(t, n, s.config(t, nil))
	for range 2 {
		if _, err := n.Notify(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
	}
	m := s.mails(t, 2)
	if a, b := m[0].Header.Get("Message-Id"), m[1].Header.Get("Message-Id"); a != b || a == "" {
		t.Errorf("message ids %q and %q", a, b)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	s := startExim(t, eximOptions{})
	for what, config := range map[string]map[string]any{
		"starttls, another authority": {"ca_certificates": plugintest.NewAuthority(t).PEM},
		"tls, another authority":      {"ca_certificates": plugintest.NewAuthority(t).PEM, "tls": "tls", "port": s.smtps},
		"starttls, the system's":      {"ca_certificates": ""},
		"starttls, another name":      {"host": "localhost"},
	} {
		if _, err := notify(t, s.config(t, config), notice); sdk.ClassOf(err) != sdk.Downstream {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.mails(t, 0)
}

// What comes from the network is hostile: titles and texts must stay what they are.
func TestNothingBecomesAHeader(t *testing.T) {
	s := startExim(t, eximOptions{})
	hostile := notice
	hostile.ID = "x@y>\r\nBcc: eve@example.org"
	hostile.Title = "scan\r\nBcc: eve@example.org\r\n\r\n<script>alert(1)</script>"
	hostile.Text = "a\r\n.\r\nMAIL FROM:<eve@example.org>\r\n<img src=http://example.org/x> \x1b[31m"
	hostile.URL = "javascript:alert(1)"
	hostile.Alert = &sdk.Finding{ID: "<\r\nX: y", Src: "<b>\r\nno", Detector: "d"}
	if _, err := notify(t, s.config(t, nil), hostile); err != nil {
		t.Fatal(err)
	}
	m := s.mails(t, 1)[0]
	for _, name := range []string{"Bcc", "X"} {
		if m.Header.Get(name) != "" {
			t.Errorf("there is a header %s: %q", name, m.Header.Get(name))
		}
	}
	if id := m.Header.Get("Message-Id"); !strings.HasPrefix(id, "<picket.notice.") || strings.ContainsAny(strings.Trim(id, "<>"), "<> \r\n") {
		t.Errorf("message id %q", id)
	}
	bodies := parts(t, m)
	for _, bad := range []string{"<script", "<img", "<b>", `href="javascript:`} {
		if strings.Contains(bodies["text/html"], bad) {
			t.Errorf("the HTML part has %q:\n%s", bad, bodies["text/html"])
		}
	}
	if strings.Contains(bodies["text/plain"], "\x1b") {
		t.Error("the plain part has a control character")
	}
	if !strings.Contains(bodies["text/plain"], "\n.\nMAIL FROM:<eve@example.org>\n") {
		t.Errorf("the text was changed:\n%s", bodies["text/plain"])
	}
}

// script is a server that follows a script, for what a good server does not do.
func script(t *testing.T, answer func(line string) (reply string, hangUp bool)) (config string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go converse(conn, answer)
		}
	}()
	return fmt.Sprintf(`{"host": "127.0.0.1", "port": %d, "tls": "none", "from": "a@example.org", "to": ["b@example.org"], "timeout": "1s"}`, l.Addr().(*net.TCPAddr).Port)
}

func converse(conn net.Conn, answer func(string) (string, bool)) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	say := func(line string) bool {
		reply, hangUp := answer(line)
		if reply != "" {
			fmt.Fprintf(conn, "%s\r\n", reply)
		}
		return !hangUp
	}
	if !say("") {
		return
	}
	inData := false
	for lines.Scan() {
		if inData && lines.Text() != "." {
			continue
		}
		inData = strings.HasPrefix(lines.Text(), "DATA")
		if !say(lines.Text()) {
			return
		}
	}
}

// polite takes every mail.
func polite(line string) string {
	switch {
	case line == "":
		return "220 here"
	case strings.HasPrefix(line, "DATA"):
		return "354 go on"
	case strings.HasPrefix(line, "QUIT"):
		return "221 bye"
	}
	return "250 fine"
}

func TestServersThatBreakOff(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	at := func(command string, reply string) func(string) (string, bool) {
		return func(line string) (string, bool) {
			if line != "" && strings.HasPrefix(line, command) || command == "" && line == "" {
				return reply, true
			}
			return polite(line), false
		}
	}
	for _, c := range []struct {
		what   string
		answer func(string) (string, bool)
		class  sdk.Class // "" when it is delivered
	}{
		{"polite", func(line string) (string, bool) { return polite(line), false }, ""},
		{"hangs up at once", at("", ""), sdk.Temporary},
		{"is too busy", at("", "421 come back later"), sdk.Temporary},
		{"is the wrong one", at("", "554 no service"), sdk.Downstream},
		{"hangs up before the mail", at("DATA", ""), sdk.Temporary},
		{"hangs up with the mail in its hands", at(".", ""), sdk.Temporary},
		{"refuses the mail", at(".", "554 spam"), sdk.Downstream},
		{"takes the mail and hangs up", at(".", "250 taken"), ""},
		{"takes the mail and forgets its manners", func(line string) (string, bool) {
			if strings.HasPrefix(line, "RSET") || strings.HasPrefix(line, "QUIT") {
				return "500 what?", true
			}
			return polite(line), false
		}, ""},
		{"takes the mail and says no more", func(line string) (string, bool) {
			if strings.HasPrefix(line, "RSET") || strings.HasPrefix(line, "QUIT") {
				<-hang
			}
			return polite(line), false
		}, ""},
		{"says nothing", func(line string) (string, bool) { <-hang; return "", true }, sdk.Temporary},
		{"talks nonsense", at("", "hello"), sdk.Downstream},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := notify(t, script(t, c.answer), notice)
			if (err == nil) != (c.class == "") || err != nil && sdk.ClassOf(err) != c.class {
				t.Errorf("%+v, %s: %v", got, sdk.ClassOf(err), err)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	config := fmt.Sprintf(`{"host": "127.0.0.1", "port": %d, "from": "a@example.org", "to": ["b@example.org"]}`, freePort(t))
	if _, err := notify(t, config, notice); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNotGrantedIsDenied(t *testing.T) {
	n := New()
	plugintest.Start(t, n, script(t, func(line string) (string, bool) { return polite(line), false }))
	n.config.Port++
	if _, err := n.Notify(t.Context(), notice); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("error %v", err)
	}
}

func TestCancelledDelivery(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := New()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	plugintest.Start(t, n, script(t, func(line string) (string, bool) {
		if strings.HasPrefix(line, "MAIL") {
			cancel()
			<-hang
		}
		return polite(line), false
	}))
	if _, err := n.Notify(ctx, notice); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSubjects(t *testing.T) {
	c := Config{SubjectPrefix: "[Picket]"}
	for _, s := range []struct {
		notice sdk.Notice
		want   string
	}{
		{sdk.Notice{Event: "alert.firing", Severity: "low", Title: "A"}, "[Picket] low: A"},
		{sdk.Notice{Event: "alert.resolved", Severity: "low", Title: "A"}, "[Picket] resolved: A"},
		{sdk.Notice{Event: "test", Title: "A"}, "[Picket] test: A"},
		{sdk.Notice{Title: "a\tb\n\nc\x00d\u2028e"}, "[Picket] a b c d e"},
		{sdk.Notice{Title: "\xff"}, "[Picket] �"},
	} {
		if got := c.subject(s.notice); got != s.want {
			t.Errorf("%q, want %q", got, s.want)
		}
	}
	long := c.subject(sdk.Notice{Title: strings.Repeat("ä", 1000)})
	if n := len([]rune(long)); n != maxSubject || !strings.HasSuffix(long, "…") {
		t.Errorf("%d characters: %q", n, long)
	}
}

func TestConfigIsChecked(t *testing.T) {
	const good = `"host": "mail.example.org", "from": "a@example.org", "to": ["b@example.org"]`
	if err := plugintest.Decode(New(), `{`+good+`}`); err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{
		`{}`,
		`{"host": "mail.example.org", "from": "a", "to": ["b@example.org"]}`,
		`{"host": "mail.example.org", "from": "a@example.org", "to": []}`,
		`{"host": "mail.example.org", "from": "a@example.org", "to": ["b@example.org", "c"]}`,
		`{"host": "mail.example.org", "from": "a@exämple.org", "to": ["b@example.org"]}`,
		`{"host": "mail.example.org", "from": "a@example.org\r\nBcc: c@example.org", "to": ["b@example.org"]}`,
		`{"host": "mail.example.org", "from": "=?utf-8?q?a=0D=0Ab?= <a@example.org>", "to": ["b@example.org"]}`,
		`{"host": "unix:///run/x", "from": "a@example.org", "to": ["b@example.org"]}`,
		`{` + good + `, "tls": "maybe"}`,
		`{` + good + `, "username": "a"}`,
		`{` + good + `, "password": "a"}`,
		`{` + good + `, "subject_prefix": "a\nb"}`,
		`{` + good + `, "ca_certificates": "nothing"}`,
		`{` + good + `, "insecure": true}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// Whatever stands in a notice, the headers are those that we meant and the mail can be read.
func FuzzMessage(f *testing.F) {
	f.Add("id", "title", "text", "https://example.org/", "192.0.2.1")
	f.Add("a\r\nb", "a\r\nBcc: x@example.org", "\x00", "javascript:1", "\r\n\r\n")
	c := Config{From: "a@example.org", To: []string{"b@example.org"}, SubjectPrefix: "[Picket]"}
	f.Fuzz(func(t *testing.T, id, title, text, url, src string) {
		m, err := c.message(sdk.Notice{ID: id, Title: title, Text: text, URL: url, Event: src, Alert: &sdk.Finding{ID: title, Src: src}}, notice.Time)
		if err != nil {
			t.Fatal(err)
		}
		var raw bytes.Buffer
		if _, err := m.WriteTo(&raw); err != nil {
			t.Fatal(err)
		}
		got, err := mail.ReadMessage(&raw)
		if err != nil {
			t.Fatalf("%v\n%q", err, raw.String())
		}
		for name := range got.Header {
			switch name {
			case "From", "To", "Subject", "Message-Id", "Date", "Auto-Submitted", "References", "Mime-Version", "Content-Type":
			default:
				t.Errorf("header %s: %q", name, got.Header[name])
			}
		}
		parts(t, got)
	})
}
