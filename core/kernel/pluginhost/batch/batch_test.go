package batch

import "testing"

// TestDone counts how often the memory of a frame and its shared copy are given back.
func TestDone(t *testing.T) {
	for _, c := range []struct {
		name          string
		readers, lets int
		keep          bool
		done, free    int
	}{
		{"while somebody reads", 2, 1, false, 0, 0},
		{"after the last reader", 2, 2, false, 1, 1},
		{"once somebody keeps it", 2, 2, true, 0, 1},
	} {
		done, free := 0, 0
		b := New([]byte("frame"), c.readers, nil, func() { free++ })
		b.Done = func() { done++ }
		if c.keep && string(b.Keep()) != "frame" {
			t.Errorf("%s: another frame is kept", c.name)
		}
		for range c.lets {
			b.Release()
		}
		if done != c.done || free != c.free {
			t.Errorf("%s: given back %d and %d times, not %d and %d", c.name, done, free, c.done, c.free)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a batch is released more often than it has readers")
		}
	}()
	New(nil, 0, nil, nil).Release()
}
