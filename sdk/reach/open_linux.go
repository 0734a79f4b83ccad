package reach

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk"
)

// procMagic is the type of the file system /proc.
const procMagic = 0x9fa0

// openReal opens a path that has no links left. One that was put there since the path was checked makes it fail.
// What is not a regular file is never opened: to open a device or a pipe can do something already.
func openReal(name string) (*os.File, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err == nil && st.Type == procMagic {
		// A second mount of /proc has the same secrets under another name.
		if len(name) < 6 || name[:6] != "/proc/" {
			f.Close()
			return nil, sdk.Errorf(sdk.PermissionDenied, "%s lies in a /proc that is mounted elsewhere", name)
		}
	}
	return f, nil
}

// openRegular first takes hold of the file, looks what it is, and then opens that very file.
func openRegular(name string) (*os.File, error) {
	held, err := openNoLinks(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(held.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, sdk.Errorf(sdk.Unsupported, "%s is not a regular file", name)
	}
	link := "/proc/self/fd/" + strconv.Itoa(int(held.Fd()))
	fd, err := retry(func() (int, error) { return unix.Open(link, unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func openNoLinks(name string, flags uint64) (*os.File, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := retry(func() (int, error) { return unix.Openat2(unix.AT_FDCWD, name, how) })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openAndCompare(name, flags)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openAndCompare is for kernels before 5.6: it opens, then asks the kernel what it opened.
func openAndCompare(name string, flags uint64) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.Open(name, int(flags)|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	got, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err == nil && got != name {
		err = sdk.Errorf(sdk.PermissionDenied, "%s changed while it was opened", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func retry(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// connectUnix connects to the very socket that was checked, whatever the path means by then.
func connectUnix(ctx context.Context, name string) (net.Conn, error) {
	f, err := openNoLinks(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(f.Fd())))
}
