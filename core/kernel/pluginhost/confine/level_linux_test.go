package confine

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

func TestLevelReport(t *testing.T) {
	level := best(t)
	p := start(t, request(t, ""), "uid", "pids", "list:/", "list:/dev", "list:/proc", "fds", "env")
	r := p.report
	namespaces := []string{"ipc", "mnt", "net", "pid", "uts"}
	if level == LevelB {
		namespaces = []string{"ipc", "mnt", "net", "pid", "user", "uts"}
	}
	if r.Level != level || !slices.Equal(r.Namespaces, namespaces) || r.View != launch.ViewMinimal || r.SeccompFilters < 1 ||
		r.LandlockABI != Detect().LandlockABI || len(r.Missing) > 0 || len(r.Unenforced) > 0 {
		t.Errorf("%+v", r)
	}
	if (r.UID >= firstUser) != (level == LevelA) || p.plan.UID() != 0 && p.plan.UID() != r.UID {
		t.Errorf("user %d at level %s", r.UID, level)
	}
	all := p.results()
	top := strings.Split(strings.Trim(filepath.ToSlash(p.plan.req.SocketDir), "/"), "/")[0]
	for _, name := range strings.Fields(all["list:/"].Value) {
		if !slices.Contains([]string{"dev", "etc", "proc", "tmp", "usr", "var", top}, name) {
			t.Errorf("the root folder holds %s", name)
		}
	}
	for attempt, want := range map[string]string{
		"uid": strconv.Itoa(r.UID), "pids": "1", "list:/dev": "full null random urandom zero", "list:/proc": "1 self thread-self",
		"env": "GIVEN=yes",
		"fds": "0 1 2 4", // the lifeline; not the program, the gate or anything of the host
	} {
		if got := all[attempt]; !got.OK || got.Value != want {
			t.Errorf("%s: %+v, want %q", attempt, got, want)
		}
	}
}

// A hardened shell has a umask of 077; the plugin's own user must see its root all the same.
func TestLevelUnderAStrictUmask(t *testing.T) {
	level := best(t)
	r := request(t, "")
	was := unix.Umask(0o077)
	defer unix.Umask(was)
	p := start(t, r, "uid", "list:/dev")
	if got := p.results()["list:/dev"]; p.report.Level != level || !got.OK || got.Value != "full null random urandom zero" {
		t.Errorf("level %s, /dev %+v", p.report.Level, got)
	}
}

