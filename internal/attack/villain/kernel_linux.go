package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// special are the means that only a process has, beside those of every plugin: calls of the kernel, made by hand.
var special = map[string]func(*job){
	"read-file":   rawRead,
	"write-file":  rawWrite,
	"tcp":         rawTCP,
	"udp":         func(j *job) { rawSend(j, "udp") },
	"dns":         func(j *job) { rawSend(j, "udp") },
	"unix-socket": rawUnix,
	"allocate":    rawAllocate,
	"exec":        rawExecute,
}

func init() {
	add(map[string]func(*job){
		"raw":         raw,
		"signal":      signals,
		"ptrace":      ptrace,
		"memory":      memory,
		"fork":        fork,
		"threads":     threads,
		"descriptors": descriptors,
		"namespaces":  namespaces,
		"linger":      linger,
		"own-filter":  ownFilters,
		"reaim":       turnAround,
		"sleep":       func(*job) { time.Sleep(time.Hour) },
		"ignore-sigterm": func(j *job) {
			ignoreSignals()
			if j.host == nil {
				time.Sleep(time.Minute)
			}
		},
	})
}

func errno(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func path(name string) uintptr {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		panic(err)
	}
	return uintptr(unsafe.Pointer(p))
}

func fdRead(fd int, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 40)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

func rawRead(j *job) {
	name := j.args["path"]
	j.try("openat2", func() (string, error) { return fdRead(unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{})) })
	j.try("open with O_PATH and again by /proc", func() (string, error) {
		fd, err := unix.Open(name, unix.O_PATH, 0)
		if err != nil {
			return "", err
		}
		return fdRead(unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY, 0))
	})
	j.try("open by handle", func() (string, error) {
		handle, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, name, 0)
		if err != nil {
			return "", err
		}
		_ = mount
		root, err := unix.Open("/", unix.O_RDONLY, 0)
		if err != nil {
			return "", err
		}
		return fdRead(unix.OpenByHandleAt(root, handle, unix.O_RDONLY))
	})
	j.try("by inherited descriptors", func() (string, error) {
		for fd := range 300 {
			link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			if err != nil || !filepath.IsAbs(link) {
				continue
			}
			if info, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && info.IsDir() {
				return fdRead(unix.Openat(fd, strings.Repeat("../", 20)+name, unix.O_RDONLY, 0))
			}
		}
		return "", errors.New("no folder among the descriptors")
	})
	j.try("open_tree", func() (string, error) {
		fd, err := unix.OpenTree(unix.AT_FDCWD, name, 0)
		if err != nil {
			return "", err
		}
		return fdRead(unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY, 0))
	})
	j.try("io_uring", func() (string, error) {
		var params [120]byte
		fd, _, e := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		if e != 0 {
			return "", e
		}
		return "a ring", unix.Close(int(fd))
	})
}

