package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// steps run in this order on the thread that will exec. What confines the process further (namespaces, Landlock,
// seccomp) is a step too and goes between limits and descriptors; a change of user comes first of all, because it
// clears the parent-death signal.
var steps = []struct {
	name string
	do   func(launch.Spec) error
}{
	{"ask to die with the host", dieWithParent},
	{"check that the host lives", parentLives},
	{"give up new privileges", noNewPrivileges},
	{"limit resources", limit},
	{"close descriptors", closeDescriptors},
}

// become runs the steps and execs the program; it returns only when something failed.
func become(spec launch.Spec) error {
	for _, s := range steps {
		if err := s.do(spec); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	argv := append([]string{spec.Name}, spec.Args...)
	if spec.Name == "" {
		argv[0] = spec.Program
	}
	if err := syscall.Exec(spec.Program, argv, os.Environ()); err != nil {
		return fmt.Errorf("execute %s: %w", spec.Program, err)
	}
	return nil
}

func dieWithParent(launch.Spec) error {
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// parentLives closes the gap before dieWithParent: a host that died in it has sent its signal to nobody.
func parentLives(spec launch.Spec) error {
	if spec.Parent != 0 && os.Getppid() != spec.Parent {
		return errors.New("the host is gone")
	}
	if spec.Lifeline == 0 {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(spec.Lifeline), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("lifeline: %w", err)
		}
		break
	}
	if fds[0].Revents&unix.POLLNVAL != 0 {
		return fmt.Errorf("lifeline: descriptor %d is not open", spec.Lifeline)
	}
	if fds[0].Revents&unix.POLLHUP != 0 {
		return errors.New("the host is gone")
	}
	return nil
}

func noNewPrivileges(launch.Spec) error {
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// limit uses syscall.Setrlimit, not unix.Setrlimit: the former makes the Go runtime forget the limit on open files
// that it would otherwise put back at exec.
func limit(spec launch.Spec) error {
	if err := syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	number := map[launch.Resource]int{
		launch.OpenFiles:    unix.RLIMIT_NOFILE,
		launch.AddressSpace: unix.RLIMIT_AS,
		launch.FileSize:     unix.RLIMIT_FSIZE,
	}
	for _, l := range spec.Limits {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(number[l.Resource], &now); err != nil {
			return fmt.Errorf("%s: %w", l.Resource, err)
		}
		v := min(l.Value, now.Max) // a limit that is lower already stays
		if err := syscall.Setrlimit(number[l.Resource], &syscall.Rlimit{Cur: v, Max: v}); err != nil {
			return fmt.Errorf("%s: %w", l.Resource, err)
		}
	}
	return nil
}

// closeDescriptors lets the kernel close everything at exec but the standard ones and what spec names. The program's
// own descriptor is among the closed: the kernel has opened the file by then.
func closeDescriptors(spec launch.Spec) error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	keep := spec.Keep
	if spec.Lifeline != 0 {
		keep = append([]int{spec.Lifeline}, keep...)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep descriptor %d: %w", fd, err)
		}
	}
	return nil
}
