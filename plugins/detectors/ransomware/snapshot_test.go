package ransomware

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

const withCanary = `{"canaries": ["_canary*"], "files": 10}`

// attack is of all kinds.
func attack() []sdk.SMB {
	s := &disk{flow: 1, step: time.Second}
	for i := range 16 {
		s.change(document(i))
		s.rename(document(i), document(i)+".qx7k2")
		s.say("create", document(i+50), toRead)
		s.say("read", "", 0)
		s.say("create", document(i+50)+".qx7k2", toWrite)
		s.say("write", "", 0)
		s.say("create", document(i+50), toRename)
	}
	s.say("create", "HOW_TO_RESTORE.txt", toWrite)
	s.say("write", "", 0)
	s.at += 2 * time.Hour
	s.say("create", "_canary", toWrite)
	s.at += 2 * time.Hour
	s.flow = 2
	for i := range 40 {
		s.change(document(i))
	}
	return s.list
}

func show(t *testing.T, d *Detector, out *sink, list []sdk.SMB) {
	t.Helper()
	if err := d.Inspect(t.Context(), sdk.Batch{SMB: list}, out); err != nil {
		t.Fatal(err)
	}
}

// A state that is taken over in the middle of an attack changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := attack()
	d, whole := detector(t, withCanary), &sink{}
	show(t, d, whole, all)
	if err := d.Flush(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if n := len(whole.final()); n != 3 {
		t.Fatalf("%d findings: %+v", n, whole.final())
	}
	for cut := range len(all) {
		first, second, parts := detector(t, withCanary), detector(t, withCanary), &sink{}
		show(t, first, parts, all[:cut])
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, withCanary).Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		show(t, second, parts, all[cut:])
		if err := second.Flush(t.Context(), parts); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parts.findings, whole.findings) {
			t.Fatalf("cut at %d:\n%+v\nwant\n%+v", cut, parts.findings, whole.findings)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, withCanary)
	if err := d.Inspect(context.Background(), sdk.Batch{SMB: attack()}, &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, withCanary)
		if d.Restore(context.Background(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, withCanary))
		find(t, d, attack())
	})
}