func rawWrite(j *job) {
	folder := j.args["folder"]
	j.try("mknod", func() (string, error) { return "", unix.Mknod(folder+"/node", unix.S_IFIFO|0o644, 0) })
	j.try("creat by a raw call", func() (string, error) {
		fd, _, e := syscall.Syscall(unix.SYS_OPENAT, ^uintptr(99), path(folder+"/raw"), unix.O_CREAT|unix.O_WRONLY)
		if e != 0 {
			return "", e
		}
		return "", unix.Close(int(fd))
	})
	j.try("O_TMPFILE", func() (string, error) {
		fd, err := unix.Open(folder, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
		if err != nil {
			return "", err
		}
		return "", unix.Close(fd)
	})
	j.try("an extended attribute", func() (string, error) { return "", unix.Setxattr(j.args["path"], "user.villain", []byte("x"), 0) })
	j.try("its own program", func() (string, error) {
		fd, err := unix.Open("/proc/self/exe", unix.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		return "", unix.Close(fd)
	})
	j.try("the host's settings", func() (string, error) {
		name := "/proc/sys/kernel/hostname"
		old, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		return "", os.WriteFile(name, old, 0)
	})
}

func sockaddr4(address string) (unix.RawSockaddrInet4, error) {
	host, port, ok := strings.Cut(address, ":")
	n, err := strconv.Atoi(port)
	if !ok || err != nil {
		return unix.RawSockaddrInet4{}, fmt.Errorf("address %q", address)
	}
	sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(n>>8 | n<<8)}
	var b [4]int
	_, err = fmt.Sscanf(host, "%d.%d.%d.%d", &b[0], &b[1], &b[2], &b[3])
	for i := range b {
		sa.Addr[i] = byte(b[i])
	}
	return sa, err
}

// rawTCP connects with calls by hand, and sends without connecting.
func rawTCP(j *job) {
	to, err := sockaddr4(j.args["tcp"])
	if err != nil {
		return
	}
	for _, kind := range []struct {
		name                   string
		family, kind, protocol int
	}{{"socket", unix.AF_INET, unix.SOCK_STREAM, 0}, {"MPTCP", unix.AF_INET, unix.SOCK_STREAM, 262}, {"IPv6", unix.AF_INET6, unix.SOCK_STREAM, 0},
		{"SCTP", unix.AF_INET, unix.SOCK_SEQPACKET, 132}, {"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0}} {
		j.try("make a "+kind.name+" and connect", func() (string, error) {
			fd, err := unix.Socket(kind.family, kind.kind, kind.protocol)
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			_, _, e := syscall.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
			return "", errno(e)
		})
	}
	j.try("send with MSG_FASTOPEN", func() (string, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		b := []byte("hello")
		_, _, e := syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 5, unix.MSG_FASTOPEN, uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
		return "", errno(e)
	})
	reaim(j, uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
}

// reaim turns every socket that it was given to another destination.
func reaim(j *job, to, size uintptr) {
	if j.host == nil {
		return
	}
	for fd := range 300 {
		if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil {
			j.try(fmt.Sprintf("connect an inherited socket (family %d)", kind), func() (string, error) {
				_, _, e := syscall.Syscall(unix.SYS_CONNECT, uintptr(fd), to, size)
				return "", errno(e)
			})
			if kind != unix.AF_UNIX {
				j.try("hold a socket of the network", func() (string, error) { return strconv.Itoa(kind), nil })
			}
		}
	}
}

// turnAround asks for a connection that it may have and turns it to where it may not.
func turnAround(j *job) {
	there, err := sockaddr4(j.args["udp"])
	if err != nil {
		return
	}
	to, size := uintptr(unsafe.Pointer(&there)), unsafe.Sizeof(there)
	j.try("turn a socket of its own", func() (string, error) {
		if j.host != nil {
			return "", errors.New("it has none")
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		for _, address := range []string{j.args["allowed"], j.args["udp"]} {
			at, err := sockaddr4(address)
			if err != nil {
				return "", err
			}
			if _, _, e := syscall.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&at)), unsafe.Sizeof(at)); e != 0 {
				return "", e
			}
		}
		_, err = unix.Write(fd, []byte("x"))
		return "", err
	})
	before := sockets()
	j.asHost("dial what is allowed", func(h hostOf) (string, error) {
		c, err := h.Dial(context.Background(), "udp", j.args["allowed"])
		if err != nil {
			return "", err
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return "", err
		}
		reaim(j, to, size)
		b := []byte("x")
		for fd := range sockets() {
			if before[fd] {
				continue // what it sends to the planes would end it
			}
			j.try("send elsewhere from the connection", func() (string, error) {
				_, _, e := syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1, unix.MSG_DONTWAIT, to, size)
				return strconv.Itoa(fd), errno(e)
			})
		}
		return "", nil
	})
}

// sockets are the descriptors that are one.
func sockets() map[int]bool {
	list := map[int]bool{}
	for fd := range 300 {
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil {
			list[fd] = true
		}
	}
	return list
}

