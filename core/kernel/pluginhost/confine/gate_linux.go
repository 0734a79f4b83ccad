package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// gate is the host's end of the conversation with picket-launch; see package launch.
type gate struct {
	plan   *Plan
	wanted launch.Confinement
	conn   *net.UnixConn
	child  *os.File // our copy of the other end, closed when the start is over: until then the command reads it
	once   sync.Once

	pid    atomic.Int64  // of the process, once it has spoken
	done   chan struct{} // closed when report and err are set
	report Report
	err    error
	calls  *listener // of refused calls; nil when the kernel answers them
}

func newGate(p *Plan, wanted launch.Confinement) (*gate, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("gate: %w", err)
	}
	ours, child := os.NewFile(uintptr(pair[0]), "gate"), os.NewFile(uintptr(pair[1]), "gate of picket-launch")
	defer ours.Close() // conn is a copy
	// The kernel says who speaks, so that nobody has to be believed.
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		child.Close()
		return nil, nil, fmt.Errorf("gate: %w", err)
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		child.Close()
		return nil, nil, fmt.Errorf("gate: %w", err)
	}
	return &gate{plan: p, wanted: wanted, conn: conn.(*net.UnixConn), child: child, done: make(chan struct{})}, child, nil
}

// serve lets one process through. Whatever fails closes the socket, and picket-launch gives up.
func (g *gate) serve() {
	defer close(g.done)
	defer g.conn.Close()
	report, err := g.pass()
	if err != nil {
		g.err = fmt.Errorf("instance %s: confinement: %w", g.plan.req.Instance, err)
		return
	}
	g.report = report
}

// stop ends serve and waits for it, and for what it began.
func (g *gate) stop() {
	g.conn.Close()
	g.closeChild()
	<-g.done
	if g.calls != nil {
		g.calls.close()
	}
}

func (g *gate) closeChild() { g.once.Do(func() { g.child.Close() }) }

func (g *gate) pass() (Report, error) {
	var hello launch.Hello
	pid, err := g.receive(&hello, nil)
	if err != nil {
		return Report{}, err
	}
	if hello.Version != config.Version {
		return Report{}, fmt.Errorf("picket-launch has version %.40q, this program has %q: install Picket anew", hello.Version, config.Version)
	}
	g.pid.Store(int64(pid))
	if g.plan.group != nil {
		if err := g.plan.group.add(pid); err != nil {
			return Report{}, fmt.Errorf("control group: %w", err)
		}
	}
	if err := g.send(g.wanted); err != nil {
		return Report{}, err
	}
	var applied launch.Applied
	listening := -1
	if _, err := g.receive(&applied, &listening); err != nil {
		if listening >= 0 {
			unix.Close(listening)
		}
		return Report{}, err
	}
	if listening >= 0 { // from now on: the helper may still make a call that is refused
		probes := 0
		if g.plan.req.Interpreter != "" {
			probes = grpcProbes
		}
		if g.calls, err = listen(listening, g.plan.req.Refused, probes); err != nil {
			return Report{}, fmt.Errorf("refused calls: %w", err)
		}
	}
	if applied.Error != "" {
		return Report{}, errors.New(strings.ToValidUTF8(applied.Error, "?"))
	}
	uncounted := slices.ContainsFunc(applied.Missing, func(m string) bool { return strings.HasPrefix(m, launch.CallsUncounted) })
	if g.wanted.Listen && g.calls == nil && !uncounted {
		return Report{}, errors.New("the listener of refused calls did not come, and without it nobody knows who answers them")
	}
	report, err := g.plan.verify(pid, applied)
	if err != nil {
		return Report{}, err
	}
	report.CallsCounted = g.calls != nil
	return report, g.send(launch.Go{Go: true})
}

func (g *gate) send(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > launch.MaxGateMessage {
		return fmt.Errorf("%d bytes are too much to say", len(data))
	}
	_, err = g.conn.Write(data)
	return err
}

// receive reads one message and who sent it, and takes a descriptor that comes along when there is a place for it.
func (g *gate) receive(message any, fd *int) (pid int, err error) {
	buf, oob := make([]byte, launch.MaxGateMessage+1), make([]byte, 256)
	n, oobn, flags, _, err := g.conn.ReadMsgUnix(buf, oob)
	pid, fds, oobErr := attached(oob[:oobn])
	if fd != nil && len(fds) > 0 {
		*fd, fds = fds[0], fds[1:]
	}
	for _, unwanted := range fds {
		unix.Close(unwanted)
	}
	switch {
	case errors.Is(err, io.EOF), err == nil && n == 0:
		return 0, errors.New("picket-launch ended before the plugin began")
	case err != nil:
		return 0, fmt.Errorf("picket-launch: %w", err)
	case n > launch.MaxGateMessage:
		return 0, fmt.Errorf("picket-launch: a message of more than %d bytes", launch.MaxGateMessage)
	case flags&unix.MSG_CTRUNC != 0: // the kernel threw it away: this program has too many files open, or too much was sent
		return 0, errors.New("picket-launch: what came with its message was lost: has this program too many files open?")
	case oobErr != nil:
		return 0, fmt.Errorf("picket-launch: %w", oobErr)
	case pid <= 0:
		return 0, errors.New("picket-launch: nobody knows who it is")
	}
	if err := json.Unmarshal(buf[:n], message); err != nil {
		return 0, fmt.Errorf("picket-launch: %w", err)
	}
	return pid, nil
}

