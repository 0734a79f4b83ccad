package beacon

import (
	"context"
	"os"
	"reflect"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

// A state that an earlier form of snapshots left is taken over in the middle of a beacon, and so is today's.
func TestAnEarlierStateIsRestored(t *testing.T) {
	calls := every(60, 12, 0)
	earlier := map[string][]byte{} // after the first six
	for _, version := range []string{"1", "3", "4"} {
		state, err := os.ReadFile("testdata/state/schema-" + version + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		earlier[version] = state
	}
	first := detector(t, "{}")
	if err := first.Inspect(t.Context(), sdk.Batch{Flows: calls[:6]}, &sink{}); err != nil {
		t.Fatal(err)
	}
	today, err := first.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := find(t, first, calls[6:]...)
	if len(want) != 1 {
		t.Fatalf("the beacon itself is found as %v", want)
	}
	for name, state := range map[string][]byte{"version 1": earlier["1"], "version 3": earlier["3"], "version 4": earlier["4"], "today": today} {
		d := detector(t, "{}")
		if err := d.Restore(t.Context(), state); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := find(t, d, calls[6:]...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, got, want)
		}
		if rest := detector(t, "{}"); name != "version 1" && rest.Restore(t.Context(), state[:len(state)-1]) == nil {
			t.Error("a state that was cut is taken")
		}
	}
}

func TestRestoreRefusesNonsense(t *testing.T) {
	for _, state := range []string{"", "{", `{"version": 9}`, `{"version": 1, "pairs": [{"src": "x"}]}`} {
		if err := detector(t, "{}").Restore(context.Background(), []byte(state)); err == nil {
			t.Errorf("%s was taken", state)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: every(60, 3, 0)}, &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Add([]byte(`{"version": 1, "pairs": [{"src": "10.0.0.1", "dst": "10.0.0.2", "port": 1, "proto": 200}]}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		whole := saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...)) // or the checksum refuses nearly all
		for _, state := range [][]byte{state, whole} {
			d := detector(t, "{}")
			if d.Restore(context.Background(), state) != nil {
				continue
			}
			savedtest.HandsOn(t, d, detector(t, "{}"))
			find(t, d, every(60, 6, 0)...)
		}
	})
}