func rawSend(j *job, arg string) {
	to, err := sockaddr4(j.args[arg])
	if err != nil {
		return
	}
	for name, kind := range map[string][3]int{"UDP": {unix.AF_INET, unix.SOCK_DGRAM, 0}, "UDP over IPv6": {unix.AF_INET6, unix.SOCK_DGRAM, 0}, "ping": {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}} {
		j.try("sendto of "+name, func() (string, error) {
			fd, err := unix.Socket(kind[0], kind[1], kind[2])
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			b := []byte("hello")
			_, _, e := syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 5, 0, uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
			return "", errno(e)
		})
	}
	reaim(j, uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
}

func raw(j *job) {
	for name, kind := range map[string][3]int{
		"ICMP": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "IP": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}, "ICMPv6": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		"packets": {unix.AF_PACKET, unix.SOCK_RAW, 0x300}, "packets without headers": {unix.AF_PACKET, unix.SOCK_DGRAM, 0x300},
		"netlink": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, "netlink of the firewall": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		"XDP": {unix.AF_XDP, unix.SOCK_RAW, 0}, "crypto": {unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, "Bluetooth": {unix.AF_BLUETOOTH, unix.SOCK_RAW, 1},
	} {
		j.try("a raw socket of "+name, func() (string, error) {
			fd, err := unix.Socket(kind[0], kind[1], kind[2])
			if err != nil {
				return "", err
			}
			return "", unix.Close(fd)
		})
	}
	j.asHost("ask for ICMP", func(h hostOf) (string, error) {
		c, err := h.ListenICMP("ip4")
		if err != nil {
			return "", err
		}
		return "", c.Close()
	})
}

func rawUnix(j *job) {
	for _, to := range []string{j.args["unix"], j.args["abstract"], j.args["unixgram"], j.args["abstractgram"]} {
		for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM, "raw": unix.SOCK_RAW, "seqpacket": unix.SOCK_SEQPACKET} {
			j.try("connect a "+name+" to "+filepath.Base(to), func() (string, error) {
				fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
				if err != nil {
					return "", err
				}
				defer unix.Close(fd)
				return "", unix.Connect(fd, &unix.SockaddrUnix{Name: to})
			})
		}
		j.try("send to "+filepath.Base(to)+" from a pair", func() (string, error) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
			if err != nil {
				return "", err
			}
			return "", unix.Sendto(pair[0], []byte("x"), 0, &unix.SockaddrUnix{Name: to})
		})
		j.try("send to "+filepath.Base(to), func() (string, error) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			return "", unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrUnix{Name: to})
		})
	}
}

// signals goes for one process, by every name that it might have.
func signals(j *job) {
	pid, sig := j.number("pid"), syscall.Signal(j.number("signal"))
	j.try("rt_sigqueueinfo", func() (string, error) {
		info := [128]byte{}
		binary.LittleEndian.PutUint32(info[8:], uint32(0xffffffff)) // SI_QUEUE
		_, _, e := syscall.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(sig), uintptr(unsafe.Pointer(&info)))
		return "", errno(e)
	})
	j.try("tgkill", func() (string, error) { return "", unix.Tgkill(pid, pid, sig) })
	j.try("tkill", func() (string, error) {
		_, _, e := syscall.Syscall(unix.SYS_TKILL, uintptr(pid), uintptr(sig), 0)
		return "", errno(e)
	})
	j.try("pidfd", func() (string, error) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return "", err
		}
		return "", unix.PidfdSendSignal(fd, sig, nil, 0)
	})
	j.try("pidfd of /proc", func() (string, error) {
		fd, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return "", err
		}
		return "", unix.PidfdSendSignal(fd, sig, nil, 0)
	})
	j.try("make it the owner of a descriptor", func() (string, error) {
		_, err := unix.FcntlInt(0, unix.F_SETOWN, pid)
		if err != nil {
			return "", err
		}
		got, err := unix.FcntlInt(0, unix.F_GETOWN, 0)
		if err == nil && got != pid {
			err = fmt.Errorf("the owner is %d", got)
		}
		return "", err
	})
	j.try("its priority", func() (string, error) { return "", unix.Setpriority(unix.PRIO_PROCESS, pid, 19) })
	j.try("its limits", func() (string, error) {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &now); err != nil {
			return "", err
		}
		return "", unix.Prlimit(pid, unix.RLIMIT_CORE, &now, nil)
	})
	j.try("its process group", func() (string, error) { return "", unix.Kill(-pid, 0) })
	if j.host != nil { // naked, that would be this machine
		j.try("everybody", func() (string, error) { return "", unix.Kill(-1, syscall.SIGKILL) })
		j.try("any number", func() (string, error) {
			for other := 2; other < 70_000; other++ {
				if unix.Tgkill(other, other, 0) == nil && !ownThread(other) {
					return strconv.Itoa(other), nil
				}
			}
			return "", errors.New("nobody is there")
		})
	}
	j.try("kill", func() (string, error) { return "", unix.Kill(pid, sig) })
}

