package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// maxLiveADay bounds the batches of one agent within a day: sixteen captures that send every ten seconds make 138,240. And
	// maxLiveRuns bounds the recordings, each of which is a file: one for each worker.
	maxLiveADay = 150_000
	maxLiveRuns = 4096
	// maxAgentWords is how many names of protocols that nobody has used before one agent may bring, and maxLiveWords how many
	// there may be in all when agents bring more: the rest is for captures that are uploaded.
	maxAgentWords = 64
	maxLiveWords  = maxWords / 2
	// maxEpochs is how many queues of one agent are told apart. It has one, and another when that one is lost.
	maxEpochs = 8
	// liveWait is when an agent may come back whose batch is being recorded.
	liveWait = 5 * time.Second
)

// QuotaError says that somebody stored as much as he may.
type QuotaError struct {
	Message    string
	RetryAfter time.Duration
}

func (e *QuotaError) Error() string { return e.Message }

// liveUse is what agents have used of what they share, and how far they came. Flows.mu guards it.
type liveUse struct {
	day     int64
	agents  map[agentKey]*agentUse
	words   map[string]int // by agent
	refused uint64
	growths map[uint32]*growth // by run
}

type agentKey struct{ tenant, agent string }

// agentUse is what one agent sent. Counts are of liveUse.day.
type agentUse struct {
	batches, runs int
	marks         []liveMark // of its queues, the latest last
	busy          bool       // a batch is being recorded
}

// liveMark says through which number the batches of a queue are stored.
type liveMark struct {
	epoch string
	seq   uint64
}

// agent returns what an agent has used of a day. Flows.mu is held.
func (u *liveUse) agent(key agentKey, day int64) *agentUse {
	if u.agents == nil {
		u.agents = map[agentKey]*agentUse{}
	}
	if day != u.day {
		u.day = day
		for _, a := range u.agents {
			a.batches, a.runs = 0, 0
		}
	}
	a := u.agents[key]
	if a == nil {
		a = &agentUse{}
		u.agents[key] = a
	}
	return a
}

// stored reports whether a batch is on disk.
func (a *agentUse) stored(epoch string, seq uint64) bool {
	return slices.ContainsFunc(a.marks, func(m liveMark) bool { return m.epoch == epoch && seq <= m.seq })
}

// mark notes that a batch is on disk.
func (a *agentUse) mark(epoch string, seq uint64) {
	if i := slices.IndexFunc(a.marks, func(m liveMark) bool { return m.epoch == epoch }); i >= 0 {
		seq = max(seq, a.marks[i].seq)
		a.marks = slices.Delete(a.marks, i, i+1)
	} else if len(a.marks) >= maxEpochs {
		a.marks = slices.Delete(a.marks, 0, 1)
	}
	a.marks = append(a.marks, liveMark{epoch, seq})
}

// beginLive finds the place of a batch, if it is new and its agent may send it.
func (f *Flows) beginLive(l *LiveRecording, day int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.live.agent(agentKey{l.batch.Tenant, l.batch.Agent}, day)
	if err := f.room(l.batch.Tenant); err != nil {
		return err
	}
	switch {
	case a.busy: // the agent did not wait for the answer
		return &BusyError{RetryAfter: liveWait}
	case a.stored(l.batch.Epoch, l.batch.Seq):
		return ErrStored
	case a.batches >= maxLiveADay:
		return f.tooMuch(fmt.Sprintf("%d batches of flows", maxLiveADay))
	}
	l.place(day)
	if l.fresh && a.runs >= maxLiveRuns {
		return f.tooMuch(fmt.Sprintf("flows of %d workers", maxLiveRuns))
	}
	a.busy = true
	a.batches++
	if l.fresh {
		a.runs++
	}
	return nil
}

func (f *Flows) tooMuch(what string) error {
	now := f.cfg.Now()
	tomorrow := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	return &QuotaError{RetryAfter: min(tomorrow.Sub(now), time.Hour),
		Message: fmt.Sprintf("this agent has sent %s today, as many as it may; it can send more tomorrow", what)}
}

// endLive lets the agent send more. A batch that is not on disk does not count: it will be sent again.
func (f *Flows) endLive(l *LiveRecording, stored bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.live.agents[agentKey{l.batch.Tenant, l.batch.Agent}]
	a.busy = false
	if stored {
		a.mark(l.batch.Epoch, l.batch.Seq)
		return
	}
	delete(f.live.growths, l.run.id) // it may be half changed
	if l.run.day != f.live.day {
		return // counted on a day that is over
	}
	a.batches--
	if l.fresh {
		a.runs = max(0, a.runs-1)
	}
}

// loadLive adds up the batches of the recordings of a segment that grew, and learns how far the agents came.
func (f *Flows) loadLive(ctx context.Context, seg *segment, runs []*run) error {
	db := seg.alias + ".main."
	parts, err := collect(ctx, f.engine.db, func(r row) (p run, err error) {
		return p, r.Scan(&p.id, &p.flows, &p.facts, &p.packets, &p.bytes, &p.first, &p.last)
	}, fmt.Sprintf(`SELECT run, %s, %s, %s, %s, coalesce(epoch_us(min(first)), 0), coalesce(epoch_us(max(last)), 0) FROM %sbatches GROUP BY run`,
		total("flows"), total("facts"), total("packets"), total("bytes"), db))
	if err != nil {
		return err
	}
	byID := map[uint32]*run{}
	for _, r := range runs {
		byID[r.id] = r
	}
	for _, p := range parts {
		if r := byID[p.id]; r != nil {
			r.add(&p)
		}
	}
	type came struct {
		key           agentKey
		mark          liveMark
		batches, runs int
	}
	list, err := collect(ctx, f.engine.db, func(r row) (c came, err error) {
		return c, r.Scan(&c.key.tenant, &c.key.agent, &c.mark.epoch, &c.mark.seq, &c.batches, &c.runs)
	}, fmt.Sprintf(`SELECT tenant, agent, epoch, max(seq), count(*), count(DISTINCT run) FROM %[1]sbatches JOIN %[1]slive USING (run) JOIN %[1]sruns USING (run)
		GROUP BY ALL ORDER BY max(batches.rowid)`, db))
	today := dayOf(f.cfg.Now().UnixMicro())
	for _, c := range list {
		a := f.live.agent(c.key, today)
		a.mark(c.mark.epoch, c.mark.seq)
		if seg.day == today {
			a.batches, a.runs = a.batches+c.batches, a.runs+c.runs
		}
	}
	return err
}

// coin reports whether a name that nobody has used before may be kept, and counts it. Flows.mu is held.
func (f *Flows) coin(agent string) bool {
	if agent == "" {
		return len(f.words) < maxWords
	}
	u := &f.live
	if len(f.words) >= maxLiveWords || u.words[agent] >= maxAgentWords {
		u.refused++
		return false
	}
	if u.words == nil {
		u.words = map[string]int{}
	}
	u.words[agent]++
	return true
}

// RefusedNames is how many flows of agents are without the name of their protocol or tunnel because the agent brought too many.
func (f *Flows) RefusedNames() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live.refused
}
