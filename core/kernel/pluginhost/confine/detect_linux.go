package confine

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Detect says what this machine lets this program do. The answer is kept: it does not change while the program runs.
func Detect() Capabilities { return detected() }

var detected = sync.OnceValue(func() Capabilities {
	c := Capabilities{Level: LevelC, Cgroup: groupKind(), LandlockABI: landlockABI(), Seccomp: hasSeccomp()}
	c.CountsCalls = c.Seccomp && canListen()
	namespaces := probe(false)
	c.OwnUsers = mayChangeUsers() && namespaces == nil
	userNamespaces := probe(true)
	c.UserNamespaces = userNamespaces == nil
	switch {
	case !c.Seccomp:
		c.Reasons = append(c.Reasons, "this kernel has no filters for calls (CONFIG_SECCOMP_FILTER), or a container forbids them")
	case c.OwnUsers:
		c.Level = LevelA
	case c.UserNamespaces:
		c.Level = LevelB
		c.Reasons = append(c.Reasons, "plugins share this program's user: run it as root, or give its service the capabilities "+
			strings.Join(capabilityNames, ", "))
	default:
		c.Reasons = append(c.Reasons, whyNoUserNamespaces(userNamespaces))
	}
	if c.LandlockABI == 0 {
		c.Reasons = append(c.Reasons, "Landlock is not there: boot a kernel from 5.13 on with lsm=landlock,…")
	}
	if c.Cgroup == CgroupNone {
		c.Reasons = append(c.Reasons, "no control group may be made here, so memory and processor are watched by this program: "+
			"run it as root, or set Delegate=yes in its systemd unit")
	}
	return c
})

// landlockABI is 0 when the kernel has no Landlock.
func landlockABI() int {
	const version = 1
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	if errno != 0 {
		return 0
	}
	return min(int(abi), newestLandlock)
}

// newestLandlock is the version that picket-launch knows.
const newestLandlock = 11

func hasSeccomp() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	return seccomp(unix.SECCOMP_GET_ACTION_AVAIL, &action) == nil
}

// changingUsers are what level A needs: mounts and namespaces, a user for each plugin, and to end and read what runs as
// another user.
var (
	changingUsers = []int{
		unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_KILL,
		unix.CAP_SYS_PTRACE,
	}
	capabilityNames = []string{
		"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SYS_PTRACE",
	}
)

func mayChangeUsers() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false
	}
	for _, c := range changingUsers {
		if sets[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// probe makes a process with namespaces of its own and lets it execute nothing, which fails in a way that tells whether
// it came that far. Changing its root asks for a capability that some systems let a user namespace have in name only.
func probe(user bool) error {
	attr := &syscall.SysProcAttr{
		Chroot:     "/",
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
	}
	if user {
		userNamespace(attr)
		attr.AmbientCaps = append(attr.AmbientCaps, unix.CAP_SYS_CHROOT)
	}
	const nothing = "/dev/null/nothing"
	_, _, err := syscall.StartProcess(nothing, []string{nothing}, &syscall.ProcAttr{Sys: attr, Env: []string{}})
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err == nil {
		err = errors.New("executed what is not there")
	}
	return err
}

func whyNoUserNamespaces(err error) string {
	for _, s := range []struct{ file, off, words string }{
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone is 0: set it to 1"},
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces is 0: set it to 1000"},
		{"/proc/sys/user/max_net_namespaces", "0", "sysctl user.max_net_namespaces is 0: set it to 1000"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
			"AppArmor withholds user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns): allow this program userns in a profile"},
	} {
		if value, readErr := os.ReadFile(s.file); readErr == nil && strings.TrimSpace(string(value)) == s.off {
			return "user namespaces are not to be had: " + s.words
		}
	}
	return fmt.Sprintf("user namespaces are not to be had (%v): a container or a security module forbids them", err)
}