// ownThread: a thread of this process has a number too.
func ownThread(tid int) bool {
	_, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid))
	return err == nil
}

func ptrace(j *job) {
	for _, who := range []string{"victim", "host", "one"} {
		pid := j.number(who)
		if pid == 0 {
			continue
		}
		onThread(j, "attach to "+who, func() (string, error) {
			if err := unix.PtraceAttach(pid); err != nil {
				return "", err
			}
			// It is stopped a moment later; one that is let go before would stay so, and might be the test.
			if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
				return "", err
			}
			return "", unix.PtraceDetach(pid)
		})
		onThread(j, "seize "+who, func() (string, error) {
			if err := unix.PtraceSeize(pid); err != nil {
				return "", err
			}
			return "", unix.PtraceDetach(pid)
		})
	}
	onThread(j, "compare with the host", func() (string, error) {
		_, _, e := syscall.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(j.number("victim")), 1, 0, 0, 0)
		return "", errno(e)
	})
}

// onThread runs an attempt on a thread that ends with it.
func onThread(j *job, means string, do func() (string, error)) {
	j.try(means, func() (string, error) {
		runtime.LockOSThread()
		return do()
	})
}

// memory reads a word at an address of the victim.
func memory(j *job) {
	pid, address := j.number("victim"), uintptr(0)
	if n, err := strconv.ParseUint(j.args["address"], 16, 64); err == nil {
		address = uintptr(n)
	}
	buf := make([]byte, 8)
	j.try("process_vm_readv", func() (string, error) {
		_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: address, Len: 8}}, 0)
		return string(buf), err
	})
	j.try("process_vm_writev", func() (string, error) {
		_, err := unix.ProcessVMWritev(pid, []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: address, Len: 8}}, 0)
		return "", err
	})
	for _, who := range []string{strconv.Itoa(pid), j.args["host"], "1"} {
		if who == "1" && j.host == nil {
			continue
		}
		if who == "1" && os.Getpid() == 1 {
			continue // that is itself
		}
		for _, file := range []string{"mem", "maps", "fd", "cwd", "exe", "stack"} {
			j.try(who+"/"+file, func() (string, error) {
				f, err := os.Open("/proc/" + who + "/" + file)
				if err != nil {
					return "", err
				}
				defer f.Close()
				if file == "mem" {
					_, err = f.ReadAt(buf, int64(address))
				}
				return "", err
			})
		}
	}
	j.try("a descriptor of it", func() (string, error) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return "", err
		}
		got, err := unix.PidfdGetfd(fd, 0, 0)
		if err != nil {
			return "", err
		}
		return "", unix.Close(got)
	})
	for _, name := range []string{"/dev/mem", "/dev/kmem", "/proc/kcore", "/proc/kallsyms", "/dev/kmsg", "/proc/1/mem"} {
		if j.host == nil || name == "/proc/1/mem" && os.Getpid() == 1 {
			continue
		}
		j.try(name, func() (string, error) {
			f, err := os.Open(name)
			if err != nil {
				return "", err
			}
			return "", f.Close()
		})
	}
	j.try("shared memory by name", func() (string, error) {
		id, err := unix.SysvShmGet(4242, 4096, unix.IPC_CREAT|0o600)
		if err == nil {
			_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		}
		return "", err
	})
	j.try("userfaultfd", func() (string, error) {
		fd, _, e := syscall.Syscall(unix.SYS_USERFAULTFD, 1, 0, 0)
		if e != 0 {
			return "", e
		}
		return "", unix.Close(int(fd))
	})
}

