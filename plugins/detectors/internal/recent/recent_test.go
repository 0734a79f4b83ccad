package recent

import (
	"slices"
	"testing"
)

func TestTheQuietestGoesFirst(t *testing.T) {
	m := New[string, int](3)
	for i, key := range []string{"a", "b", "c"} {
		if _, full := m.Crowded(); full {
			t.Fatalf("full with %d", i)
		}
		m.Put(key, i)
	}
	if v, known := m.Get("a"); !known || v != 0 {
		t.Errorf("%d, %v", v, known)
	}
	if v, full := m.Crowded(); !full || v != 1 {
		t.Errorf("%d is the quietest", v)
	}
	m.Forget("b")
	if got := slices.Collect(m.All()); !slices.Equal(got, []int{2, 0}) || m.Has("b") || !m.Has("c") || m.Len() != 2 || m.Forgotten != 1 {
		t.Errorf("%v are left", got)
	}
	m.Replace("c", "d", 3)
	if got := slices.Collect(m.All()); !slices.Equal(got, []int{0, 3}) || m.Has("c") || !m.Has("d") || m.Forgotten != 2 {
		t.Errorf("%v are left", got)
	}
}
