package app

import (
	"slices"
	"strings"
	"testing"
)

// sized messages say their length in the first byte; 255 is no length.
func sized() Frames {
	return Frames{Max: 6, Size: func(b []byte) int {
		if b[0] == 255 {
			return -1
		}
		return int(b[0])
	}}
}

func TestFrames(t *testing.T) {
	const text = "\x03ab\x01\x04cde\x09longlong\x02x"
	for size := 1; size <= len(text); size++ {
		f, have, cuts := sized(), []string(nil), 0
		for at := 0; at < len(text); at += size {
			b := []byte(text[at:min(len(text), at+size)])
			for {
				msg, rest, cut, ok := f.Next(b)
				if !ok {
					break
				}
				have, cuts, b = append(have, string(msg)), cuts+cut, rest
			}
		}
		if want := []string{"\x03ab", "\x01", "\x04cde", "\x09longl", "\x02x"}; !slices.Equal(have, want) || cuts != 3 || f.Bad() {
			t.Errorf("pieces of %d: %q, %d cut", size, have, cuts)
		}
	}
}

func TestBadFrames(t *testing.T) {
	f := sized()
	if msg, rest, _, ok := f.Next([]byte("\x02a\xffbc")); !ok || string(msg) != "\x02a" {
		t.Errorf("%q %v", msg, ok)
	} else if _, _, _, ok := f.Next(rest); ok || !f.Bad() {
		t.Error("a message of no length")
	}
	if _, _, _, ok := f.Next([]byte("\x02a")); ok {
		t.Error("goes on after it")
	}
	f.Reset()
	if _, _, _, ok := f.Next([]byte("\x02a")); !ok || f.Bad() {
		t.Error("does not begin anew")
	}
	late := Frames{Max: 8, Size: func(b []byte) int {
		if len(b) < 4 {
			return 0
		}
		return -1
	}}
	for i := range 4 {
		if late.Bad() {
			t.Errorf("bad after %d bytes", i)
		}
		late.Next([]byte{'x'})
	}
	if !late.Bad() {
		t.Error("not bad when the length is there")
	}
	never := Frames{Max: 8, Size: func([]byte) int { return 0 }}
	if never.Next(make([]byte, 9)); !never.Bad() {
		t.Error("a length that never comes is waited for")
	}
}

func TestMissing(t *testing.T) {
	f := sized()
	f.Next([]byte("\x0aabcdef")) // 3 more are to be skipped
	if f.Miss(4) || !f.Miss(2) {
		t.Error("what is missing is not what is skipped")
	}
	if msg, _, _, ok := f.Next([]byte("z\x02y")); !ok || string(msg) != "\x02y" {
		t.Errorf("%q %v", msg, ok)
	}
}

func TestLines(t *testing.T) {
	text := "ab\r\n\nlong line here\nc\r\n"
	for size := 1; size <= len(text); size++ {
		l, have, cuts := Lines{Max: 6}, []string(nil), 0
		for at := 0; at < len(text); at += size {
			b := []byte(text[at:min(len(text), at+size)])
			for {
				line, rest, cut, ok := l.Next(b)
				if !ok {
					break
				}
				have, cuts, b = append(have, string(line)), cuts+cut, rest
			}
		}
		if want := "ab||long l|c"; strings.Join(have, "|") != want || cuts != 8 {
			t.Errorf("pieces of %d: %q, %d cut", size, have, cuts)
		}
	}
}