// TestLevelForbidden runs each attempt twice: it succeeds in a process and no more, and fails when confined.
func TestLevelForbidden(t *testing.T) {
	level := best(t)
	s := newSurroundings(t)
	for name, c := range map[string]struct {
		attempt string
		rootful bool // without confinement only root can do it
		signal  bool // the attempt ends the process where it succeeds
	}{
		"read a file":                      {attempt: "read:" + s.file},
		"list a folder":                    {attempt: "list:" + s.folder},
		"list the home of everybody":       {attempt: "list:/home"},
		"read the environment of the host": {attempt: fmt.Sprintf("read:/proc/%d/environ", os.Getpid())},
		"read its own environment's host":  {attempt: fmt.Sprintf("list:/proc/%d", os.Getpid())},
		"write a file":                     {attempt: "write:" + filepath.Join(s.folder, "new")},
		"overwrite a file":                 {attempt: "write:" + s.file},
		"fork":                             {attempt: "fork"},
		"run a program":                    {attempt: "run:/bin/true"},
		"become a program":                 {attempt: "exec:/bin/true", signal: true},
		"become a program by descriptor":   {attempt: "execfd:/bin/true", signal: true},
		"become itself by descriptor":      {attempt: "execfd:/proc/self/exe", signal: true},
		"become itself":                    {attempt: "exec:/proc/self/exe", signal: true},
		"make a file in memory":            {attempt: "memfd"},
		"TCP":                              {attempt: "tcp:" + s.tcp},
		"UDP":                              {attempt: "udp:" + s.udp},
		"a raw socket":                     {attempt: "raw", rootful: true},
		"listen":                           {attempt: "listen:127.0.0.1:0"},
		"a Unix socket":                    {attempt: "unix:" + s.unix},
		"an abstract socket":               {attempt: "unix:@" + s.abstract},
		"a Unix datagram":                  {attempt: "unixgram:" + s.unixgram},
		"an abstract datagram":             {attempt: "unixgram:@" + s.abstractgram},
		"trace a sibling":                  {attempt: fmt.Sprintf("ptrace:%d", s.sibling)},
		"read a sibling's memory":          {attempt: fmt.Sprintf("vmread:%d,%x", s.child, s.address)},
		"signal a sibling":                 {attempt: fmt.Sprintf("kill:%d", s.victim(t))},
		"a mount namespace":                {attempt: "unshare", rootful: true},
		"a user namespace":                 {attempt: "userns"},
		"mount":                            {attempt: "mount:" + s.mountpoint, rootful: true},
		"io_uring":                         {attempt: "iouring"},
		"see interfaces":                   {attempt: "ifaces"},
	} {
		t.Run(name, func(t *testing.T) {
			if !c.rootful || os.Geteuid() == 0 {
				r := request(t, LevelC)
				p := start(t, r, strings.ReplaceAll(c.attempt, "{sockets}", r.SocketDir))
				if all := p.results(); c.signal {
					if len(all) > 1 || p.out.Len() > 0 {
						t.Errorf("unconfined it fails too, so the test shows nothing: %v", all)
					}
				} else if got := all[strings.ReplaceAll(c.attempt, "{sockets}", r.SocketDir)]; !got.OK {
					t.Errorf("unconfined it fails too, so the test shows nothing: %+v, %v", got, all)
				}
			}
			r := request(t, "")
			attempt := strings.ReplaceAll(c.attempt, "{sockets}", r.SocketDir)
			p := start(t, r, attempt)
			if p.report.Level != level {
				t.Fatalf("level %s", p.report.Level)
			}
			got := only(t, p, attempt)
			if got.OK || got.Error == "" {
				t.Errorf("level %s does not stop it: %+v", level, got)
			}
			t.Log(got.Error)
		})
	}
}

// surroundings are what a plugin could reach.
type surroundings struct {
	folder, file, mountpoint, tcp, udp, unix, abstract, unixgram, abstractgram string
	sibling, child                                                             int
	address                                                                    uintptr
}

var secret = [8]byte{'s', 'e', 'c', 'r', 'e', 't', '!', '!'}

func newSurroundings(t *testing.T) *surroundings {
	t.Helper()
	s := &surroundings{folder: t.TempDir(), child: os.Getpid(), address: uintptr(unsafe.Pointer(&secret[0]))}
	s.file = filepath.Join(s.folder, "file")
	if err := os.WriteFile(s.file, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	for path := s.folder; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		_ = os.Chmod(path, 0o777) // only ours can be changed
	}
	s.mountpoint = filepath.Join(s.folder, "mnt")
	_ = os.Mkdir(s.mountpoint, 0o777)
	t.Cleanup(func() { _ = unix.Unmount(s.mountpoint, unix.MNT_DETACH) }) // where mounting succeeded
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(buf[:n], from)
		}
	}()
	s.tcp, s.udp = tcp.Addr().String(), udp.LocalAddr().String()
	s.unix, s.unixgram = filepath.Join(s.folder, "u"), filepath.Join(s.folder, "g")
	s.abstract = fmt.Sprintf("confine-%d-u", os.Getpid())
	s.abstractgram = fmt.Sprintf("confine-%d-g", os.Getpid())
	closers := []interface{ Close() error }{tcp, udp}
	for _, path := range []string{s.unix, "@" + s.abstract} {
		l, err := net.Listen("unix", path)
		must(t, err)
		closers = append(closers, l)
	}
	for _, path := range []string{s.unixgram, "@" + s.abstractgram} {
		l, err := net.ListenPacket("unixgram", path)
		must(t, err)
		closers = append(closers, l)
	}
	_ = os.Chmod(s.unix, 0o777)
	_ = os.Chmod(s.unixgram, 0o777)
	t.Cleanup(func() {
		for _, c := range closers {
			c.Close()
		}
	})
	s.sibling = s.victim(t)
	// Some machines let nobody trace but parents: this process allows it to anyone, as far as that is asked at all.
	_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0)
	return s
}

