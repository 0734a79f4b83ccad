package pluginhost

import (
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
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

// ceiling is the node's, with the interpreter of an author who tries a plugin where the node names none.
func (h *Host) ceiling(a Assignment, art *client.Artifact) *policy.Ceiling {
	if a.Interpreter == "" {
		return h.cfg.Ceiling
	}
	return h.cfg.Ceiling.WithInterpreter(art.Descriptor.Manifest.Interpreter, a.Interpreter)
}

// mostLevel is the highest level of confinement for an instance: a debugger reaches only a process without any.
func (h *Host) mostLevel(a Assignment) confine.Level {
	if a.Debug {
		return confine.LevelC
	}
	return h.cfg.MostLevel
}
