package smb

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

const number = "handle of 16 by."

// created answers a create with a handle, and how long the file is.
func created(id byte, size uint64) apptest.Said {
	body := make([]byte, 88)
	binary.LittleEndian.PutUint64(body[48:], size)
	copy(body[64:], number)
	return apptest.Server(framed(append(head(CodeCreate, true, id), body...)))
}

func opens(id byte, name string) apptest.Said {
	return apptest.Client(framed(command(CodeCreate, id, make([]byte, 56), 44, wide(name))))
}

func asks(id byte, at, size int) apptest.Said {
	body := make([]byte, 48)
	binary.LittleEndian.PutUint32(body[4:], uint32(size))
	binary.LittleEndian.PutUint64(body[8:], uint64(at))
	copy(body[16:], number)
	return apptest.Client(framed(append(head(codeRead, false, id), body...)))
}

func gets(id byte, data string) apptest.Said {
	body := make([]byte, 16)
	body[2] = header2 + 16
	binary.LittleEndian.PutUint32(body[4:], uint32(len(data)))
	return apptest.Server(framed(slices.Concat(head(codeRead, true, id), body, []byte(data))))
}

func writes(id byte, at int, data string) apptest.Said {
	body := make([]byte, 48)
	binary.LittleEndian.PutUint16(body[2:], header2+48)
	binary.LittleEndian.PutUint32(body[4:], uint32(len(data)))
	binary.LittleEndian.PutUint64(body[8:], uint64(at))
	copy(body[16:], number)
	return apptest.Client(framed(slices.Concat(head(codeWrite, false, id), body, []byte(data))))
}

func closes(id byte) apptest.Said {
	body := make([]byte, 24)
	copy(body[8:], number)
	return apptest.Client(framed(append(head(codeClose, false, id), body...)))
}

// long is more than is kept of a message.
var long = strings.Repeat("0123456789", 2*maxMessage/10)

func transfers() []apptest.Said {
	return []apptest.Said{
		opens(1, `dir\a.txt`), created(1, 30), asks(2, 0, 10), asks(3, 10, 10), asks(4, 20, 10), gets(4, "thethirdof"), gets(2, "thefirstof"), gets(3, "thesecond."),
		closes(5), opens(6, "b"), created(6, 0), writes(7, 0, long), writes(8, len(long), "end"), closes(9),
	}
}

// files gathers what a conversation gives.
func carve(size int, talk ...apptest.Said) (out []string) {
	var content [2]strings.Builder
	missing := [2]bool{}
	apptest.Stream(Carving(), size, func(f *app.Fact) {
		p, is := f.Body.(*FilePart)
		if !is {
			return
		}
		content[f.Dir].Write(p.Data)
		missing[f.Dir] = missing[f.Dir] || p.Missing
		if p.Last {
			text := content[f.Dir].String()
			if len(text) > 100 {
				text = fmt.Sprint(len(text), " ", text == long+"end")
			}
			out = append(out, fmt.Sprint(p.Name, " ", f.Dir, " ", p.Size, " ", missing[f.Dir], " ", text))
			content[f.Dir].Reset()
			missing[f.Dir] = false
		}
	}, talk...)
	return out
}

// Pieces are handed out in their order, whatever the order in which they come and however long their messages are.
func TestFiles(t *testing.T) {
	want := []string{`dir\a.txt 1 30 false thefirstofthesecond.thethirdof`, fmt.Sprintf("b 0 0 false %d true", len(long)+3)}
	for _, size := range []int{1, 700, 1 << 20} {
		if have := carve(size, transfers()...); !slices.Equal(have, want) {
			t.Errorf("in parts of %d: %q", size, have)
		}
	}
}

// What is missing is said to be, and nothing else is put in its place.
func TestFilesWithHoles(t *testing.T) {
	lost := gets(3, "x")
	lost.Missing = 5
	again := []apptest.Said{asks(3, 5, 10), gets(3, "rstofthese")}
	for name, c := range map[string]struct {
		talk []apptest.Said
		want string
	}{
		"a piece that nobody saw":  {[]apptest.Said{asks(2, 0, 10), gets(2, "thefirstof"), asks(4, 20, 10), gets(4, "thethirdof"), closes(5)}, "a 1 30 true thefirstofthethirdof"},
		"one that was not closed":  {[]apptest.Said{asks(2, 0, 10), gets(2, "thefirstof")}, "a 1 30 true thefirstof"},
		"bytes between messages":   {[]apptest.Said{asks(2, 0, 10), gets(2, "thefirstof"), lost, closes(5)}, "a 1 30 false thefirstof"},
		"what is read once more":   {append([]apptest.Said{asks(2, 0, 10), gets(2, "thefirstof")}, append(again, closes(5))...), "a 1 30 false thefirstofthese"},
		"an answer to no question": {[]apptest.Said{gets(9, "surprise"), asks(2, 0, 10), gets(2, "thefirstof"), closes(5)}, "a 1 30 false thefirstof"},
	} {
		have := carve(1<<20, append([]apptest.Said{opens(1, "a"), created(1, 30)}, c.talk...)...)
		if len(have) != 1 || have[0] != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

// What waits for the bytes before it is bounded, for all connections together, and given back.
func TestFilesAreBounded(t *testing.T) {
	p := Carving()
	budget := func(x app.StreamParser) int { return *x.(*parser).files.budget }
	var all []app.StreamParser
	for range 3 {
		one := p.NewStream()
		one.Start(app.TestFlow(p, 6, func(*app.Fact) {}))
		all = append(all, one)
		for _, s := range []apptest.Said{opens(1, "a"), created(1, 1<<40)} {
			one.Data(s.Dir, []byte(s.Text), 0)
		}
		for i := range 500 {
			for _, s := range []apptest.Said{asks(2, (i+1)*len(long), len(long)), gets(2, long)} {
				one.Data(s.Dir, []byte(s.Text), 0)
			}
			if n := budget(one); n > maxWaiting {
				t.Fatalf("%d bytes wait", n)
			}
		}
		for i := range 3 * maxFiles {
			s := opens(byte(i), "b")
			one.Data(s.Dir, []byte(s.Text), 0)
		}
		if f := one.(*parser).files; len(f.open) > maxFiles || len(f.reads) > maxReads {
			t.Errorf("%d files, %d reads", len(f.open), len(f.reads))
		}
	}
	for _, one := range all {
		one.Close()
	}
	if n := budget(all[0]); n != 0 {
		t.Errorf("%d bytes still wait", n)
	}
}

func FuzzCarving(f *testing.F) {
	apptest.FuzzStream(f, Carving(), append(transfers()[:11], writes(7, 0, "short"), closes(9)))
}