// victim starts a process that only waits.
func (s *surroundings) victim(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "probe"), "sleep:5m")
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLevelAllowed are the things that a plugin needs.
func TestLevelAllowed(t *testing.T) {
	best(t)
	r := request(t, "")
	short, err := os.MkdirTemp("/var/tmp", "s") //nolint:usetesting // this place is what is tested
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(short) })
	elsewhere := request(t, "")
	elsewhere.SocketDir = short
	for _, r := range []Request{r, elsewhere} {
		tmp := "/tmp"
		if strings.HasPrefix(r.SocketDir, "/tmp/") {
			tmp = "/var/tmp"
		}
		attempts := []string{
			"socket:" + r.SocketDir + "/s", "write:" + r.SocketDir + "/file", "write:" + tmp + "/file", "read:" + tmp + "/file", "write:/dev/null",
			"threads:20", "files:100", "list:/etc/ssl/certs",
		}
		all := start(t, r, attempts...).results()
		for _, a := range attempts {
			if !all[a].OK {
				t.Errorf("sockets in %s: %s: %+v %+v", r.SocketDir, a, all[a], all["exit"])
			}
		}
		for _, dir := range []string{tmp, r.SocketDir} {
			if _, err := os.Stat(dir + "/file"); err == nil {
				t.Errorf("the plugin's %s is the host's", dir)
			}
		}
	}
}

