package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// What the smallest root folder holds besides what the host asks for. All of it may be missing on the host.
var (
	devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
	shared  = []string{
		"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
		"/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/localtime", "/usr/share/zoneinfo",
	}
)

// Bounds of what a plugin can keep in memory as files. The control group counts them too.
const (
	rootSize     = "64k"
	socketInodes = "32"
	tmpSize      = "8m"
	tmpInodes    = "256"
)

const still = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// piece is a part of the new root: a mount without a place yet.
type piece struct {
	path string
	fd   int
	file bool
}

// changeView gives the process the files that it may see. It runs in a mount namespace of its own.
func changeView(c launch.Confinement, done *launch.Applied) error {
	if c.View == "" {
		return nil
	}
	sockets, err := socketDir(c)
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|following(c), ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	switch c.View {
	case launch.ViewHost:
		err = hostView(c, sockets)
	case launch.ViewMinimal:
		err = minimalView(c, sockets, done)
	default:
		err = fmt.Errorf("unknown view %q", c.View)
	}
	done.View = c.View
	return err
}

// following says what becomes of mounts when the host's change. What is mounted later is to be measured, too, and what is unmounted must
// not live on in here. Its files are not read-only as the others are made, so this takes rules on files that keep it from cutting them
// short, too.
func following(c launch.Confinement) uintptr {
	const truncation = 3 // the version of Landlock that knows it
	if c.View == launch.ViewHost && c.LandlockABI >= truncation {
		return unix.MS_SLAVE
	}
	return unix.MS_PRIVATE
}

// socketDir makes the folder of the socket anew, in memory, with the folders that the host made in it. The host comes to
// it through the process table: nothing that the plugin writes there takes room on its disk.
func socketDir(c launch.Confinement) ([]piece, error) {
	if c.SocketDir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(c.SocketDir)
	if err != nil {
		return nil, fmt.Errorf("folder of the socket: %w", err)
	}
	fd, err := newMount("tmpfs", still, "mode", "0700", "size", rootSize, "nr_inodes", socketInodes)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := unix.Mkdirat(fd, e.Name(), 0o700); err != nil {
			return nil, fmt.Errorf("folder of the socket: %w", err)
		}
		if err := give(fd, e.Name(), c, 0); err != nil {
			return nil, err
		}
	}
	return []piece{{path: c.SocketDir, fd: fd}}, give(fd, "", c, unix.AT_EMPTY_PATH)
}

// give makes a file the plugin's user's.
func give(dir int, name string, c launch.Confinement, flags int) error {
	if c.UID == 0 {
		return nil
	}
	if err := unix.Fchownat(dir, name, c.UID, c.GID, flags); err != nil {
		return fmt.Errorf("folder of the socket: give it to user %d: %w", c.UID, err)
	}
	return nil
}

// hostView leaves every mount where it is and makes it read-only, but for what may be written.
func hostView(c launch.Confinement, sockets []piece) error {
	writable := slices.Clone(sockets)
	for _, b := range c.Binds {
		if !b.Write {
			continue
		}
		p, err := clone(b)
		if err != nil {
			return err
		}
		writable = append(writable, p)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make the host's files read-only: %w", err)
	}
	if err := reach(c); err != nil {
		return err
	}
	for _, p := range writable {
		if err := unix.MoveMount(p.fd, "", unix.AT_FDCWD, p.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount %s: %w", p.path, err)
		}
		unix.Close(p.fd)
	}
	return nil
}

