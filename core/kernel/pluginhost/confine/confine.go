// Package confine decides how a plugin process is confined on this machine, starts it through picket-launch and checks
// what was reached before the plugin runs.
//
// There are three levels. At A the host runs as root, or with the capabilities to change users: each instance has its own
// user. At B the host is an ordinary user and the plugin lives in a user namespace of its own. At both it finds an empty
// network, no other process, a root folder with next to nothing in it and no program to execute; Landlock and seccomp
// stand behind that. C is everything else: a process and no more, with resource limits. What a level cannot enforce is
// refused there, unless the node's policy says otherwise.
//
// The course of a start:
//
//	plan, err := confine.New(confine.Request{…})        // what will be done, and refusals
//	err = plan.Prepare()                               // folders and control groups
//	cmd, err := plan.Command(launcher, spec, files)    // host.Start runs it; the gate works beside
//	report, err := plan.Report(ctx)                    // what was reached; an error kills the start by itself
//	plan.Usage(), plan.OutOfMemory(), plan.Kill()
//	plan.Close()                                       // once the process is gone
//
// The gate is a socket between host and picket-launch. The kernel tells the host who is at its other end, so the process
// is in its control group before it does anything; picket-launch says what it applied, and the plugin's bytes are
// executed only when the host agrees.
package confine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// Level says how far a process is confined: A is the most.
type Level string

// The levels.
const (
	LevelA Level = "A" // own user, own namespaces, control group
	LevelB Level = "B" // user namespace, own namespaces
	LevelC Level = "C" // a process
)

// AtLeast reports whether l confines as much as other.
func (l Level) AtLeast(other Level) bool { return other == "" || l != "" && l <= other }

// Cgroup says which control groups this program may make.
type Cgroup string

// The kinds of control groups.
const (
	CgroupNone Cgroup = "none"
	CgroupV1   Cgroup = "v1"
	CgroupV2   Cgroup = "v2"
)

// Capabilities is what this machine lets this program do.
type Capabilities struct {
	Level          Level    `json:"level"`             // the best that can be reached
	Reasons        []string `json:"reasons,omitempty"` // why it is not more, and what to do about it
	UserNamespaces bool     `json:"user_namespaces"`
	OwnUsers       bool     `json:"own_users"` // each instance can have its own user
	Cgroup         Cgroup   `json:"cgroup"`
	LandlockABI    int      `json:"landlock_abi"` // 0 when there is none
	Seccomp        bool     `json:"seccomp"`
	CountsCalls    bool     `json:"counts_calls"` // refused calls are counted and named
}

// Request asks for the confinement of one process.
type Request struct {
	Instance string
	Kind     sdk.Kind
	Runtime  string // process or wasm
	Grants   []sdk.Permission
	Limits   Limits
	// Room is the most memory that Raise may give the process, 0 when it is what Limits says.
	Room int64
	// SocketDir is the folder of this start's socket, made by the caller.
	SocketDir string
	// Interpreter is a word of the manifest ("python3"); the ceiling says which program that is on this node.
	Interpreter string
	// Binds are more files and folders that the process sees, at their own paths.
	Binds []Bind
	// Ceiling gives the minimum level, what may be unenforced, and the interpreters.
	Ceiling *policy.Ceiling
	// AnyLevel runs it whatever minimum the ceiling demands: a program of ours, or one that its author debugs.
	AnyLevel bool
	// Refused hears of each call of the kernel that was refused, after it was answered; it may be nil. It must not take long:
	// the next one waits for it.
	Refused func(RefusedCall)
	// Most is the highest level to use, for tests and for a node that cannot do with more; empty is all there is.
	Most Level
}

// Bind is a file or folder of the host that the process sees.
type Bind struct {
	Path  string
	Write bool
}

