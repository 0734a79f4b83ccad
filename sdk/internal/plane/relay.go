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
	away   bool   // who reads inspects a batch
	turn   uint64 // counts those batches
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
	if len(p.channels) != 1 || p.channels[w.id] != w || w.taken > 0 || w.emits() {
		return 0, false
	}
	w.taken++
	r.away = true
	r.turn++
	if !r.timed {
		r.timed = true
		r.watch.Reset(longestAbsence)
	}
	return r.turn, true
}

// end says whether who has inspected a batch reads on.
func (r *relay) end(w *work, turn uint64) bool {
	r.plugin.mu.Lock()
	defer r.plugin.mu.Unlock()
	w.taken--
	mine := r.away && r.turn == turn
	if mine {
		r.away = false
	}
	return mine
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
