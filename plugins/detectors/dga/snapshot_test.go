package dga

import (
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/sdk"
)

func TestRestoreRefusesNonsense(t *testing.T) {
	d := detector(t, "{}")
	if err := d.Inspect(t.Context(), sdk.Batch{DNS: generated(10, true)}, &sink{}); err != nil {
		t.Fatal(err)
	}
	state, err := d.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))]
	for what, state := range map[string][]byte{
		"nothing":         nil,
		"text":            []byte("{}"),
		"another form":    saved.Seal(append(saved.Begin(9, 0), body...)),
		"cut":             state[:len(state)-1],
		"an end too soon": saved.Seal(append(saved.Begin(snapshotVersion, 0), body[:len(body)-1]...)),
	} {
		if err := detector(t, "{}").Restore(t.Context(), state); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	if err := d.Inspect(f.Context(), sdk.Batch{DNS: generated(5, true)}, &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	fresh := func() *Detector { // reading the model anew each time would take all the time
		next := &Detector{cfg: d.cfg, scorer: d.scorer}
		next.reset()
		return next
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		whole := saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...)) // or the checksum refuses nearly all
		d := fresh()
		if d.Restore(t.Context(), whole) != nil {
			return
		}
		savedtest.HandsOn(t, d, fresh())
		find(t, d, generated(6, true)...)
	})
}

func FuzzLabel(f *testing.F) {
	for _, name := range []string{"www.example.co.uk.", "a..b", "xn--bcher-kva.com", "d1.cloudfront.net", "-.-.-"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		label, suffix, ok := Label(name)
		if !ok {
			return
		}
		for _, piece := range Pieces(nil, label, suffix) {
			if piece < 0 || piece >= numRows {
				t.Errorf("%q: piece %d", name, piece)
			}
		}
	})
}
