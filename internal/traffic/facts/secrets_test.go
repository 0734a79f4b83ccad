package facts

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/sdk"
)

func TestRedacted(t *testing.T) {
	for text, want := range map[string]string{
		"":                                         "",
		"/index.html?page=3&lang=en":               "/index.html?page=3&lang=en",
		"/login?user=ada&password=hunter2&x=1":     "/login?user=ada&password=[redacted:7]&x=1",
		"/x?TOKEN=a,b;c":                           "/x?TOKEN=[redacted:5]",
		"/x?access_token=ab&api-key=c#sig=d":       "/x?access_token=[redacted:2]&api-key=[redacted:1]#sig=[redacted:1]",
		"/x?user[password]=ab&user%5Bpass%5D=c":    "/x?user[password]=[redacted:2]&user%5Bpass%5D=[redacted:1]",
		"/x?keyword=a&monkey=b&passport=c":         "/x?keyword=a&monkey=b&passport=c",
		"/x?token=":                                "/x?token=",
		"/x?next=%2Fy%3Ftoken%3Dabc%26page%3D2":    "/x?next=%2Fy%3Ftoken%3D[redacted:3]%26page%3D2",
		"/x;jsessionid=AB?y=1":                     "/x;jsessionid=[redacted:6]",
		"http://ada:hunter2@a.example/x":           "http://[redacted:11]@a.example/x",
		"ftp://tok@a.example":                      "ftp://[redacted:3]@a.example",
		"http://a:p@ss@b.example/x@y":              "http://[redacted:6]@b.example/x@y",
		"a?b=http://u:p@h/&token=x":                "a?b=http://[redacted:3]@h/&token=[redacted:1]",
		"sip:ada@a.example":                        "sip:ada@a.example",
		"<sip:ada:pw@a.example>;tag=1":             "<sip:ada:[redacted:2]@a.example>;tag=1",
		"MSSQLSvc/db.example:1433@EXAMPLE":         "MSSQLSvc/db.example:1433@EXAMPLE",
		"mail ada@a.example":                       "mail ada@a.example",
		`<https://a/?sig=ab>; rel="next"`:          `<https://a/?sig=[redacted:2]>; rel="next"`,
		`x; secret="a b" y`:                        `x; secret=[redacted:5] y`,
		`x; secret="a b`:                           `x; secret=[redacted:4]`,
		"token=a token=b":                          "token=[redacted:1] token=[redacted:1]",
		"X-Amz-Signature=ab&X-Amz-Expires=60":      "X-Amz-Signature=[redacted:2]&X-Amz-Expires=60",
		"%3d%3D%3":                                 "%3d%3D%3",
		strings.Repeat("n", 200) + "password=abcd": strings.Repeat("n", 200) + "password=[redacted:4]",
	} {
		if got := redacted(text); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", text, got, want)
		}
	}
}

// TestRedactedIsLinear hides nothing in long texts, in which a look back to the beginning from each place would take seconds.
func TestRedactedIsLinear(t *testing.T) {
	begin := time.Now()
	for _, one := range []string{"@", "a@", "%3d"} {
		long := strings.Repeat(one, 1<<17)
		if got := redacted(long); got != long {
			t.Errorf("%s... became %s...", long[:32], got[:32])
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestBeforeSecrets has bytes before the name that are longer or shorter as small letters.
func TestBeforeSecrets(t *testing.T) {
	for _, before := range []string{"", "user=Ada&", strings.Repeat("\xff", 40), strings.Repeat("\u212a", 20), strings.Repeat("\u023a", 20)} {
		got, named := beforeSecrets([]byte(before + "PASSWord=hunter2"))
		if string(got) != before+"PASSW" || !named {
			t.Errorf("behind %q: %q, %v", before, got, named)
		}
	}
	if got, named := beforeSecrets([]byte("nothing\xff")); string(got) != "nothing\xff" || named {
		t.Errorf("%q, %v", got, named)
	}
}

func FuzzRedacted(f *testing.F) {
	f.Add("/x?a=b&", "hunter2", "&c=d")
	f.Add("http://a:b@c/?x=%26", "q", "@\"")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		if len(before)+len(secret)+len(after) > 4096 || strings.ContainsAny(secret, " \"&#<>%@") || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' }) {
			return
		}
		text := before + "&token=" + secret + "&" + after
		got := redacted(text)
		if again := redacted(text); again != got {
			t.Fatalf("%q became %q, then %q", text, got, again)
		}
		if strings.Contains(got, "&token="+secret+"&") && secret != "" && !strings.HasPrefix(secret, "[redacted:") {
			t.Fatalf("%q became %q", text, got)
		}
		redacted(before + "@" + secret + "=" + after)
	})
}

