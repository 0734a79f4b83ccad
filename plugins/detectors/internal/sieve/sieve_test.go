package sieve

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// found searches a text in two parts, as one that comes in pieces is.
func found(list [][]byte, text []byte, cut int) []string {
	s := New(list)
	var out []string
	cut = min(max(cut, 0), len(text))
	note := func(i int32, end int) { out = append(out, fmt.Sprint(i, "@", end)) }
	s.Find(text[:cut], 0, note)
	s.Find(text, cut, note)
	slices.Sort(out)
	return out
}

func simply(list [][]byte, text []byte) []string {
	var out []string
	for i, p := range list {
		for end := len(p); len(p) > 0 && end <= len(text); end++ {
			if bytes.Equal(lower(text[end-len(p):end]), lower(p)) {
				out = append(out, fmt.Sprint(i, "@", end))
			}
		}
	}
	slices.Sort(out)
	return out
}

func lower(b []byte) []byte {
	out := slices.Clone(b)
	for i := range out {
		out[i] = fold(out[i])
	}
	return out
}

func TestFind(t *testing.T) {
	list := [][]byte{[]byte("he"), []byte("SHE"), []byte("his"), []byte("hers"), {}, {0, 255}, {'x'}, []byte("usher"), []byte("Ushers\x00"),
		[]byte("USHERS\x00\xff SHE x"), []byte("aaaaaaaaa"), []byte("@@@@"), []byte("\x00\x00"), []byte("\x00\x00\x00x"), []byte("axaa"), []byte("she xa")}
	text := []byte("usHers\x00\xff she xaaaaaaaaaaaaaa````@@@@@\x00\x00\x00X")
	for cut := range text {
		if got, want := found(list, text, cut), simply(list, text); !slices.Equal(got, want) {
			t.Errorf("cut at %d: %v, want %v", cut, got, want)
		}
	}
	if got := found(nil, text, 1); got != nil {
		t.Errorf("nothing to look for: %v", got)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("he she\nhis"), []byte("ushers"), 3)
	f.Add([]byte("needle\nneedles\nAneedles!"), []byte("a needle, aneedles!"), 12)
	f.Fuzz(func(t *testing.T, list, text []byte, cut int) {
		strings := bytes.Split(list, []byte("\n"))
		if len(list) > 2000 || len(text) > 2000 {
			return
		}
		if got, want := found(strings, text, cut), simply(strings, text); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	var list [][]byte
	for i := range 3000 {
		list = append(list, fmt.Appendf(nil, "%x", i*2654435761))
	}
	s := New(list)
	text := bytes.Repeat([]byte("GET /index.html HTTP/1.1\r\nHost: example.org\r\n"), 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Find(text, 0, func(int32, int) {})
	}
}
