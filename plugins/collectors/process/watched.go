package process

import "github.com/picketwatch/picket/sdk"

// watch is what became of a program that must run.
type watch struct {
	eldest   float64 // when the oldest of its processes began
	known    bool    // it has been seen
	restarts float64
}

// emitWatched counts the processes of each watched program. None is 0 here, which is known and not missing. When the oldest
// process of a program is a younger one than before, the program was started again, however short it was away.
func (c *Collector) emitWatched(t table, out *emitter) {
	type sum struct{ count, use, memory, eldest float64 }
	sums := make([]sum, len(c.watched))
	for _, p := range t.processes {
		k := c.known[p.pid]
		if p.state == "defunct" { // it has ended and waits for its parent to notice
			continue
		}
		for _, i := range k.matches {
			s := &sums[i]
			if s.count == 0 || p.started < s.eldest {
				s.eldest = p.started
			}
			s.count++
			s.use += k.use
			s.memory += p.memory
		}
	}
	for i, s := range sums {
		w := &c.watched[i]
		labels := map[string]string{"process.executable.name": c.config.Watched[i]}
		out.emit(sdk.Gauge, "process.watched.count", "{process}", s.count, labels)
		if s.count > 0 {
			if w.known && s.eldest > w.eldest {
				w.restarts++
			}
			w.known, w.eldest = true, s.eldest
			out.emit(sdk.Gauge, "process.watched.cpu.utilization", "1", s.use, labels)
			out.emit(sdk.Gauge, "process.watched.memory.usage", "By", s.memory, labels)
			out.emit(sdk.Gauge, "process.watched.uptime", "s", max(0, t.now-s.eldest), labels)
		}
		out.emit(sdk.Counter, "process.watched.restarts", "{restart}", w.restarts, labels)
	}
}
