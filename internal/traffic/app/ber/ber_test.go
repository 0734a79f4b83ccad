package ber

import (
	"bytes"
	"testing"
)

func TestElements(t *testing.T) {
	r := Reader("\x02\x01\xff\x0a\x01\x05\x04\x84\x00\x00\x00\x02ab\x30\x03\x02\x01\x07")
	var n, e, inner int64
	var s, list Reader
	if !r.Number(&n) || !r.Enum(&e) || !r.Take(Octets, &s) || !r.Take(Sequence, &list) || !list.Number(&inner) || len(r) != 0 {
		t.Fatalf("%d %d %q %q", n, e, s, r)
	}
	if n != -1 || e != 5 || string(s) != "ab" || inner != 7 {
		t.Errorf("%d %d %q %d", n, e, s, inner)
	}
	cut := Reader("\x30\x82\x01\x00\x02\x01\x07")
	if !cut.Open(Sequence, &list) || !list.Number(&inner) || inner != 7 || len(cut) != 0 {
		t.Errorf("%q", list)
	}
}

func TestHeader(t *testing.T) {
	for text, want := range map[string][2]int{
		"": {0, 0}, "\x30": {0, 0}, "\x30\x05": {2, 5}, "\x30\x81": {0, 0}, "\x30\x81\x80": {3, 128}, "\x30\x80": {-1, 0}, "\x30\x85aaaaa": {-1, 0},
		"\x1f": {-1, 0}, "\x30\x84\xff\xff\xff\xff": {-1, 0}, "\x30\x84\x00\x01\x00\x00": {6, 1 << 16},
	} {
		if _, head, size := Header([]byte(text)); head != want[0] || size != want[1] {
			t.Errorf("%q: %d %d", text, head, size)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x30\x03\x02\x01\x07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, before := Reader(b), bytes.Clone(b)
		for n := len(r); ; n = len(r) {
			_, value, ok := r.Next()
			if !ok {
				break
			}
			if len(r) >= n || len(value) > n {
				t.Fatal("it does not go on")
			}
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the bytes changed")
		}
	})
}
