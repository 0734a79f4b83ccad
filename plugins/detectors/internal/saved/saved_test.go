package saved

import (
	"bytes"
	"testing"
)

func TestAStateComesBackWhole(t *testing.T) {
	state := Seal(append(Begin(4, 3), 1, 2, 3))
	p, err := Open(4, state)
	if err != nil || !Is(state) || p.Uint() != 1 || p.End() == nil || p.Uint() != 2 || p.Uint() != 3 || p.End() != nil {
		t.Fatalf("%v, %v", p, err)
	}
	for i := range state {
		changed := bytes.Clone(state)
		changed[i] ^= 1
		if _, err := Open(4, changed); err == nil {
			t.Errorf("with another byte %d it is taken", i)
		}
		if _, err := Open(4, state[:i]); err == nil {
			t.Errorf("its first %d bytes are taken", i)
		}
	}
	if _, err := Open(5, state); err == nil {
		t.Error("another version is taken")
	}
	if Is(nil) || Is([]byte("{}")) || Is([]byte{0x1f, 0x8b}) {
		t.Error("something else is taken for a state")
	}
}
