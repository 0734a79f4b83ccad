package saved

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func packedList(tb testing.TB, values ...string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for _, v := range values {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func read(state []byte, n int) (got []string, err error) {
	r, err := newList(state)
	if err != nil {
		return nil, err
	}
	for range n {
		var v string
		if err := r.next(&v); err != nil {
			return got, err
		}
		got = append(got, v)
	}
	return got, r.end()
}

func TestAListComesBackWhole(t *testing.T) {
	state := packedList(t, "a", "b", "c")
	if got, err := read(state, 3); err != nil || strings.Join(got, "") != "abc" || !isList(state) {
		t.Errorf("%q, %v", got, err)
	}
	broken := append([]byte(nil), state...)
	broken[len(broken)-6] ^= 1 // of the checksum
	for name, c := range map[string]struct {
		state []byte
		n     int
	}{"shorter than was said": {state, 4}, "longer than was said": {state, 2}, "cut": {state[:len(state)-9], 3}, "changed": {broken, 3}, "nothing": {nil, 0}, "something else": {[]byte("{}"), 1}} {
		if got, err := read(c.state, c.n); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if isList([]byte(`{"version":1}`)) || isList(nil) {
		t.Error("something else is taken for a list")
	}
}

func TestASmallStateDoesNotFillTheMemory(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if err := errors.Join(json.NewEncoder(w).Encode(strings.Repeat("x", 16*slack)), w.Close()); err != nil {
		t.Fatal(err)
	}
	state := bomb.Bytes()
	if got, err := read(state, 1); err == nil {
		t.Errorf("%d bytes make a value of %d", len(state), len(got[0]))
	}
}

func FuzzList(f *testing.F) {
	f.Add(packedList(f, "a", "b"))
	f.Fuzz(func(_ *testing.T, state []byte) { _, _ = read(state, 2) })
}
