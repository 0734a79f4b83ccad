package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// state is what the steps hand on to each other.
type state struct {
	spec    launch.Spec
	gate    gate
	wanted  launch.Confinement
	program int // the descriptor to execute, -1 when the program is a path
	done    launch.Applied
	// listener is where refused calls are answered, -1 when the kernel does that.
	listener int
}

// steps run in this order on the thread that will exec. Views come before the change of user, because folders on the way
// may be closed to the plugin's user; what a change of user clears is asked for again after it; filters come last,
// because they would stand in the way of everything else.
var steps = []struct {
	name string
	do   func(*state) error
}{
	{"ask to die with the host", dieWithParent},
	{"check that the host lives", parentLives},
	{"give up new privileges", noNewPrivileges},
	{"pass the gate", hello},
	{"prepare the program", prepareProgram},
	{"change the view of the files", func(s *state) error { return changeView(s.wanted, &s.done) }},
	{"drop capabilities and become the plugin's user", dropPrivileges},
	{"ask again to die with the host", dieWithParent},
	{"check again that the host lives", parentLives},
	{"limit resources", limit},
	{"let timers be late", lateTimers},
	{"close descriptors", closeDescriptors},
	{"restrict files (Landlock)", func(s *state) error { return restrictFiles(s.wanted, &s.done) }},
	{"filter calls (seccomp)", filterCalls},
	{"wait for the host's consent", consent},
}

// become runs the steps and execs the program; it returns only when something failed.
func become(spec launch.Spec) error {
	s := &state{spec: spec, gate: gate(spec.Gate), program: -1, listener: -1}
	inherited := unix.Umask(0o022) // the plugin's user must be able to see the root that is made for it
	for _, step := range steps {
		if err := step.do(s); err != nil {
			err = fmt.Errorf("%s: %w", step.name, err)
			if spec.Gate != 0 {
				_ = s.gate.send(launch.Applied{Error: err.Error()}) // it goes to stderr in any case
			}
			return err
		}
	}
	unix.Umask(inherited)
	argv := append([]string{spec.Name}, spec.Args...)
	if spec.Name == "" {
		argv[0] = spec.Program
	}
	if err := execute(s, argv); err != nil {
		return fmt.Errorf("execute %s: %w", spec.Program, unlinked(s, err))
	}
	return nil
}

// unlinked says what "no such file" means of a program that is there: the loader that it names is not.
func unlinked(s *state, err error) error {
	var magic [4]byte
	if s.program < 0 || !errors.Is(err, unix.ENOENT) {
		return err
	}
	if _, readErr := unix.Pread(s.program, magic[:], 0); readErr != nil || string(magic[:]) != "\x7fELF" {
		return err
	}
	return fmt.Errorf("%w: the program is linked dynamically and finds no libraries in its confinement; build it with CGO_ENABLED=0", err)
}

func execute(s *state, argv []string) error {
	if s.program < 0 {
		return syscall.Exec(s.spec.Program, argv, os.Environ())
	}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	empty := []byte{0}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(s.program), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}

func hello(s *state) (err error) {
	if s.spec.Gate == 0 {
		return nil
	}
	s.wanted, err = s.gate.hello()
	return err
}

func consent(s *state) error {
	if s.spec.Gate == 0 {
		return nil
	}
	return s.gate.consent(s.done, s.listener)
}

func prepareProgram(s *state) (err error) {
	if s.wanted.Program == 0 {
		return nil
	}
	s.program, err = outOfReach(&s.spec, s.wanted.Program)
	s.wanted.Program = s.program
	return err
}

func dropPrivileges(s *state) error {
	if !s.wanted.NoCapabilities {
		return nil
	}
	if err := dropBounding(); err != nil {
		return fmt.Errorf("bounding set: %w", err)
	}
	if err := lockSecureBits(); err != nil {
		return fmt.Errorf("secure bits: %w", err)
	}
	if err := becomeUser(s.wanted); err != nil {
		return err
	}
	return dropCapabilities()
}

func dieWithParent(*state) error {
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// parentLives closes the gap before dieWithParent: a host that died in it has sent its signal to nobody.
// In a process namespace of its own the helper is process 1 and has no parent to see; there the lifeline says it all.
func parentLives(s *state) error {
	spec := s.spec
	if ppid := os.Getppid(); spec.Parent != 0 && ppid != 0 && ppid != spec.Parent {
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

func noNewPrivileges(*state) error {
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// limit uses syscall.Setrlimit, not unix.Setrlimit: the former makes the Go runtime forget the limit on open files
// that it would otherwise put back at exec.
func limit(s *state) error {
	if err := syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	number := map[launch.Resource]int{
		launch.OpenFiles:    unix.RLIMIT_NOFILE,
		launch.AddressSpace: unix.RLIMIT_AS,
		launch.Data:         unix.RLIMIT_DATA,
		launch.FileSize:     unix.RLIMIT_FSIZE,
		launch.Tasks:        unix.RLIMIT_NPROC,
	}
	for _, l := range s.spec.Limits {
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

// timerSlack is how late the kernel may wake a program that sleeps for a while.
const timerSlack = time.Millisecond

// lateTimers makes a program's sleeps coarser. The monitor of Go's runtime sleeps for 20 µs at a time while the program is at
// work; woken that often it took up to a third of the time of a detector that is shown traffic.
func lateTimers(*state) error {
	return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0)
}

// closeDescriptors lets the kernel close everything at exec but the standard ones and what spec names. The program's
// own descriptor is among the closed: the kernel has opened the file by then.
func closeDescriptors(s *state) error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	keep := s.spec.Keep
	if s.spec.Lifeline != 0 {
		keep = append([]int{s.spec.Lifeline}, keep...)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep descriptor %d: %w", fd, err)
		}
	}
	return nil
}
