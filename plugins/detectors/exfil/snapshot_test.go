package exfil

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

// theft is of all kinds.
func theft() []sdk.Batch {
	out := []sdk.Batch{{DHCP: []sdk.DHCP{{Requested: host(66), Hostname: "kiosk"}}}, message("ftp", "command", "PASS", "230", nil),
		{TLS: []sdk.TLS{{Seen: sdk.Seen{Time: noon, Client: host(66), Server: outside(8)}, ServerName: "x.dropbox.com"}}}}
	for i := range 8 {
		out = append(out, flow("ssh", time.Duration(i)*time.Second, 20*mega, 1000), flow("", time.Duration(i)*time.Minute, 20*mega, 1000),
			message("ftp", "command", "STOR", "226", map[string]string{"arg": "kiosk_20260302_passwords"}), message("smtp", "session", "", "", map[string]string{"hello": "kiosk"}),
			message("smtp", "mail", "passwords of kiosk", "250", nil), change(flow("tls", time.Minute, 30*mega, 1000), func(f *sdk.Flow) { f.Dst = outside(8) }))
	}
	return append(out, flow("ssh", 30*time.Hour, 1200*mega, 1000), goesOn("ssh", time.Minute, 20*mega, 1000), goesOn("ssh", 2*time.Minute, 80*mega, 1000))
}

// A state that is taken over in the middle changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := theft()
	d, whole := detector(t, "{}"), &sink{}
	inspect(t, d, whole, all...)
	if err := d.Flush(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if n := len(whole.final()); n != 5 {
		t.Fatalf("%d findings: %+v", n, whole.final())
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

// TestAStateOfTheFirstVersionIsRestored takes over what version 1 wrote, which knew no flows that go on.
func TestAStateOfTheFirstVersionIsRestored(t *testing.T) {
	const seen = 20
	state, err := os.ReadFile("testdata/version1.state")
	if err != nil {
		t.Fatal(err)
	}
	all := theft()
	now, then := detector(t, "{}"), detector(t, "{}")
	inspect(t, now, &sink{}, all[:seen]...)
	if err := then.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	want := find(t, now, all[seen:]...)
	if got := find(t, then, all[seen:]...); len(want) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	if detector(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
		t.Error("a state that was cut is taken")
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	inspect(f, d, &sink{}, theft()...)
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, "{}")
		if d.Restore(context.Background(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, "{}"))
		find(t, d, theft()...)
	})
}

func FuzzNames(f *testing.F) {
	f.Add("anna-DESKTOP-7QK2M9A.html", "ANNA")
	f.Fuzz(func(_ *testing.T, text, own string) {
		looksLikeComputer(text)
		namesComputer(text, own)
		saysSecrets(text)
	})
}
