package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/keptbatch"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/sdk"
)

const (
	// evidenceWait is how long the packets of a finding are waited for that the worker has yet to hand to its memory, and evidenceAgain
	// when they are taken out once more for a finding that has grown.
	evidenceWait  = time.Second
	evidenceAgain = 30 * time.Second
	evidenceTimes = 3 // at most, for one finding
	evidenceLook  = 200 * time.Millisecond
	// evidenceEnd is how long the agent waits for packets when it stops.
	evidenceEnd = 5 * time.Second

	maxEvidence      = 256      // findings of which something is remembered
	evidencePerHour  = 64 << 20 // bytes of packets, before they are compressed
	evidenceForgets  = 10 * time.Minute
	maxEvidenceLists = carved.MaxKeptPackets
)

// keeper is a capture that keeps its newest packets; *traffic.Live is one.
type keeper interface {
	Keeps() bool
	Kept(ctx context.Context, run string, e carved.Evidence) (carved.Kept, []byte, error)
}

// evidence sends the packets that findings rest on, after the findings.
type evidence struct {
	put func(kind uint8, rows int, v any) error
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex // guards what follows
	findings map[string]*evidenceOf
	hour     time.Time // when the hour began that is counted
	sent     int       // bytes within it
	figures  EvidenceFigures
}

// evidenceOf is what is to be sent for one finding.
type evidenceOf struct {
	keeper keeper
	run    string
	wanted carved.Evidence
	due    time.Time // zero when nothing is
	times  int       // that packets were taken out
	last   time.Time
}

// EvidenceFigures say what became of the packets of findings since the start.
type EvidenceFigures struct {
	Findings uint64 `json:"findings"` // for which packets were sent
	Packets  uint64 `json:"packets"`  // that were sent
	Refused  uint64 `json:"refused"`  // findings for which none were, because it was too much
	Gone     uint64 `json:"gone"`     // and because they had been overwritten
	Failed   uint64 `json:"failed"`   // and because they could not be taken out
}

func (a *Agent) newEvidence() *evidence {
	return &evidence{put: a.outbox.put, log: a.log, now: time.Now, findings: map[string]*evidenceOf{}}
}

// found has the packets of a finding sent soon; id is its name on the server. Whoever finds does not wait.
func (e *evidence) found(k keeper, run, id string, f sdk.Finding) {
	wanted := wantedFor(f)
	if len(wanted.Flows)+len(wanted.Numbers) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.findings[id]
	if x == nil {
		if len(e.findings) >= maxEvidence && !e.forget() {
			e.figures.Refused++
			e.tell(keptbatch.Packets{Finding: id, Run: run, Why: keptbatch.Limit})
			return
		}
		if !k.Keeps() {
			e.findings[id] = &evidenceOf{last: e.now(), times: evidenceTimes}
			e.tell(keptbatch.Packets{Finding: id, Run: run, Why: keptbatch.Off})
			return
		}
		x = &evidenceOf{keeper: k, run: run}
		e.findings[id] = x
	}
	x.wanted = wanted
	if x.due.IsZero() && x.times < evidenceTimes {
		x.due = e.now().Add(evidenceWait)
		if x.times > 0 {
			x.due = x.last.Add(evidenceAgain)
		}
	}
}

// forget makes room for another finding: the one of which nothing was heard for the longest time goes, if it has been sent.
func (e *evidence) forget() bool {
	oldest := ""
	for id, x := range e.findings {
		if x.due.IsZero() && (oldest == "" || x.last.Before(e.findings[oldest].last)) {
			oldest = id
		}
	}
	delete(e.findings, oldest)
	return oldest != ""
}

// wantedFor is which packets a finding rests on. Of more than could be sent, the first and the last.
func wantedFor(f sdk.Finding) carved.Evidence {
	flows := make([]uint64, 0, len(f.Flows))
	for _, r := range f.Flows {
		flows = append(flows, r.ID)
	}
	return carved.Evidence{Flows: ascending(flows), Numbers: ascending(slices.Clone(f.Packets))}
}

