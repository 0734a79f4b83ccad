package tls

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

// all is something of all rules.
func all() (list []sdk.TLS) {
	for i := range 40 {
		r := ordinary(i * 61)
		r.Server = outside1(byte(i % 4))
		list = append(list, r)
	}
	last := begun.Add(41 * time.Minute)
	for i, change := range []func(*sdk.TLS){
		func(r *sdk.TLS) { r.Issuer = "CN=AsyncRAT Server" }, func(r *sdk.TLS) { r.SelfSigned, r.Chain = true, []string{strings.Repeat("cd", 32)} },
		func(r *sdk.TLS) { r.ServerName, r.SelfSigned, r.ALPNs = "", true, nil }, func(r *sdk.TLS) { r.Cipher = 5 }, func(r *sdk.TLS) { r.Version, r.Offered = wireTLS10, wireTLS10 },
		func(r *sdk.TLS) { r.ServerName = "x.example.com" }, func(r *sdk.TLS) { r.NotAfter = begun.Add(-48 * time.Hour) },
		func(r *sdk.TLS) { r.ServerName, r.ALPNs, r.Server = "www.v5xqkwzrgp2m.com", nil, outside1(91) }, func(r *sdk.TLS) { r.ServerName, r.ALPNs, r.Server = "www.tq7bdhgsnl.com", nil, outside1(92) },
		func(r *sdk.TLS) { r.ServerName, r.ALPNs, r.Server = "www.xlkjwq4hzd.com", nil, outside1(93) },
	} {
		r := ordinary(100 + i)
		r.Time, r.Client = last, inside1(2)
		change(&r)
		list = append(list, r, r)
	}
	for i := range 2 * often {
		r := ordinary(200 + i)
		r.Time, r.Client, r.JA4 = last.Add(time.Duration(i)*time.Second), inside1(3), "t12d190800_d83cc789557e_7af1ed941c26"
		list = append(list, r)
	}
	return list
}

// A state that is taken over in the middle changes nothing.
func TestAStateIsRestored(t *testing.T) {
	const settings = `{"learn": "30m"}`
	list, whole, want := all(), detector(t, settings), &sink{}
	inspect(t, whole, want, list...)
	if err := whole.Flush(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for _, f := range want.findings {
		rules[f.Rule] = true
	}
	if len(rules) < 9 {
		t.Fatalf("%d rules: %v", len(rules), rules)
	}
	for cut := range list {
		first, second, parts := detector(t, settings), detector(t, settings), &sink{}
		inspect(t, first, parts, list[:cut]...)
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, "{}").Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		inspect(t, second, parts, list[cut:]...)
		if err := second.Flush(t.Context(), parts); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parts.findings, want.findings) {
			t.Fatalf("cut at %d:\n%+v\nwant\n%+v", cut, parts.findings, want.findings)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	inspect(f, d, &sink{}, all()...)
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
			find(t, d, all()...)
		}
	})
}
