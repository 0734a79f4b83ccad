package main

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// denied are the calls that no plugin has a use for.
func denied() []string {
	var out []string
	for _, d := range launch.Deeds {
		out = append(out, d.Calls...)
	}
	return out
}

const (
	errnoPerm  = seccomp.ActionErrno | seccomp.Action(unix.EPERM)
	errnoNoSys = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
	// tell lets the host answer, with the same errno, so that it hears of the call.
	tell = seccomp.ActionUserNotify
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

// filter assembles the list of calls that the program may make; program is the descriptor that it may execute. Of what
// refused is done with the others: an errno, or tell. Calls that libraries make to find out what a kernel can do, and that
// all of them do without, are never told.
func filter(program int, netlink bool, refused seccomp.Action) ([]bpf.RawInstruction, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{Action: errnoNoSys, Names: []string{"clone3"}}, // its flags lie in memory, out of a filter's sight; all fall back to clone
			{Action: refused, Names: known(info, denied()), NamesWithCondtions: conditions(program, netlink)},
		},
	}
	body, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	foreign := errnoNoSys
	if refused == tell {
		foreign = tell // nothing but an attack makes calls of another architecture
	}
	const numberAt, archAt = 0, 4
	// The library lets calls of other architectures pass (32-bit ones on a 64-bit kernel), and those younger than itself.
	head := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(foreign)},
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
		// No filter of its own comes over this one, by this way or by seccomp: it would take precedence where this one tells.
		deny("prctl", is(0, unix.PR_SET_SECCOMP)),
		deny("prctl", seccomp.Condition{Argument: 0, Operation: seccomp.GreaterThan, Value: math.MaxUint32}),
		// Alone in its process namespace it is process 1 and finds nobody to signal; that it looks is worth knowing.
		deny("kill", not(0, 0), not(0, 1)),
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

// known leaves out the names that this processor does not have.
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

// filterCalls installs the filter for this thread, which is the one that execs. Where the kernel can, the host answers what
// is refused, and so hears of it.
func filterCalls(s *state) error {
	c := s.wanted
	if !c.Seccomp {
		return nil
	}
	if c.Listen {
		fd, err := install(s.program, c.Netlink, tell)
		if err == nil {
			s.listener = fd
			return nil
		}
		if !cannotListen(err) {
			return err
		}
		s.done.Missing = append(s.done.Missing, launch.CallsUncounted+" ("+err.Error()+")")
	}
	_, err := install(s.program, c.Netlink, errnoPerm)
	return err
}

// cannotListen: the kernel is too old, or somebody above us listens already, as a container's runtime may.
func cannotListen(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EOPNOTSUPP)
}

func install(program int, netlink bool, refused seccomp.Action) (listener int, err error) {
	raw, err := filter(program, netlink, refused)
	if err != nil {
		return -1, fmt.Errorf("assemble: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	load := func(flags uintptr) (int, error) {
		fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
		if errno != 0 {
			return -1, errno
		}
		return int(fd), nil
	}
	if refused != tell {
		_, err = load(0)
		return -1, err
	}
	// A call that the host has in its hands is not begun anew by a signal. Kernels from 5.19 on know that.
	listener, err = load(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if errors.Is(err, unix.EINVAL) {
		listener, err = load(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	return listener, err
}
