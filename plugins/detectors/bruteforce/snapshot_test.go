package bruteforce

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

// attack is of all kinds: guesses of which one works, names, hosts, sources.
func attack() (tries []try) {
	tries = append(times(6, try{protocol: "ssh", from: 1, to: 1}), each(12, try{protocol: "imap", from: 2, to: 1, result: "NO"}, func(i int, l *try) { l.user = fmt.Sprint("u", i) })...)
	tries = append(tries, each(12, try{protocol: "ssh", from: 3}, func(i int, l *try) { l.to = byte(i) })...)
	tries = append(tries, each(30, try{protocol: "ftp", to: 9, user: "root", result: "530"}, func(i int, l *try) { l.from = byte(100 + i%15) })...)
	tries = append(tries, times(6, try{protocol: "ssh", from: 1, to: 1})...)
	return append(tries, try{protocol: "ssh", from: 1, to: 1, result: "success"})
}

// A state that is taken over in the middle of an attack changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := attack()
	whole := &sink{}
	d := detector(t, "{}")
	show := func(d *Detector, s *sink, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			b := sdk.Batch{Logins: []sdk.Login{all[i].login(i, noon.Add(1e9*1))}}
			if err := d.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	show(d, whole, 0, len(all))
	if err := d.Flush(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.findings) < 6 {
		t.Fatalf("the attack itself is found as %d findings", len(whole.findings))
	}
	for cut := range len(all) {
		parts := &sink{}
		first, second := detector(t, "{}"), detector(t, "{}")
		show(first, parts, 0, cut)
		if err := first.Inspect(t.Context(), sdk.Batch{Logins: rdpTry(500, 1, 1).Logins}, parts); err != nil {
			t.Fatal(err)
		}
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
			t.Fatal("a state that was cut is taken")
		}
		show(second, parts, cut, len(all))
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
	inspect(f, d, attack()...)
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
