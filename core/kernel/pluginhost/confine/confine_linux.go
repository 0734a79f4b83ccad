package confine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Plan is the confinement of one start.
type Plan struct {
	req         Request
	caps        Capabilities
	level       Level
	unenforced  []string
	view        string
	interpreter string // the program, "" when the artifact is one
	binds       []launch.Bind
	execute     []string
	read        []int // descriptors that the interpreter opens anew
	uid         int

	group *group // nil without control groups
	gate  *gate  // nil before Command

	mu    sync.Mutex // guards close
	close []func()   // what Close does, last first
}

// New picks the level for a process and refuses what it cannot enforce, with a *Refusal.
func New(r Request) (*Plan, error) {
	caps := Detect()
	level, unenforced, err := r.level(caps)
	if err != nil {
		return nil, err
	}
	p := &Plan{req: r, caps: caps, level: level, unenforced: unenforced}
	if level != LevelC {
		p.view = launch.ViewMinimal
		if sdk.Grants(r.Grants).Has(sdk.CapHostMetrics) {
			p.view = launch.ViewHost
		}
	}
	for _, b := range r.Binds {
		p.binds = append(p.binds, launch.Bind{Path: b.Path, Write: b.Write})
	}
	if r.Interpreter != "" {
		if err := p.interpret(); err != nil {
			return nil, err
		}
	}
	if level == LevelA {
		if p.uid, err = users.take(); err != nil {
			return nil, fmt.Errorf("instance %s: %w", r.Instance, err)
		}
		p.later(func() { users.give(p.uid) })
	}
	return p, nil
}

func (p *Plan) interpret() error {
	program, ok := p.req.Ceiling.Interpreter(p.req.Interpreter)
	if !ok {
		return &Refusal{p.req.Instance, "interpreter " + p.req.Interpreter,
			"this node has none: name the program under interpreters in its policy.yaml"}
	}
	if p.req.Interpreter != registry.InterpreterPython {
		return &Refusal{p.req.Instance, "interpreter " + p.req.Interpreter, "this version cannot run it"}
	}
	binds, execute, err := python(program)
	if err != nil {
		return fmt.Errorf("instance %s: interpreter %s: %w", p.req.Instance, program, err)
	}
	p.interpreter, p.execute = program, execute
	if p.view == launch.ViewMinimal {
		p.binds = append(p.binds, binds...)
	}
	return nil
}

// later runs fn at Close, last first.
func (p *Plan) later(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close = append(p.close, fn)
}

// UID is the user that the plugin runs as, 0 when it is the host's own. Nothing has to be given to it.
func (p *Plan) UID() int { return p.uid }

// SocketRoot is where the host finds the files of the process, for host.Config: what a confined plugin writes into the
// folder of its socket is not on the host's disk but in memory of its own.
func (p *Plan) SocketRoot(pid int) string {
	if p.level == LevelC {
		return ""
	}
	return fmt.Sprintf("/proc/%d/root", pid)
}

// Rooms are the folders in memory that the process may write, at its own paths.
func (p *Plan) Rooms() []string {
	var list []string
	if p.level != LevelC {
		list = append(list, p.req.SocketDir)
	}
	if p.view == launch.ViewMinimal {
		list = append(list, launch.Scratch(p.confinement(0)))
	}
	return list
}

// Prepare makes the control groups.
func (p *Plan) Prepare() error {
	if p.caps.Cgroup == CgroupNone {
		return nil
	}
	g, err := newGroup(p.limits())
	if err != nil {
		return fmt.Errorf("instance %s: control group: %w", p.req.Instance, err)
	}
	p.group = g
	p.later(g.remove)
	return nil
}

// Raise holds the process to more memory and processor time than it was started with.
func (p *Plan) Raise(to Limits) error {
	if p.group == nil {
		return nil
	}
	return p.group.limit(Limits{Memory: to.Memory, CPU: to.CPU})
}

// dataOverhead is memory that a runtime maps ahead of its use.
const dataOverhead = 256 << 20

func (p *Plan) limits() Limits {
	l := p.req.Limits
	if p.req.Runtime == registry.RuntimeWASM && l.Memory > 0 {
		l.Memory += RunnerMemory
	}
	return l
}

// garbageLimit is how much memory a Go program takes before it looks for garbage all the time. A guest's memory is none of
// it, however much there is, and must not use up what the runner may leave lying.
func (p *Plan) garbageLimit() int64 {
	own := p.limits().Memory - p.req.Limits.Memory // of the runner
	if own == 0 {
		return Garbage(p.req.Limits.Memory)
	}
	return p.req.Limits.Memory + own/10*9
}

// fileSize bounds a file that the plugin writes: in its small /tmp, unless it was given a folder.
func (p *Plan) fileSize() uint64 {
	for _, b := range p.req.Binds {
		if b.Write {
			return 512 << 20
		}
	}
	return 16 << 20
}

