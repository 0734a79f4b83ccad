//go:build !linux

package pluginhost

import (
	"errors"
	"os"
	"time"
)

// On other systems a plugin is a process and no more: picket-launch refuses to start it so far, and what it uses is not
// known.

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil && pid > 1 {
		p.Kill()
	}
}

// pauseGroup and resumeGroup would hold a plugin to its share of the processor.
func pauseGroup(int)  {}
func resumeGroup(int) {}

// usageOf and spentBy would say what a process has used.
func usageOf(int) (usage, error) { return usage{}, errUsage }

func spentBy(int) (time.Duration, error) { return 0, errUsage }

var errUsage = errors.New("not known on this system")
