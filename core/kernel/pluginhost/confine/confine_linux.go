package confine

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// Plan is the confinement of one start.
type Plan struct {
	req        Request
	caps       Capabilities
	level      Level
	unenforced []string
}

// Detect says what this machine lets this program do. The answer is kept: it does not change while the program runs.
func Detect() Capabilities { return Capabilities{Level: LevelC, Cgroup: CgroupNone} }

// New picks the level for a process and refuses what it cannot enforce, with a *Refusal.
func New(r Request) (*Plan, error) {
	caps := Detect()
	level, unenforced, err := r.level(caps)
	if err != nil {
		return nil, err
	}
	return &Plan{req: r, caps: caps, level: level, unenforced: unenforced}, nil
}

// Level is what the plan will reach.
func (p *Plan) Level() Level { return p.level }

// UID is the user that the plugin runs as, 0 when it is the host's own. The folder of its socket must be that user's
// (host.Config has fields for it).
func (p *Plan) UID() int { return 0 }

// Prepare makes control groups and hands the socket's folder to the plugin's user.
func (p *Plan) Prepare() error { return nil }

// Command prepares picket-launch, the program at the path launcher, to become what spec says. The child's descriptors
// from 3 on are files; spec.Program is /proc/self/fd/N for one of them, or the path of a program of ours such as
// picket-wasm. The caller sets the environment, starts the command and, if that fails or not, calls Close in the end.
func (p *Plan) Command(launcher string, spec launch.Spec, files []*os.File) (*exec.Cmd, error) {
	return nil, errors.New("not written yet")
}

// Report waits until the process has passed the gate, and says what was reached.
func (p *Plan) Report(ctx context.Context) (Report, error) { return Report{}, nil }

// Throttle changes the share of the processor, in cores.
func (p *Plan) Throttle(cores float64) error { return nil }

// Usage says what the process has used.
func (p *Plan) Usage() (Usage, error) { return Usage{}, nil }

// Kill ends every process of the plugin.
func (p *Plan) Kill() error { return nil }

// Close takes down what Prepare made. The process must be gone, or goes now.
func (p *Plan) Close() error { return nil }