// attached is what comes with a message: who sent it, as the kernel says, and descriptors.
func attached(oob []byte) (pid int, fds []int, err error) {
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, nil, err
	}
	for _, c := range controls {
		if cred, err := unix.ParseUnixCredentials(&c); err == nil {
			pid = int(cred.Pid)
		} else if list, err := unix.ParseUnixRights(&c); err == nil {
			fds = append(fds, list...)
		}
	}
	return pid, fds, nil
}

// verify compares what was wanted with what the kernel says about the process that waits at the gate.
func (p *Plan) verify(pid int, applied launch.Applied) (Report, error) {
	status, err := readStatus(pid)
	if err != nil {
		return Report{}, err
	}
	if status.number("NoNewPrivs") != 1 {
		return Report{}, errors.New("the process can still get new privileges")
	}
	r := Report{
		Level: p.level, View: "all", Cgroup: CgroupNone, PID: pid, UID: os.Geteuid(), Unenforced: p.unenforced,
		Reasons: p.caps.Reasons, Missing: applied.Missing, Limits: p.enforcedBy(),
	}
	if p.group != nil {
		r.Cgroup = p.caps.Cgroup
	}
	if p.level == LevelC {
		return r, nil
	}
	if err := p.verifyIdentity(status); err != nil {
		return Report{}, err
	}
	if r.Namespaces, err = p.verifyNamespaces(pid); err != nil {
		return Report{}, err
	}
	r.SeccompFilters = status.number("Seccomp_filters")
	if status.number("Seccomp") != 2 {
		return Report{}, errors.New("no filter of calls (seccomp) is in force")
	}
	if applied.View != p.view {
		return Report{}, fmt.Errorf("the process has the view %q of the files, not %q", applied.View, p.view)
	}
	if applied.LandlockABI != p.caps.LandlockABI {
		return Report{}, fmt.Errorf("version %d of Landlock is in force, not %d", applied.LandlockABI, p.caps.LandlockABI)
	}
	r.View, r.LandlockABI = applied.View, applied.LandlockABI
	if !p.caps.CountsCalls {
		r.Missing = append(r.Missing, launch.CallsUncounted+" (this kernel tells nobody of them: Linux 5.0 and later do)")
	}
	if r.LandlockABI == 0 {
		r.Missing = append(r.Missing, "Landlock (this kernel has none, or does not enable it: lsm=landlock,…)")
	}
	if p.uid != 0 {
		r.UID = p.uid
	}
	return r, nil
}

func (p *Plan) verifyIdentity(status processStatus) error {
	want := os.Geteuid()
	if p.level == LevelA {
		want = p.uid
	}
	ids := strings.Fields(status["Uid"])
	if len(ids) != 4 || slices.ContainsFunc(ids, func(id string) bool { return id != strconv.Itoa(want) }) {
		return fmt.Errorf("the process has the users %q, not %d", status["Uid"], want)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(status[set], "0") != "" {
			return fmt.Errorf("the process has capabilities left (%s %s)", set, status[set])
		}
	}
	return nil
}

func (p *Plan) verifyNamespaces(pid int) ([]string, error) {
	list := p.namespaces()
	slices.Sort(list)
	for _, ns := range list {
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			return nil, err
		}
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		if err != nil {
			return nil, err
		}
		if ours == theirs {
			return nil, fmt.Errorf("the process shares the host's namespace %s", ns)
		}
	}
	return list, nil
}

// enforcedBy says for each limit who holds the plugin to it.
func (p *Plan) enforcedBy() []string {
	watch := "the host's watch"
	memory, cpu, tasks := watch+", rlimit", watch, "rlimit"
	if p.level == LevelC {
		tasks = "nobody"
	}
	if p.group != nil {
		memory, cpu, tasks = p.group.enforces("memory", memory), p.group.enforces("cpu", cpu), p.group.enforces("pids", tasks)
	}
	return []string{"memory: " + memory, "cpu: " + cpu, "tasks: " + tasks, "open files: rlimit"}
}

// processStatus is /proc/PID/status.
type processStatus map[string]string

func readStatus(pid int) (processStatus, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	s := processStatus{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			s[key] = strings.TrimSpace(value)
		}
	}
	return s, nil
}

// number is -1 for what is not there.
func (s processStatus) number(key string) int {
	first, _, _ := strings.Cut(s[key], " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		return -1
	}
	return n
}
