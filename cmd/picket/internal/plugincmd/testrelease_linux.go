package plugincmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The bounds of a test run. Memory counts for each process.
const (
	runMemory  = 4 << 30
	runSeconds = 600 // of processor time
	runFile    = 1 << 30
	runFiles   = 1024
)

// confined runs in namespaces of its own. It leaves what is named, this program and the system's libraries in sight,
// read-only, gives away what rights it has in there, and becomes this program anew with the arguments.
func confined(sight []string, args ...string) error {
	runtime.LockOSThread() // rights and limits belong to the thread that becomes the program
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := newRoot(append(sight, filepath.Dir(self))...); err != nil {
		return fmt.Errorf("change the view of the files: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("a network of its own: %w", err)
	}
	if err := giveUp(); err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	return unix.Exec(self, append([]string{"picket"}, args...), []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", asConfined})
}

// asConfined passes on what tests need to run themselves as picket.
var asConfined = func() string {
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "PICKET_TEST_") {
			return v
		}
	}
	return "LANG=C"
}()

// newRoot makes a root folder in memory with what is needed in it, and leaves the old one.
func newRoot(paths ...string) error {
	root, err := os.MkdirTemp("", "picket-root-")
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(root, name) }
	steps := []struct {
		name string
		do   func() error
	}{
		{"leave the mounts of the machine alone", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"a folder in memory", func() error {
			return unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256m,mode=755")
		}},
		{"folders in it", func() error {
			return errors.Join(os.Mkdir(in("proc"), 0o755), os.Mkdir(in("dev"), 0o755), os.Mkdir(in("tmp"), 0o777), os.Chmod(in("tmp"), 0o777|os.ModeSticky))
		}},
		{"programs and libraries", func() error {
			return showAll(root, true, append([]string{"/usr", "/lib", "/lib64", "/bin", "/etc/ssl", "/etc/ld.so.cache"}, paths...))
		}},
		{"devices", func() error { return showAll(root, false, []string{"/dev/null", "/dev/zero", "/dev/urandom"}) }},
		{"processes", func() error {
			return unix.Mount("proc", in("proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}},
		{"another root", func() error {
			return errors.Join(unix.Chdir(root), unix.PivotRoot(".", "."), unix.Unmount(".", unix.MNT_DETACH), unix.Chdir("/"))
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func showAll(root string, readOnly bool, paths []string) error {
	for _, path := range paths {
		if err := show(root, path, readOnly); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// show binds a path of the old root into the new one; a link is made again as it is.
func show(root, path string, readOnly bool) error {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	to := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.IsDir():
		err = os.MkdirAll(to, 0o755)
	default:
		err = os.WriteFile(to, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(path, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil || !readOnly {
		return err
	}
	return unix.MountSetattr(-1, to, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID})
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// giveUp leaves the program that follows without any right, for good, and with limits.
func giveUp() error {
	for capability := uintptr(0); ; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			break // the last one that the kernel knows was before this
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_DATA: runMemory, unix.RLIMIT_CPU: runSeconds, unix.RLIMIT_FSIZE: runFile, unix.RLIMIT_NOFILE: runFiles, unix.RLIMIT_CORE: 0,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	return nil
}