const (
	password = "hunter2-in-the-clear"
	bearer   = "8f3bc1d2e4f5a697"
)

// leaks returns which of the secrets a record tells, as they are or in base64.
func leaks(t *testing.T, b *sdk.Batch) (found []string) {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{password, bearer} {
		for at := range 3 { // base64 of the same bytes depends on what stands before them
			coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", at) + secret))
			if strings.Contains(string(text), coded[4:len(coded)-4]) {
				found = append(found, "coded "+secret)
			}
		}
		if strings.Contains(string(text), secret) || strings.Contains(string(text), strings.ToUpper(secret)) {
			found = append(found, secret)
		}
	}
	return found
}

// letters is a password that is typed, one packet each.
func letters(s string) (talk []apptest.Said) {
	for _, c := range s {
		talk = append(talk, apptest.Client(string(c)))
	}
	return talk
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Whatever a client sends to log in, in whatever protocol, its password leaves the parsers in no record.
func TestPasswordsStayInTheWorker(t *testing.T) {
	c, s := apptest.Client, apptest.Server
	get := func(target string, fields ...string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: a.example\r\n" + strings.Join(append(fields, "", ""), "\r\n")
	}
	ok := s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nLocation: /?session_token=" + bearer + "\r\nSet-Cookie: id=" + bearer + "\r\n\r\n")
	post := func(kind, body string) string {
		return get("/login", "Content-Type: "+kind, "Content-Length: "+strconv.Itoa(len(body))) + body
	}
	for name, c := range map[string]struct {
		protocol string
		talk     []apptest.Said
		records  int // at least
	}{
		"ftp":              {"ftp", []apptest.Said{s("220 hi\r\n"), c("USER ada\r\n"), s("331 more\r\n"), c("PASS " + password + "\r\n"), s("530 no\r\n")}, 2},
		"ftp, mistyped":    {"ftp", []apptest.Said{s("220 hi\r\n"), c("pass  " + password + "\r\n"), s("503 first USER\r\n"), c("ACCT " + password + "\r\n"), s("530 no\r\n")}, 1},
		"ftp, no answer":   {"ftp", []apptest.Said{s("220 hi\r\n"), c("USER ada\r\nPASS " + password + "\r\nQUIT\r\n")}, 1},
		"smtp plain":       {"smtp", []apptest.Said{s("220 hi\r\n"), c("EHLO a\r\n"), s("250 AUTH PLAIN\r\n"), c("AUTH PLAIN " + b64("\x00ada\x00"+password) + "\r\n"), s("535 no\r\n")}, 2},
		"smtp login":       {"smtp", []apptest.Said{s("220 hi\r\n"), c("EHLO a\r\n"), s("250 ok\r\n"), c("AUTH LOGIN\r\n"), s("334 VXNlcm5hbWU6\r\n"), c(b64("ada") + "\r\n"), s("334 UGFzc3dvcmQ6\r\n"), c(b64(password) + "\r\n"), s("235 ok\r\n")}, 2},
		"smtp, no answer":  {"smtp", []apptest.Said{s("220 hi\r\n"), c("EHLO a\r\n"), s("250 ok\r\n"), c("AUTH LOGIN\r\n" + b64("ada") + "\r\n" + b64(password) + "\r\n"), c("QUIT\r\n")}, 1},
		"imap":             {"imap", []apptest.Said{s("* OK hi\r\n"), c("a1 LOGIN ada " + password + "\r\n"), s("a1 NO no\r\n")}, 2},
		"imap quoted":      {"imap", []apptest.Said{s("* OK hi\r\n"), c("a1 login \"ada\" \"" + password + "\"\r\n"), s("a1 OK\r\n")}, 2},
		"imap literal":     {"imap", []apptest.Said{s("* OK hi\r\n"), c("a1 LOGIN {3}\r\n"), s("+ go\r\n"), c("ada {20}\r\n"), s("+ go\r\n"), c(password + "\r\n"), s("a1 OK\r\n")}, 1},
		"imap plain":       {"imap", []apptest.Said{s("* OK hi\r\n"), c("a1 AUTHENTICATE PLAIN\r\n"), s("+ \r\n"), c(b64("\x00ada\x00"+password) + "\r\n"), s("a1 OK\r\n")}, 2},
		"pop3":             {"pop3", []apptest.Said{s("+OK hi\r\n"), c("USER ada\r\n"), s("+OK\r\n"), c("PASS " + password + "\r\n"), s("-ERR no\r\n")}, 1},
		"pop3 plain":       {"pop3", []apptest.Said{s("+OK hi\r\n"), c("AUTH PLAIN " + b64("\x00ada\x00"+password) + "\r\n"), s("+OK\r\n")}, 1},
		"pop3, no answer":  {"pop3", []apptest.Said{s("+OK hi\r\n"), c("USER ada\r\nPASS " + password + "\r\nSTAT\r\n")}, 0},
		"telnet":           {"telnet", []apptest.Said{s("\xff\xfd\x18login: "), c("ada\r\n"), s("ada\r\nPassword: "), c(password + "\r\n"), s("\r\nLogin incorrect\r\nlogin: ")}, 1},
		"telnet, by byte":  {"telnet", append(append([]apptest.Said{s("\xff\xfd\x18login: "), c("ada\r\n"), s("\r\nPassword: ")}, letters(password)...), c("\r\n"), s("\r\nWelcome\r\n$ ")), 1},
		"http basic":       {"http", []apptest.Said{c(get("/", "Authorization: Basic "+b64("ada:"+password))), ok}, 2},
		"http bearer":      {"http", []apptest.Said{c(get("/", "Authorization: Bearer "+bearer, "X-Vault-Token: "+bearer)), ok}, 2},
		"http query":       {"http", []apptest.Said{c(get("/x?user=ada&password=" + password + "&token=" + bearer)), ok}, 1},
		"http referer":     {"http", []apptest.Said{c(get("/", "Referer: http://ada:"+password+"@a.example/?access_token="+bearer)), ok}, 1},
		"http proxied":     {"http", []apptest.Said{c(get("http://ada:" + password + "@a.example/")), ok}, 1},
		"http other field": {"http", []apptest.Said{c(get("/", "X-Original-Url: /x?api_key="+bearer, "X-Corp-Token: "+bearer)), ok}, 1},
		"http form":        {"http", []apptest.Said{c(post("application/x-www-form-urlencoded", "password="+password)), ok}, 2},
		"http json":        {"http", []apptest.Said{c(post("application/json", `{"password": "`+password+`"}`)), ok}, 2},
		"http answer":      {"http", []apptest.Said{c(get("/")), s("HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n" + `{"access_token":"` + bearer + `"}`)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 3} {
				m, got := gather(t, sdk.FactKinds...)
				said := 0
				m.heard = func(*app.Fact) { said++ }
				p := protocolNamed(c.protocol)
				apptest.Stream(p, size, m.take, c.talk...)
				m.closed(app.TestFlow(p, 6, m.take))
				flush(t, m)
				n := len(got.HTTP) + len(got.Logins) + len(got.Messages) + len(got.Files)
				if found := leaks(t, got); len(found) > 0 || n < c.records {
					t.Errorf("in parts of %d: %d records of %d facts tell %q: %+v", size, n, said, found, got)
				}
			}
		})
	}
}