func rawExecute(j *job) {
	spawn := func(name string, argv ...string) func() (string, error) {
		return func() (string, error) {
			pid, err := syscall.ForkExec(name, argv, &syscall.ProcAttr{})
			if err != nil {
				return "", err
			}
			var status syscall.WaitStatus
			_, err = syscall.Wait4(pid, &status, 0, nil)
			if err == nil && status.ExitStatus() != 0 {
				err = fmt.Errorf("it exited with %d", status.ExitStatus())
			}
			return "", err
		}
	}
	memfd := func() (string, error) {
		fd, err := unix.MemfdCreate("x", 0)
		if err != nil {
			return "", err
		}
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return "", err
		}
		if _, err := unix.Write(fd, self[:1<<20]); err != nil {
			return "", err
		}
		return fmt.Sprintf("/proc/self/fd/%d", fd), nil
	}
	j.try("a memory file", memfd)
	if j.host == nil {
		return // what follows would become another program, where it works
	}
	j.try("run by a raw fork", spawn("/bin/true", "true"))
	j.try("run an interpreter", spawn("/bin/sh", "sh", "-c", "true"))
	j.try("run the loader", spawn("/lib64/ld-linux-x86-64.so.2", "ld", "/bin/true"))
	j.try("become a program", func() (string, error) { return "", syscall.Exec("/bin/true", []string{"true"}, nil) })
	j.try("become itself", func() (string, error) {
		return "", syscall.Exec("/proc/self/exe", []string{"x", "naked", "yes"}, nil)
	})
	for fd := 0; fd < 64; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			j.try("become an inherited descriptor", func() (string, error) { return "", execFD(fd, "") })
		}
	}
	exe, err := unix.Open("/proc/self/exe", unix.O_PATH, 0)
	if err == nil {
		j.try("become itself by a descriptor", func() (string, error) { return "", execFD(exe, "") })
		for _, n := range []int{255, 256, 1023, 1024, 4095, 4096} {
			j.try("become itself by descriptor "+strconv.Itoa(n), func() (string, error) {
				if err := unix.Dup3(exe, n, 0); err != nil {
					return "", err
				}
				defer unix.Close(n)
				return "", execFD(n, "")
			})
		}
	}
	j.try("a file of its own", func() (string, error) {
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return "", err
		}
		for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", os.TempDir()} {
			name := dir + "/x"
			if os.WriteFile(name, self[:4<<20], 0o755) == nil {
				return "", syscall.Exec(name, []string{name}, nil)
			}
		}
		return "", errors.New("no place for it")
	})
	j.try("map a file as code", func() (string, error) {
		if err := os.WriteFile("/tmp/code", make([]byte, 4096), 0o755); err != nil {
			if err = os.WriteFile("/var/tmp/code", make([]byte, 4096), 0o755); err != nil {
				return "", err
			}
		}
		for _, name := range []string{"/tmp/code", "/var/tmp/code"} {
			fd, err := unix.Open(name, unix.O_RDONLY, 0)
			if err != nil {
				continue
			}
			_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
			return name, err
		}
		return "", errors.New("no file")
	})
}

func execFD(fd int, name string) error {
	empty := append([]byte(name), 0)
	argv := []*byte{&empty[0], nil}
	env := []*byte{nil}
	_, _, e := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return e
}

// fork makes processes, a few when it works: fifty show that nothing would end it.
func fork(j *job) {
	for name, call := range map[string][]uintptr{
		"clone": {unix.SYS_CLONE, uintptr(syscall.SIGCHLD)}, "clone that shares memory": {unix.SYS_CLONE, uintptr(syscall.SIGCHLD) | unix.CLONE_VM | unix.CLONE_VFORK},
		"clone of a sibling": {unix.SYS_CLONE, uintptr(syscall.SIGCHLD) | unix.CLONE_PARENT},
	} {
		if strings.Contains(name, "sibling") && j.host == nil || strings.Contains(name, "shares") && j.host == nil {
			continue
		}
		j.try(name, func() (string, error) { return forks(50, call[0], call[1]) })
	}
	j.try("clone3", func() (string, error) {
		args := [11]uint64{4: uint64(syscall.SIGCHLD)}
		pid, _, e := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
		if e != 0 {
			return "", e
		}
		if pid == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return "", nil
	})
	if j.host != nil {
		rawForks(j)
	}
}

