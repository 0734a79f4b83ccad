package lateral

import (
	"context"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

// attack is of all kinds.
func attack() []sdk.Batch {
	write := sdk.SMB{Seen: seen(66, 20, 2*time.Second), Name: "create", MessageID: 2, Tree: 5, File: "a.exe", Access: 2}
	written := sdk.SMB{Seen: seen(66, 20, 3*time.Second), Name: "create", MessageID: 2, Response: true, Tree: 5}
	out := []sdk.Batch{
		{SMB: []sdk.SMB{{Seen: seen(66, 20, 0), Name: "tree-connect", MessageID: 1, Share: `\\server\ADMIN$`}}},
		{SMB: []sdk.SMB{{Seen: seen(66, 20, time.Second), Name: "tree-connect", MessageID: 1, Response: true, Tree: 5}}},
		{SMB: []sdk.SMB{write}}, {SMB: []sdk.SMB{written}}, message(7, 2, 3*time.Second, "kerberos", "as-rep", nil), rpcCall(2, 1, 4*time.Second, drsuapi, 3),
	}
	for i := range byte(6) {
		out = append(out, rpcCall(66, 20+i, time.Duration(5+i)*time.Second, svcctl, 12))
		out = append(out, ask(67, time.Duration(20+i)*time.Second, "HTTP/"+string('a'+rune(i)), "23", "23")...)
	}
	return append(out, rpcCall(66, 20, time.Minute, svcctl, 12), message(1, 2, 10*24*time.Hour, "ssh", "banner", nil))
}

// A state that is taken over in the middle of an attack changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := attack()
	d, whole := detector(t, "{}"), &sink{}
	inspect(t, d, whole, all...)
	if err := d.Flush(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.findings) < 12 {
		t.Fatalf("the attack itself is found as %d findings", len(whole.findings))
	}
	for cut := range len(all) {
		first, second, parts := detector(t, "{}"), detector(t, "{}"), &sink{}
		inspect(t, first, parts, all[:cut]...)
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, "{}").Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		inspect(t, second, parts, all[cut:]...)
		if err := second.Flush(t.Context(), parts); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parts.findings, whole.findings) {
			t.Fatalf("cut at %d:\n%+v\nwant\n%+v", cut, parts.findings, whole.findings)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	inspect(f, d, &sink{}, attack()...)
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		whole := saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...)) // or the checksum refuses nearly all
		for _, state := range [][]byte{state, whole} {
			d := detector(t, "{}")
			if d.Restore(context.Background(), state) != nil {
				continue
			}
			savedtest.HandsOn(t, d, detector(t, "{}"))
			find(t, d, attack()...)
		}
	})
}

// TestAnEarlierStateIsRestored takes over what versions before today's wrote in the middle of an attack.
func TestAnEarlierStateIsRestored(t *testing.T) {
	const seen = 10
	all := attack()
	for _, version := range []string{"version1", "version2"} {
		state, err := os.ReadFile("testdata/" + version + ".state")
		if err != nil {
			t.Fatal(err)
		}
		now, then := detector(t, "{}"), detector(t, "{}")
		inspect(t, now, &sink{}, all[:seen]...)
		if err := then.Restore(t.Context(), state); err != nil {
			t.Fatal(version, err)
		}
		want := find(t, now, all[seen:]...)
		if got := find(t, then, all[seen:]...); len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant\n%+v", version, got, want)
		}
		if detector(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
			t.Errorf("%s: a state that was cut is taken", version)
		}
	}
}
