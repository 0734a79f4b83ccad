package reply

import (
	"fmt"
	"strings"
	"testing"
)

func read(text string, size int) (out []string, bad bool) {
	var r Reader
	r.Reset()
	for b := []byte(text); len(b) > 0; {
		n := min(size, len(b))
		part := b[:n]
		b = b[n:]
		for {
			reply, rest, ok := r.Next(part)
			if !ok {
				break
			}
			out, part = append(out, fmt.Sprintf("%d %q", reply.Code, reply.Text)), rest
		}
	}
	return out, r.Bad()
}

func TestReplies(t *testing.T) {
	const text = "220 hello\r\n250-one\r\n250-two\r\n250 three\r\n230-a\r\n free text\r\n 230 no\r\n331 no\r\n230\r\n221 bye\n"
	const want = `[220 "hello" 250 "one\ntwo\nthree" 230 "a\n free text\n 230 no\n331 no\n" 221 "bye"]`
	for _, size := range []int{1, 5, 1000} {
		if have, bad := read(text, size); fmt.Sprint(have) != want || bad {
			t.Errorf("pieces of %d: %v", size, have)
		}
	}
}

func TestHostile(t *testing.T) {
	for _, text := range []string{"hello\r\n", "\r\n", "22\r\n", "2x0 a\r\n", "999 a\r\n", "220_a\r\n", "+20 a\r\n", strings.Repeat("230-x\n", maxLines+1)} {
		if have, bad := read(text, 7); len(have) > 0 || !bad {
			t.Errorf("%.20q: %q", text, have)
		}
	}
	have, bad := read(strings.Repeat("230-"+strings.Repeat("x", 3000)+"\n", 9)+"230 end\n", 100)
	if bad || len(have) != 1 || len(have[0]) > maxText+50 {
		t.Errorf("%t, %d replies", bad, len(have))
	}
}