func forks(n int, number, flags uintptr) (string, error) {
	for i := range n {
		pid, _, e := syscall.RawSyscall6(number, flags, 0, 0, 0, 0, 0)
		if e != 0 {
			return strconv.Itoa(i), e
		}
		if pid == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return strconv.Itoa(n), nil
}

// threads makes threads that wait. Where it cannot have one, Go's runtime ends the process.
func threads(j *job) {
	j.work("threads", func() (string, error) {
		for range j.number("n") {
			ready := make(chan struct{})
			go func() {
				runtime.LockOSThread()
				close(ready)
				time.Sleep(time.Hour)
			}()
			<-ready
		}
		return j.args["n"], nil
	})
}

func descriptors(j *job) {
	many := func(open func() (int, error)) func() (string, error) {
		return func() (string, error) {
			var list []int
			defer func() {
				for _, fd := range list {
					unix.Close(fd)
				}
			}()
			for i := range j.number("n") {
				fd, err := open()
				if err != nil {
					return "", fmt.Errorf("after %d: %w", i, err)
				}
				list = append(list, fd)
			}
			return strconv.Itoa(len(list)), nil
		}
	}
	j.try("raise the limit", func() (string, error) {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
			return "", err
		}
		more := now.Max + 1024
		return "", syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: more, Max: more})
	})
	j.try("open", many(func() (int, error) { return unix.Open("/dev/null", unix.O_RDONLY, 0) }))
	j.try("epoll", many(func() (int, error) { return unix.EpollCreate1(0) }))
	j.try("pairs", many(func() (int, error) {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.Close(p[1])
		}
		return p[0], err
	}))
	if j.host != nil {
		hold()
	}
}

// hold keeps nearly all descriptors that it can have; what is left it needs to answer.
func hold() {
	var list []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			break
		}
		list = append(list, fd)
	}
	for _, fd := range list[:min(len(list), 8)] {
		unix.Close(fd)
	}
}

func namespaces(j *job) {
	for name, flag := range map[string]int{
		"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "network": unix.CLONE_NEWNET, "process": unix.CLONE_NEWPID, "IPC": unix.CLONE_NEWIPC, "UTS": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP,
	} {
		if name == "user" && j.host == nil {
			continue // not for a program with several threads
		}
		onThread(j, "a namespace for "+name, func() (string, error) { return "", unix.Unshare(flag) })
	}
	onThread(j, "the namespace of another", func() (string, error) {
		fd, err := unix.Open("/proc/"+j.args["host"]+"/ns/net", unix.O_RDONLY, 0)
		if err != nil {
			return "", err
		}
		return "", unix.Setns(fd, 0)
	})
	onThread(j, "a new mount", func() (string, error) {
		fd, err := unix.Fsopen("tmpfs", 0)
		if err != nil {
			return "", err
		}
		if err := unix.FsconfigCreate(fd); err != nil {
			return "", err
		}
		_, err = unix.Fsmount(fd, 0, 0)
		return "", err
	})
	if j.host == nil {
		return
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/"} {
		onThread(j, "mount at "+dir, func() (string, error) { return "", unix.Mount("tmpfs", dir, "tmpfs", 0, "") })
		onThread(j, "remount "+dir, func() (string, error) { return "", unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "") })
		onThread(j, "unmount "+dir, func() (string, error) { return "", unix.Unmount(dir, unix.MNT_DETACH) })
		onThread(j, "change the root to "+dir, func() (string, error) { return "", unix.Chroot(dir) })
	}
	onThread(j, "become user 0", func() (string, error) { return "", syscall.Setuid(0) })
	onThread(j, "take capabilities", func() (string, error) {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		all := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
		return "", unix.Capset(&header, &all[0])
	})
	onThread(j, "load a module", func() (string, error) { return "", unix.InitModule([]byte("x"), "") })
	onThread(j, "a program in the kernel", func() (string, error) {
		_, _, e := syscall.Syscall(unix.SYS_BPF, 0, 0, 0)
		return "", errno(e)
	})
	onThread(j, "name the machine", func() (string, error) { return "", unix.Sethostname([]byte("villain")) })
	onThread(j, "set the clock", func() (string, error) {
		now := unix.NsecToTimeval(time.Now().UnixNano())
		return "", unix.Settimeofday(&now)
	})
}

