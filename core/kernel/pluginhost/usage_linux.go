package pluginhost

import (
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
)

// usageOf reads what a process has used so far.
func usageOf(pid int) (usage, error) {
	cpu, err := spentBy(pid)
	if err != nil {
		return usage{}, err
	}
	memory, err := confine.Resident(pid)
	return usage{cpu: cpu, memory: memory}, err
}

// spentBy is the processor time of a process, with all of its threads.
func spentBy(pid int) (time.Duration, error) { return confine.Spent(pid) }
