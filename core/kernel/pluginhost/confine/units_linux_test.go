package confine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

func TestFindParents(t *testing.T) {
	const v1 = `30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
33 25 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	const v2 = "30 25 0:26 / /sys/fs/cgroup rw,relatime shared:1 - cgroup2 cgroup2 rw,nsdelegate\n"
	const container = "30 25 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	for name, c := range map[string]struct {
		mounts, own string
		want        parents
	}{
		"version 1": {v1, "4:memory:/a/b\n3:cpu,cpuacct:/\n2:freezer:/x\n0::/\n", parents{CgroupV1, map[string]string{
			"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory/a/b",
		}}},
		"version 2":      {v2, "0::/system.slice/picketd.service\n", parents{CgroupV2, map[string]string{"": "/sys/fs/cgroup/system.slice/picketd.service"}}},
		"in a container": {container, "4:memory:/docker/abc/sub\n", parents{CgroupV1, map[string]string{"memory": "/sys/fs/cgroup/memory/sub"}}},
		"none":           {"", "0::/\n", parents{kind: CgroupNone}},
		"nonsense":       {"a b c\n - \n", "x\n::\n", parents{kind: CgroupNone}},
	} {
		t.Run(name, func(t *testing.T) {
			got := findParents(c.mounts, c.own)
			if got.kind != c.want.kind || !cmp.Equal(got.dirs, c.want.dirs) && got.kind != CgroupNone {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// sleeper is a process in a group.
func sleeper(t *testing.T, g *group) <-chan error {
	t.Helper()
	cmd := exec.Command("sleep", "5m")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	must(t, g.add(cmd.Process.Pid))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended
}

func killed(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a member of the group ended by itself")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a member of the group lives")
	}
}

func TestGroupDies(t *testing.T) {
	if groupKind() == CgroupNone {
		t.Skip("no control group may be made here")
	}
	g, err := newGroup(Limits{})
	must(t, err)
	ended := sleeper(t, g)
	g.kill()
	killed(t, ended)
	g.remove()

	// A host that was killed left a group with a process that lives on: its folders go, if not now then with the next group.
	gone := exec.Command("true")
	must(t, gone.Run())
	stale := &group{kind: groupKind(), dirs: map[string]string{}}
	for controller, dir := range groupParents().dirs {
		path := filepath.Join(dir, fmt.Sprintf("%s%d-1", groupName, gone.Process.Pid))
		if err := os.Mkdir(path, 0o755); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
		stale.dirs[controller] = path
	}
	ended = sleeper(t, stale)
	for _, dir := range groupParents().dirs {
		removeStale(dir)
	}
	killed(t, ended)
	waitFor(t, func() bool {
		next, err := newGroup(Limits{})
		must(t, err)
		next.remove()
		return !slices.ContainsFunc(stale.folders(), func(path string) bool { _, err := os.Stat(path); return err == nil })
	})
}

// TestGroupV2 works on plain files: no control group of version 2 with controllers is to be had on every machine.
func TestGroupV2(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "pids.max": "max", "cpu.max": "max", "cgroup.procs": "",
		"cgroup.kill": "", "memory.current": "1000\n", "memory.peak": "5000\n", "memory.stat": "anon 5\ninactive_file 300\n",
		"memory.events": "low 0\noom_kill 2\n", "cpu.stat": "usage_usec 1500\nthrottled_usec 20\n", "pids.current": "7\n",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	g := &group{kind: CgroupV2, dirs: map[string]string{"": dir}}
	must(t, g.limit(Limits{Memory: 64 << 20, CPU: 1.5, Tasks: 12}))
	must(t, g.add(4711))
	g.kill()
	for name, want := range map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "12", "cpu.max": "150000 100000",
		"cgroup.procs": "4711", "cgroup.kill": "1",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var u Usage
	must(t, g.usage(&u))
	want := Usage{Memory: 700, PeakMemory: 5000, CPU: 1500 * time.Microsecond, Throttled: 20 * time.Microsecond, OOMKills: 2, Tasks: 7}
	if u != want {
		t.Errorf("got %+v, want %+v", u, want)
	}
	must(t, g.limitCPU(0.0001))
	if got, _ := os.ReadFile(filepath.Join(dir, "cpu.max")); !strings.HasPrefix(string(got), "1000 100000") {
		t.Errorf("too small a share: %q", got)
	}
}

func TestDelegatedNot(t *testing.T) {
	dir := t.TempDir()
	p := parents{CgroupV2, map[string]string{"": dir}} // a folder without cgroup.subtree_control
	p.prepare()
	if p.kind != CgroupNone {
		t.Errorf("%+v", p)
	}
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	gone := exec.Command("/bin/true")
	must(t, gone.Run())
	dead, alive := filepath.Join(dir, fmt.Sprintf("picket-%d-1", gone.Process.Pid)), filepath.Join(dir, fmt.Sprintf("picket-%d-1", os.Getpid()))
	other := filepath.Join(dir, "picket-host")
	for _, d := range []string{dead, alive, other} {
		must(t, os.Mkdir(d, 0o755))
	}
	removeStale(dir)
	for d, want := range map[string]bool{dead: false, alive: true, other: true} {
		if _, err := os.Stat(d); (err == nil) != want {
			t.Errorf("%s: %v", d, err)
		}
	}
}

func TestMerge(t *testing.T) {
	manifest := registry.Limits{Memory: "64Mi", CPU: 0.5, Deadline: "5s", RecordsPerSecond: 10, OpenFiles: 64, LogLinesPerSecond: 3}
	stated := Limits{Memory: 64 << 20, CPU: 0.5, Deadline: 5 * time.Second, RecordsPerSecond: 10, OpenFiles: 64, LogLinesPerSecond: 3, Tasks: 256}
	more := stated
	more.Memory = 1 << 30
	capped := stated
	capped.Memory, capped.CPU = 32<<20, 0.25
	for name, c := range map[string]struct {
		kind           sdk.Kind
		manifest       registry.Limits
		operator, node Limits
		want           Limits
	}{
		"nothing stated":       {"collector", registry.Limits{}, Limits{}, Limits{}, Defaults("collector")},
		"detectors get more":   {"detector", registry.Limits{}, Limits{}, Limits{}, Defaults("detector")},
		"manifest":             {"collector", manifest, Limits{}, Limits{}, stated},
		"operator":             {"collector", manifest, Limits{Memory: 1 << 30}, Limits{}, more},
		"node before operator": {"collector", manifest, Limits{Memory: 1 << 30, CPU: 8}, Limits{Memory: 32 << 20, CPU: 0.25, OpenFiles: 4096}, capped},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Merge(c.kind, c.manifest, c.operator, c.node)
			must(t, err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if Defaults("detector").CPU != 2 || Defaults("notifier").CPU != 1 {
		t.Error("shares of the processor")
	}
	for _, bad := range []registry.Limits{{Memory: "lots"}, {Deadline: "soon"}} {
		if _, err := Merge("collector", bad, Limits{}, Limits{}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for _, c := range []struct {
		level, least Level
		want         bool
	}{{LevelA, LevelB, true}, {LevelB, LevelB, true}, {LevelC, LevelB, false}, {LevelC, "", true}, {"", LevelC, false}} {
		if got := c.level.AtLeast(c.least); got != c.want {
			t.Errorf("%q at least %q: %v", c.level, c.least, got)
		}
	}
}

// TestGateOfAnImpostor speaks to the host's end of the gate as something else than picket-launch would.
func TestGateOfAnImpostor(t *testing.T) {
	hello := fmt.Sprintf(`{"version":%q}`, config.Version)
	for name, c := range map[string]struct {
		say  []string
		want string
	}{
		"says nothing":       {nil, "ended before"},
		"nonsense":           {[]string{"nonsense"}, "invalid character"},
		"another version":    {[]string{`{"version":"0.0.1"}`}, "install Picket anew"},
		"too much":           {[]string{strings.Repeat(" ", launch.MaxGateMessage+1)}, "more than"},
		"leaves in between":  {[]string{hello}, "ended before"},
		"says what failed":   {[]string{hello, `{"error":"no such thing"}`}, "no such thing"},
		"brings no listener": {[]string{hello, `{"view":"minimal","landlock_abi":7}`}, "the listener"},
		"claims to be bound": {[]string{hello, `{"view":"minimal","landlock_abi":7,"missing":["refused calls are not counted"]}`}, "the process"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := New(request(t, ""))
			must(t, err)
			defer plan.Close()
			g, child, err := newGate(plan, plan.confinement(3))
			must(t, err)
			plan.gate = g
			impostor, err := unix.Dup(int(child.Fd())) // the gate closes its own
			must(t, err)
			defer unix.Close(impostor)
			go g.serve()
			for _, s := range c.say {
				must(t, unix.Send(impostor, []byte(s), unix.MSG_NOSIGNAL))
			}
			must(t, unix.Shutdown(impostor, unix.SHUT_WR))
			_, err = plan.Report(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			g.stop()
		})
	}
}

func TestUserPool(t *testing.T) {
	pool := userPool{taken: map[int]bool{}, next: userCount - 1}
	a, err := pool.take()
	must(t, err)
	b, err := pool.take()
	must(t, err)
	if a != firstUser+userCount-1 || b != firstUser {
		t.Errorf("%d, %d", a, b)
	}
	pool.give(a)
	if len(pool.taken) != 1 {
		t.Error(pool.taken)
	}
}

func TestVenv(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "home", "bin", "python3.11")
	venv := filepath.Join(dir, "venv", "bin", "python3")
	for _, p := range []string{real, venv} {
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
	}
	must(t, os.WriteFile(real, nil, 0o755))
	for _, p := range []string{"venv/lib/python3.11", "home/lib/python3.11", "home/.ssh"} {
		must(t, os.MkdirAll(filepath.Join(dir, p), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "home/lib/libpython3.11.so.1.0"), nil, 0o755))
	must(t, os.Symlink(real, venv))
	must(t, os.WriteFile(filepath.Join(dir, "venv", "pyvenv.cfg"), []byte("home = "+filepath.Dir(real)+"\nversion = 3\n"), 0o644))
	binds, _, err := python(venv)
	must(t, err)
	seen := map[string]int{}
	for _, b := range binds {
		seen[b.Path]++
		if b.Write || !b.Exec || !b.Optional {
			t.Errorf("%+v", b)
		}
	}
	for _, p := range []string{venv, "venv/pyvenv.cfg", "venv/lib/python3.11", "home/lib/python3.11", "home/lib/libpython3.11.so.1.0"} {
		if p != venv {
			p = filepath.Join(dir, p)
		}
		if seen[p] != 1 {
			t.Errorf("%s: %d times in %v", p, seen[p], seen)
		}
	}
	for p := range seen { // an interpreter in a home folder opens nothing else there
		if p == dir || p == filepath.Join(dir, "venv") || p == filepath.Join(dir, "home") || strings.Contains(p, ".ssh") {
			t.Errorf("too much: %s", p)
		}
	}
	if seen["/usr"] != 0 || seen["/"] != 0 || seen["/root"] != 0 {
		t.Errorf("too much: %v", seen)
	}
}

func TestUsageOf(t *testing.T) {
	u, err := usageOf(os.Getpid())
	must(t, err)
	if u.Memory < 1<<20 || u.Tasks < 1 {
		t.Errorf("%+v", u)
	}
	if _, err := usageOf(1 << 30); err == nil {
		t.Error("a process that is not there")
	}
	if _, err := Spent(1 << 27); err == nil {
		t.Error("the time of a process that is not there")
	}
	if resident, err := Resident(os.Getpid()); err != nil || resident < 1<<20 {
		t.Errorf("%d bytes, %v", resident, err)
	}
	if _, err := Resident(1 << 30); err == nil {
		t.Error("the memory of a process that is not there")
	}
	if strconv.Itoa(int(kilobytes("12 kB"))) != "12288" || kilobytes("") != 0 {
		t.Error("kilobytes")
	}
}

// A process that sleeps uses nothing, one that works uses time: the guard goes by it.
func TestSpent(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Wait() //nolint:errcheck // it ends with its input
	defer in.Close()
	echo := func() {
		t.Helper()
		_, err := in.Write([]byte("x"))
		must(t, err)
		_, err = out.Read(make([]byte, 1))
		must(t, err)
	}
	echo()
	var before, after time.Duration
	for range 1000 { // until it has gone to sleep again
		before = after
		after, err = Spent(cmd.Process.Pid)
		must(t, err)
		if after == before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if before != after {
		t.Error("a process that sleeps uses the processor")
	}
	for range 1000 {
		echo()
	}
	if worked, err := Spent(cmd.Process.Pid); err != nil || worked <= after {
		t.Errorf("it used %s before and %s after its work, %v", after, worked, err)
	}
}

func TestParseStatm(t *testing.T) {
	if n, err := parseStatm([]byte("2000 300 20 1 0 100 0\n"), 4096); err != nil || n != 300*4096 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []string{"", "1", "1 x", "1 -1", "1 99999999999999999999"} {
		if _, err := parseStatm([]byte(bad), 4096); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseStatm(f *testing.F) {
	f.Add([]byte("2000 300 20 1 0 100 0\n"))
	f.Fuzz(func(_ *testing.T, statm []byte) { _, _ = parseStatm(statm, 4096) })
}

// FuzzFindParents: a kind and its folders are there, or neither is.
func FuzzFindParents(f *testing.F) {
	f.Add("30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a/../b\n")
	f.Add("30 25 0:26 /x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/x/../../..\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		p := findParents(mounts, own)
		if (p.kind == CgroupNone) != (len(p.dirs) == 0) {
			t.Fatalf("%+v", p)
		}
	})
}
