package http2

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// writer writes frames as x/net does.
type writer struct {
	bytes.Buffer
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
}

func newWriter() *writer {
	w := &writer{}
	w.framer = http2.NewFramer(&w.Buffer, nil)
	w.enc = hpack.NewEncoder(&w.block)
	return w
}

// head writes a head in parts of at most size bytes.
func (w *writer) head(tb testing.TB, stream uint32, size int, fields ...string) {
	tb.Helper()
	w.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := w.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			tb.Fatal(err)
		}
	}
	b := w.block.Bytes()
	first := b[:min(size, len(b))]
	err := w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(first) == len(b), PadLength: 3})
	for b = b[len(first):]; len(b) > 0 && err == nil; {
		n := min(size, len(b))
		err = w.framer.WriteContinuation(stream, n == len(b), b[:n])
		b = b[n:]
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// conversation has two requests, and bodies of so many bytes.
func conversation(tb testing.TB, body int) []apptest.Said {
	tb.Helper()
	c, s := newWriter(), newWriter()
	c.WriteString(preface)
	must(tb, c.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 65536}))
	c.head(tb, 1, 5, ":method", "GET", ":scheme", "http", ":authority", "example.com", ":path", "/a", "user-agent", "test")
	c.head(tb, 3, 1000, ":method", "POST", ":scheme", "http", ":authority", "example.com", ":path", "/pkg.Service/Call", "content-type", "application/grpc+proto")
	must(tb, c.framer.WriteData(3, true, make([]byte, body)))
	must(tb, s.framer.WriteSettings())
	s.head(tb, 1, 1000, ":status", "200", "content-type", "text/html")
	must(tb, s.framer.WriteData(1, true, make([]byte, body)))
	s.head(tb, 3, 1000, ":status", "200", "content-type", "application/grpc")
	s.head(tb, 3, 3, "grpc-status", "12")
	return []apptest.Said{apptest.Client(c.String()), apptest.Server(s.String())}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func text(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Request:
		return fmt.Sprint(m.Stream, " ", m.Method, " ", m.Authority, m.Path, " ", len(m.Headers), " ", m.GRPC)
	case *Response:
		return fmt.Sprint(m.Stream, " ", m.Status, " ", m.ContentType, " ", m.GRPCStatus, " ", m.Trailers)
	}
	return "?"
}

