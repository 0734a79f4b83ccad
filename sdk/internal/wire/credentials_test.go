package wire

import (
	"bytes"
	"net"
	"testing"
)

// writes is a connection that keeps each write.
type writes struct {
	net.Conn
	got [][]byte
}

func (w *writes) Write(b []byte) (int, error) {
	w.got = append(w.got, bytes.Clone(b))
	return len(b), nil
}

func TestWhatIsHeldIsOneWrite(t *testing.T) {
	below := &writes{}
	g := &gatherer{Conn: below}
	put := func(b []byte) {
		t.Helper()
		if n, err := g.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	put([]byte("first"))
	g.hold()
	put([]byte("a"))
	put([]byte("b"))
	if len(below.got) != 1 || string(below.got[0]) != "first" {
		t.Errorf("written before the release: %q", below.got)
	}
	if err := g.release(); err != nil {
		t.Fatal(err)
	}
	put([]byte("last"))
	if len(below.got) != 3 || string(below.got[1]) != "ab" || string(below.got[2]) != "last" {
		t.Errorf("got %q", below.got)
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	below := &writes{}
	g := &gatherer{Conn: below}
	g.hold()
	record := make([]byte, maxRecord)
	for range 64 {
		if _, err := g.Write(record); err != nil {
			t.Fatal(err)
		}
		if len(g.held) > 2*ConnBuffer {
			t.Fatalf("%d bytes are held", len(g.held))
		}
	}
	if err := g.release(); err != nil {
		t.Fatal(err)
	}
	if total := len(bytes.Join(below.got, nil)); total != 64*maxRecord {
		t.Errorf("%d bytes were written", total)
	}
}
