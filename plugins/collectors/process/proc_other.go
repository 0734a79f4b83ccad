//go:build !linux

package process

import (
	"context"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	library "github.com/shirou/gopsutil/v4/process"
)

// source asks the library, which knows how each system is asked.
type source struct{}

func newSource() source { return source{} }

var states = map[string]string{
	library.Running: "running", library.Sleep: "sleeping", library.Idle: "sleeping", library.Blocked: "sleeping", library.Wait: "sleeping",
	library.Stop: "stopped", library.Zombie: "defunct",
}

func (s *source) read(ctx context.Context) (table, error) {
	list, err := library.ProcessesWithContext(ctx)
	if err != nil {
		return table{}, err
	}
	if len(list) > maxProcesses {
		return table{}, sdk.Errorf(sdk.Unsupported, "there are more than %d processes", maxProcesses)
	}
	t := table{now: float64(time.Now().UnixMilli()) / 1000, cpus: runtime.NumCPU(), created: math.NaN()}
	for _, l := range list {
		name, err := l.NameWithContext(ctx)
		began, beganErr := l.CreateTimeWithContext(ctx)
		if err != nil || beganErr != nil { // it has ended, or is not for us to see
			continue
		}
		p := process{pid: int(l.Pid), name: clean(name), started: float64(began) / 1000}
		if times, err := l.TimesWithContext(ctx); err == nil {
			p.cpu = times.User + times.System
		}
		if m, err := l.MemoryInfoWithContext(ctx); err == nil {
			p.memory = float64(m.RSS)
		}
		if st, err := l.StatusWithContext(ctx); err == nil && len(st) > 0 {
			p.state = states[st[0]]
		}
		t.processes = append(t.processes, p)
	}
	return t, nil
}

func (s *source) names(ctx context.Context, p process, compare bool) (name, command string) {
	if !compare {
		return p.name, ""
	}
	l, err := library.NewProcessWithContext(ctx, int32(p.pid))
	if err != nil {
		return p.name, ""
	}
	args, _ := l.CmdlineSliceWithContext(ctx)
	return p.name, strings.Join(args, " ")
}

func (s *source) owner(ctx context.Context, pid int, labels map[string]string) {
	l, err := library.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return
	}
	if user, err := l.UsernameWithContext(ctx); err == nil && user != "" {
		labels["process.owner"] = clean(user)
	}
}
