package saved

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func list(tb testing.TB, values ...string) []byte {
	tb.Helper()
	w := NewWriter(0)
	for _, v := range values {
		if err := w.Put(v); err != nil {
			tb.Fatal(err)
		}
	}
	out, err := w.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func read(state []byte, n int) (got []string, err error) {
	r, err := NewReader(state)
	if err != nil {
		return nil, err
	}
	for range n {
		var v string
		if err := r.Next(&v); err != nil {
			return got, err
		}
		got = append(got, v)
	}
	return got, r.End()
}

func TestAListComesBackWhole(t *testing.T) {
	state := list(t, "a", "b", "c")
	if got, err := read(state, 3); err != nil || strings.Join(got, "") != "abc" || !Is(state) {
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
	if Is([]byte(`{"version":1}`)) || Is(nil) {
		t.Error("something else is taken for a list")
	}
}

func TestASmallStateDoesNotFillTheMemory(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb) // which packs better than a Writer does
	if err := errors.Join(json.NewEncoder(w).Encode(strings.Repeat("x", 16*slack)), w.Close()); err != nil {
		t.Fatal(err)
	}
	state := bomb.Bytes()
	if got, err := read(state, 1); err == nil {
		t.Errorf("%d bytes make a value of %d", len(state), len(got[0]))
	}
}

func FuzzReader(f *testing.F) {
	f.Add(list(f, "a", "b"))
	f.Fuzz(func(_ *testing.T, state []byte) { _, _ = read(state, 2) })
}
