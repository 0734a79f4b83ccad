package store

import (
	"context"
	"fmt"
	"time"
)

const (
	// maxLiveADay bounds the recordings of one agent within a day, each of which is a file: sixteen captures that send every ten
	// seconds make 138,240.
	maxLiveADay = 150_000
	// maxAgentWords is how many names of protocols that nobody has used before one agent may bring, and maxLiveWords how many
	// there may be in all when agents bring more: the rest is for captures that are uploaded.
	maxAgentWords = 64
	maxLiveWords  = maxWords / 2
)

// QuotaError says that somebody stored as much as he may.
type QuotaError struct {
	Message    string
	RetryAfter time.Duration
}

func (e *QuotaError) Error() string { return e.Message }

// liveUse is what agents have used of what they share. Flows.mu guards it.
type liveUse struct {
	day        int64
	recordings map[string]int // by agent, of day
	words      map[string]int // by agent
	refused    uint64
}

// RecordLive begins the recording of a batch that an agent sent. Close must be called. *QuotaError when the agent has sent as many
// within this day as it may; a batch that is sent again is not another one.
func (f *Flows) RecordLive(ctx context.Context, tenant, agent, batch string) (*FlowRecording, error) {
	if err := f.countLive(tenant, agent, batch); err != nil {
		return nil, err
	}
	r, err := f.Record(ctx, tenant, batch)
	if err != nil {
		f.uncountLive(tenant, agent, batch) // it will be sent again
		return nil, err
	}
	r.agent = agent
	return r, nil
}

func (f *Flows) countLive(tenant, agent, batch string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, now := &f.live, f.cfg.Now()
	if day := dayOf(now.UnixMicro()); u.recordings == nil || day != u.day {
		u.day, u.recordings = day, map[string]int{}
	}
	if _, again := f.latest[[2]string{tenant, batch}]; again {
		return nil
	}
	if u.recordings[agent] >= maxLiveADay {
		tomorrow := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		return &QuotaError{RetryAfter: min(tomorrow.Sub(now), time.Hour),
			Message: fmt.Sprintf("this agent has sent %d batches of flows today, as many as it may; it can send more tomorrow", maxLiveADay)}
	}
	u.recordings[agent]++
	return nil
}

func (f *Flows) uncountLive(tenant, agent, batch string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.latest[[2]string{tenant, batch}]; !again {
		f.live.recordings[agent] = max(0, f.live.recordings[agent]-1)
	}
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
