package pluginhost

import (
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
	"github.com/picketwatch/picket/sdk"
)

// foundPause is how long what is found waits for more to be kept with it: a detector that finds much fills no disk.
const foundPause = time.Second

// maxFound is how many findings wait to be kept. More come of one journal only where everything is an attack.
const maxFound = 64

// foundInput are the findings whose input is still to be kept.
type foundInput struct {
	mu      sync.Mutex // guards all below
	waiting []sdk.Finding
	saved   time.Time
}

// Keep has what the detector was shown since its last snapshot written down, once it has answered the batch in which it found f:
// live traffic is recorded nowhere, and whoever doubts an alert gives the detector the same again. A detector that gives no
// state away is not kept: its finding rests on all that it ever saw.
func (d Detector) Keep(f sdk.Finding) {
	w := &d.s.found
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) < maxFound {
		w.waiting = append(w.waiting, f)
	}
}

// take returns what waits when it is due, which it always is when the journal is about to begin anew.
func (w *foundInput) take(now time.Time, last bool) []sdk.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 || !last && now.Sub(w.saved) < foundPause {
		return nil
	}
	found := w.waiting
	w.waiting, w.saved = nil, now
	return found
}

// keepFound has what findings rest on written down; the caller has the journal, and does not wait for the disk. last says that the journal is
// about to begin anew.
func (s *supervisor) keepFound(last bool) {
	now := s.host.cfg.Now()
	found := s.found.take(now, last)
	if len(found) == 0 || !s.journal.keeps {
		return
	}
	s.mu.Lock()
	st := s.state
	s.mu.Unlock()
	r := s.recordOf(st, now)
	r.Found = found
	s.host.inputs.add(foundRecord{record: r, of: journal{snapshot: s.journal.snapshot, batches: slices.Clone(s.journal.batches)}}, s.host.saveFound)
}

// foundRecord is what is to be written down. Batches of a journal do not change, so that it can be taken apart later.
type foundRecord struct {
	record crashlog.Record
	of     journal
}

// saveFound writes a record down.
func (h *Host) saveFound(x foundRecord, left int) {
	r := x.record
	if left > 0 {
		h.cfg.Log.Warn("the input of findings could not be kept: too much was found at once", "records", left)
	}
	x.of.tell(&r)
	if len(r.Steps) == 0 {
		return // it rests on nothing but what is in files
	}
	if err := crashlog.SaveFound(filepath.Join(h.cfg.Dir, "found"), r); err != nil {
		h.cfg.Log.Warn("the input of a finding could not be kept", "instance", r.Instance, "error", err)
	}
}

// maxFoundRecords is how many records wait to be written down. Each may be as large as a journal and a snapshot.
const maxFoundRecords = 8

// foundRecords write records down one after the other, in a goroutine that is there while there are some.
type foundRecords struct {
	mu      sync.Mutex // guards all below
	waiting []foundRecord
	left    int           // that had no room
	busy    chan struct{} // is closed when all are written; nil while there are none
}

// add has a record written down by save, which is told how many before it were left out.
func (w *foundRecords) add(x foundRecord, save func(x foundRecord, left int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= maxFoundRecords {
		w.left++
		return
	}
	w.waiting = append(w.waiting, x)
	if w.busy == nil {
		w.busy = make(chan struct{})
		go w.write(save)
	}
}

func (w *foundRecords) write(save func(foundRecord, int)) {
	for {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			close(w.busy)
			w.busy = nil
			w.mu.Unlock()
			return
		}
		x, left := w.waiting[0], w.left
		w.waiting, w.left = slices.Delete(w.waiting, 0, 1), 0
		w.mu.Unlock()
		save(x, left)
	}
}

// wait returns when everything is written down.
func (w *foundRecords) wait() {
	w.mu.Lock()
	busy := w.busy
	w.mu.Unlock()
	if busy != nil {
		<-busy
	}
}
