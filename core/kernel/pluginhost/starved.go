package pluginhost

import (
	"slices"
	"strings"
	"time"
)

// beyondMemory is in each reason of a process that ended for its memory.
const beyondMemory = " memory, its limit is "

// noMemory are the last words of runtimes that were refused memory, which is how a limit ends a process where neither a
// control group nor the host is first.
var noMemory = []string{beyondMemory, "out of memory", "cannot allocate memory"}

// Starved reports whether the process of the instance has ended for its memory since a time, as far as its history goes back.
// Who shows it the same again will see the same again, until its limit is raised.
func (s Status) Starved(since time.Time) bool {
	return slices.ContainsFunc(s.History, func(t Transition) bool {
		return !t.Time.Before(since) && slices.ContainsFunc(noMemory, func(words string) bool { return strings.Contains(t.Reason, words) })
	})
}
