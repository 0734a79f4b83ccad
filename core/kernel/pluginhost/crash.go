package pluginhost

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
)

// crashPause is how long a version may crash again without another record: a plugin in a loop of crashes fills no disk.
const crashPause = 10 * time.Second

// lastCall remembers what an instance was given last, for the record of a crash.
type lastCall struct {
	mu      sync.Mutex // guards all below
	step    *crashlog.Step
	batch   shown // of the step, where that is of a batch
	saved   time.Time
	version string
}

func (l *lastCall) is(step crashlog.Step) {
	l.mu.Lock()
	l.step, l.batch = &step, shown{}
	l.mu.Unlock()
}

// shows is for a batch.
func (l *lastCall) shows(b shown) {
	l.mu.Lock()
	l.step, l.batch = &crashlog.Step{Call: "Inspect", Capture: b.capture}, b
	l.mu.Unlock()
}

// take returns the last call if its record is due.
func (l *lastCall) take(now time.Time, version string) *crashlog.Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.step == nil || l.version == version && now.Sub(l.saved) < crashPause {
		return nil
	}
	l.saved, l.version = now, version
	if l.batch.frame == nil || l.batch.files {
		return l.step
	}
	frame, err := l.batch.open()
	if err != nil {
		return nil
	}
	step := *l.step
	step.Frame = frame
	return &step
}

// keepCrash writes down what the process was given before it crashed: what the journal holds, then the last call. A
// crash before any call has nothing to replay, nor has one of which nothing but what is in files would be.
func (s *supervisor) keepCrash(reason string) {
	now := s.host.cfg.Now()
	s.mu.Lock()
	st := s.state
	s.mu.Unlock()
	step := s.last.take(now, st.Version)
	if step == nil {
		return
	}
	r := s.recordOf(st, now)
	r.Reason = reason
	select {
	case <-s.turn: // the journal belongs to whoever has it
		s.journal.tell(&r)
		s.turn <- struct{}{}
	case <-time.After(time.Second):
		r.Cut = true // somebody still holds it; the last call is worth keeping
	}
	switch n := len(r.Steps); {
	case step.Call == "Inspect" && step.Frame == nil:
		r.Cut = true
	case n == 0 || !sameStep(r.Steps[n-1], *step):
		r.Steps = append(r.Steps, *step)
	}
	if len(r.Steps) == 0 {
		return
	}
	if err := crashlog.Save(filepath.Join(s.host.cfg.Dir, "crashes"), r); err != nil {
		s.host.cfg.Log.Warn("the input of a crash could not be kept", "instance", s.name, "error", err)
		return
	}
	s.host.cfg.Log.Info("the input of a crash is kept", "instance", s.name, "replay", "picket plugin replay "+r.ID)
}

// recordOf is the head of a record of this moment.
func (s *supervisor) recordOf(st Status, now time.Time) crashlog.Record {
	a := s.assignment
	return crashlog.Record{ID: crashlog.Name(s.name, now), Time: now, Instance: s.name, Plugin: a.Plugin, Version: st.Version, Runtime: a.Runtime,
		Kind: st.Kind, Digest: st.Digest, Config: a.Config, Secrets: slices.Sorted(maps.Keys(a.Secrets)), Grants: st.Permissions}
}

// tell writes what the journal holds into a record, but for what is in files. Of more than a record holds only the last call is
// opened: what somebody sends can be packed to a thousandth.
func (j *journal) tell(r *crashlog.Record) {
	r.State = j.snapshot
	batches, size := make([]shown, 0, len(j.batches)), len(j.snapshot)
	for _, b := range j.batches {
		if b.files {
			r.Cut = true
			continue
		}
		batches = append(batches, b)
		size += b.size()
	}
	if size > crashlog.MaxBytes && len(batches) > 0 {
		r.State, r.Cut, batches = nil, true, batches[len(batches)-1:]
	}
	for _, b := range batches {
		frame, err := b.open()
		switch {
		case err != nil:
			r.Cut = true
		case frame == nil:
			r.Steps = append(r.Steps, crashlog.Step{Call: "Flush"})
		default:
			r.Steps = append(r.Steps, crashlog.Step{Call: "Inspect", Capture: b.capture, Frame: frame})
		}
	}
}

// sameStep reports whether the journal has the last call already, because it came back before the crash.
func sameStep(a, b crashlog.Step) bool {
	return a.Call == b.Call && a.Capture == b.Capture && len(a.Frame) > 0 && bytes.Equal(a.Frame, b.Frame)
}
