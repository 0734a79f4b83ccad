package aho

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

func found(patterns [][]byte, text []byte, cut int) []string {
	a := New(patterns)
	var out []string
	cut = min(max(cut, 0), len(text))
	s := a.Find(text[:cut], 0, func(p int32, end int) { out = append(out, fmt.Sprint(p, "@", end)) })
	a.Find(text[cut:], s, func(p int32, end int) { out = append(out, fmt.Sprint(p, "@", cut+end)) })
	slices.Sort(out)
	return out
}

func simply(patterns [][]byte, text []byte) []string {
	var out []string
	for i, p := range patterns {
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
	patterns := [][]byte{[]byte("he"), []byte("SHE"), []byte("his"), []byte("hers"), {}, {0, 255}}
	text := []byte("usHers\x00\xff she")
	for cut := range text {
		if got, want := found(patterns, text, cut), simply(patterns, text); !slices.Equal(got, want) {
			t.Errorf("cut at %d: %v, want %v", cut, got, want)
		}
	}
	var got []string
	New(patterns).FindString(string(text), func(p int32, end int) { got = append(got, fmt.Sprint(p, "@", end)) })
	if slices.Sort(got); !slices.Equal(got, simply(patterns, text)) {
		t.Errorf("in a string: %v", got)
	}
	if got := found(nil, text, 1); got != nil {
		t.Errorf("nothing to look for: %v", got)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("he she\nhis"), []byte("ushers"), 3)
	f.Fuzz(func(t *testing.T, list, text []byte, cut int) {
		patterns := bytes.Split(list, []byte("\n"))
		if len(list) > 2000 || len(text) > 2000 {
			return
		}
		if got, want := found(patterns, text, cut), simply(patterns, text); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	var patterns [][]byte
	for i := range 3000 {
		patterns = append(patterns, fmt.Appendf(nil, "%x", i*2654435761))
	}
	a := New(patterns)
	text := bytes.Repeat([]byte("GET /index.html HTTP/1.1\r\nHost: example.org\r\n"), 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		a.Find(text, 0, func(int32, int) {})
	}
}
