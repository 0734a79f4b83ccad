package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/http2"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/sdk"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// An attachment is a file with its name, size, type and digest, whichever way its mail wrote it.
func TestAttachments(t *testing.T) {
	picture := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0, 1, 2, 3}, 3000)...)
	var lines strings.Builder
	for b := picture; len(b) > 0; {
		n := min(57, len(b))
		lines.WriteString(base64.StdEncoding.EncodeToString(b[:n]) + "\r\n")
		b = b[n:]
	}
	c, s := apptest.Client, apptest.Server
	m, got := gather(t, sdk.FactsFiles)
	p := protocolNamed("smtp")
	apptest.Stream(p, 100, m.take, s("220 mail\r\n"), c("EHLO me\r\n"), s("250 ok\r\n"), c("MAIL FROM:<a@example.com>\r\n"), s("250 ok\r\n"),
		c("DATA\r\n"), s("354 go\r\n"), c("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n"+
			"Content-Disposition: attachment; filename=\"..\\secret/pic.png\"\r\n\r\n"+lines.String()+"--b\r\n"+
			"Content-Disposition: attachment; filename=b.txt\r\n\r\nnot\r\nall"))
	m.closed(app.TestFlow(p, 6, m.take))
	flush(t, m)
	if len(got.Files) != 2 {
		t.Fatalf("%d files: %+v", len(got.Files), got.Files)
	}
	f := got.Files[0]
	if f.Protocol != "smtp" || f.Name != "pic.png" || f.Size != uint64(len(picture)) || f.Type != "image/png" || !f.Complete || f.FromServer ||
		f.SHA256 != digestOf(picture) || len(f.Begin) != beginning {
		t.Errorf("%+v", f)
	}
	if n := len(m.bodies.by) + m.bodies.bytes; n != 0 {
		t.Errorf("%d bytes wait", n)
	}
	if f = got.Files[1]; f.Name != "b.txt" || f.Complete {
		t.Errorf("%+v", f)
	}
}

// What a form says is short enough to be guessed by its digest; an attachment that says the same is not kept from anybody.
func TestDigestsOfSecrets(t *testing.T) {
	for protocol, want := range map[string]int{"http2": 0, "smtp": 64} {
		m, got := gather(t, sdk.FactsFiles)
		w, text := newWire(m, protocol, 1), []byte("user=ada&password=hunter2")
		if protocol == "smtp" {
			w.say(app.Client, &smtp.FilePart{Name: "x", First: true, Data: text, Last: true})
		} else {
			w.exchange(1, "/login", text, nil)
		}
		w.end()
		flush(t, m)
		if len(got.Files) != 1 || len(got.Files[0].SHA256) != want || string(got.Files[0].Begin) != "user=ada&passw" {
			t.Errorf("%s: %+v", protocol, got.Files)
		}
	}
}