func TestConversation(t *testing.T) {
	want := []string{
		"1 GET example.com/a 5 false", "3 POST example.com/pkg.Service/Call 5 true",
		"1 200 text/html  false", "3 200 application/grpc  false", "3   12 true",
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(HTTP2, size, func(f *app.Fact) { have = append(have, text(f)) }, conversation(t, 10_000)...)
		if !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

func TestHostile(t *testing.T) {
	head := func(kind, flags byte, stream byte, b string) string {
		return string([]byte{0, byte(len(b) >> 8), byte(len(b)), kind, flags, 0, 0, 0, stream}) + b
	}
	for name, said := range map[string]string{
		"wrong preface":           "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
		"padding beyond":          preface + head(1, flagPadded|flagEndHeaders, 1, "\xffab"),
		"priority cut":            preface + head(1, flagPriority|flagEndHeaders, 1, "ab"),
		"continuation of nothing": preface + head(9, flagEndHeaders, 1, "ab"),
		"other frame in a head":   preface + head(1, 0, 1, "\x82") + head(0, 0, 1, "ab"),
		"head of stream 0":        preface + head(1, flagEndHeaders, 0, "\x82"),
		"index of nothing":        preface + head(1, flagEndHeaders, 1, "\xff\xff\xff\xff\x0f"),
		"frame too long":          preface + "\xff\xff\xff\x01\x04\x00\x00\x00\x01",
		"head without end":        preface + head(1, 0, 1, strings.Repeat("\x82", 60_000)) + head(9, 0, 1, strings.Repeat("\x82", 60_000)),
	} {
		facts := 0
		if next := apptest.Stream(HTTP2, 1000, func(*app.Fact) { facts++ }, apptest.Client(said)); next != app.Done || facts > 0 {
			t.Errorf("%s: %d, %d facts", name, next, facts)
		}
	}
}

func TestMissingBytes(t *testing.T) {
	data := preface + "\x00\x00\x64\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 40)
	w := newWriter()
	w.head(t, 1, 1000, ":method", "GET", ":path", "/")
	for missing, want := range map[int]app.Next{50: app.Continue, 70: app.Done} {
		facts := 0
		next := apptest.Stream(HTTP2, 1000, func(*app.Fact) { facts++ }, apptest.Client(data), apptest.Said{Text: strings.Repeat("x", 10) + w.String(), Missing: missing})
		if next != want || want == app.Continue && facts != 1 {
			t.Errorf("%d bytes are missing: %d, %d facts", missing, next, facts)
		}
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{preface: app.Sure, "PRI": app.More, "PRINT": app.No, preface[:16]: app.Sure} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
	for text, want := range map[string]app.Verdict{
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03": app.Likely, "\x00\x00\x06\x04\x00": app.More,
		"\x00\x00\x05\x04\x00\x00\x00\x00\x00": app.No, "\x00\x00\x06\x04\x00\x00\x00\x00\x01": app.No,
	} {
		if have := recognise(app.Server, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, port := range map[string]string{
		"benign-http2__arkime__http2-nghttp2.pcap": "80", "benign-http2__OISF__http2-keywords.pcap": "3000", "benign-grpc__selfmade__grpc-health-loopback.pcap": "50051",
	} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			var have, want []string
			apptest.Run(t, path, []app.Protocol{HTTP2}, func(f *app.Fact) {
				switch m := f.Body.(type) {
				case *Request:
					have = append(have, fmt.Sprintf("%s %s %s", m.Method, m.Authority, m.Path))
				case *Response:
					if !m.Trailers {
						have = append(have, m.Status)
					}
				}
			})
			for _, row := range apptest.TsharkWith(t, []string{"-d", "tcp.port==" + port + ",http2"}, path, "http2.headers.method || http2.headers.status",
				"http2.headers.method", "http2.headers.authority", "http2.headers.path", "http2.headers.status") {
				for i, method := range row[0] {
					want = append(want, fmt.Sprintf("%s %s %s", method, row[1][i], row[2][i]))
				}
				want = append(want, row[3]...)
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) || len(want) < 2 {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
			}
			t.Log(strconv.Itoa(len(want)), "heads compared")
		})
	}
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, HTTP2, conversation(f, 20)) }

// bodiesOf is what a conversation hands out, by direction and stream.
func bodiesOf(size int, talk ...apptest.Said) map[string]string {
	out := map[string]string{}
	apptest.Stream(Carving, size, func(f *app.Fact) {
		if p, ok := f.Body.(*BodyPart); ok {
			key := fmt.Sprint(f.Dir, " ", p.Stream)
			if out[key] += string(p.Data); p.Missing > 0 {
				out[key] += fmt.Sprintf("[%d lost]", p.Missing)
			}
			if p.Last {
				out[key] += map[bool]string{false: ".", true: "!"}[p.Broken]
			}
		}
	}, talk...)
	return out
}

// exchanges are requests whose bodies come in turns, with and without padding, trailers and an end.
func exchanges(tb testing.TB) []apptest.Said {
	tb.Helper()
	c, s := newWriter(), newWriter()
	c.WriteString(preface)
	must(tb, c.framer.WriteSettings())
	must(tb, s.framer.WriteSettings())
	for stream := uint32(1); stream <= 9; stream += 2 {
		c.head(tb, stream, 1000, ":method", "POST", ":path", "/f")
		s.head(tb, stream, 1000, ":status", "200")
	}
	for _, part := range []string{"one ", "two ", "three "} {
		must(tb, c.framer.WriteDataPadded(1, false, []byte(part), make([]byte, 5)))
		must(tb, c.framer.WriteData(3, false, []byte(strings.ToUpper(part))))
	}
	must(tb, c.framer.WriteData(1, true, nil))
	must(tb, c.framer.WriteDataPadded(3, true, nil, make([]byte, 200)))
	must(tb, c.framer.WriteData(5, false, []byte("half")))
	must(tb, c.framer.WriteRSTStream(5, http2.ErrCodeCancel))
	must(tb, s.framer.WriteData(7, false, []byte("with trailers")))
	must(tb, s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, EndHeaders: true, EndStream: true}))
	must(tb, s.framer.WriteDataPadded(9, true, []byte("last"), make([]byte, 255)))
	return []apptest.Said{apptest.Client(c.String()), apptest.Server(s.String())}
}

func TestBodies(t *testing.T) {
	want := map[string]string{
		fmt.Sprint(app.Client, " 1"): "one two three .", fmt.Sprint(app.Client, " 3"): "ONE TWO THREE .", fmt.Sprint(app.Client, " 5"): "half!",
		fmt.Sprint(app.Server, " 5"): "!", fmt.Sprint(app.Server, " 7"): "with trailers.", fmt.Sprint(app.Server, " 9"): "last.",
	}
	for _, size := range []int{1, 3, 1 << 20} {
		if have := bodiesOf(size, exchanges(t)...); !maps.Equal(have, want) {
			t.Errorf("in pieces of %d: %q", size, have)
		}
	}
	apptest.Stream(HTTP2, 1<<20, func(f *app.Fact) {
		if _, ok := f.Body.(*BodyPart); ok {
			t.Error("a body that nobody asked for")
		}
	}, exchanges(t)...)
}

// Bytes that are lost in a body are told, and what comes behind them is read.
func TestBodiesWithHoles(t *testing.T) {
	talk := exchanges(t)
	server := talk[1].Text
	at := strings.Index(server, "trailers")
	talk = []apptest.Said{talk[0], apptest.Server(server[:at]), {Dir: app.Server, Text: server[at+4:], Missing: 4}}
	have := bodiesOf(1<<20, talk...)
	if have[fmt.Sprint(app.Server, " 7")] != "with [4 lost]lers." || have[fmt.Sprint(app.Server, " 9")] != "last." {
		t.Errorf("%q", have)
	}
}

func FuzzCarving(f *testing.F) {
	apptest.FuzzStream(f, Carving, conversation(f, 20), exchanges(f))
}
