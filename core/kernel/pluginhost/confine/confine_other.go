//go:build !linux

package confine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

var errElsewhere = errors.New("plugins can only be started on Linux so far")

// Plan is the confinement of one start. There is none on this system.
type Plan struct{}

// Detect says that only level C is there.
func Detect() Capabilities {
	return Capabilities{Level: LevelC, Cgroup: CgroupNone, Reasons: []string{"this system is not Linux: a plugin is a process and no more"}}
}

// New refuses what level C cannot enforce.
func New(r Request) (*Plan, error) {
	if _, _, err := r.level(Detect()); err != nil {
		return nil, err
	}
	return &Plan{}, nil
}

// UID is 0: the plugin runs as the host does.
func (*Plan) UID() int { return 0 }

// SocketRoot is empty: the plugin's files are the host's.
func (*Plan) SocketRoot(int) string { return "" }

// Rooms are none.
func (*Plan) Rooms() []string { return nil }

// Env is empty: there are no limits.
func (*Plan) Env() []string { return nil }

// Prepare has nothing to do.
func (*Plan) Prepare() error { return nil }

// Raise has nothing to do.
func (*Plan) Raise(Limits) error { return nil }

// Command fails: picket-launch does not start plugins here.
func (*Plan) Command(string, launch.Spec, []*os.File) (*exec.Cmd, error) { return nil, errElsewhere }

// Report fails, as Command does.
func (*Plan) Report(context.Context) (Report, error) { return Report{}, errElsewhere }

// HoldsCPU says no.
func (*Plan) HoldsCPU() bool { return false }

// HoldsMemory says no.
func (*Plan) HoldsMemory() bool { return false }

// OutOfMemory is not known here.
func (*Plan) OutOfMemory() bool { return false }

// Throttled is 0: it is not known here.
func (*Plan) Throttled() time.Duration { return 0 }

// Usage fails: it is not known here.
func (*Plan) Usage() (Usage, error) { return Usage{}, errElsewhere }

// Kill fails: the caller has the process.
func (*Plan) Kill() error { return errElsewhere }

// Close has nothing to do.
func (*Plan) Close() error { return nil }
