package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// Bounds of a journal. When one of the latter two is reached the detector is asked for a snapshot, and the journal begins anew. It
// is asked before when the journal has some batches and the last snapshot took at most a part in snapshotPart of the time that
// these took: to write down all that it knows then costs the detector a few per cent of its time, however much that is.
const (
	minJournalBatches = 64
	snapshotPart      = 25
	maxJournalBatches = 1024
	maxJournalBytes   = 4 << 20
)

// journal is what a detector has to be given when its process is replaced: the last snapshot and every batch since.
// A batch counts as seen for good only when a snapshot covers it. It is used by whoever has the supervisor's turn.
type journal struct {
	plugin     string // whose it is: an instance may become one of another
	keeps      bool   // the plugin can give and take its state
	asked      string // the digest of the bytes that were asked about that
	snapshot   []byte // nil: the batches begin at a fresh start
	of         string // the version that gave the snapshot
	handover   []byte // the snapshot that the version before gave at the upgrade, while that may be taken back
	handoverOf string
	batches    []shown
	bytes      int
	spent      time.Duration // on the batches
	price      time.Duration // of the last snapshot, 0 before the first
	inside     bool          // a capture has begun and was not flushed
	capture    string        // the last one
	cut        bool          // since the handover the journal was cut inside a capture
}

// shown is a batch that the detector has seen.
type shown struct {
	capture string
	frame   []byte // nil is the end of the capture
	packed  bool   // frame is an S2 block
	files   bool   // it holds what is in files, which is written down nowhere
}

func shownOf(capture string, b *batch.Batch) shown {
	files := records.SchemaOf(b.Frame) == records.Contents
	if b.Packed != nil {
		return shown{capture, b.Packed, true, files}
	}
	return shown{capture, b.Keep(), false, files}
}

// open returns the frame as the detector saw it.
func (b shown) open() ([]byte, error) {
	if !b.packed {
		return b.frame, nil
	}
	return s2.Decode(nil, b.frame) // it was opened before, within bounds
}

// size is how long the frame is when it is opened.
func (b shown) size() int {
	if !b.packed {
		return len(b.frame)
	}
	n, _ := s2.DecodedLen(b.frame) // open says what is wrong with it
	return n
}

// add enters a batch on which the detector has spent so long.
func (j *journal) add(b shown, spent time.Duration) {
	j.batches = append(j.batches, b)
	j.bytes += len(b.frame)
	j.spent += spent
}

// full reports whether a snapshot is due once so many batches more are in, of so many bytes together.
func (j *journal) full(batches, bytes int) bool {
	batches += len(j.batches)
	return batches >= maxJournalBatches || j.bytes+bytes >= maxJournalBytes ||
		batches >= minJournalBatches && j.spent >= snapshotPart*j.price
}

// cover begins the journal anew at a snapshot.
func (j *journal) cover(snapshot []byte, version string) {
	j.snapshot, j.of, j.batches, j.bytes, j.spent = snapshot, version, nil, 0, 0
}

// belongsTo makes it the journal of a plugin, who is given nothing of what another knew.
func (j *journal) belongsTo(plugin string) {
	if j.plugin == plugin {
		return
	}
	j.forget()
	j.plugin, j.asked, j.keeps = plugin, "", false
}

// forget drops everything: the next process begins fresh.
func (j *journal) forget() {
	j.cover(nil, "")
	j.handover, j.handoverOf, j.cut = nil, "", false
}

// empty reports whether a fresh process lacks nothing.
func (j *journal) empty() bool { return j.snapshot == nil && len(j.batches) == 0 }

// probe finds out whether a detector keeps state. It asks the fresh process for a snapshot, once for each program. The
// answer counts for the journal only when that process takes over.
func (s *supervisor) probe(r *run) (keeps bool) {
	if !r.reads() || s.journal.asked == r.digest {
		return s.journal.keeps
	}
	_, err := s.takeSnapshot(s.ctx, r)
	if err != nil && sdk.ClassOf(err) != sdk.Unsupported {
		s.host.cfg.Log.Warn("a detector cannot give its state; a crash will cost what it has seen of a capture", "instance", s.name, "problem", s.log.blank(err.Error()))
	}
	return err == nil
}

// probed takes the answer of a probe for the journal.
func (j *journal) probed(r *run, keeps bool) {
	if r.reads() {
		j.asked, j.keeps = r.digest, keeps
	}
}

func (s *supervisor) takeSnapshot(ctx context.Context, r *run) (state []byte, err error) {
	_, err = s.guarded(ctx, r, "Snapshot", s.host.cfg.Deadlines.Snapshot, func(ctx context.Context, i *host.Instance) error {
		state, err = i.Snapshot(ctx)
		return err
	})
	if err == nil && state == nil {
		state = []byte{}
	}
	return state, err
}

func (s *supervisor) giveState(ctx context.Context, r *run, state []byte) error {
	_, err := s.guarded(ctx, r, "Restore", s.host.cfg.Deadlines.Snapshot, func(ctx context.Context, i *host.Instance) error {
		return i.Restore(ctx, state)
	})
	return err
}

// nobody is told what a batch makes a detector find for the second time: it was passed on the first time.
type nobody struct{}

func (nobody) Finding(sdk.Finding) error   { return nil }
func (nobody) Sighting(sdk.Sighting) error { return nil }

