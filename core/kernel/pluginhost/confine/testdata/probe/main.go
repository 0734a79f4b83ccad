// Command probe tries what a plugin must not do and prints what came of it: one line of JSON for each word of its command
// line. A word is an attempt and, after a colon, what it is aimed at.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type result struct {
	Try   string `json:"try"`
	OK    bool   `json:"ok"`
	Value string `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

var attempts = map[string]func(aim string) (string, error){
	"read":     func(path string) (string, error) { b, err := os.ReadFile(path); return first(b), err },
	"list":     list,
	"write":    func(path string) (string, error) { return "", os.WriteFile(path, []byte("x"), 0o644) },
	"fill":     fill,
	"fork":     fork,
	"exec":     func(path string) (string, error) { return "", syscall.Exec(path, []string{path}, nil) },
	"run":      func(path string) (string, error) { b, err := exec.Command(path).CombinedOutput(); return first(b), err },
	"memfd":    memfd,
	"execfd":   execFD,
	"tcp":      func(to string) (string, error) { return dial("tcp", to) },
	"udp":      func(to string) (string, error) { return dial("udp", to) },
	"unix":     func(to string) (string, error) { return dial("unix", to) },
	"unixgram": unixgram,
	"raw":      raw,
	"listen":   listen,
	"socket":   socketAt,
	"ptrace":   func(pid string) (string, error) { return "", unix.PtraceAttach(number(pid)) },
	"vmread":   vmread,
	"kill":     func(pid string) (string, error) { return "", syscall.Kill(number(pid), syscall.SIGTERM) },
	"unshare": func(string) (string, error) {
		return "", onThread(func() error { return unix.Unshare(unix.CLONE_NEWNS) })
	},
	"userns":    func(string) (string, error) { return "", newUserNamespace() },
	"mount":     func(at string) (string, error) { return "", unix.Mount("tmpfs", at, "tmpfs", 0, "") },
	"iouring":   ioUring,
	"uid":       func(string) (string, error) { return strconv.Itoa(os.Getuid()), nil },
	"setuid":    func(string) (string, error) { return "", unix.Setuid(0) },
	"ifaces":    interfaces,
	"pids":      pids,
	"memory":    memory,
	"shared":    shared,
	"threads":   threads,
	"files":     files,
	"statfs":    statfs,
	"mounted":   mounted,
	"cpu":       burn,
	"env":       func(string) (string, error) { return strings.Join(os.Environ(), " "), nil },
	"fds":       descriptors,
	"sleep":     func(d string) (string, error) { w, err := time.ParseDuration(d); time.Sleep(w); return "", err },
	"duplicate": duplicate,
	"chmodfd":   func(fd string) (string, error) { return "", unix.Fchmod(number(fd), 0o666) },
	"markfd":    func(fd string) (string, error) { return "", unix.Fsetxattr(number(fd), "user.x", []byte("x"), 0) },
	"reopen":    reopen,
	"refused":   refused,
	"filter":    ownFilter,
}

func main() {
	for _, word := range os.Args[1:] {
		name, aim, _ := strings.Cut(word, ":")
		r := result{Try: word}
		value, err := attempts[name](aim)
		r.OK, r.Value = err == nil, value
		if err != nil {
			r.Error = err.Error()
		}
		json.NewEncoder(os.Stdout).Encode(r)
	}
}

func first(b []byte) string { return string(b[:min(len(b), 200)]) }

func number(s string) int { n, _ := strconv.Atoi(s); return n }

func list(path string) (string, error) {
	entries, err := os.ReadDir(path)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " "), err
}

func fill(dir string) (string, error) {
	block := make([]byte, 1<<20)
	for i := range 64 {
		if err := os.WriteFile(fmt.Sprintf("%s/fill%d", dir, i), block, 0o644); err != nil {
			return strconv.Itoa(i) + " MiB", err
		}
	}
	return "64 MiB", nil
}

// reopen opens a file that was handed over for reading once more, to write it.
func reopen(fd string) (string, error) {
	f, err := os.OpenFile("/proc/self/fd/"+fd, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = f.WriteString("changed")
	return "", err
}

// fork asks the kernel without the care that a real one takes: the child ends at once.
func fork(string) (string, error) {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return "", errno
	}
	if pid == 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	syscall.Wait4(int(pid), nil, 0, nil)
	return "", nil
}

func memfd(string) (string, error) {
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

// execFD executes a file by its descriptor. It returns only when that fails.
func execFD(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	return "", execveat(fd)
}

// duplicate tries to get a descriptor of the number that was executed.
func duplicate(n string) (string, error) {
	fd, err := unix.Open("/proc/self/status", unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	return "", unix.Dup3(fd, number(n), 0)
}

func dial(network, to string) (string, error) {
	conn, err := net.DialTimeout(network, to, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if network == "udp" {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return "", err
		}
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		buf := make([]byte, 16)
		n, err := conn.Read(buf)
		return string(buf[:n]), err
	}
	return "", nil
}

// unixgram sends without connecting.
func unixgram(path string) (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return "", unix.Sendmsg(fd, []byte("x"), nil, &unix.SockaddrUnix{Name: path}, 0)
}

func raw(string) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

// socketAt serves a Unix socket at a path, as every plugin does.
func socketAt(path string) (string, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", err
	}
	return "", l.Close()
}

func listen(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	return "", l.Close()
}

func vmread(aim string) (string, error) {
	pid, address, _ := strings.Cut(aim, ",")
	at, _ := strconv.ParseUint(address, 16, 64)
	buf := make([]byte, 8)
	local := []unix.Iovec{{Base: &buf[0], Len: 8}}
	_, err := unix.ProcessVMReadv(number(pid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: 8}}, 0)
	return string(buf), err
}

// onThread runs fn on a thread that nothing else uses after it.
func onThread(fn func() error) error {
	errs := make(chan error)
	go func() {
		runtime.LockOSThread()
		errs <- fn()
	}()
	return <-errs
}

func newUserNamespace() error {
	cmd := exec.Command("/proc/self/exe", "uid")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	return cmd.Run()
}

func ioUring(string) (string, error) {
	var params [120]byte
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, addr(&params), 0)
	if errno != 0 {
		return "", errno
	}
	return "", unix.Close(int(fd))
}

func interfaces(string) (string, error) {
	list, err := net.Interfaces()
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return strings.Join(names, " "), err
}

func pids(string) (string, error) {
	entries, err := os.ReadDir("/proc")
	var out []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, e.Name())
		}
	}
	return strings.Join(out, " "), err
}

// memory allocates and touches. It does not return when the kernel ends it.
func memory(mib string) (string, error) {
	debug.SetGCPercent(-1)
	var keep [][]byte
	for range number(mib) {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		keep = append(keep, b)
	}
	return strconv.Itoa(len(keep)), nil
}

// shared takes memory that a limit of private data does not count.
func shared(mib string) (string, error) {
	b, err := unix.Mmap(-1, 0, number(mib)<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return "", err
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return "", nil
}

// threads keeps as many threads. Go's runtime ends the process when it cannot have one.
func threads(n string) (string, error) {
	for range number(n) {
		ready := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(ready)
			select {}
		}()
		<-ready
	}
	return n, nil
}

func files(n string) (string, error) {
	for i := range number(n) {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return strconv.Itoa(i), err
		}
	}
	return n, nil
}

func statfs(path string) (string, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return strconv.FormatUint(st.Blocks, 10), err
}

// mounted waits until a file system of so many blocks is there, "PATH=BLOCKS".
func mounted(aim string) (string, error) {
	path, want, _ := strings.Cut(aim, "=")
	for range 600 {
		if got, err := statfs(path); err == nil && got == want {
			return got, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return statfs(path)
}

// burn keeps every processor busy for a while and says how much time it got.
func burn(d string) (string, error) {
	length, err := time.ParseDuration(d)
	if err != nil {
		return "", err
	}
	end := time.Now().Add(length)
	var group sync.WaitGroup
	for range runtime.NumCPU() {
		group.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	group.Wait()
	var usage syscall.Rusage
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).String(), err
}

func descriptors(string) (string, error) {
	var open []string
	for fd := range 1 << 12 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open = append(open, strconv.Itoa(fd))
		}
	}
	return strings.Join(open, " "), nil
}