// reach makes the way to the folder of the socket passable for a user of its own: over the first folder that others may not
// enter comes an empty one, which also hides what the host keeps there.
func reach(c launch.Confinement) error {
	if c.UID == 0 || c.SocketDir == "" {
		return nil
	}
	for i, r := range c.SocketDir {
		if r != '/' || i == 0 {
			continue
		}
		info, err := os.Stat(c.SocketDir[:i])
		if err != nil {
			return fmt.Errorf("folder of the socket: %w", err)
		}
		if info.Mode()&0o001 != 0 {
			continue
		}
		cover, err := newMount("tmpfs", still, "mode", "0755", "size", rootSize)
		if err != nil {
			return err
		}
		defer unix.Close(cover)
		if err := mkdirs(cover, c.SocketDir[i+1:]); err != nil {
			return fmt.Errorf("folder of the socket: %w", err)
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(cover, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return fmt.Errorf("folder of the socket: %w", err)
		}
		if err := unix.MoveMount(cover, "", unix.AT_FDCWD, c.SocketDir[:i], unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("cover %s: %w", c.SocketDir[:i], err)
		}
		return nil
	}
	return nil
}

// minimalView puts a new root together beside the old one and then lets go of the old one.
func minimalView(c launch.Confinement, sockets []piece, done *launch.Applied) error {
	tmp, err := newMount("tmpfs", still, "mode", "1777", "size", tmpSize, "nr_inodes", tmpInodes)
	if err != nil {
		return err
	}
	pieces := []piece{{path: launch.Scratch(c), fd: tmp}}
	if proc, err := mountProc(); err != nil {
		done.Missing = append(done.Missing, "/proc ("+err.Error()+")")
	} else {
		pieces = append(pieces, piece{path: "/proc", fd: proc})
	}
	given, err := gather(c)
	if err != nil {
		return err
	}
	pieces = append(append(pieces, given...), sockets...)
	root, err := newMount("tmpfs", still, "mode", "0755", "size", rootSize)
	if err != nil {
		return err
	}
	// The old root keeps being "/" for us until we change it, though the new one lies over it.
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the new root: %w", err)
	}
	for _, p := range pieces {
		if err := p.place(root); err != nil {
			return fmt.Errorf("mount %s: %w", p.path, err)
		}
		unix.Close(p.fd)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(root, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("make the new root read-only: %w", err)
	}
	return enter(root)
}

func enter(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	// The old root lies over the new one now, and "." is still the new one's folder.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	unix.Close(root)
	return unix.Chdir("/")
}

// gather opens everything that comes from the host before any of it is hidden.
func gather(c launch.Confinement) ([]piece, error) {
	var binds []launch.Bind
	for _, path := range devices {
		binds = append(binds, launch.Bind{Path: path, Write: true, Optional: true})
	}
	for _, path := range shared {
		binds = append(binds, launch.Bind{Path: path, Optional: true})
	}
	var pieces []piece
	for _, b := range append(binds, c.Binds...) {
		p, err := clone(b)
		if errors.Is(err, fs.ErrNotExist) && b.Optional {
			continue
		}
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

// clone makes a mount of a file or folder, with what is mounted below it, that has no place yet.
func clone(b launch.Bind) (piece, error) {
	if !filepath.IsAbs(b.Path) || filepath.Clean(b.Path) != b.Path || b.Path == "/" {
		return piece{}, fmt.Errorf("%q is not a clean absolute path", b.Path)
	}
	info, err := os.Stat(b.Path)
	if err != nil {
		return piece{}, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, b.Path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return piece{}, fmt.Errorf("take %s along: %w", b.Path, err)
	}
	attr := unix.MountAttr{Attr_set: still}
	if info.Mode()&fs.ModeDevice != 0 {
		attr.Attr_set &^= unix.MOUNT_ATTR_NODEV
	}
	if !b.Write {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if b.Exec {
		attr.Attr_set &^= unix.MOUNT_ATTR_NOEXEC
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return piece{}, fmt.Errorf("restrict %s: %w", b.Path, err)
	}
	return piece{path: b.Path, fd: fd, file: !info.IsDir()}, nil
}

// place mounts p below the new root, at the path that it had below the old one.
func (p piece) place(root int) error {
	rel := strings.TrimPrefix(p.path, "/")
	parent := rel
	if p.file {
		parent = filepath.Dir(rel)
	}
	if err := mkdirs(root, parent); err != nil {
		return err
	}
	if p.file {
		fd, err := unix.Openat(root, rel, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o444)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return unix.MoveMount(p.fd, "", root, rel, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func mkdirs(root int, rel string) error {
	for i, r := range rel + "/" {
		if r != '/' || i == 0 {
			continue
		}
		if err := unix.Mkdirat(root, rel[:i], 0o755); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return nil
}

// mountProc makes the process table of our process namespace, with nothing but processes in it where the kernel can.
func mountProc() (int, error) {
	fd, err := newMount("proc", still|unix.MOUNT_ATTR_RDONLY, "subset", "pid", "hidepid", "invisible")
	if err != nil {
		fd, err = newMount("proc", still|unix.MOUNT_ATTR_RDONLY)
	}
	return fd, err
}

// newMount makes a file system that has no place yet. Options come in pairs.
func newMount(kind string, attr int, options ...string) (int, error) {
	fd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a %s: %w", kind, err)
	}
	defer unix.Close(fd)
	for i := 0; i < len(options); i += 2 {
		if err := unix.FsconfigSetString(fd, options[i], options[i+1]); err != nil {
			return -1, fmt.Errorf("make a %s, option %s: %w", kind, options[i], err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, fmt.Errorf("make a %s: %w", kind, err)
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return -1, fmt.Errorf("make a %s: %w", kind, err)
	}
	return mount, nil
}
