package plane

import "time"

// longestAbsence is how long, or up to twice as long, nobody reads what the host sends because who reads it inspects a batch.
const longestAbsence = 10 * time.Millisecond

// relay lets the goroutine that has read a batch inspect it too: to wake another for that costs as much as a small batch.
// Nobody reads in the meantime, so it does that only where nobody waits for what may come: in a process with one instance
// that emits no samples. Another goroutine reads in its place once that has changed, or the batch takes long. Everything
// is guarded by the mu of the plugin.
type relay struct {
	plugin *Plugin
	away   bool   // nobody reads
	turn   uint64 // counts how often that began
	seen   uint64 // turn at the last tick of the watch
	timed  bool   // the watch runs
	watch  *time.Timer
}

func (r *relay) init(p *Plugin) {
	r.plugin = p
	r.watch = time.AfterFunc(time.Hour, r.tick)
	r.watch.Stop()
}

// begin says whether who reads may inspect a batch of w now, and which turn that is.
func (r *relay) begin(w *work) (uint64, bool) {
	p := r.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.alone(w) || w.taken > 0 {
		return 0, false
	}
	w.taken++
	return r.leave(), true
}

// rest says whether who has read a batch of w leaves the next to the worker of w, which has to answer others before.
// Otherwise there would always be some, and each would be handed over.
func (r *relay) rest(w *work) bool {
	p := r.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.alone(w) || w.taken == 0 {
		return false
	}
	r.leave()
	return true
}

// alone says whether nobody but w waits for what may come. The caller holds the mu of the plugin.
func (r *relay) alone(w *work) bool {
	channels := r.plugin.channels
	return len(channels) == 1 && channels[w.id] == w && !w.emits()
}

// leave notes that nobody reads, and returns the number of that. The caller holds the mu of the plugin.
func (r *relay) leave() uint64 {
	r.away = true
	r.turn++
	if !r.timed {
		r.timed = true
		r.watch.Reset(longestAbsence)
	}
	return r.turn
}

// end says whether who has inspected a batch reads on.
func (r *relay) end(w *work, turn uint64) bool {
	r.plugin.mu.Lock()
	defer r.plugin.mu.Unlock()
	w.taken--
	if r.away && r.turn == turn {
		r.away = false
		return true
	}
	r.answered(w)
	return false
}

// answered lets somebody read once the worker of w, or who was in its place, has nothing left to do. The caller holds the mu
// of the plugin.
func (r *relay) answered(w *work) {
	if w.taken == 0 {
		r.pass()
	}
}

// pass lets another goroutine read if nobody does. The caller holds the mu of the plugin.
func (r *relay) pass() {
	if r.away {
		r.away = false
		go r.plugin.messages()
	}
}

// tick looks for a batch that takes long. It ends when there is nothing to look at.
func (r *relay) tick() {
	r.plugin.mu.Lock()
	defer r.plugin.mu.Unlock()
	if r.timed = r.turn != r.seen; r.timed {
		r.seen = r.turn
		r.watch.Reset(longestAbsence)
		return
	}
	r.pass()
}