// What CONNECT asks for is a host, before which a password may stand.
func TestConnectTellsNoPassword(t *testing.T) {
	m, all := gather(t, sdk.FactsHTTP, sdk.FactsFiles)
	one, two := newWire(m, "http", 1), newWire(m, "http2", 2)
	const target = "ada:hunter2@a.example:443"
	one.say(app.Client, &http1.Request{Number: 1, Method: "CONNECT", Target: target, Host: target, Headers: []app.Field{{Name: "Host", Value: target}}})
	one.say(app.Server, &http1.Response{Number: 1, Status: 407, Length: 2})
	one.say(app.Server, &http1.BodyPart{Data: []byte("no"), Last: true})
	one.say(app.Client, &http1.Request{Number: 2, Method: "connect", Target: "a.example:443"})
	two.say(app.Client, &http2.Request{Stream: 1, Method: "CONNECT", Authority: target, Path: target})
	two.say(app.Server, &http2.Response{Stream: 1, Status: "407"})
	two.say(app.Server, &http2.BodyPart{Stream: 1, Data: []byte("no"), Last: true})
	one.end()
	two.end()
	flush(t, m)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.HTTP) != 3 || len(all.Files) != 2 || strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "ada") {
		t.Errorf("%d exchanges, %d files: %s", len(all.HTTP), len(all.Files), text)
	}
	for _, x := range all.HTTP {
		if want := map[uint32]string{1: "[redacted:11]@a.example:443", 2: "a.example:443"}[x.Number]; x.Target != want {
			t.Errorf("%s %s, want %s", x.Method, x.Target, want)
		}
	}
}
