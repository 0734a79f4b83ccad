package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
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

// Of a mail whose attachments nobody wants more of no more are read.
func TestEnoughAttachments(t *testing.T) {
	told := 0
	m, err := New(Config{Kinds: []string{sdk.FactsFiles}, First: map[string]int{sdk.FactsFiles: 2}, Emit: func(_ string, b *sdk.Batch) error {
		told += len(b.Files)
		return nil
	}})
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
