package ftp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// transferred is what the control connection makes of a conversation for the data connection that was announced last.
func transferred(t *testing.T, talk ...apptest.Said) *transfer {
	t.Helper()
	p := Carving.NewStream().(*parser)
	f := app.TestFlow(Carving, 6, func(*app.Fact) {})
	f.Client, f.Server = netip.MustParseAddrPort("10.0.0.5:40000"), netip.MustParseAddrPort("10.0.0.1:21")
	p.Start(f)
	for _, s := range append([]apptest.Said{apptest.Server("220 FTP\r\n"), apptest.Client("PASV\r\n"), apptest.Server("227 Entering Passive Mode (10,0,0,1,4,1).\r\n")}, talk...) {
		if p.Data(s.Dir, []byte(s.Text), 0) != app.Continue {
			t.Fatal("it gave up")
		}
	}
	return p.next
}

func TestTransfers(t *testing.T) {
	opened := apptest.Server("150 Opening BINARY mode data connection for a (68 bytes).\r\n")
	for name, c := range map[string]struct {
		talk []apptest.Said
		want string
	}{
		"nothing":         {nil, "{ 0 false}"},
		"a file":          {[]apptest.Said{apptest.Client("RETR d/a\r\n"), opened}, "{d/a 68 false}"},
		"one sent":        {[]apptest.Said{apptest.Client("STOR a\r\n"), apptest.Server("150 Ok to send data.\r\n")}, "{a 0 false}"},
		"a listing":       {[]apptest.Said{apptest.Client("LIST\r\n"), opened}, "{ 68 false}"},
		"its second half": {[]apptest.Said{apptest.Client("REST 34\r\n"), apptest.Server("350 ok\r\n"), apptest.Client("RETR a\r\n"), opened}, "{a 0 true}"},
		"a strange size":  {[]apptest.Said{apptest.Client("RETR a\r\n"), apptest.Server("150 (99999999999999999999999 bytes)\r\n")}, "{a 0 false}"},
	} {
		if got := fmt.Sprint(*transferred(t, c.talk...)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// The bytes of one direction are a file when the control connection said so.
func TestData(t *testing.T) {
	for name, c := range map[string]struct {
		about *transfer
		want  string
	}{
		"unknown": {nil, ""}, "listing": {&transfer{}, ""},
		"file": {&transfer{name: "a", size: 9}, `a 9 true "one" false, 9 false "two" true, 9 last`}, "resumed": {&transfer{name: "a", resumed: true}, `a 0 true "one" true, 0 false "two" true, 0 last`},
	} {
		var have []string
		p := &data{}
		p.Start(app.TestFlow(Data, 6, func(f *app.Fact) {
			b := f.Body.(*FilePart)
			text := fmt.Sprint(b.Size, " ", b.First, fmt.Sprintf(" %q ", b.Data), b.Missing)
			if b.First {
				text = b.Name + " " + text
			}
			if b.Last {
				text = fmt.Sprint(b.Size, " last")
			}
			have = append(have, text)
		}))
		p.about = c.about
		for i, next := range []app.Next{p.Data(app.Server, []byte("one"), 0), p.Data(app.Client, []byte("other way"), 0), p.Data(app.Server, []byte("two"), 3)} {
			if (next == app.Done) != (c.want == "") {
				t.Errorf("%s: %d after %d", name, next, i)
			}
		}
		p.Close()
		if got := strings.Join(have, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func FuzzCarving(f *testing.F) {
	apptest.FuzzStream(f, Carving, slices.Concat(talk[:10], []apptest.Said{apptest.Server("150 (68 bytes)\r\n"), apptest.Client("REST 1\r\nAPPE x\r\n")}))
}