// ownFilters puts filters of its own over its calls: one lets pass what another filter would have refused, one refuses in
// silence what somebody would have been told of.
func ownFilters(j *job) {
	onThread(j, "let calls pass", func() (string, error) {
		fd, err := filterCall(unix.SYS_MEMFD_CREATE, unix.SECCOMP_RET_USER_NOTIF, false, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
		if err != nil {
			return "", err
		}
		go letPass(fd)
		made, err := unix.MemfdCreate("villain", 0)
		return fmt.Sprintf("descriptor %d", made), err
	})
	for name, old := range map[string]bool{"seccomp": false, "prctl": true} {
		onThread(j, "refuse in silence, by "+name, func() (string, error) {
			_, err := filterCall(unix.SYS_MEMFD_CREATE, unix.SECCOMP_RET_ERRNO|uint32(unix.EDOM), old, 0)
			if err == nil {
				if _, err = unix.MemfdCreate("villain", 0); errors.Is(err, unix.EDOM) {
					return "nobody hears of its calls", nil
				}
			}
			return "", err
		})
	}
	onThread(j, "a filter for all threads", func() (string, error) {
		_, err := filterCall(unix.SYS_KCMP, unix.SECCOMP_RET_ERRNO, false, unix.SECCOMP_FILTER_FLAG_TSYNC)
		return "", err
	})
}

// filterCall installs a filter that answers one call, for this thread or as flags say.
func filterCall(call, answer uint32, old bool, flags uintptr) (fd int, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: answer},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if old {
		return -1, unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	}
	n, _, e := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if e == 0 && flags&unix.SECCOMP_FILTER_FLAG_TSYNC != 0 && n != 0 {
		return -1, fmt.Errorf("thread %d has another filter", n)
	}
	return int(n), errno(e)
}

// letPass answers what a listener is asked: go on.
func letPass(listener int) {
	const goOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	for {
		var in [80]byte // struct seccomp_notif; its number comes first
		_, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&in[0])))
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return
		}
		out := struct {
			id           uint64
			value        int64
			errno, flags uint32
		}{id: binary.NativeEndian.Uint64(in[:8]), flags: goOn}
		_, _, _ = syscall.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&out)))
	}
}

// linger does what it can to stay when the host is gone: no signal with the parent's death, no lifeline, a session of
// its own, no signal that ends it.
func linger(j *job) {
	ignoreSignals()
	j.try("a session of its own", func() (string, error) { _, err := unix.Setsid(); return "", err })
	mainly := func(do func() error) func() (string, error) {
		return func() (string, error) {
			done := make(chan error)
			onMainThread <- func() { done <- do() }
			return "", <-done
		}
	}
	if j.host == nil {
		mainly = func(do func() error) func() (string, error) { return func() (string, error) { return "", do() } }
	}
	j.try("forget the parent-death signal", mainly(func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }))
	j.try("forget it, with more bits", mainly(func() error {
		_, _, e := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG|1<<40, 0, 0, 0, 0, 0)
		return errno(e)
	}))
	if j.host != nil {
		go deafen()
	}
	if j.args["fork"] != "" {
		j.try("fork twice", func() (string, error) { return forkTwice() })
	}
}

// deafen puts something harmless in the place of what tells this process that the host is gone: lifeline, record plane and
// broker.
func deafen() {
	time.Sleep(200 * time.Millisecond) // the host gets its answer
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return
	}
	for fd := range 300 {
		var st unix.Stat_t
		if fd == 1 || fd == 2 || unix.Fstat(fd, &st) != nil {
			continue
		}
		pair := false // the sockets of the SDK's server have a name
		if at, err := unix.Getsockname(fd); err == nil {
			name, ok := at.(*unix.SockaddrUnix)
			peer, err := unix.Getpeername(fd)
			other, okToo := peer.(*unix.SockaddrUnix)
			pair = ok && name.Name == "" && err == nil && okToo && other.Name == ""
		}
		if pair || st.Mode&unix.S_IFMT == unix.S_IFIFO {
			_ = unix.Dup3(null, fd, 0)
		}
	}
}

func forkTwice() (string, error) {
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return "", e
	}
	if pid == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
		pid, _, _ = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if pid != 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		for range 20 { // long enough for the test
			ts := syscall.Timespec{Sec: 1}
			_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		}
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return strconv.Itoa(int(pid)), nil
}

func ignoreSignals() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
}

// rawAllocate takes memory that a limit of private data may not count.
func rawAllocate(j *job) {
	j.try("shared memory", func() (string, error) {
		b, err := unix.Mmap(-1, 0, 400<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
		if err != nil {
			return "", err
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		return "400 MiB", nil
	})
}
