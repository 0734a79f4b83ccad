package confine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// group is the control group of one process: one folder with version 2, one per controller with version 1.
type group struct {
	kind Cgroup
	dirs map[string]string // by controller: memory, cpu, cpuacct, pids
}

// parents are the folders in which this program may make groups.
type parents struct {
	kind Cgroup
	dirs map[string]string
}

// groupName begins the name of every group of ours; the process id of the host follows, then a number.
const groupName = "picket-"

var groupNumber atomic.Uint64

var groupParents = sync.OnceValue(func() parents {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return parents{kind: CgroupNone}
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return parents{kind: CgroupNone}
	}
	p := findParents(string(mounts), string(own))
	p.prepare()
	return p
})

func groupKind() Cgroup { return groupParents().kind }

// controllers are the ones we use, of either version.
var controllers = []string{"memory", "cpu", "cpuacct", "pids"}

// findParents reads where the program's own groups are. Version 1 wins where both are mounted, because a controller that
// it has is not to be had in version 2.
func findParents(mountinfo, own string) parents {
	paths := map[string]string{} // controller, or "" for version 2, to the path of our group
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for name := range strings.SplitSeq(parts[1], ",") {
			paths[name] = parts[2]
		}
	}
	v1, v2 := parents{CgroupV1, map[string]string{}}, ""
	for line := range strings.Lines(mountinfo) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 {
			continue
		}
		root, point := l[3], l[4]
		switch r[0] {
		case "cgroup":
			for option := range strings.SplitSeq(r[2], ",") {
				if path, ok := paths[option]; ok && slices.Contains(controllers, option) {
					v1.dirs[option] = below(point, root, path)
				}
			}
		case "cgroup2":
			if path, ok := paths[""]; ok {
				v2 = below(point, root, path)
			}
		}
	}
	if len(v1.dirs) > 0 {
		return v1
	}
	if v2 == "" {
		return parents{kind: CgroupNone}
	}
	return parents{CgroupV2, map[string]string{"": v2}}
}

// below is where a group's path lies in a mount that shows only what is below root.
func below(point, root, path string) string {
	if rel, ok := strings.CutPrefix(path, root); ok && root != "/" {
		path = rel
	}
	return filepath.Join(point, path)
}

// prepare keeps the folders in which we may make groups, and removes what a host that was killed left there.
func (p *parents) prepare() {
	if p.kind == CgroupV2 && !delegated(p.dirs[""]) {
		p.dirs = nil
	}
	for name, dir := range p.dirs {
		if unix.Access(dir, unix.W_OK) != nil {
			delete(p.dirs, name)
			continue
		}
		removeStale(dir)
	}
	if len(p.dirs) == 0 {
		p.kind = CgroupNone
	}
}

// delegated turns the controllers on for groups below dir. They are to be had only in a group without processes of its
// own, so ours moves into one below it.
func delegated(dir string) bool {
	if unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK) != nil {
		return false
	}
	const wanted = "+memory +pids +cpu"
	control := filepath.Join(dir, "cgroup.subtree_control")
	err := writeFile(control, wanted)
	if errors.Is(err, unix.EBUSY) {
		host := filepath.Join(dir, "picket-host")
		if err := os.Mkdir(host, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return false
		}
		if writeFile(filepath.Join(host, "cgroup.procs"), "0") != nil {
			return false
		}
		err = writeFile(control, wanted)
	}
	return err == nil
}

func removeStale(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, groupName+"*-*")) // the pattern is well formed
	for _, path := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), groupName), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || pid == os.Getpid() || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		killMembers(path)
		if err := os.Remove(path); errors.Is(err, unix.EBUSY) { // the kernel needs a moment after the last process
			leftovers.keep(path)
		}
	}
}

// leftovers are folders of groups that could not be removed. They are tried again with every new group.
var leftovers folders

type folders struct {
	mu   sync.Mutex // guards list
	list []string
}

func (f *folders) keep(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.list, path) {
		f.list = append(f.list, path)
	}
}

func (f *folders) retry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(path string) bool {
		killMembers(path)
		return !errors.Is(os.Remove(path), unix.EBUSY)
	})
}

