package http1

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// follow writes the facts of a conversation, one a line. Parts of a body are joined.
func follow(size, carve int, talk ...apptest.Said) ([]string, app.Next) {
	var out []string
	bodies := map[string]int{} // place in out
	next := apptest.Stream(HTTP(Config{Carve: carve}), size, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *Request:
			out = append(out, strings.Clone(fmt.Sprintf("%d %s %s 1.%d %s %d %d", m.Number, m.Method, m.Target, m.Minor, m.Host, len(m.Headers), m.Length)))
		case *Response:
			out = append(out, strings.Clone(fmt.Sprintf("%d %d %s %s %d", m.Number, m.Status, m.Reason, m.ContentType, m.Length)))
		case *BodyPart:
			key := fmt.Sprint(f.Dir, m.Number)
			if m.Offset == 0 || len(out) == 0 {
				bodies[key] = len(out)
				out = append(out, "body ")
			}
			if m.Missing > 0 {
				out[bodies[key]] += fmt.Sprintf("<%d>", m.Missing)
			}
			out[bodies[key]] += string(m.Data)
		}
	}, talk...)
	return out, next
}

var conversation = []apptest.Said{
	apptest.Client("GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\n\r\nHEAD /h HTTP/1.1\r\nhost:example.com\r\n\r\n"),
	apptest.Server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"),
	apptest.Server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
	apptest.Client("POST /p HTTP/1.0\nContent-Length: 3\n\nabc\r\nGET / HTTP/1.1\r\n\r\n"),
	apptest.Server("HTTP/1.0 204 No Content\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nuntil the end"),
}

func TestConversation(t *testing.T) {
	want := []string{
		"1 GET /a?b=c 1.1 example.com 2 0", "2 HEAD /h 1.1 example.com 1 0",
		"1 100 Continue  0", "1 200 OK text/plain -1", "body hello world", "2 200 OK  1000",
		"3 POST /p 1.0  1 3", "body abc", "4 GET / 1.1  0 0",
		"3 204 No Content  0", "4 404 Not Found  -1", "body until the end",
	}
	for _, size := range []int{1, 2, 5, 64, 4096} {
		if have, next := follow(size, 1<<20, conversation...); !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d: %d\n%s\nwant\n%s", size, next, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestCarvingIsBounded(t *testing.T) {
	have, _ := follow(3, 4, apptest.Client("POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\n12345678GET / HTTP/1.1\r\n\r\n"))
	if want := []string{"1 POST / 1.1  1 8", "body 1234", "2 GET / 1.1  0 0"}; !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
	have, _ = follow(3, 0, apptest.Client("POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\n12345678GET / HTTP/1.1\r\n\r\n"))
	if want := []string{"1 POST / 1.1  1 8", "2 GET / 1.1  0 0"}; !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
}

func TestMissingBytes(t *testing.T) {
	get := "GET /x HTTP/1.1\r\n\r\n"
	tests := []struct {
		name string
		talk []apptest.Said
		want []string
	}{
		{"within a body", []apptest.Said{
			apptest.Server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"), {Dir: app.Server, Text: "fghijHTTP/1.1 204 x\r\n\r\n", Missing: 3},
		}, []string{"0 200 OK  10", "body ab<3>fghij", "0 204 x  0"}},
		{"beyond a body: the next head counts", []apptest.Said{
			apptest.Server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"), {Dir: app.Server, Text: "junk", Missing: 50}, apptest.Server("HTTP/1.1 204 x\r\n\r\n"),
		}, []string{"0 200 OK  10", "body ab", "0 204 x  0"}},
		{"within a head", []apptest.Said{
			apptest.Client("GET /lost HT"), {Text: "r: x\r\n\r\n", Missing: 9}, apptest.Client(get),
		}, []string{"1 GET /x 1.1  0 0"}},
		{"each packet cut short, as by a snap length", []apptest.Said{
			apptest.Client("GET /a HTTP/1.1\r\nHost: x\r\nUser-"), apptest.Server("HTTP/1.1 200 OK\r\nServer: s\r\nConte"),
			{Dir: app.Client, Text: "GET /b HTTP/1.1\r\nHo", Missing: 40}, {Dir: app.Server, Text: "HTTP/1.1 404 Not Found\r\nSe", Missing: 900},
		}, []string{"1 GET /a 1.1 x 1 0", "1 200 OK  -1", "2 GET /b 1.1  0 0", "2 404 Not Found  -1"}},
		{"a head whose end never comes", []apptest.Said{apptest.Client("GET /a HTTP/1.1\r\nHost: x\r\nUse")}, []string{"1 GET /a 1.1 x 1 0"}},
	}
	for _, test := range tests {
		if have, _ := follow(1000, 100, test.talk...); !slices.Equal(have, test.want) {
			t.Errorf("%s: %q, want %q", test.name, have, test.want)
		}
	}
}

func TestOtherProtocolsFollow(t *testing.T) {
	_, next := follow(1000, 0, apptest.Client("CONNECT example.com:443 HTTP/1.1\r\n\r\n"), apptest.Server("HTTP/1.1 200 OK\r\n\r\n"))
	if next != app.Again {
		t.Errorf("after CONNECT: %d", next)
	}
	for to, want := range map[string]app.Next{"websocket": app.Done, "h2c": app.Again, "other": app.Done} {
		_, next := follow(1000, 0, apptest.Client("GET / HTTP/1.1\r\n\r\n"), apptest.Server("HTTP/1.1 101 x\r\nUpgrade: "+to+"\r\n\r\n"))
		if next != want {
			t.Errorf("after an upgrade to %s: %d", to, next)
		}
	}
}

func TestLimits(t *testing.T) {
	long := "GET /" + strings.Repeat("a", 3*maxLine) + " HTTP/1.1\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 500) + "\r\n"
	have, _ := follow(700, 0, apptest.Client(long+"GET /b HTTP/1.1\r\n\r\n"))
	if len(have) != 2 || len(have[0]) > maxLine+100 || !strings.HasPrefix(have[0], "1 GET /aaa") || have[1] != "2 GET /b 1.1  0 0" {
		t.Errorf("%d facts: %.200q", len(have), have)
	}
	for _, length := range []string{"99999999999999999999", "-1", "5x"} {
		have, _ := follow(700, 0, apptest.Server("HTTP/1.1 200 OK\r\nContent-Length: "+length+"\r\n\r\nabc"))
		if len(have) != 1 || !strings.HasSuffix(have[0], " -1") {
			t.Errorf("%q", have)
		}
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		"GET / HTTP/1.1\r\n": app.Sure, "GE": app.More, "GET /abc": app.More, "GET /index\r\n": app.Likely,
		"OPTIONS sip:a@b SIP/2.0\r\n": app.No, "OPTIONS rtsp://x RTSP/1.0\r\n": app.No, "PRI * HTTP/2.0\r\n": app.No,
		"GETX / HTTP/1.1\r\n": app.No, "CONNECT a:443 HTTP/1.1\r\n": app.Sure, "EHLO x\r\n": app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
	for text, want := range map[string]app.Verdict{"HTTP/1.1 200 OK": app.Sure, "HTTP/1": app.More, "HTTP/2.0 200": app.No, "HTTP/1.1 2x0": app.No} {
		if have := recognise(app.Server, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, HTTP(Config{Carve: 100}), conversation) }
