package tunnel

import (
	"reflect"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

// halves shows one detector everything, and another one the second half behind a snapshot of the first.
func TestAStateIsHandedOn(t *testing.T) {
	list := encodedNames(400, 50, "example.org")
	whole, first, second := detector(t, "{}"), detector(t, "{}"), detector(t, "{}")
	want := find(t, whole, asked(list))
	asked(list[:200])(func(b sdk.Batch) error { return first.Inspect(t.Context(), b, &sink{}) })
	state, err := first.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	got := find(t, second, asked(list[200:]))
	if len(want) != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	if detector(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
		t.Error("a state that was cut is taken")
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	asked(encodedNames(30, 20, "example.org"))(func(b sdk.Batch) error { return d.Inspect(f.Context(), b, &sink{}) })
	state, err := d.Snapshot(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Add([]byte{0, 0, 0, 0, 1, 4, 10, 0, 0, 1, 4, 10, 0, 0, 2, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, "{}")
		if d.Restore(t.Context(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, "{}"))
		find(t, d, asked(encodedNames(40, 50, "example.org")))
	})
}
