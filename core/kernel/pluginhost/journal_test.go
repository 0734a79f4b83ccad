package pluginhost

import (
	"bytes"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func TestWhenASnapshotIsDue(t *testing.T) {
	const price = 10 * time.Millisecond
	for name, c := range map[string]struct {
		batches, size int
		each, price   time.Duration
		due           bool
	}{
		"few batches, however long they took":  {minJournalBatches - 1, 1, time.Hour, price, false},
		"the first snapshot, of unknown price": {minJournalBatches, 1, 0, 0, true},
		"batches that took long":               {minJournalBatches, 1, snapshotPart * price / minJournalBatches, price, true},
		"batches that took a moment":           {minJournalBatches, 1, time.Millisecond, price, false},
		"many that took a moment":              {maxJournalBatches - 1, 1, time.Microsecond, price, false},
		"as many as there may be":              {maxJournalBatches, 1, 0, price, true},
		"as large as they may be":              {2, maxJournalBytes / 2, 0, price, true},
		"nearly as large":                      {2, maxJournalBytes/2 - 1, 0, price, false},
	} {
		j := journal{price: c.price}
		for n := range c.batches {
			if j.full(0, 0) {
				t.Errorf("%s: due after %d batches", name, n)
				break
			}
			if soon := n == c.batches-1 && c.due && c.each == 0; j.full(1, c.size) != soon {
				t.Errorf("%s: with one batch more than %d, due is %v", name, n, !soon)
				break
			}
			j.add(shown{frame: make([]byte, c.size)}, c.each)
		}
		if j.full(0, 0) != c.due {
			t.Errorf("%s: due is %v", name, !c.due)
		}
		j.cover(nil, "")
		if j.full(0, 0) || j.spent != 0 {
			t.Errorf("%s: due again at once", name)
		}
	}
}

// A journal is bounded by what is packed in it, a record by what that is when it is opened.
func TestARecordOpensNoMoreThanItHolds(t *testing.T) {
	frame := make([]byte, crashlog.MaxBytes/8)
	j := journal{snapshot: []byte("state")}
	for n := range 9 {
		frame[0] = byte(n)
		j.add(shown{capture: "c", frame: s2.Encode(nil, frame), packed: true}, 0)
		var r crashlog.Record
		j.tell(&r)
		whole := n < 7
		if r.Cut == whole || len(r.Steps) != 1 && !whole || len(r.Steps) != n+1 && whole || (r.State != nil) != whole {
			t.Errorf("of %d batches: %d calls, state %q, cut %v", n+1, len(r.Steps), r.State, r.Cut)
		}
		if last := r.Steps[len(r.Steps)-1]; !bytes.Equal(last.Frame, frame) {
			t.Errorf("of %d batches the last is another", n+1)
		}
	}
}

// What is in files is given again to a process that replaces one, and is in no record.
func TestWhatIsInFilesIsInNoRecord(t *testing.T) {
	inFile := batch.New(records.AppendFacts(nil, []sdk.Content{{Data: []byte("secret")}}), 1, nil, nil)
	ofFile := batch.New(records.AppendFacts(nil, []sdk.File{{Name: "name"}}), 1, nil, nil)
	for _, packed := range []bool{false, true} {
		if packed {
			inFile.Packed, ofFile.Packed = s2.Encode(nil, inFile.Frame), s2.Encode(nil, ofFile.Frame)
		}
		var j journal
		j.add(shownOf("c", ofFile), 0)
		j.add(shownOf("c", inFile), 0)
		var r crashlog.Record
		if j.tell(&r); len(j.batches) != 2 || len(r.Steps) != 1 || !bytes.Equal(r.Steps[0].Frame, ofFile.Frame) || !r.Cut {
			t.Errorf("packed %v: %d batches in the journal, %d calls in the record, cut %v", packed, len(j.batches), len(r.Steps), r.Cut)
		}
		var l lastCall
		l.shows(shownOf("c", inFile))
		if step := l.take(time.Now(), "1.0.0"); step == nil || step.Frame != nil {
			t.Errorf("packed %v: the last call is %+v", packed, step)
		}
	}
}