func (p *Plan) resources() []launch.Limit {
	l := p.limits()
	var out []launch.Limit
	add := func(r launch.Resource, n int64) {
		if n > 0 {
			out = append(out, launch.Limit{Resource: r, Value: uint64(n)})
		}
	}
	add(launch.OpenFiles, int64(l.OpenFiles))
	if l.Memory > 0 {
		add(launch.Data, max(l.Memory, p.req.Room)+dataOverhead)
	}
	if p.level != LevelC { // there the limits would be of everything that the host's user does
		add(launch.FileSize, int64(p.fileSize()))
		add(launch.Tasks, int64(l.Tasks))
	}
	return out
}

// Env is what the plugin's runtime should know about its limits, for the environment of the command.
func (p *Plan) Env() []string {
	var env []string
	l := p.req.Limits
	if l.CPU > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(max(1, int(math.Ceil(l.CPU)))))
	}
	if l.Memory > 0 {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(p.garbageLimit(), 10))
	}
	return env
}

// Command prepares picket-launch, the program at the path launcher, to become what spec says. The child's descriptors
// from 3 on are files; spec.Program is /proc/self/fd/N for one of them, or the path of a program of ours such as
// picket-wasm. The plan adds descriptors of its own behind them, and the limits. The caller sets the environment and
// starts the command, from a thread that lives as long as the process, and calls Close in any case.
func (p *Plan) Command(launcher string, spec launch.Spec, files []*os.File) (*exec.Cmd, error) {
	if p.gate != nil {
		return nil, errors.New("a plan is good for one start")
	}
	files = append([]*os.File(nil), files...)
	next := func(f *os.File) int {
		files = append(files, f)
		return 2 + len(files)
	}
	program, err := p.program(&spec, next)
	if err != nil {
		return nil, err
	}
	wanted := p.confinement(program)
	g, childEnd, err := newGate(p, wanted)
	if err != nil {
		return nil, err
	}
	p.gate = g
	p.later(g.stop)
	spec.Gate = next(childEnd)
	spec.Limits = append(spec.Limits, p.resources()...)
	cmd := exec.Command(launcher, spec.CommandLine()...)
	cmd.Dir, cmd.ExtraFiles, cmd.SysProcAttr = "/", files, p.attributes()
	go g.serve()
	return cmd, nil
}

// program finds the descriptor to execute, and opens what is only a path: the process may not be able to any more.
func (p *Plan) program(spec *launch.Spec, next func(*os.File) int) (int, error) {
	path := spec.Program
	if p.interpreter != "" {
		// Isolated: neither the environment nor a folder decides what is imported. The archive stays open for imports.
		spec.Args = append([]string{"-I", "-B", spec.Program}, spec.Args...)
		if n, ok := inherited(spec.Program); ok {
			spec.Keep = append(spec.Keep, n)
			p.read = append(p.read, n)
		}
		path, spec.Program, spec.Name = p.interpreter, p.interpreter, p.interpreter
	}
	if n, ok := inherited(path); ok {
		return n, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open the program: %w", err)
	}
	p.later(func() { f.Close() })
	return next(f), nil
}

func inherited(path string) (int, bool) {
	n, ok := strings.CutPrefix(path, "/proc/self/fd/")
	fd, err := strconv.Atoi(n)
	return fd, ok && err == nil
}

func (p *Plan) confinement(program int) launch.Confinement {
	c := launch.Confinement{Program: program}
	if p.level == LevelC {
		return c
	}
	c.View, c.SocketDir, c.Binds, c.Execute, c.Read = p.view, p.req.SocketDir, p.binds, p.execute, p.read
	c.UID, c.GID = p.uid, p.uid
	c.NoCapabilities, c.LandlockABI, c.Seccomp = true, p.caps.LandlockABI, true
	c.Netlink, c.Listen = p.view == launch.ViewHost, p.caps.CountsCalls
	return c
}

// attributes makes the process the leader of a process group, out of reach of the terminal's Ctrl-C, has the kernel kill
// it with the thread that started it, and gives it its namespaces.
func (p *Plan) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for _, ns := range p.namespaces() {
		attr.Cloneflags |= namespaceFlags[ns]
	}
	switch {
	case p.level == LevelB:
		userNamespace(attr)
	case p.level == LevelA && os.Geteuid() != 0:
		for _, c := range changingUsers {
			attr.AmbientCaps = append(attr.AmbientCaps, uintptr(c))
		}
	}
	return attr
}

// userNamespace maps the host's user to itself and nobody else, and lets picket-launch mount in it.
func userNamespace(attr *syscall.SysProcAttr) {
	uid, gid := os.Geteuid(), os.Getegid()
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
}

var namespaceFlags = map[string]uintptr{
	"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "ipc": unix.CLONE_NEWIPC,
	"uts": unix.CLONE_NEWUTS, "net": unix.CLONE_NEWNET,
}

func (p *Plan) namespaces() []string {
	if p.level == LevelC {
		return nil
	}
	list := []string{"mnt", "pid", "ipc", "uts"}
	if p.view != launch.ViewHost {
		list = append(list, "net")
	}
	if p.level == LevelB {
		list = append(list, "user")
	}
	return list
}