func TestLevelLimits(t *testing.T) {
	level := best(t)
	small := func(t *testing.T) Request {
		t.Helper()
		r := request(t, "")
		r.Limits.Memory, r.Limits.OpenFiles, r.Limits.Tasks = 96<<20, 64, 24
		return r
	}
	t.Run("memory", func(t *testing.T) {
		if got := only(t, start(t, request(t, ""), "memory:300"), "memory:300"); !got.OK {
			t.Fatalf("within the default it fails too: %+v", got)
		}
		p := start(t, small(t), "memory:1000")
		if got := only(t, p, "memory:1000"); got.OK {
			t.Fatalf("took 1000 MiB with a limit of 96: %+v", got)
		} else {
			t.Log(first(got.Error + got.Value))
		}
		if out := p.plan.OutOfMemory(); out != (p.report.Cgroup != CgroupNone) {
			t.Errorf("out of memory: %v, control groups: %s", out, p.report.Cgroup)
		}
	})
	t.Run("shared memory", func(t *testing.T) {
		if p := start(t, small(t), "shared:300"); p.report.Cgroup != CgroupNone {
			if got := only(t, p, "shared:300"); got.OK {
				t.Fatalf("took 300 MiB with a limit of 96: %+v", got)
			}
		}
	})
	t.Run("files", func(t *testing.T) {
		got := only(t, start(t, small(t), "files:1000"), "files:1000")
		if n, _ := strconv.Atoi(got.Value); got.OK || n >= 64 || !strings.Contains(got.Error, "too many open files") {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("threads", func(t *testing.T) {
		if got := only(t, start(t, small(t), "threads:200"), "threads:200"); got.OK {
			t.Fatalf("%+v", got)
		} else {
			t.Log(first(got.Error + got.Value))
		}
	})
	t.Run("disk", func(t *testing.T) {
		r := small(t)
		for _, dir := range []string{"/tmp", "/var/tmp", r.SocketDir} {
			if got := only(t, start(t, r, "fill:"+dir), "fill:"+dir); got.OK {
				t.Fatalf("%s: %+v", dir, got)
			}
		}
	})
	t.Run("cpu", func(t *testing.T) {
		r := small(t)
		r.Limits.CPU = 0.25
		p := start(t, r, "cpu:2s")
		if p.report.Cgroup == CgroupNone {
			if level == LevelA {
				t.Fatal("root makes no control group")
			}
			return
		}
		got := only(t, p, "cpu:2s")
		used, err := time.ParseDuration(got.Value)
		if err != nil || used > 1200*time.Millisecond {
			t.Fatalf("used %s in 2 s with a quarter of a core: %+v", used, got)
		}
	})
}

func first(s string) string { return s[:min(len(s), 300)] }

func TestLevelUsage(t *testing.T) {
	best(t)
	p := start(t, request(t, ""), "memory:100", "cpu:100ms", "sleep:1m")
	var u Usage
	waitFor(t, func() bool {
		var err error
		if u, err = p.plan.Usage(); err != nil {
			t.Fatal(err)
		}
		return u.Memory > 100<<20 && u.CPU > 50*time.Millisecond
	})
	if u.PeakMemory < u.Memory/2 || u.Tasks < 1 || u.CPU > time.Minute {
		t.Fatalf("%+v", u)
	}
	must(t, p.plan.Kill())
	if p.end() == nil {
		t.Error("ended well")
	}
	must(t, p.plan.Kill())
}

// TestLevelLeavesNothing starts and ends, fails and gives up, and looks for what is left.
func TestLevelLeavesNothing(t *testing.T) {
	best(t)
	t.Run("first", func(t *testing.T) { start(t, request(t, ""), "uid").results() }) // what is made once is there after it
	before := countDescriptors(t)
	for i := range 5 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			p := start(t, request(t, ""), "sleep:1m")
			if p.plan.group != nil {
				for _, dir := range p.plan.group.folders() {
					if _, err := os.Stat(dir); err != nil {
						t.Error(err)
					}
				}
			}
			plan, err := New(request(t, "")) // prepared, never started
			must(t, err)
			must(t, plan.Prepare())
			must(t, plan.Close())
		})
	}
	for _, dir := range groupParents().dirs {
		left, _ := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%s%d-*", groupName, os.Getpid())))
		if len(left) > 0 {
			t.Errorf("control groups are left: %v", left)
		}
	}
	if after := countDescriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if len(users.taken) > 0 {
		t.Errorf("users are taken: %v", users.taken)
	}
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// TestLevelHostMetrics is the exception: the host's files are visible where a rule lets them be read, and its network's
// counters, but not more.
func TestLevelHostMetrics(t *testing.T) {
	best(t)
	s := newSurroundings(t)
	r := request(t, "")
	r.Grants = []sdk.Permission{{Cap: sdk.CapHostMetrics}}
	see := []string{"ifaces", "read:/proc/net/dev", "read:/proc/stat", "read:/proc/1/stat", "pids", "list:/sys/class/net", "statfs:/", "socket:" + r.SocketDir + "/s"}
	not := []string{
		"read:" + s.file, "list:" + s.folder, "list:/", "read:/etc/passwd", "write:" + s.file, "write:" + s.folder + "/new", "write:/tmp/x",
		"write:/proc/self/comm", fmt.Sprintf("read:/proc/%d/environ", s.child), fmt.Sprintf("read:/proc/%d/maps", s.child),
		fmt.Sprintf("read:/proc/%d/fd/1", s.child), fmt.Sprintf("list:/proc/%d/root/", s.child),
		"tcp:" + s.tcp, "udp:" + s.udp, "unix:" + s.unix, "unix:@" + s.abstract, "unixgram:" + s.unixgram, "unixgram:@" + s.abstractgram,
		"raw", "listen:127.0.0.1:0", fmt.Sprintf("kill:%d", s.sibling), fmt.Sprintf("ptrace:%d", s.sibling),
		"fork", "run:/bin/true", "execfd:/bin/true", "memfd", "unshare", "userns", "mount:" + s.mountpoint,
	}
	p := start(t, r, append(slices.Clone(see), not...)...)
	if p.report.View != launch.ViewHost || slices.Contains(p.report.Namespaces, "net") {
		t.Errorf("%+v", p.report)
	}
	all := p.results()
	for _, a := range see {
		if !all[a].OK {
			t.Errorf("%s: %+v %+v", a, all[a], all["exit"])
		}
	}
	for _, a := range not {
		if got, tried := all[a]; !tried || got.OK {
			t.Errorf("%s is not stopped: %+v", a, got)
		}
	}
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces {
		if !slices.Contains(strings.Fields(all["ifaces"].Value), i.Name) {
			t.Errorf("interface %s is not seen: %q", i.Name, all["ifaces"].Value)
		}
	}
	if !slices.Contains(strings.Fields(all["pids"].Value), strconv.Itoa(s.sibling)) {
		t.Errorf("process %d is not seen: %q", s.sibling, all["pids"].Value)
	}
}

// TestLevelMountsOfLater: whoever measures the host sees what is mounted after it started, cannot write there, and does not keep
// what was unmounted.
func TestLevelMountsOfLater(t *testing.T) {
	best(t)
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	if abi := Detect().LandlockABI; abi < 3 {
		t.Skipf("version %d of Landlock does not keep files from being cut short, so what is mounted later stays out", abi)
	}
	dir, err := os.MkdirTemp("", "later") //nolint:usetesting // whose folder lies in one that others may not enter
	must(t, err)
	t.Cleanup(func() { _ = os.Remove(dir) })
	must(t, os.Chmod(dir, 0o755))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	must(t, unix.Mount("", dir, "", unix.MS_SHARED, "")) // as a machine's mounts are under systemd
	later := filepath.Join(dir, "later")
	must(t, os.Mkdir(later, 0o777))
	metrics := func() Request {
		r := request(t, "")
		r.Grants = []sdk.Permission{{Cap: sdk.CapHostMetrics}}
		return r
	}
	p := start(t, metrics(), "mounted:"+later+"=256", "write:"+later+"/x")
	must(t, unix.Mount("tmpfs", later, "tmpfs", 0, "size=1m,mode=0777"))
	all := p.results()
	if got := all["mounted:"+later+"=256"]; got.Value != "256" {
		t.Errorf("what was mounted later is not seen: %+v", got)
	}
	if got, tried := all["write:"+later+"/x"]; !tried || got.OK {
		t.Errorf("what was mounted later can be written to: %+v", got)
	}

	p = start(t, metrics(), "sleep:5m")
	keeps := func() bool {
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", p.report.PID))
		must(t, err)
		return bytes.Contains(mounts, []byte(later))
	}
	if !keeps() {
		t.Error("what was mounted before is not seen")
	}
	must(t, unix.Unmount(later, 0))
	waitFor(t, func() bool { return !keeps() })
}

// TestLevelProgramDescriptor: the number that may be executed is out of the plugin's reach.
func TestLevelProgramDescriptor(t *testing.T) {
	best(t)
	for _, files := range []int{64, 1024, 1 << 30} {
		r := request(t, "")
		r.Limits.OpenFiles = files
		n := files
		var rl syscall.Rlimit
		must(t, syscall.Getrlimit(unix.RLIMIT_NOFILE, &rl))
		if uint64(n) >= rl.Max {
			n = int(rl.Max) - 1
		}
		below, at := fmt.Sprintf("duplicate:%d", n-1), fmt.Sprintf("duplicate:%d", n)
		all := start(t, r, below, at).results()
		if !all[below].OK || all[at].OK {
			t.Errorf("limit %d: %+v %+v", files, all[below], all[at])
		}
	}
}

// TestLevelDiesWithTheHost covers a lifeline that is cut while picket-launch waits, and a host that never consents.
func TestLevelRefusedByTheHost(t *testing.T) {
	best(t)
	r := request(t, "")
	r.SocketDir = filepath.Join(r.SocketDir, "missing")
	_, err := tryStart(t, r, launch.Spec{Program: "/proc/self/fd/3"}, openProgram(t, "probe"), "uid")
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a folder that is not there: %v", err)
	}
	script := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(script, []byte("not a program"), 0o755))
	f, err := os.Open(script)
	must(t, err)
	defer f.Close()
	p, err := tryStart(t, request(t, ""), launch.Spec{Program: "/proc/self/fd/3"}, f, "uid")
	must(t, err)
	if err := <-p.exited; err == nil || !strings.Contains(p.stderr.String(), "exec format error") {
		t.Errorf("no program: %v, stderr %q", err, p.stderr)
	}
	if _, err := p.plan.Command("/x", launch.Spec{Program: "/proc/self/fd/3"}, nil); err == nil {
		t.Error("a second start with one plan")
	}
}

