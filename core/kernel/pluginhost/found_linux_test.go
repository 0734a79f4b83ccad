package pluginhost

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// keeping has what the first of its findings rests on kept.
type keeping struct {
	Detector
	found []sdk.Finding
}

func (k *keeping) Finding(f sdk.Finding) error {
	f.ID = fmt.Sprint(len(k.found))
	if k.found = append(k.found, f); len(k.found) == 1 {
		k.Keep(f)
	}
	return nil
}

// What a detector was shown when it found something is kept, up to the batch in which it found it, and nothing of one that found
// nothing that somebody wants to doubt.
func TestWhatWasFoundIsKept(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": ""}, nil)
	f.apply(f.reading("d", "stateful/detector", "1.0.0"), f.reading("other", "stateful/detector", "1.0.0"))
	for _, name := range []string{"d", "other"} {
		f.untilState(name, Ready)
	}
	for _, d := range f.Detectors() {
		k := &keeping{Detector: d}
		if d.Instance() == "other" {
			k.found = make([]sdk.Finding, 1) // it is asked for nothing
		}
		in := make(chan *batch.Batch, 3)
		for n := range 3 {
			in <- f.Share(framed(1+50*n, 51+50*n), 1)
		}
		close(in)
		if err := d.InspectAll(t.Context(), "live", in, k); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(t.Context(), k); err != nil || len(k.found) < 2 {
			t.Fatalf("%d findings, %v", len(k.found), err)
		}
	}
	f.inputs.wait()
	dir := filepath.Join(f.cfg.Dir, "found")
	list := crashlog.List(dir)
	if len(list) != 1 || list[0].Instance != "d" || len(list[0].Found) != 1 || list[0].Found[0].ID != "0" {
		t.Fatalf("kept: %+v", list)
	}
	r, err := crashlog.Load(filepath.Join(dir, list[0].ID))
	if err != nil || len(r.Steps) != 1 || r.Steps[0].Capture != "live" || records.Count(r.Steps[0].Frame) != 50 || r.Plugin != "stateful/detector" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestFindingsWaitForEachOther(t *testing.T) {
	s := &supervisor{}
	d, now := Detector{Handle{s: s}}, time.Unix(1000, 0)
	if len(s.found.take(now, true)) != 0 {
		t.Error("nothing was found")
	}
	d.Keep(sdk.Finding{ID: "a"})
	if len(s.found.take(now, false)) != 1 {
		t.Error("the first does not wait")
	}
	for range maxFound + 1 {
		d.Keep(sdk.Finding{ID: "b"})
	}
	if len(s.found.take(now.Add(foundPause/2), false)) != 0 {
		t.Error("the next are kept together")
	}
	if n := len(s.found.take(now.Add(foundPause/2), true)); n != maxFound {
		t.Errorf("%d are kept before the journal begins anew", n)
	}
}

// Whoever finds does not wait for the disk; what is too much at once is left out, and told with the next record.
func TestFindingsAreWrittenDownBesideTheDetector(t *testing.T) {
	var w foundRecords
	disk, begun := make(chan struct{}), make(chan struct{}, 100)
	var saved, left int
	save := func(_ foundRecord, n int) {
		begun <- struct{}{}
		<-disk
		saved++
		left += n
	}
	w.add(foundRecord{}, save)
	<-begun
	for range maxFoundRecords + 3 {
		w.add(foundRecord{}, save) // and comes back, which is what is tested
	}
	close(disk)
	w.wait()
	if saved != 1+maxFoundRecords || left != 3 {
		t.Errorf("%d records were written, %d left out", saved, left)
	}
	w.add(foundRecord{}, save)
	if w.wait(); saved != 2+maxFoundRecords {
		t.Error("nothing is written once the writer has come to its end")
	}
}