// Of a mail whose attachments nobody wants more of no more are read.
func TestEnoughAttachments(t *testing.T) {
	told := 0
	m, err := New(Config{Kinds: []string{sdk.FactsFiles}, First: map[string]int{sdk.FactsFiles: 2}, Emit: Batches(func(_ string, b *sdk.Batch) error {
		told += len(b.Files)
		return nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(m, "smtp", 3)
	for range 5 {
		w.say(app.Client, &smtp.FilePart{Name: "x", First: true, Data: []byte("x"), Last: true})
	}
	w.end()
	flush(t, m)
	if told != 2 || m.ToldNoMore()[sdk.FactsFiles] != 1 {
		t.Errorf("%d files, %v", told, m.ToldNoMore())
	}
}

// exchange tells the facts of one exchange of HTTP/2.
func (w wire) exchange(stream uint32, path string, request, answer []byte, fields ...app.Field) {
	w.say(app.Client, &http2.Request{Stream: stream, Method: "POST", Path: path, Ends: request == nil})
	if request != nil {
		w.say(app.Client, &http2.BodyPart{Stream: stream, Data: request, Last: true})
	}
	w.say(app.Server, &http2.Response{Stream: stream, Status: "100"})
	w.say(app.Server, &http2.Response{Stream: stream, Status: "200", Headers: fields, Ends: answer == nil})
	if answer != nil {
		w.say(app.Server, &http2.BodyPart{Stream: stream, Data: answer, Last: true})
	}
}

// Bodies of HTTP/2 are files as those of HTTP/1 are, of several streams at the same time.
func TestStreams(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles)
	w := newWire(m, "http2", 3)
	page := []byte("<html><body>words")
	w.say(app.Client, &http2.Request{Stream: 9, Path: "/a/slow.bin?token=hunter2", Ends: true})
	w.say(app.Server, &http2.Response{Stream: 9, Status: "200", Headers: []app.Field{{Name: "content-length", Value: "10"}}})
	w.say(app.Server, &http2.BodyPart{Stream: 9, Data: []byte("01234")})
	w.exchange(1, "/x/page.html", nil, packed(t, "gzip", page), app.Field{Name: "content-encoding", Value: "gzip"})
	w.exchange(3, "/up", page, nil)
	w.exchange(5, "/call", nil, page, app.Field{Name: "content-disposition", Value: `attachment; filename="y/z.html"`})
	w.say(app.Client, &http2.Request{Stream: 7, Path: "/svc/Call", GRPC: true})
	w.say(app.Client, &http2.BodyPart{Stream: 7, Data: page, Last: true})
	w.say(app.Server, &http2.BodyPart{Stream: 9, Data: []byte("56789"), Last: true})
	w.say(app.Client, &http2.Request{Stream: 11, Path: "/broken", Ends: true})
	w.say(app.Server, &http2.Response{Stream: 11, Status: "200"})
	w.say(app.Server, &http2.BodyPart{Stream: 11, Data: page})
	w.say(app.Server, &http2.BodyPart{Stream: 11, Broken: true, Last: true})
	w.say(app.Server, &http2.BodyPart{Stream: 99, Data: page, Last: true})
	if n := len(m.bodies.of(3).streams); n != 0 {
		t.Errorf("%d streams are kept", n)
	}
	w.end()
	flush(t, m)
	var have []string
	for _, f := range got.Files {
		if f.Protocol != "http2" || len(f.SHA256) != 64 {
			t.Errorf("%+v", f)
		}
		have = append(have, fmt.Sprintf("%s %d of %d, whole %t, from server %t", f.Name, f.Size, f.Expected, f.Complete, f.FromServer))
	}
	want := []string{
		"page.html 17 of 0, whole true, from server true", "up 17 of 0, whole true, from server false", "z.html 17 of 0, whole true, from server true",
		"slow.bin 10 of 10, whole true, from server true", "broken 17 of 0, whole false, from server true",
	}
	if !slices.Equal(have, want) || got.Files[0].SHA256 != digestOf(page) {
		t.Errorf("%s", strings.Join(have, "\n"))
	}
	if n := len(m.bodies.by) + m.bodies.bytes; n != 0 {
		t.Errorf("%d bytes wait", n)
	}
}

// A file for which the connection that has it must make room is given up, with what it had open.
func TestAFileOfTheOldestConnection(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles)
	w := newWire(m, "smb", 1)
	w.say(app.Server, &smb.FilePart{File: 1, Name: "first", Data: []byte("x")})
	m.bodies.open(2)
	m.bodies.grew(2, joinBytes-m.bodies.bytes)
	for part := range uint64(3) {
		w.say(app.Server, &smb.FilePart{File: 2, Name: "second", Data: []byte("y"), Last: part == 2})
		if m.bodies.bytes > joinBytes {
			t.Fatalf("%d bytes wait", m.bodies.bytes)
		}
	}
	w.end()
	m.bodies.end(2)
	flush(t, m)
	if len(got.Files) == 0 || got.Files[0].Name != "first" || m.bodies.bytes != 0 || len(m.bodies.by) != 0 {
		t.Errorf("%d files, %d bytes wait", len(got.Files), m.bodies.bytes)
	}
}

// What open streams hold is bounded, of one connection and of all.
func TestStreamsAreBounded(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles)
	const flows = 400
	for flow := range uint64(flows) {
		w := newWire(m, "http2", 1+flow)
		for stream := range uint32(3 * maxStreams) {
			w.say(app.Client, &http2.Request{Stream: 1 + stream, Path: "/x"})
			w.say(app.Client, &http2.BodyPart{Stream: 1 + stream, Data: []byte("x")})
			w.say(app.Server, &http2.Response{Stream: 1 + stream, Status: "200"})
			w.say(app.Server, &http2.BodyPart{Stream: 1 + stream, Data: []byte("y")})
		}
		if s := m.bodies.of(1 + flow); m.bodies.bytes > joinBytes || s != nil && len(s.streams) > maxStreams {
			t.Fatalf("%d bytes wait", m.bodies.bytes)
		}
	}
	for flow := range uint64(flows) {
		newWire(m, "http2", 1+flow).end()
	}
	flush(t, m)
	if n := len(got.Files); n != flows*3*maxStreams*2 || m.bodies.bytes != 0 || len(m.bodies.by) != 0 {
		t.Errorf("%d files, %d bytes wait", n, m.bodies.bytes)
	}
}