// TestLevelVerify: what the kernel says counts, whatever the other end of the gate claims.
func TestLevelVerify(t *testing.T) {
	best(t)
	plan, err := New(request(t, ""))
	must(t, err)
	defer plan.Close()
	claims := launch.Applied{View: launch.ViewMinimal, LandlockABI: Detect().LandlockABI}
	if r, err := plan.verify(os.Getpid(), claims); err == nil {
		t.Fatalf("an ordinary process passed: %+v", r)
	}
	p := start(t, request(t, ""), "sleep:1m")
	pid := p.report.PID
	p.plan.view = launch.ViewHost
	if r, err := p.plan.verify(pid, claims); err == nil {
		t.Errorf("the wrong view passed: %+v", r)
	}
	p.plan.view = launch.ViewMinimal
	claims.LandlockABI--
	if r, err := p.plan.verify(pid, claims); err == nil {
		t.Errorf("less Landlock passed: %+v", r)
	}
	claims.LandlockABI++
	if _, err := p.plan.verify(pid, claims); err != nil {
		t.Errorf("what is right did not pass: %v", err)
	}
}

// TestLevelReopen: a file that was handed over for reading stays as it is, though its owner may be the plugin's user.
func TestLevelReopen(t *testing.T) {
	best(t)
	for _, mode := range []os.FileMode{0o400, 0o600} {
		path := filepath.Join(t.TempDir(), "handed over")
		must(t, os.WriteFile(path, []byte("as it was"), mode))
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		attempts := []string{"chmodfd:5", "markfd:5", "reopen:5"}
		spec := launch.Spec{Name: "probe", Program: "/proc/self/fd/3", Keep: []int{5}}
		p, err := tryStartWith(t, request(t, ""), spec, openProgram(t, "probe"), []*os.File{f}, attempts...)
		must(t, err)
		all := p.results()
		for _, a := range attempts {
			if r := all[a]; r.Try == "" || r.OK {
				t.Errorf("mode %o: %s: %+v", mode, a, r)
			}
		}
		info, err := os.Stat(path)
		must(t, err)
		text, err := os.ReadFile(path)
		must(t, err)
		if info.Mode() != mode || string(text) != "as it was" {
			t.Errorf("the file has mode %o, not %o, and says %q", info.Mode(), mode, text)
		}
	}
}