// Report is what was reached, as picket-launch said it and the host compared it.
type Report struct {
	Level          Level    `json:"level"`
	Namespaces     []string `json:"namespaces,omitempty"` // user, mnt, pid, ipc, uts, net
	View           string   `json:"view"`                 // minimal, host (host.metrics) or all (level C)
	LandlockABI    int      `json:"landlock_abi,omitempty"`
	SeccompFilters int      `json:"seccomp_filters,omitempty"`
	CallsCounted   bool     `json:"calls_counted,omitempty"` // refused calls are counted and named
	Cgroup         Cgroup   `json:"cgroup"`
	UID            int      `json:"uid"`
	PID            int      `json:"pid"`
	Limits         []string `json:"limits,omitempty"`     // what enforces each of them
	Missing        []string `json:"missing,omitempty"`    // what a better machine would add
	Unenforced     []string `json:"unenforced,omitempty"` // permissions granted all the same because the policy says so
	Reasons        []string `json:"reasons,omitempty"`    // why the level is not higher
}

// Usage is what the control group or, without one, the process table knows.
type Usage struct {
	Memory     uint64 // bytes in use
	PeakMemory uint64 // 0 when not known
	CPU        time.Duration
	Throttled  time.Duration // how long it waited for its share of the processor
	OOMKills   uint64        // how often the kernel ended something for memory
	Tasks      int           // 0 when not known
}

// Refusal is a request that this machine or its policy does not allow.
type Refusal struct {
	Instance string
	What     string // the permission or demand
	Why      string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("instance %s: %s: %s", r.Instance, r.What, r.Why)
}

// ErrNoGuest says that bytes are no guest that this version of Picket runs, which trying again does not change.
var ErrNoGuest = errors.New("it is no guest that this version runs")

// IsRefusal reports whether err is a refusal, which trying again does not change.
func IsRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// level picks the level for a request and refuses what it cannot enforce.
func (r *Request) level(c Capabilities) (Level, []string, error) {
	level := c.Level
	if r.Most != "" && level < r.Most {
		level = r.Most
	}
	if minimum := Level(r.Ceiling.MinimumLevel()); !r.AnyLevel && !level.AtLeast(minimum) {
		why := fmt.Sprintf("this node demands level %s (key minimum_level in %s) and reaches %s", minimum, r.Ceiling.Source(), level)
		if len(c.Reasons) > 0 {
			why += ": " + strings.Join(c.Reasons, "; ")
		}
		if level == LevelC {
			why += ". At level C a plugin can do what this program's user can: accept that with minimum_level: C in the node's policy.yaml"
		}
		return level, nil, &Refusal{r.Instance, "level", why}
	}
	var unenforced []string
	for _, g := range r.Grants {
		why := notEnforced(level, c, g)
		if why == "" {
			continue
		}
		if !r.Ceiling.AllowsUnenforced() || g.Cap == sdk.CapExec || g.Cap == sdk.CapFSWrite {
			return level, nil, &Refusal{r.Instance, "permission " + g.String(), why}
		}
		if !slices.Contains(unenforced, g.String()) {
			unenforced = append(unenforced, g.String())
		}
	}
	return level, unenforced, nil
}

// notEnforced says why a level cannot hold a plugin to a permission, or nothing when it can.
func notEnforced(level Level, c Capabilities, g sdk.Permission) string {
	switch {
	case g.Cap == sdk.CapExec || g.Cap == sdk.CapFSWrite:
		return "not enforced at any level so far, so nobody gets it"
	case level == LevelC:
		switch g.Cap {
		case sdk.CapNetDial, sdk.CapNetListen, sdk.CapNetRaw, sdk.CapUnixConnect, sdk.CapFSRead:
			return "not enforced at level C, where the plugin could go beyond it: run Picket on Linux with user namespaces or as root, " +
				"or accept it with unenforced: allow in the node's policy.yaml"
		}
	case g.Cap == sdk.CapFSRead && level == LevelB && c.LandlockABI == 0:
		return "not enforced at level B without Landlock, because the plugin's user owns the files that it is handed and could open " +
			"them again for writing: boot a kernel with lsm=landlock,… or run Picket as root"
	case g.Cap == sdk.CapHostMetrics && c.LandlockABI == 0:
		return "not enforced without Landlock, because the plugin sees the host's files: boot a kernel with lsm=landlock,…"
	}
	return ""
}
