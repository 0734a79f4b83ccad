package portscan

import (
	"context"
	"os"
	"reflect"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
)

// A state that an earlier form of snapshots left is taken over in the middle of a scan, and so is today's.
func TestAnEarlierStateIsRestored(t *testing.T) {
	scan := ports(tcp(syn, syn, rst|ack, 0), 1, 10)
	earlier := map[string][]byte{} // after the first five
	for _, version := range []string{"1", "3"} {
		state, err := os.ReadFile("testdata/state/schema-" + version + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		earlier[version] = state
	}
	d := detector(t, "{}")
	inspect(t, d, scan[:5]...)
	today, err := d.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := flush(t, d, inspect(t, d, scan[5:]...)).findings
	if len(want) != 1 {
		t.Fatalf("the scan itself is found as %v", want)
	}
	for name, state := range map[string][]byte{"version 1": earlier["1"], "version 3": earlier["3"], "today": today} {
		d := detector(t, "{}")
		if err := d.Restore(t.Context(), state); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := flush(t, d, inspect(t, d, scan[5:]...)).findings; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, got, want)
		}
		if rest := detector(t, "{}"); name != "version 1" && rest.Restore(t.Context(), state[:len(state)-1]) == nil {
			t.Error("a state that was cut is taken")
		}
	}
}

func TestRestoreRefusesNonsense(t *testing.T) {
	for _, state := range []string{"", "{", `{"version": 9}`, `{"version": 1, "sources": [{"addr": "x"}]}`,
		`{"version": 1, "sources": [{"addr": "10.0.0.1", "targets": [{"h": "10.0.0.2", "r": 5}]}]}`} {
		if err := detector(t, "{}").Restore(context.Background(), []byte(state)); err == nil {
			t.Errorf("%s was taken", state)
		}
	}
}

// A state in which something is twice was not written by a detector, and would cost more the longer it is.
func TestRestoreRefusesWhatComesTwice(t *testing.T) {
	d := detector(t, "{}")
	inspect(t, d, ports(tcp(syn, syn, rst|ack, 0), 1, 3)...)
	var s *source
	for _, s = range d.sources.byAddr {
	}
	again := func(b []byte) error {
		head := saved.Begin(snapshotVersion, 0)
		return detector(t, "{}").Restore(t.Context(), saved.Seal(append(append(head, 0, 0, 0, 0), b...)))
	}
	whole := s.appendTo(nil)
	if err := again(whole); err != nil {
		t.Fatal(err)
	}
	if err := again(append(whole, whole...)); err == nil {
		t.Error("a source is taken twice")
	}
	s.targets = append(s.targets, s.targets[0])
	if err := again(s.appendTo(nil)); err == nil {
		t.Error("a target is taken twice")
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	inspect(f, d, ports(tcp(syn, syn, rst|ack, 0), 1, 3)...)
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Add([]byte(`{"version": 1, "sources": [{"addr": "10.0.0.1", "reported": {"gone": {"size": 1, "dst": "x"}, "udp": {"size": 2, "dst": "y"}}}]}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		whole := saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...)) // or the checksum refuses nearly all
		for _, state := range [][]byte{state, whole} {
			d := detector(t, "{}")
			if d.Restore(context.Background(), state) != nil {
				continue
			}
			savedtest.HandsOn(t, d, detector(t, "{}"))
			inspect(t, d, ports(tcp(syn, syn, rst|ack, 0), 1, 3)...)
			flush(t, d, &sink{})
		}
	})
}