// TestNotEnforced: what cannot be held to on a kernel that this machine does not have.
func TestNotEnforced(t *testing.T) {
	read := sdk.Permission{Cap: sdk.CapFSRead}
	for name, c := range map[string]struct {
		level Level
		abi   int
		want  string
	}{
		"with Landlock":                      {LevelB, 1, ""},
		"the plugin's own user":              {LevelA, 0, ""},
		"nothing keeps it from opening anew": {LevelB, 0, "without Landlock"},
		"no confinement":                     {LevelC, 1, "level C"},
	} {
		got := notEnforced(c.level, Capabilities{Level: c.level, LandlockABI: c.abi}, read)
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestLevelRefusals(t *testing.T) {
	best(t)
	ceiling := func(text string) *policy.Ceiling {
		c, err := policy.Parse([]byte("apiVersion: picket/v1\n" + text))
		must(t, err)
		return c
	}
	dial := sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"10.0.0.1"}}}
	for name, c := range map[string]struct {
		most    Level
		ceiling *policy.Ceiling
		grant   sdk.Permission
		script  string
		want    string
	}{
		"dial":                       {"", policy.Default(), dial, "", ""},
		"dial at C":                  {LevelC, ceiling("minimum_level: C"), dial, "", "not enforced at level C"},
		"dial at C, accepted":        {LevelC, ceiling("minimum_level: C\nunenforced: allow"), dial, "", ""},
		"nothing at C, no file":      {LevelC, policy.Default(), sdk.Permission{}, "", "minimum_level: C"},
		"dial at C, not the level":   {LevelC, ceiling("unenforced: allow"), dial, "", "demands level B"},
		"flows at C":                 {LevelC, ceiling("minimum_level: C"), sdk.Permission{Cap: sdk.CapFlowsRead}, "", ""},
		"exec":                       {"", policy.Default(), sdk.Permission{Cap: sdk.CapExec}, "", "not enforced at any level"},
		"exec, accepted":             {"", ceiling("unenforced: allow"), sdk.Permission{Cap: sdk.CapExec}, "", "not enforced at any level"},
		"write":                      {"", policy.Default(), sdk.Permission{Cap: sdk.CapFSWrite}, "", "not enforced at any level"},
		"minimum":                    {LevelC, ceiling("minimum_level: B"), sdk.Permission{Cap: sdk.CapState}, "", "demands level B"},
		"minimum reached":            {LevelB, ceiling("minimum_level: B"), sdk.Permission{Cap: sdk.CapState}, "", ""},
		"no interpreter":             {"", policy.Default(), sdk.Permission{Cap: sdk.CapState}, "python3", "under interpreters"},
		"interpreter is not there":   {"", ceiling("interpreters: {python3: /nowhere/python3}"), sdk.Permission{Cap: sdk.CapState}, "python3", "/nowhere/python3"},
		"unknown script, by mistake": {"", policy.Default(), sdk.Permission{Cap: sdk.CapState}, "perl", "interpreter perl"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, c.most)
			r.Ceiling, r.Interpreter, r.AnyLevel = c.ceiling, c.script, false
			if c.grant.Cap != "" {
				r.Grants = []sdk.Permission{c.grant}
			}
			plan, err := New(r)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				must(t, plan.Close())
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if c.script != "python3" && !IsRefusal(err) {
				t.Errorf("not a refusal: %v", err)
			}
		})
	}
}

// TestLevelParentDies: the plugin goes with the thread that started it, whatever its user is.
func TestLevelParentDies(t *testing.T) {
	best(t)
	if os.Getenv("CONFINE_TEST_HOST") != "" {
		p := start(t, request(t, ""), "sleep:5m")
		fmt.Printf("pid %d\n", p.report.PID)
		select {}
	}
	host := exec.Command("/proc/self/exe", "-test.run", "^TestLevelParentDies$")
	host.Env = append(os.Environ(), "CONFINE_TEST_HOST=yes", programDir+"="+programs)
	out, err := host.StdoutPipe()
	must(t, err)
	must(t, host.Start())
	var pid int
	if _, err := fmt.Fscanf(out, "pid %d\n", &pid); err != nil {
		_ = host.Process.Kill()
		t.Fatal(err)
	}
	must(t, host.Process.Kill())
	_ = host.Wait()
	waitFor(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(stat, []byte(") Z"))
	})
	if errors.Is(syscall.Kill(pid, 0), syscall.EPERM) {
		t.Error("still there")
	}
}
