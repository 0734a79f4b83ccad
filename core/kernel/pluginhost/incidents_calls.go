package pluginhost

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
)

// RefusedCall is a call of the kernel that the processes of an instance made and that was refused.
type RefusedCall struct {
	Call  string    `json:"call" doc:"Its name in the kernel, for example ptrace."`
	What  string    `json:"what" doc:"What it says about the plugin."`
	Count uint64    `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// maxRefusedCalls bounds what is told apart: more than the filter refuses.
const maxRefusedCalls = 200

// callBook counts the refused calls of one instance, over all its processes.
type callBook struct {
	mu    sync.Mutex // guards all below
	total uint64
	calls map[confine.RefusedCall]*callCount
	deeds map[string]bool // what was told of
}

type callCount struct {
	RefusedCall
	told   time.Time
	untold uint64 // since then
}

// add counts a call. first is whether nothing of the sort was refused before; more is how many there were since the log had
// a line about it, 0 when that is less than quietTime ago.
func (b *callBook) add(c confine.RefusedCall, now time.Time) (first bool, more uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total++
	if b.calls == nil {
		b.calls, b.deeds = map[confine.RefusedCall]*callCount{}, map[string]bool{}
	}
	n := b.calls[c]
	if n == nil {
		if len(b.calls) >= maxRefusedCalls {
			return false, 0
		}
		n = &callCount{RefusedCall: RefusedCall{Call: c.Call, What: c.What, First: now}, told: now}
		b.calls[c] = n
	} else {
		n.untold++
	}
	n.Count++
	n.Last = now
	first = !b.deeds[c.What]
	b.deeds[c.What] = true
	if now.Sub(n.told) >= quietTime && n.untold > 0 {
		more, n.untold, n.told = n.untold, 0, now
	}
	return first, more
}

func (b *callBook) count() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// list returns them, the most frequent first.
func (b *callBook) list() []RefusedCall {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]RefusedCall, 0, len(b.calls))
	for _, n := range b.calls {
		out = append(out, n.RefusedCall)
	}
	slices.SortFunc(out, func(x, y RefusedCall) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Call, y.Call), cmp.Compare(x.What, y.What))
	})
	return out
}

// refusedCall takes note of a call that the filter refused. What is new goes into the history and, as an incident, into
// the audit log; the rest is counted, and the log has a line about each call every minute at most.
func (s *supervisor) refusedCall(c confine.RefusedCall) {
	first, more := s.calls.add(c, s.host.cfg.Now())
	if first {
		text := fmt.Sprintf("it %s (%s); refused", c.What, c.Call)
		s.incident(IncidentCall, text)
		s.note(text)
	}
	if more > 0 {
		s.host.cfg.Log.Warn("the plugin goes on making calls that are refused", "instance", s.name, "call", c.Call, "what", c.What, "more", more)
	}
}

// crashIncident notes how a process ended, unless the host ended it and has said why.
func (s *supervisor) crashIncident(reason string) {
	s.mu.Lock()
	known := slices.ContainsFunc(s.state.Incidents, func(in Incident) bool {
		return in.Kind == IncidentKilled && in.sort() == Incident{Kind: IncidentKilled, Text: killedText(reason)}.sort()
	})
	s.mu.Unlock()
	if !known {
		s.incident(IncidentCrash, "it "+reason)
	}
}

func killedText(why string) string { return "its process was ended: it " + why }