func ascending(list []uint64) []uint64 {
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) > 0 && list[0] == 0 {
		list = list[1:]
	}
	if over := len(list) - maxEvidenceLists; over > 0 {
		list = slices.Delete(list, maxEvidenceLists/2, maxEvidenceLists/2+over)
	}
	return list
}

// run sends until ctx ends.
func (e *evidence) run(ctx context.Context) {
	for sleep(ctx, evidenceLook) {
		e.send(ctx, e.now())
	}
}

// finish sends what is still to be sent, but not for ever.
func (e *evidence) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), evidenceEnd)
	defer cancel()
	e.send(ctx, e.now().Add(evidenceAgain))
}

// send sends what is due.
func (e *evidence) send(ctx context.Context, now time.Time) {
	for ctx.Err() == nil {
		id, x, limited := e.next(now)
		if id == "" {
			return
		}
		b := keptbatch.Packets{Finding: id, Run: x.run, Why: keptbatch.Limit}
		bytes := 0
		if !limited {
			b, bytes = e.take(ctx, id, x)
		}
		e.mu.Lock()
		e.count(&b, bytes)
		if b.Why == "" || x.times == 1 { // what was sent before is not taken back
			e.tell(b)
		}
		e.mu.Unlock()
	}
}

// next is a finding that is due, and whether the agent has sent too much already.
func (e *evidence) next(now time.Time) (id string, _ evidenceOf, limited bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, x := range e.findings {
		switch {
		case x.due.IsZero() && now.Sub(x.last) > evidenceForgets:
			delete(e.findings, name)
		case !x.due.IsZero() && !x.due.After(now) && (id == "" || x.due.Before(e.findings[id].due)):
			id = name
		}
	}
	if id == "" {
		return "", evidenceOf{}, false
	}
	x := e.findings[id]
	x.due, x.last = time.Time{}, now
	x.times++
	if at := e.now(); at.Sub(e.hour) >= time.Hour {
		e.hour, e.sent = at, 0
	}
	return id, *x, e.sent >= evidencePerHour
}

// take takes the packets of a finding out, and says how many bytes they are.
func (e *evidence) take(ctx context.Context, id string, x evidenceOf) (b keptbatch.Packets, bytes int) {
	b = keptbatch.Packets{Finding: id, Run: x.run}
	kept, file, err := x.keeper.Kept(ctx, x.run, x.wanted)
	switch {
	case errors.Is(err, traffic.ErrGone), err == nil && len(kept.Packets) == 0:
		b.Why = keptbatch.Gone
		return b, 0
	case err != nil:
		e.log.Warn("the packets of a finding could not be taken out", "finding", id, "problem", err)
		b.Why = keptbatch.Failed
		return b, 0
	}
	b.Kept = kept
	err = b.Pack(file)
	if err == nil {
		_, err = b.Unpack() // the worker parses packets: what it says is no better than what the server would take
	}
	if err != nil {
		e.log.Warn("the packets of a finding are not as they should be", "finding", id, "problem", err)
		return keptbatch.Packets{Finding: id, Run: x.run, Why: keptbatch.Failed}, 0
	}
	return b, len(file)
}

// count counts what is sent, or is not. It runs under mu.
func (e *evidence) count(b *keptbatch.Packets, bytes int) {
	switch b.Why {
	case "":
		e.figures.Findings++
		e.figures.Packets += uint64(len(b.Packets))
		e.sent += bytes
	case keptbatch.Limit:
		e.figures.Refused++
	case keptbatch.Gone:
		e.figures.Gone++
	case keptbatch.Failed:
		e.figures.Failed++
	}
}

// tell queues what is known of a finding's packets.
func (e *evidence) tell(b keptbatch.Packets) {
	if err := e.put(kindEvidence, len(b.Packets), b); err != nil {
		e.log.Warn("the packets of a finding could not be queued", "finding", b.Finding, "problem", err)
	}
}

// numbers are the figures of this moment.
func (e *evidence) numbers() EvidenceFigures {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.figures
}
