package main

import (
	"fmt"
	"math"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// denied are calls that no plugin has a use for. Names that this processor does not have are left out.
var denied = []string{
	// other processes and programs
	"fork", "vfork", "execve", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
	"pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp", "personality", "modify_ldt",
	// files that are none, or that come from elsewhere
	"memfd_create", "memfd_secret", "open_by_handle_at", "name_to_handle_at", "mknod", "mknodat", "fanotify_init", "uselib",
	// what a file is: at level B a file that the host opened for reading has the plugin's own user as its owner, who could
	// let himself write it, or change its marks
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
	"setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
	"utime", "utimes", "futimesat", "utimensat", "utimensat_time64", "file_setattr",
	// sockets: a plugin accepts the host and connects to nobody
	"connect",
	// namespaces and mounts
	"unshare", "setns", "mount", "umount", "umount2", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
	"fspick", "mount_setattr", "pivot_root", "chroot", "statmount", "listmount",
	// wide or young parts of the kernel
	"io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "bpf", "perf_event_open", "userfaultfd",
	"keyctl", "add_key", "request_key", "lookup_dcookie", "nfsservctl", "lsm_set_self_attr",
	// memory shared by name, which outlives the plugin
	"shmget", "shmat", "msgget", "semget", "mq_open",
	// the machine
	"init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
	"swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "sethostname", "setdomainname", "settimeofday", "stime",
	"clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "iopl", "ioperm", "vhangup",
}

const (
	errnoPerm  = seccomp.ActionErrno | seccomp.Action(unix.EPERM)
	errnoNoSys = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
)

// datagram is the bit that SOCK_DGRAM and SOCK_RAW have and SOCK_STREAM and SOCK_SEQPACKET have not. A Unix socket of
// theirs can send to any path without connecting.
const datagram = 2

// Requests of ioctl that change what a file is. They ask for no descriptor that is open for writing.
const (
	setFlags         = 0x40086602 // FS_IOC_SETFLAGS
	setFlags32       = 0x40046602 // FS_IOC32_SETFLAGS
	setExtendedFlags = 0x401c5820 // FS_IOC_FSSETXATTR
	enableVerity     = 0x40806685 // FS_IOC_ENABLE_VERITY
)

// filter assembles the list of calls that the program may make; program is the descriptor that it may execute.
func filter(program int, netlink bool) ([]bpf.RawInstruction, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{Action: errnoNoSys, Names: []string{"clone3"}}, // its flags lie in memory, out of a filter's sight; all fall back to clone
			{Action: errnoPerm, Names: known(info, denied), NamesWithCondtions: conditions(program, netlink)},
		},
	}
	body, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	const numberAt, archAt = 0, 4
	// The library lets calls of other architectures pass (32-bit ones on a 64-bit kernel), and those younger than itself.
	head := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(errnoNoSys)},
		bpf.LoadAbsolute{Off: numberAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: uint32(youngest(info)), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(errnoNoSys)},
	}
	return bpf.Assemble(append(head, body...))
}

// conditions are calls that are denied for some arguments. A filter sees 64 bits of each, the kernel often uses 32: the
// comparisons are such that surplus bits only ever deny.
func conditions(program int, netlink bool) []seccomp.NameWithConditions {
	deny := func(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: conditions}
	}
	not := func(argument uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.NotEqual, Value: value}
	}
	is := func(argument uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: value}
	}
	set := func(argument uint32, bits uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.BitsSet, Value: bits}
	}
	list := []seccomp.NameWithConditions{
		deny("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD}),
		deny("execveat", not(0, uint64(program))),
		deny("execveat", not(4, unix.AT_EMPTY_PATH)),
		// The plugin must not cancel the signal that ends it with its host. The kernel uses 32 bits of this number.
		deny("prctl", is(0, unix.PR_SET_PDEATHSIG)),
		deny("prctl", seccomp.Condition{Argument: 0, Operation: seccomp.GreaterThan, Value: math.MaxUint32}),
		// The same marks by other ways, and a claim that holds up whoever writes the file.
		deny("ioctl", is(1, setFlags)), deny("ioctl", is(1, setFlags32)), deny("ioctl", is(1, setExtendedFlags)), deny("ioctl", is(1, enableVerity)),
		deny("ioctl", seccomp.Condition{Argument: 1, Operation: seccomp.GreaterThan, Value: math.MaxUint32}),
		deny("fcntl", is(1, unix.F_SETLEASE)),
		deny("fcntl", seccomp.Condition{Argument: 1, Operation: seccomp.GreaterThan, Value: math.MaxUint32}),
		deny("socketpair", not(0, unix.AF_UNIX)),
		deny("socketpair", set(1, datagram)),
		deny("socket", is(0, unix.AF_UNIX), set(1, datagram)),
	}
	if !netlink {
		return append(list, deny("socket", not(0, unix.AF_UNIX)))
	}
	return append(list,
		deny("socket", not(0, unix.AF_UNIX), not(0, unix.AF_NETLINK)),
		deny("socket", is(0, unix.AF_NETLINK), not(2, unix.NETLINK_ROUTE)))
}

func known(info *arch.Info, names []string) []string {
	var out []string
	for _, name := range names {
		if _, ok := info.SyscallNames[name]; ok {
			out = append(out, name)
		}
	}
	return out
}

func youngest(info *arch.Info) int {
	most := 0
	for _, number := range info.SyscallNames {
		most = max(most, number)
	}
	return most
}

// filterCalls installs the filter for this thread, which is the one that execs.
func filterCalls(program int, netlink bool) error {
	raw, err := filter(program, netlink)
	if err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errno
	}
	return nil
}
