package pluginhost

import (
	"path/filepath"
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

// keepFound writes down what findings rest on; the caller has the journal. last says that it is about to begin anew.
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
	s.journal.tell(&r)
	if len(r.Steps) == 0 {
		return // it rests on nothing but what is in files
	}
	if err := crashlog.SaveFound(filepath.Join(s.host.cfg.Dir, "found"), r); err != nil {
		s.host.cfg.Log.Warn("the input of a finding could not be kept", "instance", s.name, "error", err)
	}
}
