package smtp

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// carved is what a conversation hands out: each file with its name, content and how it ended.
func carved(size int, talk ...apptest.Said) (files []string) {
	var name, content, missing string
	open := false
	ended := func(how string) {
		if open {
			files = append(files, fmt.Sprintf("%s: %q%s%s", name, content, missing, how))
		}
		open = false
	}
	apptest.Stream(Carving, size, func(f *app.Fact) {
		p, ok := f.Body.(*FilePart)
		if !ok {
			return
		}
		if p.First {
			ended(", no end")
			name, content, missing, open = p.Name, "", "", true
		}
		if content += string(p.Data); p.Missing {
			missing = ", holes"
		}
		if p.Last {
			ended("")
		}
	}, talk...)
	ended(", no end")
	return files
}

// mailed is a conversation that sends a mail.
func mailed(lines ...string) []apptest.Said {
	return []apptest.Said{
		apptest.Server("220 mail ESMTP\r\n"), apptest.Client("EHLO me\r\n"), apptest.Server("250 ok\r\n"),
		apptest.Client("MAIL FROM:<a@example.com>\r\n"), apptest.Server("250 ok\r\n"), apptest.Client("DATA\r\n"), apptest.Server("354 go\r\n"),
		apptest.Client(strings.Join(append(lines, ".", ""), "\r\n")), apptest.Server("250 queued\r\n"),
	}
}

var (
	binary = string([]byte{0, 1, 2, 0xff, 0xfe, 'M', 'Z', 7, 8, 9})
	coded  = base64.StdEncoding.EncodeToString([]byte(binary))
	mixed  = []string{
		"Subject: files", "Content-Type: multipart/mixed;", ` boundary="outer"`, "", "this is for no reader",
		"--outer", "Content-Type: text/plain", "", "no file", "--outer", "Content-Type: application/x-thing; name=thing.bin",
		"Content-Transfer-Encoding: BASE64", "Content-Disposition: attachment;", "\tfilename=\"a thing.bin\"", "", coded[:5], coded[5:], "",
		"--outer", "Content-Type: multipart/alternative; boundary=inner", "", "--inner", "Content-Disposition: attachment; filename=q.txt",
		"Content-Transfer-Encoding: quoted-printable", "", "caf=C3=A9 =3D 1=", "23", "=zz", "--inner--", "--nothing", "--outer",
		"Content-Disposition: attachment; filename=\"=?utf-8?q?=C3=BC.txt?=\"", "", "one", "..two", "--outer--", "behind",
	}
)

func TestAttachments(t *testing.T) {
	want := []string{fmt.Sprintf("a thing.bin: %q", binary), `q.txt: "café = 123\r\n=zz"`, `ü.txt: "one\r\n.two"`}
	for _, size := range []int{1, 5, 1 << 20} {
		if have := carved(size, mailed(mixed...)...); !slices.Equal(have, want) {
			t.Errorf("in pieces of %d:\n%s", size, strings.Join(have, "\n"))
		}
	}
	if have := carved(9, talk...); len(have) != 0 {
		t.Errorf("of a mail with one that only looks like it: %q", have)
	}
}

// What is no proper mail gives what can be had of it.
func TestBrokenAttachments(t *testing.T) {
	head := []string{"Content-Disposition: attachment; filename=x", "Content-Transfer-Encoding: base64"}
	deep := []string{}
	for i := range 2 * maxDepth {
		deep = append(deep, fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d", i), "", fmt.Sprintf("--b%d", i))
	}
	for name, c := range map[string]struct {
		lines []string
		want  []string
	}{
		"alone":            {append(head, "", "QUJD", "REVG"), []string{`x: "ABCDEF"`}},
		"alone and plain":  {append(head[:1:1], "", "one"), []string{`x: "one\r\n"`}},
		"not base64":       {append(head, "", "Q!!!", "REVG"), []string{`x: "DEF", holes`}},
		"ends in between":  {append(head, "", "QUJDR"), []string{`x: "ABC", holes`}},
		"no name":          {[]string{"Content-Disposition: attachment", "", "one"}, []string{`: "one\r\n"`}},
		"inline":           {[]string{"Content-Disposition: inline", "", "one"}, nil},
		"bad field":        {[]string{"Content-Disposition: attachment; filename", "Content-Type: ;;;", "", "one"}, []string{`: "one\r\n"`}},
		"a long line":      {append(head[:1:1], "", strings.Repeat("x", 2*maxLine)), []string{fmt.Sprintf(`x: "%s\r\n", holes`, strings.Repeat("x", maxLine))}},
		"no last boundary": {[]string{"Content-Type: multipart/mixed; boundary=b", "", "--b", head[0], "", "one"}, []string{`x: "one", no end`}},
		"too deep":         {append(deep, head[0], "", "one"), nil},
	} {
		if have := carved(1<<20, mailed(c.lines...)...); !slices.Equal(have, c.want) {
			t.Errorf("%s: %.300q", name, have)
		}
	}
	many := []string{"Content-Type: multipart/mixed; boundary=b", ""}
	for range maxParts + 10 {
		many = append(many, "--b", head[0], "", "one")
	}
	if have := carved(1<<20, mailed(append(many, "--b--")...)...); len(have) != maxParts {
		t.Errorf("%d files of one mail", len(have))
	}
}

// Lost bytes in a file are said, and the next file is whole.
func TestAttachmentsWithHoles(t *testing.T) {
	talk := mailed(mixed...)
	text := talk[7].Text
	at := strings.Index(text, coded[5:])
	talk = slices.Insert(talk, 8, apptest.Said{Dir: app.Client, Text: text[at+4:], Missing: 4})
	talk[7].Text = text[:at]
	have := carved(1<<20, talk...)
	if len(have) != 3 || !strings.HasSuffix(have[0], "holes") || have[1] != `q.txt: "café = 123\r\n=zz"` {
		t.Errorf("%q", have)
	}
}

func FuzzCarving(f *testing.F) {
	apptest.FuzzStream(f, Carving, talk, mailed(mixed...), mailed("Content-Disposition: attachment; filename=x", "", "one"))
}