// Report waits until the process has passed the gate, and says what was reached. It is called when the start of the command
// has come back, well or not. An error means that nothing was
// executed: picket-launch ends by itself and says the same on stderr.
func (p *Plan) Report(ctx context.Context) (Report, error) {
	if p.gate == nil {
		return Report{}, errors.New("nothing was started")
	}
	p.gate.closeChild()
	select {
	case <-p.gate.done:
		return p.gate.report, p.gate.err
	case <-ctx.Done():
		return Report{}, fmt.Errorf("instance %s: wait for picket-launch: %w", p.req.Instance, context.Cause(ctx))
	}
}

// HoldsCPU reports whether a control group holds the process to its share of the processor.
func (p *Plan) HoldsCPU() bool { return p.group != nil && p.group.dir("cpu") != "" }

// HoldsMemory reports whether a control group holds the process to its memory.
func (p *Plan) HoldsMemory() bool { return p.group != nil && p.group.dir("memory") != "" }

// OutOfMemory reports whether the kernel ended something of the plugin because the control group was full. It knows that
// until Close, also when the process is gone.
func (p *Plan) OutOfMemory() bool {
	var u Usage
	return p.group != nil && p.group.usage(&u) == nil && u.OOMKills > 0
}

// Usage says what the process has used, since its start.
func (p *Plan) Usage() (Usage, error) {
	pid := p.pid()
	if pid == 0 {
		return Usage{}, errors.New("nothing was started")
	}
	u, err := usageOf(pid)
	if p.group != nil {
		err = errors.Join(err, p.group.usage(&u))
	}
	return u, err
}

// Kill ends the process and all that came of it. One that is gone already is fine.
func (p *Plan) Kill() error {
	if p.group != nil {
		p.group.kill()
	}
	if pid := p.pid(); pid > 1 {
		// Alone in a process namespace it is process 1, and takes everything there with it.
		return ignoreGone(errors.Join(ignoreGone(syscall.Kill(-pid, syscall.SIGKILL)), ignoreGone(syscall.Kill(pid, syscall.SIGKILL))))
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

func (p *Plan) pid() int {
	if p.gate == nil {
		return 0
	}
	return int(p.gate.pid.Load())
}

// Close takes down what the plan made. The caller has seen the process end, or never started it.
func (p *Plan) Close() error {
	p.mu.Lock()
	list := p.close
	p.close = nil
	p.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		list[i]()
	}
	return nil
}

// Users of instances come from a range that neither people, packages, systemd nor containers use. Two hosts on one
// machine start at different places, because a user's limits count for both.
const (
	firstUser = 1_900_000_000
	userCount = 1 << 20
)

type userPool struct {
	mu    sync.Mutex // guards the rest
	taken map[int]bool
	next  int
}

var users = userPool{taken: map[int]bool{}, next: os.Getpid() * 1021 % userCount}

func (u *userPool) take() (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for range userCount {
		uid := firstUser + u.next
		u.next = (u.next + 1) % userCount
		if !u.taken[uid] {
			u.taken[uid] = true
			return uid, nil
		}
	}
	return 0, errors.New("every user of the reserved range is taken")
}

func (u *userPool) give(uid int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.taken, uid)
}

// python lists what an interpreter of Python needs to start: itself with its modules, and the system's shared libraries.
func python(program string) (binds []launch.Bind, execute []string, err error) {
	actual, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, nil, err
	}
	folders := []string{"/lib64", "/usr/lib64", "/etc/ld.so.cache"}
	for _, triplet := range []string{"x86_64-linux-gnu", "aarch64-linux-gnu"} {
		folders = append(folders, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	prefixes := []string{filepath.Dir(filepath.Dir(actual))}
	if home := venvHome(program); home != "" {
		venv := filepath.Dir(filepath.Dir(program))
		folders = append(folders, filepath.Join(venv, "pyvenv.cfg"))
		prefixes = append(prefixes, venv, filepath.Dir(home))
	}
	if !strings.HasPrefix(program, "/usr/") { // there it is found without
		folders = append(folders, program)
	}
	for _, prefix := range prefixes {
		folders = append(folders, modules(prefix)...)
	}
	seen := map[string]bool{}
	for _, f := range folders {
		if !seen[f] {
			seen[f] = true
			binds = append(binds, launch.Bind{Path: f, Exec: true, Optional: true})
		}
	}
	for _, pattern := range []string{"/lib64/ld-linux-*.so.*", "/lib/ld-linux-*.so.*", "/lib/ld-musl-*.so.*"} {
		found, _ := filepath.Glob(pattern) // the pattern is well formed
		execute = append(execute, found...)
	}
	return binds, execute, nil
}

// venvHome returns the folder of the interpreter that a virtual environment was made from.
func venvHome(program string) string {
	cfg, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(program)), "pyvenv.cfg"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(cfg)) {
		if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "home" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// modules are what an installation of Python needs of its place. It never is the place itself, which may be somebody's
// home folder.
func modules(prefix string) []string {
	var all []string
	for _, pattern := range []string{"lib/python3*", "lib64/python3*", "lib/libpython3*"} {
		found, _ := filepath.Glob(filepath.Join(prefix, pattern)) // the pattern is well formed
		all = append(all, found...)
	}
	return all
}
