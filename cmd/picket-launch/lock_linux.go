package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// becomeUser changes to the plugin's own user and belongs to no group but its own.
func becomeUser(c launch.Confinement) error {
	if c.UID == 0 {
		return nil
	}
	if err := syscall.Setgroups([]int{}); err != nil {
		return fmt.Errorf("leave groups: %w", err)
	}
	if err := syscall.Setresgid(c.GID, c.GID, c.GID); err != nil {
		return fmt.Errorf("group %d: %w", c.GID, err)
	}
	if err := syscall.Setresuid(c.UID, c.UID, c.UID); err != nil {
		return fmt.Errorf("user %d: %w", c.UID, err)
	}
	return nil
}

// dropBounding empties the set of capabilities that this process, or what it executes, could ever get.
func dropBounding() error {
	for c := 0; c <= 63; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err == unix.EINVAL {
			return nil // there are no more
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	return nil
}

// dropCapabilities leaves none, and no way to get one back.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient set: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("sets: %w", err)
	}
	return nil
}

// lockSecureBits makes user 0 of a namespace an ordinary one at exec.
func lockSecureBits() error {
	const bits = 1<<0 /* NOROOT */ | 1<<1 | 1<<2 /* NO_SETUID_FIXUP */ | 1<<3 | 1<<5 /* KEEP_CAPS_LOCKED */ | 1<<6 /* NO_CAP_AMBIENT_RAISE */ | 1<<7
	return unix.Prctl(unix.PR_SET_SECUREBITS, bits, 0, 0, 0)
}

// landlockConfigs are what each version of Landlock can restrict, from 1 on.
var landlockConfigs = []landlock.Config{
	landlock.V1, landlock.V2, landlock.V3, landlock.V4, landlock.V5, landlock.V6, landlock.V7, landlock.V8, landlock.V9,
	landlock.V10, landlock.V11,
}

const (
	landRead    = ll.AccessFSReadFile | ll.AccessFSReadDir
	landExecute = ll.AccessFSExecute | ll.AccessFSReadFile
	landDevice  = ll.AccessFSReadFile | ll.AccessFSWriteFile
	landWrite   = landRead | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir |
		ll.AccessFSRemoveFile | ll.AccessFSRemoveDir
)

// hostFiles are what a plugin with the host's view may read.
var hostFiles = []string{
	"/proc", "/sys", "/etc/os-release", "/usr/lib/os-release", "/etc/hostname", "/etc/localtime", "/usr/share/zoneinfo",
	"/etc/ssl/certs", "/usr/share/ca-certificates",
}

// rule allows rights at a path, or at what a descriptor stands for.
type rule struct {
	path   string
	fd     int // when path is empty
	rights uint64
}

// landlockRules lists everything that stays allowed.
func landlockRules(c launch.Confinement) []rule {
	rules := []rule{{fd: c.Program, rights: landExecute}}
	for _, path := range c.Execute {
		rules = append(rules, rule{path: path, rights: landExecute})
	}
	for _, fd := range c.Read {
		rules = append(rules, rule{fd: fd, rights: ll.AccessFSReadFile})
	}
	for _, path := range devices {
		rules = append(rules, rule{path: path, rights: landDevice})
	}
	if c.SocketDir != "" {
		rules = append(rules, rule{path: c.SocketDir, rights: landWrite | ll.AccessFSMakeSock})
	}
	for _, b := range c.Binds {
		if b.Write {
			rules = append(rules, rule{path: b.Path, rights: landWrite})
		}
	}
	if c.View == launch.ViewHost {
		for _, path := range hostFiles {
			rules = append(rules, rule{path: path, rights: landRead})
		}
		return rules
	}
	return append(rules, rule{path: "/", rights: landRead}, rule{path: launch.Scratch(c), rights: landWrite})
}

// restrictFiles applies Landlock to this thread, which is the one that execs. Nothing is left out silently: a version
// that the kernel does not have is an error.
func restrictFiles(c launch.Confinement, done *launch.Applied) error {
	if c.LandlockABI == 0 {
		return nil
	}
	abi := min(c.LandlockABI, len(landlockConfigs))
	cfg := landlockConfigs[abi-1]
	attr := ll.RulesetAttr{
		HandledAccessFS: uint64(cfg.HandledAccessFS), HandledAccessNet: uint64(cfg.HandledAccessNet), Scoped: uint64(cfg.Scoped),
	}
	set, err := ll.LandlockCreateRuleset(&attr, 0)
	if err != nil {
		return fmt.Errorf("version %d: %w", abi, err)
	}
	defer unix.Close(set)
	for _, r := range landlockRules(c) {
		if err := r.add(set, attr.HandledAccessFS); err != nil {
			return err
		}
	}
	if err := ll.LandlockRestrictSelf(set, 0); err != nil {
		return err
	}
	done.LandlockABI = abi
	return nil
}

func (r rule) add(set int, handled uint64) error {
	fd := r.fd
	if r.path != "" {
		var err error
		fd, err = unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("rule for %s: %w", r.path, err)
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("rule for %s: %w", r.path, err)
	}
	rights := r.rights
	if st.Mode&unix.S_IFMT != unix.S_IFDIR { // other rights make no sense for it, and the kernel refuses them
		rights &= ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	}
	err := ll.LandlockAddPathBeneathRule(set, &ll.PathBeneathAttr{AllowedAccess: rights & handled, ParentFd: fd}, 0)
	if errors.Is(err, unix.EBADFD) {
		return nil // a memory file: it has no place that a rule could name, and Landlock lets it pass
	}
	if err != nil {
		return fmt.Errorf("rule for %s: %w", r.path, err)
	}
	return nil
}

// outOfReach moves the program's descriptor to a number that the plugin can never have, because its limit of open files
// lies below: the filter lets that number be executed, and nothing else.
func outOfReach(spec *launch.Spec, program int) (int, error) {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return 0, err
	}
	limit := now.Max
	for _, l := range spec.Limits {
		if l.Resource == launch.OpenFiles {
			limit = min(limit, l.Value)
		}
	}
	if limit >= now.Max {
		limit = now.Max - 1
	}
	limit = min(limit, math.MaxInt32)
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit + 1, Max: now.Max}); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	fd, err := unix.FcntlInt(uintptr(program), unix.F_DUPFD_CLOEXEC, int(limit))
	if err != nil {
		return 0, fmt.Errorf("descriptor %d: %w", program, err)
	}
	spec.Limits = append(spec.Limits, launch.Limit{Resource: launch.OpenFiles, Value: limit})
	return fd, nil
}
