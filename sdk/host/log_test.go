package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func newTestLog() (*lineLog, *bytes.Buffer, *time.Time) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	l := newLineLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), nil)
	l.now, l.last = func() time.Time { return now }, now
	return l, &out, &now
}

func TestLines(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"slog", `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"hot","celsius":90.5,"deep":{"a":1}}`, `level=WARN msg=hot celsius=90.5 deep="{\"a\":1}"`},
		{"hclog", `{"@level":"error","@message":"cold","@timestamp":"x"}`, `level=ERROR msg=cold`},
		{"an unknown level", `{"level":"LOUD","msg":"x"}`, `level=INFO msg=x`},
		{"other JSON", `{"a":1}`, `level=INFO msg="{\"a\":1}"`},
		{"text", `hello there`, `level=INFO msg="hello there"`},
		{"not UTF-8", "a\xffb", `level=INFO msg="a` + "\uFFFD" + `b"`},
		{"an escape sequence", "\x1b[31mred", `level=INFO msg="\x1b[31mred"`},
		{"a panic", "panic: boom", `level=ERROR msg="panic: boom"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, out, _ := newTestLog()
			fmt.Fprintf(l.writer(slog.LevelInfo), "%s\n", c.in)
			if got := strings.TrimSpace(out.String()); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTheStackBelongsToThePanic(t *testing.T) {
	l, out, _ := newTestLog()
	fmt.Fprint(l.writer(slog.LevelInfo), "before\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n")
	if got := strings.Count(out.String(), "level=ERROR"); got != 3 {
		t.Errorf("%d errors in\n%s", got, out)
	}
}

func TestLinesInPieces(t *testing.T) {
	l, out, _ := newTestLog()
	w := l.writer(slog.LevelInfo)
	for _, piece := range []string{"on", "e\ntw", "o\nth", "ree"} {
		fmt.Fprint(w, piece)
	}
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("%d lines before the end", got)
	}
	l.flush()
	if !strings.Contains(out.String(), "msg=three") {
		t.Errorf("the last line is lost: %s", out)
	}
}

func TestALongLineIsCut(t *testing.T) {
	l, out, _ := newTestLog()
	w := l.writer(slog.LevelInfo)
	for range 100 {
		fmt.Fprint(w, strings.Repeat("x", 10_000))
	}
	fmt.Fprint(w, "\nnext\n")
	if out.Len() > 2*maxLine || !strings.Contains(out.String(), "msg=next") || !strings.Contains(out.String(), truncatedMark) {
		t.Errorf("%d bytes in the log", out.Len())
	}
}

func TestAFloodIsDroppedAndSaid(t *testing.T) {
	l, out, now := newTestLog()
	w := l.writer(slog.LevelInfo)
	for n := range 10_000 {
		fmt.Fprintf(w, "line %d\n", n)
	}
	if got := strings.Count(out.String(), "\n"); got != linesBurst {
		t.Errorf("%d lines got through, want %d", got, linesBurst)
	}
	*now = now.Add(time.Second)
	fmt.Fprint(w, "later\n")
	if !strings.Contains(out.String(), fmt.Sprintf("dropped=%d", 10_000-linesBurst)) || !strings.Contains(out.String(), "msg=later") {
		t.Errorf("the end of the log: %s", out.String()[max(0, out.Len()-300):])
	}
}

func TestRawBytesAreKept(t *testing.T) {
	var raw bytes.Buffer
	l := newLineLog(slog.New(slog.DiscardHandler), &raw)
	fmt.Fprint(l.writer(slog.LevelInfo), "a\xff\nb")
	if raw.String() != "a\xff\nb" {
		t.Errorf("got %q", raw.String())
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"level":"WARN","msg":"x","a":[1]}` + "\n"))
	f.Add([]byte("panic: x\n{\n\n\r\n{\"msg\":1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, out, _ := newTestLog()
		w := l.writer(slog.LevelInfo)
		if n, err := w.Write(data); n != len(data) || err != nil {
			t.Fatalf("%d of %d bytes, %v", n, len(data), err)
		}
		l.flush()
		if lines := bytes.Count(data, []byte{'\n'}) + 1; strings.Count(out.String(), "\n") > lines {
			t.Fatalf("%q became\n%s", data, out)
		}
	})
}

// However much others write, the line that names whose panic it was comes through, once.
func TestAFloodHidesNoPanic(t *testing.T) {
	l, out, _ := newTestLog()
	w := l.writer(slog.LevelInfo)
	for range 2 * linesBurst {
		fmt.Fprintln(w, "noise")
	}
	for range 2 {
		fmt.Fprintf(w, `{"level":"ERROR","msg":%q,"instance":"bad"}`+"\n", Panicked)
	}
	if n := strings.Count(out.String(), "instance=bad"); n != 1 {
		t.Errorf("it is named %d times", n)
	}
}
