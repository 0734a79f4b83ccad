package pluginhost

import (
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
)

// debugDeadline is how long a call may take while somebody looks at it in a debugger.
const debugDeadline = time.Hour

// patient makes a deadline one that a stopped process can meet, when the instance is being debugged.
func (a Assignment) patient(limit time.Duration) time.Duration {
	if a.Debug {
		return max(limit, debugDeadline)
	}
	return limit
}

// mostLevel is the highest level of confinement for an instance: a debugger reaches only a process without any.
func (h *Host) mostLevel(a Assignment) confine.Level {
	if a.Debug {
		return confine.LevelC
	}
	return h.cfg.MostLevel
}