// killMembers ends every process of a group. One that makes processes is faster than one look at the list.
func killMembers(path string) {
	if writeFile(filepath.Join(path, "cgroup.kill"), "1") == nil { // version 2 from Linux 5.14 on
		return
	}
	for range 20 {
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil || len(data) == 0 {
			return
		}
		for line := range strings.Lines(string(data)) {
			// 0 is a process that we cannot see, and to kill 0 or 1 would be to kill ourselves.
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 && pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// newGroup makes a group with the limits.
func newGroup(l Limits) (*group, error) {
	leftovers.retry()
	p := groupParents()
	g := &group{kind: p.kind, dirs: map[string]string{}}
	name := fmt.Sprintf("%s%d-%d", groupName, os.Getpid(), groupNumber.Add(1))
	for controller, dir := range p.dirs {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // two controllers may share a folder
			g.remove()
			return nil, err
		}
		g.dirs[controller] = path
	}
	if err := g.limit(l); err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}

// dir is the folder of a controller, "" when there is none.
func (g *group) dir(controller string) string {
	if g.kind == CgroupV2 {
		return g.dirs[""]
	}
	return g.dirs[controller]
}

func (g *group) enforces(controller, otherwise string) string {
	if g.dir(controller) == "" {
		return otherwise
	}
	return "control group " + string(g.kind)
}

func (g *group) limit(l Limits) error {
	if dir := g.dir("memory"); dir != "" && l.Memory > 0 {
		bytes := strconv.FormatInt(l.Memory, 10)
		if g.kind == CgroupV2 {
			if err := writeFile(filepath.Join(dir, "memory.max"), bytes); err != nil {
				return err
			}
			// A kernel without swap accounting has not the first, an old one not the second.
			_ = writeFile(filepath.Join(dir, "memory.swap.max"), "0")
			_ = writeFile(filepath.Join(dir, "memory.oom.group"), "1")
		} else {
			_ = writeFile(filepath.Join(dir, "memory.memsw.limit_in_bytes"), bytes) // first when it is raised, else refused
			if err := writeFile(filepath.Join(dir, "memory.limit_in_bytes"), bytes); err != nil {
				return err
			}
			_ = writeFile(filepath.Join(dir, "memory.memsw.limit_in_bytes"), bytes) // the same
		}
	}
	if dir := g.dir("pids"); dir != "" && l.Tasks > 0 {
		if err := writeFile(filepath.Join(dir, "pids.max"), strconv.Itoa(l.Tasks)); err != nil {
			return err
		}
	}
	if l.CPU > 0 && g.dir("cpu") != "" {
		return g.limitCPU(l.CPU)
	}
	return nil
}

// cpuPeriod is the time in which a share of the processor is counted.
const cpuPeriod = 100 * time.Millisecond

func (g *group) limitCPU(cores float64) error {
	dir := g.dir("cpu")
	if dir == "" {
		return errors.New("there is no control group that could limit the processor")
	}
	quota := max(int64(cores*float64(cpuPeriod.Microseconds())), 1000) // the kernel takes no less
	if g.kind == CgroupV2 {
		return writeFile(filepath.Join(dir, "cpu.max"), fmt.Sprintf("%d %d", quota, cpuPeriod.Microseconds()))
	}
	if err := writeFile(filepath.Join(dir, "cpu.cfs_period_us"), strconv.FormatInt(cpuPeriod.Microseconds(), 10)); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "cpu.cfs_quota_us"), strconv.FormatInt(quota, 10))
}

// folders are the group's folders, each once.
func (g *group) folders() []string {
	var out []string
	for _, dir := range g.dirs {
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

func (g *group) add(pid int) error {
	for _, dir := range g.folders() {
		if err := writeFile(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// usage adds what the group knows to u.
func (g *group) usage(u *Usage) error {
	if g.kind == CgroupV2 {
		return g.usageV2(u)
	}
	var errs []error
	number := func(controller, file string) uint64 {
		dir := g.dir(controller)
		if dir == "" {
			return 0
		}
		n, err := readNumber(filepath.Join(dir, file))
		errs = append(errs, err)
		return n
	}
	if g.dir("memory") != "" {
		u.Memory = number("memory", "memory.usage_in_bytes")
		u.Memory -= min(u.Memory, g.stat("memory", "memory.stat", "total_inactive_file"))
		u.PeakMemory = number("memory", "memory.max_usage_in_bytes")
		u.OOMKills = g.stat("memory", "memory.oom_control", "oom_kill")
	}
	if g.dir("cpuacct") != "" {
		u.CPU = time.Duration(number("cpuacct", "cpuacct.usage"))
	}
	u.Throttled = g.throttled()
	if g.dir("pids") != "" {
		u.Tasks = int(number("pids", "pids.current"))
	}
	return errors.Join(errs...)
}

func (g *group) usageV2(u *Usage) error {
	dir := g.dirs[""]
	memory, err := readNumber(filepath.Join(dir, "memory.current"))
	if err != nil {
		return err
	}
	u.Memory = memory - min(memory, g.stat("", "memory.stat", "inactive_file"))
	u.PeakMemory, _ = readNumber(filepath.Join(dir, "memory.peak")) // from Linux 5.19 on
	u.OOMKills = g.stat("", "memory.events", "oom_kill")
	u.CPU = time.Duration(g.stat("", "cpu.stat", "usage_usec")) * time.Microsecond
	u.Throttled = g.throttled()
	tasks, err := readNumber(filepath.Join(dir, "pids.current"))
	u.Tasks = int(tasks)
	return err
}

// stat reads one value of a file with a name and a number in each line, 0 when it is not there.
func (g *group) stat(controller, file, name string) uint64 {
	dir := g.dir(controller)
	if dir == "" {
		return 0
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if f := strings.Fields(string(line)); len(f) == 2 && f[0] == name {
			n, _ := strconv.ParseUint(f[1], 10, 64) // 0 says that it is not known
			return n
		}
	}
	return 0
}

// kill ends everything in the group. The controllers have the same members with version 1, but for a process that is on
// its way from one to the next.
func (g *group) kill() {
	for _, dir := range g.folders() {
		killMembers(dir)
	}
}

// remove takes the folders away. The kernel needs a moment after the last process; a folder that needs longer goes with a
// later group.
func (g *group) remove() {
	for _, dir := range g.folders() {
		var err error
		for range 100 {
			if err = os.Remove(dir); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if errors.Is(err, unix.EBUSY) {
			leftovers.keep(dir)
		}
	}
}

// writeFile never creates: a control file is there or is not.
func writeFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q to %s: %w", value, path, err)
	}
	return nil
}

func readNumber(path string) (uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
}