// revive gives a process that has just started what the one before it knew, before it gets anything new.
func (s *supervisor) revive(ctx context.Context, r *run) error {
	j := &s.journal
	if r.revived {
		return nil
	}
	if !j.keeps || j.empty() {
		r.revived = true
		return nil
	}
	if j.snapshot != nil {
		if err := s.restoreAny(ctx, r); err != nil {
			return err
		}
	}
	for _, b := range j.batches {
		frame, err := b.open()
		if err != nil {
			return fmt.Errorf("a batch of the journal: %w", err)
		}
		if frame != nil && !r.mayRead(frame) {
			continue
		}
		if err := s.replay(ctx, r, b.capture, frame); lost(err) || ctx.Err() != nil {
			return err // any other error it gave the first time too, and it was passed on then
		}
	}
	s.acct.replay(len(j.batches))
	r.revived = true
	return nil
}

func (s *supervisor) replay(ctx context.Context, r *run, capture string, frame []byte) (err error) {
	if frame == nil {
		_, err = s.guarded(ctx, r, "Flush", r.deadline(s.host.cfg.Deadlines.Flush), func(ctx context.Context, i *host.Instance) error {
			return i.Flush(ctx, nobody{})
		})
		return err
	}
	_, err = s.guarded(ctx, r, "Inspect", r.deadline(s.host.cfg.Deadlines.Inspect), func(ctx context.Context, i *host.Instance) error {
		return i.Inspect(ctx, capture, frame, nobody{})
	})
	return err
}

// restoreAny tries the last snapshot and, when this version cannot read it, the one from before the upgrade. What lies
// between the two is lost then, and the verdict on a capture that has begun says so.
func (s *supervisor) restoreAny(ctx context.Context, r *run) error {
	j := &s.journal
	err := s.giveState(ctx, r, j.snapshot)
	if err == nil || lost(err) || ctx.Err() != nil {
		return err
	}
	if j.handover != nil && j.handoverOf == r.version {
		if again := s.giveState(ctx, r, j.handover); again == nil {
			s.lostSight(j.inside && j.cut)
			return nil
		} else if lost(again) || ctx.Err() != nil {
			return again
		}
	}
	s.note(fmt.Sprintf("%s does not take the state that %s left (%v); it begins without", r.version, j.of, err))
	s.lostSight(j.inside)
	j.cover(nil, "")
	return nil
}

// lostSight notes that the instance has forgotten a part of the capture that it is shown.
func (s *supervisor) lostSight(yes bool) {
	if !yes {
		return
	}
	s.mu.Lock()
	s.epoch++
	s.mu.Unlock()
}

// keep enters a batch that the detector has seen.
func (s *supervisor) keep(b shown, spent time.Duration) {
	j := &s.journal
	if !j.keeps {
		return
	}
	j.add(b, spent)
	if j.handover != nil && !s.onProbation() {
		j.handover, j.handoverOf = nil, ""
	}
}

// coverFull asks for a snapshot when enough batches have gathered. All that the detector has seen must be in the journal.
func (s *supervisor) coverFull(ctx context.Context, r *run) {
	if s.journal.keeps && s.journal.full(0, 0) {
		s.journal.cut = true
		s.cover(ctx, r)
	}
}

// cover takes a snapshot. A detector that fails to give one is treated from then on as one that keeps nothing; the
// batches cannot be kept for ever.
func (s *supervisor) cover(ctx context.Context, r *run) {
	j := &s.journal
	began := time.Now()
	state, err := s.takeSnapshot(ctx, r)
	switch {
	case err == nil:
		j.cover(state, r.version)
		if !s.host.cfg.eager {
			j.price = time.Since(began)
		}
	case lost(err), ctx.Err() != nil:
		// The next process gets everything again, and then the question.
	default:
		s.note(fmt.Sprintf("%s cannot give its state (%v); a crash will cost what it has seen of a capture", r.version, err))
		j.keeps = false
		j.forget()
		s.mu.Lock()
		s.keeps = false
		s.mu.Unlock()
	}
}

// flushed ends a capture in the journal.
func (s *supervisor) flushed(ctx context.Context, r *run) {
	j := &s.journal
	j.inside, j.cut = false, false
	if j.keeps && len(j.batches) > 0 {
		j.add(shown{}, 0)
		s.keepFound(true)
		s.cover(ctx, r)
	}
	select {
	case s.between <- struct{}{}:
	default:
	}
}

// persistent repeats a call to a detector that lost its process, as long as there is hope: its journal makes the new
// process know what the old one knew, so that nobody notices. A batch that kills every process ends in quarantine.
func (s *supervisor) persistent(ctx context.Context, once func() error) error {
	patience, cancel := context.WithTimeout(ctx, s.host.cfg.Deadlines.Recover)
	defer cancel()
	for {
		err := once()
		if !lost(err) && !errors.As(err, new(*downError)) || ctx.Err() != nil || !s.recoverable() {
			return s.log.blankError(err)
		}
		if s.awaitProcess(patience) != nil {
			return s.log.blankError(err)
		}
	}
}

func (s *supervisor) recoverable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keeps
}

// awaitProcess waits until the instance has a process again, or must not have one.
func (s *supervisor) awaitProcess(ctx context.Context) error {
	return s.await(ctx, func() (bool, error) {
		switch s.state.State {
		case Ready, Degraded:
			return s.cur != nil, nil
		case Quarantined, Refused, Revoked, Stopped:
			return true, s.problem()
		}
		return false, nil
	})
}

// defaultRecover bounds how long a call waits for a new process.
const defaultRecover = 5 * time.Minute
